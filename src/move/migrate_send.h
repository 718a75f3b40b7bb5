/* SPDX-License-Identifier: Apache-2.0 */
/* migrate_send.h - what migrate_source.c and migrate_send.c share: the two halves of one thing. */
#ifndef MOVE_MIGRATE_SEND_H
#define MOVE_MIGRATE_SEND_H

#include <pthread.h>

#include "move/image_round.h"
#include "move/migrate_source.h"
#include "move/stream.h"
#include "move/wire.h"

struct migrate_source {
	struct migrate_source_config c;
	char *name;
	pthread_t thread;
	uint64_t began_ns;
	int fd;                          /* eventfd */
	enum migrate_source_stage stage; /* atomic */
	bool give_up;                    /* atomic */

	pthread_mutex_t lock; /* of what follows, up to the blank line */
	pthread_cond_t answered;
	struct migrate_params params;
	struct migrate_stats stats;
	uint64_t stood_ns, ended_ns; /* 0: not yet */
	struct vmstate_parts time, state;
	bool has_time, has_state, cannot, not_yet;
	struct why reason; /* it cannot */
	bool cancelled;
	bool too_late;                      /* to cancel: GO is about to be written */
	bool limited;                       /* params.max_bandwidth counts: the machine runs */
	uint64_t telling_bytes, telling_ns; /* of this round, by which the link is measured */
	uint64_t gone_ns;                   /* when the last piece had gone */
	uint64_t queued_bytes;              /* of the wire, when the last round was over */
	uint64_t link_s;                    /* bytes a second; 0: not known yet */
	/* Its limit and its counters are others' as well. */
	struct wire wire;

	/* The thread's. */
	char where[256]; /* the names of both, with the phase */
	struct stream_writer w;
	struct stream_reader r;
	bool listens; /* r is open */
	bool told_go; /* GO was written whole */
	bool refused; /* the target has said FAILED, and why: */
	struct why refusal;
	uint64_t halt_ns; /* for so long it sends while the machine stands still, twice */
	struct image_round *round;
	int result;
	struct why why;
};

/* The thread. */
void *migrate_send(void *arg);

#endif
