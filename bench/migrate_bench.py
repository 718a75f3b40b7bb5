#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Moving a running guest to another process, beside QEMU.

The same guest (kernel, initrd, memory, command line) under vmtime and under QEMU's q35, once idle and
once writing pages all the time, migrates over a UNIX socket, again and again; the VMMs take turns, and
the one whose turn it is not stands still.  Neither is limited in bandwidth, and both have the same
downtime limit.

downtime  from the source's event STOP to the target's event RESUME, by the events' own timestamps; also
          what a source stood still that went on once more
total     from QMP's migrate to the later of that event and the source's that it is completed
sent      what query-migrate says of bytes transferred

After each migration the guest checks its memory; a page that is wrong ends the bench.  Durations mean
something only beside those of the same run, so medians and their ratios are printed; the exit status
is 1 when one is above its limit.  Needs a working /dev/kvm: elsewhere run it as
`vmtime lab -- bench/migrate_bench.py ...`.
"""
import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from vmms import (LIMIT_S, MEMORY_MIB, Qmp, add_arguments, drain, qemu_command, vmtime_command,
                  wait_for)

MARK = b"process 1 runs"
SETTLE_S = 0.5
LIMITS = {"downtime": 1.0, "total": 1.0, "sent": 1.0}  # vmtime / QEMU
WORD = {"downtime": "downtime", "total": "total time", "sent": "bytes sent"}


class Failure(Exception):
    """A migration that was none."""


class Process:
    """A VMM with a guest, or one that waits for it."""

    def __init__(self, vmm, number, incoming=()):
        self.path = f"{vmm.folder}/{vmm.name}.{number}"
        self.process = subprocess.Popen([*vmm.command, *vmm.qmp_options(self.path), *incoming],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.qmp = None

    def connect(self, vmm):
        self.qmp = Qmp(self.path)
        vmm.prepare(self.qmp)

    def end(self):
        if self.qmp:
            self.qmp.close()
        self.process.kill()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def check_memory(self):
        """What the guest says of its memory: the sum of what never changes, and pages written."""
        drain(self.process)
        self.process.stdin.write(b"?")
        self.process.stdin.flush()
        said = wait_for(self.process, b"\n").decode(errors="replace")
        right = re.search(r"memory is right: (\w+), (\d+) pages", said)
        if not right:
            raise Failure(f"the guest says: {said.strip()}")
        return right[1], int(right[2])


class Vmm:
    """One of the two: its command lines, and its guest, wherever that is."""

    def __init__(self, name, folder, command, downtime_ms):
        self.name, self.folder, self.command = name, folder, command
        self.downtime_ms, self.number = downtime_ms, 0
        self.here = self.there = None
        self.figures = {what: [] for what in LIMITS}
        self.rounds = []

    def begin(self):
        self.here = Process(self, 0)
        wait_for(self.here.process, MARK)
        self.here.connect(self)
        self.sum, self.written = self.here.check_memory()
        self.here.qmp.ask("stop")

    def end(self):
        for process in self.here, self.there:
            if process:
                process.end()
        self.here = self.there = None

    def migrate(self):
        """The guest's next place, with what it took."""
        self.number += 1
        uri = f"unix:{self.folder}/{self.name}.move"
        self.there = Process(self, self.number, self.incoming_options(uri))
        self.there.connect(self)
        self.there.qmp.ask("query-status")  # it listens by then
        here, there = self.here.qmp, self.there.qmp
        here.ask("cont")
        time.sleep(SETTLE_S)
        here.ask("query-status")
        here.events.clear()
        began = time.monotonic()
        here.ask("migrate", uri=uri)
        stopped = self.wait_until_completed(here)
        runs = seconds(there.event("RESUME"))
        total = time.monotonic() - began
        info = here.ask("query-migrate")
        self.take("downtime", 1e3 * (runs - stopped))
        self.take("total", 1e3 * total)
        self.take("sent", info["ram"]["transferred"] / 2 ** 20)
        self.rounds.append(info["ram"].get("dirty-sync-count"))
        self.here.end()
        self.here, self.there = self.there, None
        self.check()
        self.here.qmp.ask("stop")

    def take(self, what, figure):
        self.figures[what].append(figure)

    def wait_until_completed(self, qmp):
        """When the source said STOP; earlier by what it stood still before, if it went on again."""
        stopped, stood, end = None, 0, time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            event = qmp.event("STOP", "RESUME", "MIGRATION")
            status = event.get("data", {}).get("status")
            if event["event"] == "STOP":
                stopped = seconds(event) - stood
            elif event["event"] == "RESUME":
                stood = seconds(event) - stopped
            elif status == "failed":
                raise Failure(f"migration failed: {qmp.ask('query-migrate')}")
            elif status == "completed":
                return stopped
        raise Failure(f"does not end: {qmp.ask('query-migrate')}")

    def check(self):
        total, written = self.here.check_memory()
        if total != self.sum or written < self.written:
            raise Failure(f"the guest's memory has the sum {total} after {written} pages, before "
                          f"it had {self.sum} after {self.written}")
        self.written = written

    def prepare(self, qmp):
        qmp.ask("migrate-set-parameters", **{"max-bandwidth": self.unlimited,
                                             "downtime-limit": self.downtime_ms})


