/* SPDX-License-Identifier: Apache-2.0 */
/* vdso.c - the kernel's own clock_gettime, without the C library's way to it. */
#include <elf.h>
#include <link.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>

#include "host/vdso.h"

/* The parts of a loaded ELF file that name its functions. */
struct image {
	uintptr_t bias; /* from an address in the file to one in memory */
	const ElfW(Sym) * symbols;
	const char *names;
	const uint32_t *hash, *gnu_hash;
};

static bool open_image(uintptr_t base, struct image *ret_image)
{
	const ElfW(Ehdr) *header = (const void *)base;
	const ElfW(Phdr) *segment = (const void *)(base + header->e_phoff);
	const ElfW(Dyn) *dynamic = NULL;
	struct image i = {0};
	bool loaded = false;

	for (unsigned n = 0; n < header->e_phnum; n++) {
		if (segment[n].p_type == PT_LOAD && !loaded) {
			i.bias = base + segment[n].p_offset - segment[n].p_vaddr;
			loaded = true;
		} else if (segment[n].p_type == PT_DYNAMIC) {
			dynamic = (const void *)(base + segment[n].p_offset);
		}
	}
	if (!loaded || !dynamic)
		return false;
	for (; dynamic->d_tag != DT_NULL; dynamic++) {
		const void *at = (const void *)(i.bias + dynamic->d_un.d_ptr);

		if (dynamic->d_tag == DT_SYMTAB)
			i.symbols = at;
		else if (dynamic->d_tag == DT_STRTAB)
			i.names = at;
		else if (dynamic->d_tag == DT_HASH)
			i.hash = at;
		else if (dynamic->d_tag == DT_GNU_HASH)
			i.gnu_hash = at;
	}
	*ret_image = i;
	return i.symbols && i.names;
}

/* How many symbols there are is known only to the hash tables, of which newer kernels have but the
 * GNU one: there the last symbol is at the end of the last bucket's chain. */
static uint32_t count_symbols(const struct image *i)
{
	const uint32_t *buckets, *chains;
	uint32_t count, first, bloom_words, last = 0;

	if (i->hash)
		return i->hash[1];
	if (!i->gnu_hash)
		return 0;
	count = i->gnu_hash[0];
	first = i->gnu_hash[1];
	bloom_words = i->gnu_hash[2] * (uint32_t)(sizeof(ElfW(Addr)) / sizeof(uint32_t));
	buckets = i->gnu_hash + 4 + bloom_words;
	chains = buckets + count;
	for (uint32_t n = 0; n < count; n++)
		if (buckets[n] > last)
			last = buckets[n];
	if (last < first)
		return 0;
	while (!(chains[last - first] & 1))
		last++;
	return last + 1;
}

vdso_clock_gettime *vdso_find_clock_gettime(void)
{
	uintptr_t base = getauxval(AT_SYSINFO_EHDR);
	struct image i;
	uint32_t count;

	if (!base || !open_image(base, &i))
		return NULL;
	count = count_symbols(&i);
	for (uint32_t n = 0; n < count; n++) {
		if (i.symbols[n].st_shndx == SHN_UNDEF ||
		    strcmp(i.names + i.symbols[n].st_name, "__vdso_clock_gettime") != 0)
			continue;
		return (vdso_clock_gettime *)(i.bias + i.symbols[n].st_value);
	}
	return NULL;
}
