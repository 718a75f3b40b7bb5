/* SPDX-License-Identifier: Apache-2.0 */
/* vcpu_settle.c - what a virtual CPU is in the middle of is completed. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/gate.h"
#include "kvm/thread.h"
#include "kvm/vcpu.h"

/* A signal that is pending keeps KVM_RUN from entering the guest, and immediate_exit from all that
 * comes before. */
static int run_without_entering(struct vcpu *v)
{
	struct {
		struct kvm_signal_mask mask;
		uint8_t blocked[sizeof(uint64_t)];
	} open = {.mask.len = sizeof(uint64_t)};
	const uint64_t all_but_kick = ~(UINT64_C(1) << (THREAD_KICK - 1));
	int result, error;

	memcpy(open.mask.sigset, &all_but_kick, sizeof(all_but_kick));
	if (ioctl(v->fd, KVM_SET_SIGNAL_MASK, &open) < 0)
		return -EIO;
	__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	result = ioctl(v->fd, KVM_RUN, 0);
	error = errno;
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST); /* whoever has set it */
	(void)ioctl(v->fd, KVM_SET_SIGNAL_MASK, NULL);
	if (result == 0)
		__atomic_store_n(&v->exited, true, __ATOMIC_SEQ_CST);
	return result == 0 || error == EINTR || error == EAGAIN ? 0 : -EIO;
}

int vcpu_settle_here(struct vcpu *v)
{
	static const struct timespec at_once;
	sigset_t kick, before;
	int result;

	sigemptyset(&kick);
	sigaddset(&kick, THREAD_KICK);
	pthread_sigmask(SIG_BLOCK, &kick, &before);
	(void)pthread_kill(pthread_self(), THREAD_KICK);
	result = run_without_entering(v);
	(void)sigtimedwait(&kick, NULL, &at_once);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return result;
}

int vcpu_settle(struct vcpu *v)
{
	if (!__atomic_load_n(&v->parked, __ATOMIC_ACQUIRE))
		return -EBUSY;
	if (v->started)
		gate_call(v->gate, &v->called);
	else
		v->settled = vcpu_settle_here(v);
	return 0;
}

int vcpu_settled(struct vcpu *v)
{
	if (v->started)
		gate_wait(v->gate, &v->called);
	return v->settled;
}
