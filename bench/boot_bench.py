#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""From starting a VMM to process 1 of its guest, and the VMM's own memory then.

The same kernel, initrd, memory and command line for vmtime, QEMU's microvm and QEMU's q35, one
after another, several rounds; durations mean something only beside those of the same run, so the
medians and their ratios are printed.  Needs a working /dev/kvm: elsewhere run it as
`vmtime lab -- bench/boot_bench.py ...`.

Memory: Rss of all mappings in /proc/PID/smaps that are not the guest's memory.
"""
import argparse
import json
import os
import select
import shutil
import statistics
import subprocess
import sys
import time

MEMORY_MIB = 512
APPEND = "console=ttyS0"
MARK = b"process 1 runs"
LIMIT_S = 120


def commands(args):
    memory = f"{MEMORY_MIB}M"
    guest = ["-kernel", args.kernel, "-initrd", args.initrd, "-append", APPEND]
    qemu = [args.qemu, "-accel", "kvm", "-cpu", "host", "-m", memory, "-smp", str(args.cpus),
            "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio"] + guest
    yield "vmtime", [args.vmtime, "run", "--kernel", args.kernel, "--initrd", args.initrd,
                     "--append", APPEND, "--memory", memory, "--cpus", str(args.cpus)]
    if shutil.which(args.qemu):
        yield "qemu microvm", qemu + ["-M", "microvm"]
        yield "qemu q35", qemu + ["-M", "q35"]


def own_rss_kib(pid):
    """Rss of all mappings smaller than the guest's memory."""
    total = size = 0
    with open(f"/proc/{pid}/smaps") as smaps:
        for line in smaps:
            if line.startswith("Size:"):
                size = int(line.split()[1])
            elif line.startswith("Rss:") and size < MEMORY_MIB * 1024:
                total += int(line.split()[1])
    return total


def boot(command):
    """Seconds to the mark, and KiB."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    seen = b""
    try:
        while MARK not in seen:
            left = start + LIMIT_S - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                sys.exit(f"{command[0]}: not booted in {LIMIT_S} s; the end of its output:\n"
                         + seen[-2000:].decode(errors="replace"))
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                sys.exit(f"{' '.join(command)}: ended with {process.wait()}; the end of its "
                         "output:\n" + seen[-2000:].decode(errors="replace"))
            seen += data
        return time.monotonic() - start, own_rss_kib(process.pid)
    finally:
        process.terminate()
        process.stdout.close()
        process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vmtime", required=True)
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--initrd", required=True)
    parser.add_argument("--qemu", default="qemu-system-x86_64")
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    runs = {}
    for _ in range(args.rounds):
        for name, command in commands(args):
            runs.setdefault(name, []).append(boot(command))

    rows = []
    for name, results in runs.items():
        seconds = [s for s, _ in results]
        rows.append({"vmm": name, "median_ms": round(1000 * statistics.median(seconds)),
                     "least_ms": round(1000 * min(seconds)),
                     "most_ms": round(1000 * max(seconds)),
                     "own_rss_kib": round(statistics.median(r for _, r in results))})
    own = rows[0]["median_ms"]
    for row in rows:
        row["vmtime_ratio"] = round(own / row["median_ms"], 3)
    if args.json:
        print(json.dumps({"rounds": args.rounds, "cpus": args.cpus, "boot": rows}))
        return
    print(f"boot to process 1, {args.rounds} rounds, {args.cpus} CPU(s), {MEMORY_MIB} MiB")
    print(f"{'':14} {'median':>8} {'least':>8} {'most':>8} {'vmtime/it':>10} {'own memory':>11}")
    for row in rows:
        print(f"{row['vmm']:14} {row['median_ms']:5} ms {row['least_ms']:5} ms "
              f"{row['most_ms']:5} ms {row['vmtime_ratio']:10.2f} {row['own_rss_kib']:7} KiB")


if __name__ == "__main__":
    main()
