#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the vectors against the chips written down once more, as their data sheets tell it: clock
by clock and second by second, slow and plain, sharing nothing with the library.

usage: sheet.py FILE.txt...        (the name of the file says which chip)

It is also the example of how to read the format, see README.md."""
import calendar
import copy
import datetime
import pathlib
import re
import sys

UNITS = {'': 1, 'ns': 1, 'us': 10**3, 'ms': 10**6, 's': 10**9}
NEVER = None


class Counter:
    """One counter of the 8254: count register, counting element, latches and flip-flops."""

    def __init__(self, gate):
        self.gate, self.mode, self.bcd, self.rw = gate, 3, 0, 3
        self.word, self.out, self.null = 0x36, 1, 1
        self.latch = self.status = None
        self.forget()

    def forget(self):
        self.register = self.element = None
        self.due = self.trigger = self.expired = self.strobe = False
        self.second_write = self.second_read = False
        self.low_byte = 0

    def control(self, word):
        self.forget()
        self.word, self.rw, self.bcd = word & 0x3f, word >> 4 & 3, word & 1
        self.mode = word >> 1 & 7
        if self.mode > 5:
            self.mode -= 4
        self.out = 0 if self.mode == 0 else 1
        self.latch = self.status = None
        self.null = 1

    def write(self, byte):
        if self.rw == 3 and not self.second_write:
            self.second_write, self.low_byte = True, byte
            if self.mode == 0:
                self.stop()
            return
        code = byte if self.rw == 1 else byte << 8
        if self.rw == 3:
            code, self.second_write = byte << 8 | self.low_byte, False
        if self.bcd:
            code = int('%x' % code)
        first = self.register is None
        self.register, self.null = code or (10000 if self.bcd else 65536), 1
        if self.mode == 0:
            self.stop()
        if self.mode in (0, 4) or (self.mode in (2, 3) and first):
            self.due = True

    def stop(self):
        self.out, self.element, self.due = 0, None, False

    def set_gate(self, gate):
        if gate and not self.gate and self.mode in (1, 2, 3, 5) and self.register:
            self.trigger = True
        if not gate and self.mode in (2, 3):
            self.out, self.trigger = 1, False
        self.gate = gate

    def load(self):
        self.element = self.register & ~1 if self.mode == 3 else self.register
        self.odd = self.register & 1
        self.null, self.due, self.trigger, self.expired, self.strobe = 0, False, False, False, False

    def clock(self):
        if self.due or self.trigger:
            self.load()
            self.out = 0 if self.mode in (0, 1) else 1
        elif self.element is None or (self.mode not in (1, 5) and not self.gate):
            return
        elif self.mode == 2:
            if self.element == 1:
                self.load()
                self.out = 1
            else:
                self.element -= 1
                self.out = 0 if self.element == 1 else 1
        elif self.mode == 3:
            last = 0 if self.odd and self.out else 2
            if self.element == last:
                self.out ^= 1
                self.load()
            else:
                self.element -= 2
        else:
            if self.strobe:
                self.out, self.strobe = 1, False
            self.element -= 1
            if self.element < 0:
                self.element = 9999 if self.bcd else 65535
            if self.element == 0 and not self.expired:
                self.expired = True
                self.out, self.strobe = (1, False) if self.mode in (0, 1) else (0, True)

    def over(self):
        """No clock will change OUT any more."""
        ended = self.mode not in (2, 3) and self.expired and not self.strobe
        return not self.due and not self.trigger and (self.element is None or ended)

    def shown(self):
        number = (self.element or 0) % (10000 if self.bcd else 65536)
        return int(str(number), 16) if self.bcd else number

    def latch_count(self):
        if self.latch is None:
            self.latch = self.shown()

    def latch_status(self):
        if self.status is None:
            self.status = self.out << 7 | self.null << 6 | self.word

    def read(self):
        if self.status is not None:
            status, self.status = self.status, None
            return status
        value = self.shown() if self.latch is None else self.latch
        high = self.rw == 2 or (self.rw == 3 and self.second_read)
        self.second_read = self.rw == 3 and not self.second_read
        if not self.second_read:
            self.latch = None
        return value >> 8 if high else value & 0xff


class Pit:
    hz, lines = 1193182, 3

    def __init__(self, start):
        assert start is None
        self.tick, self.port61 = 0, 0
        self.counters = [Counter(1), Counter(1), Counter(0)]

    def levels(self):
        return [c.out for c in self.counters]

    def until(self, now):
        rises = [0, 0, 0]
        last = now * self.hz // 10**9
        running = [(i, c) for i, c in enumerate(self.counters)
                   if c.due or c.trigger or c.element is not None]
        while self.tick < last:
            self.tick += 1
            for i, c in running:
                before = c.out
                c.clock()
                rises[i] += c.out > before
            if last - self.tick > 200000:
                self.skip(last, rises)
        return rises

    def skip(self, last, rises):
        """Years: a settled counter 0 alone comes round each count; the others must rest."""
        c = self.counters[0]
        if not any(x.register for x in self.counters[1:]) and c.mode in (2, 3) and not c.null:
            cycles = (last - self.tick) // c.register - 1
            rises[0] += cycles
            self.tick += cycles * c.register

    def deadline(self):
        """The next rise of OUT 0, found by trying."""
        c, at = copy.copy(self.counters[0]), self.tick
        for _ in range(0 if c.over() else 3 * 65536):
            before = c.out
            c.clock()
            at += 1
            if c.out > before:
                return -(-at * 10**9 // self.hz)
        return NEVER

    def access(self, now, verb, place, width, value):
        if verb == 'in' and place in (0x40, 0x41, 0x42):
            return self.counters[place - 0x40].read()
        if verb == 'in' and place == 0x61:
            return self.port61 | self.counters[2].out << 5 | (self.tick // 18 & 1) << 4
        if verb == 'out' and place == 0x61:
            self.port61 = value & 15
            self.counters[2].set_gate(value & 1)
        elif verb == 'out' and place == 0x43:
            self.control(value)
        elif verb == 'out':
            self.counters[place - 0x40].write(value)

    def control(self, value):
        if value >> 6 == 3:
            for i, c in enumerate(self.counters):
                if value >> 1 + i & 1:
                    if not value & 0x20:
                        c.latch_count()
                    if not value & 0x10:
                        c.latch_status()
        elif value & 0x30:
            self.counters[value >> 6].control(value)
        else:
            self.counters[value >> 6].latch_count()


class Pmtmr:
    hz, lines = 3579545, 1

    def __init__(self, start):
        self.bits, self.tick, self.status, self.enable = int(start or 24), 0, 0, 0

    def levels(self):
        return [int(self.status & self.enable != 0)]

    def until(self, now):
        before, half = self.levels()[0], 1 << self.bits - 1
        tick = now * self.hz // 10**9
        if tick // half != self.tick // half:
            self.status |= 1
        self.tick = tick
        return [int(self.levels()[0] > before)]

    def deadline(self):
        if not self.enable & 1 or self.levels()[0]:
            return NEVER
        half = 1 << self.bits - 1
        return -(-(self.tick // half + 1) * half * 10**9 // self.hz)

    def access(self, now, verb, place, width, value):
        if verb == 'button':
            self.status |= 0x100
        elif verb == 'reset':
            self.status = self.enable = 0
        elif verb == 'in':
            block = (self.status | self.enable << 16 | (self.tick % (1 << self.bits)) << 64)
            return block >> 8 * place & (1 << 8 * width) - 1
        elif verb == 'out':
            for i in range(place, place + width):
                byte = value >> 8 * (i - place) & 0xff
                if i < 2:
                    self.status &= ~(byte << 8 * i)
                elif i < 4:
                    self.enable = self.enable & ~(0xff << 8 * (i - 2)) | byte << 8 * (i - 2)


class Rtc:
    """Seconds are visited one by one; dates are the standard library's."""
    hz, lines = 32768, 1
    FIELDS = {0: 'second', 2: 'minute', 4: 'hour', 7: 'day', 8: 'month'}

    def __init__(self, start):
        self.time = datetime.datetime.fromisoformat(start or '2024-01-01T00:00:00')
        self.now, self.edge, self.divider = 0, 10**9, 0  # the next update's end; divider's origin
        self.cmos = bytearray(128)
        self.a, self.b, self.c, self.index = 0x26, 0x02, 0, 0
        self.weekday = self.time.isoweekday() % 7 + 1

    def levels(self):
        return [int(self.b & self.c & 0x70 != 0)]

    def runs(self):
        return self.a >> 4 <= 2

    def rate(self):
        rate = self.a & 15
        return 0 if not rate or not self.runs() else 32768 >> ((rate + 7 if rate < 3 else rate) - 1)

    def periods(self, now):
        return (now - self.divider) * self.rate() // 10**9

    def seconds(self):
        """Of the day that is shown."""
        return self.time.hour * 3600 + self.time.minute * 60 + self.time.second

    def next_alarm(self):
        """Seconds until the alarm's bytes are those shown, by trying each of a day; None: never."""
        alarm, begin = (self.cmos[5], self.cmos[3], self.cmos[1]), self.seconds() + 1
        hours, sixty = [self.code(h, True) for h in range(24)], [self.code(n) for n in range(60)]
        hours = [alarm[0] >= 0xc0 or alarm[0] == h for h in hours]
        minutes, seconds = [[a >= 0xc0 or a == n for n in sixty] for a in alarm[1:]]
        for at in range(begin, begin + 86400):
            if seconds[at % 60] and minutes[at // 60 % 60] and hours[at // 3600 % 24]:
                return at - begin + 1
        return None

    def code(self, number, is_hour=False):
        pm = 0
        if is_hour and not self.b & 2:
            pm, number = (0x80 if number >= 12 else 0), number % 12 or 12
        return pm | (number if self.b & 4 else int(str(number), 16))

    def number(self, code, is_hour=False):
        pm = is_hour and not self.b & 2
        value = code & 0x7f if pm else code
        value = value if self.b & 4 else int('%x' % value)
        return value % 12 + (12 if code & 0x80 else 0) if pm else value

    def until(self, now):
        """Periodic flags first, then each second."""
        before = self.levels()[0]
        rises = 0
        events = []
        if self.rate() and self.periods(now) > self.periods(self.now):
            first = -(-(self.periods(self.now) + 1) * 10**9 // self.rate()) + self.divider
            events.append((first, 0x40))
        day_ns = 86400 * 10**9
        if self.runs() and not self.b & 0x80 and now - self.edge > 3 * day_ns:
            days = (now - self.edge) // day_ns - 1  # an alarm that ever matches does so in each
            events.append((self.edge, 0x10 | (0x20 if self.next_alarm() else 0)))
            self.time += datetime.timedelta(days=days)
            self.weekday = (self.weekday - 1 + days) % 7 + 1
            self.edge += days * day_ns
        alarm = self.next_alarm() if self.runs() and self.edge <= now else None
        alarm = self.edge + (alarm - 1) * 10**9 if alarm else NEVER
        while self.runs() and self.edge <= now:
            if not self.b & 0x80:
                matched = alarm is not NEVER and self.edge == alarm
                day = self.time.date()
                self.time += datetime.timedelta(seconds=1)
                if self.time.date() != day:
                    self.weekday = self.weekday % 7 + 1
                events.append((self.edge, 0x30 if matched else 0x10))
                if matched:
                    alarm = self.edge + self.next_alarm() * 10**9
            self.edge += 10**9
        for _, flags in sorted(events):
            self.c |= flags
            rises += self.levels()[0] > before
            before = self.levels()[0]
        self.now = now
        return [rises]

    def deadline(self):
        best = NEVER
        if self.levels()[0]:
            return NEVER
        if self.b & 0x40 and self.rate():
            best = -(-(self.periods(self.now) + 1) * 10**9 // self.rate()) + self.divider
        if self.runs() and not self.b & 0x80:
            seconds = 1 if self.b & 0x10 else self.next_alarm() if self.b & 0x20 else None
            if seconds:
                edge = self.edge + (seconds - 1) * 10**9
                best = edge if best is NEVER else min(best, edge)
        return best

    def access(self, now, verb, place, width, value):
        if verb == 'reset':
            self.b, self.c = self.b & ~0x78, 0
        elif verb == 'out' and place == 0x70:
            self.index = value & 0x7f
        elif verb in ('get', 'set'):
            self.index = place
        if verb == 'get' or (verb == 'in' and place == 0x71):
            return self.read(self.index)
        if verb == 'set' or (verb == 'out' and place == 0x71):
            self.write(self.index, value)

    def read(self, i):
        if i in self.FIELDS:
            return self.code(getattr(self.time, self.FIELDS[i]), i == 4)
        if i in (6, 9, 0x32, 0x37):
            year = self.time.year
            return self.code({6: self.weekday, 9: year % 100}.get(i, year // 100))
        if i == 10:
            uip = self.runs() and not self.b & 0x80 and self.edge - self.now <= 244000 + 1984000
            return self.a | (0x80 if uip else 0)
        if i == 12:
            flags, self.c = self.c | self.levels()[0] << 7, 0
            return flags
        return {11: self.b, 13: 0x80}.get(i, self.cmos[i])

    def write(self, i, value):
        if i in self.FIELDS:
            # Bytes are written one by one: a day that the month does not have yet waits for it.
            new = {self.FIELDS[i]: self.number(value, i == 4)}
            self.replace(**new)
        elif i == 6:
            self.weekday = self.number(value)
        elif i == 9:
            self.replace(year=self.time.year // 100 * 100 + self.number(value))
        elif i in (0x32, 0x37):
            self.replace(year=self.number(value) * 100 + self.time.year % 100)
        elif i == 10:
            ran = self.runs()
            if ran and value >> 4 & 7 > 2:
                self.a = value & 0x7f
            elif not ran and value >> 4 & 7 <= 2:
                self.edge, self.divider = self.now + 5 * 10**8, self.now - 5 * 10**8
            self.a = value & 0x7f
        elif i == 11:
            self.b = value & ~0x10 if value & 0x80 else value
        elif i not in (12, 13):
            self.cmos[i] = value

    def replace(self, **new):
        date = {**dict(year=self.time.year, month=self.time.month, day=self.time.day), **new}
        last = calendar.monthrange(date['year'], date['month'])[1]
        assert date['day'] <= last, 'write the month and the year before such a day'
        self.time = self.time.replace(**new)


class Hpet:
    """Matches are found one after the other; a counter of 64 bits and three comparators."""
    hz, lines = 10**8, 3
    CAPABILITIES = 0x0098968080860000 | 0xa201

    def __init__(self, start):
        self.tick, self.counter, self.runs, self.legacy, self.status = 0, 0, 0, 0, 0
        self.timers = [{'config': 0, 'comparator': 2**64 - 1, 'period': 0, 'set': False}
                       for _ in range(3)]

    def levels(self):
        return [self.runs & t['config'] >> 2 & t['config'] >> 1 & self.status >> i
                for i, t in enumerate(self.timers)]

    @staticmethod
    def wrap(timer):
        return 2**32 if timer['config'] & 0x100 else 2**64

    def distance(self, timer):
        """Ticks from the present count to the next match, at least one."""
        wrap = self.wrap(timer)
        return (timer['comparator'] - self.counter - 1) % wrap + 1

    def until(self, now):
        rises, last = [0, 0, 0], now * self.hz // 10**9
        ticks = (last - self.tick) if self.runs else 0
        self.tick = last
        while ticks:
            step = min([ticks] + [self.distance(t) for t in self.timers])
            ticks -= step
            self.counter = (self.counter + step) % 2**64
            for i, t in enumerate(self.timers):
                if self.distance(t) == self.wrap(t) and \
                        (t['comparator'] - self.counter) % self.wrap(t) == 0:
                    ticks -= self.match(i, t, ticks, rises)
        return rises

    def match(self, i, timer, ticks, rises):
        """Answers the ticks that it skips: years of a lone edge timer."""
        level, enabled = timer['config'] & 2, timer['config'] & 4
        if level:
            rises[i] += bool(enabled and not self.status >> i & 1)
            self.status |= 1 << i
        elif enabled:
            rises[i] += 1
        if not timer['config'] & 8:
            return 0
        period, wrap = timer['period'] or self.wrap(timer), self.wrap(timer)
        timer['comparator'] = (timer['comparator'] + period) % wrap
        others = [t for t in self.timers if t is not timer]
        if level or ticks < 10**6 or any(self.distance(t) <= ticks for t in others):
            return 0
        cycles = ticks // period
        rises[i] += cycles if enabled else 0
        timer['comparator'] = (timer['comparator'] + cycles * period) % wrap
        self.counter = (self.counter + cycles * period) % 2**64
        return cycles * period

    def deadline(self):
        if not self.runs:
            return NEVER
        ticks = [self.distance(t) for i, t in enumerate(self.timers)
                 if t['config'] & 4 and not (t['config'] & 2 and self.status >> i & 1)]
        ticks = [t for t in ticks if t < 2**60]
        return -(-(self.tick + min(ticks)) * 10**9 // self.hz) if ticks else NEVER

    def access(self, now, verb, place, width, value):
        base, shift = place & ~7, place % 8 * 8
        mask = ((1 << 8 * width) - 1) << shift
        timer = self.timers[(base - 0x100) // 0x20] if 0x100 <= base < 0x160 else None
        if verb == 'in':
            return (self.register(base, timer) & mask) >> shift
        if verb == 'out':
            new = self.register(base, timer) & ~mask | value << shift & mask
            self.write(base, timer, new, value << shift & mask)

    def register(self, base, timer):
        if timer:
            return {0: timer['config'] | 0x30, 8: timer['comparator']}.get(base % 0x20, 0)
        return {0: self.CAPABILITIES, 0x10: self.runs | self.legacy << 1, 0x20: self.status,
                0xf0: self.counter}.get(base, 0)

    def write(self, base, timer, new, written):
        if base == 0x10:
            self.runs, self.legacy = new & 1, new >> 1 & 1
        elif base == 0x20:
            self.status &= ~written
        elif base == 0xf0 and not self.runs:
            self.counter = new
        elif timer and base % 0x20 == 0:
            timer['config'] = new & 0x10e
            timer['set'] = bool(new & 0x40 and new & 8)
            timer['comparator'] %= self.wrap(timer)
            if not new & 2:  # the status is for levels
                self.status &= ~(1 << [t is timer for t in self.timers].index(True))
        elif timer and base % 0x20 == 8:
            new %= self.wrap(timer)
            if not timer['config'] & 8 or timer['set']:
                timer['comparator'] = new
            timer['period'], timer['set'] = new, False


CHIPS = {'pit': Pit, 'pmtmr': Pmtmr, 'rtc': Rtc, 'hpet': Hpet}


def time_of(text, hz):
    """'3s-244us', '5c+1', 'never'."""
    if text == 'never':
        return NEVER
    total, rest = 0, text if text[0] in '+-' else '+' + text
    for sign, number, unit in re.findall(r'([+-])(\d+)([a-z]*)', rest):
        ns = -(-int(number) * 10**9 // hz) if unit == 'c' else int(number) * UNITS[unit]
        total += ns if sign == '+' else -ns
    assert ''.join(map(''.join, re.findall(r'([+-])(\d+)([a-z]*)', rest))) == rest, text
    return total


def differences(chip, words, answer, rises):
    value, level, deadline = words[4:7]
    if value != '-':
        want, _, mask = value.partition('/')
        mask = int(mask, 0) if mask else ~0
        if answer is None or (answer ^ int(want, 0)) & mask:
            yield f'value {answer if answer is None else hex(answer)}, not {value}'
    shown = ''.join(map(str, chip.levels()))
    if level != '-' and any(w not in ('.', s) for w, s in zip(level, shown, strict=True)):
        yield f'level {shown}, not {level}'
    if deadline != '-' and chip.deadline() != time_of(deadline, chip.hz):
        yield f'deadline {chip.deadline()}, not {deadline}'
    if len(words) > 7 and any(w not in ('.', str(r)) for w, r in
                              zip(words[7].split(','), rises, strict=True)):
        yield f'rises {rises}, not {words[7]}'


def replay(path):
    chip, failed, kind = None, 0, CHIPS[path.stem]
    for number, line in enumerate(path.read_text().split('\n'), 1):
        words = line.partition('#')[0].split()
        if not words or words[0] == 'sheet':
            continue
        if line.startswith('['):
            chip = kind(None)
            continue
        if words[0] == 'start':
            chip = kind(words[1])
            continue
        now = time_of(words[0], chip.hz)
        access = re.fullmatch(r'([a-z]+?)([0-9a-f]{2,3})?(?:\.(\d))?', words[1])
        verb, place, width = access.groups()
        rises, before = chip.until(now), None
        before = chip.levels()
        value = None if words[2] == '-' else int(words[2], 0)
        answer = chip.access(now, verb, int(place or '0', 16), int(width or 1), value)
        rises = [r + (a > b) for r, a, b in zip(rises, chip.levels(), before)]
        for text in differences(chip, words, answer, rises):
            failed += 1
            print(f'{path}:{number}: {text}')
    return failed


if __name__ == '__main__':
    sys.exit(any([replay(pathlib.Path(name)) for name in sys.argv[1:]]))
