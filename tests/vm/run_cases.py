# SPDX-License-Identifier: Apache-2.0
"""run_cases.py VMTIME KERNEL BUSYBOX_INITRD [WORD...] - vmtime run, told by its guests.

Needs a working /dev/kvm; tests/vm/run_test.sh runs it in the lab.  Prints a line a case:
`ok - run: name`, `not ok - run: name: why`.
"""
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time

import hpet_cases
import migrate_cases
import part
import pause_cases
import progress_cases
import qmp_cases
import rtc_cases
import snapshot_cases
import tsc_cases
import tunnel_cases
from part import Failure, check
from run_guest import (VMTIME, KERNEL, BUSYBOX, WORDS, SOME, JIFFIES, JIFFIES_APPEND, MINUTE_S,
                       WHILE_S, SLACK_S, Guest, Reading, TickPinMasked, linux, check_rate,
                       wait_until_flat, clock_source, switch_off, out_byte, HALT, TRIPLE_FAULT,
                       in_byte, OUT_AL, WAIT_FOR_INPUT, connect, leave_stale_socket, send_module,
                       send_bytes, Image, newc, run, refused)


def shell_on_two_cpus_switches_off_with_0():
    with linux("--cpus", "2") as g:
        g.start_shell()
        check(g.shell("nproc") == "2", "not two CPUs online")
        check(g.shell("cat /sys/devices/system/clocksource/clocksource0/current_clocksource")
              == "kvm-clock", "not on kvm-clock")
        warnings = g.shell("dmesg | grep -iE 'warning:|consistency|call trace|bug:' || true")
        check(warnings == "", f"the kernel warns: {warnings}")
        uart = g.shell("dmesg | grep 'ttyS0 at'")
        check("16550A" in uart, f"the serial port is not found as a 16550A: {uart}")
        long = "x" * 600  # more than the FIFO holds, typed at once
        check(g.shell(f"echo {long} | tr -d '\\n' | wc -c") == "600", "typed bytes were lost")
        g.send("poweroff -f\n")
        status, errors = g.status()
        check((status, errors) == (0, ""), f"status {status}: {errors}")


def reboot_boots_again():
    with linux("--cpus", "2") as g:
        g.start_shell()
        first = g.shell("cat /proc/sys/kernel/random/boot_id")
        g.shell("touch /tmp/was-here")
        g.send("reboot -f\n")
        g.start_shell()
        check(g.shell("ls /tmp") == "", "the memory was not emptied")
        check(g.shell("cat /proc/sys/kernel/random/boot_id") != first, "the same boot goes on")
        check(g.shell("nproc") == "2", "not two CPUs online again")
        g.send("poweroff -f\n")
        check(g.status()[0] == 0, "did not switch off after a reset")


def eight_cpus_come_online():
    with linux("--cpus", "8") as g:
        g.start_shell()
        check(g.shell("nproc") == "8", "not eight CPUs online")
        g.send("poweroff -f\n")
        check(g.status()[0] == 0, "did not switch off")


def all_that_a_machine_may_have_is_found():
    with tempfile.TemporaryDirectory() as d:
        with open(d + "/second.cpio", "wb") as f:
            f.write(newc(b"second", b"from the second initrd"))
        with linux("--memory", "4G", "--serial", "stdio", "--serial", f"file:{d}/ttyS1",
                   "--initrd", d + "/second.cpio", "--env", "MARK=two words") as g:
            g.start_shell()
            kib = int(g.shell("grep MemTotal /proc/meminfo").split()[1])
            check(3.8 < kib / (1 << 20) < 4, f"{kib} KiB of memory")
            check(g.shell("cat /second") == "from the second initrd", "no second initrd")
            check(g.shell("echo $MARK") == "two words", "--env did not reach init")
            uart = g.shell("dmesg | grep 'ttyS1 at'")
            check("0x2f8 (irq = 3" in uart, f"ttyS1 is {uart}")
            # More than its FIFO holds, so that its interrupt has to come.
            g.shell("for i in 1 2 3 4 5; do echo 0123456789abcdef; done >/dev/ttyS1")
            switch_off(g)
            with open(d + "/ttyS1", "rb") as f:
                got = f.read()
            check(got == b"0123456789abcdef\r\n" * 5, f"ttyS1 sent {got!r}")


