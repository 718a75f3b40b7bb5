/* SPDX-License-Identifier: Apache-2.0 */
/* thread.h - threads with a small stack that leave signals to the loop. */
#ifndef KVM_THREAD_H
#define KVM_THREAD_H

#include <pthread.h>
#include <signal.h>

/* The signal that makes a vCPU leave KVM_RUN; its handler does nothing. */
#define THREAD_KICK SIGRTMIN

/* Starts `run`, named `name` (at most 15 letters), with all signals blocked but THREAD_KICK.
 * 0 or negative errno. */
int thread_start(pthread_t *ret_thread, const char *name, void *(*run)(void *), void *arg);

/* Gives THREAD_KICK its handler; once a process is enough, more do no harm.  0, negative errno. */
int thread_catch_kicks(void);

#endif
