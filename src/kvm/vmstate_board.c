/* SPDX-License-Identifier: Apache-2.0 */
/* vmstate_board.c - what is beside the CPUs, as bytes. */
#include "kvm/vmstate_board.h"

#include <assert.h>
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/bytes.h"

enum { VERSION = 1, CHIPS = 3, HAS_PIT = 1, HAS_CLOCK = 2 };

static_assert(sizeof(struct kvm_irqchip) == 520 && sizeof(struct kvm_pit_state2) == 112,
	      "KVM's promise");

/* Of the chips' part. */
enum {
	CHIPS_AT = 0,
	PIT_AT = CHIPS * sizeof(struct kvm_irqchip),
	CLOCK_AT = PIT_AT + sizeof(struct kvm_pit_state2),
	HAS_AT = CLOCK_AT + 8,
	CHIPS_SIZE = HAS_AT + 8,
};

/* Of the lines' part. */
enum {
	WAITS_AT = 0,
	GIVEN_AT = 1,
	PULSED_AT = 8,
	TOLD_AT = PULSED_AT + VMT_SOURCES,
	SET_AT = TOLD_AT + 8,
	LINES_SIZE = SET_AT + 8,
};

/* Of the ports' part, whose serial ports come first. */
enum { SERIAL_SIZE = 32, PM1_AT = PORTS_SERIAL * SERIAL_SIZE, PORTS_SIZE = PM1_AT + 8 };

static int no_memory(struct why *why)
{
	return why_set(why, -ENOMEM, "no memory for the machine's state");
}

static int add(struct vmstate_parts *parts, uint32_t kind, const void *bytes, size_t length,
	       struct why *why)
{
	int result = vmstate_parts_add(parts, kind, VERSION, 0, bytes, (uint32_t)length);

	return result < 0 ? no_memory(why) : 0;
}

static int check(const struct vmstate_part *part, size_t size, const char *what, struct why *why)
{
	if (part->version != VERSION)
		return why_set(why, -ENOTSUP,
			       "the state of %s has version %u, which this vmtime does not know "
			       "(use a later one)",
			       what, part->version);
	return part->length == size
		       ? 0
		       : why_set(why, -EINVAL, "the state of %s is none that vmtime has written",
				 what);
}

static int refused(struct why *why, const char *what)
{
	return why_set(why, -EIO, "KVM refused %s: %s", what, strerror(errno));
}

int vmstate_chips_save(const struct vm *vm, const uint64_t *clock_ns, struct vmstate_parts *parts,
		       struct why *why)
{
	uint8_t bytes[CHIPS_SIZE] = {0};
	struct kvm_pit_state2 pit;

	for (uint32_t i = 0; i < CHIPS; i++) {
		struct kvm_irqchip chip = {.chip_id = i};

		if (ioctl(vm->fd, KVM_GET_IRQCHIP, &chip) < 0)
			return refused(why, "to tell its interrupt chips' state");
		memcpy(bytes + CHIPS_AT + i * sizeof(chip), &chip, sizeof(chip));
	}
	if (vm->kernel_pit) {
		if (ioctl(vm->fd, KVM_GET_PIT2, &pit) < 0)
			return refused(why, "to tell its PIT's state");
		memcpy(bytes + PIT_AT, &pit, sizeof(pit));
	}
	put64(bytes + CLOCK_AT, clock_ns ? *clock_ns : 0);
	put32(bytes + HAS_AT, (vm->kernel_pit ? HAS_PIT : 0U) | (clock_ns ? HAS_CLOCK : 0U));
	return add(parts, VMSTATE_CHIPS, bytes, sizeof(bytes), why);
}

int vmstate_chips_load(const struct vm *vm, const struct vmstate_part *part, uint64_t *clock_ns,
		       struct why *why)
{
	int result = check(part, CHIPS_SIZE, "the interrupt chips", why);
	struct kvm_pit_state2 pit;

