# SPDX-License-Identifier: Apache-2.0
"""plan_test.py VMTIME SCHEMA - vmtime plan: its manners, its table, its JSON."""
import json
import os
import subprocess
import sys
import tempfile

VMTIME, SCHEMA = sys.argv[1:3]
EVENTS = ["pause", "restore", "migrate", "suspend", "host-step"]
SOURCES = ["kvm-clock", "tsc", "hpet", "acpi_pm", "jiffies"]
POLICIES = ["auto", "continue", "freeze"]


def check(condition, why):
    if not condition:
        raise AssertionError(why)


def plan(*words):
    return subprocess.run([VMTIME, "plan", *words], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)


def answer(*words):
    done = plan(*words, "--json")
    check(done.returncode in (0, 1) and done.stderr == "", done)
    said = json.loads(done.stdout)
    check((done.returncode == 1) == (said["verdict"] == "fail"), done)
    return said


def refused(text, *words):
    """One line on stderr, nothing on standard output, status 2."""
    done = plan(*words)
    check(done.returncode == 2 and done.stdout == "", done)
    check(done.stderr.startswith("vmtime plan: ") and done.stderr.count("\n") == 1, done)
    check(text in done.stderr, f"{text!r} is not in {done.stderr!r}")


def bad_input_is_named_with_its_remedy():
    refused("no event (write: vmtime plan EVENT DUR")
    refused("unknown event 'paus' (the nearest known one is 'pause')", "paus", "5s")
    refused("(the nearest known one is 'host-step')", "hoststep", "5s")
    refused("pause needs a duration (write: vmtime plan pause 5s)", "pause")
    refused("pause 5: it has no unit (write 5s or 5min)", "pause", "5")
    refused("host-step -5: it has no unit (write -5s or -5min)", "host-step", "-5")
    refused("pause soon: it is no duration", "pause", "soon")
    refused("restore -: it is no duration", "restore", "--", "-")
    refused("pause 0s: out of range", "pause", "0s")
    refused("host-step -0s: out of range", "host-step", "-0s")
    refused("pause 87601h: out of range (give 1ns to 87600h", "pause", "87601h")
    refused("out of range", "pause", "99999999999999999999h")
    for event in "pause", "migrate", "suspend":
        refused(f"{event} -5s: it cannot take less than no time (write 5s", event, "-5s")
    refused("--policy is not for host-step", "host-step", "1h", "--policy", "freeze")
    refused("--policy thaw: unknown value (possible: auto, continue, freeze)", "pause", "5s",
            "--policy", "thaw")
    refused("--clocksource sundial: no such clock source (possible: kvm-clock, tsc", "pause",
            "5s", "--clocksource", "sundial")
    refused("hyperv is not in this version yet", "pause", "5s", "--clocksource", "hyperv")
    refused("--ticks tock: unknown value (possible: discard", "pause", "5s", "--ticks=tock")
    refused("unknown option '--polici' (the nearest known one is '--policy')", "pause", "5s",
            "--polici", "freeze")
    refused("--bound is for migrate alone", "restore", "5s", "--bound", "1ms")
    refused("--bound 5: it has no unit (write 5us or 5ms)", "migrate", "50ms", "--bound", "5")
    for bound in "0s", "61s", "good":
        refused(f"--bound {bound}: no such bound", "migrate", "50ms", "--bound", bound)
    refused("--policy needs a value", "pause", "5s", "--policy")
    refused("'twice' is one word too many", "pause", "5s", "twice")
    refused("cannot write --json /nowhere/x.json", "pause", "5s", "--json=/nowhere/x.json")


def options_may_stand_anywhere():
    wanted = answer("pause", "5s", "--policy", "freeze")
    check(wanted["policy"] == "freeze", wanted)
    check(answer("--policy=freeze", "pause", "5s") == wanted, "before the event")
    check(answer("pause", "--policy", "freeze", "5s") == wanted, "in between")
    check(answer("pause", "5s", "--policy", "auto", "--policy", "freeze") == wanted, "twice")
    check(answer("pause", "+5s", "--policy", "freeze") == wanted, "with a sign")


def a_step_back_of_the_host_is_a_duration():
    for words in (["host-step", "-1h"], ["host-step", "--", "-1h"], ["--ticks", "merge",
                                                                     "host-step", "-60min"]):
        said = plan(*words, *(["--json"] if "--" not in words else []))
        check(said.returncode == 0, said)
        if "--" not in words:
            said = json.loads(said.stdout)
            check(said["duration_ns"] == -3600 * 10**9, said)
            check(said["realtime_change_ns"] == 3600 * 10**9 == said["realtime_expected_ns"], said)
            check(said["monotonic_gap_ns"] == 0 and "policy" not in said, said)


