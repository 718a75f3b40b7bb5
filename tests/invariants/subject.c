/* SPDX-License-Identifier: Apache-2.0 */
/* subject.c - the table of faces that the invariants run over. */
#include "subject.h"

#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Two calls as one. */
static struct vmt_out both(struct vmt_out first, struct vmt_out second)
{
	for (int i = 0; i < VMT_LINES; i++)
		second.rises[i] += first.rises[i];
	return second;
}

static void pit_start(union subject_state *s, vmt_ns now)
{
	vmt_pit_reset(&s->pit, now);
}

static struct vmt_out pit_advance(union subject_state *s, vmt_ns now)
{
	return vmt_pit_advance(&s->pit, now);
}

static struct vmt_out pit_read(union subject_state *s, vmt_ns now, uint32_t reg, uint32_t width,
			       uint32_t *ret_value)
{
	uint8_t byte;
	struct vmt_out out = vmt_pit_read(&s->pit, now, reg, &byte);

	(void)width;
	*ret_value = byte;
	return out;
}

static struct vmt_out pit_write(union subject_state *s, vmt_ns now, uint32_t reg, uint32_t width,
				uint32_t value)
{
	(void)width;
	return vmt_pit_write(&s->pit, now, reg, (uint8_t)value);
}

static struct vmt_out pit_other(union subject_state *s, vmt_ns now, uint32_t which, uint32_t value)
{
	struct vmt_out until = vmt_pit_advance(&s->pit, now); /* a reset tells of no edges */

	(void)which;
	(void)value;
	vmt_pit_reset(&s->pit, now);
	return both(until, vmt_pit_advance(&s->pit, now));
}

static int pit_save(const union subject_state *s, void *buf, size_t size)
{
	return vmt_pit_save(&s->pit, buf, size);
}

static int pit_load(union subject_state *s, vmt_ns now, const void *buf, size_t size)
{
	return vmt_pit_load(&s->pit, now, buf, size);
}

static const uint16_t pit_likely[][2] = {
	{3, 0x30}, {3, 0x34}, {3, 0x36}, {3, 0x38}, {3, 0x14}, {3, 0x16}, {3, 0x18}, {3, 0x1a},
	{3, 0x35}, {3, 0xb0}, {3, 0x92}, {3, 0x9a}, {3, 0x00}, {3, 0xce}, {0, 2},    {0, 3},
	{0, 0},    {0, 200},  {2, 7},    {2, 0},    {4, 0},    {4, 1},    {4, 0},    {4, 1},
};

static void rtc_start(union subject_state *s, vmt_ns now)
{
	vmt_rtc_init(&s->rtc, now, INT64_C(1704164645123456789));
	vmt_rtc_exact(&s->rtc, now, 150000);
}

static struct vmt_out rtc_advance(union subject_state *s, vmt_ns now)
{
	return vmt_rtc_advance(&s->rtc, now);
}

static struct vmt_out rtc_read(union subject_state *s, vmt_ns now, uint32_t reg, uint32_t width,
			       uint32_t *ret_value)
{
	uint8_t byte;
	struct vmt_out out = vmt_rtc_read(&s->rtc, now, reg, &byte);

	(void)width;
	*ret_value = byte;
	return out;
}

static struct vmt_out rtc_write(union subject_state *s, vmt_ns now, uint32_t reg, uint32_t width,
				uint32_t value)
{
	struct vmt_out index, data;

	if (width < 2)
		return vmt_rtc_write(&s->rtc, now, reg, (uint8_t)value);
	index = vmt_rtc_write(&s->rtc, now, VMT_RTC_INDEX, (uint8_t)value); /* as outw does */
	data = vmt_rtc_write(&s->rtc, now, VMT_RTC_DATA, (uint8_t)(value >> 8));
	return both(index, data);
}

/* A reading of the time as Linux does it, whose last read may be held. */
static struct vmt_out rtc_reading(union subject_state *s, vmt_ns now)
{
	static const uint8_t order[] = {0, 10, 0, 2, 4, 7, 8, 9, 0x32, 11, 10, 0};
	struct vmt_out sum = vmt_rtc_advance(&s->rtc, now);

	for (size_t i = 0; i < COUNT(order); i++) {
		uint8_t byte;

		sum = both(sum, vmt_rtc_write(&s->rtc, now, VMT_RTC_INDEX, order[i]));
		sum = both(sum, vmt_rtc_read(&s->rtc, now, VMT_RTC_DATA, &byte));
	}
	return sum;
}

