/* SPDX-License-Identifier: Apache-2.0 */
/* jsonout.h - where the JSON of a verb goes. */
#ifndef CMD_JSONOUT_H
#define CMD_JSONOUT_H

#include <jansson.h>

/* A member of the object that is being made, which is NULL for ever once one could not be added;
 * an element of an array likewise.  The value is taken over. */
void jsonout_put(json_t **object, const char *name, json_t *value);
void jsonout_append(json_t **array, json_t *value);

/* To standard output (file NULL) or into a file, which is replaced as a whole, so that nobody ever
 * reads half of it.  0 or negative errno; `root` is taken over, NULL is -ENOMEM. */
int jsonout_print(json_t *root, const char *file);

#endif
