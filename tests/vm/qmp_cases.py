# SPDX-License-Identifier: Apache-2.0
"""qmp_cases.py - cases of run_cases.py: what the QMP socket of a running guest tells and takes."""
import calendar
import json
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import time

from run_guest import (Guest, HALT, Image, JIFFIES, JIFFIES_APPEND, PATIENCE_S, check, connect,
                       leave_stale_socket, linux, out_byte, refused)

FATES = "delivered", "merged", "discarded", "owed"
ROOT = pathlib.Path(__file__).resolve().parents[2]


class Qmp:
    """A client that has negotiated."""

    def __init__(self, path):
        self.socket = connect(path)
        self.file = self.socket.makefile("rw")
        greeting = json.loads(self.file.readline())
        check(greeting["QMP"]["version"]["package"].startswith("vmtime "), greeting)
        self.events = []
        check(self.ask("qmp_capabilities") == {}, "not negotiated")

    def read(self):
        line = self.file.readline()
        check(line, "the server has left")
        return json.loads(line)

    def send(self, command, arguments):
        self.file.write(json.dumps({"execute": command, "id": command,
                                    **({"arguments": arguments} if arguments else {})}) + "\n")
        self.file.flush()

    def answer(self, command, arguments, sent=False):
        if not sent:
            self.send(command, arguments)
        while "event" in (answer := self.read()):
            self.events.append(answer)
        check(answer.get("id") == command, answer)
        return answer

    def ask(self, command, **arguments):
        answer = self.answer(command, arguments)
        check("return" in answer, answer)
        return answer["return"]

    def fails(self, command, **arguments):
        """What is said of it."""
        answer = self.answer(command, arguments)
        check("error" in answer, answer)
        return answer["error"]["desc"]

    def event(self, name):
        """The data of the next one of that name."""
        while True:
            event = self.events.pop(0) if self.events else self.read()
            if event["event"] == name:
                check(abs(event["timestamp"]["seconds"] - time.time()) < 60, event)
                return event.get("data")