class Vmtime(Vmm):
    unlimited = 0

    def qmp_options(self, path):
        return ["--qmp", path]

    def incoming_options(self, uri):
        return ["--incoming", uri]


class Qemu(Vmm):
    unlimited = 1 << 40

    def qmp_options(self, path):
        return ["-qmp", f"unix:{path},server=on,wait=off"]

    def incoming_options(self, uri):
        return ["-incoming", uri]

    def prepare(self, qmp):
        qmp.ask("migrate-set-capabilities", capabilities=[{"capability": "events", "state": True}])
        super().prepare(qmp)


def seconds(event):
    return event["timestamp"]["seconds"] + 1e-6 * event["timestamp"]["microseconds"]


def vmms(args, folder, append):
    if "vmtime" in args.subject:
        yield Vmtime("vmtime", folder, vmtime_command(args, append), args.downtime_limit)
    if "qemu" in args.subject and shutil.which(args.qemu):
        yield Qemu("qemu", folder, qemu_command(args, append), args.downtime_limit)


def measure(args, guest, append):
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        machines = list(vmms(args, folder, append))
        try:
            for vmm in machines:
                vmm.begin()
            for _ in range(args.rounds):
                for vmm in machines:
                    vmm.migrate()
        except Failure as failure:
            sys.exit(f"migrate_bench: {vmm.name}, {guest} guest: {failure}")
        finally:
            for vmm in machines:
                vmm.end()
    return [{"vmm": vmm.name, "guest": guest, "what": what, "median": statistics.median(figures),
             "least": min(figures), "most": max(figures), "dirty_syncs": max(vmm.rounds, default=0)}
            for vmm in machines for what, figures in vmm.figures.items()]


def compare(rows):
    """Each of vmtime's figures by QEMU's of the same guest; true when all are below their limits."""
    below = True
    for row in rows:
        own = next((r for r in rows if r["vmm"] == "vmtime" and r["guest"] == row["guest"]
                    and r["what"] == row["what"]), None)
        if own is None or own is row:
            continue
        row["vmtime_ratio"] = round(own["median"] / row["median"], 3)
        row["limit"] = LIMITS[row["what"]]
        below &= row["vmtime_ratio"] < row["limit"]
    return below


def print_rows(args, rows):
    print(f"a guest with {MEMORY_MIB} MiB, {args.cpus} CPU(s), {args.rounds} rounds, downtime limit "
          f"{args.downtime_limit} ms; under load it writes {args.pages_s} pages a second of "
          f"{args.pages_set}")
    print(f"{'':30} {'median':>11} {'least':>11} {'most':>11}  vmtime/it")
    for row in sorted(rows, key=lambda r: (r["guest"], list(LIMITS).index(r["what"]))):
        unit = "MiB" if row["what"] == "sent" else "ms "
        ratio = (f"{row['vmtime_ratio']:10.2f} (limit {row['limit']:.0f})"
                 if "vmtime_ratio" in row else "")
        print(f"{row['vmm']:6} {row['guest']:6} {WORD[row['what']]:16} {row['median']:7.1f} {unit} "
              f"{row['least']:7.1f} {unit} {row['most']:7.1f} {unit} {ratio}".rstrip())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser, rounds=5)
    parser.add_argument("--subject", default="vmtime,qemu", type=lambda text: text.split(","))
    parser.add_argument("--guest", default="idle,loaded", type=lambda text: text.split(","))
    parser.add_argument("--downtime-limit", type=int, default=300, help="ms, of both")
    parser.add_argument("--pages-s", type=int, default=8000, help="written under load")
    parser.add_argument("--pages-set", type=int, default=8192, help="of how many")
    args = parser.parse_args()

    append = {"idle": "console=ttyS0 quiet",
              "loaded": f"console=ttyS0 quiet pages_s={args.pages_s} pages_set={args.pages_set}"}
    rows = [row for guest in args.guest for row in measure(args, guest, append[guest])]
    below = compare(rows)
    if args.json:
        print(json.dumps({"rounds": args.rounds, "cpus": args.cpus, "migrate": rows}))
    else:
        print_rows(args, rows)
    sys.exit(0 if below else 1)


if __name__ == "__main__":
    main()
