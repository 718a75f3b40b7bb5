/* SPDX-License-Identifier: Apache-2.0 */
/* boot_initrd.h - Linux's initrds: opened together, read one behind the other, checked. */
#ifndef KVM_BOOT_INITRD_H
#define KVM_BOOT_INITRD_H

#include <stddef.h>
#include <stdint.h>

#include "kvm/boot_image.h"

struct boot_initrds {
	struct boot_file *files;
	size_t count;
	uint64_t total; /* bytes, each file but the last rounded up to 4 */
};

/* Opens all of the NULL-ended `paths` (NULL: none).  0, or negative errno and a sentence; either
 * way boot_initrds_close is due. */
int boot_initrds_open(const char *const *paths, struct boot_initrds *ret_initrds, struct why *why);
void boot_initrds_close(struct boot_initrds *initrds);

/* Reads them to `to`, which has room for `total` bytes, zeros between.  -EINVAL: one is not an
 * initrd, or an archive (newc) that ends too early.  What Linux itself unpacks is not unpacked. */
int boot_initrds_read(const struct boot_initrds *initrds, uint8_t *to, struct why *why);

#endif
