/* SPDX-License-Identifier: Apache-2.0 */
/* test_faces_kind.c - what is known of each clock of a PC: its tick, its width, what is fitted. */
#include <string.h>

#include "cmd/test_faces_kind.h"

__extension__ typedef unsigned __int128 u128;

static const uint32_t lapic_khz = 1000000; /* KVM's, where CPUID does not say it */

const char *const faces_names[FACES_COUNT] = {[FACES_PIT] = "pit",
					      [FACES_RTC] = "rtc",
					      [FACES_HPET] = "hpet",
					      [FACES_PM] = "acpi_pm",
					      [FACES_LAPIC] = "lapic",
					      [FACES_TSC] = "tsc",
					      [FACES_KVM_CLOCK] = "kvm-clock",
					      [FACES_REALTIME] = "realtime",
					      [FACES_MONOTONIC] = "monotonic",
					      [FACES_MONOTONIC_RAW] = "monotonic_raw",
					      [FACES_BOOTTIME] = "boottime"};

const char *const faces_reader_names[FACES_READERS] = {
	[FACES_PROBE] = "probe", [FACES_LINUX] = "linux"};

/* In ns, whose lower 56 bits are sent; they move in steps of the clock source. */
static struct faces_kind kind_of_linux(const struct faces_input *in)
{
	const char *const name = in->clocksource ? in->clocksource : "kvm-clock";
	struct judge_clock clock = {.on_a_line = false};
	struct faces_kind k = {.num = 1, .den = 1, .modulus = 1ULL << 56};

	judge_find_clock(name, in->tsc_khz * 1000, in->tick_ns, &clock);
	k.fitted = clock.on_a_line;
	k.rate_limit_ppb = clock.frequency_ppb;
	k.quantum_ns = clock.limit_ns;
	if (clock.needs_tick)
		k.quantum_ns = in->tick_ns;
	else if (strcmp(name, "hpet") == 0 && in->hello.hpet_fs)
		k.quantum_ns = (in->hello.hpet_fs + 999999) / 1000000;
	return k;
}

struct faces_kind faces_kind_of(const struct faces_input *in, enum faces_face face)
{
	const uint64_t bus_khz = in->hello.bus_khz ? in->hello.bus_khz : lapic_khz;
	struct faces_kind k = {.num = 1, .den = 1};

	switch (face) {
	case FACES_PIT:
		k = (struct faces_kind){
			.num = 1000000000, .den = 1193182, .modulus = 65536, .down = true};
		break;
	case FACES_RTC: /* its seconds end at a tick of its crystal */
		k = (struct faces_kind){
			.num = 1000000000, .den = 1, .modulus = 60, .quantum_ns = 30518};
		break;
	case FACES_HPET:
		k = (struct faces_kind){
			.num = in->hello.hpet_fs, .den = 1000000, .modulus = 1ULL << 32};
		break;
	case FACES_PM:
		k = (struct faces_kind){.num = 1000000000,
					.den = 3579545,
					.modulus = 1ULL << in->hello.pm_bits,
					.from_zero = in->from_zero};
		break;
	case FACES_LAPIC:
		k = (struct faces_kind){.num = 16 * 1000000,
					.den = bus_khz,
					.modulus = UINT32_MAX,
					.down = true,
					.per_cpu = true,
					.fitted = true,
					.rate_limit_ppb = FACES_LAPIC_PPB};
		break;
	case FACES_TSC:
		k = (struct faces_kind){.num = 1000000, .den = in->tsc_khz, .from_zero = true};
		break;
	case FACES_REALTIME:
	case FACES_MONOTONIC:
	case FACES_MONOTONIC_RAW:
	case FACES_BOOTTIME:
		k = kind_of_linux(in);
		break;
	default: /* kvm-clock counts ns */
		break;
	}
	if (!k.quantum_ns)
		k.quantum_ns = (k.num + k.den - 1) / k.den;
	return k;
}

uint64_t faces_tsc_khz(const struct faces_hello *hello, uint64_t measured_hz)
{
	const u128 khz_32 = (u128)1000000 << 32;
	int32_t shift = hello->kvm_shift;
	u128 mul = hello->kvm_mul;
	uint64_t khz = (measured_hz + 500) / 1000;

	if (hello->tsc_khz)
		khz = hello->tsc_khz;
	else if (mul && shift >= 0 && shift <= 32)
		khz = (uint64_t)((khz_32 + (mul << shift) / 2) / (mul << shift));
	else if (mul && shift < 0 && shift >= -32)
		khz = (uint64_t)(((khz_32 << -shift) + mul / 2) / mul);
	return khz < FACES_LEAST_KHZ ? 0 : khz;
}
