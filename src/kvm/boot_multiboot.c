/* SPDX-License-Identifier: Apache-2.0 */
/* boot_multiboot.c - a Multiboot 1 image (Multiboot Specification 0.6.96): 32-bit ELF, or flat with
 * address fields in the header.
 *
 * Guest physical memory when it is entered:
 *   0x10000  info structure, memory map, list of modules, strings, GDT; behind the modules instead
 *            when the image itself lies below 640 KiB
 *   as the image says: its segments
 *   behind it, each from a page's start: the environment, then the other modules
 * The order is that of the loaders that images are tried with, so that one which simply uses what
 * lies behind its modules works here, too. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "kvm/boot_image.h"

enum { MAGIC = 0x1badb002, LOADER_MAGIC = 0x2badb002 };
enum { LOW_AT = 0x10000 };

/* Header (3.1) and its flags. */
enum { H_FLAGS = 4, H_CHECKSUM = 8, H_ADDRESSES = 12, H_MIN = 12, H_MIN_ADDRESSES = 32 };
enum { F_VIDEO = 1 << 2, F_UNKNOWN = 0xfff8, F_ADDRESSES = 1 << 16 };

/* Info structure (3.3). */
enum { I_FLAGS = 0, I_MEM_LOWER = 4, I_MEM_UPPER = 8, I_CMDLINE = 16, I_MODS = 20, I_MMAP = 44 };
enum { I_LOADER_NAME = 64, I_SIZE = 120, MODULE_SIZE = 16, MMAP_ENTRY_SIZE = 24 };
enum { IF_MEMORY = 1 << 0, IF_CMDLINE = 1 << 2, IF_MODS = 1 << 3, IF_MMAP = 1 << 6 };
enum { IF_LOADER_NAME = 1 << 9 };

static const char LOADER_NAME[] = "vmtime", ENV_NAME[] = "env";

enum { SEGMENTS_MAX = 64 };

struct segment {
	uint64_t file_at, file_size; /* bytes from the file, the rest is zero */
	uint64_t gpa, size;          /* in guest memory; size >= file_size, not 0 */
};

struct image {
	const struct boot_file *file;
	uint64_t header_at; /* offset in the file */
	struct segment segments[SEGMENTS_MAX];
	size_t count;
	uint64_t entry;
	uint64_t start, end; /* guest physical, around all segments */
};

struct module {
	const char *name;
	uint64_t gpa, size;
};

/* The list is the environment's module, if there is one, and then one for each file. */
struct modules {
	struct boot_file *files;
	size_t file_count;
	struct module *list;
	size_t count;
	char *env_text; /* lines K=V; NULL: no environment */
	uint64_t end;   /* guest physical, page aligned: behind the last one */
};

/* Info structure and all that it points to, in one piece; offsets from its start. */
enum { GDT_OFFSET = 128, MMAP_OFFSET = 160 };
enum { MODS_OFFSET = MMAP_OFFSET + BOOT_RANGES * MMAP_ENTRY_SIZE };

static bool find_header(const struct boot_head *head, uint64_t *ret_at)
{
	for (uint32_t at = 0; at + H_MIN <= head->length; at += 4) {
		const uint8_t *h = head->bytes + at;

		if (get32(h) == MAGIC && MAGIC + get32(h + H_FLAGS) + get32(h + H_CHECKSUM) == 0) {
			*ret_at = at;
			return true;
		}
	}
	return false;
}

bool boot_multiboot_claims(const struct boot_head *head)
{
	uint64_t at;

	return find_header(head, &at);
}

static int absurd(const struct image *image, const char *what, uint64_t value, struct why *why)
{
	return why_set(why, -EINVAL, "kernel %s: damaged: %s 0x%llx (build or copy it again)",
		       image->file->path, what, (unsigned long long)value);
}

/* Takes one piece of the image: within the file, where RAM can be, on no other piece. */
static int add_segment(struct image *image, struct segment s, struct why *why)
{
	uint64_t end = s.gpa + s.size; /* both are below 2^32 */

	if (!s.size)
		return 0;
	if (image->count == SEGMENTS_MAX)
		return absurd(image, "more segments than", SEGMENTS_MAX, why);
	if (s.file_size > s.size)
		return absurd(image, "more bytes in the file than in memory at", s.gpa, why);
	if (s.file_size &&
	    (s.file_size > image->file->size || s.file_at > image->file->size - s.file_size))
		return why_set(why, -EINVAL,
			       "kernel %s: truncated: %llu bytes, its headers promise %llu (copy "
			       "it again)",
			       image->file->path, (unsigned long long)image->file->size,
			       (unsigned long long)s.file_at + s.file_size);
	if (end > MEMORY_LOW_MAX || (s.gpa < BOOT_HIGH_START && end > BOOT_LOW_END))
		return absurd(image, "memory that no machine has free, at", s.gpa, why);
	for (size_t i = 0; i < image->count; i++) {
		const struct segment *other = &image->segments[i];

		if (s.gpa < other->gpa + other->size && other->gpa < end)
			return absurd(image, "two segments overlap at", s.gpa, why);
	}
	if (!image->count || s.gpa < image->start)
		image->start = s.gpa;
	if (end > image->end)
		image->end = end;
	image->segments[image->count++] = s;
	return 0;
}

