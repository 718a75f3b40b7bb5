# SPDX-License-Identifier: Apache-2.0
"""migrate_cases.py - cases of run_cases.py: a guest goes to another process while it runs, or stays
where it is, whatever goes wrong on the way."""
import os
import select
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

from pause_cases import Reading, interrupts_go_on, the_gap_is_seen, warnings
from qmp_cases import Qmp, ledgers, schema_is_kept
from run_guest import (Guest, Image, PATIENCE_S, WAIT_FOR_INPUT, check, clock_source, linux,
                       out_byte, refused, switch_off)
from snapshot_cases import it_lives

SLOW = 1 << 20  # bytes a second, of which the guests that count have 16 to send
MEMORY, CLOCK = 2, 257
HELLO, ASK, READY, BEGIN, ROUND, WHOLE, LOADED, GO, RUNNING = range(16, 25)

# 16 MiB that are not zero.
FILL = b"\xbf\x00\x00\x20\x00\xb9\x00\x00\x40\x00\xb8\x44\x33\x22\x11\xfc\xf3\xab"
# A byte, one more than the last, some fifty times a second; the number is in memory that was filled.
COUNT = FILL + (b"\xc6\x05\x00\x00\x20\x00\x00\x66\xba\xf8\x03\xa0\x00\x00\x20\x00\xee\xfe\x05\x00"
                b"\x00\x20\x00\xb9\x80\x84\x1e\x00\xe2\xfe\xeb\xe7")
# One of eight pages after the other: what stands in it has to be what was written last, and is one
# more then; then a byte, one more than the last, or another one for ever.
SWEEP = FILL + (b"\xbe\x44\x33\x22\x11\xbf\x00\x00\x20\x00\x39\x37\x75\x21\xff\x07\x81\xc7\x00\x80"
                b"\x00\x00\x81\xff\x00\x00\x20\x01\x72\xec\x46\x66\xba\xf8\x03\x89\xf0\xee\xb9\x80"
                b"\x84\x1e\x00\xe2\xfe\xeb\xd6\x66\xba\xf8\x03\x89\xf0\x04\x4d\xee\xeb\xfe")
# "A", then it waits for any byte and boots again.
BOOT_AGAIN = FILL + out_byte(0x3f8, ord("A")) + WAIT_FOR_INPUT + out_byte(0x64, 0xfe) + b"\xf4"


class Machine:
    """A small guest, with its QMP."""

    def __init__(self, kernel, name, *options):
        folder = os.path.dirname(kernel)
        self.guest = Guest("--kernel", kernel, "--memory", "64M", "--qmp", f"{folder}/{name}",
                           *options)
        self.qmp = Qmp(f"{folder}/{name}")
        self.last = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.guest.__exit__()

    def read(self, patience):
        fd = self.guest.from_guest
        return os.read(fd, 65536) if select.select([fd], [], [], patience)[0] else b""

    def counts(self, least=3, patience=PATIENCE_S):
        """It goes on where it was."""
        end = time.monotonic() + patience
        while least > 0:
            check(time.monotonic() < end, f"it does not count on after {self.last}")
            data = self.read(1)
            for byte in data:
                check(self.last is None or byte == (self.last + 1) % 256,
                      f"{byte} comes after {self.last}")
                self.last = byte
            least -= len(data)

    def stands(self):
        """All that it has counted has come, and it counts no more."""
        while data := self.read(0.5):
            self.last = data[-1]

    def follows(self, other):
        other.stands()
        self.last = other.last
        self.counts()

    def leave(self):
        self.qmp.ask("quit")
        status, errors = self.guest.status()
        check(status == 0, f"it did not quit: {status}: {errors}")
        return errors


