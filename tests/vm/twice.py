# SPDX-License-Identifier: Apache-2.0
"""twice.py LABEL COMMAND... - cases in the lab; those that fail are tried once more in a new lab.

The lab emulates two CPUs, and on a busy machine that emulation is at times wrong: a guest, of QEMU
or of vmtime, meets a triple fault or falls silent, or the lab itself freezes (HACKING.md has what is
known).  What fails for such a reason passes in a new lab; what is broken fails twice.

COMMAND prints `ok - LABEL: NAME`, `not ok - LABEL: NAME: why` or `skip - LABEL: NAME: why`, a line
a case, and leaves out the cases that stand in VMTIME_TEST_DONE, a name a line.  Each first failure
is printed as `again - LABEL: NAME: why`.  The exit status is 1 when a case failed twice.
"""
import os
import re
import subprocess
import sys

LABEL, COMMAND = sys.argv[1], sys.argv[2:]
CASE = re.compile(rf"^(ok|not ok|skip) - {LABEL}: ([^:(]*[^:( ])(.*)$")


class Try:
    """One run of the command, with what it left undone."""

    def __init__(self, done):
        self.lines, self.done, self.failed = [], list(done), {}
        environment = dict(os.environ, VMTIME_TEST_DONE="\n".join(done))
        process = subprocess.Popen(COMMAND, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, errors="replace",
                                   env=environment)
        for line in process.stdout:
            self.take(line.rstrip("\n"))
        self.status = process.wait()

    def take(self, line):
        case = CASE.match(line)
        if case and case[1] == "not ok":
            self.failed[case[2]] = case[3].lstrip(": ")
            return
        if case:
            self.done.append(case[2])
        print(line, flush=True)
        self.lines.append(line)


first = Try([])
if first.status == 0 and not first.failed:
    sys.exit(0)
for name, why in first.failed.items():
    print(f"again - {LABEL}: {name}: {why}", flush=True)
if not first.failed:
    print(f"again - {LABEL}: the lab: it ended with status {first.status} after "
          f"{len(first.done)} cases", flush=True)
second = Try(first.done)
for name, why in second.failed.items():
    print(f"not ok - {LABEL}: {name}: {why}", flush=True)
if second.status and not second.failed:
    print(f"not ok - {LABEL}: the lab: it ended with status {second.status}, twice", flush=True)
sys.exit(1 if second.status or second.failed else 0)