	if (result < 0)
		return result;
	if (get32(part->bytes + HAS_AT) !=
	    ((vm->kernel_pit ? HAS_PIT : 0U) | (clock_ns ? HAS_CLOCK : 0U)))
		return why_set(why, -EINVAL,
			       "the state is of a machine with another --pit or --kvm-clock");
	for (uint32_t i = 0; i < CHIPS; i++) {
		struct kvm_irqchip chip;

		memcpy(&chip, part->bytes + CHIPS_AT + i * sizeof(chip), sizeof(chip));
		chip.chip_id = i;
		if (ioctl(vm->fd, KVM_SET_IRQCHIP, &chip) < 0)
			return refused(why, "its interrupt chips' state");
	}
	if (vm->kernel_pit) {
		memcpy(&pit, part->bytes + PIT_AT, sizeof(pit));
		if (ioctl(vm->fd, KVM_SET_PIT2, &pit) < 0)
			return refused(why, "its PIT's state");
	}
	if (clock_ns)
		*clock_ns = get64(part->bytes + CLOCK_AT);
	return 0;
}

int vmstate_board_save(struct chipset *c, struct vmstate_parts *parts, struct why *why)
{
	uint8_t board[VMT_BOARD_SAVED], lines[LINES_SIZE] = {0};
	int size, result;

	pthread_mutex_lock(&c->lock);
	size = vmt_board_save(&c->board, board, sizeof(board));
	lines[WAITS_AT] = c->rtc_waits;
	lines[GIVEN_AT] = c->rtc_given;
	memcpy(lines + PULSED_AT, c->pulsed, VMT_SOURCES);
	put64(lines + TOLD_AT, (uint64_t)c->rtc_told_ns);
	put64(lines + SET_AT, c->rtc_set_ns);
	pthread_mutex_unlock(&c->lock);
	if (size < 0)
		return why_set(why, size, "the board cannot be saved");
	result = add(parts, VMSTATE_BOARD, board, (size_t)size, why);
	return result < 0 ? result : add(parts, VMSTATE_LINES, lines, sizeof(lines), why);
}

/* The RTC's line is high until its register C is read, and KVM has not taken that edge yet: it is
 * in the chips' state, which has seen it rise. */
static void hold_rtc_line(struct chipset *c, bool given)
{
	enum { RTC_GSI = 8 };

	vm_irq_line(c->vm, RTC_GSI, true);
	c->high |= 1U << RTC_GSI;
	c->rtc_waits = true;
	c->rtc_given = given;
}

static void load_lines(struct chipset *c, const uint8_t *lines)
{
	bool waits = lines[WAITS_AT] && c->board.ticks[VMT_SOURCE_RTC].in_flight;

	memcpy(c->pulsed, lines + PULSED_AT, VMT_SOURCES);
	c->rtc_offset_ns = vmt_rtc_offset_ns(&c->board.rtc);
	c->rtc_told_ns = (int64_t)get64(lines + TOLD_AT);
	c->rtc_set_ns = get64(lines + SET_AT);
	if (waits && !c->rtc_waits)
		hold_rtc_line(c, lines[GIVEN_AT]);
}

/* Loaded at its own time, at which nothing is due: what has become due since is asked for when the
 * lines are connected. */
static int load_board(struct chipset *c, const struct vmstate_part *part)
{
	enum { NOW_AT = 44, LEAST = NOW_AT + 8 }; /* of the board's record: vmt_board_save() */
	struct vmt_board_out out;
	vmt_ns now;

	if (part->length < LEAST)
		return -EINVAL;
	now = get64(part->bytes + NOW_AT);
	if (now > chipset_now(c))
		return -EINVAL;
	return vmt_board_load(&c->board, now, part->bytes, part->length, &out);
}

int vmstate_board_load(struct chipset *c, const struct vm *vm, const struct vmstate_part *board,
		       const struct vmstate_part *lines, struct why *why)
{
	int result = check(lines, LINES_SIZE, "the interrupt lines", why);

	for (uint32_t i = 0; i < VMT_SOURCES && result == 0; i++)
		if (lines->bytes[PULSED_AT + i] > VM_GSIS)
			result = why_set(why, -EINVAL, "there is no interrupt line %u",
					 lines->bytes[PULSED_AT + i]);
	if (result < 0)
		return result;
	pthread_mutex_lock(&c->lock);
	result = load_board(c, board);
	pthread_mutex_unlock(&c->lock);
	if (result < 0)
		return why_set(why, -EINVAL,
			       "the board's state is damaged, or of a machine with another --pit, "
			       "--rtc, --pm-timer, --hpet or --ticks");
	chipset_connect(c, vm);
	chipset_utc(c, liveclock_get(&c->clock).clock.utc_offset_ns);
	pthread_mutex_lock(&c->lock);
	load_lines(c, lines->bytes);
	pthread_mutex_unlock(&c->lock);
	return 0;
}

