# SPDX-License-Identifier: Apache-2.0
"""snapshot_cases.py - cases of run_cases.py: a guest is saved to a file, and goes on in another
process, by each policy; in several; or where it was."""
import contextlib
import os
import resource
import struct
import subprocess
import tempfile
import time
import zlib

from pause_cases import Reading, interrupts_go_on, the_gap_is_seen, warnings
from qmp_cases import Qmp, ledgers, schema_is_kept
from run_guest import BUSYBOX, KERNEL, check, clock_source, linux, refused, switch_off

GAP_S = 2


def again(path, *options, append=""):
    """The guest that was saved there, as linux() makes it."""
    return linux("--incoming", "file:" + path, *options, append=append)


def saved(qmp, path, **arguments):
    """Saves the guest; what is said of it."""
    said = qmp.ask("snapshot-save", file=path, **arguments)
    check(said["pages"] > said["zero-pages"] > 0, said)
    check(abs(os.stat(path).st_size - said["bytes"]) < 500000, f"{said}, {os.stat(path)}")
    check(os.stat(path).st_mode & 0o777 == 0o600, "others can read it")
    check(os.listdir(os.path.dirname(path)).count(os.path.basename(path) + ".partial") == 0,
          "something is left")
    return said


def it_lives(g, slept=True):
    if slept:
        g.shell("for i in 1 2 3 4 5 6 7 8; do [ -e /tmp/slept ] || sleep 0.5; done; "
                "cat /tmp/slept")
    check(g.shell("cat /tmp/left") == "in memory", "its memory is another")


def a_restore(policy, source, *options, append="", cpus=2):
    options = ["--cpus", str(cpus), "--memory", "256M", *options]
    with tempfile.TemporaryDirectory() as d:
        path = d + "/guest.vmt"
        with linux("--qmp", d + "/qmp", *options, append=append) as g:
            qmp = Qmp(d + "/qmp")
            g.start_shell()
            check(clock_source(g) == source, f"on {clock_source(g)}, not {source}")
            usual = warnings(g)
            before = Reading(g)
            g.shell("echo in memory >/tmp/left; (sleep 2; echo 1 >/tmp/slept) &")
            saved(qmp, path, stop=True)
            check(qmp.ask("query-status")["status"] == "paused", "it goes on")
            stopped = qmp.ask("query-vmtime")["now_ns"]
            qmp.ask("quit")
            check(g.status()[0] == 0, "it did not quit")
        time.sleep(GAP_S)
        with again(path, "--qmp", d + "/qmp", "--on-restore", policy, *options, append=append) as g:
            qmp = Qmp(d + "/qmp")
            after = Reading(g)
            running = qmp.ask("query-vmtime")
            schema_is_kept(running)
            ledgers(running)
            change = running["last_change"]
            check(change["kind"] == "restore" and change["before"]["now_ns"] == stopped, change)
            check(GAP_S <= change["gap_ns"] / 1e9 < GAP_S + 30, change)
            the_gap_is_seen(policy, change, before, after)
            it_lives(g)
            interrupts_go_on(g)
            check(clock_source(g) == source, f"now on {clock_source(g)}")
            check(warnings(g) == usual, f"the kernel warns: {warnings(g)}")
            switch_off(g)


def a_saved_guest_stands_still_and_goes_on_in_another_process():
    a_restore("freeze", "kvm-clock")


def a_saved_guests_time_went_on_in_another_process():
    a_restore("continue", "kvm-clock")


def lapic_timers_without_a_deadline_come_back():
    a_restore("freeze", "kvm-clock", "--tsc", "portable")


def a_saved_guest_stands_still_where_the_tsc_is_not_counted():
    a_restore("freeze", "kvm-clock", "--counter", "monotonic")


def the_kernels_own_clock_and_pit_come_back():
    a_restore("freeze", "kvm-clock", "--kvm-clock", "kernel", "--pit", "kernel", cpus=2)


def a_guest_goes_on_where_it_was_and_in_clones():
    with tempfile.TemporaryDirectory() as d:
        path, options = d + "/guest.vmt", ["--memory", "128M"]
        with linux("--qmp", d + "/qmp", *options) as g:
            qmp = Qmp(d + "/qmp")
            g.start_shell()
            g.shell("echo in memory >/tmp/left")
            for _ in range(2):  # the second replaces the first
                saved(qmp, path)
                check(qmp.ask("query-status")["status"] == "running", "it does not go on")
                it_lives(g, slept=False)
            switch_off(g)
        with again(path, *options) as first, again(path, *options) as second:
            for g in first, second:
                it_lives(g, slept=False)
            first.shell("echo mine >/tmp/left")
            it_lives(second, slept=False)
            for g in first, second:
                switch_off(g)


def wait_until_it_is_read(qmp):
    while (status := qmp.ask("query-status"))["status"] != "save-vm":
        check(status["running"], f"too fast to be seen: {status}")
    check(not status["running"], status)


def only(path, content):
    check(os.listdir(os.path.dirname(path)) == [os.path.basename(path)], "something is left")
    with open(path, "rb") as f:
        check(f.read() == content, "the old file is another")


