/* SPDX-License-Identifier: Apache-2.0 */
/* hpet_random_test.c - random lives of the high precision event timers, each beside a model that
 * goes tick by tick. */
#include "../random.h"
#include "hpet_bench.h"
#include "hpet_steps.h"

enum { LIVES = 3000, STEPS = 60 };

/* Near the counter, or anything; short periods. */
static uint64_t draw_value(struct random *random, const struct steps *s)
{
	switch (random_below(random, 4)) {
	case 0:
		return random_below(random, 40);
	case 1:
		return random_next(random);
	default:
		return s->counter - 5 + random_below(random, 300);
	}
}

static void write_both(struct bench *b, struct steps *s, struct random *random)
{
	unsigned i = random_below(random, 3);
	uint64_t value = random_next(random);

	switch (random_below(random, 6)) {
	case 0:
		value |= random_below(random, 2);
		put(b, GEN, 8, value % 4);
		steps_enable(s, value % 2);
		break;
	case 1:
		put(b, STS, 8, value % 8);
		steps_clear(s, value % 8);
		break;
	case 2:
		value = draw_value(random, s);
		if (random_below(random, 2))
			value = UINT32_MAX - random_below(random, 200);
		put(b, CNT, 8, value);
		if (!s->counts)
			s->counter = value;
		break;
	case 3:
		value = value % 0x200 | (random_below(random, 2) ? INT : 0);
		put(b, CONF(i), 8, value);
		steps_config(s, (int)i, value);
		break;
	default:
		value = draw_value(random, s);
		put(b, CMP(i), 8, value);
		steps_compare(s, (int)i, value);
	}
}

static void compare(struct bench *b, struct steps *s, int life, int step)
{
	bool same = get(b, CNT, 8) == s->counter;
	unsigned status = 0, lines = 0;

	for (unsigned i = 0; i < 3; i++) {
		same = same && get(b, CMP(i), 8) == s->timer[i].comparator;
		same = same && b->rises[i] == s->timer[i].rises;
		status |= (unsigned)s->status[i] << i;
		lines |= (unsigned)s->timer[i].line << i;
	}
	if (!same || get(b, STS, 8) != status || b->out.level != lines)
		fail_msg("life %d, step %d: another counter, comparator, line or edge", life, step);
}

static void every_tick_is_as_the_specification_tells_it(void **state)
{
	struct random random = random_start();
	uint64_t rises = 0;

	(void)state;
	for (int life = 0; life < LIVES; life++) {
		struct bench b = at(0);
		struct steps s = {0};

		for (int i = 0; i < 3; i++)
			s.timer[i].comparator = s.timer[i].last = UINT64_MAX;
		for (int step = 0; step < STEPS; step++) {
			uint32_t ticks = random_below(&random, random_below(&random, 8) ? 20 : 700);

			for (uint32_t i = 0; i < ticks; i++)
				steps_tick(&s);
			b.now += ticks * 10;
			write_both(&b, &s, &random);
			compare(&b, &s, life, step);
		}
		rises += b.rises[0] + b.rises[1] + b.rises[2];
	}
	assert_true(rises > LIVES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_tick_is_as_the_specification_tells_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
