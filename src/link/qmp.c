/* SPDX-License-Identifier: Apache-2.0 */
/* qmp.c - a server of QMP: the socket, its clients, and what they have not taken yet. */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/hostclock.h"
#include "host/listen.h"
#include "link/qmp_session.h"

enum { NS_PER_US = 1000, US_PER_S = 1000000 };

struct client {
	LIST_ENTRY(client) all;
	struct qmp *server;
	struct bufferevent *io;
	bool at_end; /* it sends no more */
	bool gone;   /* to be freed by the server's `reap` */
	struct qmp_session session;
};

struct qmp {
	const struct qmp_config *config;
	struct event_base *base;
	struct listen_socket socket;
	struct event *listen; /* pending while one more client may come */
	struct event *retry;  /* ... when accepting has failed */
	struct event *reap;
	unsigned n_clients;
	LIST_HEAD(clients, client) clients;
};

/* Not freed here: whoever calls may be in the middle of what it sent, or of all clients. */
static void drop(struct client *c)
{
	c->gone = true;
	bufferevent_disable(c->io, EV_READ | EV_WRITE);
	event_active(c->server->reap, 0, 0);
}

static void free_client(struct client *c)
{
	LIST_REMOVE(c, all);
	c->server->n_clients--;
	bufferevent_free(c->io); /* and its socket */
	qmp_session_end(&c->session);
	free(c);
}

static void on_reap(evutil_socket_t fd, short what, void *arg)
{
	struct qmp *q = arg;
	struct client *next;

	(void)fd;
	(void)what;
	for (struct client *c = LIST_FIRST(&q->clients); c; c = next) {
		next = LIST_NEXT(c, all);
		if (c->gone)
			free_client(c);
	}
	if (q->listen && q->n_clients < QMP_CLIENTS_MAX)
		event_add(q->listen, NULL);
}

static size_t pending(const struct client *c)
{
	return evbuffer_get_length(bufferevent_get_output(c->io));
}

/* One line, as the protocol has it in ASCII.  Takes over the reference. */
static void say(struct client *c, json_t *message)
{
	char *text = message ? json_dumps(message, JSON_ENSURE_ASCII) : NULL;

	json_decref(message);
	if (!text || bufferevent_write(c->io, text, strlen(text)) < 0 ||
	    bufferevent_write(c->io, "\r\n", 2) < 0 || pending(c) > QMP_PENDING_MAX)
		drop(c);
	free(text);
}

/* Takes what has come, as long as the answers are being taken. */
static void serve(struct client *c)
{
	struct evbuffer *input = bufferevent_get_input(c->io);
	size_t length;

	while (!c->gone && !c->session.waits && pending(c) <= QMP_PAUSE &&
	       (length = evbuffer_get_contiguous_space(input)) > 0) {
		const char *bytes = (char *)evbuffer_pullup(input, (ev_ssize_t)length);
		json_t *answer;

		length = qmp_session_take(&c->session, bytes, length, &answer);
		evbuffer_drain(input, length);
		if (answer)
			say(c, answer);
	}
	if (c->gone)
		return;
	if (evbuffer_get_length(input))
		bufferevent_disable(c->io, EV_READ);
	else if (!c->at_end)
		bufferevent_enable(c->io, EV_READ);
	else if (pending(c) == 0 && !c->session.waits)
		drop(c);
}

static void on_readable(struct bufferevent *io, void *arg)
{
	(void)io;
	serve(arg);
}

/* All answers are taken. */
static void on_written(struct bufferevent *io, void *arg)
{
	(void)io;
	serve(arg);
}

static void on_event(struct bufferevent *io, short what, void *arg)
{
	struct client *c = arg;

	(void)io;
	if (what & BEV_EVENT_EOF && what & BEV_EVENT_READING) {
		c->at_end = true; /* it may still read */
		serve(c);
	} else {
		drop(c);
	}
}

