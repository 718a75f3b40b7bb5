# SPDX-License-Identifier: Apache-2.0
"""clock_cases.py VMTIME [WORD...] - guests beside a host whose clock is slewed, or loses its TSC.

Changes the clock of the machine that it runs on: tests/vm/clock_test.sh runs it in the lab.  Prints
a line a case: `ok - clock: name`, `not ok - clock: name: why`, with the figures in a line before.  With
VMTIME_SOAK set the host keeps to its frequency for ten times as long.
"""
import ctypes
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time

import part
from part import check

VMTIME = sys.argv[1]
WORDS = sys.argv[2:]
LONGER = 10 if os.environ.get("VMTIME_SOAK") else 1
PATIENCE_S = 120
CLOCKSOURCE = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
US, MS, S = 1000, 1000000, 1000000000


class HostClock:
    """The frequency of this machine's own clocks, put back at the end."""
    FREQUENCY, TICK = 0x0002, 0x4000  # <linux/timex.h>
    TICK_US = 10000

    def __init__(self):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.source = self.clocksource()

    def adjust(self, modes, frequency=0, tick_us=0):
        timex = bytearray(208)
        struct.pack_into("I", timex, 0, modes)
        struct.pack_into("q", timex, 16, frequency)
        struct.pack_into("q", timex, 88, tick_us)
        raw = (ctypes.c_char * len(timex)).from_buffer(timex)
        check(self.libc.adjtimex(raw) >= 0, f"adjtimex: {os.strerror(ctypes.get_errno())}")

    def ppm(self, ppm):
        """As NTP does when it knows the crystal."""
        self.adjust(self.FREQUENCY, frequency=ppm * 65536)

    def slew(self, ppm):
        """Beside that, in steps of 100 ppm."""
        self.adjust(self.TICK, tick_us=self.TICK_US + ppm // 100)

    @staticmethod
    def clocksource(name=None):
        with open(CLOCKSOURCE, "r+" if name else "r", encoding="ascii") as file:
            if name:
                file.write(name)
                return name
            return file.read().strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ppm(0)
        self.slew(0)
        if self.clocksource() != self.source:
            self.clocksource(self.source)


class Qmp:
    def __init__(self, path):
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.socket = socket.socket(socket.AF_UNIX)
                self.socket.connect(path)
                break
            except OSError:
                self.socket.close()
                check(time.monotonic() < end, "no QMP socket")
                time.sleep(0.02)
        self.socket.settimeout(PATIENCE_S)
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self.events = []
        self.ask("qmp_capabilities")

    def ask(self, command):
        self.file.write(json.dumps({"execute": command}) + "\n")
        self.file.flush()
        while "return" not in (answer := json.loads(self.file.readline())):
            if answer.get("event") == "VMTIME_CHANGE":
                self.events.append(answer["data"])
        return answer["return"]

    def phase(self):
        """Virtual time, and how late it is, ns."""
        report = self.ask("query-vmtime")
        return report["now_ns"], report.get("phase_ns")


class Reading:
    """One of the guest's against the host, ns; `late` is how far CLOCK_REALTIME is behind."""

    def __init__(self, line):
        words = line.split()
        self.number, self.host, error, self.bound = (int(words[i]) for i in (1, 2, 4, 5))
        self.late = -error


class Guest:
    """vmtime test in the background: a guest whose clocks are compared with the host's."""

    def __init__(self, folder, clocksource, seconds, *options, cpus=1, append=""):
        self.folder, self.clocksource = folder, clocksource
        command = [VMTIME, "test", "--keep", folder, "--clocksource", clocksource, "--scenario",
                   "steady", "--duration", f"{seconds}s", "--cpus", str(cpus), "--append",
                   "loglevel=5 " + append, "--json", "--", "--qmp", folder + "/qmp", *options]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True)
        try:
            self.qmp = Qmp(folder + "/qmp")
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait()

    def kept(self, name):
        with open(f"{self.folder}/vmtime-{self.clocksource}-1/{name}", encoding="ascii",
                  errors="replace") as file:
            return file.read()

    def wait_for_readings(self):
        """Until process 1 has sent some; how late virtual time was meanwhile, by its own account."""
        phases, end = [], time.monotonic() + PATIENCE_S
        while "\nS " not in self.kept("samples.txt"):
            check(time.monotonic() < end and self.process.poll() is None,
                  "no reading: " + self.kept("console.log")[-300:])
            phases.append(self.qmp.phase())
            time.sleep(0.05)
        return phases

    def watch(self, seconds):
        """For that long, and as much longer, returned, as the loop that keeps virtual time was late;
        its phase moves meanwhile, each tenth of a second."""
        begin = moved = time.monotonic()
        late_s, phase = 0, self.qmp.phase()[1]
        while time.monotonic() < begin + seconds + late_s:
            time.sleep(0.1)
            last, phase = phase, self.qmp.phase()[1]
            if phase != last:
                now = time.monotonic()
                late_s, moved = max(late_s, now - moved - 0.3), now
        return late_s

    def wait_for_loss(self):
        """Until virtual time goes on beside nothing, and that was told, which may come later."""
        end = time.monotonic() + PATIENCE_S
        while self.qmp.phase()[1] is not None or not self.qmp.events:
            check(time.monotonic() < end, "a phase, beside nothing, or no event")
            time.sleep(0.1)

    def readings(self):
        """All, when it has ended."""
        output, _ = self.process.communicate(timeout=PATIENCE_S)
        check(self.process.returncode in (0, 1), output)
        lines = self.kept("samples.txt").splitlines()
        self.check_what_it_said(lines)
        return [Reading(line) for line in lines if line.startswith("E ")]

    def check_what_it_said(self, lines):
        """Always on its clocksource, no clock stepped back on any CPU, and no warning."""
        sent = [re.match(r"S \d+ \d+ (\S+) .* k ([\d ]+) d ", line) for line in lines]
        check(any(sent), "no reading")
        for source, back in (found.groups() for found in sent if found):
            check(source == self.clocksource, f"it went to {source}")
            check(not any(map(int, back.split())), f"a clock stepped back: {back}")
        warnings = re.findall(r"(?i).*(?:warning|call trace|unstable|skew|watchdog).*",
                              self.kept("console.log"))
        # The lab took its CPU away in the middle of a comparison, and it was told.
        warnings = [line for line in warnings if "Long readout interval" not in line]
        check(not warnings, f"its kernel says {warnings}")


