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
import shutil
import statistics
import subprocess
import time

from vmms import MEMORY_MIB, add_arguments, qemu_command, vmtime_command, wait_for

APPEND = "console=ttyS0"
MARK = b"process 1 runs"


def commands(args):
    yield "vmtime", vmtime_command(args, APPEND)
    if shutil.which(args.qemu):
        yield "qemu microvm", qemu_command(args, APPEND, "microvm")
        yield "qemu q35", qemu_command(args, APPEND)


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
    try:
        wait_for(process, MARK)
        return time.monotonic() - start, own_rss_kib(process.pid)
    finally:
        process.terminate()
        process.stdout.close()
        process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_arguments(parser, rounds=3)
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
