# SPDX-License-Identifier: Apache-2.0
"""again.py LABEL COMMAND... - cases in labs, one after the other; what fails is tried again, twice.

QEMU writes some words of its emulated CPUs without a lock (HACKING.md has what is known): an interrupt
may be lost, and a guest, of QEMU or of vmtime, or the lab falls silent.  What fails for such a reason
passes in a new lab; what is broken fails each time.

COMMAND prints `ok - LABEL: NAME`, `not ok - LABEL: NAME: why` or `skip - LABEL: NAME: why`, a line
a case, and leaves out the cases that stand in VMTIME_TEST_DONE, a name a line.  Once it has taken
VMTIME_TEST_SECONDS (240), it may end with status MORE before its next case: the others' turn comes in a new
lab, so that no lab has too many for its time limit.

Each failure of a case but its last is printed as `again - LABEL: NAME: why`, and so is a lab that ends
in another way.  The exit status is 1 when something has failed for the last time.
"""
import collections
import os
import re
import signal
import subprocess
import sys

TRIES = 3
MORE = 75
SECONDS = os.environ.get("VMTIME_TEST_SECONDS", "240")


class Try:
    """One run of the command, with what it left undone."""

    def __init__(self, label, command, done):
        self.case = re.compile(
            rf"^(ok|not ok|skip) - {re.escape(label)}: ([^:]*?)(?: \(\d+ s\))?(?:: (.*))?$")
        self.passed, self.failed = [], {}
        environment = dict(os.environ, VMTIME_TEST_DONE="\n".join(done),
                           VMTIME_TEST_SECONDS=SECONDS)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, errors="replace",
                                   env=environment)
        try:
            for line in process.stdout:
                self.take(line.rstrip("\n"))
        finally:
            process.terminate()  # nothing, where it has ended
            self.status = process.wait()

    def take(self, line):
        case = self.case.match(line)
        if case and case[1] == "not ok":
            self.failed[case[2]] = case[3]
            return
        if case:
            self.passed.append(case[2])
        print(line, flush=True)

    def fault(self):
        """Of the lab itself; None when there is none."""
        cases = len(self.passed) + len(self.failed)
        if self.status == 0 or (self.status == 1 and self.failed):
            return None
        if self.status == MORE and cases:
            return None
        if self.status == 1:
            return "every case passed, and its status was 1"
        return f"it ended with status {self.status}, {cases} cases done"


class Cases:
    """All runs together."""

    def __init__(self, label):
        self.label, self.done, self.lost = label, [], False
        self.failures = collections.Counter()
        self.waiting = {}  # what failed and is to pass yet

    def fail(self, name, why):
        self.failures[name] += 1
        last = self.failures[name] == TRIES
        print(f"{'not ok' if last else 'again'} - {self.label}: {name}: {why}", flush=True)
        self.lost |= last
        return last

    def take(self, run):
        """False when no other lab can change anything."""
        self.done += run.passed
        for name in run.passed:
            self.waiting.pop(name, None)
        for name, why in run.failed.items():
            self.waiting[name] = why
            if self.fail(name, why):
                self.done.append(name)  # for the last time
                del self.waiting[name]
        fault = run.fault()
        passed_over = [name for name in self.waiting if name not in run.failed]
        if not fault and run.status != MORE and passed_over:
            fault = f"it passed over what had failed: {', '.join(passed_over)}"
        if fault and self.fail("the lab", fault):
            for name, why in self.waiting.items():
                print(f"not ok - {self.label}: {name}: {why} (not reached again)", flush=True)
            return False
        return bool(fault or self.waiting or run.status == MORE)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    label, command = sys.argv[1], sys.argv[2:]
    cases = Cases(label)
    while cases.take(Try(label, command, cases.done)):
        pass
    return 1 if cases.lost else 0


if __name__ == "__main__":
    sys.exit(main())