static struct vmt_out rtc_other(union subject_state *s, vmt_ns now, uint32_t which, uint32_t value)
{
	int64_t step = (int64_t)(int32_t)value * (which == 0 ? 1 : 1000000000);
	struct vmt_out until;

	if (which < 2)
		return vmt_rtc_utc(&s->rtc, now, INT64_C(1704164645123456789) + step);
	if (which == 2)
		return vmt_rtc_repeat(&s->rtc, now);
	if (which == 3)
		return rtc_reading(s, now);
	until = vmt_rtc_advance(&s->rtc, now);
	vmt_rtc_reset(&s->rtc, now);
	return both(until, vmt_rtc_advance(&s->rtc, now));
}

static int rtc_save(const union subject_state *s, void *buf, size_t size)
{
	return vmt_rtc_save(&s->rtc, buf, size);
}

static int rtc_load(union subject_state *s, vmt_ns now, const void *buf, size_t size)
{
	return vmt_rtc_load(&s->rtc, now, buf, size);
}

/* Register 2 stands for index and data in one access, by its width. */
static const uint16_t rtc_likely[][2] = {
	{2, 0x260a}, {2, 0x2f0a}, {2, 0x210a}, {2, 0x700a}, {2, 0x020b}, {2, 0x420b},
	{2, 0x220b}, {2, 0x120b}, {2, 0x720b}, {2, 0x760b}, {2, 0x820b}, {2, 0x000b},
	{2, 0xff01}, {2, 0xff03}, {2, 0xff05}, {2, 0x3001}, {2, 0x1503}, {2, 0x9205},
	{2, 0x5900}, {2, 0x1304}, {2, 0x9932}, {0, 0x0c},   {0, 0x0a},   {0, 0x00},
};

static void pmtmr_start(union subject_state *s, vmt_ns now)
{
	vmt_pmtmr_init(&s->pmtmr, now, 24);
}

static struct vmt_out pmtmr_advance(union subject_state *s, vmt_ns now)
{
	return vmt_pmtmr_advance(&s->pmtmr, now);
}

static struct vmt_out pmtmr_read(union subject_state *s, vmt_ns now, uint32_t reg, uint32_t width,
				 uint32_t *ret_value)
{
	return vmt_pmtmr_read(&s->pmtmr, now, reg, width, ret_value);
}

static struct vmt_out pmtmr_write(union subject_state *s, vmt_ns now, uint32_t reg, uint32_t width,
				  uint32_t value)
{
	return vmt_pmtmr_write(&s->pmtmr, now, reg, width, value);
}

static struct vmt_out pmtmr_other(union subject_state *s, vmt_ns now, uint32_t which,
				  uint32_t value)
{
	struct vmt_out until;

	(void)value;
	if (which)
		return vmt_pmtmr_button(&s->pmtmr, now);
	until = vmt_pmtmr_advance(&s->pmtmr, now);
	vmt_pmtmr_reset(&s->pmtmr, now);
	return both(until, vmt_pmtmr_advance(&s->pmtmr, now));
}

static int pmtmr_save(const union subject_state *s, void *buf, size_t size)
{
	return vmt_pmtmr_save(&s->pmtmr, buf, size);
}

static int pmtmr_load(union subject_state *s, vmt_ns now, const void *buf, size_t size)
{
	return vmt_pmtmr_load(&s->pmtmr, now, buf, size);
}

static const uint16_t pmtmr_likely[][2] = {
	{VMT_PMTMR_EN, 1},  {VMT_PMTMR_EN, 0x101},  {VMT_PMTMR_EN, 0},
	{VMT_PMTMR_STS, 1}, {VMT_PMTMR_STS, 0x100}, {VMT_PMTMR_STS, 0xffff},
};

/* The registers without the gaps between them, so that small numbers reach all of them; the last is
 * beyond the block.  After them: where a timer's comparator is put, from the counter on. */
static const uint32_t hpet_registers[] = {VMT_HPET_CAPABILITIES,
					  VMT_HPET_CONFIG,
					  VMT_HPET_STATUS,
					  VMT_HPET_COUNTER,
					  0x100,
					  0x108,
					  0x110,
					  0x120,
					  0x128,
					  0x140,
					  0x148,
					  VMT_HPET_BYTES - 4};
