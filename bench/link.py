# SPDX-License-Identifier: Apache-2.0
"""link.py - a slow link between two networks of this host, for a bench.

Both are namespaces that have no name, and the link is in them: whatever ends this process ends the
programs that it started there, and with the last of them all is gone."""
import ctypes
import os
import shutil
import subprocess

NEAR, FAR = "192.0.2.1", "192.0.2.2"  # RFC 5737
CLONE_NEWNET = 0x40000000
PACKAGES = {"nsenter": "util-linux", "setpriv": "util-linux", "ip": "iproute2", "tc": "iproute2"}


class NoLink(Exception):
    """This host has none to give."""


class Net:
    """A network namespace; this process is in the last one that was made."""

    def __init__(self):
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
            why = os.strerror(ctypes.get_errno())
            raise NoLink(f"no link: no network of its own: {why} (run it as root)")
        self.path = f"/proc/{os.getpid()}/fd/{os.open('/proc/self/ns/net', os.O_RDONLY)}"

    def command(self, *command):
        """That command there, killed when this process ends."""
        return ["nsenter", f"--net={self.path}", "setpriv", "--pdeathsig", "KILL", *command]

    def run(self, text):
        done = subprocess.run(self.command(*text.split()), capture_output=True, text=True)
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
            raise NoLink(f"no link: {text}: {said[0]}")


class Link:
    """From `near`, at NEAR, to `far`, at FAR; only that way is slow."""

    def __init__(self):
        for program, package in PACKAGES.items():
            if not shutil.which(program):
                raise NoLink(f"no link: {program} is missing (Debian: {package})")
        self.near, self.far = Net(), Net()
        self.near.run(f"ip link add near type veth peer name far netns {self.far.path}")
        for net, name, address in (self.near, "near", NEAR), (self.far, "far", FAR):
            net.run(f"ip addr add {address}/30 dev {name}")
            net.run(f"ip link set {name} up")

    def set_rate(self, mbit_s):
        self.near.run(f"tc qdisc replace dev near root tbf rate {mbit_s}mbit burst 32kb "
                      "latency 50ms")
