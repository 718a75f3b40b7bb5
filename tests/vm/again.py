# SPDX-License-Identifier: Apache-2.0
"""again.py LABEL COMMAND... - cases in the lab; those that fail are tried again in a new lab, twice.

QEMU writes some words of its emulated CPUs without a lock (HACKING.md has what is known): an interrupt
may be lost, and a guest, of QEMU or of vmtime, or the lab falls silent.  What fails for such a reason
passes in a new lab; what is broken fails each time.

COMMAND prints `ok - LABEL: NAME`, `not ok - LABEL: NAME: why` or `skip - LABEL: NAME: why`, a line
a case, and leaves out the cases that stand in VMTIME_TEST_DONE, a name a line.  Each failure but the
last is printed as `again - LABEL: NAME: why`.  The exit status is 1 when something fails in the last
try.
"""
import os
import re
import signal
import subprocess
import sys

LABEL, COMMAND = sys.argv[1], sys.argv[2:]
TRIES = 3
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
CASE = re.compile(rf"^(ok|not ok|skip) - {re.escape(LABEL)}: ([^:]*?)(?: \(\d+ s\))?(?:: (.*))?$")


class Try:
    """One run of the command, with what it left undone."""

    def __init__(self, done):
        self.done, self.failed = list(done), {}
        environment = dict(os.environ, VMTIME_TEST_DONE="\n".join(done))
        process = subprocess.Popen(COMMAND, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, errors="replace",
                                   env=environment)
        try:
            for line in process.stdout:
                self.take(line.rstrip("\n"))
        finally:
            process.terminate()  # nothing, where it has ended
            self.status = process.wait()

    def take(self, line):
        case = CASE.match(line)
        if case and case[1] == "not ok":
            self.failed[case[2]] = case[3]
            return
        if case:
            self.done.append(case[2])
        print(line, flush=True)


def failures(run):
    """What went wrong in a try, as `NAME: why`."""
    found = [f"{name}: {why}" for name, why in run.failed.items()]
    if run.status not in (0, 1) or (run.status and not found):
        found.append(f"the lab: it ended with status {run.status}, {len(run.done)} cases done")
    return found


def main():
    done, missing = [], {}
    for number in range(TRIES):
        run = Try(done)
        found = failures(run)
        # What failed before has to pass now: a lab that ended early did not reach it.
        missing = {name: why for name, why in {**missing, **run.failed}.items()
                   if name not in run.done}
        found += [f"{name}: {why} (not reached again)" for name, why in missing.items()
                  if name not in run.failed]
        if not found and (number == 0 or run.done != done):
            return 0
        done = run.done
        word = "again" if number + 1 < TRIES else "not ok"
        for what in found or ["the lab: every case passed, and its status was not 0"]:
            print(f"{word} - {LABEL}: {what}", flush=True)
    return 1


sys.exit(main())
