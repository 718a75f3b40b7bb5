/* SPDX-License-Identifier: Apache-2.0 */
/* boot_linux.c - a Linux bzImage by the 64-bit boot protocol (Documentation/arch/x86/boot.rst).
 *
 * Guest physical memory when the kernel is entered:
 *   0x00000  BIOS data area: where the EBDA is, how much base memory
 *   0x01000  GDT, 0x02000 zero page, 0x03000 page tables (6 pages)
 *   0x10000  command line
 *   0x9fc00  EBDA, empty; ACPI tables above 0xe0000 (acpi.c)
 *   pref_address ..  the protected-mode part of the image; then init_size is the kernel's
 *   as high as allowed: the initrds, one after another
 *
 * The image is read where it runs, straight into guest memory, once, and unpacks itself.  Entering
 * an unpacked vmlinux instead was tried in the lab: it saves the guest 0.8 s of 6, and unpacking
 * here takes 0.5-0.8 s (LZ4; xz takes 6 s on either side), for a guest that then has no KASLR. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "kvm/boot_image.h"
#include "kvm/boot_initrd.h"

enum {
	GDT_AT = 0x1000,
	ZERO_PAGE_AT = 0x2000,
	PAGE_TABLES_AT = 0x3000,
	COMMAND_LINE_AT = 0x10000,
	COMMAND_LINE_ROOM = BOOT_LOW_END - COMMAND_LINE_AT,
};

/* Offsets in the file's first sectors, and the same ones in the zero page. */
enum {
	ZP_RSDP = 0x070,
	ZP_INITRD_HIGH = 0x0c0,
	ZP_INITRD_SIZE_HIGH = 0x0c4,
	ZP_CMDLINE_HIGH = 0x0c8,
	ZP_E820_ENTRIES = 0x1e8,
	HDR_START = 0x1f1,
	HDR_SETUP_SECTS = 0x1f1,
	HDR_SYSSIZE = 0x1f4,
	HDR_VID_MODE = 0x1fa,
	HDR_BOOT_FLAG = 0x1fe,
	HDR_JUMP = 0x201, /* the jump's distance: where the header ends */
	HDR_MAGIC = 0x202,
	HDR_VERSION = 0x206,
	HDR_LOADER = 0x210,
	HDR_LOADFLAGS = 0x211,
	HDR_INITRD = 0x218,
	HDR_INITRD_SIZE = 0x21c,
	HDR_CMDLINE = 0x228,
	HDR_INITRD_MAX = 0x22c,
	HDR_ALIGNMENT = 0x230,
	HDR_RELOCATABLE = 0x234,
	HDR_XLOADFLAGS = 0x236,
	HDR_CMDLINE_SIZE = 0x238,
	HDR_PREF_ADDRESS = 0x258,
	HDR_INIT_SIZE = 0x260,
	HDR_END_2_12 = 0x268, /* all fields of version 2.12 lie before */
	HDR_END_MAX = 0x290,  /* what the zero page has room for */
	ZP_E820_TABLE = 0x2d0,
};

enum { E820_RAM = 1, E820_RESERVED = 2, E820_ENTRY_SIZE = 20 };
enum { LOADED_HIGH = 1, XLF_KERNEL_64 = 1, LOADER_UNDEFINED = 0xff, ENTRY_64 = 0x200 };

/* What the header says, checked. */
struct linux_image {
	uint64_t payload_at;   /* offset of the protected-mode part in the file */
	uint64_t payload_size; /* bytes */
	uint64_t load;         /* guest physical */
	uint64_t room;         /* bytes from `load` that the kernel uses before it looks */
	uint64_t initrd_end;   /* the initrds end at or below this */
	uint32_t cmdline_size; /* longest command line, without its NUL */
	uint32_t header_end;   /* offset behind the header's last byte that is copied */
};

bool boot_linux_claims(const struct boot_head *head)
{
	return get16(head->bytes + HDR_BOOT_FLAG) == 0xaa55 &&
	       !memcmp(head->bytes + HDR_MAGIC, "HdrS", 4);
}