def between(readings, begin, end):
    """Those of a stretch of the host's CLOCK_MONOTONIC, s."""
    chosen = [r for r in readings if begin * S <= r.host <= end * S]
    check(len(chosen) >= 5, f"{len(chosen)} readings in {end - begin:.1f} s")
    return sorted(chosen, key=lambda r: r.host)


def ends(chosen):
    """The tightest reading of the first third, and of the last."""
    third = len(chosen) // 3
    return (min(chosen[:third], key=lambda r: r.bound), min(chosen[-third:], key=lambda r: r.bound))


def falls_behind(chosen, us, plus_minus):
    """us a second; the figure as text."""
    first, last = ends(chosen)
    seconds = (last.host - first.host) / S
    rate = (last.late - first.late) / seconds / US
    bound = (last.bound + first.bound) / seconds / US
    check(abs(rate - us) <= plus_minus + bound,
          f"it falls behind by {rate:.2f} us +- {bound:.2f} us a second, not {us} us")
    return f"{rate:.2f} us/s"


def stays(chosen, limit_ns):
    """Within the limit and both brackets of where the first tight one is; the worst as text."""
    first = ends(chosen)[0]
    ns, bound = max(((r.late - first.late, r.bound + first.bound) for r in chosen),
                    key=lambda pair: abs(pair[0]) - pair[1])
    check(abs(ns) <= limit_ns + bound, f"{ns} ns +- {bound} ns from where it was")
    return f"{ns} ns +- {bound} ns"


def never_steps(chosen, ppm):
    for a, b in zip(chosen, chosen[1:]):
        allowed = (b.host - a.host) * ppm / 1e6 + a.bound + b.bound
        check(abs(b.late - a.late) <= allowed,
              f"{b.late - a.late} ns from one reading to the next, {allowed:.0f} ns allowed")


