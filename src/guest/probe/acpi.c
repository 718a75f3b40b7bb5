/* SPDX-License-Identifier: Apache-2.0 */
/* acpi.c - what the probe takes from the firmware's tables (ACPI 6.5, 5.2): how many CPUs there
 * are, the PM timer's port and width, the HPET's address. */
#include "guest/probe/probe.h"

/* Where an RSDP is searched (5.2.5.1). */
enum { SEARCH_FROM = 0xe0000, SEARCH_END = 0x100000, SEARCH_STEP = 16, RSDP_1_SIZE = 20 };
enum { RSDP_REVISION = 15, RSDP_RSDT = 16, RSDP_XSDT = 24 };
enum { LENGTH = 4, HEADER_SIZE = 36, HPET_ADDRESS = HEADER_SIZE + 8 };
enum { MADT_ENTRIES = 44, MADT_LAPIC = 0, LAPIC_FLAGS = 4, LAPIC_ENABLED = 1 };

static const uint8_t *at(uint32_t address)
{
	return (const uint8_t *)(uintptr_t)address;
}

static bool same(const uint8_t *p, const char *text)
{
	while (*text)
		if (*p++ != (uint8_t)*text++)
			return false;
	return true;
}

static const uint8_t *find_rsdp(void)
{
	for (uint32_t from = SEARCH_FROM; from < SEARCH_END; from += SEARCH_STEP) {
		const uint8_t *rsdp = at(from);
		uint8_t sum = 0;

		if (!same(rsdp, "RSD PTR "))
			continue;
		for (uint32_t i = 0; i < RSDP_1_SIZE; i++)
			sum = (uint8_t)(sum + rsdp[i]);
		if (sum == 0)
			return rsdp;
	}
	return 0;
}

static void take_madt(const uint8_t *madt, struct probe_tables *t)
{
	const uint8_t *end = madt + probe_get32(madt + LENGTH);
	uint32_t cpus = 0;

	for (const uint8_t *e = madt + MADT_ENTRIES; e + 2 <= end && e[1]; e += e[1])
		if (e[0] == MADT_LAPIC && probe_get32(e + LAPIC_FLAGS) & LAPIC_ENABLED)
			cpus++;
	if (cpus > 1)
		t->cpus = cpus;
}

static void take_table(const uint8_t *table, struct probe_tables *t)
{
	if (same(table, "FACP"))
		probe_take_fadt(table, t);
	else if (same(table, "APIC"))
		take_madt(table, t);
	else if (same(table, "HPET"))
		t->hpet = probe_get32(table + HPET_ADDRESS);
}

/* All tables lie below 4 GiB, as far as this program can look. */
void probe_find_tables(struct probe_tables *ret_tables)
{
	const uint8_t *rsdp = find_rsdp(), *list;
	uint32_t entry = 4, end;

	ret_tables->cpus = 1;
	ret_tables->pm_port = ret_tables->pm_bits = ret_tables->hpet = 0;
	if (!rsdp)
		return;
	list = at(probe_get32(rsdp + RSDP_RSDT));
	if (rsdp[RSDP_REVISION] >= 2 && probe_get32(rsdp + RSDP_XSDT)) {
		list = at(probe_get32(rsdp + RSDP_XSDT));
		entry = 8;
	}
	end = probe_get32(list + LENGTH);
	for (uint32_t i = HEADER_SIZE; i + entry <= end; i += entry)
		take_table(at(probe_get32(list + i)), ret_tables);
}