def two_clocks_are_as_wrong_as_both():
    exact, said = answer("migrate", "50ms"), answer("migrate", "50ms", "--bound", "1500us")
    check(said.pop("gap_bound_ns") == 3 * 10**6, said)
    check(said == exact and exact["gap_ns"] == 50 * 10**6, said)
    # it cannot have gone on before it was stopped, so less can be too much than too little
    check(answer("migrate", "1ms", "--bound", "1ms")["gap_bound_ns"] == 2 * 10**6, "too little")
    lines = plan("migrate", "50ms", "--bound", "1500us").stdout.splitlines()
    check(lines[-2] == "the gap, by both hosts' clocks, is right to 3.00 ms: so far off may "
          "MONOTONIC be", lines)


def the_table_is_worst_first_and_sums_up():
    done = plan("pause", "5s", "--policy", "continue", "--clocksource", "acpi_pm")
    lines = done.stdout.splitlines()
    check(done.returncode == 1 and done.stderr == "", done)
    check("\033" not in done.stdout, "colours in a pipe")
    check(lines[0].split()[:4] == ["clock", "goes", "on", "by"], lines[0])
    check([line.split()[0] for line in lines[1:5]] ==
          ["REALTIME", "MONOTONIC", "BOOTTIME", "acpi_pm"], lines)
    check(all(" fail " in line for line in lines[1:5]), lines)
    check(all(" pass " in line for line in lines[5:12]), lines)
    check(lines[-2].startswith("warning: the guest stood still for 5.000 s and time went on: by "
                               "the ACPI PM timer it cannot see more than 2.343 s (run with "), lines)
    check(lines[-1] == "pause of 5.00 s on acpi_pm: continue, as asked for; 7 pass, 4 fail", lines)
    done = plan("pause", "5s")
    check(done.returncode == 0 and done.stdout.splitlines()[-1].endswith("; 11 pass, 0 fail"), done)


def a_file_is_replaced_as_a_whole():
    with tempfile.TemporaryDirectory() as d:
        done = plan("pause", "5s", f"--json={d}/plan.json")
        check(done.returncode == 0 and done.stdout == done.stderr == "", done)
        with open(f"{d}/plan.json") as file:
            check(json.load(file) == answer("pause", "5s"), "another answer")
        check(os.listdir(d) == ["plan.json"], os.listdir(d))


def every_answer():
    for event in EVENTS:
        for duration in ["1ns", "5s", "87600h"] + (
                ["-1h"] if event in ("restore", "host-step") else []):
            for source in SOURCES:
                words = [event, duration, "--clocksource", source]
                if event == "host-step":
                    yield words
                    continue
                for policy in POLICIES:
                    yield words + ["--policy", policy]


def every_answer_is_as_its_schema_says():
    try:
        import jsonschema
    except ImportError:
        print("# left out: the schema: python3-jsonschema is not installed")
        return
    with open(SCHEMA) as file:
        schema = json.load(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for words in every_answer():
        said = answer(*words)
        validator.validate(said)
        for row in said["ticks"]:
            check(row["due"] == sum(row[k] for k in ("delivered", "merged", "discarded", "owed")),
                  row)
        failing = [row for row in said["clocks"] + said["faces"] if row["verdict"] == "fail"]
        check(bool(failing) == (said["verdict"] == "fail"), said)
    check(not validator.is_valid({**said, "surprise": 1}), "it allows anything")
    check(not validator.is_valid({**said, "verdict": "fail"}), "a failure without a warning")


def main():
    tests = [bad_input_is_named_with_its_remedy, options_may_stand_anywhere,
             a_step_back_of_the_host_is_a_duration, two_clocks_are_as_wrong_as_both,
             the_table_is_worst_first_and_sums_up,
             a_file_is_replaced_as_a_whole, every_answer_is_as_its_schema_says]
    failures = 0
    for test in tests:
        try:
            test()
            print(f"ok - {test.__name__}")
        except Exception as why:
            failures += 1
            print(f"not ok - {test.__name__}: " + " | ".join(str(why).splitlines()))
    print(f"1..{len(tests)}")
    return failures > 0


sys.exit(main())
