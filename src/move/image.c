/* SPDX-License-Identifier: Apache-2.0 */
/* image.c - guest memory in sections. */
#include "move/image.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "kvm/bytes.h"

/* Of a section's bytes. */
enum { GPA_AT = 0, PAGES_AT = 8, METHOD_AT = 12, DATA_AT = 16, ZERO_AT = 48, HEAD = 80 };
enum { METHOD_RAW = 0, METHOD_ZSTD = 1, VERSION = 1 };

/* The fastest one that still finds repetitions across a whole section. */
enum { LEVEL = 1 };

#define CONTENT (IMAGE_PAGES * MEMORY_PAGE)

static_assert(ZERO_AT - DATA_AT == IMAGE_PAGES / 8 && HEAD - ZERO_AT == IMAGE_PAGES / 8,
	      "a bit a page");
static_assert(HEAD + CONTENT <= STREAM_MOST, "stored as it is, a section's pages fit");

struct image {
	ZSTD_CCtx *compress;
	ZSTD_DCtx *decompress;
	struct image_stats stats;
	uint8_t bytes[STREAM_MOST]; /* of a section */
	uint8_t pages[CONTENT];
};

struct image *image_new(void)
{
	struct image *i = calloc(1, sizeof(*i));

	if (!i)
		return NULL;
	i->compress = ZSTD_createCCtx();
	i->decompress = ZSTD_createDCtx();
	if (!i->compress || !i->decompress ||
	    ZSTD_isError(ZSTD_CCtx_setParameter(i->compress, ZSTD_c_compressionLevel, LEVEL))) {
		image_free(i);
		return NULL;
	}
	return i;
}

void image_free(struct image *i)
{
	if (!i)
		return;
	ZSTD_freeCCtx(i->compress);
	ZSTD_freeDCtx(i->decompress);
	free(i);
}

void image_stats(const struct image *image, struct image_stats *ret_stats)
{
	*ret_stats = image->stats;
}

/* Most pages that are not zero show it in their first word. */
static bool is_zero(const uint8_t *page)
{
	return get64(page) == 0 && memcmp(page, page + 8, MEMORY_PAGE - 8) == 0;
}

static bool bit(const uint8_t *bits, uint32_t n)
{
	return bits[n / 8] >> n % 8 & 1;
}

static void set_bit(uint8_t *bits, uint32_t n)
{
	bits[n / 8] = (uint8_t)(bits[n / 8] | 1U << n % 8);
}

/* Sorts the pages by what they are; how many bytes of those that are there lie in i->pages. */
static size_t gather(struct image *i, const uint8_t *from, uint32_t pages)
{
	size_t used = 0;

	for (uint32_t n = 0; n < pages; n++) {
		const uint8_t *page = from + n * MEMORY_PAGE;

		if (is_zero(page)) {
			set_bit(i->bytes + ZERO_AT, n);
			i->stats.zero_pages++;
			continue;
		}
		set_bit(i->bytes + DATA_AT, n);
		memcpy(i->pages + used, page, MEMORY_PAGE);
		used += MEMORY_PAGE;
	}
	i->stats.pages += pages;
	return used;
}

int image_put(struct image *i, struct stream_writer *w, const struct guest_memory *memory,
	      uint64_t gpa, uint32_t pages, struct why *why)
{
	struct stream_section section = {
		.type = STREAM_MEMORY, .version = VERSION, .bytes = i->bytes};
	const uint8_t *from = memory_at(memory, gpa, pages * MEMORY_PAGE);
	size_t content, length;
	int result;

	if (!from || gpa % MEMORY_PAGE || pages < 1 || pages > IMAGE_PAGES)
		return why_set(why, -EINVAL,
			       "%s: %" PRIu32 " pages of memory at 0x%" PRIx64 " are none", w->name,
			       pages, gpa);
	memset(i->bytes, 0, HEAD);
	put64(i->bytes + GPA_AT, gpa);
	put32(i->bytes + PAGES_AT, pages);
	content = gather(i, from, pages);
	/* Room for what was there: what does not become less is stored as it is. */
	length = content ? ZSTD_compress2(i->compress, i->bytes + HEAD, content, i->pages, content)
			 : 0;
	if (content && !ZSTD_isError(length)) {
		put32(i->bytes + METHOD_AT, METHOD_ZSTD);
	} else {
		memcpy(i->bytes + HEAD, i->pages, content);
		length = content;
	}
	section.length = (uint32_t)(HEAD + length);
	result = stream_put(w, &section, why);
	i->stats.bytes += STREAM_SECTION + section.length;
	return result;
}

