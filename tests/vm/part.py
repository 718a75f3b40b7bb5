# SPDX-License-Identifier: Apache-2.0
"""part.py - cases in a lab that has a time limit: when enough have run, others are for the next lab.

again.py says in VMTIME_TEST_SECONDS how much is enough, and goes on after the status MORE.  Without it
all run in one.
"""
import os
import sys
import time

MORE = 75
BEGAN = time.monotonic()
SECONDS = float(os.environ.get("VMTIME_TEST_SECONDS", "inf"))


def end_if_enough():
    """To be called before a case that needs nothing of those before it, once one has run."""
    if time.monotonic() - BEGAN > SECONDS:
        sys.exit(MORE)
