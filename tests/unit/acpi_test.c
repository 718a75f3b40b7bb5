/* SPDX-License-Identifier: Apache-2.0 */
/* acpi_test.c - the ACPI tables: walked by a reader that trusts nothing, taken apart by iasl. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kvm/acpi.h"
#include "kvm/bytes.h"
#include "lacks.h"

static struct guest_memory memory;

static int with_memory(void **state)
{
	(void)state;
	return memory_create(MEMORY_MIN, &memory, NULL);
}

static int without_memory(void **state)
{
	(void)state;
	memory_destroy(&memory);
	return 0;
}

static uint8_t sum(const uint8_t *at, size_t length)
{
	uint8_t s = 0;

	while (length--)
		s = (uint8_t)(s + *at++);
	return s;
}

/* A table at `gpa`: within the promised range, its length and checksum right. */
static const uint8_t *table_at(uint64_t gpa)
{
	const uint8_t *table;
	uint32_t length;

	assert_in_range(gpa, ACPI_TABLES_GPA, ACPI_TABLES_END - 36);
	table = memory_at(&memory, gpa, 36);
	length = get32(table + 4);
	assert_in_range(length, 36, ACPI_TABLES_END - gpa);
	assert_int_equal(sum(table, length), 0);
	return table;
}

/* The table with that signature and, if given, that OEM's name for it, as a guest finds it from the
 * RSDP; NULL: there is none. */
static const uint8_t *find_named(const char *signature, const char *name,
				 const struct acpi_config *config)
{
	const uint8_t *rsdp, *xsdt;
	uint64_t rsdp_gpa;

	memset(memory_at(&memory, ACPI_TABLES_GPA, 0x20000), 0xa5, 0x20000); /* a used guest */
	assert_int_equal(acpi_build(&memory, config, &rsdp_gpa), 0);
	assert_int_equal(rsdp_gpa % 16, 0);
	rsdp = memory_at(&memory, rsdp_gpa, 36);
	assert_memory_equal(rsdp, "RSD PTR ", 8);
	assert_int_equal(sum(rsdp, 20), 0);
	assert_int_equal(sum(rsdp, 36), 0);
	assert_int_equal(rsdp[15], 2);
	xsdt = table_at(get64(rsdp + 24));
	assert_memory_equal(xsdt, "XSDT", 4);
	for (uint32_t at = 36; at < get32(xsdt + 4); at += 8) {
		const uint8_t *table = table_at(get64(xsdt + at));

		if (!memcmp(table, signature, 4) && !memcmp(table + 16, name, strlen(name)))
			return table;
	}
	return NULL;
}

static const uint8_t *find(const char *signature, const struct acpi_config *config)
{
	return find_named(signature, "", config);
}

static const struct acpi_config usual = {.cpus = 2, .pm_timer = true, .rtc = true, .hpet = true};

/* A Generic Address Structure in I/O space, as wide as the legacy block says. */
static void assert_port(const uint8_t *gas, uint64_t port, unsigned bytes)
{
	assert_int_equal(gas[0], 1);
	assert_int_equal(gas[1], 8 * bytes);
	assert_int_equal(gas[2], 0);
	assert_int_equal(get64(gas + 4), port);
}

static void the_fadt_names_ports_the_same_twice(void **state)
{
	const uint8_t *fadt = find("FACP", &usual);

	(void)state;
	assert_non_null(fadt);
	assert_in_range(fadt[8], 5, 6);
	assert_int_equal(get16(fadt + 46), 9); /* SCI */
	assert_int_equal(get32(fadt + 48), 0); /* no SMI port: ACPI is on */
	assert_int_equal(get32(fadt + 56), 0x600);
	assert_port(fadt + 148, 0x600, fadt[88]);
	assert_int_equal(get32(fadt + 64), 0x604);
	assert_port(fadt + 172, 0x604, fadt[89]);
	assert_int_equal(get32(fadt + 76), 0x608);
	assert_port(fadt + 208, 0x608, fadt[91]);
	assert_int_equal(fadt[91], 4);
	assert_port(fadt + 116, 0xcf9, 1);
	assert_int_equal(fadt[128], 6);
	assert_true(get32(fadt + 112) & 1 << 10);  /* reset register supported */
	assert_false(get32(fadt + 112) & 1 << 8);  /* 24 bits of PM timer */
	assert_false(get32(fadt + 112) & 1 << 20); /* not hardware-reduced: that has no PM timer */
	assert_false(get16(fadt + 109) & 1 << 1);  /* no 8042 */
	assert_true(get16(fadt + 109) & 1 << 2);   /* no VGA */
	assert_int_equal(get32(fadt + 40), get64(fadt + 140));
	assert_memory_equal(table_at(get64(fadt + 140)), "DSDT", 4);
	assert_int_equal(get32(fadt + 36) % 64, 0);
	assert_memory_equal(memory_at(&memory, get32(fadt + 36), 64), "FACS\x40\0\0\0", 8);
}

