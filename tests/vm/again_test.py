#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""again_test.py - what fails is tried again, what is enough for one lab is gone on with in another;
and what the cases in a lab say of themselves.

The labs are lists: `name` passes, `!name` fails, and the last is the status."""
import contextlib
import io
import unittest

import again
import part

MORE = again.MORE


class Lab(again.Try):
    def __init__(self, plan, done):
        self.passed, self.failed, self.status = [], {}, plan[-1]
        for word in plan[:-1]:
            name = word.lstrip("!")
            if name in done:
                continue
            if word[0] == "!":
                self.failed[name] = "boom"
            else:
                self.passed.append(name)


def told(*labs):
    """What is printed, a word and a name a line; how many labs there were; whether all is well."""
    cases, used, text = again.Cases("x"), 0, io.StringIO()
    with contextlib.redirect_stdout(text):
        for lab in labs:
            used += 1
            if not cases.take(Lab(lab, cases.done)):
                break
        else:
            raise AssertionError("another lab is wanted")
    lines = [line.split(":")[0] + line.split(":")[1] for line in text.getvalue().splitlines()]
    return [line.replace(" - x ", " ") for line in lines], used, not cases.lost


class Again(unittest.TestCase):
    def test_what_passes_needs_one_lab(self):
        self.assertEqual(told(["a", "b", 0], ["c", 0]), ([], 1, True))

    def test_what_fails_has_two_more_labs_and_no_third(self):
        self.assertEqual(told(["a", "!b", 1], ["a", "b", 0]), (["again b"], 2, True))
        self.assertEqual(told(*3 * [["a", "!b", 1]], ["a", "b", 0]),
                         (["again b", "again b", "not ok b"], 3, False))

    def test_cases_go_on_in_another_lab(self):
        self.assertEqual(told(["a", MORE], ["a", "b", MORE], ["c", 0]), ([], 3, True))

    def test_what_failed_before_them_is_tried_with_them(self):
        self.assertEqual(told(["!a", MORE], ["!a", "b", MORE], ["!a", "c", 1], ["a", 0]),
                         (["again a", "again a", "not ok a"], 3, False))

    def test_a_silent_lab_is_tried_again(self):
        self.assertEqual(told(["a", 124], ["a", "b", 0]), (["again the lab"], 2, True))
        self.assertEqual(told(*4 * [["a", 124]]),
                         (2 * ["again the lab"] + ["not ok the lab"], 3, False))

    def test_a_lab_that_does_nothing_is_none(self):
        for status in MORE, 1:
            self.assertEqual(told(*4 * [[status]]),
                             (2 * ["again the lab"] + ["not ok the lab"], 3, False))

    def test_what_failed_is_not_forgotten(self):
        self.assertEqual(told(["!b", 1], *3 * [["a", 124]]),
                         (["again b"] + 2 * ["again the lab"] + ["not ok the lab", "not ok b"], 4,
                          False))
        self.assertEqual(told(["a", "!b", 1], *3 * [[0]])[2], False)



class Part(unittest.TestCase):
    """Cases `a` and `b` of a group and the case `a fault`, in a lab."""

    def setUp(self):
        part.DONE, part.SECONDS = [], float("inf")

    def said(self, *words, **tests):
        """What is printed without the seconds, and the status."""
        def fine():
            pass
        groups = [[("a", tests.get("a", fine)), ("b", tests.get("b", fine))], part.named(a_fault)]
        text = io.StringIO()
        with contextlib.redirect_stdout(text), self.assertRaises(SystemExit) as end:
            part.run("x", groups, words)
        lines = [line.partition(" (")[0] for line in text.getvalue().splitlines()]
        return lines, end.exception.code

    def test_a_line_for_each(self):
        def lacks():
            raise part.Skip("no thing")
        self.assertEqual(self.said(a=lambda: ["1 ns", "2 ns"], b=lacks), (
            ["# 1 ns, 2 ns", "ok - x: a", "skip - x: b: no thing", "not ok - x: a fault: 1 | 2"], 1))

    def test_what_has_passed_and_what_is_not_named_is_left_out(self):
        part.DONE = ["a fault"]
        self.assertEqual(self.said(), (["ok - x: a", "ok - x: b"], 0))
        self.assertEqual(self.said("b"), (["ok - x: b"], 0))
        part.DONE = []
        self.assertEqual(self.said("a_f")[0], ["not ok - x: a fault: 1 | 2"])

    def test_a_group_is_done_in_one_lab(self):
        def enough():
            part.SECONDS = -1
        self.assertEqual(self.said(a=enough), (["ok - x: a", "ok - x: b"], part.MORE))
        part.SECONDS, part.DONE = -1, ["a", "b", "a fault"]
        self.assertEqual(self.said(), ([], 0))


def a_fault():
    part.check(True, "nothing")
    part.check(False, "1\n2")


unittest.main()
