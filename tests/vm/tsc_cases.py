# SPDX-License-Identifier: Apache-2.0
"""tsc_cases.py - cases of run_cases.py: the guest's TSC, its registers and its frequency."""
import pathlib
import re
import tempfile
import time

from run_guest import (HALT, KERNEL, OUT_AL, check, clock_source, linux, newc, refused, run,
                       switch_off)

MSR_TSC, MSR_TSC_ADJUST = 0x10, 0x3B
STEP = 5_000_000_000  # counts: some two seconds
GRAIN_S = 0.02
MASK = (1 << 64) - 1


def msr_module():
    """msr.ko of the kernel that is booted, or None."""
    found = [path for path in pathlib.Path(KERNEL).resolve().parents[1].glob(
        "lib/modules/*/kernel/arch/x86/kernel/msr.ko")]
    return found[0].read_bytes() if found else None


def read_msr(g, cpu, msr):
    text = g.shell(f"dd if=/dev/cpu/{cpu}/msr bs=8 count=1 iflag=skip_bytes skip={msr} 2>/dev/null"
                   " | od -An -tx8")
    return int(text, 16)


def write_msr(g, cpu, msr, value):
    octets = "".join(f"\\{byte:03o}" for byte in (value & MASK).to_bytes(8, "little"))
    g.shell(f"printf '{octets}' | dd of=/dev/cpu/{cpu}/msr bs=8 count=1 oflag=seek_bytes "
            f"seek={msr} 2>/dev/null")


def uptimes(g):
    """Of each of two CPUs, read in a row; they are two seconds apart where a page is wrong."""
    words = g.shell("for c in 0 1 0 1; do taskset -c $c cat /proc/uptime; done").split()
    return [float(word) for word in words[::2]]


class Clock:
    """A guest's time less the host's: it stays what it was."""

    def __init__(self, g):
        self.g = g
        self.least, self.most = self.read("at first")

    def read(self, when):
        before = time.monotonic()
        times = uptimes(self.g)
        after = time.monotonic()
        check(times == sorted(times), f"{when}: CPUs disagree: {times}")
        check(after - before < 1, f"{when}: {after - before:.1f} s for four readings")
        return times[-1] - after, times[0] - before

    def check(self, when):
        least, most = self.read(when)
        check(least <= self.most + GRAIN_S and most >= self.least - GRAIN_S,
              f"{when}: {least:.2f} to {most:.2f} s, was {self.least:.2f} to {self.most:.2f} s")


def a_cpu_whose_tsc_the_guest_moves_keeps_its_clock():
    module = msr_module()
    check(module, f"no msr.ko beside {KERNEL}")
    with tempfile.NamedTemporaryFile() as initrd:
        initrd.write(newc(b"msr.ko", module))
        initrd.flush()
        with linux("--cpus", "2", "--initrd", initrd.name) as g:
            g.start_shell()
            g.shell("insmod /msr.ko && echo 1 >/sys/module/msr/parameters/allow_writes")
            check(clock_source(g) == "kvm-clock", "not on kvm-clock")
            check(read_msr(g, 1, MSR_TSC_ADJUST) == 0, "TSC_ADJUST is not 0 at boot")
            clock = Clock(g)
            write_msr(g, 1, MSR_TSC_ADJUST, STEP)
            clock.check("CPU 1 ahead by its register")
            check(read_msr(g, 1, MSR_TSC_ADJUST) == STEP, "the register does not hold it")
            check(read_msr(g, 0, MSR_TSC_ADJUST) == 0, "CPU 0's register holds it, too")
            first, second = read_msr(g, 0, MSR_TSC), read_msr(g, 1, MSR_TSC)
            check(second - first > STEP, f"CPU 1 is at {second}, CPU 0 at {first}")
            write_msr(g, 0, MSR_TSC_ADJUST, STEP)
            clock.check("both ahead")
            write_msr(g, 1, MSR_TSC, first)
            clock.check("CPU 1 set to an earlier count")
            adjust = read_msr(g, 1, MSR_TSC_ADJUST)
            check(adjust != STEP, "a write of the count does not show in the register")
            write_msr(g, 1, MSR_TSC_ADJUST, 0)
            write_msr(g, 0, MSR_TSC_ADJUST, 0)
            clock.check("both back")
            warnings = g.shell("dmesg | grep -iE 'warning:|call trace|warp|skew' || true")
            check(warnings == "", f"the kernel warns: {warnings}")
            switch_off(g)


def a_portable_tsc_is_not_relied_on():
    with linux("--tsc", "portable", "--cpus", "2") as g:
        g.start_shell()
        flags = set(g.shell("grep -m1 flags /proc/cpuinfo").split())
        check("tsc" in flags, "no TSC at all")
        wrong = flags & {"tsc_deadline_timer", "constant_tsc", "nonstop_tsc"}
        check(not wrong, f"shows {wrong}")
        check(clock_source(g) == "kvm-clock", f"on {clock_source(g)}")
        before = uptimes(g)[0]
        g.shell("sleep 1")
        check(0.9 < uptimes(g)[0] - before < 3, "a second is none")
        warnings = g.shell("dmesg | grep -iE 'warning:|call trace|warp|skew' || true")
        check(warnings == "", f"the kernel warns: {warnings}")
        switch_off(g)


def a_frequency_that_this_host_cannot_give_is_refused():
    _, _, errors = run("--tsc", "1000000", code=HALT, patience=20)
    check("this host's runs at" in errors, f"no reason: {errors!r}")
    refused(3, "nothing here scales it", "--tsc", "1000000", code=HALT)
    own = re.search(r"runs at (\d+) kHz", errors)[1]
    # Its own frequency is no other.
    status, output, errors = run("--tsc", own, "--exit-port", "--serial", "none",
                                 code=b"\xb0\x15\x66\xba\xf4\x00\xee")
    check(status == 0x15 << 1 | 1, f"--tsc {own}: status {status}: {errors}")


def what_a_guest_is_not_shown_of_steal_time_it_does_not_have():
    feature = b"\xb8\x01\x00\x00\x40\x0f\xa2\xc1\xe8\x05\x24\x01"  # CPUID 0x40000001, EAX bit 5
    register = b"\xb9\x03\x4d\x56\x4b\x0f\x32\xb0\x15"  # RDMSR 0x4b564d03, then 0x15
    for steal, shown in ("kernel", 1), ("user", 1), ("none", 0):
        options = ("--steal", steal, "--exit-port", "--serial", "none")
        status, _, errors = run(*options, code=feature + OUT_AL)
        check(status == shown << 1 | 1 and not errors, f"{steal}: status {status}: {errors}")
        status, _, errors = run(*options, code=register + OUT_AL)
        if shown:
            check(status == 0x15 << 1 | 1, f"{steal}: status {status}: {errors}")
        else:
            check(status == 1 and "met a triple fault" in errors, f"{steal}: {status}: {errors}")


CASES = [
    what_a_guest_is_not_shown_of_steal_time_it_does_not_have,
    a_frequency_that_this_host_cannot_give_is_refused,
    a_portable_tsc_is_not_relied_on,
    a_cpu_whose_tsc_the_guest_moves_keeps_its_clock,
]