def what_is_switched_off_is_not_there():
    off = "--rtc", "none", "--pm-timer", "off", "--pit", "none", "--hpet", "off"
    for port in 0x40, 0x61, 0x71, 0x608:
        status, _, errors = run(*off, "--exit-port", code=in_byte(port) + OUT_AL + HALT)
        check((status, errors) == (255, ""), f"port {port:#x}: status {status}: {errors}")
    with linux(*off) as g:
        g.start_shell()
        sources = g.shell("cat /sys/devices/system/clocksource/clocksource0/available_clocksource")
        check("acpi_pm" not in sources, f"its clock sources are {sources}")
        check(g.shell("ls /dev | grep -c rtc || true") == "0", "it has an RTC")
        switch_off(g)


def no_reading_of_the_rtc_waits_once_linux_runs():
    with linux("--rtc", "exact") as g:
        g.start_shell()
        began = time.monotonic()
        g.shell("n=0; while [ $n -lt 100 ]; do cat /sys/class/rtc/rtc0/since_epoch; n=$((n + 1)); "
                "done >/dev/null")
        took = time.monotonic() - began
        # each of them held: half a second and more
        check(took < 50, f"100 readings took {took:.1f} s")
        switch_off(g)


def multiboot_modules_come_in_order():
    with tempfile.NamedTemporaryFile() as module:
        module.write(b"the module")
        module.flush()
        status, output, errors = run("--env", "A=1", "--env", "B=two words", "--initrd",
                                     module.name, "--exit-port",
                                     code=send_module(0, 16) + send_module(1, 10) +
                                     out_byte(0xf4, 0) + HALT)
        check((status, errors) == (1, ""), f"status {status}: {errors}")
        check(output == b"A=1\nB=two words\nthe module", f"modules: {output!r}")


def read_date(guest):
    """The guest's whole second, between two readings of the host's clock."""
    before = time.monotonic()
    return before, int(guest.shell("date +%s")), time.monotonic()


def a_minute_passes(guest, slack, seconds=MINUTE_S):
    start = wait_until_flat(guest)
    date_start = read_date(guest)
    time.sleep(seconds)
    date_end = read_date(guest)
    least = date_end[0] - date_start[2] - 1 - slack
    most = date_end[2] - date_start[0] + 1 + slack
    most += start.owed if slack else 0  # as check_rate()
    date = date_end[1] - date_start[1]
    check(least < date < most, f"date went on by {date} s in {least:.2f} to {most:.2f} s")
    check_rate("uptime", start, wait_until_flat(guest), slack)


def in_a_minute_of_ticks_a_minute_passes():
    with linux(*JIFFIES, "--verbose", append=JIFFIES_APPEND + " iomem=relaxed") as g:
        g.start_shell()
        check(clock_source(g).endswith("jiffies"), "not on jiffies")
        a_minute_passes(g, SLACK_S)
        a_masked_pin_is_caught_up(g)
        errors = switch_off(g)
        ledger = re.search(r"ticks of the PIT: .*, (\d+) discarded", errors)
        check(ledger and ledger[1] == "0", f"ledger: {errors}")


def in_a_minute_of_the_kernels_ticks_too():
    with linux("--kvm-clock", "none", "--pit", "kernel", "--ticks", "catchup", "--hpet", "off",
               append=JIFFIES_APPEND) as g:
        g.start_shell()
        check(clock_source(g).endswith("jiffies"), "not on jiffies")
        a_minute_passes(g, SLACK_S)
        switch_off(g)


def without_an_io_apic_ticks_come_by_the_pic():
    """Such a Linux switches its local APIC off and on while its timer ticks."""
    for options in ("--hpet", "off"), ("--hpet", "on"):
        with linux(*options, append="noapic nolapic_timer") as g:
            g.start_shell()

            def handled():
                return int(g.shell("grep 'XT-PIC *timer' /proc/interrupts").split()[1])
            before = handled()
            g.shell("sleep 1")
            check(handled() > before, f"no ticks in a second, {before} before")
            switch_off(g)


def in_a_minute_of_the_pm_timer_too():
    with linux("--kvm-clock", "none", "--cpus", "2", append="clocksource=acpi_pm") as g:
        g.start_shell()
        check(clock_source(g) == "acpi_pm", "not on acpi_pm")
        check(g.shell("dmesg | grep -c kvm-clock || true") == "0", "it found kvm-clock")
        check("tsc_early_khz=" in g.shell("cat /proc/cmdline"), "no hint of the frequency")
        a_minute_passes(g, 0, WHILE_S)
        switch_off(g)


