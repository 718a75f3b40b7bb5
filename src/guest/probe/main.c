/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - what the probe does, as its command line says. */
#include "guest/probe/cpu.h"
#include "guest/probe/probe.h"

/* From a Multiboot loader: its magic number, and of its information (3.3) the command line. */
enum { LOADER_MAGIC = 0x2badb002, FLAG_COMMAND_LINE = 1 << 2 };

struct loader_info {
	uint32_t flags, mem_lower, mem_upper, boot_device, command_line;
};

enum { HELLO_ROUNDS = 8, ORDER_MAX = 80 };

static const uint64_t hello_tsc = 1 << 28;

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

/* Hexadecimal, up to a blank or the end; anything else is passed over and counts as the end. */
static uint64_t take_number(const char **line)
{
	uint64_t value = 0;

	while (**line == ' ')
		(*line)++;
	for (; **line; (*line)++) {
		char c = **line;

		if (c >= '0' && c <= '9')
			value = value << 4 | (uint32_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			value = value << 4 | (uint32_t)(c - 'a' + 10);
		else
			break;
	}
	return value;
}

static bool read_order(const char *line, struct probe_order *ret_order)
{
	struct probe_order *o = ret_order;

	o->source = *line;
	if (*line)
		line++;
	o->setting = (uint32_t)take_number(&line);
	o->period = take_number(&line);
	o->period_part = (uint32_t)take_number(&line);
	o->run = take_number(&line);
	o->busy = take_number(&line) != 0;
	return probe_has_source(o->source) && o->period && o->run && !*line;
}

static void say_tally(const struct probe_order *o, const struct probe_tally *t)
{
	const char source[] = {o->source, '\0'};

	probe_begin('T');
	probe_put_word(source);
	probe_put_number(o->busy);
	probe_put_number(t->start);
	probe_put_number(t->start_width);
	probe_put_number(t->stop);
	probe_put_number(t->stop_width);
	probe_put_number(t->count);
	probe_put_number(t->stored);
	probe_put_number(t->p50);
	probe_put_number(t->p99);
	probe_put_number(t->most);
	probe_end();
}

static void complain(const char *text)
{
	probe_begin('E');
	probe_put_word(text);
	probe_end();
}

static void follow(const char *line)
{
	struct probe_order order;
	struct probe_tally tally;

	if (!read_order(line, &order)) {
		complain("that is no order");
		return;
	}
	probe_count_ticks(&order, &tally);
	say_tally(&order, &tally);
}

static void do_ticks(void)
{
	static char line[ORDER_MAX];
	struct probe_tables tables;
	struct probe_hello hello;
	uint64_t said;
	uint32_t length = 0;

	probe_find_tables(&tables);
	probe_start_faces(&tables, &hello);
	probe_prepare_ticks(hello.hpet_fs ? tables.hpet : 0);
	said = cpu_tsc() - hello_tsc;
	for (;;) {
		char c;

		if (length == 0 && cpu_tsc() - said >= hello_tsc) {
			say_hello(&tables, &hello);
			said = cpu_tsc();
		}
		if (!probe_take_char(&c))
			continue;
		if (c != '\n' && length + 1 < ORDER_MAX) {
			line[length++] = c;
			continue;
		}
		line[length] = '\0';
		length = 0;
		follow(line);
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
	if (second_word_is(line, "ticks"))
		do_ticks();
	complain("the command line has no word that this probe knows (faces, ticks)");
}
