/* SPDX-License-Identifier: Apache-2.0 */
/* boot_fixture.h - files made of bytes, and guest memory between pages that must not be touched. */
#ifndef BOOT_FIXTURE_H
#define BOOT_FIXTURE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm/boot.h"
#include "kvm/bytes.h"

/* A file that has a path as long as it is open and leaves nothing behind. */
struct test_file {
	int fd;
	char path[32];
};

static inline struct test_file test_file(const void *bytes, size_t size)
{
	struct test_file file = {.fd = memfd_create("test", MFD_CLOEXEC)};

	if (file.fd < 0 || (size && write(file.fd, bytes, size) != (ssize_t)size))
		abort();
	snprintf(file.path, sizeof(file.path), "/proc/self/fd/%d", file.fd);
	return file;
}

static inline void test_file_close(struct test_file *file)
{
	close(file->fd);
}

/* Guest memory whose neighbours on both sides cannot be written: no sanitizer sees a write beyond
 * an mmap'd piece, a fault does. */
static inline struct guest_memory guarded_memory(uint64_t size)
{
	const uint64_t guard = 1 << 20;
	uint8_t *all = mmap(NULL, size + 2 * guard, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (all == MAP_FAILED || mprotect(all + guard, size, PROT_READ | PROT_WRITE))
		abort();
	return (struct guest_memory){.low = all + guard, .low_size = size};
}

static inline void guarded_memory_release(struct guest_memory *memory)
{
	munmap(memory->low - (1 << 20), memory->low_size + (2 << 20));
}

#endif