static int check_kind(const struct boot_file *file, const struct boot_head *head, struct why *why)
{
	const uint8_t *h = head->bytes;
	unsigned version = get16(h + HDR_VERSION);

	if (head->length < HDR_END_2_12)
		return why_set(why, -EINVAL,
			       "kernel %s: truncated: %u bytes are less than its header (copy it "
			       "again)",
			       file->path, head->length);
	if (version < 0x20c)
		return why_set(why, -ENOEXEC,
			       "kernel %s: too old: boot protocol %u.%02u, 2.12 is needed (give "
			       "Linux 3.8 or newer)",
			       file->path, version >> 8, version & 0xff);
	if (!(get16(h + HDR_XLOADFLAGS) & XLF_KERNEL_64))
		return why_set(why, -ENOEXEC,
			       "kernel %s: has no 64-bit entry (give a kernel for x86-64)",
			       file->path);
	return 0;
}

static int absurd(const struct boot_file *file, const char *field, uint64_t value, struct why *why)
{
	return why_set(why, -EINVAL,
		       "kernel %s: damaged: its header says %s 0x%llx (copy it again)", file->path,
		       field, (unsigned long long)value);
}

/* Where the image goes and what it needs: all arithmetic on the file's own figures is here. */
static int parse_header(const struct boot_file *file, const struct boot_head *head,
			struct linux_image *image, struct why *why)
{
	const uint8_t *h = head->bytes;
	uint64_t sectors = h[HDR_SETUP_SECTS] ? h[HDR_SETUP_SECTS] : 4;
	uint64_t alignment = get32(h + HDR_ALIGNMENT);
	uint64_t pref = get64(h + HDR_PREF_ADDRESS);
	uint64_t init_size = get32(h + HDR_INIT_SIZE);
	uint64_t code_size = 16ULL * get32(h + HDR_SYSSIZE), promised;

	image->payload_at = (sectors + 1) * 512;
	promised = image->payload_at + (code_size > ENTRY_64 ? code_size : ENTRY_64 + 1);
	if (file->size < promised)
		return why_set(why, -EINVAL,
			       "kernel %s: truncated: %llu bytes, its header promises %llu (copy "
			       "it again)",
			       file->path, (unsigned long long)file->size,
			       (unsigned long long)promised);
	image->payload_size = file->size - image->payload_at;

	image->header_end = HDR_MAGIC + h[HDR_JUMP];
	if (image->header_end < HDR_END_2_12)
		return absurd(file, "a header that ends at", image->header_end, why);
	if (image->header_end > HDR_END_MAX)
		image->header_end = HDR_END_MAX;

	if (!alignment || (alignment & (alignment - 1)))
		return absurd(file, "kernel_alignment", alignment, why);
	image->load = pref;
	if (h[HDR_RELOCATABLE])
		image->load =
			boot_align(pref > BOOT_HIGH_START ? pref : BOOT_HIGH_START, alignment);
	if (image->load < BOOT_HIGH_START || image->load >= MEMORY_LOW_MAX)
		return absurd(file, "pref_address", pref, why);

	image->room = init_size > image->payload_size ? init_size : image->payload_size;
	image->initrd_end = (uint64_t)get32(h + HDR_INITRD_MAX) + 1;
	image->cmdline_size = get32(h + HDR_CMDLINE_SIZE);
	return 0;
}

/* The initrds' place, as high as memory and kernel allow; 0 when there are none. */
static int place_initrds(const struct guest_memory *memory, const struct linux_image *image,
			 const struct boot_file *file, uint64_t total, uint64_t *ret_at,
			 struct why *why)
{
	uint64_t kernel_end = boot_align(image->load + image->room, MEMORY_PAGE);
	uint64_t need = boot_align(kernel_end + total, MEMORY_PAGE);
	uint64_t end = memory->low_size < image->initrd_end ? memory->low_size : image->initrd_end;

