# SPDX-License-Identifier: Apache-2.0
"""run_guest.py - guests of `vmtime run` for run_cases.py, whose arguments these are: their consoles,
their clocks, and small Multiboot images."""
import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

from part import Failure, check

VMTIME, KERNEL, BUSYBOX = sys.argv[1:4]
WORDS = sys.argv[4:]
PATIENCE_S = 120  # for one answer; only a hang takes that long
SOME = 20000  # bytes of output: each costs an exit, of which the lab does 5000 to 20000 a second

# Of ticks that are counted, some of which may be late; and of a counter, whose rate shows at once.
MINUTE_S, WHILE_S = (60, 60) if os.environ.get("VMTIME_SOAK") else (20, 12)

# A guest without kvm-clock whose only ticks are the PIT's.
JIFFIES = ["--kvm-clock", "none", "--ticks", "catchup", "--hpet", "off"]
JIFFIES_APPEND = "nolapic_timer clocksource=jiffies nohz=off highres=off"


class Guest:
    """A running `vmtime run`, its console on pipes unless `console` is another pair."""

    def __init__(self, *options, append=None, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                 ignoring=None):
        command = [VMTIME, "run", *options]
        if append is not None:
            command += ["--append", append]
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stdin=stdin, stdout=stdout,
                                        stderr=subprocess.PIPE,
                                        preexec_fn=ignoring and (lambda: signal.signal(
                                            ignoring, signal.SIG_IGN)))
        if stdin == subprocess.PIPE:
            self.to_guest = self.process.stdin.fileno()
        if stdout == subprocess.PIPE:
            self.from_guest = self.process.stdout.fileno()
        self.output = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def use(self, fd):
        self.to_guest = self.from_guest = fd

    def expect(self, pattern, patience=PATIENCE_S):
        """Reads until the pattern comes; the match.  What is before it is used up."""
        end = time.monotonic() + patience
        while True:
            found = re.search(pattern, self.output)
            if found:
                self.output = self.output[found.end():]
                return found
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.from_guest], [], [], left)[0]:
                raise Failure(f"no {pattern!r} in {patience} s after: {self.output[-600:]!r} of "
                              + " ".join(self.process.args))
            try:
                data = os.read(self.from_guest, 65536)
            except OSError:
                data = b""
            if not data:
                raise Failure(f"ended before {pattern!r}: {self.output[-600:]!r}, {self.status()} of "
                              + " ".join(self.process.args))
            self.output += data

    def send(self, text):
        os.write(self.to_guest, text.encode())

    def start_shell(self):
        """Waits for the prompt and makes of the shell one that neither echoes nor edits."""
        self.expect(rb"# ")
        self.send("stty -echo; exec sh -c 'echo \"<<\"ready\">>\"; "
                  "while read -r l; do eval \"$l\"; echo \"<<$?>>\"; done'\n")
        self.expect(rb"<<ready>>\r?\n")

    def shell(self, command):
        """Runs a command in the guest's shell; its output."""
        self.send(command + "\n")
        found = self.expect(rb"(?s)\A(.*?)<<(\d+)>>\r?\n")
        check(found[2] == b"0", f"{command}: status {found[2].decode()}: {found[1]!r}")
        return found[1].decode().replace("\r", "").strip()

    def status(self, patience=PATIENCE_S):
        """Waits for the end; its exit status and stderr."""
        end = time.monotonic() + patience
        while self.process.stdout and time.monotonic() < end:
            if select.select([self.process.stdout], [], [], 1)[0]:
                data = os.read(self.process.stdout.fileno(), 65536)
                self.output += data
                if not data:
                    break
        try:
            status = self.process.wait(max(1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise Failure(f"did not end: {self.output[-600:]!r}") from None
        return status, self.process.stderr.read().decode(errors="replace")


def leave_stale_socket(path):
    """Nobody listens: to be replaced."""
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)


def connect(path):
    end = time.monotonic() + 30
    while True:
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(PATIENCE_S)  # for one answer
        try:
            s.connect(path)
            return s
        except OSError:
            s.close()
            check(time.monotonic() < end, f"no socket at {path}")
            time.sleep(0.05)


def linux(*options, append=""):
    return Guest("--kernel", KERNEL, "--initrd", BUSYBOX, *options,
                 append="console=ttyS0 quiet " + append)


class Reading:
    """A guest's uptime, and the host's clock before and after it was read: the tightest of three."""

    def __init__(self, guest):
        tries = []
        for _ in range(3):
            before = time.monotonic()
            uptime = float(guest.shell("cat /proc/uptime").split()[0])
            tries.append((time.monotonic() - before, before, uptime))
        width, self.before, self.guest = min(tries)
        self.after = self.before + width
        # At most so much is owed to it: what it had not counted yet, or passed before Linux ran.
        self.owed = max(0, self.after - guest.started - self.guest)
        check(self.guest <= self.after - guest.started + SLACK_S,
              f"{self.guest:.2f} s up, {self.after - guest.started:.2f} s after power-on of "
              + " ".join(guest.process.args))

    def behind(self):
        """Host less guest seconds, in the middle of the bracket; and half of that."""
        half = (self.after - self.before) / 2
        return self.before + half - self.guest, half


GRAIN_S = 0.03  # of a reading: uptime's 10 ms, a tick of 4 ms, one that comes late
CRYSTAL = 2e-4  # the PIT's divisor is off by 57 ppm, the rest is the lab's own clock


SLACK_S = 1.5  # a guest on ticks, where the host is busy: some are late, or were late before


def check_rate(name, start, end, slack=SLACK_S):
    """The guest's seconds between two readings are the host's, as far as their brackets tell.  On
    ticks some may be late; and what was late at the start it may have caught up since."""
    least = (end.before - start.after) * (1 - CRYSTAL) - GRAIN_S - slack
    most = (end.after - start.before) * (1 + CRYSTAL) + GRAIN_S + slack
    most += start.owed if slack else 0
    passed = end.guest - start.guest
    check(least <= passed <= most,
          f"{name}: {passed:.2f} s passed in {least:.2f} to {most:.2f} s")


def wait_until_flat(guest):
    """Until the guest falls back no more and catches up no more; a reading then."""
    last = Reading(guest)
    for _ in range(30):
        time.sleep(3)
        reading = Reading(guest)
        (was, half_was), (now, half) = last.behind(), reading.behind()
        if abs(now - was) < half + half_was + GRAIN_S / 2:
            return reading
        last = reading
    raise Failure(f"still {now:.2f} s behind, {was:.2f} s three seconds ago")


class TickPinMasked:
    """Pin 2 of the I/O APIC, so that the guest handles no tick; it has to run with iomem=relaxed."""

    PIN_2 = 0x14  # its index

    def __init__(self, guest):
        self.guest = guest
        self.entry = int(self.pin()[0], 0)
        check(self.entry & 0x10000 == 0, f"pin 2 is masked before: {self.entry:#x}")

    def pin(self, value=""):
        """Linux sets the chip's index as well, and may have in between."""
        for _ in range(10):
            *read, index = self.guest.shell(
                f"devmem 0xfec00000 32 {self.PIN_2:#x}; devmem 0xfec00010 32 {value}; "
                "devmem 0xfec00000 32").split()
            if int(index, 0) & 0xff == self.PIN_2:
                return read
            check(not value, f"what was meant for pin 2 went to index {index}")
        raise Failure("Linux sets the I/O APIC's index again and again")

    def __enter__(self):
        self.pin(f"{self.entry | 0x10000:#x}")

    def __exit__(self, *_):
        self.pin(f"{self.entry:#x}")


def clock_source(guest):
    return guest.shell("cat /sys/devices/system/clocksource/clocksource0/current_clocksource")


def switch_off(guest):
    guest.send("poweroff -f\n")
    status, errors = guest.status()
    check(status == 0, f"status {status}: {errors}")
    return errors


# ---- Multiboot images of a few instructions -------------------------------------------------

def multiboot(code, load=0x100000):
    """A flat image; code starts at load + 32."""
    flags = 0x10000
    magic = 0x1BADB002
    header = struct.pack("<IIIIIIII", magic, flags, -(magic + flags) & 0xFFFFFFFF, load, load, 0,
                         0, load + 32)
    return header + code


def out_byte(port, value):
    return b"\x66\xba" + struct.pack("<H", port) + b"\xb0" + bytes([value]) + b"\xee"


def in_byte(port):
    return b"\x66\xba" + struct.pack("<H", port) + b"\xec"  # mov dx; in al


OUT_AL = b"\x66\xba\xf4\x00\xee"  # to the exit port
HALT = b"\xf4\xeb\xfd"
TRIPLE_FAULT = b"\x0f\x01\x1d" + struct.pack("<I", 0x180000) + b"\xcc"  # lidt of zeroes; int3


# Until the line status says so; it looks some fifty times a second.
WAIT_FOR_INPUT = b"\x66\xba\xfd\x03\xec\xa8\x01\x75\x09\xb9\x80\x84\x1e\x00\xe2\xfe\xeb\xf2"


def send_module(number, count):
    """OUTSB of the first bytes of a Multiboot module to the first serial port."""
    return (b"\x8b\x73\x18\x8b\x76" + bytes([16 * number]) + b"\xb9" +
            struct.pack("<I", count) + b"\x66\xba\xf8\x03\xfc\xf3\x6e")


def send_bytes(count):
    """OUTSB of `count` bytes from 2 MiB upward to the first serial port."""
    return (b"\xbe" + struct.pack("<I", 0x200000) + b"\xb9" + struct.pack("<I", count) +
            b"\x66\xba\xf8\x03\xfc\xf3\x6e")


class Image:
    def __init__(self, code):
        self.code = code

    def __enter__(self):
        self.file = tempfile.NamedTemporaryFile(suffix=".img")
        self.file.write(multiboot(self.code))
        self.file.flush()
        return self.file.name

    def __exit__(self, *_):
        self.file.close()


def newc(name, data, mode=0o100644):
    """A cpio archive with one file."""
    def member(name, data, mode):
        fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        head = b"070701" + b"".join(b"%08x" % f for f in fields) + name + b"\0"
        return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)
    return member(name, data, mode) + member(b"TRAILER!!!", b"", 0)


def run(*options, code=None, patience=120):
    """A short run to its end: status, standard output, standard error."""
    def go(kernel):
        command = [VMTIME, "run", *(["--kernel", kernel] if kernel else []), *options]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, timeout=patience)
        except subprocess.TimeoutExpired:
            raise Failure(f"{command[1:]} did not end in {patience} s") from None
        return done.returncode, done.stdout, done.stderr.decode(errors="replace")
    if code is None:
        return go(None)
    with Image(code) as kernel:
        return go(kernel)


def refused(status, word, *options, **kwargs):
    """Ends with that status after one line on stderr that has the word."""
    got, output, errors = run(*options, **kwargs)
    check(got == status, f"{options}: status {got}, not {status}: {errors!r}")
    check(errors.count("\n") == 1 and errors.startswith("vmtime run: "),
          f"{options}: not one line: {errors!r}")
    check(word in errors, f"{options}: no {word!r} in {errors!r}")
    check(output == b"", f"{options}: printed {output!r}")


# ---- The cases ------------------------------------------------------------------------------
