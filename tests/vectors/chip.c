/* SPDX-License-Identifier: Apache-2.0 */
/* chip.c - from an access in the vectors' words to a call of a face. */
#include "chip.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static bool is(const struct access *a, const char *verb)
{
	return strcmp(a->verb, verb) == 0;
}

/* Whether it is `verb`, with a place, and with a value where one is written. */
static bool reads(const struct access *a)
{
	return is(a, "in") && a->placed && !a->has_value;
}

static bool writes(const struct access *a)
{
	return is(a, "out") && a->placed && a->has_value;
}

static bool plain(const struct access *a, const char *verb)
{
	return is(a, verb) && !a->placed && !a->has_value;
}

static bool pit_start(union chip_state *s, const char *arg)
{
	vmt_pit_reset(&s->pit, 0);
	return !arg;
}

static bool pit_access(union chip_state *s, vmt_ns now, struct access *a, struct vmt_out *out)
{
	bool port61 = a->place == 0x61;
	uint32_t reg = port61 ? (uint32_t)VMT_PIT_PORT61 : a->place - 0x40;
	uint8_t byte;

	if (plain(a, "wait")) {
		*out = vmt_pit_advance(&s->pit, now);
		return true;
	}
	if (a->width != 1 || (!port61 && reg > VMT_PIT_CONTROL))
		return false;
	if (reads(a)) {
		*out = vmt_pit_read(&s->pit, now, reg, &byte);
		a->value = byte;
		a->answered = true;
		return true;
	}
	if (writes(a))
		*out = vmt_pit_write(&s->pit, now, reg, (uint8_t)a->value);
	return writes(a);
}

static bool pit_snap(union chip_state *s, vmt_ns now, struct vmt_out *out)
{
	uint8_t saved[VMT_PIT_SAVED];
	int size;

	*out = vmt_pit_advance(&s->pit, now);
	size = vmt_pit_save(&s->pit, saved, sizeof(saved));
	vmt_pit_reset(&s->pit, 0);
	return size > 0 && vmt_pit_load(&s->pit, now, saved, (size_t)size) == 0;
}

static bool pmtmr_start(union chip_state *s, const char *arg)
{
	return vmt_pmtmr_init(&s->pmtmr, 0, arg ? (uint32_t)strtoul(arg, NULL, 10) : 24) == 0;
}

static bool pmtmr_access(union chip_state *s, vmt_ns now, struct access *a, struct vmt_out *out)
{
	uint32_t value;

	if (reads(a)) {
		*out = vmt_pmtmr_read(&s->pmtmr, now, a->place, a->width, &value);
		a->value = value;
		a->answered = true;
	} else if (writes(a)) {
		*out = vmt_pmtmr_write(&s->pmtmr, now, a->place, a->width, (uint32_t)a->value);
	} else if (plain(a, "button")) {
		*out = vmt_pmtmr_button(&s->pmtmr, now);
	} else if (plain(a, "wait") || plain(a, "reset")) {
		if (is(a, "reset"))
			vmt_pmtmr_reset(&s->pmtmr, now);
		*out = vmt_pmtmr_advance(&s->pmtmr, now);
	} else {
		return false;
	}
	return true;
}

static bool pmtmr_snap(union chip_state *s, vmt_ns now, struct vmt_out *out)
{
	uint8_t saved[VMT_PMTMR_SAVED];
	uint32_t bits = s->pmtmr.bits;
	int size;

	*out = vmt_pmtmr_advance(&s->pmtmr, now);
	size = vmt_pmtmr_save(&s->pmtmr, saved, sizeof(saved));
	return size > 0 && vmt_pmtmr_init(&s->pmtmr, 0, bits) == 0 &&
	       vmt_pmtmr_load(&s->pmtmr, now, saved, (size_t)size) == 0;
}

static bool rtc_start(union chip_state *s, const char *arg)
{
	struct tm tm = {0};
	const char *end = strptime(arg ? arg : "2024-01-01T00:00:00", "%Y-%m-%dT%H:%M:%S", &tm);

	if (!end || *end)
		return false;
	vmt_rtc_init(&s->rtc, 0, timegm(&tm) * INT64_C(1000000000));
	return true;
}

