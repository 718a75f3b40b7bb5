/* SPDX-License-Identifier: Apache-2.0 */
/* initrd_fuzz.c - any bytes as an initrd, read to a buffer with not one byte to spare. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "kvm/boot_initrd.h"
#include "unit/boot_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct test_file file;
	const char *const paths[] = {file.path, file.path, NULL};
	struct boot_initrds initrds;
	struct why why;

	if (!file.path[0])
		file = test_file("", 0);
	if (ftruncate(file.fd, 0) || pwrite(file.fd, data, size, 0) != (ssize_t)size)
		abort();
	if (!boot_initrds_open(paths, &initrds, &why)) {
		uint8_t *to = malloc(initrds.total);

		if (!to)
			abort();
		boot_initrds_read(&initrds, to, &why);
		free(to);
	}
	boot_initrds_close(&initrds);
	return 0;
}
