#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a guest pays for reading the PM timer, above an exit to user space and back.

One image for all: it reads port 0x608 many times between two RDTSCs, and sends what that took.
Under bare_vmm, which answers at once, that is the bare exit; under vmtime and QEMU (q35, whose PM
timer is at the same port) what is more is the VMM's own.  All VMMs take turns; the least counts, since
disturbances only add.
Needs a working /dev/kvm: elsewhere run it as `vmtime lab -- bench/read_bench.py ...`.
"""
import argparse
import json
import os
import select
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

LOAD_AT = 1 << 20
PM_TIMER = 0x608
READS = 100
ROUNDS = 100
MARK = b"\xa5read"
LIMIT_S = 120


def send_al():
    wait = b"\x66\xba\xfd\x03" + b"\xec" + b"\xa8\x20" + b"\x74\xfb"  # until LSR has bit 5
    return b"\x88\xc3" + wait + b"\x88\xd8" + b"\x66\xba\xf8\x03" + b"\xee"


def image():
    code = b""
    for byte in MARK:
        code += b"\xb0" + bytes([byte]) + send_al()
    code += b"\xbf" + struct.pack("<I", ROUNDS)
    start = len(code)
    code += b"\x0f\xae\xe8\x0f\x31" + b"\x89\xc6"  # lfence, rdtsc, esi = eax
    code += b"\xb9" + struct.pack("<I", READS) + b"\xba" + struct.pack("<I", PM_TIMER)
    code += b"\xed\x49\x75\xfc"  # in eax, dx; dec ecx; jnz
    code += b"\x0f\xae\xe8\x0f\x31" + b"\x29\xf0" + b"\x89\xc5"  # ebp = what it took
    for _ in range(4):
        code += b"\x89\xe8" + send_al() + b"\xc1\xed\x08"  # al = low byte, shift
    code += b"\x4f\x0f\x85"  # dec edi; jnz
    code += struct.pack("<i", start - (len(code) + 4))
    code += b"\xb0\x00\xe6\xf4\xfa\xf4\xeb\xfd"  # port 0xf4, cli, hlt
    header = struct.pack("<IIIIIIII", 0x1badb002, 0x10000, -(0x1badb002 + 0x10000) & 0xffffffff,
                         LOAD_AT + 8, LOAD_AT, 0, 0, LOAD_AT + 40)
    return b"\xeb\x26" + b"\x90" * 6 + header + code  # entered at 0 by bare_vmm, at 40 by others


def one(command):
    """Cycles of one read in each round."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    seen = b""
    want = len(MARK) + 4 * ROUNDS
    try:
        while len(seen[max(seen.find(MARK), 0):]) < want or MARK not in seen:
            left = start + LIMIT_S - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                sys.exit(f"{command[0]}: no figures in {LIMIT_S} s")
            data = os.read(process.stdout.fileno(), 65536)
            if not data:
                sys.exit(f"{' '.join(command)}: ended with {process.wait()}")
            seen += data
    finally:
        process.kill()
        process.stdout.close()
        process.wait()
    at = seen.find(MARK) + len(MARK)
    return [cycles / READS for cycles in struct.unpack_from(f"<{ROUNDS}I", seen, at)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vmtime", required=True)
    parser.add_argument("--bare", required=True)
    parser.add_argument("--qemu", default="qemu-system-x86_64")
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    with tempfile.NamedTemporaryFile() as file:
        file.write(image())
        file.flush()
        vmms = {"bare exit": [args.bare, file.name],
                "vmtime": [args.vmtime, "run", "--kernel", file.name]}
        if shutil.which(args.qemu):
            vmms["qemu q35"] = [args.qemu, "-accel", "kvm", "-cpu", "host", "-M", "q35", "-m",
                                "128M", "-nodefaults", "-no-user-config", "-display", "none",
                                "-serial", "stdio", "-kernel", file.name]
        cycles = {name: [] for name in vmms}
        for _ in range(args.turns):
            for name, command in vmms.items():
                cycles[name] += one(command)
    least = {name: min(all) for name, all in cycles.items()}
    rows = [{"vmm": name, "median_cycles": round(statistics.median(all)),
             "least_cycles": round(least[name]),
             "above_bare": round(least[name] - least["bare exit"])}
            for name, all in cycles.items()]
    if args.json:
        print(json.dumps({"turns": args.turns, "pm_timer": rows}))
        return
    print(f"PM timer read by a guest, {args.turns * ROUNDS} rounds of {READS}, cycles a read")
    print(f"{'':14} {'median':>8} {'least':>8} {'above a bare exit':>18}")
    for row in rows:
        print(f"{row['vmm']:14} {row['median_cycles']:8} {row['least_cycles']:8} "
              f"{row['above_bare']:18}")
    if len(rows) == 3 and rows[2]["above_bare"] > 0:
        ratio = rows[1]["above_bare"] / rows[2]["above_bare"]
        print(f"vmtime / qemu, above a bare exit: {ratio:.2f} (limit 0.25)")


if __name__ == "__main__":
    main()
