#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a PIT's tick costs the host, and how late it comes.

The probe (src/guest/probe/probe.h) lets the PIT interrupt it at 1 kHz and halts in between, under
vmtime with its own PIT, with KVM's, and under QEMU, which take turns.  CPU time is the scheduler's
count of all threads of the VMM and of KVM's thread for its PIT, between two marks of the probe,
divided by the interrupts that arrived.  The least turn counts, since disturbances only add.
Lateness is how long each tick that fell due waited for an interrupt, lost ones until the next.
Needs a working /dev/kvm: elsewhere run it as `vmtime lab -- bench/tick_bench.py ...`.
"""
import argparse
import glob
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

PIT_HZ = 1193182
LIMIT_S = 60


class Port:
    """The probe's port, line by line."""

    def __init__(self, path, process):
        self.socket = socket.socket(socket.AF_UNIX)
        self.bytes = b""
        end = time.monotonic() + LIMIT_S
        while True:
            try:
                self.socket.connect(path)
                break
            except OSError as error:
                if process.poll() is not None or time.monotonic() > end:
                    sys.exit(f"{' '.join(process.args)}: no port: {error}")
                time.sleep(0.05)
        self.socket.settimeout(LIMIT_S)

    def wait_for(self, kind):
        """The words of the next line of this kind, without its checksum."""
        while True:
            line, newline, rest = self.bytes.partition(b"\n")
            if not newline:
                data = self.socket.recv(4096)
                if not data:
                    sys.exit("the machine closed its port")
                self.bytes += data
                continue
            self.bytes = rest
            words = line.decode(errors="replace").split()
            if words and words[0] == "E":
                sys.exit(f"the probe says: {line.decode(errors='replace')}")
            if words and words[0] == kind:
                return words[1:-1]

    def say(self, text):
        self.socket.sendall(text.encode())


def text_of(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""  # a thread that has just ended


def helper_of(pid):
    """KVM's thread for the PIT of this process."""
    for path in glob.glob("/proc/[0-9]*/comm"):
        if text_of(path).strip() == f"kvm-pit/{pid}"[:15]:
            return [int(path.split("/")[2])]
    return []


def run_ns(pids):
    """By thread: how long it has run."""
    found = {}
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/[0-9]*"):
            stat = text_of(path + "/schedstat").split()
            if stat:
                found[path] = (text_of(path + "/comm").strip(), int(stat[0]))
    return found


def one(command, path, rate_hz, seconds, tsc_khz):
    """The figures of one turn, and the TSC's frequency where the guest knows it."""
    count = round(PIT_HZ / rate_hz)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        port = Port(path, process)
        tsc_khz = int(port.wait_for("H")[2], 16) or tsc_khz
        if not tsc_khz:
            sys.exit("the TSC's frequency is not known: vmtime has to be first")
        period = (tsc_khz * 1000 * count << 32) // PIT_HZ
        run = int(tsc_khz * 1000 * seconds)
        port.say(f"p {count:x} {period >> 32:x} {period & 0xffffffff:x} {run:x} 0\n")
        port.wait_for("B")
        pids = [process.pid] + helper_of(process.pid)
        before = run_ns(pids)
        arrived = int(port.wait_for("S")[0], 16)
        after = run_ns(pids)
        port.say("\n")
        tally = [int(word, 16) for word in port.wait_for("T")[1:]]
    finally:
        process.kill()
        process.wait()
    threads = {}
    for thread, (name, ns) in after.items():
        threads[name] = threads.get(name, 0) + ns - before.get(thread, (name, 0))[1]
    return {"arrived": arrived, "cpu_ns": sum(threads.values()) / max(arrived, 1),
            "threads_ns": {name: ns / max(arrived, 1) for name, ns in threads.items()},
            "late_p50_ns": tally[7] * 1000000 // tsc_khz,
            "late_p99_ns": tally[8] * 1000000 // tsc_khz}, tsc_khz


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vmtime", required=True)
    parser.add_argument("--qemu", default="qemu-system-x86_64")
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", action="store_true", help="by thread, too")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    probe = os.path.join(os.path.dirname(os.path.abspath(args.vmtime)), "probe.elf")
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/port"
        own = [args.vmtime, "run", "--kernel", probe, "--append", "ticks", "--serial",
               f"unix:{path}"]
        vmms = {"vmtime": own,
                "vmtime --pit kernel": own + ["--pit", "kernel", "--ticks", "discard"],
                "... with reinjection": own + ["--pit", "kernel", "--ticks", "catchup"]}
        if shutil.which(args.qemu):
            vmms["qemu q35"] = [args.qemu, "-accel", "kvm", "-cpu", "host", "-M", "q35", "-m",
                                "512M", "-nodefaults", "-no-user-config", "-display", "none",
                                "-chardev", f"socket,id=port,path={path},server=on,wait=off",
                                "-serial", "chardev:port", "-kernel", probe, "-append", "ticks"]
        turns = {name: [] for name in vmms}
        tsc_khz = 0
        for _ in range(args.turns):
            for name, command in vmms.items():
                figures, tsc_khz = one(command, path, args.rate, args.seconds, tsc_khz)
                turns[name].append(figures)
                if os.path.exists(path):
                    os.unlink(path)
    rows = []
    for name, all in turns.items():
        least = min(all, key=lambda turn: turn["cpu_ns"])
        rows.append({"vmm": name, "arrived": round(statistics.median(t["arrived"] for t in all)),
                     "median_cpu_ns": round(statistics.median(t["cpu_ns"] for t in all)),
                     "least_cpu_ns": round(least["cpu_ns"]),
                     "late_p50_ns": min(t["late_p50_ns"] for t in all),
                     "late_p99_ns": min(t["late_p99_ns"] for t in all),
                     "threads_ns": {key: round(ns) for key, ns in least["threads_ns"].items()}})
    if args.json:
        print(json.dumps({"turns": args.turns, "rate_hz": args.rate, "ticks": rows}))
        return
    print(f"a PIT at {args.rate} Hz, {args.turns} turns of {args.seconds:g} s; "
          f"{round(args.rate * args.seconds)} due a turn; us of CPU time for each that arrived, "
          "and late")
    print(f"{'':22} {'arrived':>8} {'median':>8} {'least':>8} {'x least':>8} {'late p50':>9} "
          f"{'p99':>7}")
    for row in rows:
        print(f"{row['vmm']:22} {row['arrived']:8} {row['median_cpu_ns'] / 1000:8.1f} "
              f"{row['least_cpu_ns'] / 1000:8.1f} "
              f"{rows[0]['least_cpu_ns'] / row['least_cpu_ns']:8.2f} "
              f"{row['late_p50_ns'] / 1000:9.1f} {row['late_p99_ns'] / 1000:7.1f}")
        if args.threads:
            for name, ns in sorted(row["threads_ns"].items(), key=lambda item: -item[1]):
                print(f"{'':4}{name:18} {'':8} {'':8} {ns / 1000:8.1f}")


if __name__ == "__main__":
    main()