/* The address fields of the header (3.1.3) say it all: one segment. */
static int parse_flat(struct image *image, const uint8_t *fields, struct why *why)
{
	uint32_t header = get32(fields), load = get32(fields + 4), load_end = get32(fields + 8);
	uint32_t bss_end = get32(fields + 12), before = header - load;
	struct segment s = {.gpa = load};

	if (header < load || before > image->header_at)
		return absurd(image, "its header says load_addr", load, why);
	s.file_at = image->header_at - before;
	s.file_size = load_end ? load_end - load : image->file->size - s.file_at;
	if (load_end && load_end < load)
		return absurd(image, "its header says load_end_addr", load_end, why);
	if (s.file_size > MEMORY_LOW_MAX)
		return absurd(image, "its size is", s.file_size, why);
	s.size = s.file_size;
	if (bss_end) {
		if (bss_end < load + s.file_size)
			return absurd(image, "its header says bss_end_addr", bss_end, why);
		s.size = bss_end - load;
	}
	image->entry = get32(fields + 16);
	return add_segment(image, s, why);
}

/* Program headers of a 32-bit ELF file (System V ABI, chapter 5).  The entry is a virtual address:
 * it moves with the segment that it lies in. */
static int parse_elf(struct image *image, const struct boot_head *head, struct why *why)
{
	enum { PT_LOAD = 1, PHDR_SIZE = 32, EM_386 = 3, CLASS_32 = 1, CLASS_64 = 2 };
	const uint8_t *e = head->bytes;
	uint64_t table = get32(e + 28), stride = get16(e + 42), count = get16(e + 44);
	uint32_t entry = get32(e + 24);

	if (head->length < 52 || memcmp(e, "\177ELF", 4) != 0)
		return why_set(why, -ENOEXEC,
			       "kernel %s: its Multiboot header has no address fields, and it is "
			       "no ELF file (set flag 16 and the fields)",
			       image->file->path);
	if (e[4] == CLASS_64)
		return why_set(why, -ENOEXEC,
			       "kernel %s: is a 64-bit ELF file, Multiboot 1 takes 32-bit ones "
			       "(convert it: objcopy -O elf32-i386)",
			       image->file->path);
	if (e[4] != CLASS_32 || e[5] != 1 || get16(e + 18) != EM_386)
		return why_set(why, -ENOEXEC,
			       "kernel %s: is an ELF file for another machine than "
			       "i386 (build it for i386)",
			       image->file->path);
	if (stride < PHDR_SIZE || table + stride * count > image->file->size)
		return absurd(image, "program headers beyond its end, at", table, why);

	image->entry = entry;
	for (uint64_t i = 0; i < count; i++) {
		uint8_t p[PHDR_SIZE] = {0};
		int error = boot_file_read(image->file, table + i * stride, sizeof(p), p, why);
		uint32_t vaddr = get32(p + 8), paddr = get32(p + 12), size = get32(p + 20);

		if (!error && get32(p) == PT_LOAD)
			error = add_segment(
				image, (struct segment){get32(p + 4), get32(p + 16), paddr, size},
				why);
		if (error)
			return error;
		if (get32(p) == PT_LOAD && entry >= vaddr && entry - vaddr < size)
			image->entry = paddr + (entry - vaddr);
	}
	return 0;
}

