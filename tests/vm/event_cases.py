# SPDX-License-Identifier: Apache-2.0
"""event_cases.py - cases of test_cases.py: a guest stands still, and goes on, in another process too."""
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


def moved(clocksource, policy):
    """A guest's row, whose downtime is some ms on a machine and tenths of a second in the lab."""
    name = f"migrate-{clocksource}-{policy}"
    done = test.measure(name, "--scenario", "migrate", "--memory", "128M", "--clocksource",
                        clocksource, "--", "--on-migrate", policy)
    report = test.report_of(done, name)
    test.schema_of_the_report().validate(report)
    row = test.result(report, scenario="migrate", policy=policy)
    test.check(row["verdict"] == "pass" and row["limit_ns"] == 1000, row)
    test.check(0 < row["downtime_ns"] < row["total_ns"] < 120_000_000_000, row)
    test.check(row["backward_steps"] == 0 and row["duration_ns"] > row["downtime_ns"], row)
    test.check(not test.left_behind(), test.left_behind())
    return row


def a_guest_is_migrated_to_the_microsecond():
    row = moved("kvm-clock", "continue")
    test.check(row["realtime_expected_ns"] == row["monotonic_expected_ns"] == 0, row)
    test.check(abs(row["frozen_ns"]) < 10_000, row)
    it_was_foretold(row, "migrate", row["downtime_ns"])
    folder = f"{test.WORK}/kept-migrate-kvm-clock-continue/vmtime-kvm-clock-migrate-continue-1"
    logs = {"console.log", "restored-console.log", "restored-vmm.log", "samples.txt", "vmm.log"}
    test.check(set(os.listdir(folder)) == logs, os.listdir(folder))


def a_migrated_guest_is_frozen_to_the_microsecond():
    row = moved("kvm-clock", "freeze")
    test.check(0.49 < row["frozen_ns"] / row["downtime_ns"] < 1.51, row)
    test.check(row["realtime_expected_ns"] == -row["frozen_ns"], row)
    test.check(row["monotonic_expected_ns"] == -row["frozen_ns"], row)
    it_was_foretold(row, "migrate", row["frozen_ns"])


def a_tsc_goes_on_in_another_process():
    row = moved("tsc", "continue")
    test.check(row["realtime_expected_ns"] == row["monotonic_expected_ns"] == 0, row)
    it_was_foretold(row, "migrate", row["downtime_ns"])


def busy_cpus_see_no_step_back_while_they_are_moved():
    """Again and again, and their ticks are accounted for; make soak does it a hundred times."""
    number = 30 if test.SOAK else 8
    done = test.measure("migrations", "--scenario", "migrations", "--migrations", str(number),
                        "--cpus", "2", "--memory", "128M", "--", "--on-migrate", "continue")
    report = test.report_of(done, "migrations")
    test.schema_of_the_report().validate(report)
    row = test.result(report, scenario="migrations", policy="continue")
    test.check(row["verdict"] == "pass" and row["migrations"] == number, row)
    test.check(row["limit_ns"] == max(1000, 100 * number), row)
    test.check(row["backward_steps"] == 0 and row["worst_migration_ns"] <= 1000, row)
    test.check(row["ticks_due"] > 0 and row["ticks_missing"] == 0, row)
    test.check(row["checks"] > 1000, row)
    test.check(0 < row["downtime_ns"] <= row["downtime_max_ns"] < row["total_max_ns"], row)
    test.check(row["downtime_ns"] < row["total_ns"] <= row["total_max_ns"] < 120_000_000_000, row)
    test.check(not test.left_behind(), test.left_behind())


GROUPS = [
    [("a guest is frozen to the microsecond", a_guest_is_frozen_to_the_microsecond)],
    [("guests go on from one file to the microsecond",
      guests_go_on_from_one_file_to_the_microsecond)],
    [("a guest is migrated to the microsecond", a_guest_is_migrated_to_the_microsecond)],
    [("a migrated guest is frozen to the microsecond",
      a_migrated_guest_is_frozen_to_the_microsecond)],
    [("a tsc goes on in another process", a_tsc_goes_on_in_another_process)],
    [("busy CPUs see no step back while they are moved",
      busy_cpus_see_no_step_back_while_they_are_moved)],
]
