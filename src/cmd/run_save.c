/* SPDX-License-Identifier: Apache-2.0 */
/* run_save.c - QMP's snapshot-save. */
#include "cmd/run_save.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "move/saver.h"

struct run_save {
	struct saver *saver;
	struct event *event;
	char *path;
	bool goes_on, goes_on_if_not_saved; /* the machine, as soon as it may */
	struct why stuck;                   /* why it did not */
};

static void release(struct run_save *s)
{
	if (s->event)
		event_free(s->event);
	free(s->path);
	free(s);
}

/* One that goes on already is left alone. */
static void go_on(struct run_qmp *qmp, struct run_save *s)
{
	s->goes_on = false;
	if (run_qmp_go_on(qmp, &s->stuck) == 0)
		s->stuck.text[0] = '\0';
}

static json_t *saved(const struct image_stats *stats)
{
	return json_pack("{s:I,s:I,s:I}", "pages", (json_int_t)stats->pages, "zero-pages",
			 (json_int_t)stats->zero_pages, "bytes", (json_int_t)stats->bytes);
}

/* Waits, if need be, and tells who has asked. */
static void finish(struct run_qmp *qmp, bool alive)
{
	struct run_save *s = qmp->save;
	struct image_stats stats;
	struct why why = {""};
	int result;

	/* Before its descriptor is closed: the next one may get the same number. */
	event_free(s->event);
	s->event = NULL;
	result = saver_end(s->saver, &stats, &why);
	if (alive && (s->goes_on || (result < 0 && s->goes_on_if_not_saved)))
		go_on(qmp, s);
	qmp->save = NULL; /* the answer may bring the next command */
	if (result == 0 && s->stuck.text[0]) {
		result = -EIO;
		why = s->stuck;
	}
	qmp_answer(qmp->server, result == 0 ? saved(&stats) : NULL, &why);
	release(s);
}

static void on_stage(evutil_socket_t fd, short what, void *arg)
{
	struct run_qmp *qmp = arg;
	struct run_save *s = qmp->save;
	enum saver_stage stage;
	uint64_t count;

	(void)what;
	/* Before the stage is looked at: what is reached after the look wakes the loop again. */
	(void)!read(fd, &count, sizeof(count));
	stage = saver_stage(s->saver);
	if (stage == SAVER_DONE)
		finish(qmp, true);
	else if (stage == SAVER_WRITES && s->goes_on)
		go_on(qmp, s);
}

/* The machine stands still. */
static int begin(struct run_qmp *qmp, struct run_save *s, struct why *why)
{
	struct vmstate_parts parts = {0};
	int result = machine_save(qmp->machine, &parts, why);

	if (result < 0) {
		vmstate_parts_free(&parts);
		return result;
	}
	result = saver_begin(s->path, &parts, machine_memory(qmp->machine), &s->saver, why);
	if (result < 0)
		return result;
	s->event = event_new(qmp->base, saver_fd(s->saver), EV_READ | EV_PERSIST, on_stage, qmp);
	if (s->event && event_add(s->event, NULL) == 0)
		return 0;
	saver_give_up(s->saver);
	(void)saver_end(s->saver, &(struct image_stats){0}, NULL);
	return why_set(why, -ENOMEM, "%s: no memory to write it", s->path);
}

static struct run_save *parse(const json_t *arguments, struct why *why)
{
	struct run_save *s;
	const char *path;
	int stays = 0;

	if (json_unpack((json_t *)arguments, "{s:s,s?b!}", "file", &path, "stop", &stays) < 0) {
		why_set(why, -EINVAL,
			"snapshot-save needs a path, \"file\", and may have \"stop\", a boolean");
		return NULL;
	}
	if (!*path) {
		why_set(why, -EINVAL, "\"file\" is empty (give a path)");
		return NULL;
	}
	s = calloc(1, sizeof(*s));
	if (s)
		s->path = strdup(path);
	if (!s || !s->path) {
		free(s);
		why_set(why, -ENOMEM, "no memory to save a machine");
		return NULL;
	}
	s->goes_on = !stays;
	return s;
}

json_t *run_save_begin(struct run_qmp *qmp, const json_t *arguments, struct why *why)
{
	const bool paused = machine_is_paused(qmp->machine);
	struct run_save *s;
	int result;

	if (run_save_is_busy(qmp, "snapshot-save", why))
		return NULL;
	s = parse(arguments, why);
	if (!s)
		return NULL;
	s->goes_on = s->goes_on && !paused;
	s->goes_on_if_not_saved = !paused;
	result = run_qmp_stop(qmp, why);
	if (result == 0 && (result = begin(qmp, s, why)) < 0 && !paused)
		go_on(qmp, s);
	if (result < 0) {
		release(s);
		return NULL;
	}
	qmp->save = s;
	return QMP_LATER;
}

bool run_save_reads(const struct run_qmp *qmp, const char *what, struct why *why)
{
	const struct run_save *s = qmp->save;

	if (!s || saver_stage(s->saver) != SAVER_READS)
		return false;
	why_set(why, -EBUSY, "%s: not while the machine's memory is read into %s (try again)", what,
		s->path);
	return true;
}

bool run_save_is_busy(const struct run_qmp *qmp, const char *what, struct why *why)
{
	if (qmp->save)
		why_set(why, -EBUSY, "%s: %s is being written (wait until that is done)", what,
			qmp->save->path);
	return qmp->save;
}

void run_save_stay(struct run_qmp *qmp)
{
	if (qmp->save)
		qmp->save->goes_on = qmp->save->goes_on_if_not_saved = false;
}

void run_save_end(struct run_qmp *qmp)
{
	if (!qmp->save)
		return;
	saver_give_up(qmp->save->saver);
	finish(qmp, false);
}
