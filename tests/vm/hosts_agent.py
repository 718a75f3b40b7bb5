# SPDX-License-Identifier: Apache-2.0
"""hosts_agent.py VMTIME KERNEL INITRD - one of the hosts of hosts_cases.py, in its lab.

Does what a line of JSON says, and answers with one: {"do": NAME, ...} by {"is": ...} or
{"error": TEXT}.
"""
import glob
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
import traceback

import hostclock
from part import check
from qmp_cases import Qmp
from run_guest import KERNEL, BUSYBOX as INITRD, VMTIME

PATIENCE_S = 90
READING = re.compile(rb"^S (\d+) \d+ \S+ r (\d+) (\d+) (\d+) m (\d+) (\d+) (\d+) .*\*", re.M)


class Vm:
    """A VMM, and the readings that its guest sends."""

    def __init__(self, number, *options):
        self.path, self.console = f"/run/hosts.qmp.{number}", f"/run/console.{number}"
        self.process = subprocess.Popen(
            [VMTIME, "run", "--kernel", KERNEL, "--initrd", INITRD, "--append",
             "console=ttyS0 quiet clocksource=kvm-clock", "--memory", "128M", "--qmp", self.path,
             "--serial", f"file:{self.console}", "--serial", "stdio", *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=open(self.console + ".errors", "wb"))
        self.come, self.text = [], b""
        threading.Thread(target=self.gather, daemon=True).start()
        self.qmp = Qmp(self.path)

    def gather(self):
        while data := os.read(self.process.stdout.fileno(), 65536):
            lines = (self.text + data).split(b"\n")
            self.text = lines.pop()
            self.come += [line for line in lines if READING.match(line)]

    def said(self):
        """By the VMM, and by the guest's kernel."""
        files = map(pathlib.Path, (self.console + ".errors", self.console))
        return " ".join(f.read_text(errors="replace")[-500:] for f in files if f.exists())

    def tsc_offset(self):
        """What KVM adds to this host's TSC: the guest's."""
        found = glob.glob(f"/sys/kernel/debug/kvm/{self.process.pid}-*/vcpu0/tsc-offset")
        check(len(found) == 1, f"{found} for {self.process.pid}")
        return int(pathlib.Path(found[0]).read_text())

    def readings(self, count):
        """Of the guest's clocks by this host's TSC: (TSC before, after, ns) of either, each.  The
        first that come after a migration may have been made before it."""
        have, end = len(self.come), time.monotonic() + PATIENCE_S
        while len(self.come) < have + 3 + count:
            status = self.process.poll()
            check(status is None, f"vmtime run ended with {status}: {self.said()}")
            check(time.monotonic() < end, f"no readings: {self.said()}")
            time.sleep(0.02)
        offset, made = self.tsc_offset(), []
        for line in self.come[have + 3:]:
            numbers = [int(n) for n in READING.match(line).groups()]
            made.append([[(tsc - offset) % 2 ** 64, (tsc + width - offset) % 2 ** 64, ns]
                         for tsc, width, ns in (numbers[1:4], numbers[4:7])])
        return made


class Agent:
    def __init__(self):
        self.vms = []

    def stamp(self):
        return hostclock.rdtsc()

    def clock(self):
        return hostclock.read()

    def step(self, ns):
        hostclock.step(ns)

    def state(self, bound_ns, ppm):
        hostclock.state(bound_ns, ppm, 37)

    def bound(self):
        return hostclock.bound_ns()

    def start(self, *options):
        self.vms.append(Vm(len(self.vms), *options))

    def readings(self, count):
        return self.vms[-1].readings(count)

    def migrate(self, uri):
        """What query-migrate says at the end."""
        qmp, end = self.vms[-1].qmp, time.monotonic() + PATIENCE_S
        qmp.ask("migrate", uri=uri)
        while True:
            report = qmp.ask("query-migrate")
            if report["status"] in ("completed", "failed", "cancelled"):
                return report
            check(time.monotonic() < end, f"no end: {report}")
            time.sleep(0.05)

    def change(self):
        while True:
            change = self.vms[-1].qmp.event("VMTIME_CHANGE")
            if change["kind"] == "migrate":
                return change

    def finish(self):
        self.vms[-1].process.kill()
        self.vms[-1].process.wait()


def main():
    agent = Agent()
    for line in sys.stdin:
        ask = json.loads(line)
        try:
            answer = {"is": getattr(agent, ask["do"])(*ask["with"])}
        except Exception:  # the other side is told, whatever it is
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), flush=True)


main()