@contextlib.contextmanager
def full(g, folder, size):
    """Into that folder goes only half of such a file; why."""
    if os.geteuid():
        resource.prlimit(g.process.pid, resource.RLIMIT_FSIZE, (size // 2, -1))
        yield "File too large"
        resource.prlimit(g.process.pid, resource.RLIMIT_FSIZE, (-1, -1))
        return
    # A folder may be bound into a small disk, and what is in it be copied there first.
    disk = folder + ".disk"
    os.mkdir(disk)
    size = f"size={size * 3 // 2}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", disk], check=True)
    subprocess.run(["sh", "-c", f"cp -p {folder}/* {disk} && mount --bind {disk} {folder}"],
                   check=True)
    try:
        yield "make room"
    finally:
        subprocess.run(["umount", folder, disk], check=True)


def while_a_guest_is_saved_others_are_served():
    with tempfile.TemporaryDirectory() as d, linux("--qmp", d + "/qmp", "--memory", "128M") as g:
        os.mkdir(d + "/s")
        path, saver, other = d + "/s/guest.vmt", Qmp(d + "/qmp"), Qmp(d + "/qmp")
        g.start_shell()
        g.shell("echo in memory >/tmp/left; dd if=/dev/urandom of=/tmp/noise bs=1M count=24")
        saver.send("snapshot-save", {"file": path})
        saver.send("query-status", {})
        wait_until_it_is_read(other)
        for command, arguments, words in (("snapshot-save", {"file": path}, "is being written"),
                                          ("migrate", {"uri": "unix:/nowhere"}, "is being written"),
                                          ("cont", {}, "not while"),
                                          ("system_reset", {}, "not while")):
            wrong = other.fails(command, **arguments)
            check(words in wrong, wrong)
        check(other.ask("stop") == {}, "cannot be told to stay")
        check("return" in saver.answer("snapshot-save", {}, sent=True), "not saved")
        status = saver.answer("query-status", {}, sent=True)["return"]["status"]
        check(status == "paused", f"it was to stay and is {status}")
        check(other.ask("cont") == {}, "it does not go on")
        # The next one waits already when one is done.
        for _ in range(3):
            saver.send("snapshot-save", {"file": path})
        for _ in range(3):
            check("return" in saver.answer("snapshot-save", {}, sent=True), "not saved")
        it_lives(g, slept=False)
        with open(path, "rb") as f:
            whole = f.read()
        # No room: it goes on, and the old file stays.
        with full(g, os.path.dirname(path), len(whole)) as words:
            wrong = saver.fails("snapshot-save", file=path, stop=True)
            check(words in wrong, wrong)
            only(path, whole)
            it_lives(g, slept=False)
        # Its end comes before that of the snapshot.
        saver.send("snapshot-save", {"file": path})
        wait_until_it_is_read(other)
        check(other.ask("quit") == {}, "it does not quit")
        wrong = saver.answer("snapshot-save", {}, sent=True)
        check("given up" in wrong["error"]["desc"], wrong)
        check(g.status()[0] == 0, "it did not quit")
        only(path, whole)


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def forged(whole, kind, forge):
    """A file with right checksums, of which the section of a kind is as `forge` makes it."""
    at = 32
    while (head := struct.unpack_from("<IHHIIII", whole, at))[0] != kind:
        at += 32 + head[5]
    behind = at + 32 + head[5]
    body = bytearray(whole[at + 32:behind])
    forge(body)
    section = bytearray(whole[at:at + 28])
    struct.pack_into("<I", section, 20, crc32c(body))
    section += struct.pack("<I", crc32c(section))
    return whole[:at] + section + body + whole[behind:]


def with_a_board_that_is_refused(whole):
    """The very last part that is loaded is wrong."""
    def forge(body):
        body[-1] ^= 1
    return forged(whole, 261, forge)


def seal(body, at):
    """A record of the library's, which ends where the section does."""
    struct.pack_into("<I", body, len(body) - 4, zlib.crc32(body[at:-4]))


def with_a_clock_that_is_later(whole, seconds):
    def forge(body):
        utc_offset_ns, = struct.unpack_from("<q", body, 68)
        struct.pack_into("<q", body, 68, utc_offset_ns + seconds * 10**9)
        seal(body, 32)
    return forged(whole, 257, forge)


def with_a_tsc_of(whole, ratio, portable):
    """The TSC ran at so many times the frequency, and the guest was told of that or was not."""
    def forge_tsc(body):
        struct.pack_into("<I", body, 16, round(struct.unpack_from("<I", body, 16)[0] * ratio))
        seal(body, 0)

    def forge_machine(body):
        struct.pack_into("<Q", body, 11 * 8, portable)
    return forged(forged(whole, 258, forge_tsc), 256, forge_machine)


def written(path, content):
    with open(path, "wb") as f:
        f.write(content)


