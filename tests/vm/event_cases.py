# SPDX-License-Identifier: Apache-2.0
"""event_cases.py - cases of test_cases.py: a guest stands still, and goes on in another process."""
import json
import os
import subprocess

import __main__ as test  # what runs it: its helpers


def it_was_foretold(row, event, stopped_ns):
    """By vmtime plan, of the very gap that was measured."""
    said = subprocess.run([test.VMTIME, "plan", event, f"{stopped_ns}ns", "--policy",
                           row["policy"], "--clocksource", row["clocksource"], "--json"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=60)
    plan = json.loads(said.stdout)
    test.check(said.returncode == 0 and plan["policy"] == row["policy"], plan)
    for change, clock in ("realtime_change_ns", "realtime"), ("monotonic_gap_ns", "monotonic"):
        test.check(plan[change] == row[f"{clock}_expected_ns"], f"{plan} of {row}")


def a_guest_is_frozen_to_the_microsecond():
    done = test.run("--scenario", "pause", "--duration", "1s", "--json", "--", "--on-pause",
                    "freeze")
    report = json.loads(done.stdout)
    row = test.result(report, scenario="pause", policy="freeze")
    test.check(row["verdict"] == "pass" and row["limit_ns"] == 1000, row)
    test.check(1_000_000_000 <= row["frozen_ns"] < 10_000_000_000, row)
    test.check(row["realtime_expected_ns"] == -row["frozen_ns"], row)
    test.check(row["monotonic_expected_ns"] == -row["frozen_ns"], row)
    test.check(abs(row["monotonic_gap_ns"] + row["frozen_ns"]) < 10_000, row)
    it_was_foretold(row, "pause", row["frozen_ns"])
    test.schema_of_the_report().validate(report)


def guests_go_on_from_one_file_to_the_microsecond():
    """In new processes; with their serial ports and logs, and without the file."""
    clones = 10 if test.SOAK else 2
    done = test.measure("snapshot", "--scenario", "snapshot", "--duration", "1s", "--memory",
                        "128M", "--clones", str(clones), "--", "--on-restore", "continue")
    report = test.report_of(done, "snapshot")
    test.schema_of_the_report().validate(report)
    rows = report["results"]
    test.check([row["clone"] for row in rows] == list(range(1, clones + 1)), rows)
    for row in rows:
        test.check(row["verdict"] == "pass" and row["limit_ns"] == 1000, row)
        test.check(row["realtime_expected_ns"] == row["monotonic_expected_ns"] == 0, row)
        test.check(1_000_000_000 <= row["downtime_ns"] < 600_000_000_000, row)
        test.check(row["duration_ns"] >= row["downtime_ns"], row)
        test.check(abs(row["frozen_ns"]) < 10_000 and row["backward_steps"] == 0, row)
        it_was_foretold(row, "restore", row["downtime_ns"])
    test.check(rows[0]["downtime_ns"] < rows[1]["downtime_ns"], rows)
    folder = f"{test.WORK}/kept-snapshot/vmtime-kvm-clock-snapshot-continue-1"
    logs = {f"restored-{clone}{log}.log"
            for clone in ["", *(f"{n}-" for n in range(2, clones + 1))]
            for log in ("console", "vmm")}
    test.check(set(os.listdir(folder)) == logs | {"console.log", "samples.txt", "vmm.log"},
               os.listdir(folder))
    test.check(not test.left_behind(), test.left_behind())


GROUPS = [
    [("a guest is frozen to the microsecond", a_guest_is_frozen_to_the_microsecond)],
    [("guests go on from one file to the microsecond",
      guests_go_on_from_one_file_to_the_microsecond)],
]
