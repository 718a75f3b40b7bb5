/* SPDX-License-Identifier: Apache-2.0 */
/* deadline.c - the thread that wakes a board at its deadlines. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "kvm/deadline.h"
#include "kvm/suspend.h"
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

/* Which of the acknowledgements can be read. */
static uint32_t readable(const struct pollfd *acks, unsigned n)
{
	uint32_t bits = 0;

	for (unsigned i = 0; i < n; i++)
		bits |= (acks[i].revents & POLLIN ? 1U : 0U) << i;
	return bits;
}

static void *run(void *arg)
{
	struct deadline *d = arg;
	vmt_ns deadline, armed = VMT_NEVER;
	uint32_t acks = 0;
	bool listen;
	struct pollfd p[FIXED + VM_ACKS] = {
		{.fd = d->timer_fd, .events = POLLIN},
		{.fd = d->chipset->wake_fd, .events = POLLIN},
		{.fd = d->stop_fd, .events = POLLIN},
	};

	for (unsigned i = 0; i < d->n_acks; i++)
		p[FIXED + i] = (struct pollfd){.fd = d->acks[i].ack_fd, .events = POLLIN};
	while (!p[2].revents) {
		if (d->chipset->suspend)
			suspend_wait(d->chipset->suspend);
		deadline = chipset_advance(d->chipset, acks, &listen);
		/* Setting the timer takes back that it has expired: nobody reads it.  Who was woken
		 * may have the same deadline at another count. */
		if (deadline != armed || p[0].revents || p[1].revents)
			arm(d, deadline);
		armed = deadline;
		acks = 0;
		if (poll(p, FIXED + (listen ? d->n_acks : 0), -1) < 0)
			continue;
		take(&p[1]);
		acks = listen ? readable(p + FIXED, d->n_acks) : 0;
	}
	return NULL;
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
