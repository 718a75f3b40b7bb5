/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_test.c - both sides of a live migration, and between them each thing that may go wrong at
 * each of their words: the machine never runs at two places, goes on at the source unless the
 * target has all of it, and both say why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "../migrate_machines.h"
#include "folder.h"
#include "host/hostclock.h"
#include "migrate_proxy.h"
#include "move/message.h"
#include "move/migrate_source.h"
#include "move/migrate_target.h"

#define MS UINT64_C(1000000)

enum { AT_ONCE = 16, HANGS_MS = 60000 };

/* Its CPU writes in the first piece of two that are sent. */
enum { LOW_PAGES = 256 + 64, HOT = 256, APART = 7 };

/* In the order of their coming. */
static const struct proxy_place places[] = {
	{"the source's header", TO_TARGET, 0, 0},
	{"HELLO", TO_TARGET, MESSAGE_HELLO, 0},
	{"MACHINE", TO_TARGET, STREAM_STATE + VMSTATE_MACHINE, 0},
	{"FEATURES", TO_TARGET, STREAM_STATE + VMSTATE_FEATURES, 0},
	{"ASK", TO_TARGET, MESSAGE_ASK, 0},
	{"the target's header", TO_SOURCE, 0, 0},
	{"READY", TO_SOURCE, MESSAGE_READY, 0},
	{"BEGIN", TO_TARGET, MESSAGE_BEGIN, 0},
	{"memory, the first", TO_TARGET, STREAM_MEMORY, 0},
	{"memory, the second", TO_TARGET, STREAM_MEMORY, 1},
	{"CLOCK", TO_TARGET, STREAM_STATE + VMSTATE_CLOCK, 0},
	{"TSC", TO_TARGET, STREAM_STATE + VMSTATE_TSC, 0},
	{"HOST", TO_TARGET, STREAM_STATE + VMSTATE_HOST, 0},
	{"ROUND 2", TO_TARGET, MESSAGE_ROUND, 0},
	{"memory of round 2, the first", TO_TARGET, STREAM_MEMORY, 3},
	{"memory of round 2, the second", TO_TARGET, STREAM_MEMORY, 4},
	{"state, the first", TO_TARGET, STREAM_STATE + VMSTATE_BOARD, 0},
	{"state, a CPU's", TO_TARGET, STREAM_STATE + VMSTATE_CPU, 1},
	{"ROUND 3", TO_TARGET, MESSAGE_ROUND, 1},
	{"memory of round 3", TO_TARGET, STREAM_MEMORY, 5},
	{"WHOLE", TO_TARGET, MESSAGE_WHOLE, 0},
	{"LOADED", TO_SOURCE, MESSAGE_LOADED, 0},
	{"GO", TO_TARGET, MESSAGE_GO, 0},
	{"RUNNING", TO_SOURCE, MESSAGE_RUNNING, 0},
	{"the source's END", TO_TARGET, STREAM_END, 0},
	{"the target's END", TO_SOURCE, STREAM_END, 0},
};
enum { PLACES = sizeof(places) / sizeof(places[0]), LAST_BEFORE = PLACES - 5, GO, RUNNING, END };

static const char *const faults[PROXY_FAULTS] = {
	[PROXY_NONE] = "nothing",
	[PROXY_SLOW] = "comes slowly",
	[PROXY_CUT_BEFORE] = "the connection is cut before",
	[PROXY_CUT_IN] = "the connection is cut in it",
	[PROXY_CUT_AFTER] = "the connection is cut after",
	[PROXY_STALL] = "nothing moves from there on",
	[PROXY_FLIP_HEADER] = "its header has changed",
	[PROXY_FLIP_BODY] = "its bytes have changed",
	[PROXY_LEAVE_OUT] = "it is lost",
	[PROXY_TWICE] = "it comes twice",
	[PROXY_SOURCE_DIES] = "the source dies",
	[PROXY_TARGET_DIES] = "the target dies",
	[PROXY_CANCEL] = "the source's owner cancels",
	[PROXY_GIVE_UP] = "the target's owner gives up",
};

/* How it may end: a bit for each stage. */
enum {
	S_COMPLETED = 1 << MIGRATE_SOURCE_COMPLETED,
	S_FAILED = 1 << MIGRATE_SOURCE_FAILED,
	S_CANCELLED = 1 << MIGRATE_SOURCE_CANCELLED,
	S_UNKNOWN = 1 << MIGRATE_SOURCE_UNKNOWN,
	T_DONE = 1 << MIGRATE_TARGET_DONE,
	T_FAILED = 1 << MIGRATE_TARGET_FAILED,
};

