/* SPDX-License-Identifier: Apache-2.0 */
/* boot.c - opens a kernel, finds out which kind it is, and hands it to that kind's loader. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kvm/acpi.h"
#include "kvm/boot_image.h"

int boot_file_open(const char *role, const char *path, struct boot_file *ret_file, struct why *why)
{
	/* Nonblocking: opening a FIFO that nobody writes to must end in a sentence. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int error;
	struct stat st;

	if (fd < 0) {
		error = errno;
		return why_set(why, -error, "%s %s: %s (check the path and its permissions)", role,
			       path, strerror(error));
	}
	if (fstat(fd, &st)) {
		error = errno;
		close(fd);
		return why_set(why, -error, "%s %s: %s (copy it to a local file)", role, path,
			       strerror(error));
	}
	if (!S_ISREG(st.st_mode) || st.st_size <= 0) {
		close(fd);
		return why_set(why, -EINVAL, "%s %s: %s (give a file that holds one)", role, path,
			       S_ISREG(st.st_mode) ? "is empty" : "is not a regular file");
	}
	*ret_file = (struct boot_file){.fd = fd, .role = role, .path = path, (uint64_t)st.st_size};
	return 0;
}

void boot_file_close(struct boot_file *file)
{
	close(file->fd);
	file->fd = -1;
}

int boot_file_read(const struct boot_file *file, uint64_t offset, uint64_t length, void *to,
		   struct why *why)
{
	uint8_t *at = to;

	while (length) {
		ssize_t got = pread(file->fd, at, length, (off_t)offset);
		int error = errno;

		if (got < 0 && error == EINTR)
			continue;
		if (got < 0)
			return why_set(why, -error, "%s %s: %s (copy it to a local file)",
				       file->role, file->path, strerror(error));
		if (!got)
			return why_set(why, -EINVAL,
				       "%s %s: became shorter while it was read (try again when it "
				       "is complete)",
				       file->role, file->path);
		at += got;
		offset += (uint64_t)got;
		length -= (uint64_t)got;
	}
	return 0;
}

void boot_write_gdt(enum boot_mode mode, void *gdt)
{
	/* Present, accessed, base 0, limit 4 GiB; code: execute/read, L or D by mode; data:
	 * read/write (SDM 3A, 3.4.5). */
	const uint64_t table[BOOT_GDT_SIZE / 8] = {
		[2] = mode == BOOT_LONG64 ? 0x00af9b000000ffff : 0x00cf9b000000ffff,
		[3] = 0x00cf93000000ffff,
	};

	memcpy(gdt, table, sizeof(table));
}

size_t boot_memory_map(const struct guest_memory *memory, struct boot_range ranges[BOOT_RANGES])
{
	size_t count = 0;

	ranges[count++] = (struct boot_range){0, BOOT_LOW_END, true};
	ranges[count++] = (struct boot_range){BOOT_LOW_END, 0xa0000, false}; /* EBDA */
	ranges[count++] = (struct boot_range){ACPI_TABLES_GPA, ACPI_TABLES_END, false};
	ranges[count++] = (struct boot_range){BOOT_HIGH_START, memory->low_size, true};
	/* IOAPIC, HPET, LAPIC and whatever else the board answers up there. */
	ranges[count++] = (struct boot_range){0xfec00000, MEMORY_HIGH_BASE, false};
	if (memory->high_size)
		ranges[count++] = (struct boot_range){MEMORY_HIGH_BASE,
						      MEMORY_HIGH_BASE + memory->high_size, true};
	return count;
}

/* The words for something that neither loader takes; people hand over what lies beside it. */
static int refuse(const struct boot_file *file, const struct boot_head *head, struct why *why)
{
	const char *what = "is neither a Linux bzImage nor a Multiboot 1 image";

	if (!memcmp(head->bytes, "\177ELF", 4))
		what = "is an ELF file without a Multiboot 1 header, perhaps an uncompressed "
		       "vmlinux";
	return why_set(why, -ENOEXEC,
		       "kernel %s: %s (give the bzImage, such as /boot/vmlinuz-VERSION)",
		       file->path, what);
}

int boot_load(const struct guest_memory *memory, const struct boot_config *config,
	      struct boot_state *ret_state, struct why *why)
{
	struct boot_head head = {0};
	struct boot_file file = {0};
	int error = boot_file_open("kernel", config->kernel, &file, why);

	if (error)
		return error;
	head.length = (uint32_t)(file.size < BOOT_HEAD_MAX ? file.size : BOOT_HEAD_MAX);
	error = boot_file_read(&file, 0, head.length, head.bytes, why);
	if (!error) {
		if (boot_linux_claims(&head))
			error = boot_linux_load(memory, config, &file, &head, ret_state, why);
		else if (boot_multiboot_claims(&head))
			error = boot_multiboot_load(memory, config, &file, &head, ret_state, why);
		else
			error = refuse(&file, &head, why);
	}
	boot_file_close(&file);
	return error;
}
