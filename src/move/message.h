/* SPDX-License-Identifier: Apache-2.0 */
/* message.h - what the two sides of a live migration say to each other: sections of the stream's
 * form (stream.h), in both directions.
 *
 *	source                                target
 *	HELLO {its clocks}, state MACHINE
 *	and FEATURES, ASK             ->
 *	                              <-      READY {its clocks, when it was asked and now}
 *	BEGIN {its clocks when that came} ->
 *	MEMORY ..., ROUND, MEMORY ... ->      the machine runs at the source meanwhile
 *	--- it stands still ---
 *	state CLOCK, TSC, HOST        ->      time comes first
 *	MEMORY ..., other state       ->      in any order, memory from this side's threads
 *	WHOLE                         ->      that was all
 *	                              <-      LOADED: nothing is left to be done but to run
 *	GO                            ->      from here on the machine is the target's
 *	                              <-      RUNNING
 *	END                           ->
 *	                              <-      END, for which nobody has to wait
 *
 * In place of each of its words the target may say FAILED {why}, before RUNNING; the source, before
 * GO, CANCEL {why}.  Until GO is written the source may take the machine back whatever happens, for
 * no target runs it without; from then on only when the target says FAILED. */
#ifndef MOVE_MESSAGE_H
#define MOVE_MESSAGE_H

#include "kvm/hosts.h"
#include "move/stream.h"

/* Types of sections, beside those of stream.h. */
enum message_type {
	MESSAGE_HELLO = 16,
	MESSAGE_ASK = 17,
	MESSAGE_READY = 18,
	MESSAGE_BEGIN = 19,
	MESSAGE_ROUND = 20,
	MESSAGE_WHOLE = 21,
	MESSAGE_LOADED = 22,
	MESSAGE_GO = 23,
	MESSAGE_RUNNING = 24,
	MESSAGE_FAILED = 25,
	MESSAGE_CANCEL = 26,
};

#define MESSAGE_TEXT 200 /* bytes of a why that go over; more are cut off */

/* HELLO: how much memory the machine has, and whether it stands still and is to do so there. */
struct message_hello {
	uint64_t low_size, high_size; /* bytes, as struct guest_memory */
	struct hosts_reading at;
	bool stands;
	uint32_t patience_ms; /* the source's: a stall is no longer for either; 0: not said */
};

/* ROUND: one is over and another begins. */
struct message_round {
	uint32_t number;          /* of the one that begins, from 2 */
	uint64_t remaining_bytes; /* of guest memory */
};

/* Each puts one section.  0, or what stream_put() says. */
int message_put_hello(struct stream_writer *w, const struct message_hello *hello, struct why *why);
int message_put_ready(struct stream_writer *w, const struct hosts_reading *asked,
		      const struct hosts_reading *now, struct why *why);
int message_put_begin(struct stream_writer *w, const struct hosts_reading *at, struct why *why);
int message_put_round(struct stream_writer *w, const struct message_round *round, struct why *why);
/* ASK, WHOLE, LOADED, GO, RUNNING: they have no bytes. */
int message_put_word(struct stream_writer *w, enum message_type type, struct why *why);
/* FAILED, CANCEL. */
int message_put_text(struct stream_writer *w, enum message_type type, const char *text,
		     struct why *why);

/* Of a section that was read: 0; -EINVAL, -ENOTSUP with its why. */
int message_hello(const struct stream_reader *r, const struct stream_section *section,
		  struct message_hello *ret_hello, struct why *why);
int message_ready(const struct stream_reader *r, const struct stream_section *section,
		  struct hosts_reading *ret_asked, struct hosts_reading *ret_now, struct why *why);
int message_begin(const struct stream_reader *r, const struct stream_section *section,
		  struct hosts_reading *ret_at, struct why *why);
int message_round(const struct stream_reader *r, const struct stream_section *section,
		  struct message_round *ret_round, struct why *why);
int message_word(const struct stream_reader *r, const struct stream_section *section,
		 struct why *why);
/* What is not text in it becomes '?'. */
int message_text(const struct stream_reader *r, const struct stream_section *section,
		 char ret_text[MESSAGE_TEXT + 1], struct why *why);

/* "HELLO", for what is said of it; "a section of type 99". */
const char *message_name(uint32_t type, char buf[32]);

#endif