static void save_serial(const struct serial *s, uint8_t *to)
{
	/* Reading it for a field that is new: 2 + 4, 1 + 1, 2, 1, 16, 2. */
	static_assert(sizeof(struct serial) == 30, "a new field is to be saved");
	put16(to, s->divisor);
	to[2] = s->ier;
	to[3] = s->lcr;
	to[4] = s->mcr;
	to[5] = s->scr;
	to[6] = s->fifo_enabled;
	to[7] = s->trigger;
	to[8] = s->thre_pending;
	to[9] = s->overrun;
	to[10] = s->modem_deltas;
	to[11] = s->rx_first;
	to[12] = s->rx_count;
	memcpy(to + 16, s->rx, SERIAL_FIFO);
}

/* What a guest can bring about, and nothing else. */
static bool load_serial(const uint8_t *from, struct serial *ret_serial)
{
	struct serial s = {
		.divisor = get16(from),
		.ier = from[2],
		.lcr = from[3],
		.mcr = from[4],
		.scr = from[5],
		.fifo_enabled = from[6],
		.trigger = from[7],
		.thre_pending = from[8],
		.overrun = from[9],
		.modem_deltas = from[10],
		.rx_first = from[11],
		.rx_count = from[12],
	};

	memcpy(s.rx, from + 16, SERIAL_FIFO);
	*ret_serial = s;
	return s.ier <= 0x0f && s.mcr <= 0x1f && s.modem_deltas <= 0x0f && s.trigger >= 1 &&
	       s.trigger <= SERIAL_FIFO && s.rx_first < SERIAL_FIFO && s.rx_count <= SERIAL_FIFO &&
	       (s.fifo_enabled || s.rx_count <= 1) && from[6] <= 1 && from[8] <= 1 && from[9] <= 1;
}

int vmstate_ports_save(struct ports *p, struct vmstate_parts *parts, struct why *why)
{
	uint8_t bytes[PORTS_SIZE] = {0};

	for (unsigned i = 0; i < PORTS_SERIAL; i++) {
		pthread_mutex_lock(&p->serial[i].lock);
		save_serial(&p->serial[i].chip, bytes + (size_t)i * SERIAL_SIZE);
		pthread_mutex_unlock(&p->serial[i].lock);
	}
	put16(bytes + PM1_AT, p->pm1_enable);
	put16(bytes + PM1_AT + 2, p->pm1_control);
	bytes[PM1_AT + 4] = p->reset_control;
	return add(parts, VMSTATE_PORTS, bytes, sizeof(bytes), why);
}

int vmstate_ports_load(struct ports *p, const struct vmstate_part *part, struct why *why)
{
	struct serial chips[PORTS_SERIAL];
	int result = check(part, PORTS_SIZE, "the serial ports", why);

	for (unsigned i = 0; i < PORTS_SERIAL && result == 0; i++)
		if (!load_serial(part->bytes + (size_t)i * SERIAL_SIZE, &chips[i]))
			result = why_set(why, -EINVAL, "the state of serial port %u is impossible",
					 i + 1);
	if (result < 0)
		return result;
	for (unsigned i = 0; i < PORTS_SERIAL; i++) {
		pthread_mutex_lock(&p->serial[i].lock);
		p->serial[i].chip = chips[i];
		pthread_mutex_unlock(&p->serial[i].lock);
	}
	p->pm1_enable = get16(part->bytes + PM1_AT);
	p->pm1_control = get16(part->bytes + PM1_AT + 2);
	p->reset_control = part->bytes[PM1_AT + 4];
	return 0;
}
