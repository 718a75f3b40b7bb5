/* SPDX-License-Identifier: Apache-2.0 */
/* memory.c - guest memory: mapping, and pointers that cannot lead outside. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#include "kvm/memory.h"

/* NORESERVE: a guest of 16 GiB that uses 200 MiB must start on a host with 4 GiB free.
 *
 * The start is where a large page begins: KVM maps one only where guest physical and our address
 * agree below it, and each that it cannot map costs the guest 512 exits.  In the lab the kernel's
 * first line comes after 1.2 s so, after 3.1 s without. */
static uint8_t *map(uint64_t size)
{
	uint64_t room = size + MEMORY_LARGE_PAGE;
	uint8_t *at = mmap(NULL, room, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t before;

	if (at == MAP_FAILED)
		return NULL;
	before = (MEMORY_LARGE_PAGE - (uintptr_t)at % MEMORY_LARGE_PAGE) % MEMORY_LARGE_PAGE;
	if (before)
		munmap(at, before);
	munmap(at + before + size, MEMORY_LARGE_PAGE - before);
	(void)madvise(at + before, size, MADV_HUGEPAGE); /* a kernel without them says no */
	return at + before;
}

/* What a guest can have on this host: addresses end with the CPU's physical ones (CPUID leaf
 * 0x80000008), and KVM's slots have less than 2^31 pages (KVM_MEM_MAX_NR_PAGES). */
static uint64_t most(void)
{
	const uint64_t slot = ((1ULL << 31) - 1) * MEMORY_PAGE;
	uint32_t eax = 0x80000008, ebx, ecx, edx; /* each x86-64 CPU has that leaf */
	uint64_t high;

	__asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx));
	high = (1ULL << (eax & 0x3f)) - MEMORY_HIGH_BASE;
	return MEMORY_LOW_MAX + (high < slot ? high : slot);
}

int memory_create(uint64_t size, struct guest_memory *ret_memory, struct why *why)
{
	struct guest_memory m = {0};

	if (size < MEMORY_MIN || size % MEMORY_PAGE)
		return why_set(why, -EINVAL,
			       "guest memory: %llu bytes is not possible (give at least %llu MiB, "
			       "in steps of 4 KiB)",
			       (unsigned long long)size, MEMORY_MIN >> 20);
	if (size > most())
		return why_set(why, -EINVAL,
			       "guest memory: %llu MiB is not possible here (give at most %llu "
			       "MiB, which is what its addresses and KVM can name)",
			       (unsigned long long)size >> 20, (unsigned long long)most() >> 20);
	m.low_size = size < MEMORY_LOW_MAX ? size : MEMORY_LOW_MAX;
	m.high_size = size - m.low_size;
	m.low = map(m.low_size);
	if (m.low && m.high_size)
		m.high = map(m.high_size);
	if (!m.low || (m.high_size && !m.high)) {
		int error = errno;

		memory_destroy(&m);
		return why_set(why, -ENOMEM,
			       "guest memory: cannot map %llu MiB: %s (give less memory)",
			       (unsigned long long)size >> 20, strerror(error));
	}
	*ret_memory = m;
	return 0;
}

void memory_destroy(struct guest_memory *memory)
{
	if (memory->low)
		munmap(memory->low, memory->low_size);
	if (memory->high)
		munmap(memory->high, memory->high_size);
	*memory = (struct guest_memory){0};
}

void *memory_at(const struct guest_memory *memory, uint64_t gpa, uint64_t length)
{
	/* Written as "what is left from here", so that no sum can wrap. */
	if (gpa < memory->low_size)
		return length <= memory->low_size - gpa ? memory->low + gpa : NULL;
	if (gpa < MEMORY_HIGH_BASE || gpa - MEMORY_HIGH_BASE >= memory->high_size)
		return NULL;
	gpa -= MEMORY_HIGH_BASE;
	return length <= memory->high_size - gpa ? memory->high + gpa : NULL;
}
