/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot_fuzz.c - any bytes as a snapshot, in pieces of any size.
 *
 * The first byte's lowest bit: checksums and numbers are made right first, so that what is behind
 * them is reached as well.  The others: how many bytes the source gives at a time. */
#include <stdlib.h>
#include <string.h>

#include "move/snapshot.h"
#include "stream_seal.h"
#include "unit/buffer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAGE = 4096, LOW = 16 << 20, HIGH_PAGES = 5 };

static void read_it(struct buffer *b)
{
	static struct guest_memory memory;
	static uint8_t *guard;
	struct stream_source source = buffer_source(b);
	struct image_stats stats;
	struct snapshot *s;
	struct why why = {""};
	int result;

	if (!memory.low) {
		if (memory_create(LOW, &memory, NULL) < 0 || !(guard = malloc(HIGH_PAGES * PAGE)))
			abort();
		memory.high = guard; /* so that a sanitizer sees the first byte beyond */
		memory.high_size = HIGH_PAGES * PAGE;
	}
	result = snapshot_read(&source, "input", &s, &why);
	if (result == 0) {
		result = snapshot_memory(s, &memory, &stats, &why);
		if (result == 0 && stats.pages != LOW / PAGE + HIGH_PAGES)
			abort();
		snapshot_close(s);
	}
	if (result > 0 || (result < 0 && strncmp(why.text, "input: ", 7) != 0))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buffer b = {0};

	if (size < 1)
		return 0;
	b.bytes = malloc(size);
	if (!b.bytes)
		abort();
	b.length = size - 1;
	b.piece = data[0] / 2 * 7u;
	memcpy(b.bytes, data + 1, size - 1);
	if (data[0] & 1)
		seal_stream(b.bytes, b.length);
	read_it(&b);
	free(b.bytes);
	return 0;
}
