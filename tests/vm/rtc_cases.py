# SPDX-License-Identifier: Apache-2.0
"""rtc_cases.py - cases of run_cases.py: Debian's own tools at the RTC of a guest, whose interrupts
are its own, or the HPET's that stands in for it."""
import os
import re
import shutil
import subprocess
import tempfile

from run_guest import check, linux, switch_off


def tools(cpio, *names):
    """An initrd of programs of this machine with the libraries that they need; those that are
    there."""
    there = [path for path in (shutil.which(n, path="/usr/sbin:/sbin:/usr/bin:/bin") for n in names)
             if path]
    with tempfile.TemporaryDirectory() as d:
        for program in there:
            listed = subprocess.run(["ldd", program], stdout=subprocess.PIPE, text=True, check=True)
            for path in re.findall(r"(/\S+) \(0x", listed.stdout):
                os.makedirs(d + os.path.dirname(path), exist_ok=True)
                shutil.copy(path, d + path)
            os.makedirs(d + "/debian", exist_ok=True)
            shutil.copy(program, d + "/debian/")
        with open(cpio, "wb") as out:
            files = subprocess.run("find . | cpio --quiet -R 0:0 -H newc -o", shell=True, cwd=d,
                                   stdout=subprocess.PIPE, check=True).stdout
            out.write(files)
    return {os.path.basename(path) for path in there}


def debians_tools_read_it_and_are_woken_by_it():
    """Linux makes update and periodic interrupts of alarms and its own timers since 2.6.38: the
    chip's alarm is what these tools need."""
    with tempfile.TemporaryDirectory() as d:
        there = tools(d + "/tools.cpio", "hwclock", "rtcwake")
        check("rtcwake" in there, "no rtcwake here")
        for hpet in "off", "on":
            with linux("--hpet", hpet, "--initrd", d + "/tools.cpio") as g:
                g.start_shell()
                the_tools_work(g, "hwclock" in there)
                switch_off(g)


def the_tools_work(g, has_hwclock):
    before = interrupts_of_rtc(g)
    said = g.shell("/debian/rtcwake -d rtc0 -m on -s 2 2>&1; echo status $?")
    check("status 0" in said, f"rtcwake: {said}")
    check(interrupts_of_rtc(g) > before, "no interrupt of the RTC")
    if not has_hwclock:
        return
    before = interrupts_of_rtc(g)
    said = g.shell("/debian/hwclock -r --verbose 2>&1; echo status $?")
    check(re.search(r"^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d+\+00:00", said, re.M) and
          "status 0" in said, f"hwclock -r: {said}")
    check("got clock tick" in said and "interrupt" not in said.replace("interrupts", ""),
          f"it did not wait for the update interrupt: {said}")
    check(interrupts_of_rtc(g) > before, "no update interrupt of the RTC")
    said = g.shell("/debian/hwclock --test --systohc --verbose 2>&1; echo status $?")
    check("status 0" in said, f"hwclock --test: {said}")


def interrupts_of_rtc(guest):
    row = guest.shell("grep rtc0 /proc/interrupts")
    return sum(int(n) for n in row.split(":")[1].split("IO-APIC")[0].split())


CASES = [debians_tools_read_it_and_are_woken_by_it]
