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
#include "move/pages.h"

/* Of a section's bytes. */
enum { GPA_AT = 0, PAGES_AT = 8, METHOD_AT = 12, DATA_AT = 16, ZERO_AT = 48, HEAD = 80 };
enum { METHOD_RAW = 0, METHOD_ZSTD = 1 };

/* VERSION is checked by the stream's checksum; of SUMMED that is of the head alone, and its pages,
 * which are as they are, have a sum in it that is faster. */
enum { VERSION = 1, SUMMED = 2 };
enum { SUM_AT = HEAD, SUMMED_ZERO_AT = SUM_AT + 8, SUMMED_HEAD = STREAM_HEAD };

/* Of 80 MB that an idle Linux has in use 1 makes 28 MB in 0.165 s of one CPU, and 0.067 s to get it
 * back; -5 37 MB in 0.107 and 0.036; -20 45 MB in 0.061 and 0.025 (an EPYC). */
enum { LEVEL = -5 };

#define CONTENT (IMAGE_PAGES * MEMORY_PAGE)

static_assert(ZERO_AT - DATA_AT == IMAGE_PAGES / 8 && HEAD - ZERO_AT == IMAGE_PAGES / 8,
	      "a bit a page");
static_assert(SUMMED_HEAD + CONTENT <= STREAM_MOST, "stored as it is, a section's pages fit");

struct image {
	ZSTD_CCtx *compress;
	ZSTD_DCtx *decompress;
	struct image_stats stats;
	uint8_t bytes[STREAM_MOST]; /* of a section; at a multiple of 8, as the next one */
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

void image_add_stats(const struct image *image, struct image_stats *stats)
{
	stats->pages += image->stats.pages;
	stats->zero_pages += image->stats.zero_pages;
	stats->bytes += image->stats.bytes;
}

static bool bit(const uint8_t *bits, uint32_t n)
{
	return bits[n / 8] >> n % 8 & 1;
}

static void set_bit(uint8_t *bits, uint32_t n)
{
	bits[n / 8] = (uint8_t)(bits[n / 8] | 1U << n % 8);
}

/* Sorts the pages by what they are, and copies those that are there to `to`; how many bytes that
 * makes. */
static size_t gather(struct image *i, const uint8_t *from, const struct image_run *run, uint8_t *to,
		     struct pages_sum *sum)
{
	size_t used = 0;

	for (uint32_t n = 0; n < run->pages; n++) {
		const uint8_t *page = from + n * MEMORY_PAGE;

		if (run->wanted && !bit(run->wanted, n))
			continue;
		i->stats.pages++;
		if ((run->touched && !bit(run->touched, n)) || pages_zero(page)) {
			set_bit(i->bytes + ZERO_AT, n);
			i->stats.zero_pages++;
			continue;
		}
		set_bit(i->bytes + DATA_AT, n);
		pages_copy(sum, to + used, page);
		used += MEMORY_PAGE;
	}
	return used;
}

/* What is to be stored as it is goes to its place at once. */
static size_t store(struct image *i, const uint8_t *from, const struct image_run *run)
{
	struct pages_sum sum = pages_sum_begin();
	const size_t content = gather(i, from, run, i->bytes + SUMMED_HEAD, &sum);

	memset(i->bytes + SUM_AT, 0, SUMMED_HEAD - SUM_AT);
	put64(i->bytes + SUM_AT, pages_sum_end(&sum));
	return content;
}

static size_t compress(struct image *i, const uint8_t *from, const struct image_run *run)
{
	struct pages_sum sum = pages_sum_begin();
	const size_t content = gather(i, from, run, i->pages, &sum);
	/* Room for what was there: what does not become less is stored as it is. */
	const size_t length =
		content ? ZSTD_compress2(i->compress, i->bytes + HEAD, content, i->pages, content)
			: 0;

	if (content && !ZSTD_isError(length)) {
		put32(i->bytes + METHOD_AT, METHOD_ZSTD);
		return length;
	}
	memcpy(i->bytes + HEAD, i->pages, content);
	return content;
}

int image_pack(struct image *i, const struct guest_memory *memory, const struct image_run *run,
	       struct stream_section *ret_section)
{
	const uint8_t *from = memory_at(memory, run->gpa, run->pages * MEMORY_PAGE);
	struct stream_section *s = ret_section;

