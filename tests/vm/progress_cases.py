# SPDX-License-Identifier: Apache-2.0
"""progress_cases.py - cases of run_cases.py: what a person sees of a migration on a terminal."""
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time

from migrate_cases import Place, goes_slowly
from qmp_cases import Qmp
from run_guest import PATIENCE_S, VMTIME, check


class Watched:
    """A VMM whose standard error is a terminal of so many columns, and nobody else's."""

    def __init__(self, place, name, columns, *options):
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        path = f"{place.folder.name}/{name}"
        self.process = subprocess.Popen(
            [VMTIME, "run", "--kernel", place.kernel, "--memory", "64M", "--serial", "none",
             "--qmp", path, *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs)
        os.close(theirs)
        self.qmp = Qmp(path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.ours)

    def shows(self, pattern):
        """All that it has written by when this has come."""
        seen, end = "", time.monotonic() + PATIENCE_S
        while not re.search(pattern, seen):
            check(time.monotonic() < end, f"no {pattern!r} in {seen!r}")
            if select.select([self.ours], [], [], 1)[0]:
                seen += os.read(self.ours, 65536).decode()
        return seen

    def leave(self):
        self.qmp.ask("quit")
        check(self.process.wait(PATIENCE_S) == 0, "it did not quit")


def rows(seen, columns):
    """One row that is written anew; what it was."""
    texts = seen.split("\r\x1b[K")
    check(all(len(text) < columns and "\n" not in text for text in texts[:-1]), texts)
    return texts


def on_a_terminal_how_far_it_is_is_one_row():
    """On a narrow one too; where it ends, a line stands in its place."""
    wide, narrow = 100, 20
    with Place() as place, Watched(place, "source", wide) as source:
        for stays_here in True, False:
            with Watched(place, "target", narrow, "--incoming", place.uri) as target:
                target.shows(r"waits for a machine at .*\r\n")
                goes_slowly(source, place.uri)
                seen = source.shows(r"round \d+, [\d.]+ MiB sent, [\d.]+ MiB left, to unix:.*\r")
                check(len(rows(seen, wide)) > 1, seen)
                come = target.shows(r"round \d+, [\d.]+ MiB.*\r")
                check(len(rows(come, narrow)) > 1, come)
                if stays_here:
                    source.qmp.ask("migrate_cancel")
                    last = rows(source.shows(r"\r\n"), wide)[-1]
                    check(last == "vmtime run: the machine stays: migrate_cancel\r\n", last)
                    check(target.process.wait(PATIENCE_S) == 3, "another status")
                    continue
                source.qmp.ask("migrate-set-parameters", **{"max-bandwidth": 0,
                                                            "downtime-limit": 300})
                last = rows(source.shows(r"\r\n"), wide)[-1]
                check(re.fullmatch(r"vmtime run: the machine has gone to .* MiB in .*s, it stood "
                                   r"still for .*s\r\n", last), last)
                last = rows(target.shows(r"\r\n"), narrow)[-1]
                check("has come to" in last, last)
                source.leave()
                target.leave()


CASES = [on_a_terminal_how_far_it_is_is_one_row]
