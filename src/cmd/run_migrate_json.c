/* SPDX-License-Identifier: Apache-2.0 */
/* run_migrate_json.c - a migration's parameters and figures as JSON. */
#include "cmd/run_migrate_json.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "kvm/memory.h"

enum { NS_PER_MS = 1000000, BITS = 8, DOWNTIME_MOST_MS = 2000000, PATIENCE_MOST_MS = 86400000 };

#define NS_PER_S 1000000000.0

const char *const run_migrate_parameters[] = {"max-bandwidth", "downtime-limit", "patience",
					      "compress", NULL};

/* Beyond 2^63 there is no figure that anything here reaches. */
static json_t *size(uint64_t value)
{
	return json_integer(value < INT64_MAX ? (json_int_t)value : INT64_MAX);
}

static json_t *ms(uint64_t ns)
{
	return size(ns / NS_PER_MS + (ns % NS_PER_MS >= NS_PER_MS / 2));
}

/* True: it is not there, or lies in between. */
static bool take(const json_t *arguments, const char *name, uint64_t least, uint64_t most,
		 uint64_t unit, uint64_t *value, struct why *why)
{
	const json_t *given = json_object_get(arguments, name);
	json_int_t n = json_integer_value(given);

	if (!given)
		return true;
	if (!json_is_integer(given) || n < 0 || (uint64_t)n < least || (uint64_t)n > most) {
		why_set(why, -EINVAL, "\"%s\" is a whole number from %llu to %llu", name,
			(unsigned long long)least, (unsigned long long)most);
		return false;
	}
	*value = (uint64_t)n * unit;
	return true;
}

int run_migrate_take_params(const json_t *arguments, struct migrate_params *params, struct why *why)
{
	const json_t *compress = json_object_get(arguments, "compress");
	struct migrate_params p = *params;

	if (!take(arguments, "max-bandwidth", 0, INT64_MAX, 1, &p.max_bandwidth, why) ||
	    !take(arguments, "downtime-limit", 0, DOWNTIME_MOST_MS, NS_PER_MS, &p.downtime_limit_ns,
		  why) ||
	    !take(arguments, "patience", 1, PATIENCE_MOST_MS, NS_PER_MS, &p.patience_ns, why))
		return -EINVAL;
	if (compress && !json_is_boolean(compress))
		return why_set(why, -EINVAL, "\"compress\" is true or false");
	if (compress)
		p.compress = json_is_true(compress);
	*params = p;
	return 0;
}

json_t *run_migrate_params(const struct migrate_params *p)
{
	return json_pack("{s:o,s:o,s:o,s:b}", "max-bandwidth", size(p->max_bandwidth),
			 "downtime-limit", ms(p->downtime_limit_ns), "patience", ms(p->patience_ns),
			 "compress", p->compress);
}

static json_t *ram(const struct image_stats *image, uint64_t transferred, uint32_t rounds)
{
	uint64_t normal = image->pages - image->zero_pages;

	return json_pack("{s:o,s:o,s:o,s:o,s:o,s:i,s:o}", "transferred", size(transferred),
			 "duplicate", size(image->zero_pages), "normal", size(normal),
			 "normal-bytes", size(normal * MEMORY_PAGE), "page-size", size(MEMORY_PAGE),
			 "skipped", 0, "dirty-sync-count", size(rounds));
}

static json_t *window_of(const struct hosts_window *w)
{
	return json_pack("{s:I,s:I}", "lo_ns", (json_int_t)w->lo_ns, "hi_ns", (json_int_t)w->hi_ns);
}

static json_t *own(const struct migrate_stats *s, bool unknown)
{
	json_t *own = json_pack("{s:o,s:o,s:b}", "total_ns", size(s->total_ns), "setup_ns",
				size(s->setup_ns), "unknown", unknown);

	if (s->downtime_ns)
		json_object_set_new(own, "downtime_ns", size(s->downtime_ns));
	if (s->window.known)
		json_object_set_new(own, "window", window_of(&s->window));
	return own;
}

json_t *run_migrate_report(const char *status, const struct migrate_stats *s, const struct why *why,
			   bool unknown)
{
	const uint64_t busy_ns = s->total_ns > s->setup_ns ? s->total_ns - s->setup_ns : 0;
	const bool completed = strcmp(status, "completed") == 0;
	json_t *memory = ram(&s->image, s->transferred_bytes, s->rounds);
	json_t *report =
		json_pack("{s:s,s:o,s:o,s:O,s:o}", "status", status, "total-time", ms(s->total_ns),
			  "setup-time", ms(s->setup_ns), "ram", memory, "vmtime", own(s, unknown));

	json_object_set_new(memory, "total", size(s->total_bytes));
	json_object_set_new(memory, "remaining", size(completed ? 0 : s->remaining_bytes));
	json_object_set_new(memory, "dirty-pages-rate", size(s->dirty_pages_s));
	json_object_set_new(memory, "mbps", json_real((double)s->bytes_s * BITS / 1e6));
	if (busy_ns)
		json_object_set_new(
			memory, "pages-per-second",
			size((uint64_t)((double)s->image.pages * NS_PER_S / (double)busy_ns)));
	json_decref(memory);
	if (completed)
		json_object_set_new(report, "downtime", ms(s->downtime_ns));
	else if (s->expected_downtime_ns)
		json_object_set_new(report, "expected-downtime", ms(s->expected_downtime_ns));
	if (why && why->text[0])
		json_object_set_new(report, "error-desc", json_string(why->text));
	return report;
}

json_t *run_migrate_report_come(const char *status, const struct migrate_target_stats *s)
{
	json_t *memory = ram(&s->image, s->come_bytes, s->rounds);
	json_t *report =
		json_pack("{s:s,s:o,s:O,s:{s:o}}", "status", status, "total-time", ms(s->total_ns),
			  "ram", memory, "vmtime", "total_ns", size(s->total_ns));

	if (s->remaining_bytes != UINT64_MAX)
		json_object_set_new(memory, "remaining", size(s->remaining_bytes));
	json_decref(memory);
	return report;
}
