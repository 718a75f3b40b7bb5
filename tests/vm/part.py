# SPDX-License-Identifier: Apache-2.0
"""part.py - cases in a lab that has a time limit: when enough have run, others are for the next lab.

again.py says in VMTIME_TEST_SECONDS how much is enough, and goes on after the status MORE; without
it all run in one.  In VMTIME_TEST_DONE it says what has passed, a name a line.
"""
import os
import sys
import time
import traceback

MORE = 75
BEGAN = time.monotonic()
SECONDS = float(os.environ.get("VMTIME_TEST_SECONDS", "inf"))
DONE = os.environ.get("VMTIME_TEST_DONE", "").splitlines()


class Failure(Exception):
    """What a case finds wrong."""


class Skip(Exception):
    """What a case lacks."""


def check(condition, why):
    if not condition:
        raise Failure(why)


def end_if_enough():
    if time.monotonic() - BEGAN > SECONDS:
        sys.exit(MORE)


def named(case):
    """A group of one, named as the function is."""
    return [(case.__name__.replace("_", " "), case)]


def is_wanted(name, words):
    return name not in DONE and (
        not words or any(word in name or word in name.replace(" ", "_") for word in words))


def passes(label, name, case):
    """Runs one; prints a line, and before it as a comment the figures that the case returns."""
    began = time.monotonic()
    try:
        figures = case()
        if figures:
            print("# " + ", ".join(figures), flush=True)
        print(f"ok - {label}: {name} ({time.monotonic() - began:.0f} s)", flush=True)
    except Skip as reason:
        print(f"skip - {label}: {name}: {reason}", flush=True)
    except Exception as error:  # whatever it is, the other cases go on
        why = str(error) if isinstance(error, Failure) else traceback.format_exc()
        print(f"not ok - {label}: {name}: " + " | ".join(why.splitlines()), flush=True)
        return False
    return True


def run(label, groups, words=()):
    """All cases, each (name, function), whose name has one of the words; then ends the program.
    Those of a group look at what is made once, so they run in one lab."""
    failed = 0
    for group in groups:
        wanted = [(name, case) for name, case in group if is_wanted(name, words)]
        if wanted:
            end_if_enough()
        failed += sum(not passes(label, name, case) for name, case in wanted)
    sys.exit(1 if failed else 0)