def check_phases(phases):
    """(now, late), ns, from power-on on: what 80 ppm make until the guest has the announced frequency,
    and longer where the loop, which also answers here, did not get its turn; gone in 3 s."""
    check(len(phases) >= 4 and phases[0][0] < 3 * S, f"heard of it late: {phases[:3]}")
    waited = max(b[0] - a[0] for a, b in zip(phases, phases[1:]))
    worst = max(abs(late) for _, late in phases)
    check(worst <= 20 * US + waited * 80e-6, f"{worst} ns late, {waited} ns without a turn")
    late = [now for now, late in phases if abs(late) > 1 * US]
    check(not late or late[-1] - late[0] <= 3 * S, f"more than 1 us late from {late[:1]} to {late[-1:]}")
    return worst


def check_loss(guest, readings):
    """No TSC any more: one event, one line, and nobody sees a step."""
    event, *more = guest.qmp.events
    check(not more and event["kind"] == "counter", f"events: {guest.qmp.events}")
    step = event["after"]["now_ns"] - event["before"]["now_ns"]
    check(0 <= step <= event["bound_ns"], event)
    said = guest.kept("vmm.log").splitlines()
    check(len(said) == 1 and "no longer relies on its TSC" in said[0], said)
    # The host's two counters are known to its kernel to some 100 ppm, and 100 ppm were made up.
    never_steps(readings, 1000)


def a_guest_follows_its_hosts_seconds():
    """The host at +80 ppm; then 1000 ppm faster for a while; then without its TSC."""
    steady, slewed, resting, after = 5 * LONGER, 5, 3, 4
    with HostClock() as host, tempfile.TemporaryDirectory() as d:
        host.ppm(80)
        # 8 s more, for a busy machine is late to see that its TSC is gone.
        with Guest(d, "kvm-clock", steady + slewed + resting + after + 8, cpus=2) as g:
            worst = check_phases(g.wait_for_readings())
            begin = time.monotonic()
            time.sleep(steady)
            host.slew(1000)
            slew = time.monotonic()
            slew_late = g.watch(slewed)
            host.slew(0)
            rest = time.monotonic()
            rest_late = g.watch(resting)
            asked, told = time.monotonic(), g.qmp.phase()[1]
            host.clocksource("hpet")
            lost = time.monotonic()
            g.wait_for_loss()
            known = time.monotonic()
            time.sleep(after)
            end = time.monotonic()
            readings = g.readings()
        held = between(readings, begin, slew)
        figures = [f"{worst} ns at boot", stays(held, 200),
                   falls_behind(between(readings, slew + 1.2 + slew_late, rest), 900, 5)]
        recovering = between(readings, rest + 1.2 + rest_late, lost)
        figures.append(falls_behind(recovering, -100, 5))
        # The rest is known; it is told as of up to a tenth of a second ago, by another thread.
        nearest = min(recovering, key=lambda r: abs(r.host - asked * S))
        late = nearest.late - ends(held)[0].late
        check(abs(late - told) < 150 * US, f"{late} ns late, and {told} ns told")
        check_loss(g, between(readings, lost - 1, end))
        figures.append(falls_behind(between(readings, known + 1.5, end), 0, 10))
        return figures


def on_the_kernels_kvm_clock_it_does_not():
    seconds = 4 * LONGER
    with HostClock() as host, tempfile.TemporaryDirectory() as d:
        host.ppm(80)
        with Guest(d, "kvm-clock", seconds, "--kvm-clock", "kernel") as g:
            g.wait_for_readings()
            begin = time.monotonic()
            return [falls_behind(between(g.readings(), begin, begin + seconds), 80, 1)]


def a_guest_on_tsc_keeps_it():
    """Its watchdog compares it with kvm-clock, which follows the host."""
    seconds = 10 * LONGER
    with HostClock() as host, tempfile.TemporaryDirectory() as d:
        host.ppm(80)
        with Guest(d, "tsc", seconds, "--invtsc", "off") as g:
            g.wait_for_readings()
            begin = time.monotonic()
            time.sleep(seconds / 2)
            host.ppm(500)
            readings = between(g.readings(), begin, begin + seconds / 2)
    return [falls_behind(readings, 80, 1)]


CASES = [a_guest_follows_its_hosts_seconds, on_the_kernels_kvm_clock_it_does_not,
         a_guest_on_tsc_keeps_it]


part.run("clock", map(part.named, CASES), WORDS)