	*ret_at = 0;
	if (kernel_end > MEMORY_LOW_MAX)
		return absurd(file, "that it needs memory up to", kernel_end, why);
	if (need > memory->low_size && need <= MEMORY_LOW_MAX)
		return why_set(why, -ENOSPC,
			       "kernel %s: memory too small: %llu MiB, to start it%s takes at "
			       "least %llu MiB (give more with --memory)",
			       file->path, boot_mib(memory->low_size),
			       total ? " with its initrd" : "", boot_mib(need));
	if (!total)
		return 0;
	if (kernel_end + total > end)
		return why_set(why, -EINVAL,
			       "initrd: too large: %llu MiB, kernel %s leaves %llu MiB for it "
			       "(make it smaller)",
			       boot_mib(total), file->path,
			       end > kernel_end ? boot_mib(end - kernel_end) : 0);
	*ret_at = (end - total) & ~(MEMORY_PAGE - 1);
	return 0;
}

/* Appends one "K=V"; Linux takes blanks in a value only between quotes. */
static int append_env(FILE *line, const char *blank, const char *pair, struct why *why)
{
	size_t key = strcspn(pair, "=");

	if (!key || !pair[key] || strpbrk(pair, "\"\n") || strcspn(pair, " \t") < key)
		return why_set(why, -EINVAL,
			       "environment '%s': Linux takes K=V, without quotes, line ends, and "
			       "blanks in K (write it in another form)",
			       pair);
	if (strpbrk(pair, " \t"))
		fprintf(line, "%s%.*s=\"%s\"", blank, (int)key, pair, pair + key + 1);
	else
		fprintf(line, "%s%s", blank, pair);
	return 0;
}

static int write_command_line(const struct guest_memory *memory, const struct boot_config *config,
			      const struct boot_file *file, const struct linux_image *image,
			      struct why *why)
{
	uint64_t limit = COMMAND_LINE_ROOM - 1;
	char *text = NULL;
	size_t length = 0;
	FILE *line = open_memstream(&text, &length);
	int error = 0;

	if (!line)
		return why_set(why, -ENOMEM, "command line: no memory (close other programs)");
	fputs(config->append, line);
	for (const char *const *env = config->env; env && *env && !error; env++)
		error = append_env(line, *config->append || env > config->env ? " " : "", *env,
				   why);
	if (fclose(line) && !error)
		error = why_set(why, -ENOMEM, "command line: no memory (close other programs)");

	if (image->cmdline_size < limit)
		limit = image->cmdline_size;
	if (!error && length > limit)
		error = why_set(why, -EINVAL,
				"command line: %zu characters, kernel %s takes at most %llu "
				"(shorten --append and --env)",
				length, file->path, (unsigned long long)limit);
	if (!error)
		memcpy(memory_at(memory, COMMAND_LINE_AT, length + 1), text, length + 1);
	free(text);
	return error;
}

static void write_e820(const struct guest_memory *memory, uint8_t *zero_page)
{
	uint8_t *entry = zero_page + ZP_E820_TABLE;
	struct boot_range ranges[BOOT_RANGES];
	size_t count = boot_memory_map(memory, ranges);

	zero_page[ZP_E820_ENTRIES] = (uint8_t)count;
	for (size_t i = 0; i < count; i++, entry += E820_ENTRY_SIZE) {
		put64(entry, ranges[i].start);
		put64(entry + 8, ranges[i].end - ranges[i].start);
		put32(entry + 16, ranges[i].ram ? E820_RAM : E820_RESERVED);
	}
}

static void write_zero_page(const struct guest_memory *memory, const struct boot_head *head,
			    const struct linux_image *image, uint64_t initrd_at,
			    uint64_t initrd_size, uint64_t rsdp_gpa)
{
	uint8_t *zp = memory_at(memory, ZERO_PAGE_AT, MEMORY_PAGE);

	memset(zp, 0, MEMORY_PAGE);
	memcpy(zp + HDR_START, head->bytes + HDR_START, image->header_end - HDR_START);
	put16(zp + HDR_VID_MODE, 0xffff); /* "normal": there is no display */
	zp[HDR_LOADER] = LOADER_UNDEFINED;
	zp[HDR_LOADFLAGS] |= LOADED_HIGH;
	put32(zp + HDR_INITRD, (uint32_t)initrd_at);
	put32(zp + ZP_INITRD_HIGH, (uint32_t)(initrd_at >> 32));
	put32(zp + HDR_INITRD_SIZE, (uint32_t)initrd_size);
	put32(zp + ZP_INITRD_SIZE_HIGH, (uint32_t)(initrd_size >> 32));
	put32(zp + HDR_CMDLINE, COMMAND_LINE_AT);
	put32(zp + ZP_CMDLINE_HIGH, 0);
	put64(zp + ZP_RSDP, rsdp_gpa); /* kernels before 2.14 search for it below 1 MiB */
	write_e820(memory, zp);
}