class Place:
    """A folder, in which nothing is left at the end."""

    def __init__(self, code=COUNT):
        self.code = code

    def __enter__(self):
        self.image = Image(self.code)
        self.folder = tempfile.TemporaryDirectory()
        self.kernel = self.folder.name + "/kernel"
        os.symlink(self.image.__enter__(), self.kernel)
        return self

    def __exit__(self, kind, *_):
        left = os.listdir(self.folder.name)
        self.image.__exit__()
        self.folder.cleanup()
        check(kind or left == ["kernel"], f"{left} are left")

    @property
    def uri(self):
        return f"unix:{self.folder.name}/link"

    def machine(self, name, *options):
        return Machine(self.kernel, name, *options)

    def source(self, *options):
        m = self.machine("source", *options)
        m.counts()
        return m

    def target(self, *options):
        m = self.machine("target", "--incoming", self.uri, *options)
        check(m.qmp.ask("query-status")["status"] == "inmigrate", "it does not wait")
        return m

    def forget(self, *names):
        """What who was killed has left."""
        for name in names:
            os.unlink(f"{self.folder.name}/{name}")


def until(qmp, *statuses):
    """What query-migrate says once it says one of these."""
    end = time.monotonic() + PATIENCE_S
    while (report := qmp.ask("query-migrate"))["status"] not in statuses:
        check(time.monotonic() < end and report["status"] not in ("completed", "failed"), report)
        time.sleep(0.02)
    return report


def goes(source, uri):
    check(source.qmp.ask("migrate", uri=uri) == {}, "it does not begin")
    return until(source.qmp, "completed")


def goes_slowly(source, uri):
    source.qmp.ask("migrate-set-parameters", **{"max-bandwidth": SLOW, "downtime-limit": 1})
    check(source.qmp.ask("migrate", uri=uri) == {}, "it does not begin")
    return until(source.qmp, "active")


def stays(source):
    """It has failed, and nothing is lost; why."""
    report = until(source.qmp, "failed")
    check(not report["vmtime"]["unknown"], report)
    check(source.qmp.ask("query-status")["status"] == "running", "it does not run")
    source.counts()
    return report["error-desc"]


def ended(target, status, *words):
    """The machine does not come: one line."""
    got, errors = target.guest.status()
    lines = [line for line in errors.splitlines() if "waits for a machine" not in line]
    check(got == status and len(lines) == 1, f"status {got}, not {status}: {errors}")
    for word in words:
        check(word in errors, f"no {word!r} in {errors}")


def a_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


# ---- It goes ---------------------------------------------------------------------------------

def has_come(target, watcher, policy, before, stopped):
    after = Reading(target)
    running = watcher.ask("query-vmtime")
    schema_is_kept(running)
    ledgers(running)
    change = running["last_change"]
    check(change["kind"] == "migrate" and change["before"]["now_ns"] == stopped, change)
    check(0 < change["gap_ns"] < 30e9, change)
    the_gap_is_seen(policy, change, before, after)
    check(watcher.event("RESUME") is None and watcher.event("VMTIME_CHANGE") == change,
          "it is told otherwise")
    return change


