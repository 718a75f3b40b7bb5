/* SPDX-License-Identifier: Apache-2.0 */
/* cpus.c - the command and its VMs stay away from CPU 0.
 *
 * QEMU keeps a bit of the chipset, IGNNE#, among the flags of CPU 0, and whichever CPU loads an FPU
 * state clears it there, by a read and a write that nothing orders with CPU 0's own
 * (target/i386/tcg/fpu_helper.c, cpu_set_fpus(); 7.2 and later).  The same word says whether CPU 0
 * runs a guest, with nested paging, and may be interrupted.  So what VMRUN and #VMEXIT change on
 * CPU 0 can be undone by a switch of tasks on another CPU: the next page walk takes the wrong
 * tables, and the guest ends in a triple fault, or the lab itself.  One boot in eight of a guest
 * with two CPUs did.  Where no VM runs on CPU 0, that word does not change. */
#include <sched.h>

#include "guest.h"

void guest_leave_cpu0(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0 || CPU_COUNT(&set) < 2)
		return;
	CPU_CLR(0, &set);
	(void)sched_setaffinity(0, sizeof(set), &set);
}