enum { HPET_ROUTES = 0x00f00804, HPET_AHEAD = 8 * COUNT(hpet_registers) };

static void hpet_start(union subject_state *s, vmt_ns now)
{
	vmt_hpet_init(&s->hpet, now, HPET_ROUTES);
}

static struct vmt_out hpet_advance(union subject_state *s, vmt_ns now)
{
	return vmt_hpet_advance(&s->hpet, now);
}

static struct vmt_out hpet_read(union subject_state *s, vmt_ns now, uint32_t reg, uint32_t width,
				uint32_t *ret_value)
{
	uint64_t value;
	struct vmt_out out = vmt_hpet_read(
		&s->hpet, now, hpet_registers[reg / 8 % COUNT(hpet_registers)] + reg % 8, width,
		&value);

	*ret_value = (uint32_t)(value ^ (value >> 32) * 31);
	return out;
}

/* The upper half of what is written is the lower one again. */
static struct vmt_out hpet_write(union subject_state *s, vmt_ns now, uint32_t reg, uint32_t width,
				 uint32_t value)
{
	uint64_t count;
	struct vmt_out first, second;

	if (reg < HPET_AHEAD)
		return vmt_hpet_write(&s->hpet, now, hpet_registers[reg / 8] + reg % 8, width,
				      value | (uint64_t)value << 32);
	first = vmt_hpet_read(&s->hpet, now, VMT_HPET_COUNTER, 8, &count);
	second = vmt_hpet_write(&s->hpet, now, VMT_HPET_TIMER + reg % 3 * 0x20 + 8, 8,
				count + value);
	return both(first, second);
}

static struct vmt_out hpet_other(union subject_state *s, vmt_ns now, uint32_t which, uint32_t value)
{
	struct vmt_out until = vmt_hpet_advance(&s->hpet, now);

	(void)which;
	(void)value;
	vmt_hpet_reset(&s->hpet, now);
	return both(until, vmt_hpet_advance(&s->hpet, now));
}

static int hpet_save(const union subject_state *s, void *buf, size_t size)
{
	return vmt_hpet_save(&s->hpet, buf, size);
}

static int hpet_load(union subject_state *s, vmt_ns now, const void *buf, size_t size)
{
	return vmt_hpet_load(&s->hpet, now, buf, size);
}

/* 8 configuration, 16 status, 24 counter; timer 0: 32 and 40, 1: 56 and 64, 2: 72 and 80. */
static const uint16_t hpet_likely[][2] = {
	{8, 1},       {8, 1},       {8, 3},       {8, 0},       {16, 7},      {24, 0},
	{24, 0xffff}, {32, 0x0004}, {32, 0x010c}, {32, 0x014c}, {32, 0x0106}, {32, 0x010e},
	{56, 0x004c}, {56, 0x0004}, {56, 0x2906}, {72, 0x290e}, {72, 0x0046}, {72, 0x0148},
	{40, 0},      {40, 1},      {64, 1000},   {80, 30000},  {96, 1},      {96, 500},
	{97, 60000},  {97, 3},      {98, 0},      {98, 9999},
};

enum { CPUS = 3 };

static void kvmclock_start(union subject_state *s, vmt_ns now)
{
	vmt_kvmclock_init(&s->kvmclock, CPUS);
	vmt_kvmclock_stable(&s->kvmclock, 1);
	vmt_kvmclock_anchor(&s->kvmclock, now, now, UINT64_C(1) << 61, 62);
}

static struct vmt_out kvmclock_advance(union subject_state *s, vmt_ns now)
{
	(void)s;
	return (struct vmt_out){.deadline = VMT_NEVER, .ready = now};
}

/* The four numbers of each CPU, and of one that does not exist. */
static uint32_t kvmclock_msr(uint32_t reg)
{
	static const uint32_t msrs[] = {VMT_MSR_KVM_WALL_OLD, VMT_MSR_KVM_SYSTEM_OLD,
					VMT_MSR_KVM_WALL, VMT_MSR_KVM_SYSTEM};

	return msrs[reg % COUNT(msrs)];
}

static struct vmt_out kvmclock_read(union subject_state *s, vmt_ns now, uint32_t reg,
				    uint32_t width, uint32_t *ret_value)
{
	uint64_t value = 0;

	(void)width;
	(void)vmt_kvmclock_read(&s->kvmclock, reg / 4, kvmclock_msr(reg), &value);
	*ret_value = (uint32_t)(value ^ (value >> 32) * 31);
	return kvmclock_advance(s, now);
}