def a_guest_goes_by_unix_and_on_by_tcp():
    options = ["--cpus", "2", "--memory", "256M"]
    with tempfile.TemporaryDirectory() as d:
        uris = f"unix:{d}/link", f"tcp:127.0.0.1:{a_port()}"
        with linux("--qmp", d + "/0", *options) as first, \
                linux("--qmp", d + "/1", "--incoming", uris[0], "--on-migrate", "continue",
                      *options) as second, \
                linux("--qmp", d + "/2", "--incoming", uris[1], "--on-migrate", "freeze",
                      *options) as third:
            guests = first, second, third
            qmps = [Qmp(f"{d}/{n}") for n in range(3)]
            first.start_shell()
            source, usual = clock_source(first), warnings(first)
            for n, policy in enumerate(("continue", "freeze")):
                here, there = guests[n:n + 2]
                before = Reading(here)
                here.shell("rm -f /tmp/slept; echo in memory >/tmp/left; "
                           "(sleep 2; echo 1 >/tmp/slept) &")
                watcher = Qmp(f"{d}/{n}")
                check(qmps[n].ask("migrate", uri=uris[n]) == {}, "it does not begin")
                report = until(qmps[n], "completed")
                check(0 < report["downtime"] < 30000 and report["ram"]["normal"] > 100, report)
                told = []
                while told[-1:] != ["completed"]:
                    event = watcher.read()
                    told.append(event.get("data", {}).get("status", event["event"]))
                check(told[:3] == ["setup", "active", "STOP"] and
                      told[-3:] == ["STOP", "device", "completed"], f"{told} is told")
                check(qmps[n].ask("query-status")["status"] == "postmigrate", "it is not gone")
                wrong = qmps[n].fails("cont")
                check("has gone to" in wrong, wrong)
                stopped = qmps[n].ask("query-vmtime")["now_ns"]
                has_come(there, qmps[n + 1], policy, before, stopped)
                check(until(qmps[n + 1], "completed")["ram"]["transferred"] > 0, "no figures")
                it_lives(there)
                interrupts_go_on(there)
                check(clock_source(there) == source, f"now on {clock_source(there)}")
                check(warnings(there) == usual, f"the kernel warns: {warnings(there)}")
                check(qmps[n].ask("quit") == {}, "it does not quit")
                status, errors = here.status()
                check(status == 0 and "has gone to " + uris[n] in errors, errors)
            switch_off(third)
        check(os.listdir(d) == [], f"{os.listdir(d)} are left")


def a_stopped_guest_comes_so():
    with Place() as place, place.source() as source, place.target() as target:
        source.qmp.ask("stop")
        report = goes(source, place.uri)
        check(report["status"] == "completed", report)
        until(target.qmp, "completed")
        check(target.qmp.ask("query-status")["status"] == "paused", "it runs")
        check(target.read(0.5) == b"", "it has begun")
        target.qmp.ask("cont")
        target.follows(source)
        source.leave()
        target.leave()


def each_page_that_is_written_on_the_way_arrives_as_it_was_last():
    """512 of them, some fifty times a second, as KVM has logged them."""
    with Place(SWEEP) as place, place.source() as source, place.target() as target:
        source.qmp.ask("migrate-set-parameters", **{"downtime-limit": 2000,
                                                    "max-bandwidth": 16 * SLOW})
        report = goes(source, place.uri)
        check(report["ram"]["normal"] > 4096 + 256, f"nothing was sent twice: {report}")
        target.follows(source)
        target.counts(50)
        source.leave()
        target.leave()


def while_it_goes_what_would_change_it_is_refused():
    with Place() as place, place.source() as source, place.target() as target:
        for command in "cont", "stop", "system_reset", "query-vmtime", "system_powerdown":
            wrong = target.qmp.fails(command)
            check("has not come yet" in wrong, wrong)
        goes_slowly(source, place.uri)
        for command, arguments in (("migrate", {"uri": place.uri}), ("stop", {}), ("cont", {}),
                                   ("cont", {"force": True}), ("system_reset", {}),
                                   ("snapshot-save", {"file": place.kernel + ".vmt"})):
            wrong = source.qmp.fails(command, **arguments)
            check("not while the machine is on its way" in wrong, wrong)
        wrong = target.qmp.fails("snapshot-save", file=place.kernel + ".vmt")
        check("has not come yet" in wrong, wrong)
        check(until(target.qmp, "active")["ram"]["transferred"] > 0, "nothing comes")
        source.counts()
        slow = until(source.qmp, "active")
        check(slow["ram"]["transferred"] <= SLOW * (1 + slow["total-time"] / 1000), slow)
        # Cancelled: as if nothing had happened.
        watcher = Qmp(os.path.dirname(place.kernel) + "/source")
        check(source.qmp.ask("migrate_cancel") == {}, "not cancelled")
        until(source.qmp, "cancelled")
        check(watcher.event("MIGRATION")["status"] == "cancelling" and
              watcher.event("MIGRATION")["status"] == "cancelled", "it is not told")
        source.counts()
        ended(target, 3, "cancelled")
        # The next one takes it.
        with place.target() as other:
            source.qmp.ask("migrate-set-parameters", **{"max-bandwidth": 0,
                                                        "downtime-limit": 300})
            goes(source, place.uri)
            other.follows(source)
            for command in "snapshot-save", "system_reset", "stop", "migrate":
                arguments = {"snapshot-save": {"file": place.kernel + ".vmt"},
                             "migrate": {"uri": place.uri}}.get(command, {})
                wrong = source.qmp.fails(command, **arguments)
                check("has gone to" in wrong, wrong)
            source.leave()
            other.leave()


