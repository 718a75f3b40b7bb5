# SPDX-License-Identifier: Apache-2.0
"""hosts_cases.py VMTIME KERNEL INITRD [WORD...] - a guest migrates between two hosts.

The hosts are two labs on a link.  Each has a TSC of its own, which is this machine's plus a number,
and a clock of its own, which is set wrong by an amount that is known here, slewed, and said to be
right within a bound.  True time is this machine's TSC: what each lab's TSC is behind it comes from
asking for a reading again and again, as an interval; so what the guest's clocks show before and after
can be compared with true time, whichever host they were read on.

The guest goes there and back twice; the cases look at what was seen.  The second host's CPUs can do
more than the first's: the guest must not see that, or there would be no way back.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

import hostclock
import part
from part import Failure, check, named

VMTIME, KERNEL, INITRD = sys.argv[1:4]
AGENT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hosts_agent.py")
NS = 10 ** 9
MS = 10 ** 6
PORT = 7001
LOOKS = 60  # for a lab's TSC: the tightest of that many round trips
READINGS = 5
SLEW_PPM = 600  # a host's, and what the guest's own clock may do to follow it
LACKING = "avx2", "rdtscp", "rdpid"  # without the last two KVM has no TSC_AUX: a register less

# Stands for QEMU in the PATH of a lab, whose CPUs then lack these features.
LESS = """#!/bin/sh
for word; do
	shift
	case $word in max,*) word=$word{lacking} ;; esac
	set -- "$@" "$word"
done
exec {qemu} "$@"
"""


class TrueTime:
    """This machine's TSC as ns, from a first reading of its clock on."""

    def __init__(self):
        before, _, self.first_ns = hostclock.read()
        raw = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        time.sleep(1)
        raw = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) - raw
        self.first = before
        self.hz = (hostclock.rdtsc() - before) * NS // raw

    def ns(self, tsc):
        return self.first_ns + (tsc - self.first) * NS // self.hz


