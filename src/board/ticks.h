/* SPDX-License-Identifier: Apache-2.0 */
/* ticks.h - the fate of each tick of one source: when to pulse, and the ledger.
 *
 * The rules are in board.h, beside struct vmt_ledger.  Every member is counted where the thing
 * happens; a tick moves from owed to its fate, and no member is ever computed from others.  Policy
 * and floor are those of the configuration `c`. */
#ifndef BOARD_TICKS_H
#define BOARD_TICKS_H

#include <stdbool.h>
#include <vmtime/board.h>

/* The functions that return a bool say whether to ask for a pulse. */

/* For sources whose edges all exist (PIT, HPET): `edges` more are due; an acknowledgement of what
 * was asked for before; whether it made room for another; the pulse asked for before was refused;
 * retry_ns has come. */
bool vmt_ticks_edges(struct vmt_board_ticks *t, const struct vmt_board_config *c, vmt_ns now,
		     uint64_t edges);
void vmt_ticks_ack(struct vmt_board_ticks *t, const struct vmt_board_config *c, vmt_ns now);
bool vmt_ticks_again(struct vmt_board_ticks *t, const struct vmt_board_config *c, vmt_ns now);
void vmt_ticks_refused(struct vmt_board_ticks *t, const struct vmt_board_config *c, vmt_ns now);
bool vmt_ticks_retry(struct vmt_board_ticks *t, const struct vmt_board_config *c, vmt_ns now);

/* The source is programmed to tick faster than the floor: nothing to do before this time.  Else 0.
 */
vmt_ns vmt_ticks_not_before(const struct vmt_board_ticks *t, const struct vmt_board_config *c);

/* For a source that holds its line until it is served (RTC): after a call that raised the line
 * `rises` times, found it high `missed` times, and left it at `level`.  shown: how many of the
 * rises showed a tick that is owed already.  Its pulse was refused; it goes out again. */
bool vmt_ticks_held(struct vmt_board_ticks *t, const struct vmt_board_config *c, vmt_ns now,
		    const struct vmt_out *out, uint64_t shown);
void vmt_ticks_held_refused(struct vmt_board_ticks *t, const struct vmt_board_config *c,
			    vmt_ns now);
void vmt_ticks_held_again(struct vmt_board_ticks *t);

/* The source's period as it is programmed now. */
void vmt_ticks_period(struct vmt_board_ticks *t, uint64_t period_ns);

/* The source's line is cut off from the guest: `edges` more reach nobody.  Of all that is owed
 * `held` stay (of a line that is high 1), the rest is discarded. */
void vmt_ticks_cut_off(struct vmt_board_ticks *t, uint64_t edges, uint64_t held);

/* The line is the guest's again: what it holds is an edge. */
bool vmt_ticks_back(struct vmt_board_ticks *t, vmt_ns now);

/* What is owed is discarded, except what is in flight. */
void vmt_ticks_forget(struct vmt_board_ticks *t);

/* All that is owed is given up. */
void vmt_ticks_give_up(struct vmt_board_ticks *t);

/* Whether a loaded state can have been one at `now`. */
bool vmt_ticks_good(const struct vmt_board_ticks *t, const struct vmt_board_config *c, vmt_ns now);

#endif