def schema_is_kept(report):
    try:
        import jsonschema
    except ImportError:
        return  # the unit tests compare the whole text
    schema = json.loads((ROOT / "docs/schema/query-vmtime.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(report)
    check(not jsonschema.Draft202012Validator(schema).is_valid({**report, "surprise": 1}),
          "the schema allows anything")


def utc_s(report):
    whole, fraction = report["utc"][:-1].split(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + int(fraction) / 1e9


def ledgers(report):
    made = {t["source"]: t for t in report["ticks"]}
    for ticks in made.values():
        check(ticks["due"] == sum(ticks[k] for k in FATES),
              f"does not balance: {ticks}")
    return made


def the_guest_sets_its_rtc(g, qmp, watcher):
    before = qmp.ask("query-vmtime")
    schema_is_kept(before)
    check(before["rtc_offset_ns"] == 0 and before["last_change"]["kind"] == "start", before)
    check(before["utc_bound_ns"] < 1e9, f"UTC is not the host's: {before}")
    g.shell("date -s '2031-01-01 00:00:00' && hwclock -u -w")
    change = watcher.event("VMTIME_CHANGE")
    report = qmp.ask("query-vmtime")
    schema_is_kept(report)
    check(report["last_change"] == change, f"{change} was told, {report} later")
    check(report["rtc_offset_ns"] == change["after"]["rtc_offset_ns"] and
          change["before"] == {"rtc_offset_ns": 0}, change)
    rtc_s = int(g.shell("cat /sys/class/rtc/rtc0/since_epoch"))
    again = qmp.ask("query-vmtime")
    offset = report["rtc_offset_ns"] / 1e9
    check(utc_s(report) + offset - 1 <= rtc_s <= utc_s(again) + offset,
          f"the guest's RTC shows {rtc_s}: {report}, then {again}")
    told = [e["data"] for e in qmp.events if e["event"] == "RTC_CHANGE"]
    check(told == [{"offset": round(offset)}], f"{offset} s, and {told}")


def qmp_tells_what_the_guest_does_with_time():
    with tempfile.TemporaryDirectory() as d:
        path = d + "/qmp"
        with linux("--qmp", path, "--verbose", *JIFFIES, append=JIFFIES_APPEND) as g:
            qmp, watcher = Qmp(path), Qmp(path)
            check(os.stat(path).st_mode & 0o777 == 0o600, "the socket is open to others")
            g.start_shell()
            the_guest_sets_its_rtc(g, qmp, watcher)
            pit = ledgers(qmp.ask("query-vmtime"))["pit"]
            check(pit["rate_hz"] == 250 and pit["policy"] == "catchup" and pit["due"] > 250, pit)
            g.send("reboot -f\n")
            check(watcher.event("RESET")["guest"], "not the guest's reset")
            last = ledgers(qmp.ask("query-vmtime"))["pit"]
            check(last["due"] >= pit["due"], f"{pit}, then {last}")
            qmp.ask("quit")
            check(watcher.event("SHUTDOWN") == {"guest": False, "reason": "host-qmp-quit"},
                  "another reason")
            status, errors = g.status()
            check(status == 0, f"status {status}: {errors}")
            told = re.search(r"ticks of the PIT: (\d+) due, " +
                             ", ".join(r"(\d+) " + fate for fate in FATES), errors)
            check(told, errors)
            due, *fates = map(int, told.groups())
            check(due == sum(fates) and due >= last["due"], f"{last}, at the end {told[0]}")
            check(not os.path.exists(path), "the socket is still there")


def verbose_and_query_vmtime_agree():
    # Channel 0 once: one tick, for an interrupt that is masked.
    code = out_byte(0x43, 0x30) + out_byte(0x40, 0xff) + out_byte(0x40, 0x10) + HALT
    with tempfile.TemporaryDirectory() as d, Image(code) as kernel:
        with Guest("--kernel", kernel, "--qmp", d + "/qmp", "--verbose") as g:
            qmp = Qmp(d + "/qmp")
            end = time.monotonic() + PATIENCE_S
            while (pit := ledgers(qmp.ask("query-vmtime"))["pit"])["due"] == 0:
                check(time.monotonic() < end, f"no tick: {pit}")
            qmp.ask("quit")
            errors = g.status()[1]
            want = ", ".join(f"{pit[k]} {k}" for k in ("due", *FATES))
            check(f"ticks of the PIT: {want}\n" in errors, f"not {want}: {errors}")


def a_pit_of_597_khz_leaves_the_host_its_time():
    """Count 2 in mode 2, and a guest that takes no interrupt: no more ticks than one each 50 us are
    given or kept, the others are merged, and the VMM answers."""
    code = out_byte(0x43, 0x34) + out_byte(0x40, 2) + out_byte(0x40, 0) + HALT
    with tempfile.TemporaryDirectory() as d, Image(code) as kernel:
        with Guest("--kernel", kernel, "--qmp", d + "/qmp") as g:
            qmp = Qmp(d + "/qmp")
            first = qmp.ask("query-vmtime")
            time.sleep(2)
            last = qmp.ask("query-vmtime")
            before, after = (ledgers(report)["pit"] for report in (first, last))
            passed_s = (last["now_ns"] - first["now_ns"]) / 1e9
            due = after["due"] - before["due"]
            check(abs(due / passed_s / 596591 - 1) < 0.01, f"{due} due in {passed_s} s")
            given = sum(after[k] - before[k] for k in ("delivered", "discarded")) + after["owed"]
            check(given <= passed_s / 50e-6 + 2, f"more than the floor allows: {before}, {after}")
            check(after["merged"] - before["merged"] > 0.9 * due, f"{before}, {after}")
            g.process.terminate()
            check(g.status()[0] == 143, "it did not end")


def stock_clients_talk_qmp():
    with tempfile.TemporaryDirectory() as d:
        path = d + "/qmp"
        leave_stale_socket(path)
        with linux("--qmp", path) as g:
            connect(path).close()
            said = ('{"execute": "qmp_capabilities"}{"execute":\n"query-status"} oops\n'
                    '{"execute": "quit"}')
            done = subprocess.run(["socat", "-t", "30", "-", "UNIX-CONNECT:" + path], input=said,
                                  capture_output=True, text=True, timeout=PATIENCE_S)
            check([list(json.loads(line))[0] for line in done.stdout.splitlines()] ==
                  ["QMP", "return", "return", "error", "return", "event"],
                  f"{done.stdout!r} {done.stderr!r}")
            check(g.status()[0] == 0, "quit did not end it well")
            check(not os.path.exists(path), "the socket is still there")


def qmp_has_what_tools_of_qemu_ask():
    with tempfile.TemporaryDirectory() as d, Image(HALT) as kernel:
        with Guest("--kernel", kernel, "--qmp", d + "/qmp", "--cpus", "2") as g:
            qmp, watcher = Qmp(d + "/qmp"), Qmp(d + "/qmp")
            cpus = qmp.ask("query-cpus-fast")
            check([c["cpu-index"] for c in cpus] == [0, 1], cpus)
            names = [pathlib.Path(f"/proc/{g.process.pid}/task/{c['thread-id']}/comm").read_text()
                     for c in cpus]
            check(names == ["vmtime-cpu0\n", "vmtime-cpu1\n"], f"{names} of {cpus}")
            check(qmp.ask("query-kvm") == {"enabled": True, "present": True}, "no KVM")
            check(qmp.ask("query-name") == {}, "it has a name")
            check(qmp.ask("query-status")["status"] == "running", "it does not run")
            before = qmp.ask("query-vmtime")["now_ns"]
            for command in ("system_powerdown", "rtc-reset-reinjection", "system_reset"):
                check(qmp.ask(command) == {}, command)
            reason = "host-qmp-system-reset"
            check(watcher.event("RESET") == {"guest": False, "reason": reason}, "another reason")
            check(len(qmp.ask("query-cpus-fast")) == 2, "a CPU is lost")
            check(qmp.ask("query-vmtime")["now_ns"] > before, "time began anew")
            known = {c["name"] for c in qmp.ask("query-commands")}
            check({"system_reset", "query-cpus-fast", "qmp_capabilities"} <= known, known)
            qmp.ask("quit")
            check(g.status()[0] == 0, "quit did not end it well")


def bad_places_for_qmp_are_named():
    with tempfile.TemporaryDirectory() as d:
        busy = socket.socket(socket.AF_UNIX)
        busy.bind(d + "/busy")
        busy.listen()
        open(d + "/file", "w").close()
        for path, word in ((d + "/busy", "in use"), (d + "/file", "no socket"),
                           (d + "/no/where", "No such file"), (d + "/" + "x" * 200, "bytes")):
            refused(2, word, "--qmp", path, code=HALT)
        check(sorted(os.listdir(d)) == ["busy", "file"], f"left behind: {os.listdir(d)}")
        busy.close()


CASES = [
    qmp_has_what_tools_of_qemu_ask,
    a_pit_of_597_khz_leaves_the_host_its_time,
    stock_clients_talk_qmp,
    bad_places_for_qmp_are_named,
    verbose_and_query_vmtime_agree,
    qmp_tells_what_the_guest_does_with_time,
]
