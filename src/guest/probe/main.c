/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - what the probe does, as its command line says. */
#include "guest/probe/probe.h"

/* From a Multiboot loader: its magic number, and of its information (3.3) the command line. */
enum { LOADER_MAGIC = 0x2badb002, FLAG_COMMAND_LINE = 1 << 2 };

struct loader_info {
	uint32_t flags, mem_lower, mem_upper, boot_device, command_line;
};

enum { HELLO_ROUNDS = 8 };

void probe_main(uint32_t magic, const struct loader_info *info);

/* True when the second word of a line is `word`. */
static bool second_word_is(const char *line, const char *word)
{
	while (*line && *line != ' ')
		line++;
	while (*line == ' ')
		line++;
	for (; *word; word++, line++)
		if (*line != *word)
			return false;
	return *line == '\0' || *line == ' ';
}

static void say_hello(const struct probe_tables *tables, const struct probe_hello *hello)
{
	probe_begin('H');
	probe_put_number(PROBE_VERSION);
	probe_put_number(probe_cpu_count());
	probe_put_number(hello->tsc_khz);
	probe_put_number(hello->bus_khz);
	probe_put_number(hello->kvm_mul);
	probe_put_number(hello->kvm_shift);
	probe_put_number(tables->pm_bits);
	probe_put_number(hello->hpet_fs);
	probe_end();
}

static void say_reading(char face, uint32_t index, const struct probe_reading *r)
{
	const char word[] = {face, '\0'};

	probe_begin('R');
	probe_put_word(word);
	probe_put_number(probe_apic_id(index));
	probe_put_number(r->before);
	probe_put_number(r->after - r->before);
	probe_put_number(r->value);
	probe_end();
}

/* The RTC is asked between all others, lest its second is missed; its seconds go round the CPUs. */
static void read_all(uint32_t index, uint32_t *rtc_index)
{
	struct probe_reading readings[PROBE_BURST];

	for (const char *face = "phmltk"; *face; face++) {
		if (probe_has_face(*face)) {
			probe_read_face_on(index, *face, readings);
			for (uint32_t i = 0; i < PROBE_BURST; i++)
				say_reading(*face, index, &readings[i]);
		}
		if (probe_read_rtc_on(*rtc_index, readings)) {
			say_reading('r', *rtc_index, readings);
			*rtc_index = *rtc_index + 1 < probe_cpu_count() ? *rtc_index + 1 : 0;
		}
	}
}

static void do_faces(void)
{
	struct probe_tables tables;
	struct probe_hello hello;
	uint32_t rtc_index = 0;

	probe_find_tables(&tables);
	probe_start_faces(&tables, &hello);
	probe_start_cpus(&tables);
	for (uint32_t round = 0;; round++) {
		if (round % HELLO_ROUNDS == 0)
			say_hello(&tables, &hello);
		for (uint32_t i = 0; i < probe_cpu_count(); i++)
			read_all(i, &rtc_index);
	}
}

void probe_main(uint32_t magic, const struct loader_info *info)
{
	const char *line = "";

	probe_open_port();
	if (magic == LOADER_MAGIC && info->flags & FLAG_COMMAND_LINE)
		line = (const char *)(uintptr_t)info->command_line;
	if (second_word_is(line, "faces"))
		do_faces();
	probe_begin('E');
	probe_put_word("the command line has no word that this probe knows (faces)");
	probe_end();
}
