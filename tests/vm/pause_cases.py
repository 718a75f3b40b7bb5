# SPDX-License-Identifier: Apache-2.0
"""pause_cases.py - cases of run_cases.py: a guest is stopped and goes on, by each policy."""
import select
import tempfile
import time

from qmp_cases import Qmp, ledgers, schema_is_kept
from run_guest import (HALT, Guest, Image, check, clock_source, linux, out_byte, switch_off)

GAP_S = 2
GRAIN_S = 0.05


class Reading:
    """A guest's uptime less the host's clock, as the least and the most that it can be."""

    def __init__(self, g):
        before = time.monotonic()
        uptime = float(g.shell("cat /proc/uptime").split()[0])
        self.uptime = uptime - time.monotonic(), uptime - before


def stood_still(g, qmp, watcher, seconds):
    """Stops the guest for so long; the change that is told of it."""
    check(qmp.ask("stop") == {} and qmp.ask("stop") == {}, "not stopped")
    check(qmp.ask("query-status") == {"running": False, "singlestep": False, "status": "paused"},
          "it does not say that it is paused")
    stopped = qmp.ask("query-vmtime")
    check(stopped["state"] == "paused", stopped)
    time.sleep(seconds)
    check(qmp.ask("query-vmtime")["now_ns"] == stopped["now_ns"], "time goes on")
    check(qmp.ask("cont") == {} and qmp.ask("cont") == {}, "it does not go on")
    check(qmp.ask("query-status")["running"], "it does not run")
    schema_is_kept(stopped)
    check(watcher.event("STOP") is None and watcher.event("RESUME") is None, "data with an event")
    change = watcher.event("VMTIME_CHANGE")
    check(change["kind"] == "pause" and change["before"]["now_ns"] == stopped["now_ns"], change)
    check(seconds <= change["gap_ns"] / 1e9 < seconds + 30, change)
    running = qmp.ask("query-vmtime")
    schema_is_kept(running)
    check(running["last_change"] == change and running["state"] == "running", running)
    check(running["now_ns"] > change["after"]["now_ns"], "time does not go on")
    ledgers(running)
    return change


def the_gap_is_seen(policy, change, before, after):
    gap_s = change["gap_ns"] / 1e9
    moved = change["after"]["now_ns"] - change["before"]["now_ns"]
    check(change["policy"] == policy, change)
    if policy == "continue":
        check(0 <= moved - change["gap_ns"] <= 1, change)  # of two roundings
    else:
        check(moved == 0, change)
    least, most = (b - a for b, a in zip(after.uptime, reversed(before.uptime)))
    wanted = 0 if policy == "continue" else -gap_s
    check(least - GRAIN_S <= wanted <= most + GRAIN_S,
          f"{policy} over {gap_s:.2f} s: {least:.2f} to {most:.2f} s beside the host")


def warnings(g):
    return g.shell("dmesg | grep -iE 'lockup|stall|call trace|warning:|unstable|skew' || true")


def interrupts_go_on(g):
    """Each CPU's timer ticks, and one that sleeps wakes."""
    count = "grep LOC: /proc/interrupts"
    before = g.shell(count).split()
    g.shell("for c in 0 1; do taskset -c $c sleep 0.3; done")
    after = g.shell(count).split()
    for a, b in zip(before[1:], after[1:]):
        check(not a.isdigit() or int(b) > int(a), f"a timer is dead: {before}, then {after}")


def a_pause(policy, source, *options, append="", cpus=2):
    with tempfile.TemporaryDirectory() as d:
        with linux("--qmp", d + "/qmp", "--cpus", str(cpus), "--on-pause", policy, *options,
                   append=append) as g:
            qmp, watcher = Qmp(d + "/qmp"), Qmp(d + "/qmp")
            g.start_shell()
            check(clock_source(g) == source, f"on {clock_source(g)}, not {source}")
            usual = warnings(g)
            before = Reading(g)
            g.shell("(sleep 1; echo 1 >/tmp/slept) &")
            change = stood_still(g, qmp, watcher, GAP_S)
            after = Reading(g)
            the_gap_is_seen(policy, change, before, after)
            g.shell("for i in 1 2 3 4 5 6 7 8; do [ -e /tmp/slept ] || sleep 0.5; done; "
                    "cat /tmp/slept")
            if cpus == 2:
                interrupts_go_on(g)
            check(warnings(g) == usual, f"the kernel warns: {warnings(g)}")
            switch_off(g)


def kvm_clock_goes_on_over_a_pause():
    a_pause("continue", "kvm-clock")


def kvm_clock_and_deadline_timers_stand_still():
    a_pause("freeze", "kvm-clock")


def lapic_timers_without_a_deadline_stand_still():
    a_pause("freeze", "kvm-clock", "--tsc", "portable")


def periodic_lapic_timers_stand_still():
    a_pause("freeze", "kvm-clock", "--tsc", "portable", append="nohz=off highres=off")


def the_kernels_own_clock_and_pit_stand_still():
    a_pause("freeze", "kvm-clock", "--kvm-clock", "kernel", "--pit", "kernel", cpus=1)


def a_stopped_machine_ends_in_order():
    with tempfile.TemporaryDirectory() as d, Image(HALT) as kernel:
        for how in ("quit", "SIGTERM"):
            with Guest("--kernel", kernel, "--qmp", d + "/" + how, "--cpus", "2") as g:
                qmp = Qmp(d + "/" + how)
                qmp.ask("stop")
                if how == "quit":
                    qmp.ask("quit")
                else:
                    g.process.terminate()
                check(g.status()[0] == (0 if how == "quit" else 143), f"{how} ends it badly")


def a_stopped_machine_is_reset_and_still_stands():
    code = out_byte(0x3f8, ord("A")) + HALT
    with tempfile.TemporaryDirectory() as d, Image(code) as kernel:
        with Guest("--kernel", kernel, "--qmp", d + "/qmp", "--cpus", "2") as g:
            qmp, watcher = Qmp(d + "/qmp"), Qmp(d + "/qmp")
            g.expect(b"A")
            qmp.ask("stop")
            stopped = qmp.ask("query-vmtime")["now_ns"]
            check(qmp.ask("system_reset") == {} and watcher.event("RESET"), "not reset")
            check(qmp.ask("query-status")["status"] == "paused", "it runs")
            check(not select.select([g.from_guest], [], [], 0.5)[0], "it has begun")
            check(qmp.ask("query-vmtime")["now_ns"] == stopped, "its time goes on")
            check(qmp.ask("cont") == {}, "it does not go on")
            g.expect(b"A")
            check(qmp.ask("query-vmtime")["now_ns"] > stopped, "its time stands")
            qmp.ask("quit")
            check(g.status()[0] == 0, "it did not quit")


CASES = [
    a_stopped_machine_is_reset_and_still_stands,
    a_stopped_machine_ends_in_order,
    kvm_clock_goes_on_over_a_pause,
    kvm_clock_and_deadline_timers_stand_still,
    lapic_timers_without_a_deadline_stand_still,
    periodic_lapic_timers_stand_still,
    the_kernels_own_clock_and_pit_stand_still,
]