struct ends {
	unsigned source, target;
};

static const struct ends moves = {S_COMPLETED, T_DONE}, stays = {S_FAILED, T_FAILED};

static struct ends ends_at_loaded(enum proxy_fault fault)
{
	switch (fault) {
	case PROXY_CUT_AFTER: /* GO is written into a socket that is closed, or was not yet */
		return (struct ends){S_FAILED | S_UNKNOWN, T_FAILED};
	case PROXY_TWICE: /* where RUNNING should be */
		return (struct ends){S_UNKNOWN, T_DONE};
	default:
		return stays;
	}
}

static struct ends ends_at_go(enum proxy_fault fault)
{
	switch (fault) {
	case PROXY_TWICE:
	case PROXY_CANCEL: /* it is too late */
		return moves;
	case PROXY_FLIP_HEADER: /* the target says so, and never runs it */
	case PROXY_GIVE_UP:
		return stays;
	case PROXY_CUT_AFTER:
		return (struct ends){S_UNKNOWN, T_DONE};
	default: /* written, but where is it? */
		return (struct ends){S_FAILED | S_UNKNOWN, T_FAILED};
	}
}

static struct ends expected(int place, enum proxy_fault fault)
{
	if (fault == PROXY_NONE || fault == PROXY_SLOW || place >= END)
		return moves;
	if (place < GO && fault == PROXY_CANCEL)
		return (struct ends){S_CANCELLED, T_FAILED};
	if (place < LAST_BEFORE)
		return stays;
	if (place == LAST_BEFORE)
		return ends_at_loaded(fault);
	if (place == GO)
		return ends_at_go(fault);
	if (fault == PROXY_TWICE || fault == PROXY_CUT_AFTER || fault == PROXY_CANCEL ||
	    fault == PROXY_GIVE_UP)
		return moves;
	return (struct ends){S_UNKNOWN, T_DONE};
}

struct cell {
	int place;
	enum proxy_fault fault;
	uint64_t patience_ns;
	struct proxy proxy;
	struct fake_machine *machine;
	struct migrate_source *source;
	struct migrate_target *target;
	pthread_mutex_t lock; /* of all that the owners do */
	bool source_died, target_died;
	bool ended; /* nothing can happen to it any more */
	bool halted, prepared, loaded, runs;
	enum migrate_source_stage s;
	enum migrate_target_stage t;
	struct why s_why, t_why;
	char turned_away[600];
	char names[3][96];
	char wrong[1400]; /* empty: nothing is */
};

__attribute__((format(printf, 2, 3))) static void wrong(struct cell *c, const char *format, ...)
{
	char text[600];
	va_list args;

	if (c->wrong[0])
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	snprintf(c->wrong, sizeof(c->wrong), "%s, %s: %s (source %d: %.250s; target %d: %.250s)",
		 places[c->place].name, faults[c->fault], text, c->s, c->s_why.text, c->t,
		 c->t_why.text);
}

static int read_host(void *owner, struct hosts_reading *ret_reading)
{
	(void)owner;
	*ret_reading = (struct hosts_reading){.tai_s = 37, .utc_ns = hostclock_realtime_ns()};
	return 0;
}

static void on_turned_away(void *owner, bool unfit, const char *why)
{
	struct cell *c = owner;

	(void)unfit;
	pthread_mutex_lock(&c->lock);
	snprintf(c->turned_away, sizeof(c->turned_away), "%s", why);
	pthread_mutex_unlock(&c->lock);
}

/* From the proxy's thread. */
static void on_fault(void *owner, enum proxy_fault fault)
{
	struct cell *c = owner;

	pthread_mutex_lock(&c->lock);
	if (c->ended) {
		/* both are being freed */
	} else if (fault == PROXY_SOURCE_DIES) {
		c->source_died = true;
		fake_stop(c->machine, AT_SOURCE);
	} else if (fault == PROXY_TARGET_DIES) {
		c->target_died = true;
		fake_stop(c->machine, AT_TARGET);
	} else if (fault == PROXY_GIVE_UP) {
		migrate_target_give_up(c->target);
	} else if ((migrate_source_cancel(c->source, NULL) == -EBUSY) != (c->place >= GO)) {
		wrong(c, "it may be cancelled at a wrong time");
	}
	pthread_mutex_unlock(&c->lock);
}

