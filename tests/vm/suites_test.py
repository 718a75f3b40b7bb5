#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""suites_test.py - a script that hangs is ended with all that it began, and what it has said counts."""
import importlib.machinery
import importlib.util
import os
import sys
import time
import unittest

sys.dont_write_bytecode = True
PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts/suites")
LOADER = importlib.machinery.SourceFileLoader("suites", PATH)
suites = importlib.util.module_from_spec(importlib.util.spec_from_loader("suites", LOADER))
LOADER.exec_module(suites)


def is_there(pid):
    """A zombie that nobody has fetched yet is not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Scripts(unittest.TestCase):
    def test_what_hangs_is_ended_with_its_children_and_what_passed_counts(self):
        suites.LIMIT_S = 2
        tally = suites.script("sh", "-c", "echo 'ok - a'; echo 'not ok - b: x'; sleep 1000 & "
                                          "echo pid $!; wait")
        self.assertEqual(tally.passed, 1)
        self.assertEqual(len(tally.failures), 2)
        self.assertIn("still running after 2 s", tally.failures[1])
        child = tally.failures[1].rpartition("pid ")[2].split()[0]
        end = time.monotonic() + 10
        while is_there(child) and time.monotonic() < end:
            time.sleep(0.01)
        self.assertFalse(is_there(child))

    def test_what_ends_is_tallied(self):
        suites.LIMIT_S = 100
        tally = suites.script("sh", "-c", "echo 'ok 1 - a'; echo 'skip - b: c'; exit 77")
        self.assertEqual((tally.passed, tally.failures, tally.skipped), (1, [], ["b: c"]))
        tally = suites.script("sh", "-c", "echo 'ok - a'; exit 3")
        self.assertIn("exit status 3", tally.failures[0])
        self.assertEqual(suites.script("sh", "-c", "echo no KVM; exit 77").skipped, ["no KVM"])


if __name__ == "__main__":
    unittest.main()