/* A byte of the CMOS memory: the index port, then the data port, at one instant. */
static bool rtc_access(union chip_state *s, vmt_ns now, struct access *a, struct vmt_out *out)
{
	bool get = is(a, "get"), set = is(a, "set");
	struct vmt_out first = {0};
	uint32_t reg = get || set ? (uint32_t)VMT_RTC_DATA : a->place - 0x70;
	uint8_t byte;

	if (plain(a, "wait") || plain(a, "reset")) {
		if (is(a, "reset"))
			vmt_rtc_reset(&s->rtc, now);
		*out = vmt_rtc_advance(&s->rtc, now);
		return true;
	}
	if (!a->placed || a->width != 1 || reg > VMT_RTC_DATA)
		return false;
	if (get || set)
		first = vmt_rtc_write(&s->rtc, now, VMT_RTC_INDEX, (uint8_t)a->place);
	if (get || reads(a)) {
		*out = vmt_rtc_read(&s->rtc, now, reg, &byte);
		a->value = byte;
		a->answered = true;
	} else if ((set && a->has_value) || writes(a)) {
		*out = vmt_rtc_write(&s->rtc, now, reg, (uint8_t)a->value);
	} else {
		return false;
	}
	out->rises[VMT_RTC_IRQ] += first.rises[VMT_RTC_IRQ];
	return true;
}

static bool rtc_snap(union chip_state *s, vmt_ns now, struct vmt_out *out)
{
	uint8_t saved[VMT_RTC_SAVED];
	int size;

	*out = vmt_rtc_advance(&s->rtc, now);
	size = vmt_rtc_save(&s->rtc, saved, sizeof(saved));
	vmt_rtc_init(&s->rtc, 0, 0);
	return size > 0 && vmt_rtc_load(&s->rtc, now, saved, (size_t)size) == 0;
}

/* Any input will do: vectors name lines by timer. */
static bool hpet_start(union chip_state *s, const char *arg)
{
	return vmt_hpet_init(&s->hpet, 0, 1u << 2) == 0 && !arg;
}

static bool hpet_access(union chip_state *s, vmt_ns now, struct access *a, struct vmt_out *out)
{
	if (reads(a)) {
		*out = vmt_hpet_read(&s->hpet, now, a->place, a->width, &a->value);
		a->answered = true;
	} else if (writes(a)) {
		*out = vmt_hpet_write(&s->hpet, now, a->place, a->width, a->value);
	} else if (plain(a, "wait") || plain(a, "reset")) {
		if (is(a, "reset"))
			vmt_hpet_reset(&s->hpet, now);
		*out = vmt_hpet_advance(&s->hpet, now);
	} else {
		return false;
	}
	return true;
}

static bool hpet_snap(union chip_state *s, vmt_ns now, struct vmt_out *out)
{
	uint8_t saved[VMT_HPET_SAVED];
	int size;

	*out = vmt_hpet_advance(&s->hpet, now);
	size = vmt_hpet_save(&s->hpet, saved, sizeof(saved));
	return size > 0 && hpet_start(s, NULL) &&
	       vmt_hpet_load(&s->hpet, now, saved, (size_t)size) == 0;
}

static const struct chip chips[] = {
	{"hpet", 1000000000 / VMT_HPET_TICK_NS, 3, hpet_start, hpet_access, hpet_snap},
	{"pit", VMT_PIT_HZ, 3, pit_start, pit_access, pit_snap},
	{"pmtmr", VMT_PMTMR_HZ, 1, pmtmr_start, pmtmr_access, pmtmr_snap},
	{"rtc", 32768, 1, rtc_start, rtc_access, rtc_snap},
};

const struct chip *chip_named(const char *name, size_t length)
{
	for (size_t i = 0; i < sizeof(chips) / sizeof(chips[0]); i++)
		if (strlen(chips[i].name) == length && memcmp(chips[i].name, name, length) == 0)
			return &chips[i];
	return NULL;
}
