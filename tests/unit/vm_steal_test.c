/* SPDX-License-Identifier: Apache-2.0 */
/* vm_steal_test.c - what a guest that registers its steal time finds in its memory.  No KVM: the
 * test plays the vCPUs' threads, and their counts are files of the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm/steal.h"
#include "kvm/vcpu.h"

#define MS UINT64_C(1000000)
#define MEMORY_BYTES MEMORY_MIN

enum { CPUS = 2, PAGE = 0x5000 };

struct bench {
	struct guest_memory memory;
	struct kvm_run run[CPUS];
	struct vcpu vcpus[CPUS];
	struct steal steal;
};

static void set_waited(struct bench *b, uint32_t cpu, uint64_t ns)
{
	int fd = b->steal.cpus[cpu].delay.fd;
	char text[64];
	int length = snprintf(text, sizeof(text), "1 %020" PRIu64 " 1\n", ns);

	assert_int_equal(pwrite(fd, text, (size_t)length, 0), length);
}

static struct bench *bench(void)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct why why;

	assert_non_null(b);
	assert_int_equal(memory_create(MEMORY_BYTES, &b->memory, &why), 0);
	for (int i = 0; i < CPUS; i++)
		b->vcpus[i].run = &b->run[i];
	assert_int_equal(steal_init(&b->steal, &b->memory, b->vcpus, CPUS, &why), 0);
	for (uint32_t cpu = 0; cpu < CPUS; cpu++) {
		b->steal.cpus[cpu].delay.fd = memfd_create("schedstat", MFD_CLOEXEC);
		set_waited(b, cpu, 700 * MS);
		rundelay_forget(&b->steal.cpus[cpu].delay);
	}
	return b;
}

static void take_down(struct bench *b)
{
	steal_destroy(&b->steal);
	memory_destroy(&b->memory);
	free(b);
}

static uint64_t *page(struct bench *b, uint32_t cpu)
{
	return memory_at(&b->memory, PAGE + cpu * VMT_STEAL_BYTES, VMT_STEAL_BYTES);
}

static bool enable(struct bench *b, uint32_t cpu)
{
	return steal_wrmsr(&b->steal, cpu, VMT_MSR_KVM_STEAL, (PAGE + cpu * VMT_STEAL_BYTES) | 1);
}

/* One turn of the loop and of both vCPUs' threads. */
static void turn(struct bench *b)
{
	steal_tick(&b->steal);
	for (uint32_t cpu = 0; cpu < CPUS; cpu++)
		steal_look(&b->steal, cpu);
}

static void the_guest_finds_its_threads_wait(void **state)
{
	struct bench *b = bench();

	(void)state;
	assert_true(enable(b, 0));
	assert_true(enable(b, 1));
	assert_int_equal(*page(b, 0), 0); /* what was before it asked is not its */
	set_waited(b, 0, 705 * MS);
	set_waited(b, 1, 750 * MS);
	turn(b);
	assert_int_equal(*page(b, 0), 5 * MS);
	assert_int_equal(*page(b, 1), 50 * MS);
	turn(b);
	assert_int_equal(*page(b, 0), 5 * MS);
	take_down(b);
}

/* It is its thread that writes: told, and out of the guest. */
static void only_a_thread_whose_count_has_grown_is_kicked(void **state)
{
	struct bench *b = bench();

	(void)state;
	assert_true(enable(b, 0));
	assert_true(enable(b, 1));
	set_waited(b, 1, 703 * MS);
	steal_tick(&b->steal);
	assert_int_equal(b->run[0].immediate_exit, 0);
	assert_int_equal(b->run[1].immediate_exit, 1);
	assert_int_equal(*page(b, 1), 0);
	steal_look(&b->steal, 0);
	steal_look(&b->steal, 1);
	assert_int_equal(*page(b, 1), 3 * MS);
	take_down(b);
}

/* A kick makes a thread wait, too; less than a ms is gathered, not lost. */
static void a_little_is_gathered(void **state)
{
	struct bench *b = bench();

	(void)state;
	assert_true(enable(b, 0));
	for (uint64_t us = 0; us < 1000; us += 200) {
		set_waited(b, 0, 700 * MS + us * 1000);
		turn(b);
		assert_int_equal(b->run[0].immediate_exit, 0);
		assert_int_equal(*page(b, 0), 0);
	}
	set_waited(b, 0, 701 * MS);
	turn(b);
	assert_int_equal(*page(b, 0), 1 * MS);
	take_down(b);
}

static void who_has_not_asked_is_left_alone(void **state)
{
	struct bench *b = bench();

	(void)state;
	set_waited(b, 0, 900 * MS);
	turn(b);
	assert_int_equal(b->run[0].immediate_exit, 0);
	assert_true(enable(b, 0));
	set_waited(b, 0, 905 * MS);
	turn(b);
	assert_int_equal(*page(b, 0), 5 * MS); /* since it asked */
	assert_true(steal_wrmsr(&b->steal, 0, VMT_MSR_KVM_STEAL, 0));
	memset(page(b, 0), 0x5a, VMT_STEAL_BYTES);
	set_waited(b, 0, 990 * MS);
	turn(b);
	assert_true(*page(b, 0) == UINT64_C(0x5a5a5a5a5a5a5a5a));
	take_down(b);
}

