/* SPDX-License-Identifier: Apache-2.0 */
/* door.h - who comes and is not let in is told why. */
#ifndef MOVE_DOOR_H
#define MOVE_DOOR_H

#include <stdint.h>

#include "move/stream.h"
#include "move/wire.h"

/* Says FAILED {text}, then waits until the other side has closed, which a socket that is closed
 * with bytes unread does not let it read.  Not for longer than `patience_ns`, nor a second. */
void door_see_off(struct wire *w, struct stream_writer *writer, const char *text,
		  uint64_t patience_ns);

struct door;

/* From now on whoever connects to `listener`, which stays the caller's, is seen off by a thread of
 * its own.  NULL: there is none, and they wait. */
struct door *door_begin(int listener, const char *name, const char *text);
void door_end(struct door *d); /* takes NULL */

#endif
