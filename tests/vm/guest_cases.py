# SPDX-License-Identifier: Apache-2.0
"""guest_cases.py VMTIME KERNEL BUSYBOX_INITRD [WORD...] - what guests read: by which way, at what
price, and what their kernels say to it.

Needs a working /dev/kvm; tests/vm/guest_test.sh runs it in the lab.  Prints a line a case:
`ok - guest: name`, `not ok - guest: name: why`.  With VMTIME_SOAK set one has eight CPUs.
"""
import json
import os
import pathlib
import subprocess
import tempfile
import time

import part
from run_guest import VMTIME, KERNEL, WORDS, check, clock_source, linux, newc, switch_off

BUILT = pathlib.Path(VMTIME).parent / "tests/vm"
STAMPS = 6
DISCIPLINE = 1e-4  # at most; the device's seconds are the host's, the guest's are steered to them


def test(*options):
    done = subprocess.run([VMTIME, "test", "--json", *options], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=400)
    check(done.returncode in (0, 1, 77), f"status {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def module(name):
    found = sorted(pathlib.Path(KERNEL).resolve().parents[1].glob(f"lib/modules/**/{name}"))
    check(found, f"no {name} beside {KERNEL}")
    return newc(name.encode(), found[0].read_bytes())


def ptp_kvm_gives_cross_time_stamps():
    """The hypervisor says its UTC at a count of the guest's TSC, and Linux what its own clocks were
    then, by our page: the distance of the two is the same each time."""
    with tempfile.TemporaryDirectory() as d:
        tool = newc(b"crosstime", (BUILT / "crosstime").read_bytes(), 0o100755)
        for name, data in ("crosstime", tool), ("module", module("ptp_kvm.ko")):
            with open(f"{d}/{name}.cpio", "wb") as file:
                file.write(data)
        with linux("--initrd", d + "/crosstime.cpio", "--initrd", d + "/module.cpio") as g:
            g.start_shell()
            check(clock_source(g) == "kvm-clock", "not on kvm-clock")
            g.shell("insmod /ptp_kvm.ko")
            check(g.shell("cat /sys/class/ptp/ptp0/clock_name") == "KVM virtual PTP", "no clock")
            g.shell(f"/crosstime /dev/ptp0 {STAMPS}")  # the first are of a CPU that translates
            before_ns = time.time_ns()
            lines = g.shell(f"/crosstime /dev/ptp0 {STAMPS}").splitlines()
            after_ns = time.time_ns()
            check_stamps([[int(word) for word in line.split()] for line in lines], before_ns,
                         after_ns)
            warnings = g.shell("dmesg | grep -iE 'warning:|call trace|ptp.*fail' || true")
            check(warnings == "", f"the kernel warns: {warnings}")
            switch_off(g)


def check_stamps(stamps, before_ns, after_ns):
    check(len(stamps) == STAMPS, f"{len(stamps)} of {STAMPS}")
    for device, realtime, _, lo, hi in stamps:
        check(lo <= realtime <= hi, f"CLOCK_REALTIME {realtime} is not in {lo} to {hi}")
        check(before_ns <= device <= after_ns,
              f"the device's {device} is not the host's {before_ns} to {after_ns}")
    check(stamps == sorted(stamps), f"out of order: {stamps}")
    passed = stamps[-1][0] - stamps[0][0]
    for name, clock in ("CLOCK_REALTIME", 1), ("CLOCK_MONOTONIC_RAW", 2):
        apart = [stamp[0] - stamp[clock] for stamp in stamps]
        spread = max(apart) - min(apart)
        print(f"# {name}: {STAMPS} cross time stamps in {passed / 1e6:.1f} ms, "
              f"{spread} ns between the least and the greatest distance", flush=True)
        check(spread <= passed * DISCIPLINE + 10, f"{name}: distances of {apart}")


def costs_of(report, stable):
    rows = [row for row in report["costs"] if row["stable"] == stable]
    check(all(row["verdict"] == "pass" for row in rows), rows)
    return {(row["path"], row.get("ordered", False)): row for row in rows}


def a_reading_has_a_price_by_each_way():
    report = test("--scenario", "costs")
    check(report["results"] == [], report["results"])
    marked, unmarked = costs_of(report, True), costs_of(report, False)
    check(len(marked) == 6 and len(unmarked) == 4, f"{len(marked)} and {len(unmarked)} ways")
    check(("page", True) in marked and ("page", True) not in unmarked, sorted(unmarked))
    check(not marked["vdso", False]["falls_back"] and unmarked["vdso", False]["falls_back"],
          "the mark does not decide what the vDSO does")
    # A system call costs several times what the vDSO does, even where all is emulated.
    check(marked["vdso", False]["cost_ps"] * 2 < unmarked["vdso", False]["cost_ps"],
          (marked["vdso", False], unmarked["vdso", False]))
    check(marked["page", False]["cost_ps"] * 2.3 <= marked["vdso", False]["cost_ps"],
          (marked["page", False], marked["vdso", False]))
    for (path, ordered), row in marked.items():
        print(f"# {path}{', ordered' if ordered else ''}: {row['cost_ps'] / 1000:.1f} ns", flush=True)


def a_guest_whose_log_complains_fails():
    """Not an error that a console shows: the observer looks for it."""
    report = test("--scenario", "boot", "--append", "tsc=unstable")
    row, = report["results"]
    check(row["verdict"] == "fail" and
          row["reason"] == "the guest's log says: 'tsc: Marking TSC unstable due to boot parameter'",
          row)
    check("realtime_error_ns" in row, "the figure is lost")


def no_step_back(report, *scenarios):
    check([row["scenario"] for row in report["results"]] == list(scenarios), report["results"])
    for row in report["results"]:
        check(row.get("backward_steps") == 0, row)


def without_the_mark_no_cpu_sees_a_step_back():
    """Then Linux keeps the CPUs' readings in order, and each of them is a system call."""
    report = test("--scenario", "steady", "--duration", "2s", "--cpus", "2", "--clocksource",
                  "kvm-clock", "--", "--counter", "monotonic")
    no_step_back(report, "steady")


def eight_cpus_see_one_clock():
    report = test("--scenario", "boot,overcommit", "--duration", "2s", "--cpus", "8",
                  "--clocksource", "kvm-clock")
    no_step_back(report, "boot", "overcommit")
    check(all(row["verdict"] != "fail" for row in report["results"]), report["results"])


CASES = [ptp_kvm_gives_cross_time_stamps, a_reading_has_a_price_by_each_way,
         a_guest_whose_log_complains_fails, without_the_mark_no_cpu_sees_a_step_back]
if os.environ.get("VMTIME_SOAK"):
    CASES.append(eight_cpus_see_one_clock)  # the lab takes 50 s


part.run("guest", map(part.named, CASES), WORDS)
