/* SPDX-License-Identifier: Apache-2.0 */
/* files.h - where the command finds what belongs to it. */
#ifndef CMD_FILES_H
#define CMD_FILES_H

#include <stddef.h>

/* Path of this very executable, links resolved.  0, or negative errno. */
int files_self(char *buf, size_t size);

/* A file that came with the command: beside the executable in the build tree ("lab/modules"), else
 * in ../lib/vmtime.  0, -ENOENT when it is in neither, -ENAMETOOLONG. */
int files_data(const char *name, char *buf, size_t size);

/* Folder of the stock kernel that scripts/fetch-kernels has unpacked, links resolved, so that its
 * last part is the version: `which` is "guest" or "lab".  0, or -ENOENT when it was not fetched,
 * -ENAMETOOLONG. */
int files_kernel_folder(const char *which, char *buf, size_t size);

/* The image in it, boot/vmlinuz-VERSION.  Errors as above; then buf is as it was. */
int files_kernel(const char *which, char *buf, size_t size);

/* The same image as an ELF file, boot/vmlinux-VERSION, which not each of them has. */
int files_kernel_unpacked(const char *which, char *buf, size_t size);

#endif