static struct vmt_out kvmclock_write(union subject_state *s, vmt_ns now, uint32_t reg,
				     uint32_t width, uint32_t value)
{
	struct vmt_out out = kvmclock_advance(s, now);

	(void)vmt_kvmclock_write(&s->kvmclock, now, reg / 4, kvmclock_msr(reg),
				 (uint64_t)value << (width - 1) * 8, &out);
	return out;
}

static struct vmt_out kvmclock_other(union subject_state *s, vmt_ns now, uint32_t which,
				     uint32_t value)
{
	uint32_t entry[VMT_KVMCLOCK_BYTES / 4] = {0};

	if (which == 0)
		vmt_kvmclock_anchor(&s->kvmclock, now, now, (UINT64_C(1) << 61) + value, 62);
	else if (which == 1)
		vmt_kvmclock_stopped(&s->kvmclock);
	else if (which == 2)
		vmt_kvmclock_publish(&s->kvmclock, value % CPUS, 0, entry);
	else
		vmt_kvmclock_reset(&s->kvmclock);
	return kvmclock_advance(s, now);
}

static int kvmclock_save(const union subject_state *s, void *buf, size_t size)
{
	return vmt_kvmclock_save(&s->kvmclock, buf, size);
}

static int kvmclock_load(union subject_state *s, vmt_ns now, const void *buf, size_t size)
{
	(void)now;
	return vmt_kvmclock_load(&s->kvmclock, buf, size);
}

static const uint16_t kvmclock_likely[][2] = {
	{3, 0x1001}, {7, 0x1041}, {11, 0x1081}, {2, 0x2000}, {1, 0x3001}, {3, 0}, {15, 1},
};

/* The host's count is virtual time's. */
static void tsc_start(union subject_state *s, vmt_ns now)
{
	const struct vmt_tsc_host host = {
		.khz = 2500000, .frac = VMT_TSC_FRAC_VMX, .tolerance_ppm = 250};

	vmt_tsc_init(&s->tsc.tsc, CPUS, &host);
	vmt_tsc_set(&s->tsc.tsc, now, 0);
	s->tsc.host = now;
}

static struct vmt_out tsc_advance(union subject_state *s, vmt_ns now)
{
	s->tsc.host = now;
	return (struct vmt_out){.deadline = VMT_NEVER, .ready = now};
}

static uint32_t tsc_msr(uint32_t reg)
{
	return reg % 2 ? VMT_MSR_TSC_ADJUST : VMT_MSR_TSC;
}

static struct vmt_out tsc_read(union subject_state *s, vmt_ns now, uint32_t reg, uint32_t width,
			       uint32_t *ret_value)
{
	uint64_t value = 0;

	(void)width;
	(void)vmt_tsc_read(&s->tsc.tsc, now, reg / 2, tsc_msr(reg), &value);
	*ret_value = (uint32_t)(value ^ (value >> 32) * 31);
	return tsc_advance(s, now);
}

static struct vmt_out tsc_write(union subject_state *s, vmt_ns now, uint32_t reg, uint32_t width,
				uint32_t value)
{
	struct vmt_out out = tsc_advance(s, now);

	out.dirty = vmt_tsc_write(&s->tsc.tsc, now, reg / 2, tsc_msr(reg),
				  (uint64_t)value << (width - 1) * 8) > 0;
	return out;
}

static struct vmt_out tsc_other(union subject_state *s, vmt_ns now, uint32_t which, uint32_t value)
{
	if (which == 0)
		(void)vmt_tsc_scale(&s->tsc.tsc, now, value >> 8);
	else if (which == 1)
		vmt_tsc_set(&s->tsc.tsc, now, value);
	else
		vmt_tsc_reset(&s->tsc.tsc);
	return tsc_advance(s, now);
}

static int tsc_save(const union subject_state *s, void *buf, size_t size)
{
	return vmt_tsc_save(&s->tsc.tsc, s->tsc.host, buf, size);
}

/* Another frequency than the saved one is no failure. */
static int tsc_load(union subject_state *s, vmt_ns now, const void *buf, size_t size)
{
	int result = vmt_tsc_load(&s->tsc.tsc, now, buf, size);

	if (result < 0)
		return result;
	s->tsc.host = now;
	return 0;
}