static void halt(struct cell *c)
{
	struct vmstate_parts time = {0}, state = {0};

	c->halted = true;
	if (!c->source_died)
		fake_halt(c->machine);
	fake_part(&time, VMSTATE_CLOCK, 0);
	fake_part(&time, VMSTATE_TSC, 0);
	fake_part(&time, VMSTATE_HOST, 0);
	migrate_source_stands(c->source, &time);
	/* So the last pages go before it is saved, as they do where that takes long. */
	for (int i = 0; i < 200 && migrate_source_stage(c->source) == MIGRATE_SOURCE_HALT; i++) {
		struct migrate_stats stats;

		migrate_source_stats(c->source, &stats);
		if (stats.rounds == 2 && stats.remaining_bytes == 0)
			break;
		usleep(1000);
	}
	fake_save(c->machine);
	fake_part(&state, VMSTATE_BOARD, 0);
	fake_part(&state, VMSTATE_CPU, 0);
	fake_part(&state, VMSTATE_CPU, 1);
	migrate_source_state(c->source, &state);
}

static void act_at_source(struct cell *c)
{
	const enum migrate_source_stage s = migrate_source_stage(c->source);

	if (s == MIGRATE_SOURCE_HALT && !c->halted)
		halt(c);
	if (s < MIGRATE_SOURCE_COMPLETED || c->s == s)
		return;
	c->s = s;
	if (s != MIGRATE_SOURCE_FAILED && s != MIGRATE_SOURCE_CANCELLED)
		return;
	if (!c->source_died && c->halted)
		fake_run(c->machine, AT_SOURCE);
}

static void act_at_target(struct cell *c)
{
	const enum migrate_target_stage t = migrate_target_stage(c->target);

	if (t == MIGRATE_TARGET_ASKED && !c->prepared) {
		c->prepared = true;
		migrate_target_prepared(c->target, 0, NULL);
	} else if (t == MIGRATE_TARGET_WHOLE && !c->loaded) {
		c->loaded = true;
		migrate_target_loaded(c->target, 0, NULL);
	} else if (t == MIGRATE_TARGET_GO && !c->runs) {
		c->runs = true;
		if (!c->target_died)
			fake_run(c->machine, AT_TARGET);
		if (!fake_is_as_it_was(c->machine, &c->machine->target))
			wrong(c, "the memory that came is another");
		migrate_target_running(c->target, 0, NULL);
	}
	/* Nobody else will come. */
	if (c->s && t == MIGRATE_TARGET_LISTENS)
		migrate_target_give_up(c->target);
	c->t = t;
}

static bool is_over(const struct cell *c)
{
	return c->s && (c->t == MIGRATE_TARGET_DONE || c->t == MIGRATE_TARGET_FAILED);
}

static void look_after_both(struct cell *c)
{
	struct pollfd p[] = {{.fd = migrate_source_fd(c->source), .events = POLLIN},
			     {.fd = migrate_target_fd(c->target), .events = POLLIN}};
	const uint64_t until = hostclock_monotonic_ns() + HANGS_MS * MS;
	uint64_t count;

	while (!is_over(c)) {
		for (int i = 0; i < 2; i++)
			if (p[i].revents)
				(void)!read(p[i].fd, &count, sizeof(count));
		pthread_mutex_lock(&c->lock);
		act_at_source(c);
		act_at_target(c);
		pthread_mutex_unlock(&c->lock);
		if (hostclock_monotonic_ns() > until) { /* nothing could end its threads */
			wrong(c, "hangs");
			fprintf(stderr, "# %s\n", c->wrong);
			abort();
		}
		if (!is_over(c))
			poll(p, 2, 20);
	}
}

/* A sentence that begins with its own name, and has one of these in it. */
static void check_text(struct cell *c, const char *text, const char *name,
		       const char *const *doings, size_t n)
{
	bool found = false;

	for (size_t i = 0; i < n; i++)
		found |= strstr(text, doings[i]) != NULL;
	if (!found)
		wrong(c, "does not say where it was");
	if (strncmp(text, name, strlen(name)) != 0 || strlen(text) < strlen(name) + 10)
		wrong(c, "does not say what failed");
	if (strchr(text, '\n'))
		wrong(c, "says it in several lines");
}

