/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_rate.c - how fast a machine goes, and how long what is left of it would take. */
#include "move/migrate_rate.h"

#include <errno.h>
#include <inttypes.h>

#include "host/hostclock.h"

#define SECOND_NS UINT64_C(1000000000)

/* What is less than both says little about the link: the socket's own memory takes it. */
#define TELLING_NS (SECOND_NS / 50)
#define TELLING_BYTES (UINT64_C(4) << 20)

void migrate_rate_gone(void *owner, const struct image_stats *piece)
{
	struct migrate_source *s = owner;
	const uint64_t bytes = piece->pages * MEMORY_PAGE, now = hostclock_monotonic_ns();
	const bool zeros = piece->zero_pages * 2 > piece->pages;
	struct migrate_stats *stats = &s->stats;

	pthread_mutex_lock(&s->lock);
	/* Pages of zeros take time and no bytes: they are nothing to measure a link by, unless it
	 * has others to carry meanwhile. */
	if (!zeros)
		s->telling_bytes += piece->bytes;
	if (!zeros || wire_queued(&s->wire) > MIGRATE_QUEUE_BYTES)
		s->telling_ns += now - s->gone_ns;
	s->gone_ns = now;
	stats->image.pages += piece->pages;
	stats->image.zero_pages += piece->zero_pages;
	stats->image.bytes += piece->bytes;
	stats->remaining_bytes -= bytes < stats->remaining_bytes ? bytes : stats->remaining_bytes;
	pthread_mutex_unlock(&s->lock);
}

/* How much of the wire a page that is not zero has taken so far. */
static uint64_t bytes_a_page(const struct image_stats *i)
{
	const uint64_t pages = i->pages - i->zero_pages;
	const uint64_t bytes = pages ? i->bytes / pages : MEMORY_PAGE;

	return bytes < MEMORY_PAGE ? bytes + 1 : MEMORY_PAGE;
}

static uint64_t by_the_second(uint64_t count, uint64_t ns)
{
	return (uint64_t)((unsigned __int128)count * SECOND_NS / (ns ? ns : 1));
}

static uint64_t takes_ns(uint64_t bytes, uint64_t bytes_s)
{
	return by_the_second(bytes, bytes_s);
}

/* The link's speed as it was seen in the last round.  What says little moves it by a factor of two
 * at most, and only up: a round that was slow for another reason is not believed for ever. */
static void note_speed(struct migrate_source *s)
{
	const uint64_t bytes =
		s->telling_bytes > s->queued_bytes ? s->telling_bytes - s->queued_bytes : 0;
	const uint64_t seen = by_the_second(bytes, s->telling_ns);
	const bool tells = s->telling_bytes >= TELLING_BYTES || s->telling_ns >= TELLING_NS;

	if (seen && (tells || !s->link_s))
		s->link_s = seen;
	else if (seen > s->link_s)
		s->link_s = seen < s->link_s * 2 ? seen : s->link_s * 2;
}

void migrate_rate_begin(struct migrate_source *s)
{
	pthread_mutex_lock(&s->lock);
	s->telling_bytes = s->queued_bytes; /* of the last round, which this one has to carry */
	s->telling_ns = 0;
	s->gone_ns = hostclock_monotonic_ns();
	pthread_mutex_unlock(&s->lock);
}

void migrate_rate_drained(struct migrate_source *s)
{
	const uint64_t now = hostclock_monotonic_ns();

	pthread_mutex_lock(&s->lock);
	if (s->telling_bytes)
		s->telling_ns += now - s->gone_ns;
	s->queued_bytes = wire_queued(&s->wire);
	pthread_mutex_unlock(&s->lock);
}

void migrate_rate_end(struct migrate_source *s, uint64_t took_ns, uint64_t sent, uint64_t pages)
{
	struct migrate_stats *stats = &s->stats;
	uint64_t left;

	pthread_mutex_lock(&s->lock);
	note_speed(s);
	left = pages * bytes_a_page(&stats->image) + s->queued_bytes;
	stats->bytes_s = by_the_second(sent, took_ns);
	stats->dirty_pages_s = by_the_second(pages, took_ns);
	stats->remaining_bytes = pages * MEMORY_PAGE;
	/* A link that has carried nothing yet is not known to be slow. */
	stats->expected_downtime_ns = s->link_s ? takes_ns(left, s->link_s) : 0;
	pthread_mutex_unlock(&s->lock);
}

/* Both figures, since the remedy depends on which of them is out of place. */
int migrate_rate_complain(const struct migrate_source *s, const struct migrate_params *p,
			  struct why *why)
{
	const uint64_t tenth = 100000; /* of a megabyte */
	const uint64_t writes = s->stats.dirty_pages_s * MEMORY_PAGE / tenth;
	const uint64_t takes = s->link_s / tenth;

	return why_set(why, -ETIME,
		       "%s: what is left gets no less: the guest writes %" PRIu64 ".%" PRIu64
		       " MB/s, the link takes %" PRIu64 ".%" PRIu64
		       " MB/s (raise %sdowntime-limit%s)",
		       s->name, writes / 10, writes % 10, takes / 10, takes % 10,
		       p->max_bandwidth ? "max-bandwidth or " : "",
		       p->max_bandwidth ? "" : ", or take a faster link");
}
