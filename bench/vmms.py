# SPDX-License-Identifier: Apache-2.0
"""vmms.py - the VMMs that a bench compares: how each is told of the same guest, its QMP, its console."""
import json
import os
import select
import socket
import sys
import time

MEMORY_MIB = 512
LIMIT_S = 120


def add_arguments(parser, rounds):
    parser.add_argument("--vmtime", required=True)
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--initrd", required=True)
    parser.add_argument("--qemu", default="qemu-system-x86_64")
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--json", action="store_true")


def _guest(args, append):
    return ["--kernel", args.kernel, "--initrd", args.initrd, "--append", append]


def vmtime_command(args, append):
    return [args.vmtime, "run", *_guest(args, append), "--memory", f"{MEMORY_MIB}M", "--cpus",
            str(args.cpus)]


def qemu_command(args, append, machine="q35"):
    return [args.qemu, "-accel", "kvm", "-cpu", "host", "-M", machine, "-m", f"{MEMORY_MIB}M",
            "-smp", str(args.cpus), "-nodefaults", "-no-user-config", "-display", "none",
            "-serial", "stdio", *_guest(args, append)]


class Qmp:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(LIMIT_S)
        self._connect(path)
        self.lines = self.socket.makefile("r")
        self.events = []  # that came, and nobody has taken yet
        self.lines.readline()
        self.ask("qmp_capabilities")

    def _connect(self, path):
        end = time.monotonic() + LIMIT_S
        while True:
            try:
                return self.socket.connect(path)
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > end:
                    sys.exit(f"no QMP at {path}")
                time.sleep(0.01)

    def _line(self):
        text = self.lines.readline()
        if not text:
            sys.exit("the QMP connection was closed")
        said = json.loads(text)
        if "error" in said:
            sys.exit(f"QMP: {said['error']}")
        return said

    def ask(self, command, fds=(), **arguments):
        text = json.dumps({"execute": command, "arguments": arguments}) + "\n"
        socket.send_fds(self.socket, [text.encode()], fds)
        while True:
            said = self._line()
            if "return" in said:
                return said["return"]
            self.events.append(said)

    def event(self, *names):
        """The first of these that has not been taken; others before it are dropped."""
        while True:
            said = self.events.pop(0) if self.events else self._line()
            if said.get("event") in names:
                return said

    def close(self):
        self.lines.close()
        self.socket.close()


def wait_for(process, mark, limit_s=LIMIT_S):
    """Until the guest has sent the mark, without one anything; what it has sent."""
    end, seen = time.monotonic() + limit_s, b""
    while not seen or mark not in seen:
        left = end - time.monotonic()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            sys.exit(f"{process.args[0]}: nothing in {limit_s} s after: "
                     + seen[-2000:].decode(errors="replace"))
        data = os.read(process.stdout.fileno(), 65536)
        if not data:
            sys.exit(f"{' '.join(process.args)}: ended with {process.wait()} after: "
                     + seen[-2000:].decode(errors="replace"))
        seen += data
    return seen


def drain(process):
    while select.select([process.stdout], [], [], 0)[0] and os.read(process.stdout.fileno(), 65536):
        pass
