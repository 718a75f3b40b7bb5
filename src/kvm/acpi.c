/* SPDX-License-Identifier: Apache-2.0 */
/* acpi.c - the ACPI tables of the small machine (ACPI 6.5, 5.2); its AML: the *.asl files.
 *
 * Every field that is not written is 0 and means "not there": offsets are given instead of structs,
 * because the tables are packed and 19 of 20 fields of the FADT stay empty. */
#include <errno.h>
#include <string.h>
#include <vmtime/board.h>

#include "kvm/acpi.h"
#include "kvm/bytes.h"

#include "dsdt.hex"
#include "hpet.hex"
#include "rtc.hex"

enum { HEADER_SIZE = 36, RSDP_SIZE = 36, FACS_SIZE = 64, FADT_SIZE = 276, GAS_SIZE = 12 };
enum { HPET_SIZE = 56, TABLES_MAX = 5 };
enum { MADT_LAPIC_SIZE = 8, MADT_IOAPIC_SIZE = 12, MADT_OVERRIDE_SIZE = 10, MADT_NMI_SIZE = 6 };

static const uint32_t LAPIC_ADDRESS = 0xfee00000, IOAPIC_ADDRESS = 0xfec00000;
static const uint32_t HPET_ID = 0x8086a201;

/* The tables' range, filled from the bottom. */
struct room {
	const struct guest_memory *memory;
	uint64_t next;
};

/* Zeroed room for one table at an address divisible by 64 (the FACS needs it); NULL: full. */
static uint8_t *take(struct room *room, uint64_t length, uint64_t *ret_gpa)
{
	uint8_t *table;

	if (length > ACPI_TABLES_END - room->next)
		return NULL;
	table = memory_at(room->memory, room->next, length);
	if (!table)
		return NULL;
	*ret_gpa = room->next;
	room->next = (room->next + length + 63) & ~63ULL;
	return memset(table, 0, length);
}

/* Text without an end: the field is wider or just as wide, and zero. */
static void put_text(uint8_t *at, const char *text)
{
	while (*text)
		*at++ = (uint8_t)*text++;
}

/* The byte that makes the sum of all 0 (mod 256). */
static uint8_t checksum(const uint8_t *at, size_t length)
{
	uint8_t sum = 0;

	while (length--)
		sum = (uint8_t)(sum + *at++);
	return (uint8_t)-sum;
}

static void write_header(uint8_t *table, const char *signature, uint8_t revision, size_t length)
{
	put_text(table, signature);
	put32(table + 4, (uint32_t)length);
	table[8] = revision;
	put_text(table + 10, "VMTIME");
	put_text(table + 16, "VMTIME");
	put32(table + 24, 1);
	put_text(table + 28, "VMT ");
	put32(table + 32, 1);
	table[9] = checksum(table, length);
}

/* Generic Address Structure (5.2.3.2): a block of `bytes` ports, accessed `access` at a time
 * (1 byte, 2 word, 3 dword). */
static void write_gas(uint8_t *gas, uint64_t port, unsigned bytes, unsigned access)
{
	gas[0] = 1; /* system I/O */
	gas[1] = (uint8_t)(8 * bytes);
	gas[3] = (uint8_t)access;
	put64(gas + 4, port);
}