def a_masked_pin_is_caught_up(g):
    before = Reading(g)
    with TickPinMasked(g):
        first = Reading(g)
        time.sleep(3 * SLACK_S)  # so that losing them is seen
        second = Reading(g)
    check(second.guest - first.guest < 0.1,
          f"{second.guest - first.guest:.2f} s passed while masked")
    check_rate("with the seconds that were masked", before, wait_until_flat(g))


def the_exit_port_gives_the_status():
    status, _, errors = run("--exit-port", code=out_byte(0xf4, 5) + HALT)
    check((status, errors) == (11, ""), f"status {status}: {errors}")


def without_the_option_there_is_no_exit_port():
    status, _, errors = run(code=out_byte(0xf4, 5) + out_byte(0x605, 0x34) + HALT)
    check((status, errors) == (0, ""), f"status {status}: {errors}")


def the_pm_timer_overflows_into_the_sci():
    """Its top bit changes after 2.3 s; the PIC then has a request of IRQ 9, which without the enable
    never comes."""
    request_of_9 = out_byte(0xa0, 0x0a) + b"\xec\xa8\x02\x74\xfb"  # in al, dx; test al, 2; jz
    status, _, errors = run("--exit-port", code=out_byte(0x602, 1) + request_of_9 +
                            in_byte(0x600) + OUT_AL + HALT)
    check((status, errors) == (1 << 1 | 1, ""), f"PM1 status {status >> 1:#x}: {errors}")


def protection_keys_start_as_linux_sets_them():
    code = (b"\xb8\x07\x00\x00\x00\x31\xc9\x0f\xa2"  # cpuid 7
            b"\xf6\xc1\x08\xb0\x54\x74\x10"  # without PKU al = 0x54
            b"\x0f\x20\xe0\x0d\x00\x00\x44\x00\x0f\x22\xe0"  # cr4: PKE, OSXSAVE
            b"\x31\xc9\x0f\x01\xee")  # rdpkru
    status, _, errors = run("--exit-port", code=code + OUT_AL + HALT)
    check((status, errors) == (0x54 << 1 | 1, ""), f"status {status}: {errors}")


def a_triple_fault_ends_with_1_and_a_line():
    refused(1, "triple fault", code=TRIPLE_FAULT)
    status, _, errors = run("--verbose", code=TRIPLE_FAULT)
    check(status == 1 and "rip" in errors, f"no registers: {errors}")


def all_output_reaches_a_file():
    with tempfile.TemporaryDirectory() as d:
        path = d + "/console"
        status, _, errors = run("--serial", "file:" + path, "--exit-port",
                                code=send_bytes(SOME) + out_byte(0xf4, 0) + HALT)
        check((status, errors) == (1, ""), f"status {status}: {errors}")
        size = os.path.getsize(path)
        check(size == SOME, f"{size} bytes of {SOME}")


def a_full_disk_is_told():
    code = send_bytes(10) + out_byte(0x605, 0x34) + HALT
    refused(3, "No space left", "--serial", "file:/dev/full", code=code)


def a_socket_gives_all_that_its_reader_takes():
    with tempfile.TemporaryDirectory() as d, Image(
            WAIT_FOR_INPUT + send_bytes(SOME) + out_byte(0x605, 0x34) + HALT) as kernel:
        path = d + "/console"
        with Guest("--kernel", kernel, "--serial", "unix:" + path) as g:
            s = connect(path)
            s.send(b"x")
            check(os.stat(path).st_mode & 0o777 == 0o600, "the socket is open to others")
            total = 0
            while data := s.recv(65536):
                total += len(data)
            status, errors = g.status()
            check((status, errors) == (0, ""), f"status {status}: {errors}")
            check(total == SOME, f"{total} bytes of {SOME}")
            check(not os.path.exists(path), "the socket is still there")


def nobody_at_the_socket_holds_nothing_up():
    with tempfile.TemporaryDirectory() as d:
        path = d + "/console"
        leave_stale_socket(path)
        status, _, errors = run("--serial", "unix:" + path,
                                code=send_bytes(SOME) + out_byte(0x605, 0x34) + HALT)
        check((status, errors) == (0, ""), f"status {status}: {errors}")
        check(not os.path.exists(path), "the socket is still there")


