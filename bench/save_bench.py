#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Saving a guest to a file and starting from that file, beside QEMU.

The same idle guest (kernel, initrd, memory, command line) under vmtime and under QEMU's q35; the files
are in a tmpfs.  Saving is QMP's snapshot-save, and QEMU's migrate to the open file, whose bandwidth
nothing limits, from the command to its answer or to the event that it is complete.  Starting is from
the start of the process to the first byte that the guest sends: it sends one each 2 ms.  The VMMs
take turns; durations mean something only beside those of the same run, so medians and their ratios
are printed.  Needs a working /dev/kvm: elsewhere run it as `vmtime lab -- bench/save_bench.py ...`.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from vmms import (MEMORY_MIB, Qmp, add_arguments, drain, qemu_command, vmtime_command,
                  wait_for)

APPEND = "console=ttyS0 quiet"
MARK = b"process 1 runs"
SETTLE_S = 0.5


class Vmm:
    """One of the two: its command lines, and how it saves."""

    def __init__(self, name, folder, command, qmp):
        self.name = name
        self.file, self.socket = f"{folder}/{name}.saved", f"{folder}/{name}.qmp"
        self.command = command + qmp(self.socket)
        self.save_s, self.start_s, self.stood_s = [], [], []
        self.process = None

    def begin(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE)
        wait_for(self.process, MARK)
        self.qmp = Qmp(self.socket)
        self.prepare()
        time.sleep(SETTLE_S)
        self.qmp.ask("stop")

    def save(self):
        self.qmp.ask("cont")
        time.sleep(SETTLE_S)
        drain(self.process)
        start = time.monotonic()
        self.write()
        self.save_s.append(time.monotonic() - start)
        self.bytes = os.stat(self.file).st_size

    def end(self):
        """Whatever has come before; a second time does nothing."""
        if self.process:
            self.process.kill()
            self.process.stdout.close()
            self.process.wait()
            self.process = None
        if os.path.exists(self.socket):
            os.unlink(self.socket)

    def start(self):
        with open(self.file, "rb") as file:
            command = self.command + self.incoming(file)
            start = time.monotonic()
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                            stdout=subprocess.PIPE, pass_fds=[file.fileno()])
            try:
                wait_for(self.process, b"")
                self.start_s.append(time.monotonic() - start)
            finally:
                self.end()


class Vmtime(Vmm):
    def prepare(self):
        pass

    def write(self):
        self.qmp.ask("snapshot-save", file=self.file, stop=True)

    def incoming(self, _):
        return ["--incoming", "file:" + self.file]


class Qemu(Vmm):
    def prepare(self):
        self.qmp.ask("migrate-set-capabilities",
                     capabilities=[{"capability": "events", "state": True}])
        self.qmp.ask("migrate-set-parameters", **{"max-bandwidth": 1 << 40})

    def write(self):
        with open(self.file, "wb") as file:
            self.qmp.ask("getfd", [file.fileno()], fdname="file")
        self.qmp.ask("migrate", uri="fd:file")
        while True:
            status = self.qmp.event("MIGRATION")["data"]["status"]
            if status == "failed":
                sys.exit(f"{self.name}: cannot save: {self.qmp.ask('query-migrate')}")
            if status == "completed":
                return

    def incoming(self, file):
        return ["-incoming", f"fd:{file.fileno()}"]


def vmms(args, folder):
    yield Vmtime("vmtime", folder, vmtime_command(args, APPEND), lambda path: ["--qmp", path])
    if shutil.which(args.qemu):
        yield Qemu("qemu", folder, qemu_command(args, APPEND),
                   lambda path: ["-qmp", f"unix:{path},server=on,wait=off"])


def measure(args, folder):
    machines = list(vmms(args, folder))
    try:
        for vmm in machines:
            vmm.begin()
        for _ in range(args.rounds):
            for vmm in machines:
                vmm.save()
    finally:
        for vmm in machines:
            vmm.end()
    for _ in range(args.rounds):
        for vmm in machines:
            vmm.start()
    return [{"vmm": vmm.name, "what": what, "median_us": round(1e6 * statistics.median(times)),
             "least_us": round(1e6 * min(times)), "most_us": round(1e6 * max(times)),
             "file_bytes": vmm.bytes}
            for what in ("save", "start") for vmm in machines
            for times in [getattr(vmm, what + "_s")]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser, rounds=5)
    parser.add_argument("--folder", default="/dev/shm", help="where the files go, a tmpfs")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        rows = measure(args, folder)
    for row in rows:
        own = next(r for r in rows if r["what"] == row["what"])
        row["vmtime_ratio"] = round(own["median_us"] / row["median_us"], 3)
    if args.json:
        print(json.dumps({"rounds": args.rounds, "cpus": args.cpus, "save": rows}))
        return
    print(f"an idle guest with {MEMORY_MIB} MiB, {args.cpus} CPU(s), {args.rounds} rounds")
    print(f"{'':24} {'median':>9} {'least':>9} {'most':>9} {'vmtime/it':>10} {'file':>9}")
    names = {"save": "saving to a file", "start": "to its first byte"}
    for row in rows:
        print(f"{row['vmm']:6} {names[row['what']]:17} {row['median_us'] / 1000:6.0f} ms "
              f"{row['least_us'] / 1000:6.0f} ms {row['most_us'] / 1000:6.0f} ms "
              f"{row['vmtime_ratio']:10.2f} {row['file_bytes'] / 2 ** 20:5.0f} MiB")


if __name__ == "__main__":
    main()