static void a_stop_is_not_steal(void **state)
{
	struct bench *b = bench();

	(void)state;
	assert_true(enable(b, 0));
	set_waited(b, 0, 700 * MS + 123);
	steal_stop(&b->steal);
	assert_int_equal(*page(b, 0), 123); /* until the stop, to the ns */
	set_waited(b, 0, 5700 * MS);
	steal_go(&b->steal);
	turn(b);
	assert_int_equal(*page(b, 0), 123);
	set_waited(b, 0, 5702 * MS);
	turn(b);
	assert_int_equal(*page(b, 0), 2 * MS + 123);
	take_down(b);
}

/* The page came with the guest's memory, the face's state with the snapshot; the thread is another
 * and has its own count. */
static void after_a_restore_it_never_steps_back(void **state)
{
	struct bench *b = bench(), *restored = bench();
	uint8_t bytes[VMT_STEAL_SAVED];
	int size;

	(void)state;
	assert_true(enable(b, 0));
	set_waited(b, 0, 780 * MS);
	turn(b);
	size = vmt_steal_save(&b->steal.face, bytes, sizeof(bytes));
	memcpy(page(restored, 0), page(b, 0), VMT_STEAL_BYTES);
	assert_int_equal(vmt_steal_load(&restored->steal.face, bytes, (size_t)size), 0);
	set_waited(restored, 0, 3 * MS); /* smaller than any before */
	steal_go(&restored->steal);
	turn(restored);
	assert_int_equal(*page(restored, 0), 80 * MS);
	set_waited(restored, 0, 4 * MS);
	turn(restored);
	assert_int_equal(*page(restored, 0), 81 * MS);
	take_down(b);
	take_down(restored);
}

static void a_reset_forgets_the_page(void **state)
{
	struct bench *b = bench();
	uint64_t value;

	(void)state;
	assert_true(enable(b, 0));
	steal_reset(&b->steal);
	assert_true(steal_rdmsr(&b->steal, 0, VMT_MSR_KVM_STEAL, &value));
	assert_int_equal(value, 0);
	set_waited(b, 0, 900 * MS);
	turn(b);
	assert_int_equal(*page(b, 0), 0);
	take_down(b);
}

static void a_page_that_is_not_memory_is_nowhere(void **state)
{
	static const uint64_t places[] = {MEMORY_BYTES, 0xfed00000, 0xfee00000,
					  UINT64_MAX & ~UINT64_C(63)};
	struct bench *b = bench();
	uint64_t value;

	(void)state;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		assert_true(steal_wrmsr(&b->steal, 0, VMT_MSR_KVM_STEAL, places[i] | 1));
		assert_true(steal_rdmsr(&b->steal, 0, VMT_MSR_KVM_STEAL, &value));
		assert_true(value == (places[i] | 1));
		set_waited(b, 0, (800 + i) * MS);
		turn(b);
	}
	take_down(b);
}

static void other_registers_and_reserved_bits_are_refused(void **state)
{
	struct bench *b = bench();
	uint64_t value;

	(void)state;
	assert_false(steal_wrmsr(&b->steal, 0, VMT_MSR_KVM_STEAL, PAGE | 3));
	assert_false(steal_wrmsr(&b->steal, 0, VMT_MSR_KVM_STEAL - 1, PAGE | 1));
	assert_false(steal_rdmsr(&b->steal, 0, VMT_MSR_KVM_STEAL + 1, &value));
	take_down(b);
}

static void *begin_and_end(void *arg)
{
	struct bench *b = arg;

	steal_begin(&b->steal, 1);
	assert_true(b->steal.cpus[1].delay.fd >= 0);
	assert_true(enable(b, 1));
	steal_tick(&b->steal);
	steal_look(&b->steal, 1);
	steal_end(&b->steal, 1);
	assert_int_equal(b->steal.cpus[1].delay.fd, -1);
	return NULL;
}

static void a_thread_brings_its_own_count(void **state)
{
	struct bench *b = bench();
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, begin_and_end, b), 0);
	pthread_join(thread, NULL);
	assert_true(*page(b, 1) < UINT64_C(60) * 1000 * MS);
	b->run[1].immediate_exit = 0; /* it may have waited, and kicked itself */
	steal_tick(&b->steal);        /* nobody is there */
	assert_int_equal(b->run[1].immediate_exit, 0);
	take_down(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_guest_finds_its_threads_wait),
		cmocka_unit_test(only_a_thread_whose_count_has_grown_is_kicked),
		cmocka_unit_test(a_little_is_gathered),
		cmocka_unit_test(who_has_not_asked_is_left_alone),
		cmocka_unit_test(a_stop_is_not_steal),
		cmocka_unit_test(after_a_restore_it_never_steps_back),
		cmocka_unit_test(a_reset_forgets_the_page),
		cmocka_unit_test(a_page_that_is_not_memory_is_nowhere),
		cmocka_unit_test(other_registers_and_reserved_bits_are_refused),
		cmocka_unit_test(a_thread_brings_its_own_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
