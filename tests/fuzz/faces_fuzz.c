/* SPDX-License-Identifier: Apache-2.0 */
/* faces_fuzz.c - any life of any face, the invariants as oracle.
 *
 * The input is a face (one byte) and then steps of eight bytes: what, register, width, value (2),
 * and by how much time moves on: mantissa (2) and a shift of up to 55 bits; the shift's byte 0xff
 * means to the deadline, 0xfe to just before it. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "invariants/life.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct life_step decode(const struct subject *f, const uint8_t *d, vmt_ns now,
			       vmt_ns deadline)
{
	uint64_t by = (uint64_t)(d[5] | d[6] << 8) << (d[7] % 56);
	struct life_step step = {
		.what = d[0] % 4,
		.now = by < VMT_NEVER - 1 - now ? now + by : VMT_NEVER - 1,
		.reg = d[1] % (f->registers + 1),
		.width = d[2] % f->widest + 1,
		.value = d[3] | (uint32_t)d[4] << 8,
	};

	if (d[7] >= 0xfe && deadline != VMT_NEVER)
		step.now = deadline - (d[7] == 0xfe);
	if (step.what == LIFE_OTHER)
		step.reg %= f->others;
	return step;
}

static void demand(int holds)
{
	if (!holds)
		abort();
}

/* Saved and loaded at any moment, it is the same. */
static void survives_a_save(const struct subject *f, const union subject_state *s, vmt_ns now)
{
	union subject_state back;
	uint8_t bytes[256];
	int size = f->save(s, bytes, sizeof(bytes));

	memset(&back, 0, sizeof(back));
	f->start(&back, now);
	demand(size > 0 && f->load(&back, now, bytes, (size_t)size) == 0);
	demand(memcmp(&back, s, sizeof(back)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct subject *f;
	union subject_state s, parts;
	struct vmt_out out, halfway, again;
	vmt_ns now = 12345;

	if (!size)
		return 0;
	f = &subjects[data[0] % SUBJECTS];
	memset(&s, 0, sizeof(s));
	f->start(&s, now);
	out = f->advance(&s, now);
	for (size_t at = 1; at + 8 <= size; at += 8) {
		struct life_step step = decode(f, data + at, now, out.deadline);
		uint32_t value, same;

		parts = s;
		halfway = f->advance(&parts, now + (step.now - now) / 2);
		out = life_do(f, &s, &step, &value);
		again = life_do(f, &parts, &step, &same);
		for (int i = 0; i < VMT_LINES; i++)
			again.rises[i] += halfway.rises[i];
		demand(value == same && memcmp(&out, &again, sizeof(out)) == 0);
		demand(memcmp(&s, &parts, sizeof(s)) == 0);
		demand(!life_wrong(f, &s, &step, &out));
		survives_a_save(f, &s, step.now);
		now = step.now;
	}
	return 0;
}
