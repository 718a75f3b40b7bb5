/* SPDX-License-Identifier: Apache-2.0 */
/* gate.h - keeps all vCPUs out of the guest for a moment.
 *
 * Each vCPU's thread passes it on its way into KVM_RUN and back.  Who closes it has every vCPU
 * kicked out and waits; threads that handle an exit meanwhile are out already and find it closed
 * when they want to go back.  So what is done behind a closed gate takes no time that the guest can
 * see.
 *
 * Closing costs the vCPUs an exit, opening wakes them.  A vCPU's own thread may close it, too,
 * while it handles an exit.  One at a time: others that want to close it wait, in the order in
 * which they came, so no guest that makes its vCPUs close it again and again holds up the rest. */
#ifndef KVM_GATE_H
#define KVM_GATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct gate {
	pthread_mutex_t lock; /* of the conditions and the next two */
	pthread_cond_t opened, left;
	uint32_t next, served; /* numbers of who closes it: the next one's, and whose turn it is */
	bool closed;           /* atomic */
};

void gate_init(struct gate *g);
void gate_destroy(struct gate *g);

/* A vCPU's thread, before and after KVM_RUN; *inside is its own and atomic.  The first waits while
 * the gate is closed; false: it has been called meanwhile, is not inside, and comes again. */
bool gate_enter(struct gate *g, bool *inside, const bool *called);
void gate_leave(struct gate *g, bool *inside);

/* gate_shut() waits until nobody else has it closed, gate_wait() until this vCPU is out, which has
 * been kicked if it was `inside`.  Between them no vCPU gets in that was not. */
void gate_shut(struct gate *g);
void gate_wait(struct gate *g, const bool *inside);
void gate_open(struct gate *g);

/* Behind the closed gate, for a thread that waits there: it is called, and says that it has done
 * what it was called for; gate_wait() for `called` waits until then. */
void gate_call(struct gate *g, bool *called);
void gate_done(struct gate *g, bool *called);

#endif