/* Identity map of the first 4 GiB in 2 MiB pages: one PML4, one PDPT, four page directories.
 * Accessed and dirty are set beforehand, so that no walk has to write. */
static void write_page_tables(const struct guest_memory *memory)
{
	enum { PRESENT_WRITE = 0x3, ACCESSED_DIRTY = 0x60, LARGE = 0x80 };
	enum { DIRECTORIES = 4, ENTRIES = DIRECTORIES * 512 };
	const uint64_t pdpt = PAGE_TABLES_AT + MEMORY_PAGE, directory = pdpt + MEMORY_PAGE;
	uint8_t *at = memory_at(memory, PAGE_TABLES_AT, (2 + DIRECTORIES) * MEMORY_PAGE);

	memset(at, 0, 2 * MEMORY_PAGE);
	put64(at, pdpt | PRESENT_WRITE | ACCESSED_DIRTY);
	for (uint64_t i = 0; i < DIRECTORIES; i++)
		put64(at + MEMORY_PAGE + 8 * i,
		      (directory + i * MEMORY_PAGE) | PRESENT_WRITE | ACCESSED_DIRTY);
	for (uint64_t i = 0; i < ENTRIES; i++)
		put64(at + 2 * MEMORY_PAGE + 8 * i,
		      i << 21 | PRESENT_WRITE | ACCESSED_DIRTY | LARGE);
}

/* Where Linux looks for the end of base memory (reserve_bios_regions). */
static void write_bios_data(const struct guest_memory *memory)
{
	uint8_t *bda = memory_at(memory, 0x400, 0x100);

	put16(bda + 0x0e, BOOT_LOW_END >> 4);
	put16(bda + 0x13, BOOT_LOW_END >> 10);
}

int boot_linux_load(const struct guest_memory *memory, const struct boot_config *config,
		    const struct boot_file *file, const struct boot_head *head,
		    struct boot_state *ret_state, struct why *why)
{
	struct linux_image image = {0};
	struct boot_initrds initrds = {0};
	uint64_t initrd_at = 0;
	int error = check_kind(file, head, why);

	if (!error)
		error = parse_header(file, head, &image, why);
	if (!error)
		error = boot_initrds_open(config->initrds, &initrds, why);
	if (!error)
		error = place_initrds(memory, &image, file, initrds.total, &initrd_at, why);
	if (!error)
		error = write_command_line(memory, config, file, &image, why);
	if (!error)
		error = boot_file_read(file, image.payload_at, image.payload_size,
				       memory_at(memory, image.load, image.payload_size), why);
	if (!error && initrds.total)
		error = boot_initrds_read(&initrds, memory_at(memory, initrd_at, initrds.total),
					  why);
	if (!error) {
		write_bios_data(memory);
		write_zero_page(memory, head, &image, initrd_at, initrds.total, config->rsdp_gpa);
		write_page_tables(memory);
		boot_write_gdt(BOOT_LONG64, memory_at(memory, GDT_AT, BOOT_GDT_SIZE));
		*ret_state = (struct boot_state){.mode = BOOT_LONG64,
						 .entry = image.load + ENTRY_64,
						 .rsi = ZERO_PAGE_AT,
						 .cr3 = PAGE_TABLES_AT,
						 .gdt_gpa = GDT_AT,
						 .gdt_limit = BOOT_GDT_SIZE - 1};
	}
	boot_initrds_close(&initrds);
	return error;
}
