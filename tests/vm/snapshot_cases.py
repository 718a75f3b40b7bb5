# SPDX-License-Identifier: Apache-2.0
"""snapshot_cases.py - cases of run_cases.py: a guest is saved to a file, and goes on in another
process, in several, and where it was."""
import os
import tempfile

from qmp_cases import Qmp
from run_guest import BUSYBOX, KERNEL, check, linux, refused, switch_off


def again(path, *options, append=""):
    """The guest that was saved there, as linux() makes it."""
    return linux("--incoming", "file:" + path, *options, append=append)


def saved(qmp, path, **arguments):
    """Saves the guest; what is said of it."""
    said = qmp.ask("snapshot-save", file=path, **arguments)
    check(said["pages"] > said["zero-pages"] > 0, said)
    check(abs(os.stat(path).st_size - said["bytes"]) < 500000, f"{said}, {os.stat(path)}")
    check(os.stat(path).st_mode & 0o777 == 0o600, "others can read it")
    check(os.listdir(os.path.dirname(path)).count(os.path.basename(path) + ".partial") == 0,
          "something is left")
    return said


def it_lives(g):
    check(g.shell("cat /tmp/left") == "in memory", "its memory is another")


def a_guest_goes_on_where_it_was_and_in_clones():
    with tempfile.TemporaryDirectory() as d:
        path, options = d + "/guest.vmt", ["--memory", "128M"]
        with linux("--qmp", d + "/qmp", *options) as g:
            qmp = Qmp(d + "/qmp")
            g.start_shell()
            g.shell("echo in memory >/tmp/left")
            for _ in range(2):  # the second replaces the first
                saved(qmp, path)
                check(qmp.ask("query-status")["status"] == "running", "it does not go on")
                it_lives(g)
            switch_off(g)
        with again(path, *options) as first, again(path, *options) as second:
            for g in first, second:
                it_lives(g)
            first.shell("echo mine >/tmp/left")
            it_lives(second)
            for g in first, second:
                switch_off(g)


def what_cannot_be_restored_is_refused_in_one_line():
    with tempfile.TemporaryDirectory() as d:
        path = d + "/guest.vmt"
        with linux("--qmp", d + "/qmp", "--memory", "128M") as g:
            qmp = Qmp(d + "/qmp")
            g.start_shell()
            saved(qmp, path, stop=True)
            wrong = qmp.fails("snapshot-save", file="/proc/guest.vmt")
            check("/proc/guest.vmt: cannot be written" in wrong, wrong)
            wrong = qmp.fails("snapshot-save")
            check("needs a path" in wrong, wrong)
            qmp.ask("quit")
            g.status()
        whole = open(path, "rb").read()
        options = ["--kernel", KERNEL, "--initrd", BUSYBOX, "--serial", "none"]
        incoming = ["--incoming", "file:" + path, *options]
        refused(2, "its memory ends at", *incoming)
        refused(2, "--cpus was 1 and is 2", *incoming, "--memory", "128M", "--cpus", "2")
        refused(2, "--hpet was on and is off", *incoming, "--memory", "128M", "--hpet", "off")
        refused(2, "No such file", "--incoming", "file:" + path + "x", *options)
        refused(2, "is no snapshot of vmtime", "--incoming", "file:" + KERNEL, *options)
        for size, word in (len(whole) // 2, "ends too early"), (100, "ends too early"):
            with open(path, "wb") as f:
                f.write(whole[:size])
            refused(2, word, *incoming, "--memory", "128M")
        with open(path, "wb") as f:
            f.write(whole[:-200000] + bytes([whole[-200000] ^ 4]) + whole[-199999:])
        refused(2, "damaged", *incoming, "--memory", "128M")


CASES = [
    what_cannot_be_restored_is_refused_in_one_line,
    a_guest_goes_on_where_it_was_and_in_clones,
]