def clients_of_a_socket_come_and_go():
    with tempfile.TemporaryDirectory() as d:
        path = d + "/console"
        with linux("--serial", "unix:" + path) as g:
            first = connect(path)
            g.use(first.fileno())
            g.start_shell()
            first.close()
            second = connect(path)
            g.use(second.fileno())
            check(g.shell("echo $((6 * 7))") == "42", "the second client has no shell")
            g.process.terminate()
            status, errors = g.status()
            check((status, errors) == (128 + signal.SIGTERM, ""), f"status {status}: {errors}")
            check(not os.path.exists(path), "the socket is still there")


def on_terminal(action):
    """A guest that only waits, on a terminal: action(guest, terminal); (status, mode kept)."""
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    with Image(out_byte(0x3f8, ord("!")) + HALT) as kernel:
        # A session of its own, so that the terminal is the one in whose foreground it runs.
        script = ("import fcntl, os, sys, termios; os.setsid(); "
                  "fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])")
        process = subprocess.Popen(
            [sys.executable, "-c", script, VMTIME, "run", "--kernel", kernel],
            stdin=theirs, stdout=theirs, stderr=subprocess.PIPE)
        try:
            check(select.select([ours], [], [], 60)[0], "no output on the terminal")
            os.read(ours, 100)
            raw = termios.tcgetattr(theirs)
            check(not raw[3] & termios.ICANON, "the terminal was not made raw")
            action(process, ours)
            status = process.wait(60)
        except subprocess.TimeoutExpired:
            raise Failure("did not end in 60 s") from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        after = termios.tcgetattr(theirs)
    os.close(ours)
    os.close(theirs)
    check(after == before, "the terminal was left changed")
    return status


def ctrl_a_x_ends_it_and_restores_the_terminal():
    status = on_terminal(lambda process, terminal: os.write(terminal, b"\x03\x01\x01\x01x"))
    check(status == 0, f"status {status}")


def signals_end_it_and_restore_the_terminal():
    for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
        status = on_terminal(lambda process, terminal, n=number: process.send_signal(n))
        check(status == 128 + number, f"signal {number}: status {status}")


def wrong_options_are_named():
    refused(2, "'--cpus'", "--cpu", "2")
    refused(2, "--cpus 0", "--cpus=0")
    refused(2, "--cpus 300", "--cpus", "300")
    refused(2, "at least 16M", "--memory", "1M")
    refused(2, "not a size", "--memory", "lots")
    refused(2, "at most", "--memory", "9T")
    refused(2, "--serial", "--serial", "tcp:1")
    refused(2, "needs a value", "--kernel")
    refused(2, "NAME=VALUE", "--env", "x")
    refused(2, "no such argument", "vmlinuz")
    refused(2, "possible: user, kernel, none", "--pit", "best")
    refused(2, "--steal user", "--steal=user", "--kvm-clock=none")
    refused(2, "--on-migrate later", "--on-migrate", "later")
    refused(2, "has no port", "--incoming", "tcp:host")
    refused(2, "has no path", "--incoming", "unix:")
    refused(2, "write file:PATH, unix:PATH or tcp:HOST:PORT", "--incoming", "nowhere")


def what_is_not_built_yet_is_refused_by_name():
    refused(2, "--qga is not in this version yet", "--qga", "/tmp/x")
    refused(2, "--rate 0.5 is not in this version yet", "--rate", "0.5")
    refused(2, "--kvm-clock user", "--kvm-clock", "kernel", "--date", "2030-01-01T00:00:00Z")


def bad_images_are_named():
    with tempfile.TemporaryDirectory() as d:
        def file(name, data):
            with open(f"{d}/{name}", "wb") as f:
                f.write(data)
            return f"{d}/{name}"
        with open(KERNEL, "rb") as f:
            whole = f.read()
        precious = file("precious", b"kept")
        refused(2, d + "/none", "--kernel", d + "/none", "--serial", "file:" + precious)
        check(os.path.getsize(precious) == 4, "a file was emptied for a kernel that is missing")
        os.mkfifo(d + "/fifo")
        refused(2, "regular file", "--kernel", d + "/fifo", "--kvm-clock", "none")
        refused(2, "empty", "--kernel", file("empty", b""))
        refused(2, "text", "--kernel", file("text", b"just text\n" * 900))
        refused(2, "truncated", "--kernel", file("truncated", whole[:20000]))
        refused(2, d, "--kernel", d)
        refused(2, d + "/initrd", "--kernel", KERNEL, "--initrd", d + "/initrd")
        refused(2, "command line", "--kernel", KERNEL, "--append", "x" * 5000)
        refused(2, "memory", "--kernel", KERNEL, "--initrd", BUSYBOX, "--memory", "24M")