static const uint16_t tsc_likely[][2] = {{0, 0}, {1, 0}, {3, 1}, {5, 1}, {1, 1}, {7, 1}};

static void steal_start(union subject_state *s, vmt_ns now)
{
	(void)now;
	vmt_steal_init(&s->steal, CPUS);
}

static struct vmt_out steal_advance(union subject_state *s, vmt_ns now)
{
	(void)s;
	return (struct vmt_out){.deadline = VMT_NEVER, .ready = now};
}

static struct vmt_out steal_read(union subject_state *s, vmt_ns now, uint32_t reg, uint32_t width,
				 uint32_t *ret_value)
{
	uint64_t value = 0;

	(void)width;
	(void)vmt_steal_read(&s->steal, reg, VMT_MSR_KVM_STEAL, &value);
	*ret_value = (uint32_t)(value ^ (value >> 32) * 31);
	return steal_advance(s, now);
}

static struct vmt_out steal_write(union subject_state *s, vmt_ns now, uint32_t reg, uint32_t width,
				  uint32_t value)
{
	struct vmt_out out = steal_advance(s, now);

	(void)vmt_steal_write(&s->steal, now, reg, VMT_MSR_KVM_STEAL,
			      (uint64_t)value << (width - 1) * 6, &out);
	return out;
}

/* `value` also plays what the guest left in its entry. */
static struct vmt_out steal_other(union subject_state *s, vmt_ns now, uint32_t which,
				  uint32_t value)
{
	uint32_t entry[VMT_STEAL_BYTES / 4] = {value};

	if (which == 0)
		vmt_steal_add(&s->steal, value % CPUS, value);
	else if (which == 1)
		vmt_steal_publish(&s->steal, value % CPUS, entry);
	else
		vmt_steal_reset(&s->steal);
	return steal_advance(s, now);
}

static int steal_save(const union subject_state *s, void *buf, size_t size)
{
	return vmt_steal_save(&s->steal, buf, size);
}

static int steal_load(union subject_state *s, vmt_ns now, const void *buf, size_t size)
{
	(void)now;
	return vmt_steal_load(&s->steal, buf, size);
}

static const uint16_t steal_likely[][2] = {
	{0, 0x1001}, {1, 0x1041}, {2, 0x1081}, {0, 0}, {1, 0x1003}, {3, 0x1001},
};

const struct subject subjects[SUBJECTS] = {
	{"pit", 5, 1, 1 << VMT_PIT_OUT0, 0, 1, 0, pit_start, pit_advance, pit_read, pit_write,
	 pit_other, pit_save, pit_load, pit_likely, COUNT(pit_likely)},
	{"rtc", 2, 2, 1 << VMT_RTC_IRQ, 1 << VMT_RTC_IRQ, 5, 0, rtc_start, rtc_advance, rtc_read,
	 rtc_write, rtc_other, rtc_save, rtc_load, rtc_likely, COUNT(rtc_likely)},
	{"pmtmr", 12, 4, 1 << VMT_PMTMR_SCI, 1 << VMT_PMTMR_SCI, 2, 0, pmtmr_start, pmtmr_advance,
	 pmtmr_read, pmtmr_write, pmtmr_other, pmtmr_save, pmtmr_load, pmtmr_likely,
	 COUNT(pmtmr_likely)},
	{"hpet", HPET_AHEAD, 8, 7, 7, 1, 0, hpet_start, hpet_advance, hpet_read, hpet_write,
	 hpet_other, hpet_save, hpet_load, hpet_likely, COUNT(hpet_likely)},
	{"kvmclock", 4 * CPUS, 8, 0, 0, 4, 1, kvmclock_start, kvmclock_advance, kvmclock_read,
	 kvmclock_write, kvmclock_other, kvmclock_save, kvmclock_load, kvmclock_likely,
	 COUNT(kvmclock_likely)},
	{"tsc", 2 * CPUS, 8, 0, 0, 3, 1, tsc_start, tsc_advance, tsc_read, tsc_write, tsc_other,
	 tsc_save, tsc_load, tsc_likely, COUNT(tsc_likely)},
	{"steal", CPUS, 8, 0, 0, 3, 1, steal_start, steal_advance, steal_read, steal_write,
	 steal_other, steal_save, steal_load, steal_likely, COUNT(steal_likely)},
};
