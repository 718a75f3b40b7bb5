/* SPDX-License-Identifier: Apache-2.0 */
/* invariants_test.c - the five things that hold for every face, by random runs over all of them:
 *
 * 1. advance(a); advance(b) is advance(b)
 * 2. nothing wired happens before the deadline, and something at it
 * 3. ten years cost what a microsecond costs
 * 4. the saved bytes are the whole state, and damaged ones change nothing
 * 5. no access of a guest does harm (run under ASan and UBSan) */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <x86intrin.h>
#include <cmocka.h>

#include "core/snap.h"
#include "life.h"

enum { LIVES = 300, STEPS = 100, BYTES = 256, SAMPLES = 301 };

#define TEN_YEARS UINT64_C(315576000000000000)

static union subject_state born(const struct subject *f, struct random *random, vmt_ns *ret_now)
{
	union subject_state s;

	memset(&s, 0, sizeof(s));
	*ret_now = random_wide(random) >> 8;
	f->start(&s, *ret_now);
	return s;
}

static union subject_state grown(const struct subject *f, struct random *random, vmt_ns *ret_now,
				 struct vmt_out *ret_out)
{
	union subject_state s = born(f, random, ret_now);
	uint32_t value;

	*ret_out = f->advance(&s, *ret_now);
	for (uint32_t i = random_below(random, STEPS); i; i--) {
		struct life_step step = life_draw(f, random, *ret_now, ret_out->deadline);

		*ret_out = life_do(f, &s, &step, &value);
		*ret_now = step.now;
	}
	return s;
}

static void wrong(const struct subject *f, int life, int i, const struct life_step *step,
		  const char *what)
{
	fail_msg("%s, life %d, step %d (%d of register %u, width %u, value %x, at %llu): %s",
		 f->name, life, i, step->what, step->reg, step->width, step->value,
		 (unsigned long long)step->now, what);
}

/* In parts: asked at random times between the steps.  Returns the edges that these calls told. */
static void linger(const struct subject *f, union subject_state *s, struct random *random,
		   vmt_ns from, vmt_ns until, uint64_t rises[VMT_LINES])
{
	for (uint32_t stops = random_below(random, 4); stops; stops--) {
		struct vmt_out out;

		from += random_next(random) % (until - from + 1);
		out = f->advance(s, from);
		for (int i = 0; i < VMT_LINES; i++)
			rises[i] += out.rises[i];
	}
}

static void split_once(const struct subject *f, struct random *random, int life)
{
	vmt_ns now;
	union subject_state once = born(f, random, &now), parts = once;
	struct vmt_out a = f->advance(&once, now), b;

	f->advance(&parts, now);
	for (int i = 0; i < STEPS; i++) {
		struct life_step step = life_draw(f, random, now, a.deadline);
		uint64_t rises[VMT_LINES] = {0};
		uint32_t from_once, from_parts;

		linger(f, &parts, random, now, step.now, rises);
		a = life_do(f, &once, &step, &from_once);
		b = life_do(f, &parts, &step, &from_parts);
		for (int line = 0; line < VMT_LINES; line++)
			b.rises[line] += rises[line];
		if (from_once != from_parts)
			wrong(f, life, i, &step, "another answer for having been asked in between");
		if (memcmp(&a, &b, sizeof(a)))
			wrong(f, life, i, &step, "another output for having been asked in between");
		if (memcmp(&once, &parts, sizeof(once)))
			wrong(f, life, i, &step, "another state for having been asked in between");
		now = step.now;
	}
}

static void advancing_in_parts_is_advancing_at_once(void **state)
{
	struct random random = random_start();

	(void)state;
	for (int f = 0; f < SUBJECTS; f++)
		for (int life = 0; life < LIVES; life++)
			split_once(&subjects[f], &random, life);
}

