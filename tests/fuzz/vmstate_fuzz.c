/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_fuzz.c - any bytes as one part of a machine's state, the other parts being right: refused
 * with a word, or loaded, as far as that goes without KVM.
 *
 * The first byte says which part (enum vmstate_kind), doubled; odd: the only record in it gets
 * its right checksum first, so that what is behind that is reached as well. */
#include "../machine_bench.h"

#include "core/snap.h"
#include "kvm/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { KINDS = VMSTATE_HOST + 1, MOST = 16384, CRC = 4, CLOCK_HEAD = 32 };

static void demand(int holds)
{
	if (!holds)
		abort();
}

/* As core/snap.c has it. */
static uint32_t crc32(const uint8_t *bytes, size_t count)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < count; i++) {
		crc ^= bytes[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

static void seal(uint8_t *bytes, size_t size, uint32_t kind)
{
	size_t at = kind == VMSTATE_CLOCK ? CLOCK_HEAD : 0;

	if (kind < VMSTATE_CLOCK || kind > VMSTATE_STEAL || size < at + CRC)
		return;
	put32(bytes + size - CRC, crc32(bytes + at, size - at - CRC));
}

/* All parts but that one. */
static struct vmstate_parts others(struct machine *m, uint32_t kind)
{
	struct vmstate_parts all = bench_save(m), some = {0};

	for (uint32_t i = 0; i < all.n; i++) {
		const struct vmstate_part *p = &all.parts[i];

		if (p->kind != kind || p->index)
			demand(!vmstate_parts_add(&some, p->kind, p->version, p->index, p->bytes,
						  p->length));
	}
	vmstate_parts_free(&all);
	return some;
}

/* What machine_run() does with them, in its order. */
static int load(struct machine *m, struct why *why)
{
	struct vmt_clock clock;
	struct counted_clock now;
	int result = vmstate_check(m->config, m->incoming, why);

	m->migrates = vmstate_parts_find(m->incoming, VMSTATE_HOST, 0);
	if (result == 0)
		result = vmstate_load_time(m, false, 1000000000, &clock, why);
	if (result < 0)
		return result;
	now = (struct counted_clock){.clock = clock};
	liveclock_set(&m->chipset.clock, &now);
	result = vmstate_load_cpus(m, why);
	if (result == 0)
		result = vmstate_load_board(m, why);
	if (result == 0)
		vmstate_load_memory(m);
	return result;
}

static struct machine *machine(struct guest_memory *memory)
{
	struct machine *m = bench_new();

	m->memory = *memory;
	bench_show_clock(m);
	m->tsc_host.tsc_class = PROBE_TSC_OFFSET;
	m->tsc_host.hardware = m->tsc.host;
	return m;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct guest_memory memory;
	struct vmstate_parts parts;
	struct why why = {""};
	struct machine *m;
	uint8_t *bytes;
	uint32_t kind;

	if (size < 1 || size > MOST)
		return 0;
	if (!memory.low)
		demand(memory_create(BENCH_SIZE, &memory, NULL) == 0);
	kind = data[0] / 2 % KINDS;
	bytes = malloc(size);
	demand(bytes != NULL);
	memcpy(bytes, data + 1, size - 1);
	if (data[0] & 1)
		seal(bytes, size - 1, kind);
	m = machine(&memory);
	parts = others(m, kind);
	demand(!vmstate_parts_add(&parts, kind, 1, 0, bytes, (uint32_t)size - 1));
	m->incoming = &parts;
	demand(load(m, &why) == 0 || why.text[0]);
	vmstate_parts_free(&parts);
	bench_free(m);
	free(bytes);
	return 0;
}
