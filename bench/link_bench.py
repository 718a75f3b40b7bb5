#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long a machine stands still for a slow link, beside what was expected, and beside QEMU.

Two network namespaces of this host, of which nobody else knows and which end with this process,
have a link between them that tc's tbf holds to so many Mbit/s.  Over it goes a machine with 4 MiB
of memory, of which some pages are written again and again: vmtime's is nothing else (link_bench.c),
QEMU's writes them by its firmware.  Both have the same downtime limit and none of bandwidth.

expected  what query-migrate's expected-downtime says when the machine stands; QEMU's, just before
said      what query-migrate's downtime says in the end
seen      from there until it runs at the target

The exit status is 1 when vmtime's is further from what was expected than its limit, or when what
cannot fit into the downtime limit is not refused by a word with both rates.  Needs root; status 77
where there is no such link to be had.
"""
import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from link import FAR, Link, NoLink
from vmms import Qmp

DOWNTIME_MS = 300  # link_bench.c's
FILL_MIB = 4
ROWS = [(100, 20), (100, 100), (10, 20), (4, 15)]  # Mbit/s, pages written again and again
TOO_MUCH = [(4, 30), (4, 100)]  # 0.4 and 1 s
RATIO_LIMIT, LEAST_MS = 1.5, 25  # either way; less is what a busy machine adds by itself
TELLS = r"the guest writes (\d+\.\d) MB/s, the link takes (\d+\.\d) MB/s"
ENDS_S = 60


class Failure(Exception):
    """A migration that should have been another."""


class Refused(Exception):
    """It did not migrate, with why."""


class Vmtime:
    name = "vmtime"

    def __init__(self, args, link):
        self.program, self.link = f"{args.build}/bench/link_bench", link

    def move(self, hot):
        """(expected, said, seen), in ms."""
        done = subprocess.run(self.link.near.command(self.program, self.link.far.path,
                                                     f"tcp:{FAR}:7000", str(hot)),
                              capture_output=True, text=True)
        if done.returncode == 1:
            raise Refused(done.stderr.strip())
        if done.returncode:
            raise Failure(done.stderr.strip() or f"link_bench ended with {done.returncode}")
        return tuple(int(figure) / 1e6 for figure in re.findall(r"_ns (\d+)", done.stdout))


def firmware(hot):
    """For the reset vector's segment: one word of each page from 128 KiB on, for ever."""
    code = bytes.fromhex("fa"                # cli
                         "b80020"            # all:  mov ax, 0x2000
                         "8ec0"              # page: mov es, ax
                         "26ff060000"        # inc word [es:0]
                         "050001"            # add ax, 0x100
                         "3d") + (0x2000 + hot * 0x100).to_bytes(2, "little")  # cmp ax, the end
    code += bytes.fromhex("72f1"             # jb page
                          "ebec")            # jmp all
    reset = bytes.fromhex("e90d00")          # jmp 0, from 0xfff0
    return code.ljust(0xfff0, b"\0") + reset.ljust(16, b"\0")


class Qemu:
    name = "qemu"
    uri = f"tcp:{FAR}:7001"

    def __init__(self, args, link, folder):
        self.program, self.link, self.folder = args.qemu, link, folder
        with open(f"{folder}/fill", "wb") as file:
            file.write(os.urandom(FILL_MIB << 20))

    def start(self, net, name, *more):
        socket = f"{self.folder}/{name}"
        process = subprocess.Popen(net.command(
            self.program, "-accel", "tcg", "-M", "q35", "-m", "64M", "-nodefaults",
            "-no-user-config", "-display", "none", "-bios", f"{self.folder}/firmware", "-device",
            f"loader,file={self.folder}/fill,addr=0x100000,force-raw=on", "-qmp",
            f"unix:{socket},server=on,wait=off", *more))
        return process, socket

    def move(self, hot):
        with open(f"{self.folder}/firmware", "wb") as file:
            file.write(firmware(hot))
        started = [self.start(self.link.far, "there", "-incoming", self.uri),
                   self.start(self.link.near, "here")]
        qmps = []
        try:
            for _, socket in started:
                qmps.append(Qmp(socket))
                qmps[-1].ask("query-status")  # it listens by then
                qmps[-1].ask("migrate-set-capabilities",
                             capabilities=[{"capability": "events", "state": True}])
            return self.figures(*qmps)
        finally:
            for qmp in qmps:
                qmp.close()
            for process, socket in started:
                process.kill()
                process.wait()
                if os.path.exists(socket):
                    os.unlink(socket)

    def figures(self, there, here):
        here.ask("migrate-set-parameters", **{"max-bandwidth": 1 << 40,
                                              "downtime-limit": DOWNTIME_MS})
        here.ask("migrate", uri=self.uri)
        end, expected = time.monotonic() + ENDS_S, 0
        while time.monotonic() < end:
            info = here.ask("query-migrate")
            expected = info.get("expected-downtime", expected)
            if info["status"] == "failed":
                raise Refused(info.get("error-desc", "failed"))
            if info["status"] == "completed":
                seen = seconds(there.event("RESUME")) - seconds(here.event("STOP"))
                return expected, info["downtime"], 1e3 * seen
            time.sleep(0.02)
        raise Refused(f"has not ended after {ENDS_S} s")


