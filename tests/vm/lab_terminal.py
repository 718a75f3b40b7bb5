# SPDX-License-Identifier: Apache-2.0
"""lab_terminal.py VMTIME - vmtime lab on a terminal: size, keys, background, and what it leaves.

Prints a line a case, as tests/vm/lab_test.sh, which runs it.  Keys are sent when the state that
they are meant for has come, never after a time.
"""
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import part
from part import check

VMTIME = sys.argv[1]
PATIENCE_S = 150

# A session of its own on the terminal at its standard input; the command is then its leader's child
# in a process group of its own, in the foreground or not, with every signal as at login.
LEADER = """
import fcntl, os, signal, sys, termios
foreground, command = sys.argv[1] == "foreground", sys.argv[2:]
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    if foreground:
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        os.tcsetpgrp(0, os.getpgrp())
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM, signal.SIGTTOU):
        signal.signal(number, signal.SIG_DFL)
    os.execv(command[0], command)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
os._exit(status if status >= 0 else 128 - status)
"""


class Terminal:
    """A command on a new terminal of 33 rows and 111 columns."""

    def __init__(self, *command, foreground=True):
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 111, 0, 0))
        self.before = termios.tcgetattr(theirs)
        self.theirs = theirs
        self.output = b""
        self.leader = subprocess.Popen(
            [sys.executable, "-c", LEADER, "foreground" if foreground else "background", *command],
            stdin=theirs, stdout=theirs, stderr=theirs)

    def read(self, seconds):
        if not select.select([self.ours], [], [], seconds)[0]:
            return False
        self.output += os.read(self.ours, 65536)
        return True

    def wait_for(self, what, condition):
        end = time.monotonic() + PATIENCE_S
        while not condition():
            check(time.monotonic() < end, f"no {what} in {PATIENCE_S} s after {self.output!r}")
            check(self.leader.poll() is None, f"it ended before {what}: {self.output!r}")
            self.read(0.1)

    def press(self, keys):
        os.write(self.ours, keys)

    def end(self):
        """Its status; what it left of the terminal's mode is checked."""
        end = time.monotonic() + PATIENCE_S
        while self.leader.poll() is None:
            check(time.monotonic() < end, f"no end in {PATIENCE_S} s after {self.output!r}")
            self.read(0.1)
        while self.read(0):
            pass
        check(termios.tcgetattr(self.theirs) == self.before, "the terminal is left changed")
        return self.leader.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.leader.poll() is None:
            for child in children(self.leader.pid):
                os.kill(child, signal.SIGKILL)  # its QEMU ends with it
            self.leader.kill()
        self.leader.wait()
        os.close(self.ours)
        os.close(self.theirs)


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def is_running_qemu(pid):
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().startswith("qemu")
    except OSError:
        return False


def boots(terminal):
    """The lab has started its QEMU: it is long past taking charge of signals."""
    return any(is_running_qemu(grandchild) for child in children(terminal.leader.pid)
               for grandchild in children(child))


def a_terminal_is_passed_on():
    with Terminal(VMTIME, "lab", "--timeout", "2min", "--", "sh", "-c",
                  "test -t 0 && test -t 2 && stty size; exit 5") as t:
        status = t.end()
        check(b"33 111" in t.output and status == 5, f"status {status}: {t.output!r}")


def key_ends_the_boot(key, number):
    with Terminal(VMTIME, "lab", "--timeout", "2min", "--", "sleep", "1000") as t:
        t.wait_for("QEMU", lambda: boots(t))
        t.press(key)
        status = t.end()
        check(status == 128 + number, f"status {status}: {t.output!r}")


def a_key_goes_to_the_command():
    with Terminal(VMTIME, "lab", "--timeout", "2min", "--", "sh", "-c",
                  "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.1; done") as t:
        t.wait_for("command", lambda: b"ready" in t.output)
        t.press(b"\x03")
        status = t.end()
        check(b"caught" in t.output and status == 9, f"status {status}: {t.output!r}")


def no_input_in_the_background():
    with Terminal(VMTIME, "lab", "--timeout", "2min", "--", "sh", "-c",
                  "cat; test -t 0 || exit 6", foreground=False) as t:
        status = t.end()
        check(status == 6, f"status {status}: {t.output!r}")


CASES = [
    ("a terminal is passed on, with its size and the command's status", a_terminal_is_passed_on),
    ("Ctrl-C ends it while it boots", lambda: key_ends_the_boot(b"\x03", signal.SIGINT)),
    ("Ctrl-\\ too", lambda: key_ends_the_boot(b"\x1c", signal.SIGQUIT)),
    ("then Ctrl-C is the command's", a_key_goes_to_the_command),
    ("in the terminal's background it has no input", no_input_in_the_background),
]
part.run("lab", [[case] for case in CASES])