def bad_places_for_a_console_are_named():
    with tempfile.TemporaryDirectory() as d:
        busy = socket.socket(socket.AF_UNIX)
        busy.bind(d + "/busy")
        busy.listen()
        open(d + "/file", "w").close()
        for place, word in (("unix:" + d + "/busy", "in use"), ("unix:" + d + "/file", "no socket"),
                            ("unix:" + d + "/no/where", "No such file"),
                            ("unix:/proc/x", "/proc/x"), ("unix:" + d + "/" + "x" * 200, "bytes"),
                            ("file:" + d + "/no/where", "No such file"), ("file:" + d, "directory")):
            refused(2, word, "--serial", place, code=HALT)
        check(sorted(os.listdir(d)) == ["busy", "file"], f"left behind: {os.listdir(d)}")
        busy.close()


def without_permission_it_says_so():
    # Copies: the build may lie where others may not look.
    with Image(HALT) as image, tempfile.TemporaryDirectory(dir="/tmp") as d:
        command, kernel = d + "/vmtime", d + "/kernel"
        shutil.copy(VMTIME, command)
        shutil.copy(image, kernel)
        os.chmod(kernel, 0o644)
        os.chmod(d, 0o755)
        done = subprocess.run([command, "run", "--kernel", kernel], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, user=65534, group=65534,
                              extra_groups=[], timeout=60)
        errors = done.stderr.decode()
        check(done.returncode == 3, f"status {done.returncode}: {errors}")
        check("permission" in errors.lower() and "/dev/kvm" in errors, errors)


def a_signal_that_was_ignored_stays_so():
    with Image(out_byte(0x3f8, ord("!")) + HALT) as kernel:
        with Guest("--kernel", kernel, ignoring=signal.SIGHUP) as g:
            g.expect(b"!")
            g.process.send_signal(signal.SIGHUP)
            time.sleep(0.5)
            check(g.process.poll() is None, "SIGHUP ended it")
            g.process.terminate()
            check(g.status()[0] == 128 + signal.SIGTERM, "SIGTERM did not end it")


def two_machines_run_at_once():
    with Image(out_byte(0xf4, 3) + HALT) as one, Image(out_byte(0xf4, 4) + HALT) as two:
        with Guest("--kernel", one, "--exit-port") as a, \
                Guest("--kernel", two, "--exit-port") as b:
            check(a.status()[0] == 7 and b.status()[0] == 9, "one disturbs the other")


CASES = [
    the_exit_port_gives_the_status,
    without_the_option_there_is_no_exit_port,
    the_pm_timer_overflows_into_the_sci,
    protection_keys_start_as_linux_sets_them,
    a_triple_fault_ends_with_1_and_a_line,
    all_output_reaches_a_file,
    a_full_disk_is_told,
    multiboot_modules_come_in_order,
    a_socket_gives_all_that_its_reader_takes,
    nobody_at_the_socket_holds_nothing_up,
    ctrl_a_x_ends_it_and_restores_the_terminal,
    signals_end_it_and_restore_the_terminal,
    a_signal_that_was_ignored_stays_so,
    two_machines_run_at_once,
    *qmp_cases.CASES,
    *pause_cases.CASES,
    *snapshot_cases.CASES,
    *migrate_cases.CASES,
    *progress_cases.CASES,
    *tunnel_cases.CASES,
    wrong_options_are_named,
    what_is_not_built_yet_is_refused_by_name,
    bad_images_are_named,
    bad_places_for_a_console_are_named,
    without_permission_it_says_so,
    shell_on_two_cpus_switches_off_with_0,
    reboot_boots_again,
    eight_cpus_come_online,
    clients_of_a_socket_come_and_go,
    all_that_a_machine_may_have_is_found,
    what_is_switched_off_is_not_there,
    no_reading_of_the_rtc_waits_once_linux_runs,
    *rtc_cases.CASES,
    *hpet_cases.CASES,
    *tsc_cases.CASES,
    in_a_minute_of_ticks_a_minute_passes,
    without_an_io_apic_ticks_come_by_the_pic,
    in_a_minute_of_the_kernels_ticks_too,
    in_a_minute_of_the_pm_timer_too,
]


part.run("run", map(part.named, CASES), WORDS)