static void write_fadt(uint8_t *fadt, const struct acpi_config *config, uint64_t dsdt,
		       uint64_t facs)
{
	enum { LEGACY_DEVICES = 1 << 0, NO_VGA = 1 << 2, NO_CMOS_RTC = 1 << 5 };
	/* No fixed buttons and no RTC wake-up in PM1: what these bits mean when they are set. */
	enum {
		WBINVD = 1 << 0,
		PROC_C1 = 1 << 2,
		NO_FIXED_POWER_BUTTON = 1 << 4,
		NO_FIXED_SLEEP_BUTTON = 1 << 5,
		NO_FIXED_RTC = 1 << 6,
		RESET_REG = 1 << 10,
	};

	put32(fadt + 36, (uint32_t)facs); /* and not in X_FIRMWARE_CTRL: one of both */
	put32(fadt + 40, (uint32_t)dsdt);
	put16(fadt + 46, ACPI_SCI_GSI);
	put32(fadt + 56, ACPI_PM1A_EVT_PORT);
	put32(fadt + 64, ACPI_PM1A_CNT_PORT);
	fadt[88] = 4;
	fadt[89] = 2;
	put16(fadt + 96, 0xfff); /* latencies beyond 100 and 1000 us: no C2, no C3 */
	put16(fadt + 98, 0xfff);
	put16(fadt + 109, LEGACY_DEVICES | NO_VGA | (config->rtc ? 0 : NO_CMOS_RTC));
	put32(fadt + 112, WBINVD | PROC_C1 | NO_FIXED_POWER_BUTTON | NO_FIXED_SLEEP_BUTTON |
				  NO_FIXED_RTC | RESET_REG);
	write_gas(fadt + 116, ACPI_RESET_PORT, 1, 1);
	fadt[128] = ACPI_RESET_VALUE;
	fadt[131] = 5; /* minor revision */
	put64(fadt + 140, dsdt);
	write_gas(fadt + 148, ACPI_PM1A_EVT_PORT, 4, 2);
	write_gas(fadt + 172, ACPI_PM1A_CNT_PORT, 2, 2);
	if (config->pm_timer) {
		put32(fadt + 76, ACPI_PM_TIMER_PORT);
		fadt[91] = 4;
		write_gas(fadt + 208, ACPI_PM_TIMER_PORT, 4, 3);
	}
	if (config->rtc)
		fadt[108] = 0x32; /* CMOS byte of the century */
	write_header(fadt, "FACP", 6, FADT_SIZE);
}

static size_t madt_size(uint32_t cpus)
{
	return HEADER_SIZE + 8 + cpus * MADT_LAPIC_SIZE + MADT_IOAPIC_SIZE +
	       2 * MADT_OVERRIDE_SIZE + MADT_NMI_SIZE;
}

static uint8_t *write_override(uint8_t *at, uint8_t irq, uint32_t gsi, uint16_t flags)
{
	at[0] = 2;
	at[1] = MADT_OVERRIDE_SIZE;
	at[3] = irq;
	put32(at + 4, gsi);
	put16(at + 8, flags);
	return at + MADT_OVERRIDE_SIZE;
}

static void write_madt(uint8_t *madt, uint32_t cpus)
{
	enum { PCAT_COMPAT = 1, ENABLED = 1, HIGH_LEVEL = 0xd, ALL_CPUS = 0xff };
	uint8_t *at = madt + HEADER_SIZE + 8;

	put32(madt + 36, LAPIC_ADDRESS);
	put32(madt + 40, PCAT_COMPAT);
	for (uint32_t i = 0; i < cpus; i++, at += MADT_LAPIC_SIZE) {
		at[1] = MADT_LAPIC_SIZE;
		at[2] = (uint8_t)i;
		at[3] = (uint8_t)i;
		put32(at + 4, ENABLED);
	}
	at[0] = 1;
	at[1] = MADT_IOAPIC_SIZE;
	put32(at + 4, IOAPIC_ADDRESS);
	at += MADT_IOAPIC_SIZE;
	at = write_override(at, 0, 2, 0);
	at = write_override(at, ACPI_SCI_GSI, ACPI_SCI_GSI, HIGH_LEVEL);
	at[0] = 4;
	at[1] = MADT_NMI_SIZE;
	at[2] = ALL_CPUS;
	at[5] = 1; /* LINT1 */
	write_header(madt, "APIC", 5, madt_size(cpus));
}

