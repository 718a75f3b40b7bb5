/* SPDX-License-Identifier: Apache-2.0 */
/* acpi.h - the ACPI tables of the small machine: RSDP, XSDT, FADT, FACS, MADT, DSDT, and one SSDT
 * each for an RTC and an HPET (ACPI 6.5, 5.2), for the latter also the table that its specification
 * defines (IA-PC HPET 1.0a, 3.2.4).
 *
 * What they promise, and the machine must therefore do:
 *   - PM1a status and enable at ACPI_PM1A_EVT_PORT, control at ACPI_PM1A_CNT_PORT; ACPI mode is on
 *     from the start, there is no SMI command port.  Writing ACPI_S5_SLP_TYP << 10 | 1 << 13 to
 *     control switches the machine off.
 *   - the PM timer is 24 bits wide, and is not mentioned anywhere when pm_timer is false;
 *   - the SCI is GSI 9, level, active high; ISA IRQ 0 is GSI 2; LINT1 of each LAPIC is NMI;
 *   - LAPICs have the ids 0 .. cpus - 1, one IOAPIC with 24 pins is at 0xfec00000;
 *   - writing ACPI_RESET_VALUE to ACPI_RESET_PORT resets;
 *   - there is no 8042, no VGA, no PCI, no power button. */
#ifndef KVM_ACPI_H
#define KVM_ACPI_H

#include <stdbool.h>
#include <stdint.h>

#include "kvm/memory.h"

#define ACPI_SCI_GSI 9
#define ACPI_PM1A_EVT_PORT 0x600 /* status, enable: 2 bytes each */
#define ACPI_PM1A_CNT_PORT 0x604
#define ACPI_PM_TIMER_PORT 0x608
#define ACPI_HPET_ADDRESS 0xfed00000ULL
#define ACPI_RESET_PORT 0xcf9
#define ACPI_RESET_VALUE 0x06
#define ACPI_S5_SLP_TYP 5
#define ACPI_CPUS_MAX 254 /* LAPIC ids are a byte, 255 is "all" */

/* The tables lie in this range of guest memory, which e820 has to show as reserved. */
#define ACPI_TABLES_GPA 0xe0000ULL
#define ACPI_TABLES_END 0x100000ULL

struct acpi_config {
	uint32_t cpus; /* 1..ACPI_CPUS_MAX */
	bool pm_timer;
	bool rtc;  /* false: FADT says CMOS RTC not present, and no table describes one */
	bool hpet; /* at ACPI_HPET_ADDRESS */
};

/* Writes the tables into ACPI_TABLES_GPA .. ACPI_TABLES_END, the RSDP first, where a guest that
 * was not told its address finds it by searching.  0, -EINVAL (cpus out of range) or -ENOSPC (no
 * memory there, or the tables do not fit). */
int acpi_build(const struct guest_memory *memory, const struct acpi_config *config,
	       uint64_t *ret_rsdp_gpa);

#endif
