/* SPDX-License-Identifier: Apache-2.0 */
/* acpi.h - the ACPI tables of the small machine: RSDP, XSDT, FADT, MADT, DSDT. */
#ifndef KVM_ACPI_H
#define KVM_ACPI_H

#include <stdbool.h>
#include <stdint.h>

#include "kvm/memory.h"

#define ACPI_SCI_GSI 9
#define ACPI_PM1A_EVT_PORT 0x600 /* status, enable: 2 bytes each */
#define ACPI_PM1A_CNT_PORT 0x604
#define ACPI_PM_TIMER_PORT 0x608
#define ACPI_RESET_PORT 0xcf9
#define ACPI_RESET_VALUE 0x06
#define ACPI_S5_SLP_TYP 5

struct acpi_config {
	uint32_t cpus; /* 1..254 */
	bool pm_timer;
	bool rtc; /* false: FADT says CMOS RTC not present */
};

/* Writes the tables below 1 MiB (0xe0000..0xfffff).  0, or -ENOSPC. */
int acpi_build(const struct guest_memory *memory, const struct acpi_config *config,
	       uint64_t *ret_rsdp_gpa);

#endif