static void without_pm_timer_nothing_mentions_it(void **state)
{
	static const struct acpi_config config = {.cpus = 1, .rtc = true};
	static const uint8_t nothing[12];
	const uint8_t *fadt = find("FACP", &config);

	(void)state;
	assert_int_equal(get32(fadt + 76), 0);
	assert_int_equal(fadt[91], 0);
	assert_memory_equal(fadt + 208, nothing, sizeof(nothing));
}

static void without_rtc_linux_is_told_so(void **state)
{
	static const struct acpi_config config = {.cpus = 1, .pm_timer = true};
	const uint8_t *fadt = find("FACP", &usual);

	(void)state;
	assert_false(get16(fadt + 109) & 1 << 5);
	assert_int_equal(fadt[108], 0x32);
	assert_non_null(find_named("SSDT", "RTC", &usual));

	fadt = find("FACP", &config);
	assert_true(get16(fadt + 109) & 1 << 5);
	assert_int_equal(fadt[108], 0);
	assert_null(find("SSDT", &config));
}

static void the_hpet_is_where_its_table_says(void **state)
{
	static const struct acpi_config without = {.cpus = 1, .pm_timer = true, .rtc = true};
	const uint8_t *hpet = find("HPET", &usual);

	(void)state;
	assert_non_null(hpet);
	assert_int_equal(get32(hpet + 4), 56);
	assert_int_equal(get32(hpet + 36), 0x8086a201); /* its own capabilities */
	assert_int_equal(hpet[40], 0);                  /* in memory */
	assert_int_equal(get64(hpet + 44), 0xfed00000);
	assert_int_equal(hpet[52], 0);
	assert_int_equal(get16(hpet + 53), 5000); /* 50 us */
	assert_non_null(find_named("SSDT", "HPET", &usual));
	assert_null(find("HPET", &without));
	assert_null(find_named("SSDT", "HPET", &without));
}

/* Counts a MADT's entries of `type`, each within the table. */
static uint32_t count(const uint8_t *madt, uint8_t type)
{
	uint32_t length = get32(madt + 4), n = 0, at;

	for (at = 44; at < length; at += madt[at + 1]) {
		assert_in_range(madt[at + 1], 2, length - at);
		n += madt[at] == type;
	}
	assert_int_equal(at, length);
	return n;
}

static void the_madt_has_each_cpu_once(void **state)
{
	(void)state;
	for (uint32_t cpus = 1; cpus <= ACPI_CPUS_MAX; cpus++) {
		struct acpi_config config = {.cpus = cpus, .pm_timer = true, .rtc = true};
		const uint8_t *madt = find("APIC", &config);

		assert_non_null(madt);
		assert_int_equal(get32(madt + 36), 0xfee00000);
		for (uint32_t i = 0; i < cpus; i++) {
			const uint8_t *lapic = madt + 44 + 8 * i;

			assert_int_equal(lapic[0], 0);
			assert_int_equal(lapic[3], i);
			assert_int_equal(get32(lapic + 4), 1);
		}
		assert_int_equal(count(madt, 0), cpus);
		assert_int_equal(count(madt, 1), 1);
		assert_int_equal(count(madt, 2), 2);
		assert_int_equal(count(madt, 4), 1);
	}
}

static void irq_0_is_gsi_2_and_the_sci_is_level(void **state)
{
	static const uint8_t timer[] = {2, 10, 0, 0, 2, 0, 0, 0, 0, 0};
	static const uint8_t sci[] = {2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0};
	static const uint8_t nmi[] = {4, 6, 0xff, 0, 0, 1};
	const uint8_t *at = find("APIC", &usual) + 44 + 2 * 8 + 12;

	(void)state;
	assert_memory_equal(at, timer, sizeof(timer));
	assert_memory_equal(at + 10, sci, sizeof(sci));
	assert_memory_equal(at + 20, nmi, sizeof(nmi));
}

