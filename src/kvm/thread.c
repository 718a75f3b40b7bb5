/* SPDX-License-Identifier: Apache-2.0 */
/* thread.c - threads with a small stack that leave signals to the loop. */
#include <errno.h>

#include "kvm/thread.h"

/* The deepest of them has a few KiB; sanitizers want more room. */
#define STACK_BYTES (256U << 10)

int thread_start(pthread_t *ret_thread, const char *name, void *(*run)(void *), void *arg)
{
	pthread_attr_t attributes;
	sigset_t blocked, before;
	int error;

	sigfillset(&blocked);
	sigdelset(&blocked, THREAD_KICK);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	pthread_sigmask(SIG_SETMASK, &blocked, &before);
	error = pthread_create(ret_thread, &attributes, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (error == 0)
		pthread_setname_np(*ret_thread, name);
	return -error;
}

static void do_nothing(int signal)
{
	(void)signal;
}

int thread_catch_kicks(void)
{
	struct sigaction action = {.sa_handler = do_nothing};

	sigemptyset(&action.sa_mask);
	return sigaction(THREAD_KICK, &action, NULL) < 0 ? -errno : 0;
}