static int parse_image(const struct boot_head *head, struct image *image, struct why *why)
{
	const uint8_t *h;
	uint32_t flags;
	int error;

	if (!find_header(head, &image->header_at))
		return absurd(image, "no header", 0, why);
	h = head->bytes + image->header_at;
	flags = get32(h + H_FLAGS);
	if (flags & F_VIDEO)
		return why_set(why, -ENOEXEC,
			       "kernel %s: demands a video mode (header flag 2), and this machine "
			       "has no graphics (clear the flag)",
			       image->file->path);
	if (flags & F_UNKNOWN)
		return why_set(why, -ENOEXEC,
			       "kernel %s: demands header flag %d, which Multiboot 1 does not know "
			       "(clear the flag)",
			       image->file->path, __builtin_ctz(flags & F_UNKNOWN));
	if (!(flags & F_ADDRESSES))
		error = parse_elf(image, head, why);
	else if (image->header_at + H_MIN_ADDRESSES > head->length)
		error = absurd(image, "no room for the address fields of the header at",
			       image->header_at, why);
	else
		error = parse_flat(image, h + H_ADDRESSES, why);
	if (error)
		return error;
	for (size_t i = 0; i < image->count; i++)
		if (image->entry - image->segments[i].gpa < image->segments[i].file_size)
			return 0;
	return absurd(image, "its entry lies outside of its code, at", image->entry, why);
}

/* The environment as text, a line each.  0, or -ENOMEM. */
static int join_env(const char *const *env, char **ret_text, size_t *ret_length)
{
	FILE *text = open_memstream(ret_text, ret_length);

	if (!text)
		return -ENOMEM;
	while (env && *env)
		fprintf(text, "%s\n", *env++);
	return fclose(text) ? -ENOMEM : 0;
}

static void close_modules(struct modules *modules)
{
	for (size_t i = 0; i < modules->file_count; i++)
		boot_file_close(&modules->files[i]);
	free(modules->files);
	free(modules->list);
	free(modules->env_text);
}

/* Gives a module the next place; only the limit of the architecture counts here. */
static int add_module(struct modules *modules, const char *name, uint64_t size, struct why *why)
{
	if (size > MEMORY_LOW_MAX - modules->end)
		return why_set(why, -EINVAL,
			       "module %s: too large: %llu MiB, a guest has at most %llu MiB below "
			       "4 GiB (make it smaller)",
			       name, boot_mib(size), MEMORY_LOW_MAX >> 20);
	modules->list[modules->count++] = (struct module){name, modules->end, size};
	modules->end = boot_align(modules->end + size, MEMORY_PAGE);
	return 0;
}

/* Opens the modules and gives each its place, from `start` up; whether they fit is asked later. */
static int open_modules(const struct boot_config *config, uint64_t start, struct modules *modules,
			struct why *why)
{
	size_t wanted = 0, env_length = 0;
	int error = 0;

	while (config->initrds && config->initrds[wanted])
		wanted++;
	modules->files = calloc(wanted + 1, sizeof(*modules->files));
	modules->list = calloc(wanted + 1, sizeof(*modules->list));
	if (!modules->files || !modules->list ||
	    join_env(config->env, &modules->env_text, &env_length))
		return why_set(why, -ENOMEM, "modules: no memory (close other programs)");
	modules->end = boot_align(start, MEMORY_PAGE);
	if (env_length)
		error = add_module(modules, ENV_NAME, env_length, why);
	for (size_t i = 0; i < wanted && !error; i++) {
		struct boot_file *file = &modules->files[i];

		error = boot_file_open("module", config->initrds[i], file, why);
		if (error)
			break;
		modules->file_count++;
		error = add_module(modules, file->path, file->size, why);
	}
	return error;
}

static int read_modules(const struct guest_memory *memory, const struct modules *modules,
			struct why *why)
{
	size_t env = modules->count - modules->file_count;

	if (env)
		memcpy(memory_at(memory, modules->list[0].gpa, modules->list[0].size),
		       modules->env_text, modules->list[0].size);
	for (size_t i = 0; i < modules->file_count; i++) {
		const struct module *m = &modules->list[env + i];
		int error = boot_file_read(&modules->files[i], 0, m->size,
					   memory_at(memory, m->gpa, m->size), why);

		if (error)
			return error;
	}
	return 0;
}

static int read_segments(const struct guest_memory *memory, const struct image *image,
			 struct why *why)
{
	for (size_t i = 0; i < image->count; i++) {
		const struct segment *s = &image->segments[i];
		uint8_t *at = memory_at(memory, s->gpa, s->size);
		int error = boot_file_read(image->file, s->file_at, s->file_size, at, why);

		if (error)
			return error;
		memset(at + s->file_size, 0, s->size - s->file_size);
	}
	return 0;
}

static uint64_t info_size(const struct boot_config *config, const struct modules *modules)
{
	uint64_t size = MODS_OFFSET + modules->count * MODULE_SIZE + sizeof(LOADER_NAME) +
			strlen(config->kernel) + 1 + strlen(config->append) + 1;

	for (size_t i = 0; i < modules->count; i++)
		size += strlen(modules->list[i].name) + 1;
	return size;
}

