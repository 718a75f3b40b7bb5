/* SPDX-License-Identifier: Apache-2.0 */
/* page.pml - src/faces/page.h: a page is written while others read it.
 *
 * Loads and stores of x86 are seen in the order of the program, so interleaving them one by one is
 * all that can happen.  The writer may stop for good between any two of its stores.  The version
 * is kept to few values; a reader between whose two looks it wraps around is not in the model.
 *
 * BREAK_ODD: the version is not made odd first.  BREAK_EVEN: ... is made even before the rest is
 * written.  BREAK_LOOK: the reader does not look a second time.  BREAK_JUNK: a version that the
 * guest left odd is taken as it is. */
#define WRITES 3
#define VERSIONS 16

byte version, first, second;

proctype writer()
{
	byte odd, n = 1;

	do
	:: n <= WRITES ->
#ifdef BREAK_JUNK
		odd = (version + 1) % VERSIONS;
#else
		odd = ((version + 1) | 1) % VERSIONS;
#endif
#ifndef BREAK_ODD
		version = odd;
#endif
#ifdef BREAK_EVEN
		version = (odd + 1) % VERSIONS;
#endif
		first = n;
		second = n;
		version = (odd + 1) % VERSIONS;
		assert(version % 2 == 0);
		n++
	:: n <= WRITES -> break /* preempted, for ever */
	:: n > WRITES -> break
	od
}

/* It tries as long as there is something to hope for. */
proctype reader()
{
	byte before, a, b, seen = 0, tries = 0;

	do
	:: tries < 4 ->
		tries++;
		before = version - version % 2;
		a = first;
		b = second;
#ifdef BREAK_LOOK
		if
		:: true ->
#else
		if
		:: version == before ->
#endif
			assert(a == b);
			assert(a >= seen); /* no older one than last time */
			seen = a
		:: else -> skip
		fi
	:: tries == 4 -> break
	od
}

init {
	atomic {
		if /* what a guest has there before */
		:: version = 0
		:: version = 1
		:: version = 6
		fi;
		first = 0;
		second = 0;
#ifdef BREAK_JUNK
		version = 1;
#endif
		run writer();
		run reader()
	}
}