class Lab:
    """A host; its TSC is this machine's minus `lo` to `hi`."""

    def __init__(self, number, here, there, programs=None):
        self.address = None
        self.number, self.lo, self.hi = number, 0, 2 ** 64
        path = os.environ["PATH"]
        self.process = subprocess.Popen(
            [VMTIME, "lab", "--memory", "1G", "--timeout", "4min", "--link", f"{here},{there}",
             "--", "python3", AGENT, VMTIME, KERNEL, INITRD],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PATH": f"{programs}:{path}" if programs else path})

    def send(self, what, *arguments):
        print(json.dumps({"do": what, "with": arguments}), file=self.process.stdin, flush=True)

    def hear(self):
        line = self.process.stdout.readline()
        check(line, f"host {self.number} has ended: {self.process.poll()}")
        answer = json.loads(line)
        check("is" in answer, f"host {self.number}: {answer.get('error')}")
        return answer["is"]

    def ask(self, what, *arguments):
        self.send(what, *arguments)
        return self.hear()

    def look(self, count=LOOKS):
        for _ in range(count):
            before = hostclock.rdtsc()
            tsc = self.ask("stamp")
            self.lo, self.hi = (max(self.lo, before - tsc), min(self.hi, hostclock.rdtsc() - tsc))
        check(self.lo <= self.hi, f"host {self.number}'s TSC has changed beside this one's")

    def error(self, truth, reading):
        """By how much a clock of (TSC before, after, ns) was ahead of true time: least and most."""
        before, after, ns = reading
        return ns - truth.ns(after + self.hi), ns - truth.ns(before + self.lo)

    def set_clock(self, truth, ahead_ns, bound_ns, ppm):
        """So much ahead of true time, and said to be right but for the bound."""
        lo, hi = self.error(truth, self.ask("clock"))
        self.ask("step", ahead_ns - (lo + hi) // 2)
        self.ask("state", bound_ns, ppm)

    def clock_error(self, truth):
        return self.error(truth, self.ask("clock"))

    def end(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


class Leg:
    """A migration, with all that was seen of it."""

    def __init__(self, truth, source, target):
        self.clocks = source.clock_error(truth), target.clock_error(truth)
        target.ask("start", "--on-migrate", "continue", "--incoming", f"tcp::{PORT}")
        source.look()
        target.look()
        self.before = self.guest(truth, source)
        began = time.monotonic()
        self.report = source.ask("migrate", f"tcp:169.254.77.{target.number}:{PORT}")
        check(self.report["status"] == "completed", self.report)
        self.change = target.ask("change")
        self.after = self.guest(truth, target)
        self.seconds = time.monotonic() - began
        self.bounds = source.ask("bound") + target.ask("bound")  # a little more than they were
        source.ask("finish")
        source.look()
        target.look()

    @staticmethod
    def guest(truth, lab):
        """The error of the guest's clocks (REALTIME, MONOTONIC), each as least and most."""
        errors = [[lab.error(truth, clock) for clock in reading]
                  for reading in lab.ask("readings", READINGS)]
        return [(min(e[which][0] for e in errors), max(e[which][1] for e in errors))
                for which in (0, 1)]

    def moved(self):
        """By how much each of the guest's clocks has moved against true time: least and most."""
        return [(after[0] - before[1], after[1] - before[0])
                for before, after in zip(self.before, self.after)]

    def slewed(self):
        """What slewing may have done meanwhile."""
        return int(self.seconds * SLEW_PPM * 1000)

    def figures(self):
        (lo, hi), c = self.moved()[1], self.change
        return [f"guest moved {(lo + hi) / 2 / MS:.3f} ms +- {(hi - lo) / 2 / MS:.3f}",
                f"bound {c['bound_ns'] / MS:.3f} ms", f"gap {c['gap_ns'] / MS:.1f} ms",
                f"apart {c['apart_ns'] / MS:.1f} ms",
                f"hosts ahead {self.clocks[0][0] / MS:.1f} and {self.clocks[1][0] / MS:.1f} ms",
                f"bounds {self.bounds / MS:.1f} ms"]


def write_less(folder):
    """A folder of programs, with a QEMU whose CPUs can do less."""
    name = "qemu-system-x86_64"
    with open(f"{folder}/{name}", "w") as file:
        file.write(LESS.format(lacking="".join(f",-{name}" for name in LACKING),
                               qemu=shutil.which(name)))
    os.chmod(f"{folder}/{name}", 0o755)
    return folder


class Refusal:
    """Of a guest that was started where CPUs can do more."""

    def __init__(self, source, target):
        source.ask("start")
        target.ask("start", "--on-migrate", "continue", "--incoming", f"tcp::{PORT}")
        self.report = source.ask("migrate", f"tcp:169.254.77.{target.number}:{PORT}")
        self.runs_on = len(source.ask("readings", READINGS)) == READINGS


class Journey:
    """All legs, made when first asked for; those after one that failed are not."""

    legs, failed = None, None

    @classmethod
    def leg(cls, number):
        if cls.legs is None:
            cls.legs = []
            try:
                cls.make(cls.legs)
            except Failure as failure:
                cls.failed = failure
        if number >= len(cls.legs):
            raise cls.failed
        return cls.legs[number]

    @staticmethod
    def make(legs):
        with tempfile.TemporaryDirectory() as d:
            sockets = f"{d}/left", f"{d}/right"
            one, two = labs = [Lab(1, *sockets, write_less(d)), Lab(2, *reversed(sockets))]
            try:
                truth = TrueTime()
                for lab in labs:
                    lab.look()
                one.ask("start")
                one.set_clock(truth, 20 * MS, 50 * MS, 400)
                two.set_clock(truth, -12 * MS, 30 * MS, 0)
                legs.append(Leg(truth, one, two))
                one.set_clock(truth, 20 * MS, 50 * MS, 400)
                two.set_clock(truth, -12 * MS, 30 * MS, 0)
                legs.append(Leg(truth, two, one))
                two.set_clock(truth, 5 * NS, 30 * MS, 0)
                one.set_clock(truth, 20 * MS, 50 * MS, 0)
                legs.append(Leg(truth, one, two))
                legs.append(Leg(truth, two, one))
                legs.append(Refusal(two, one))
            finally:
                for lab in labs:
                    lab.end()


def within(interval, most, slack):
    return interval[0] <= most + slack and interval[1] >= -most - slack


def stays_right(leg):
    """As far as both clocks are said to be right, and the record says so too."""
    for clock, moved in zip(("REALTIME", "MONOTONIC"), leg.moved()):
        check(within(moved, leg.bounds, 0), f"{clock} moved by {moved}, bounds {leg.bounds}")
        check(within(moved, leg.change["bound_ns"], leg.slewed()),
              f"{clock} moved by {moved}, by the record at most {leg.change['bound_ns']}")
    change = leg.change
    check(change["bounded"] and not change["apart_ns"] and change["clock"] == "tai", change)
    check(change["bound_ns"] <= leg.bounds, f"{change}, and {leg.bounds}")
    return leg.figures()


def a_guest_that_goes_there_is_as_right_as_both_clocks():
    return stays_right(Journey.leg(0))


def and_so_it_is_when_it_comes_back():
    return stays_right(Journey.leg(1))


def goes_on_by_the_network(leg, apart_ns):
    """The target's clock is wrong: that is told, and real time has passed for the guest."""
    window, change = leg.report["vmtime"]["window"], leg.change
    width = window["hi_ns"] - window["lo_ns"]
    check(abs(change["apart_ns"] - apart_ns) <= width + leg.bounds, f"{change}, not {apart_ns}")
    for clock, moved in zip(("REALTIME", "MONOTONIC"), leg.moved()):
        check(within(moved, width, leg.slewed()), f"{clock} moved by {moved}, window {window}")
        check(within(moved, change["bound_ns"], leg.slewed()),
              f"{clock} moved by {moved}, by the record at most {change['bound_ns']}")
    utc = change["after"]["utc_offset_ns"] - change["before"]["utc_offset_ns"]
    check(abs(utc - apart_ns) <= width + leg.bounds, f"UTC is not the target's: {change}")
    return leg.figures()


def a_target_that_is_five_seconds_ahead_is_found_out():
    leg = Journey.leg(2)
    check(not leg.change["negative"], leg.change)
    return goes_on_by_the_network(leg, 5 * NS)


def one_whose_clock_is_behind_is_found_out_too():
    leg = Journey.leg(3)
    check(leg.change["negative"], leg.change)
    return goes_on_by_the_network(leg, -5 * NS)


def a_guest_that_has_seen_more_does_not_go_where_cpus_can_do_less():
    """While the other one went where they can do more, and came back, twice."""
    refusal = Journey.leg(4)
    report = refusal.report
    check(report["status"] == "failed" and f"lack {LACKING[0]} (" in report["error-desc"], report)
    check(report["ram"]["transferred"] < MS, f"its memory was sent first: {report}")
    check(refusal.runs_on, report)


GROUPS = [named(case) for case in (
    a_guest_that_goes_there_is_as_right_as_both_clocks, and_so_it_is_when_it_comes_back,
    a_target_that_is_five_seconds_ahead_is_found_out, one_whose_clock_is_behind_is_found_out_too,
    a_guest_that_has_seen_more_does_not_go_where_cpus_can_do_less)]

if __name__ == "__main__":
    part.run("hosts", [sum(GROUPS, [])], sys.argv[4:])