static void check_texts(struct cell *c)
{
	static const char *const out[] = {
		": while it was asked: ",
		": while memory went out: ",
		": while its state went out: ",
		": while it was loaded there: ",
		": after it was told to go: ",
		": the other side has failed: ",
		": was cancelled",
	};
	static const char *const in[] = {
		": while it was asked for: ",   ": while memory came: ", ": while its state came: ",
		": when all but GO had come: ", ": was given up here",
	};

	if (!c->source_died && c->s != MIGRATE_SOURCE_COMPLETED)
		check_text(c, c->s_why.text, c->names[0], out, sizeof(out) / sizeof(out[0]));
	if (c->s == MIGRATE_SOURCE_UNKNOWN && !strstr(c->s_why.text, "told to go"))
		wrong(c, "does not say that it is not known");
	if (!c->target_died && c->t == MIGRATE_TARGET_FAILED)
		check_text(c, c->t_why.text, c->names[1], in, sizeof(in) / sizeof(in[0]));
}

static void check(struct cell *c)
{
	const struct ends e = expected(c->place, c->fault);
	const bool back = c->s == MIGRATE_SOURCE_FAILED || c->s == MIGRATE_SOURCE_CANCELLED;
	enum machine_place runs = NOWHERE;

	/* For END each side waits a second, which is little where much else runs. */
	if (c->fault && c->place < END && !c->proxy.hit)
		wrong(c, "never came");
	if (c->machine->both)
		wrong(c, "ran at two places");
	if (!c->source_died && !(1U << c->s & e.source))
		wrong(c, "the source is at another end");
	if (!c->target_died && !(1U << c->t & e.target))
		wrong(c, "the target is at another end");
	if (back && !c->source_died)
		runs = AT_SOURCE;
	else if (c->t == MIGRATE_TARGET_DONE && !c->target_died)
		runs = AT_TARGET;
	if (c->machine->runs != runs)
		wrong(c, "runs at %d and not at %d", (int)c->machine->runs, (int)runs);
	if (runs == AT_SOURCE && !fake_goes_on(c->machine))
		wrong(c, "does not go on at the source");
	check_texts(c);
}

static void begin_target(struct cell *c)
{
	struct migrate_target_config config = {
		.name = c->names[1],
		.memory = &c->machine->target,
		.hello_patience_ns = c->patience_ns,
		.patience_ns = c->patience_ns,
		.read_host = read_host,
		.turned_away = on_turned_away,
		.owner = c,
	};

	if (address_parse(c->names[1], &config.address, NULL) < 0 ||
	    migrate_target_begin(&config, &c->target, &c->t_why) < 0)
		wrong(c, "there is no target");
}

static void begin_source(struct cell *c, const struct vmstate_parts *description)
{
	const struct migrate_params params = {
		.downtime_limit_ns = 100000 * MS, .patience_ns = c->patience_ns, .compress = true};
	struct migrate_source_config config = {
		.name = c->names[0],
		.memory = &c->machine->source,
		.dirty = &c->machine->dirty,
		.description = description,
		.read_host = read_host,
		.owner = c,
	};

	pthread_mutex_lock(&c->lock);
	if (address_parse(c->names[0], &config.address, NULL) < 0 ||
	    migrate_source_begin(&config, &params, &c->source, &c->s_why) < 0)
		wrong(c, "there is no source");
	pthread_mutex_unlock(&c->lock);
}

static void begin_proxy(struct cell *c)
{
	c->proxy = (struct proxy){
		.place = &places[c->place], .fault = c->fault, .tell = on_fault, .owner = c};
	if (address_parse(c->names[0], &c->proxy.here, NULL) < 0 ||
	    address_parse(c->names[1], &c->proxy.there, NULL) < 0 || proxy_begin(&c->proxy) < 0)
		wrong(c, "there is no proxy");
}

static void run_cell(struct cell *c, const char *folder, int number)
{
	struct vmstate_parts description = {0};

	for (int i = 0; i < 2; i++)
		snprintf(c->names[i], sizeof(c->names[i]), "unix:%s/%d%c", folder, number, "pt"[i]);
	pthread_mutex_init(&c->lock, NULL);
	fake_part(&description, VMSTATE_MACHINE, 0);
	fake_part(&description, VMSTATE_FEATURES, 0);
	c->machine = fake_new(LOW_PAGES, HOT, APART);
	begin_target(c);
	if (!c->wrong[0])
		begin_proxy(c);
	if (!c->wrong[0])
		begin_source(c, &description);
	if (c->wrong[0])
		return;
	look_after_both(c);
	pthread_mutex_lock(&c->lock);
	c->ended = true;
	pthread_mutex_unlock(&c->lock);
	migrate_source_end(c->source, &(struct migrate_stats){0}, &c->s_why);
	migrate_target_end(c->target, &c->t_why);
	proxy_end(&c->proxy);
	/* Turned away, it waits for the next one, and is only then given up. */
	if (c->turned_away[0])
		snprintf(c->t_why.text, sizeof(c->t_why.text), "%.500s", c->turned_away);
	check(c);
	fake_free(c->machine);
	vmstate_parts_free(&description);
	pthread_mutex_destroy(&c->lock);
}

