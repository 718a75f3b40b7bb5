# SPDX-License-Identifier: Apache-2.0
"""hpet_cases.py - cases of run_cases.py: guests that see an HPET, count it, and tick by it."""
import re
import tempfile
import time

from qmp_cases import Qmp
from run_guest import (HALT, JIFFIES_APPEND, MINUTE_S, OUT_AL, SLACK_S, WHILE_S, TickPinMasked,
                       check, check_rate, clock_source, linux, run, switch_off, wait_until_flat)

READ_ID = b"\xa1\x00\x00\xd0\xfe"  # mov eax, [0xfed00000]
SOURCES = "/sys/devices/system/clocksource/clocksource0/available_clocksource"


def complaints(guest):
    """What the kernel has to say against the HPET, or about interrupts that nobody handled.  While
    one reading of the RTC is held (--rtc exact) the timer that stands in for its interrupts fires,
    and is told to have lost some when none was asked for."""
    return guest.shell("dmesg | grep -iE 'hpet|timer|rtc|irq' | grep -v 'Lost .* RTC interrupts' | "
                       "grep -iE 'fail|error|conflict|broken|warn|not count|disabl|unable|"
                       "nobody cared|spurious|bug|lost' || true")


def interrupts(guest, line):
    """How many interrupts of an input of the I/O APIC its CPUs have handled."""
    row = guest.shell(f"grep -E '^ *{line}:' /proc/interrupts")
    return sum(int(n) for n in re.findall(r"\s(\d+)(?=\s)", row.split(":")[1].split("IO-APIC")[0] + " "))


def ledger(qmp, source):
    ticks = {t["source"]: t for t in qmp.ask("query-vmtime")["ticks"]}[source]
    check(ticks["due"] == sum(ticks[k] for k in ("delivered", "merged", "discarded", "owed")),
          f"does not balance: {ticks}")
    return ticks


def a_guest_finds_it_and_all_clock_sources():
    with linux() as g:
        g.start_shell()
        check(clock_source(g) == "kvm-clock", f"on {clock_source(g)}")
        sources = g.shell(f"cat {SOURCES}").split()
        check([s for s in sources if s != "tsc"] == ["kvm-clock", "hpet", "acpi_pm"],
              f"its clock sources are {sources}")
        check(complaints(g) == "", f"it complains: {complaints(g)}")
        found = g.shell("dmesg | grep -i hpet")
        check("3 comparators, 64-bit 100.000000 MHz" in found, f"it found {found}")
        check("fed00000-fed003ff : PNP0103" in g.shell("cat /proc/iomem"), "no resource")
        switch_off(g)


def all_clock_sources_are_there_with_an_invariant_tsc():
    """An AMD guest with several CPUs has no tsc without that bit; with one it has."""
    for cpus, options in ("1", []), ("2", ["--invtsc", "on"]):
        with linux("--cpus", cpus, *options) as g:
            g.start_shell()
            check(g.shell("nproc") == cpus, "not all CPUs online")
            for _ in range(60):  # tsc comes when its refined calibration is over
                sources = g.shell(f"cat {SOURCES}").split()
                if "tsc" in sources:
                    break
                time.sleep(1)
            check(sorted(sources) == ["acpi_pm", "hpet", "kvm-clock", "tsc"],
                  f"with {cpus} CPUs its clock sources are {sources}")
            switch_off(g)


def in_a_minute_of_the_hpet_a_minute_passes():
    with linux("--kvm-clock", "none", append="clocksource=hpet") as g:
        g.start_shell()
        check(clock_source(g) == "hpet", f"on {clock_source(g)}")
        start = wait_until_flat(g)
        time.sleep(WHILE_S)
        check_rate("uptime", start, wait_until_flat(g), 0)
        check(complaints(g) == "", f"it complains: {complaints(g)}")
        switch_off(g)


def a_guest_that_ticks_by_it_loses_none():
    with tempfile.TemporaryDirectory() as d:
        with linux("--kvm-clock", "none", "--ticks", "catchup", "--qmp", d + "/qmp",
                   append=JIFFIES_APPEND + " iomem=relaxed") as g:
            g.start_shell()
            qmp = Qmp(d + "/qmp")
            check(clock_source(g).endswith("jiffies"), "not on jiffies")
            device = g.shell("cat /sys/devices/system/clockevents/clockevent0/current_device "
                             "/sys/devices/system/clockevents/broadcast/current_device")
            check("hpet" in device, f"it ticks by {device}")
            start = wait_until_flat(g)
            with TickPinMasked(g):
                handled, before = interrupts(g, 0), ledger(qmp, "hpet0")
            time.sleep(MINUTE_S)
            check_rate("uptime", start, wait_until_flat(g), SLACK_S)
            with TickPinMasked(g):
                handled, after = interrupts(g, 0) - handled, ledger(qmp, "hpet0")
            delivered = after["delivered"] - before["delivered"]
            check(handled > 200 * MINUTE_S, f"only {handled} ticks")
            check(abs(handled - delivered) <= 1, f"{handled} handled, {before}, {after}")
            check(after["discarded"] == before["discarded"], f"{before}, {after}")
            for _ in range(100):  # what was masked is caught up; one may be under way
                owed = ledger(qmp, "hpet0")["owed"]
                if owed <= 1:
                    break
                time.sleep(0.1)
            check(owed <= 1, f"{owed} ticks are still owed")
            switch_off(g)


def switched_off_it_is_not_there():
    for option, byte in ("on", 0x01), ("off", 0xff):
        status, _, errors = run("--hpet", option, "--exit-port", code=READ_ID + OUT_AL + HALT)
        check((status, errors) == ((byte << 1 | 1) & 0xff, ""), f"{option}: {status}: {errors}")
    with linux("--hpet", "off") as g:
        g.start_shell()
        sources = g.shell(f"cat {SOURCES}")
        check("hpet" not in sources, f"its clock sources are {sources}")
        check(g.shell("dmesg | grep -ic 'hpet.*fed00000' || true") == "0", "it found one")
        switch_off(g)


def alarms_of_the_rtc_come_though_it_has_their_line():
    with tempfile.TemporaryDirectory() as d:
        with linux("--qmp", d + "/qmp") as g:
            g.start_shell()
            qmp = Qmp(d + "/qmp")
            check("HPET_emulated\t: yes" in g.shell("cat /proc/driver/rtc"), "the RTC has its line")
            g.shell("hwclock -r")
            before = interrupts(g, 8)
            g.shell("echo +2 >/sys/class/rtc/rtc0/wakealarm")
            for _ in range(60):
                if g.shell("cat /sys/class/rtc/rtc0/wakealarm") == "":
                    break
                time.sleep(1)
            else:
                check(False, "no alarm in a minute: " + g.shell("cat /proc/driver/rtc"))
            handled, ticks = interrupts(g, 8), ledger(qmp, "hpet1")
            check(handled > before, "no interrupt of the RTC")
            check(abs(handled - ticks["delivered"]) <= 1, f"{handled} handled, {ticks}")
            check(ledger(qmp, "rtc")["delivered"] == 0, f"{ledger(qmp, 'rtc')}")
            switch_off(g)


CASES = [
    switched_off_it_is_not_there,
    a_guest_finds_it_and_all_clock_sources,
    all_clock_sources_are_there_with_an_invariant_tsc,
    in_a_minute_of_the_hpet_a_minute_passes,
    a_guest_that_ticks_by_it_loses_none,
    alarms_of_the_rtc_come_though_it_has_their_line,
]