int qmp_add_client(struct qmp *q, int fd)
{
	struct client *c = malloc(sizeof(*c)); /* most of it is never touched */

	if (c)
		c->io = bufferevent_socket_new(q->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!c || !c->io) {
		free(c);
		close(fd);
		return -ENOMEM;
	}
	c->server = q;
	c->at_end = c->gone = false;
	qmp_session_init(&c->session, q->config);
	LIST_INSERT_HEAD(&q->clients, c, all);
	q->n_clients++;
	bufferevent_setcb(c->io, on_readable, on_written, on_event, c);
	bufferevent_enable(c->io, EV_READ | EV_WRITE);
	say(c, qmp_session_greeting(&c->session));
	return 0;
}

static void on_connection(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval a_second = {.tv_sec = 1};
	struct qmp *q = arg;
	int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)what;
	if (client >= 0) {
		(void)qmp_add_client(q, client);
	} else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		/* No descriptor is left: the loop would come back at once, for ever. */
		event_del(q->listen);
		evtimer_add(q->retry, &a_second);
	}
	if (q->n_clients >= QMP_CLIENTS_MAX)
		event_del(q->listen);
}

void qmp_event(struct qmp *q, const char *name, json_t *data)
{
	json_int_t us = hostclock_realtime_ns() / NS_PER_US;

	for (struct client *c = q ? LIST_FIRST(&q->clients) : NULL; c; c = LIST_NEXT(c, all))
		if (c->session.negotiated && !c->gone)
			say(c, json_pack("{s:s,s:O*,s:{s:I,s:I}}", "event", name, "data", data,
					 "timestamp", "seconds", us / US_PER_S, "microseconds",
					 us % US_PER_S));
	json_decref(data);
}

void qmp_answer(struct qmp *q, json_t *result, const struct why *why)
{
	struct client *c = q ? LIST_FIRST(&q->clients) : NULL;

	while (c && (!c->session.waits || c->gone))
		c = LIST_NEXT(c, all);
	if (!c) {
		json_decref(result);
		return;
	}
	say(c, qmp_session_answer(&c->session, result, why));
	serve(c);
}

int qmp_open(const char *path, const struct qmp_config *config, struct event_base *base,
	     struct qmp **ret_qmp, struct why *why)
{
	struct qmp *q = calloc(1, sizeof(*q));
	int result;

	if (!q)
		return why_set(why, -ENOMEM, "no memory for a QMP server");
	q->config = config;
	q->base = base;
	LIST_INIT(&q->clients);
	result = listen_open(path, "QMP socket", QMP_CLIENTS_MAX, &q->socket, why);
	if (result == 0) {
		q->listen = event_new(base, q->socket.fd, EV_READ | EV_PERSIST, on_connection, q);
		q->retry = evtimer_new(base, on_reap, q);
		q->reap = evtimer_new(base, on_reap, q);
		if (!q->listen || !q->retry || !q->reap || event_add(q->listen, NULL) < 0)
			result = why_set(why, -ENOMEM, "no memory for a QMP server");
	}
	if (result < 0)
		qmp_close(q);
	else
		*ret_qmp = q;
	return result;
}

/* The last words, as far as the socket takes them. */
static void flush(struct client *c)
{
	struct evbuffer *output = bufferevent_get_output(c->io);

	evbuffer_unfreeze(output, 1); /* only the loop took from it so far */
	while (!c->gone && evbuffer_write(output, bufferevent_getfd(c->io)) > 0)
		;
}

void qmp_close(struct qmp *q)
{
	struct client *next;

	if (!q)
		return;
	for (struct client *c = LIST_FIRST(&q->clients); c; c = next) {
		next = LIST_NEXT(c, all);
		flush(c);
		free_client(c);
	}
	listen_close(&q->socket);
	if (q->listen)
		event_free(q->listen);
	if (q->retry)
		event_free(q->retry);
	if (q->reap)
		event_free(q->reap);
	free(q);
}