def seconds(event):
    return event["timestamp"]["seconds"] + 1e-6 * event["timestamp"]["microseconds"]


def measure(args, vmms, link, mbit_s, hot):
    """A row for each VMM: the round in the middle, by what was seen of what was expected."""
    link.set_rate(mbit_s)
    rounds = {vmm.name: [] for vmm in vmms}
    for _ in range(args.rounds):
        for vmm in vmms:
            try:
                rounds[vmm.name].append(vmm.move(hot))
            except (Failure, Refused) as why:
                raise Failure(f"{vmm.name}, {mbit_s} Mbit/s, {hot} pages: {why}") from None
    rows = []
    for name, figures in rounds.items():
        expected, said, seen = sorted(figures, key=lambda f: f[2] / (f[0] or 1))[len(figures) // 2]
        rows.append({"mbit_s": mbit_s, "hot_pages": hot, "vmm": name, "expected_ms": expected,
                     "said_ms": said, "seen_ms": seen, "ratio": seen / (expected or 1)})
        rows[-1]["vmtime_ratio"] = rows[0]["seen_ms"] / seen
    return rows


def too_much(vmms, link, mbit_s, hot):
    """What becomes of a machine whose rest never fits; vmtime refuses it."""
    link.set_rate(mbit_s)
    rows = []
    for vmm in vmms:
        row = {"mbit_s": mbit_s, "hot_pages": hot, "vmm": vmm.name}
        try:
            row["expected_ms"], row["said_ms"], row["seen_ms"] = vmm.move(hot)
            row["ratio"] = row["seen_ms"] / (row["expected_ms"] or 1)
        except Refused as why:
            row["why"] = str(why)
        rows.append(row)
    told = re.search(TELLS, rows[0].get("why", ""))
    if not told:
        raise Failure(f"{mbit_s} Mbit/s, {hot} pages: not refused with both rates: {rows[0]}")
    rows[0] |= {"writes_mb_s": float(told[1]), "takes_mb_s": float(told[2])}
    return rows


def as_expected(row):
    if "takes_mb_s" in row:  # cut to tenths, and of the wire a twentieth is headers
        told, real = row["takes_mb_s"], row["mbit_s"] / 8
        return real / RATIO_LIMIT - 0.1 <= told <= real * RATIO_LIMIT
    return (1 / RATIO_LIMIT <= row["ratio"] <= RATIO_LIMIT
            or abs(row["seen_ms"] - row["expected_ms"]) <= LEAST_MS)


def print_rows(args, rows):
    print(f"{FILL_MIB} MiB, pages of which are written again and again; downtime limit "
          f"{DOWNTIME_MS} ms, {args.rounds} rounds;\nlimit of vmtime's seen / expected "
          f"{RATIO_LIMIT} either way, or {LEAST_MS} ms")
    print(f"{'link':>10} {'pages':>5}  {'':6} {'expected':>10} {'said':>10} {'seen':>10} "
          f"{'seen/expected':>14} {'vmtime/it':>10}")
    for row in rows:
        text = f"{row['mbit_s']:3} Mbit/s {row['hot_pages']:5}  {row['vmm']:6} "
        if "why" in row:
            print(text + "refused: " + row["why"].split(": ", 1)[-1].split(" (")[0])
            continue
        text += " ".join(f"{row[what]:7.1f} ms" for what in ("expected_ms", "said_ms", "seen_ms"))
        text += f" {row['ratio']:14.2f}"
        print(text + (f" {row['vmtime_ratio']:10.2f}" if "vmtime_ratio" in row else ""))


def bench(args, folder):
    link = Link()
    vmms = [Vmtime(args, link)]
    if shutil.which(args.qemu):
        vmms.append(Qemu(args, link, folder))
    rows = [row for mbit_s, hot in ROWS for row in measure(args, vmms, link, mbit_s, hot)]
    return rows + [row for mbit_s, hot in TOO_MUCH for row in too_much(vmms, link, mbit_s, hot)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--qemu", default="qemu-system-x86_64")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        with tempfile.TemporaryDirectory(dir="/tmp") as folder:
            rows = bench(args, folder)
    except NoLink as why:
        print(f"link_bench: {why}", file=sys.stderr)
        sys.exit(77)
    except Failure as why:
        sys.exit(f"link_bench: {why}")
    if args.json:
        print(json.dumps({"rounds": args.rounds, "link": rows}))
    else:
        print_rows(args, rows)
    sys.exit(0 if all(as_expected(row) for row in rows if row["vmm"] == "vmtime") else 1)


if __name__ == "__main__":
    main()
