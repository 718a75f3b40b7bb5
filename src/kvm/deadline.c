/* SPDX-License-Identifier: Apache-2.0 */
/* deadline.c - the thread that wakes a board at its deadlines. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "kvm/deadline.h"
#include "kvm/thread.h"

#define NS_PER_S 1000000000ULL

enum { FIXED = 3 }; /* descriptors besides those of acknowledgements */

static void arm(const struct deadline *d, vmt_ns deadline)
{
	struct itimerspec t = {0}; /* disarmed */
	uint64_t at = chipset_monotonic_at(d->chipset, deadline);

	if (at != UINT64_MAX) {
		t.it_value.tv_sec = (time_t)(at / NS_PER_S);
		t.it_value.tv_nsec = (long)(at % NS_PER_S);
	}
	/* Cannot fail: the descriptor is a timer and the time is normal. */
	(void)timerfd_settime(d->timer_fd, TFD_TIMER_ABSTIME, &t, NULL);
}

/* Until it is signalled again. */
static void take(const struct pollfd *p)
{
	uint64_t count;

	if (p->revents & POLLIN)
		(void)!read(p->fd, &count, sizeof(count));
}

static void *run(void *arg)
{
	struct deadline *d = arg;
	struct pollfd p[FIXED + VM_ACKS] = {
		{.fd = d->timer_fd, .events = POLLIN},
		{.fd = d->chipset->wake_fd, .events = POLLIN},
		{.fd = d->stop_fd, .events = POLLIN},
	};

	uint32_t acks;

	for (unsigned i = 0; i < d->n_acks; i++)
		p[FIXED + i] = (struct pollfd){.fd = d->acks[i].ack_fd, .events = POLLIN};
	for (;;) {
		arm(d, chipset_advance(d->chipset));
		if (poll(p, FIXED + d->n_acks, -1) < 0)
			continue;
		if (p[2].revents)
			return NULL;
		take(&p[0]);
		take(&p[1]);
		acks = 0;
		for (unsigned i = 0; i < d->n_acks; i++)
			acks |= (p[FIXED + i].revents & POLLIN ? 1U : 0U) << i;
		if (acks)
			chipset_acks(d->chipset, acks);
	}
}

int deadline_start(struct deadline *d, struct chipset *chipset, const struct vm_ack *acks,
		   unsigned n_acks, struct why *why)
{
	int result;

	*d = (struct deadline){.chipset = chipset, .acks = acks, .n_acks = n_acks};
	d->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	d->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->timer_fd < 0 || d->stop_fd < 0) {
		result = -errno;
	} else {
		result = thread_start(&d->thread, "vmtime-time", run, d);
		if (result == 0)
			return 0;
	}
	if (d->timer_fd >= 0)
		close(d->timer_fd);
	if (d->stop_fd >= 0)
		close(d->stop_fd);
	return why_set(why, result, "cannot start the thread for deadlines: %s", strerror(-result));
}

void deadline_stop(struct deadline *d)
{
	const uint64_t one = 1;

	(void)!write(d->stop_fd, &one, sizeof(one));
	pthread_join(d->thread, NULL);
	close(d->timer_fd);
	close(d->stop_fd);
}
