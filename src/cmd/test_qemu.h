/* SPDX-License-Identifier: Apache-2.0 */
/* test_qemu.h - which QEMU it is. */
#ifndef CMD_TEST_QEMU_H
#define CMD_TEST_QEMU_H

#include <stddef.h>

#include "cmd/test.h"

/* "7.2.22" of the QEMU that would be started.  0; -ENOENT: there is none; -EPROTO: that is no QEMU;
 * -ETIMEDOUT: it did not say within half a minute; or another negative errno. */
int test_qemu_version(const struct test_options *options, char *buf, size_t size);

#endif