static void write_rsdp(uint8_t *rsdp, uint64_t xsdt)
{
	put_text(rsdp, "RSD PTR ");
	put_text(rsdp + 9, "VMTIME");
	rsdp[15] = 2; /* revision; without an RSDT */
	put32(rsdp + 20, RSDP_SIZE);
	put64(rsdp + 24, xsdt);
	rsdp[8] = checksum(rsdp, 20); /* the part that ACPI 1.0 knew, then all of it */
	rsdp[32] = checksum(rsdp, RSDP_SIZE);
}

/* IA-PC HPET 3.2.4: the lower half of its capabilities, where it is, and the shortest period in
 * ticks at which no interrupt is lost. */
static void write_hpet(uint8_t *hpet)
{
	enum { TICKS_MIN = VMT_TICKS_FLOOR_NS / VMT_HPET_TICK_NS };

	put32(hpet + 36, HPET_ID);
	hpet[41] = 64; /* bits wide; space 0 is memory */
	put64(hpet + 44, ACPI_HPET_ADDRESS);
	put16(hpet + 53, TICKS_MIN);
	write_header(hpet, "HPET", 1, HPET_SIZE);
}

struct tables {
	struct room room;
	uint64_t gpa[TABLES_MAX]; /* of those that the XSDT names */
	size_t n;
	bool full;
};

/* Room for a table that the XSDT names; NULL: full. */
static uint8_t *add(struct tables *t, size_t length)
{
	uint8_t *table = take(&t->room, length, &t->gpa[t->n]);

	t->n++;
	t->full = t->full || !table;
	return table;
}

/* A table as iasl made it. */
static void add_aml(struct tables *t, const uint8_t *aml, size_t length)
{
	uint8_t *table = add(t, length);

	if (table)
		memcpy(table, aml, length);
}

int acpi_build(const struct guest_memory *memory, const struct acpi_config *config,
	       uint64_t *ret_rsdp_gpa)
{
	struct tables t = {.room = {memory, ACPI_TABLES_GPA}};
	size_t xsdt_size = HEADER_SIZE + 8 * (2U + config->rtc + 2U * config->hpet);
	uint64_t rsdp_gpa, xsdt_gpa, facs_gpa, dsdt_gpa;
	uint8_t *rsdp, *xsdt, *facs, *dsdt, *fadt, *madt, *hpet = NULL;

	if (!config->cpus || config->cpus > ACPI_CPUS_MAX)
		return -EINVAL;
	rsdp = take(&t.room, RSDP_SIZE, &rsdp_gpa);
	xsdt = take(&t.room, xsdt_size, &xsdt_gpa);
	facs = take(&t.room, FACS_SIZE, &facs_gpa);
	dsdt = take(&t.room, sizeof(dsdt_aml_code), &dsdt_gpa);
	fadt = add(&t, FADT_SIZE);
	madt = add(&t, madt_size(config->cpus));
	if (config->rtc)
		add_aml(&t, rtc_aml_code, sizeof(rtc_aml_code));
	if (config->hpet) {
		add_aml(&t, hpet_aml_code, sizeof(hpet_aml_code));
		hpet = add(&t, HPET_SIZE);
	}
	if (!rsdp || !xsdt || !facs || !dsdt || t.full)
		return -ENOSPC;

	put_text(facs, "FACS"); /* the one table without header and checksum */
	put32(facs + 4, FACS_SIZE);
	facs[32] = 2;
	memcpy(dsdt, dsdt_aml_code, sizeof(dsdt_aml_code));
	write_fadt(fadt, config, dsdt_gpa, facs_gpa);
	write_madt(madt, config->cpus);
	if (hpet)
		write_hpet(hpet);
	for (size_t i = 0; i < t.n; i++)
		put64(xsdt + HEADER_SIZE + 8 * i, t.gpa[i]);
	write_header(xsdt, "XSDT", 1, xsdt_size);
	write_rsdp(rsdp, xsdt_gpa);
	*ret_rsdp_gpa = rsdp_gpa;
	return 0;
}