struct walk {
	struct folder folder;
	struct cell *cells;
	int n, next;
};

/* Where something has to be waited for, it should not be for long.  Whose patience ends before the
 * fault has come runs on a busy machine, and needs more of it. */
static void run_patiently(struct cell *c, const char *folder, int number)
{
	const bool waits = c->fault == PROXY_STALL || c->fault == PROXY_LEAVE_OUT;
	const struct cell fresh = *c;
	uint64_t patience_ns = waits ? 400 * MS : 20000 * MS;

	do {
		*c = fresh;
		c->patience_ns = patience_ns;
		run_cell(c, folder, number);
		patience_ns *= 4;
	} while (waits && !c->proxy.hit && patience_ns < 20000 * MS);
}

static void *run_cells(void *arg)
{
	struct walk *w = arg;
	int i;

	while ((i = __atomic_fetch_add(&w->next, 1, __ATOMIC_SEQ_CST)) < w->n)
		run_patiently(&w->cells[i], w->folder.path, i);
	return NULL;
}

/* Side by side, since those that wait for somebody's patience do nothing else. */
static void run_all(struct walk *w)
{
	pthread_t threads[AT_ONCE];
	int bad = 0;

	w->folder = folder_new();
	for (int i = 0; i < AT_ONCE; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_cells, w), 0);
	for (int i = 0; i < AT_ONCE; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < w->n; i++) {
		if (w->cells[i].wrong[0] && bad++ < 20)
			fprintf(stderr, "# %s\n", w->cells[i].wrong);
	}
	assert_int_equal(folder_count(&w->folder), 0);
	folder_remove(&w->folder);
	free(w->cells);
	assert_int_equal(bad, 0);
}

static bool has_body(const struct proxy_place *p)
{
	return p->type >= STREAM_STATE || p->type == STREAM_MEMORY || p->type == MESSAGE_HELLO ||
	       p->type == MESSAGE_READY || p->type == MESSAGE_BEGIN || p->type == MESSAGE_ROUND;
}

static void walk_faults(enum proxy_fault first, enum proxy_fault last)
{
	struct walk w = {.cells = calloc((size_t)PLACES * PROXY_FAULTS, sizeof(struct cell))};

	assert_non_null(w.cells);
	for (enum proxy_fault fault = first; fault <= last; fault++)
		for (int place = 0; place < PLACES; place++)
			if (fault != PROXY_FLIP_BODY || has_body(&places[place]))
				w.cells[w.n++] = (struct cell){.place = place, .fault = fault};
	run_all(&w);
}

static void one_that_nothing_happens_to_moves(void **state)
{
	struct walk w = {.cells = calloc(1, sizeof(struct cell)), .n = 1};

	(void)state;
	assert_non_null(w.cells);
	run_all(&w);
}

static void a_slow_word_changes_nothing(void **state)
{
	(void)state;
	walk_faults(PROXY_SLOW, PROXY_SLOW);
}

static void a_connection_that_breaks_or_stalls_leaves_one_machine(void **state)
{
	(void)state;
	walk_faults(PROXY_CUT_BEFORE, PROXY_STALL);
}

static void a_word_that_changes_or_is_lost_or_comes_twice_is_found(void **state)
{
	(void)state;
	walk_faults(PROXY_FLIP_HEADER, PROXY_TWICE);
}

static void the_death_of_one_side_leaves_the_machine_to_the_other_or_to_nobody(void **state)
{
	(void)state;
	walk_faults(PROXY_SOURCE_DIES, PROXY_TARGET_DIES);
}

static void an_owner_may_change_its_mind_until_go(void **state)
{
	(void)state;
	walk_faults(PROXY_CANCEL, PROXY_GIVE_UP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_that_nothing_happens_to_moves),
		cmocka_unit_test(a_slow_word_changes_nothing),
		cmocka_unit_test(a_connection_that_breaks_or_stalls_leaves_one_machine),
		cmocka_unit_test(a_word_that_changes_or_is_lost_or_comes_twice_is_found),
		cmocka_unit_test(
			the_death_of_one_side_leaves_the_machine_to_the_other_or_to_nobody),
		cmocka_unit_test(an_owner_may_change_its_mind_until_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
