/* SPDX-License-Identifier: Apache-2.0 */
/* steal_test.c - KVM's steal time: what a guest registers and finds in its entry. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include <asm/kvm_para.h>
#include <vmtime/steal.h>

enum { PLACE = 0x1040, ON = 1 };

/* A machine of two CPUs; `entry` is the memory in which CPU 0 has its entry. */
struct machine {
	struct vmt_steal face;
	struct kvm_steal_time entry;
};

_Static_assert(sizeof(struct kvm_steal_time) == VMT_STEAL_BYTES, "the kernel's layout");
_Static_assert(VMT_MSR_KVM_STEAL == MSR_KVM_STEAL_TIME, "the kernel's number");

static struct machine powered_on(void)
{
	struct machine m = {0};

	assert_int_equal(vmt_steal_init(&m.face, 2), 0);
	return m;
}

static int write_msr(struct machine *m, uint32_t cpu, uint64_t value)
{
	struct vmt_out out = {.dirty = 2};
	int result = vmt_steal_write(&m->face, 7, cpu, VMT_MSR_KVM_STEAL, value, &out);

	assert_int_equal(out.dirty, result ? 2 : value & ON);
	if (result == 0) {
		assert_int_equal(out.ready, 7);
		assert_true(out.deadline == VMT_NEVER);
	}
	return result;
}

static uint64_t read_msr(const struct machine *m, uint32_t cpu)
{
	uint64_t value;

	assert_int_equal(vmt_steal_read(&m->face, cpu, VMT_MSR_KVM_STEAL, &value), 0);
	return value;
}

static uint64_t shown(struct machine *m)
{
	vmt_steal_publish(&m->face, 0, &m->entry);
	return m->entry.steal;
}

static struct machine registered(void)
{
	struct machine m = powered_on();

	assert_int_equal(write_msr(&m, 0, PLACE | ON), 0);
	assert_int_equal(shown(&m), 0);
	return m;
}

static void the_guest_finds_what_it_waited_for(void **state)
{
	struct machine m = registered();

	(void)state;
	assert_int_equal(vmt_steal_place(&m.face, 0), PLACE);
	assert_int_equal(vmt_steal_add(&m.face, 0, 5000000000), 1);
	assert_int_equal(vmt_steal_add(&m.face, 0, 123), 1);
	assert_int_equal(shown(&m), 5000000123);
	assert_int_equal(m.entry.version & 1, 0);
	assert_int_equal(m.entry.flags, 0);
	assert_int_equal(m.entry.preempted, 0);
}

static void each_cpu_has_its_own(void **state)
{
	struct machine m = registered();
	struct kvm_steal_time other = {0};

	(void)state;
	assert_int_equal(write_msr(&m, 1, (PLACE + 64) | ON), 0);
	vmt_steal_add(&m.face, 1, 9);
	vmt_steal_publish(&m.face, 1, &other);
	assert_int_equal(other.steal, 9);
	assert_int_equal(shown(&m), 0);
	assert_int_equal(vmt_steal_place(&m.face, 1), PLACE + 64);
	assert_true(vmt_steal_place(&m.face, 2) == VMT_STEAL_NOWHERE);
}

/* Then it counts for nobody: a kernel that comes later would take all of it as new. */
static void what_is_waited_for_while_nothing_is_registered_is_not_counted(void **state)
{
	struct machine m = powered_on();

	(void)state;
	assert_true(vmt_steal_place(&m.face, 0) == VMT_STEAL_NOWHERE);
	assert_int_equal(vmt_steal_add(&m.face, 0, 1000), 0);
	assert_int_equal(write_msr(&m, 0, PLACE | ON), 0);
	assert_int_equal(shown(&m), 0);
	vmt_steal_add(&m.face, 0, 1000);
	assert_int_equal(write_msr(&m, 0, 0), 0);
	assert_int_equal(vmt_steal_add(&m.face, 0, 1000), 0);
	assert_int_equal(vmt_steal_add(&m.face, 1, 1000), 0);
	assert_int_equal(vmt_steal_add(&m.face, 2, 1000), 0);
}

