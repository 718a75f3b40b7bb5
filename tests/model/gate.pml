/* SPDX-License-Identifier: Apache-2.0 */
/* gate.pml - src/kvm/gate.c: vCPUs go in and out, two threads close the gate and publish behind it.
 *
 * A vCPU stays in the guest until it is kicked.  Checked: nobody is inside while the gate is closed
 * and waited for, one at a time publishes, and nobody waits for ever (an invalid end state).
 *
 * BREAK_CHECK: a vCPU does not look again after it said that it is inside.  BREAK_WAIT: who closes
 * does not wait.  BREAK_CLOSER: two may have it closed at once.  BREAK_TELL: who leaves tells
 * nobody. */
#define VCPUS 2
#define CLOSERS 2
#define ROUNDS 1

bool closed, inside[VCPUS], kicked[VCPUS];
bool closer, lock;      /* mutexes */
byte publishing, ended; /* closers */
byte opened, came_out;      /* conditions: how often they were told */

#define ACQUIRE(mutex) atomic { !mutex -> mutex = true }
#define RELEASE(mutex) mutex = false

inline leave(i)
{
	inside[i] = false;
#ifndef BREAK_TELL
	if
	:: closed -> ACQUIRE(lock); came_out++; RELEASE(lock)
	:: else -> skip
	fi
#endif
}

proctype vcpu(byte i)
{
	byte seen;

again:
	if
	:: ended == CLOSERS -> goto end
	:: else -> skip
	fi;
	inside[i] = true;
#ifndef BREAK_CHECK
	if
	:: closed ->
		leave(i);
		ACQUIRE(lock);
wait:		if
		:: closed ->
			seen = opened;
			RELEASE(lock);
			opened != seen; /* the condition gives up the lock and waits at once */
			ACQUIRE(lock);
			goto wait
		:: else -> skip
		fi;
		RELEASE(lock);
		goto again
	:: else -> skip
	fi;
#endif
	/* In the guest, until kicked. */
	assert(publishing == 0);
	(kicked[i] || ended == CLOSERS);
	kicked[i] = false;
	assert(publishing == 0);
	leave(i);
	goto again;
end:	skip
}

proctype close_it()
{
	byte round, i, seen;

	do
	:: round < ROUNDS ->
		round++;
#ifndef BREAK_CLOSER
		ACQUIRE(closer);
#endif
		closed = true;
		i = 0;
		do
		:: i < VCPUS ->
			kicked[i] = true;
#ifndef BREAK_WAIT
			ACQUIRE(lock);
wait:			if
			:: inside[i] ->
				seen = came_out;
				RELEASE(lock);
				came_out != seen;
				ACQUIRE(lock);
				goto wait
			:: else -> skip
			fi;
			RELEASE(lock);
#endif
			i++
		:: i == VCPUS -> break
		od;
		publishing++;
		assert(publishing == 1);
		publishing--;
		ACQUIRE(lock);
		closed = false;
		opened++;
		RELEASE(lock);
#ifndef BREAK_CLOSER
		RELEASE(closer)
#endif
	:: round == ROUNDS -> break
	od;
	ended++
}

init {
	atomic {
		run vcpu(0);
		run vcpu(1);
		run close_it();
		run close_it()
	}
}
