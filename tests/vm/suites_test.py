#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""suites_test.py - a script that hangs is ended with all that it began, and what it has said counts;
suites that run at once are told one after the other, and a signal ends them all."""
import importlib.machinery
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
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


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


class Scripts(unittest.TestCase):
    def test_what_hangs_is_ended_with_its_children_and_what_passed_counts(self):
        suites.LIMIT_S = 2
        tally = suites.script("sh", "-c", "echo 'ok - a'; echo 'not ok - b: x'; sleep 1000 & "
                                          "echo pid $!; wait")
        self.assertEqual(tally.passed, 1)
        self.assertEqual(len(tally.failures), 2)
        self.assertIn("still running after 2 s", tally.failures[1])
        child = tally.failures[1].rpartition("pid ")[2].split()[0]
        self.assertTrue(wait_until(lambda: not is_there(child)))

    def test_what_ends_is_tallied(self):
        suites.LIMIT_S = 100
        tally = suites.script("sh", "-c", "echo 'ok 1 - a'; echo 'skip - b: c'; exit 77")
        self.assertEqual((tally.passed, tally.failures, tally.skipped), (1, [], ["b: c"]))
        tally = suites.script("sh", "-c", "echo 'ok - a'; exit 3")
        self.assertIn("exit status 3", tally.failures[0])
        self.assertEqual(suites.script("sh", "-c", "echo no KVM; exit 77").skipped, ["no KVM"])


# Suites that are shell scripts in the place of the real ones; each begins with saying so in `began`.
TABLE = """
import importlib.machinery, importlib.util, os, sys
loader = importlib.machinery.SourceFileLoader("suites", sys.argv[1])
suites = importlib.util.module_from_spec(importlib.util.spec_from_loader("suites", loader))
loader.exec_module(suites)
folder, *rows = sys.argv[2:]
suites.SUITES = {}
for row in rows:
    name, _, text = row.partition("=")
    text = f"cd '{folder}'; echo {name} $$ >>began; {text}"
    suites.SUITES[name] = lambda text=text: suites.script("sh", "-c", text)
del sys.argv[1:]
sys.exit(suites.main())
"""


class Together(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def start(self, **texts):
        process = subprocess.Popen(
            [sys.executable, "-B", "-c", TABLE, PATH, self.folder,
             *(f"{name}={text}" for name, text in texts.items())],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def began(self):
        try:
            with open(self.folder + "/began", encoding="ascii") as file:
                return dict(line.split() for line in file)
        except FileNotFoundError:
            return {}

    def test_each_is_told_whole_and_all_are_summed(self):
        """Three run at once, as each waits for the other two; the fourth comes after one of them."""
        meet = "until [ $(wc -l <began) -ge 3 ]; do sleep 0.01; done; "
        process = self.start(clang=meet + "echo 'ok - a'; echo 'not ok - b: c'; exit 1",
                             run=meet + "echo 'ok - d'; echo 'skip - e: f'",
                             test=meet + "echo 'again - g: h'; echo 'ok - g'",
                             lab="[ $(wc -l <began) -eq 4 ] && echo 'ok - i'")
        output, _ = process.communicate(timeout=60)
        lines = [line.partition(" (")[0] for line in output.splitlines()]
        for block in (["clang: 1 passed, 1 failed, 0 skipped", "  not ok: b: c"],
                      ["run: 1 passed, 0 failed, 1 skipped", "  skip: e: f"],
                      ["test: 1 passed, 0 failed, 0 skipped", "  failed, tried again: g: h"],
                      ["lab: 1 passed, 0 failed, 0 skipped"]):
            at = lines.index(block[0])
            self.assertEqual(lines[at:at + len(block)], block)
        self.assertEqual(lines[-1], "4 passed, 1 failed, 1 skipped")
        self.assertEqual((len(lines), process.returncode), (8, 1))

    def test_what_can_wait_gives_way(self):
        """To figures the other labs, to both what compiles; each is the first where it is alone."""
        for wanted in {"clang": 0}, {"run": 0, "clang": 5}, {"test": 0, "run": 10, "clang": 15}:
            texts = {name: f"(nice; cat /proc/self/autogroup) >of-{name}; echo 'ok - x'"
                     for name in wanted}
            self.assertEqual(self.start(**texts).wait(timeout=60), 0)
            for name, nice in wanted.items():
                with open(f"{self.folder}/of-{name}", encoding="ascii") as file:
                    of_process, *of_session = [int(line.split()[-1]) for line in file]
                self.assertEqual(of_process, min(os.nice(0) + nice, 19))
                self.assertIn(of_session, ([nice], []))

    def test_a_signal_ends_them_with_all_that_they_began(self):
        for number in signal.SIGTERM, signal.SIGINT:
            wait = "sleep 1000 & echo child-$$ $! >>began; wait"
            process = self.start(clang=wait, run=wait, test=wait, lab="echo 'ok - never'")
            self.assertTrue(wait_until(lambda: len(self.began()) == 6), self.began())
            process.send_signal(number)
            output, _ = process.communicate(timeout=60)
            self.assertEqual((output, process.returncode), ("", 128 + number))
            for pid in self.began().values():
                self.assertTrue(wait_until(lambda pid=pid: not is_there(pid)), pid)
            self.assertNotIn("lab", self.began())
            os.unlink(self.folder + "/began")


if __name__ == "__main__":
    unittest.main()