def a_guest_that_boots_again_stays():
    with Place(BOOT_AGAIN) as place, place.machine("source") as source, place.target() as target:
        source.guest.expect(b"A")
        goes_slowly(source, place.uri)
        source.guest.send("x")
        report = until(source.qmp, "failed")
        check("booted again" in report["error-desc"], report)
        source.guest.expect(b"A")
        ended(target, 3)
        source.leave()


# ---- It does not -----------------------------------------------------------------------------

def another_machine_is_refused_by_name():
    with Place() as place, place.source() as source:
        for status, options, word in ((2, ["--memory", "128M"], "memory"),
                                      (2, ["--cpus", "2"], "--cpus was 1 and is 2"),
                                      (2, ["--hpet", "off"], "--hpet was on and is off"),
                                      (2, ["--invtsc", "on"], "--invtsc was off and is on")):
            with place.target(*options) as target:
                source.qmp.ask("migrate", uri=place.uri)
                why = stays(source)
                check(word in why, why)
                ended(target, status, word)
        source.qmp.ask("migrate", uri=place.uri)
        why = stays(source)
        check("link" in why, why)
        for uri in "udp:x", "tcp:x", "unix:", "tcp:127.0.0.1:99999":
            wrong = source.qmp.fails("migrate", uri=uri)
            check(uri.split(":")[-1] in wrong, wrong)
        source.leave()


def a_place_that_is_taken_is_told():
    with Place() as place, place.target() as target:
        refused(3, "link", "--incoming", place.uri, "--serial", "none")
        target.leave()
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = str(s.getsockname()[1])
        refused(3, port, "--incoming", "tcp:127.0.0.1:" + port, "--serial", "none")


def who_has_no_machine_is_turned_away():
    with Place() as place, place.source() as source, place.target() as target:
        path = place.uri[5:]
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
            s.send(b"GET / HTTP/1.0\r\n\r\n" * 4)
            s.settimeout(30)
            while s.recv(4096):
                pass
        with socket.socket(socket.AF_UNIX) as silent:
            silent.connect(path)
            goes(source, place.uri)
        target.follows(source)
        source.leave()
        errors = target.leave()
        check(errors.count("turned away") == 2, errors)


def each_side_may_quit():
    with Place() as place, place.source() as source:
        for how in "quit", "SIGTERM":
            with place.target() as target:
                if how == "quit":
                    target.leave()
                else:
                    target.guest.process.terminate()
                    check(target.guest.status()[0] == 128 + signal.SIGTERM, "another status")
        with place.target() as target:
            goes_slowly(source, place.uri)
            until(target.qmp, "active")
            target.leave()
            stays(source)
        with place.target() as target:
            goes_slowly(source, place.uri)
            source.leave()
            ended(target, 3)