static void nothing_added_is_nothing_to_publish(void **state)
{
	struct machine m = registered();

	(void)state;
	assert_int_equal(vmt_steal_add(&m.face, 0, 0), 0);
}

/* A CPU that goes offline and comes back: Linux remembers what it saw. */
static void an_entry_that_is_registered_again_goes_on(void **state)
{
	struct machine m = registered();

	(void)state;
	vmt_steal_add(&m.face, 0, 700);
	assert_int_equal(shown(&m), 700);
	assert_int_equal(write_msr(&m, 0, PLACE), 0);
	vmt_steal_add(&m.face, 0, 50);
	assert_int_equal(write_msr(&m, 0, PLACE | ON), 0);
	vmt_steal_add(&m.face, 0, 8); /* before the entry is written */
	assert_int_equal(shown(&m), 708);
}

/* As after a kexec: the next kernel's is empty. */
static void another_entry_begins_where_its_guest_has_it(void **state)
{
	struct machine m = registered();

	(void)state;
	vmt_steal_add(&m.face, 0, 700);
	shown(&m);
	memset(&m.entry, 0, sizeof(m.entry));
	assert_int_equal(write_msr(&m, 0, 0x2000 | ON), 0);
	assert_int_equal(shown(&m), 0);
}

static void what_the_guest_writes_into_its_entry_is_lost(void **state)
{
	struct machine m = registered();

	(void)state;
	vmt_steal_add(&m.face, 0, 700);
	shown(&m);
	memset(&m.entry, 0xa5, sizeof(m.entry));
	assert_int_equal(shown(&m), 700);
	assert_int_equal(m.entry.flags, 0);
	assert_int_equal(m.entry.preempted, 0);
	assert_int_equal(m.entry.version & 1, 0);
	assert_int_equal(m.entry.pad[0], 0xa5a5a5a5); /* not ours */
}

static void at_the_end_of_its_range_the_count_stays(void **state)
{
	struct machine m = powered_on();

	(void)state;
	m.entry.steal = UINT64_MAX - 5;
	m.entry.version = 0xffffffff;
	assert_int_equal(write_msr(&m, 0, PLACE | ON), 0);
	assert_true(shown(&m) == UINT64_MAX - 5);
	vmt_steal_add(&m.face, 0, 4);
	assert_true(shown(&m) == UINT64_MAX - 1);
	vmt_steal_add(&m.face, 0, 4);
	assert_true(shown(&m) == UINT64_MAX);
	vmt_steal_add(&m.face, 0, UINT64_MAX);
	assert_true(shown(&m) == UINT64_MAX);
}

static void reserved_bits_are_refused_and_change_nothing(void **state)
{
	struct machine m = registered();

	(void)state;
	vmt_steal_add(&m.face, 0, 30);
	for (int bit = 1; bit <= 5; bit++) {
		assert_int_equal(write_msr(&m, 0, 0x8000 | 1U << bit | ON), -EPERM);
		assert_int_equal(write_msr(&m, 0, 1U << bit), -EPERM);
	}
	assert_int_equal(read_msr(&m, 0), PLACE | ON);
	assert_int_equal(shown(&m), 30);
}

static void every_other_value_is_held(void **state)
{
	static const uint64_t values[] = {0, 0x40, 0x41, UINT64_MAX & ~UINT64_C(0x3e), 1};
	struct machine m = powered_on();

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		assert_int_equal(write_msr(&m, 1, values[i]), 0);
		assert_true(read_msr(&m, 1) == values[i]);
		assert_true(vmt_steal_place(&m.face, 1) ==
			    (values[i] & ON ? values[i] - ON : VMT_STEAL_NOWHERE));
	}
}