static void the_dsdt_can_switch_off(void **state)
{
	/* Name (_S5, Package (4) {5, 0, 0, 0}) as AML. */
	static const uint8_t s5[] = {0x08, '_', 'S', '5', '_', 0x12, 0x07, 4, 0x0a, 5, 0, 0, 0};
	const uint8_t *dsdt = table_at(get64(find("FACP", &usual) + 140));

	(void)state;
	assert_int_equal(s5[9], ACPI_S5_SLP_TYP);
	assert_non_null(memmem(dsdt, get32(dsdt + 4), s5, sizeof(s5)));
}

static void what_does_not_fit_is_refused(void **state)
{
	struct acpi_config config = usual;
	struct guest_memory tiny = memory;
	uint64_t rsdp;

	(void)state;
	config.cpus = 0;
	assert_int_equal(acpi_build(&memory, &config, &rsdp), -EINVAL);
	config.cpus = ACPI_CPUS_MAX + 1;
	assert_int_equal(acpi_build(&memory, &config, &rsdp), -EINVAL);
	tiny.low_size = ACPI_TABLES_GPA + 512;
	assert_int_equal(acpi_build(&tiny, &usual, &rsdp), -ENOSPC);
}

static void dump(const char *dir, const char *name, const uint8_t *table)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.dat", dir, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(table, get32(table + 4), 1, file), 1);
	assert_int_equal(fclose(file), 0);
}

/* Disassembles every table and compiles the result again: iasl checks lengths, types, flags and
 * reserved fields both ways; acpiexec then loads both AML tables as Linux's interpreter does. */
static void iasl_finds_nothing_to_say(void **state)
{
	char dir[] = "/tmp/acpi_test.XXXXXX", command[1024];
	const uint8_t *fadt;
	int status;

	(void)state;
	assert_non_null(mkdtemp(dir));
	fadt = find("FACP", &usual);
	dump(dir, "facp", fadt);
	dump(dir, "facs", memory_at(&memory, get32(fadt + 36), 64));
	dump(dir, "dsdt", table_at(get64(fadt + 140)));
	dump(dir, "apic", find("APIC", &usual));
	dump(dir, "rtc", find_named("SSDT", "RTC", &usual));
	dump(dir, "ssdt", find_named("SSDT", "HPET", &usual));
	dump(dir, "hpet", find("HPET", &usual));
	snprintf(command, sizeof(command),
		 "cd %s && for t in facp facs dsdt apic rtc ssdt hpet; do"
		 " iasl -d $t.dat && iasl -we -p again-$t $t.dsl || { echo FAILED; break; };"
		 " done >log 2>&1;"
		 " acpiexec -b 'namespace \\' dsdt.dat rtc.dat ssdt.dat >>log 2>&1 || echo FAILED "
		 ">>log;"
		 " grep -q 'RTC_ Device' log && grep -q 'HPET Device' log && ! grep -E "
		 "'FAILED|[1-9][0-9]* (Errors|Warnings)|"
		 "ACPI (Error|Warning)|Invalid|[Uu]nknown' log",
		 dir);
	status = system(command);
	if (status)
		print_message("# see %s/log\n", dir);
	assert_int_equal(status, 0);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const char *no_iasl = system("command -v iasl >/dev/null && command -v acpiexec >/dev/null")
				      ? "no iasl or no acpiexec here (Debian: acpica-tools)"
				      : NULL;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_fadt_names_ports_the_same_twice),
		cmocka_unit_test(without_pm_timer_nothing_mentions_it),
		cmocka_unit_test(without_rtc_linux_is_told_so),
		cmocka_unit_test(the_hpet_is_where_its_table_says),
		cmocka_unit_test(the_madt_has_each_cpu_once),
		cmocka_unit_test(irq_0_is_gsi_2_and_the_sci_is_level),
		cmocka_unit_test(the_dsdt_can_switch_off),
		cmocka_unit_test(what_does_not_fit_is_refused),
		unless(no_iasl, (struct CMUnitTest)cmocka_unit_test(iasl_finds_nothing_to_say)),
	};

	return cmocka_run_group_tests_name("acpi", tests, with_memory, without_memory);
}