static int put_piece(struct image *i, struct stream_writer *w, const struct guest_memory *memory,
		     uint64_t gpa, uint64_t size, struct why *why)
{
	int result = 0;

	while (size && result == 0) {
		uint64_t now = size < CONTENT ? size : CONTENT;

		result = image_put(i, w, memory, gpa, (uint32_t)(now / MEMORY_PAGE), why);
		gpa += now;
		size -= now;
	}
	return result;
}

int image_put_all(struct image *i, struct stream_writer *w, const struct guest_memory *memory,
		  struct why *why)
{
	int result = put_piece(i, w, memory, 0, memory->low_size, why);

	return result < 0 ? result
			  : put_piece(i, w, memory, MEMORY_HIGH_BASE, memory->high_size, why);
}

static int wrong(const struct stream_reader *r, const char *what, struct why *why)
{
	return why_set(why, -EINVAL, "%s: damaged: section %" PRIu32 ", of memory, %s", r->name,
		       r->sections - 1, what);
}

/* What is there of the pages in [0, pages): *ret_data of them, *ret_zero zero.  Negative when a bit
 * is set that means nothing. */
static int count(const uint8_t *bytes, uint32_t pages, uint32_t *ret_data, uint32_t *ret_zero)
{
	*ret_data = *ret_zero = 0;
	for (uint32_t n = 0; n < IMAGE_PAGES; n++) {
		bool data = bit(bytes + DATA_AT, n), zero = bit(bytes + ZERO_AT, n);

		if ((data || zero) && (n >= pages || (data && zero)))
			return -EINVAL;
		*ret_data += data;
		*ret_zero += zero;
	}
	return 0;
}

/* Its content, `size` bytes, into `to`. */
static int unpack(struct image *i, const struct stream_section *s, uint8_t *to, size_t size)
{
	const uint8_t *from = s->bytes + HEAD;
	size_t length = s->length - HEAD;

	switch (get32(s->bytes + METHOD_AT)) {
	case METHOD_RAW:
		if (length != size)
			return -EINVAL;
		memcpy(to, from, size);
		return 0;
	case METHOD_ZSTD:
		return size && ZSTD_decompressDCtx(i->decompress, to, size, from, length) == size
			       ? 0
			       : -EINVAL;
	default:
		return -EINVAL;
	}
}

static void spread(const struct image *i, const uint8_t *bytes, uint8_t *to, uint32_t pages,
		   bool fresh)
{
	const uint8_t *from = i->pages;

	for (uint32_t n = 0; n < pages; n++, to += MEMORY_PAGE) {
		if (bit(bytes + DATA_AT, n)) {
			memcpy(to, from, MEMORY_PAGE);
			from += MEMORY_PAGE;
		} else if (!fresh && bit(bytes + ZERO_AT, n) && !is_zero(to)) {
			memset(to, 0, MEMORY_PAGE);
		}
	}
}

int image_take(struct image *i, const struct stream_reader *r, const struct stream_section *s,
	       const struct guest_memory *memory, bool fresh, uint64_t *ret_gpa,
	       uint32_t *ret_pages, bool *ret_whole, struct why *why)
{
	uint32_t data, zero, pages;
	uint8_t *to;

	*ret_gpa = *ret_pages = 0;
	*ret_whole = false;
	if (s->version != VERSION)
		return stream_unknown(r, s, why);
	if (s->length < HEAD)
		return wrong(r, "is too short", why);
	*ret_gpa = get64(s->bytes + GPA_AT);
	*ret_pages = pages = get32(s->bytes + PAGES_AT);
	if (pages < 1 || pages > IMAGE_PAGES || *ret_gpa % MEMORY_PAGE ||
	    count(s->bytes, pages, &data, &zero) < 0)
		return wrong(r, "covers impossible pages", why);
	to = memory_at(memory, *ret_gpa, pages * MEMORY_PAGE);
	if (!to)
		return wrong(r, "covers more memory than this machine has", why);
	*ret_whole = data + zero == pages;
	/* Where all are there, without a copy in between. */
	if (unpack(i, s, data == pages ? to : i->pages, data * MEMORY_PAGE) < 0)
		return wrong(r, "cannot be unpacked", why);
	if (data < pages)
		spread(i, s->bytes, to, pages, fresh);
	i->stats.pages += data + zero;
	i->stats.zero_pages += zero;
	i->stats.bytes += STREAM_SECTION + s->length;
	return 0;
}