static void numbers_around_are_nobodys(void **state)
{
	struct machine m = powered_on();
	struct vmt_out out;
	uint64_t value;

	(void)state;
	for (uint32_t msr = VMT_MSR_KVM_STEAL - 4; msr < VMT_MSR_KVM_STEAL + 8; msr++) {
		const int known = msr == VMT_MSR_KVM_STEAL ? 0 : -ENOENT;

		assert_int_equal(vmt_steal_read(&m.face, 0, msr, &value), known);
		assert_int_equal(vmt_steal_write(&m.face, 0, 0, msr, PLACE, &out), known);
	}
	assert_int_equal(vmt_steal_read(&m.face, 2, VMT_MSR_KVM_STEAL, &value), -ENOENT);
	assert_int_equal(vmt_steal_write(&m.face, 0, 2, VMT_MSR_KVM_STEAL, 0, &out), -ENOENT);
}

static void whatever_the_guest_had_there_the_version_ends_even_and_new(void **state)
{
	static const uint32_t before[] = {0, 1, 2, 3, 0x7fffffff, 0xfffffffe, 0xffffffff};
	struct machine m = registered();

	(void)state;
	for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
		m.entry.version = before[i];
		shown(&m);
		assert_int_equal(m.entry.version & 1, 0);
		assert_int_not_equal(m.entry.version, before[i]);
	}
}

static void a_reset_forgets_everything(void **state)
{
	struct machine m = registered(), fresh = powered_on();

	(void)state;
	vmt_steal_add(&m.face, 0, 30);
	vmt_steal_reset(&m.face);
	assert_memory_equal(&m.face, &fresh.face, sizeof(m.face));
}

/* The page moves with the guest's memory, the count with the state. */
static void after_a_restore_the_count_goes_on_and_never_back(void **state)
{
	struct machine m = registered(), restored = powered_on();
	uint8_t bytes[VMT_STEAL_SAVED];
	int size;

	(void)state;
	vmt_steal_add(&m.face, 0, 5000);
	restored.entry.steal = shown(&m);
	vmt_steal_add(&m.face, 0, 17); /* not published yet */
	size = vmt_steal_save(&m.face, bytes, sizeof(bytes));
	assert_true(size > 0);
	assert_int_equal(vmt_steal_load(&restored.face, bytes, (size_t)size), 0);
	assert_memory_equal(&restored.face, &m.face, sizeof(m.face));
	assert_int_equal(shown(&restored), 5017);
}

static void a_state_that_no_guest_can_have_is_refused(void **state)
{
	struct machine m = registered();
	struct vmt_steal wrong[4], target, before;
	uint8_t bytes[VMT_STEAL_SAVED];

	(void)state;
	for (int i = 0; i < 4; i++)
		wrong[i] = m.face;
	wrong[0].cpus = 1;
	wrong[1].msr[1] = 0x2;
	wrong[2].ns[1] = 4;
	wrong[3].fresh[1] = 1;
	for (int i = 0; i < 4; i++) {
		int size = vmt_steal_save(&wrong[i], bytes, sizeof(bytes));

		vmt_steal_init(&target, 2);
		before = target;
		assert_int_equal(vmt_steal_load(&target, bytes, (size_t)size), -EINVAL);
		assert_memory_equal(&target, &before, sizeof(target));
	}
}

static void a_machine_has_1_to_256_cpus(void **state)
{
	struct vmt_steal s;
	uint8_t bytes[VMT_STEAL_SAVED];

	(void)state;
	assert_int_equal(vmt_steal_init(&s, 0), -EINVAL);
	assert_int_equal(vmt_steal_init(&s, VMT_STEAL_CPUS + 1), -EINVAL);
	assert_int_equal(vmt_steal_init(&s, VMT_STEAL_CPUS), 0);
	assert_true(vmt_steal_save(&s, bytes, sizeof(bytes)) > 0);
}

/* Flags lie in a page that cannot be written yet. */
static const volatile uint32_t *held_up;
static long page_size;
static uint32_t seen_odd;

