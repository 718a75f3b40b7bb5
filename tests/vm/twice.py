# SPDX-License-Identifier: Apache-2.0
"""twice.py LABEL COMMAND... - cases in the lab; those that fail are tried once more in a new lab.

The lab emulates two CPUs, and on a busy machine that emulation is at times wrong: a guest, of QEMU
or of vmtime, meets a triple fault or falls silent, or the lab itself freezes (HACKING.md has what is
known).  What fails for such a reason passes in a new lab; what is broken fails twice.

COMMAND prints `ok - LABEL: NAME`, `not ok - LABEL: NAME: why` or `skip - LABEL: NAME: why`, a line
a case, and leaves out the cases that stand in VMTIME_TEST_DONE, a name a line.  Each first failure
is printed as `again - LABEL: NAME: why`.  The exit status is 1 when something fails in the second try.
"""
import os
import re
import signal
import subprocess
import sys

LABEL, COMMAND = sys.argv[1], sys.argv[2:]
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


first = Try([])
if first.status == 0 and not first.failed:
    sys.exit(0)
for name, why in first.failed.items():
    print(f"again - {LABEL}: {name}: {why}", flush=True)
if first.status not in (0, 1):
    print(f"again - {LABEL}: the lab: it ended with status {first.status} after "
          f"{len(first.done)} cases", flush=True)
second = Try(first.done)
for name, why in second.failed.items():
    print(f"not ok - {LABEL}: {name}: {why}", flush=True)
lost = [name for name in first.failed if name not in second.done and name not in second.failed]
for name in lost:
    print(f"not ok - {LABEL}: {name}: {first.failed[name]} (it was not reached again)", flush=True)
bad = bool(second.failed or lost)
if second.status not in (0, 1) or (second.status and not bad):
    print(f"not ok - {LABEL}: the lab: it ended with status {second.status}", flush=True)
elif not bad and second.done == first.done:
    print(f"not ok - {LABEL}: the lab: every case passed, and it ended with status {first.status}",
          flush=True)
    bad = True
sys.exit(1 if bad or second.status else 0)