class Between(threading.Thread):
    """Hands on what two sides say, a section at a time.  Before one of that type, it does something
    to one of them, once; `lost`: and that was all."""

    def __init__(self, path, to, kind, act, lost):
        super().__init__(daemon=True)
        self.listens = socket.socket(socket.AF_UNIX)
        self.listens.bind(path)
        self.listens.listen()
        self.path, self.to, self.kind, self.act, self.lost = path, to, kind, act, lost
        self.acted = threading.Event()

    def run(self):
        here, there = self.listens.accept()[0], socket.socket(socket.AF_UNIX)
        there.connect(self.to)
        back = threading.Thread(target=self.hand_on, args=(there, here), daemon=True)
        back.start()
        self.hand_on(here, there)
        back.join()
        here.close()
        there.close()

    def hand_on(self, here, there):
        try:
            there.sendall(self.take(here, 32))
            while True:
                head = self.take(here, 32)
                kind, _, _, _, _, length = struct.unpack_from("<IHHIII", head)
                body = self.take(here, length)
                if kind == self.kind and not self.acted.is_set():
                    self.act()
                    self.acted.set()
                    if self.lost:
                        break
                there.sendall(head + body)
        except (OSError, EOFError):
            pass
        for s in here, there:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    @staticmethod
    def take(s, count):
        data = b""
        while len(data) < count:
            more = s.recv(count - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.listens.close()
        self.join(10)
        os.unlink(self.path)


def end_at_once(machine):
    machine.guest.process.send_signal(signal.SIGKILL)
    machine.guest.process.wait()


def killed(place, kind, who, then):
    with place.source() as source, place.target() as target:
        victim = {"source": source, "target": target}[who]
        path = place.folder.name + "/between"
        lost = who == "target" and kind in (READY, LOADED, RUNNING)
        begun = threading.Event()

        def act():
            begun.wait(PATIENCE_S)  # else nobody is there who answers
            end_at_once(victim)
        with Between(path, place.uri[5:], kind, act, lost) as between:
            source.qmp.ask("migrate", uri="unix:" + path)
            begun.set()
            check(between.acted.wait(PATIENCE_S), f"no section of type {kind} came")
            then(source, target)
        place.forget(who)
        if who == "target" and os.path.exists(place.uri[5:]):
            place.forget("link")


def it_stays(source, _):
    stays(source)
    source.leave()


def nobody_knows(source, _):
    report = until(source.qmp, "failed")
    check(report["vmtime"]["unknown"], report)
    check(source.qmp.ask("query-status")["status"] == "internal-error", "it runs")
    source.stands()
    for command in "cont", "system_reset":
        wrong = source.qmp.fails(command)
        check("nobody knows" in wrong, wrong)
    check(source.qmp.ask("cont", force=True) == {}, "it cannot be forced")
    source.counts()
    source.leave()


def it_does_not_come(_, target):
    ended(target, 3)


def another_may_come(_, target):
    said, fd = b"", target.guest.process.stderr.fileno()
    while b"turned away" not in said:
        check(select.select([fd], [], [], PATIENCE_S)[0], f"nothing but {said} is said")
        data = os.read(fd, 4096)
        check(data, f"it has ended: {said}")
        said += data
    target.leave()


def it_has_come(source, target):
    target.follows(source)
    target.leave()


def when_the_target_is_killed_the_source_has_it():
    with Place() as place:
        for kind in HELLO, READY, MEMORY, CLOCK, WHOLE, LOADED:
            killed(place, kind, "target", it_stays)
        for kind in GO, RUNNING:
            killed(place, kind, "target", nobody_knows)


def when_the_source_is_killed_it_has_come_or_never_did():
    with Place() as place:
        for kind in HELLO, READY:
            killed(place, kind, "source", another_may_come)
        for kind in MEMORY, CLOCK, WHOLE, LOADED:
            killed(place, kind, "source", it_does_not_come)
        for kind in GO, RUNNING:
            killed(place, kind, "source", it_has_come)


CASES = [
    a_guest_goes_by_unix_and_on_by_tcp,
    a_stopped_guest_comes_so,
    each_page_that_is_written_on_the_way_arrives_as_it_was_last,
    while_it_goes_what_would_change_it_is_refused,
    a_guest_that_boots_again_stays,
    another_machine_is_refused_by_name,
    a_place_that_is_taken_is_told,
    who_has_no_machine_is_turned_away,
    each_side_may_quit,
    when_the_target_is_killed_the_source_has_it,
    when_the_source_is_killed_it_has_come_or_never_did,
]