static void a_deadline_is_exact(void **state)
{
	struct random random = random_start();

	(void)state;
	for (int face = 0; face < SUBJECTS; face++) {
		const struct subject *f = &subjects[face];
		unsigned met = 0;

		for (int life = 0; life < LIVES; life++) {
			vmt_ns now;
			union subject_state s = born(f, &random, &now);
			struct vmt_out out = f->advance(&s, now);
			uint32_t value;

			for (int i = 0; i < STEPS; i++) {
				struct life_step step = life_draw(f, &random, now, out.deadline);
				const char *what;

				out = life_do(f, &s, &step, &value);
				what = life_wrong(f, &s, &step, &out);
				if (what)
					wrong(f, life, i, &step, what);
				met += out.deadline != VMT_NEVER;
				now = step.now;
			}
		}
		/* These lives had deadlines to be exact about. */
		assert_true(f->timeless ? met == 0 : met > LIVES);
	}
}

static int by_size(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The middle of many: what interrupts and cold caches add is at the ends. */
static uint64_t median_cycles(const struct subject *f, const union subject_state *s, vmt_ns until)
{
	uint64_t cycles[SAMPLES];

	for (int i = 0; i < SAMPLES; i++) {
		union subject_state copy = *s;
		uint64_t from = __rdtsc();

		f->advance(&copy, until);
		cycles[i] = __rdtsc() - from;
	}
	qsort(cycles, SAMPLES, sizeof(cycles[0]), by_size);
	return cycles[SAMPLES / 2];
}

/* A loop over the seconds of ten years would cost a million times as much: eight is far from
 * either. */
static void ten_years_cost_what_a_microsecond_costs(void **state)
{
	struct random random = random_start();

	(void)state;
	for (int face = 0; face < SUBJECTS; face++) {
		const struct subject *f = &subjects[face];
		uint64_t short_sum = 0, long_sum = 0;

		for (int life = 0; life < 100; life++) {
			struct vmt_out out;
			vmt_ns now;
			union subject_state s = grown(f, &random, &now, &out);

			short_sum += median_cycles(f, &s, now + 1000);
			long_sum += median_cycles(f, &s, now + TEN_YEARS);
		}
		if (long_sum > 8 * short_sum)
			fail_msg("%s: %llu cycles for ten years, %llu for a microsecond", f->name,
				 (unsigned long long)long_sum / 100,
				 (unsigned long long)short_sum / 100);
	}
}

static void a_loaded_state_goes_on_like_the_saved_one(void **state)
{
	struct random random = random_start();

	(void)state;
	for (int face = 0; face < SUBJECTS; face++) {
		const struct subject *f = &subjects[face];

		for (int life = 0; life < LIVES; life++) {
			struct vmt_out out, again;
			vmt_ns now;
			union subject_state s = grown(f, &random, &now, &out), back;
			uint8_t bytes[BYTES];
			int size = f->save(&s, bytes, sizeof(bytes));

			memset(&back, 0, sizeof(back));
			f->start(&back, 0);
			assert_true(size > 0);
			assert_int_equal(f->load(&back, now, bytes, (size_t)size), 0);
			assert_memory_equal(&back, &s, sizeof(s));
			for (int i = 0; i < 10; i++) {
				struct life_step step = life_draw(f, &random, now, out.deadline);
				uint32_t value, same;

				out = life_do(f, &s, &step, &value);
				again = life_do(f, &back, &step, &same);
				if (value != same || memcmp(&out, &again, sizeof(out)))
					wrong(f, life, i, &step, "another life after a load");
				now = step.now;
			}
			for (int less = 0; less < size; less++)
				assert_int_equal(f->save(&s, bytes, (size_t)less), -ENOSPC);
		}
	}
}

static void refused(const struct subject *f, vmt_ns now, const uint8_t *bytes, size_t size)
{
	union subject_state s, before;

	memset(&s, 0, sizeof(s));
	f->start(&s, now);
	before = s;
	assert_int_equal(f->load(&s, now, bytes, size), -EINVAL);
	assert_memory_equal(&s, &before, sizeof(s));
}

static void damaged_bytes_are_refused_and_change_nothing(void **state)
{
	struct random random = random_start();

	(void)state;
	for (int face = 0; face < SUBJECTS; face++) {
		const struct subject *f = &subjects[face];

		for (int life = 0; life < 10; life++) {
			struct vmt_out out;
			vmt_ns now;
			union subject_state s = grown(f, &random, &now, &out);
			uint8_t bytes[BYTES];
			int size = f->save(&s, bytes, sizeof(bytes));

			for (int less = 0; less < size; less++)
				refused(f, now, bytes, (size_t)less);
			refused(f, now, bytes, (size_t)size + 1);
			for (int bit = 0; bit < size * 8; bit++) {
				bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
				refused(f, now, bytes, (size_t)size);
				bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
			}
			for (int other = 0; other < SUBJECTS; other++)
				if (other != face)
					refused(&subjects[other], now, bytes, (size_t)size);
			for (int i = 0; i < 100; i++) {
				bytes[random_below(&random, (uint32_t)size)] =
					(uint8_t)random_next(&random);
				bytes[random_below(&random, (uint32_t)size)] ^= 0x40;
			}
			refused(f, now, bytes, (size_t)size);
		}
	}
}

/* A record with other fields and a right checksum. */
static size_t resealed(uint8_t *bytes, size_t size, struct random *random)
{
	uint8_t fields[BYTES];
	uint16_t kind = (uint16_t)(bytes[4] | bytes[5] << 8);
	uint16_t version = (uint16_t)(bytes[6] | bytes[7] << 8);
	size_t count = size - VMT_SNAP_AROUND;
	struct vmt_snap_writer w;

	memcpy(fields, bytes + 12, count);
	for (uint32_t i = random_below(random, 3) + 1; i; i--)
		fields[random_below(random, (uint32_t)count)] = (uint8_t)random_next(random);
	vmt_snap_start(&w, bytes, BYTES, kind, version);
	vmt_snap_put_bytes(&w, fields, count);
	return (size_t)vmt_snap_finish(&w);
}

/* Whoever writes snapshots by hand gets a refusal, or a face that keeps its promises. */
static void a_forged_state_is_refused_or_lives_by_the_rules(void **state)
{
	struct random random = random_start();

	(void)state;
	for (int face = 0; face < SUBJECTS; face++) {
		const struct subject *f = &subjects[face];
		unsigned taken = 0, turned_away = 0;

		for (int life = 0; life < 10 * LIVES; life++) {
			struct vmt_out out;
			vmt_ns now;
			union subject_state s = grown(f, &random, &now, &out), before;
			uint8_t bytes[BYTES];
			size_t size = (size_t)f->save(&s, bytes, sizeof(bytes));
			uint32_t value;

			size = resealed(bytes, size, &random);
			before = s;
			if (f->load(&s, now, bytes, size)) {
				assert_memory_equal(&s, &before, sizeof(s));
				turned_away++;
				continue;
			}
			taken++;
			out = f->advance(&s, now);
			for (int i = 0; i < 20; i++) {
				struct life_step step = life_draw(f, &random, now, out.deadline);
				const char *what;

				out = life_do(f, &s, &step, &value);
				what = life_wrong(f, &s, &step, &out);
				if (what)
					wrong(f, life, i, &step, what);
				now = step.now;
			}
		}
		assert_true(taken > 100 && turned_away > 100);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(advancing_in_parts_is_advancing_at_once),
		cmocka_unit_test(a_deadline_is_exact),
		cmocka_unit_test(ten_years_cost_what_a_microsecond_costs),
		cmocka_unit_test(a_loaded_state_goes_on_like_the_saved_one),
		cmocka_unit_test(damaged_bytes_are_refused_and_change_nothing),
		cmocka_unit_test(a_forged_state_is_refused_or_lives_by_the_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
