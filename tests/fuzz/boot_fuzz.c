/* SPDX-License-Identifier: Apache-2.0 */
/* boot_fuzz.c - any bytes as a kernel, for a guest of 32 MiB between pages that fault. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "unit/boot_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const initrds[] = {"/proc/self/exe", NULL}, *const env[] = {"A=1", NULL};
	static struct guest_memory memory;
	static struct test_file file;
	struct boot_config config = {file.path, NULL, "append", env, 0xe0000};
	struct boot_state state;
	struct why why;

	if (!memory.low) {
		memory = guarded_memory(32 << 20);
		file = test_file("", 0);
	}
	if (ftruncate(file.fd, 0) || pwrite(file.fd, data, size, 0) != (ssize_t)size)
		abort();
	/* One in two has a module: Linux refuses this one, Multiboot takes anything. */
	if (size % 2)
		config.initrds = initrds;
	if (!boot_load(&memory, &config, &state, &why) &&
	    (!memory_at(&memory, state.entry, 1) ||
	     !memory_at(&memory, state.gdt_gpa, state.gdt_limit + 1ULL)))
		abort();
	return 0;
}