	if (!from || run->gpa % MEMORY_PAGE || run->pages < 1 || run->pages > IMAGE_PAGES)
		return -EINVAL;
	memset(i->bytes, 0, HEAD);
	put64(i->bytes + GPA_AT, run->gpa);
	put32(i->bytes + PAGES_AT, run->pages);
	*s = (struct stream_section){.type = STREAM_MEMORY, .version = VERSION, .bytes = i->bytes};
	if (run->compress) {
		s->length = (uint32_t)(HEAD + compress(i, from, run));
	} else {
		s->version = SUMMED;
		s->flags = STREAM_OWN_SUM;
		s->length = (uint32_t)(SUMMED_HEAD + store(i, from, run));
	}
	i->stats.bytes += STREAM_SECTION + s->length;
	return 0;
}

static int wrong(const char *name, uint32_t number, const char *what, struct why *why)
{
	return why_set(why, -EINVAL, "%s: damaged: section %" PRIu32 ", of memory, %s", name,
		       number, what);
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

/* Its content, `size` bytes: as it lies in the section, or unpacked into `to`. */
static int unpack(struct image *i, const struct stream_section *s, uint8_t *to, size_t size,
		  const uint8_t **ret_content)
{
	const uint8_t *from = s->bytes + HEAD;
	size_t length = s->length - HEAD;

	switch (get32(s->bytes + METHOD_AT)) {
	case METHOD_RAW:
		*ret_content = from;
		return length == size ? 0 : -EINVAL;
	case METHOD_ZSTD:
		*ret_content = to;
		return size && ZSTD_decompressDCtx(i->decompress, to, size, from, length) == size
			       ? 0
			       : -EINVAL;
	default:
		return -EINVAL;
	}
}

/* Zero where it is to be, without touching what is. */
static void clear(uint8_t *page, bool fresh)
{
	if (!fresh && !pages_zero(page))
		memset(page, 0, MEMORY_PAGE);
}

/* From where they came to where they belong in one step: whether they are what they should be is
 * known afterwards, and who is told that they are not has no use for the memory. */
static int place_summed(const struct stream_section *s, uint8_t *to, uint32_t pages, bool fresh)
{
	const uint8_t *from = s->bytes + SUMMED_HEAD;
	struct pages_sum sum = pages_sum_begin();

	for (uint32_t n = 0; n < pages; n++, to += MEMORY_PAGE) {
		if (bit(s->bytes + DATA_AT, n)) {
			pages_copy(&sum, to, from);
			from += MEMORY_PAGE;
		} else if (bit(s->bytes + ZERO_AT, n)) {
			clear(to, fresh);
		}
	}
	return pages_sum_end(&sum) == get64(s->bytes + SUM_AT) ? 0 : -EINVAL;
}

static void spread(const uint8_t *from, const uint8_t *bytes, uint8_t *to, uint32_t pages,
		   bool fresh)
{
	for (uint32_t n = 0; n < pages; n++, to += MEMORY_PAGE) {
		if (bit(bytes + DATA_AT, n)) {
			memcpy(to, from, MEMORY_PAGE);
			from += MEMORY_PAGE;
		} else if (bit(bytes + ZERO_AT, n)) {
			clear(to, fresh);
		}
	}
}

/* Whether the section is as long as what it says that it has, and has nothing that is not known. */
static bool is_summed(const struct stream_section *s, uint32_t data)
{
	uint8_t other = 0;

	if (s->length != SUMMED_HEAD + data * MEMORY_PAGE)
		return false;
	for (unsigned at = SUMMED_ZERO_AT; at < SUMMED_HEAD; at++)
		other |= s->bytes[at];
	return !other && get32(s->bytes + METHOD_AT) == METHOD_RAW;
}

int image_look(const struct stream_reader *r, const struct stream_section *s,
	       const struct guest_memory *memory, struct image_piece *ret_piece, struct why *why)
{
	struct image_piece p = {.number = r->sections - 1};

	*ret_piece = p;
	if (s->version != (s->flags & STREAM_OWN_SUM ? SUMMED : VERSION))
		return stream_unknown(r, s, why);
	if (s->length < HEAD)
		return wrong(r->name, p.number, "is too short", why);
	p.gpa = get64(s->bytes + GPA_AT);
	p.pages = get32(s->bytes + PAGES_AT);
	if (p.pages < 1 || p.pages > IMAGE_PAGES || p.gpa % MEMORY_PAGE ||
	    count(s->bytes, p.pages, &p.data, &p.zero) < 0)
		return wrong(r->name, p.number, "covers impossible pages", why);
	if (s->version == SUMMED && !is_summed(s, p.data))
		return wrong(r->name, p.number,
			     "has another length than its pages, or what is not known", why);
	if (!memory_at(memory, p.gpa, p.pages * MEMORY_PAGE))
		return wrong(r->name, p.number, "covers more memory than this machine has", why);
	*ret_piece = p;
	return 0;
}

bool image_has(const struct stream_section *s, uint32_t n)
{
	return bit(s->bytes + DATA_AT, n) || bit(s->bytes + ZERO_AT, n);
}

static int count_in(struct image *i, const struct stream_section *s, const struct image_piece *p)
{
	i->stats.pages += p->data + p->zero;
	i->stats.zero_pages += p->zero;
	i->stats.bytes += STREAM_SECTION + s->length;
	return 0;
}

int image_unpack(struct image *i, const char *name, const struct stream_section *s,
		 const struct image_piece *p, const struct guest_memory *memory, bool fresh,
		 struct why *why)
{
	uint8_t *to = memory_at(memory, p->gpa, p->pages * MEMORY_PAGE);
	const bool all = p->data == p->pages;
	const uint8_t *content;

	if (s->version == SUMMED) {
		if (place_summed(s, to, p->pages, fresh) < 0)
			return wrong(name, p->number, "does not match its checksum (try again)",
				     why);
		return count_in(i, s, p);
	}
	/* Where all are there, without a copy in between. */
	if (unpack(i, s, all ? to : i->pages, p->data * MEMORY_PAGE, &content) < 0)
		return wrong(name, p->number, "cannot be unpacked", why);
	if (content != to)
		spread(content, s->bytes, to, p->pages, fresh);
	return count_in(i, s, p);
}