/* Where text goes next, in the guest and here. */
struct strings {
	uint8_t *at;
	uint64_t gpa;
};

/* Returns the guest's address of a copy of `text`. */
static uint32_t add_string(struct strings *strings, const char *text)
{
	size_t size = strlen(text) + 1;
	uint32_t gpa = (uint32_t)strings->gpa;

	memcpy(strings->at, text, size);
	strings->at += size;
	strings->gpa += size;
	return gpa;
}

static uint32_t write_mmap(const struct guest_memory *memory, uint8_t *at)
{
	struct boot_range ranges[BOOT_RANGES];
	size_t count = boot_memory_map(memory, ranges);

	for (size_t i = 0; i < count; i++, at += MMAP_ENTRY_SIZE) {
		put32(at, MMAP_ENTRY_SIZE - 4); /* the size does not count itself */
		put64(at + 4, ranges[i].start);
		put64(at + 12, ranges[i].end - ranges[i].start);
		put32(at + 20, ranges[i].ram ? 1 : 2);
	}
	return (uint32_t)count * MMAP_ENTRY_SIZE;
}

static void write_info(const struct guest_memory *memory, const struct boot_config *config,
		       const struct modules *modules, uint64_t gpa, uint64_t size)
{
	uint8_t *info = memory_at(memory, gpa, size), *mods = info + MODS_OFFSET;
	uint64_t strings_at = MODS_OFFSET + modules->count * MODULE_SIZE;
	struct strings strings = {info + strings_at, gpa + strings_at};

	memset(info, 0, size);
	put32(info + I_FLAGS, IF_MEMORY | IF_CMDLINE | IF_MODS | IF_MMAP | IF_LOADER_NAME);
	put32(info + I_MEM_LOWER, BOOT_LOW_END >> 10);
	put32(info + I_MEM_UPPER, (uint32_t)((memory->low_size - BOOT_HIGH_START) >> 10));
	put32(info + I_MMAP, write_mmap(memory, info + MMAP_OFFSET));
	put32(info + I_MMAP + 4, (uint32_t)gpa + MMAP_OFFSET);
	put32(info + I_MODS, (uint32_t)modules->count);
	put32(info + I_MODS + 4, (uint32_t)gpa + MODS_OFFSET);
	for (size_t i = 0; i < modules->count; i++, mods += MODULE_SIZE) {
		const struct module *m = &modules->list[i];

		put32(mods, (uint32_t)m->gpa);
		put32(mods + 4, (uint32_t)(m->gpa + m->size));
		put32(mods + 8, add_string(&strings, m->name));
	}
	put32(info + I_LOADER_NAME, add_string(&strings, LOADER_NAME));
	/* Programs take the first word for their own name, as from a shell. */
	put32(info + I_CMDLINE, add_string(&strings, config->kernel));
	if (*config->append) {
		strings.at[-1] = ' ';
		add_string(&strings, config->append);
	}
	boot_write_gdt(BOOT_PROTECTED32, info + GDT_OFFSET);
}

int boot_multiboot_load(const struct guest_memory *memory, const struct boot_config *config,
			const struct boot_file *file, const struct boot_head *head,
			struct boot_state *ret_state, struct why *why)
{
	struct image image = {.file = file};
	struct modules modules = {0};
	uint64_t info = LOW_AT, size = 0, end = 0;
	int error = parse_image(head, &image, why);

	if (!error)
		error = open_modules(config,
				     image.end > BOOT_HIGH_START ? image.end : BOOT_HIGH_START,
				     &modules, why);
	if (!error) {
		size = info_size(config, &modules);
		end = modules.end;
		if (image.start < BOOT_HIGH_START || size > BOOT_LOW_END - LOW_AT) {
			info = modules.end;
			end += size;
		}
		if (end > memory->low_size)
			error = why_set(
				why, -ENOSPC,
				"kernel %s: memory too small: %llu MiB, to start it%s takes "
				"at least %llu MiB (give more with --memory)",
				file->path, boot_mib(memory->low_size),
				modules.count ? " with its modules" : "", boot_mib(end));
	}
	if (!error)
		error = read_segments(memory, &image, why);
	if (!error)
		error = read_modules(memory, &modules, why);
	if (!error) {
		write_info(memory, config, &modules, info, size);
		*ret_state = (struct boot_state){.mode = BOOT_PROTECTED32,
						 .entry = image.entry,
						 .gdt_gpa = info + GDT_OFFSET,
						 .gdt_limit = BOOT_GDT_SIZE - 1,
						 .eax = LOADER_MAGIC,
						 .ebx = (uint32_t)info};
	}
	close_modules(&modules);
	return error;
}