def a_snapshot_from_another_host_or_time():
    with tempfile.TemporaryDirectory() as d:
        path, options = d + "/guest.vmt", ["--memory", "128M", "--tsc", "portable"]
        with linux("--qmp", d + "/qmp", *options) as g:
            qmp = Qmp(d + "/qmp")
            g.start_shell()
            g.shell("echo in memory >/tmp/left")
            saved(qmp, path, stop=True)
            before = qmp.ask("query-vmtime")
            qmp.ask("quit")
            g.status()
        with open(path, "rb") as f:
            whole = f.read()
        # A TSC of another frequency: kvm-clock keeps the host's seconds.
        written(path, with_a_tsc_of(whole, 2, 1))
        with again(path, "--qmp", d + "/qmp", *options) as g:
            change = Qmp(d + "/qmp").ask("query-vmtime")["last_change"]
            check(abs(change["tsc_ppb"] + 5 * 10**8) < 1000, change)
            first = Reading(g)
            time.sleep(2)
            second = Reading(g)
            check(second.uptime[0] <= first.uptime[1] and first.uptime[0] <= second.uptime[1],
                  f"kvm-clock is off: {first.uptime}, then {second.uptime}")
            it_lives(g, slept=False)
            check("ppb faster" in switch_off(g), "nothing is said of its TSC")
        written(path, with_a_tsc_of(whole, 1.0003, 0))
        refused(3, "and this host's runs at", "--incoming", "file:" + path, "--serial", "none",
                *options[:2])
        # An hour old: longer than a guest can take; and from the future.
        for seconds, gap_s, words in (-3600, 3600, ""), (3600, 0, "ahead of this host's"):
            written(path, with_a_clock_that_is_later(whole, seconds))
            with again(path, "--qmp", d + "/qmp", *options) as g:
                change = Qmp(d + "/qmp").ask("query-vmtime")["last_change"]
                check(change["policy"] == "freeze" and
                      change["before"]["now_ns"] == change["after"]["now_ns"] == before["now_ns"],
                      change)
                check(0 <= change["gap_ns"] / 1e9 - gap_s < 60, change)
                check(("future_ns" in change) == bool(words), change)
                it_lives(g, slept=False)
                check(words in switch_off(g), "nothing is said of the future")


def what_cannot_be_restored_is_refused_in_one_line():
    with tempfile.TemporaryDirectory() as d:
        path = d + "/guest.vmt"
        with linux("--qmp", d + "/qmp", "--memory", "128M") as g:
            qmp = Qmp(d + "/qmp")
            g.start_shell()
            saved(qmp, path, stop=True)
            wrong = qmp.fails("snapshot-save", file="/proc/guest.vmt")
            check("/proc/guest.vmt: cannot be written" in wrong, wrong)
            wrong = qmp.fails("snapshot-save")
            check("needs a path" in wrong, wrong)
            wrong = qmp.fails("snapshot-save", file="")
            check('"file" is empty' in wrong, wrong)
            qmp.ask("quit")
            g.status()
        whole = open(path, "rb").read()
        options = ["--kernel", KERNEL, "--initrd", BUSYBOX, "--serial", "none"]
        incoming = ["--incoming", "file:" + path, *options]
        refused(2, "its memory ends at", *incoming)
        refused(2, "--cpus was 1 and is 2", *incoming, "--memory", "128M", "--cpus", "2")
        refused(2, "--hpet was on and is off", *incoming, "--memory", "128M", "--hpet", "off")
        refused(2, "No such file", "--incoming", "file:" + path + "x", *options)
        refused(2, "is no snapshot of vmtime", "--incoming", "file:" + KERNEL, *options)
        refused(2, "leave out --tsc", *incoming, "--memory", "128M", "--tsc", "2000000")
        with open(path, "wb") as f:
            f.write(with_a_board_that_is_refused(whole))
        with open(d + "/console", "w", encoding="ascii") as f:
            f.write("old")
        refused(2, "board", "--incoming", "file:" + path, *options[:4], "--memory", "128M",
                "--serial", "file:" + d + "/console")
        with open(d + "/console", encoding="ascii") as f:
            check(f.read() == "old", "a console was emptied for a machine that is refused")
        for size, word in (len(whole) // 2, "ends too early"), (100, "ends too early"):
            with open(path, "wb") as f:
                f.write(whole[:size])
            refused(2, word, *incoming, "--memory", "128M")
        with open(path, "wb") as f:
            f.write(whole[:-200000] + bytes([whole[-200000] ^ 4]) + whole[-199999:])
        refused(2, "damaged", *incoming, "--memory", "128M")


CASES = [
    what_cannot_be_restored_is_refused_in_one_line,
    while_a_guest_is_saved_others_are_served,
    a_snapshot_from_another_host_or_time,
    a_guest_goes_on_where_it_was_and_in_clones,
    a_saved_guest_stands_still_and_goes_on_in_another_process,
]
if os.environ.get("VMTIME_SOAK"):
    CASES += [
        a_saved_guests_time_went_on_in_another_process,
        a_saved_guest_stands_still_where_the_tsc_is_not_counted,
        lapic_timers_without_a_deadline_come_back,
        the_kernels_own_clock_and_pit_come_back,
    ]