static void on_fault(int number)
{
	(void)number;
	seen_odd += held_up[2] & 1;
	if (mprotect((void *)((uintptr_t)held_up + 12), (size_t)page_size, PROT_READ | PROT_WRITE) <
	    0)
		_exit(1);
}

static void a_writer_that_is_held_up_has_made_the_version_odd(void **state)
{
	const struct sigaction action = {.sa_handler = on_fault};
	struct machine m = registered();
	struct sigaction before;
	uint8_t *pages;

	(void)state;
	page_size = sysconf(_SC_PAGESIZE);
	pages = mmap(NULL, 2 * (size_t)page_size, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(pages, MAP_FAILED);
	held_up = (const uint32_t *)(void *)(pages + page_size - 12);
	assert_int_equal(mprotect(pages + page_size, (size_t)page_size, PROT_NONE), 0);
	sigaction(SIGSEGV, &action, &before);
	vmt_steal_publish(&m.face, 0, pages + page_size - 12);
	sigaction(SIGSEGV, &before, NULL);
	assert_int_equal(seen_odd, 1);
	assert_int_equal(held_up[2] & 1, 0);
	munmap(pages, 2 * (size_t)page_size);
}

enum { LINES = 200000 };
#define STEP (UINT64_C(1) << 32 | 1) /* both halves say the same */

static void *write_lines(void *arg)
{
	struct machine *m = arg;

	for (int i = 0; i < LINES; i++) {
		vmt_steal_add(&m->face, 0, STEP);
		vmt_steal_publish(&m->face, 0, &m->entry);
	}
	return NULL;
}

/* Another CPU's scheduler reads the entry, too. */
static void a_reader_beside_the_writer_never_gets_halves_of_two_counts(void **state)
{
	struct machine m = registered();
	const uint32_t *words = (const void *)&m.entry;
	uint64_t seen = 0;
	pthread_t writer;

	(void)state;
	assert_int_equal(pthread_create(&writer, NULL, write_lines, &m), 0);
	while (seen < LINES * STEP) {
		uint32_t version = __atomic_load_n(&words[2], __ATOMIC_ACQUIRE);
		uint64_t low = __atomic_load_n(&words[0], __ATOMIC_ACQUIRE);
		uint64_t high = __atomic_load_n(&words[1], __ATOMIC_ACQUIRE);

		if (version & 1 || __atomic_load_n(&words[2], __ATOMIC_ACQUIRE) != version)
			continue;
		assert_true(low == high);
		assert_true((high << 32 | low) >= seen);
		seen = high << 32 | low;
	}
	pthread_join(writer, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_guest_finds_what_it_waited_for),
		cmocka_unit_test(each_cpu_has_its_own),
		cmocka_unit_test(what_is_waited_for_while_nothing_is_registered_is_not_counted),
		cmocka_unit_test(nothing_added_is_nothing_to_publish),
		cmocka_unit_test(an_entry_that_is_registered_again_goes_on),
		cmocka_unit_test(another_entry_begins_where_its_guest_has_it),
		cmocka_unit_test(what_the_guest_writes_into_its_entry_is_lost),
		cmocka_unit_test(at_the_end_of_its_range_the_count_stays),
		cmocka_unit_test(reserved_bits_are_refused_and_change_nothing),
		cmocka_unit_test(every_other_value_is_held),
		cmocka_unit_test(numbers_around_are_nobodys),
		cmocka_unit_test(whatever_the_guest_had_there_the_version_ends_even_and_new),
		cmocka_unit_test(a_reset_forgets_everything),
		cmocka_unit_test(after_a_restore_the_count_goes_on_and_never_back),
		cmocka_unit_test(a_state_that_no_guest_can_have_is_refused),
		cmocka_unit_test(a_machine_has_1_to_256_cpus),
		cmocka_unit_test(a_writer_that_is_held_up_has_made_the_version_odd),
		cmocka_unit_test(a_reader_beside_the_writer_never_gets_halves_of_two_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
