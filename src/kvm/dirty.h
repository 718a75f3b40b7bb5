/* SPDX-License-Identifier: Apache-2.0 */
/* dirty.h - which pages of guest memory have been written, and are yet to be sent.
 *
 * A bit a page, set by three: KVM's dirty log, for what the guest's CPUs and KVM itself write
 * (collected); memory_written() for what this process writes into guest memory; and dirty_init(),
 * which sets all.  Taking pages clears their bits and has KVM watch them anew, before they are
 * read: what is written from then on will be sent again.
 *
 * KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 (virt/kvm/api.rst 8.9): pages are watched anew when they are
 * taken, not when the log is read, so a page that is written twice in between is sent once; and
 * with KVM_DIRTY_LOG_INITIALLY_SET none has to be watched at the beginning.  That is done for
 * DIRTY_WINDOW pages at once, as each time costs all vCPUs an exit: what is written between then
 * and its turn is sent twice.
 *
 * A machine that stands still may still write: KVM completes what its CPUs were at when they are
 * saved.  Its last pages are those collected after machine_save() has returned.
 *
 * Threads: begin and end from the one that makes and ends the VM; collect and take from one that
 * sends; memory_written() from any. */
#ifndef KVM_DIRTY_H
#define KVM_DIRTY_H

#include <stdbool.h>
#include <stdint.h>

#include "host/why.h"
#include "kvm/memory.h"

#define DIRTY_PAGES 256U /* a piece that is taken: as many as a section has (move/image.h) */
#define DIRTY_WINDOW (64 * DIRTY_PAGES)
#define DIRTY_SLOTS 2U

/* Who knows what was written: KVM, or a test.  Slots are the pieces of memory, 0 low and 1 high; a
 * bit a page of it, from its beginning. */
struct dirty_log {
	/* All pages that were written since they were last cleared, into `bits`, of which there are
	 * as many as the piece has pages, rounded up to 64.  0 or negative errno. */
	int (*get)(void *owner, uint32_t slot, uint64_t *bits);
	/* These are watched anew; `first` is a multiple of 64, and so is `pages` unless they are
	 * the slot's last.  NULL: nobody writes. */
	int (*clear)(void *owner, uint32_t slot, uint64_t first, uint32_t pages,
		     const uint64_t *bits);
	void *owner;
};

struct dirty {
	const struct guest_memory *memory;
	struct dirty_log log;
	uint64_t *bits[DIRTY_SLOTS]; /* yet to be sent; atomic */
	uint64_t *come[DIRTY_SLOTS]; /* what the log says, and is told */
	uint32_t slot;               /* where dirty_take() goes on ... */
	uint64_t page;
	uint64_t watched; /* ... and pages of that slot below this one are watched anew */
};

/* All pages are to be sent.  `log` is copied.  0 or -ENOMEM. */
int dirty_init(struct dirty *d, const struct guest_memory *memory, const struct dirty_log *log,
	       struct why *why);
void dirty_free(struct dirty *d); /* of one that is all 0 as well */

/* A page was written by this process; from any thread, also while others collect and take. */
void dirty_written(struct dirty *d, uint64_t gpa, uint64_t length);

/* Asks the log.  *ret_pages: how many are to be sent.  0, or -EIO. */
int dirty_collect(struct dirty *d, uint64_t *ret_pages, struct why *why);

/* The next piece with pages to be sent, in the order of addresses: 1; 0: there are no more, and the
 * next call begins anew; -EIO.  *ret_pages, up to DIRTY_PAGES from *ret_gpa on (a multiple of
 * DIRTY_PAGES pages from the beginning of its piece of memory), a bit each in `bits`: those that
 * are unset are not to be sent. */
int dirty_take(struct dirty *d, uint64_t *ret_gpa, uint32_t *ret_pages,
	       uint8_t bits[DIRTY_PAGES / 8], struct why *why);

/* KVM's log of a VM with `memory` is switched on; *ret_log is its, until vm_log_end() or
 * vm_destroy().  Some ms.  0, or -EIO. */
struct vm;
int vm_log_begin(struct vm *vm, const struct guest_memory *memory, struct dirty_log *ret_log,
		 struct why *why);
void vm_log_end(struct vm *vm, const struct guest_memory *memory); /* also of one that is not */

#endif
