# SPDX-License-Identifier: Apache-2.0
"""test_cases.py VMTIME ROOT WORK [WORD...] - vmtime test, with guests that run.

Needs a working /dev/kvm and root; tests/vm/test_test.sh runs it in the lab.  Prints a line a case:
`ok - test: name`, `not ok - test: name: why`, `skip - test: name: reason`.
"""
import glob
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import event_cases
import part
from part import Skip, check

VMTIME, ROOT, WORK = sys.argv[1:4]
WORDS = sys.argv[4:]
SOAK = bool(os.environ.get("VMTIME_SOAK"))
PATIENCE_S = 280  # with again.py's 240 s less than the lab has


def run(*options):
    return subprocess.run([VMTIME, "test", *options], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=PATIENCE_S)


# What is in /tmp and /run of the lab is also what others leave, or are at, in this machine's own.
FOLDER = os.environ["TMPDIR"] = tempfile.mkdtemp(prefix="lab.", dir="/tmp")
OF_OTHERS = glob.glob("/run/vmtime-test.*")


def left_behind():
    """Sockets, directories and machines of ours that are still there."""
    found = glob.glob(f"{FOLDER}/*") + glob.glob("/run/vmtime-test.*")
    found = [path for path in found if path not in OF_OTHERS]
    for status in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(status, "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue  # it has just ended
        if b"-kernel" in words or (b"run" in words and b"--kernel" in words):
            found.append(b" ".join(words[:3]).decode(errors="replace"))
    return found


def result(report, **wanted):
    rows = [row for row in report["results"]
            if all(row[key] == value for key, value in wanted.items())]
    check(len(rows) == 1, f"{len(rows)} results for {wanted}")
    return rows[0]


def measure(name, *args):
    return run(f"--json={WORK}/{name}.json", "--keep", f"{WORK}/kept-{name}", *args)


def report_of(done, name):
    check(done.returncode in (0, 1), f"status {done.returncode}: {done.stderr}")
    with open(f"{WORK}/{name}.json") as file:
        return json.load(file)


def schema_of_the_report():
    try:
        import jsonschema
    except ImportError:
        raise Skip("python3-jsonschema is not installed")
    with open(f"{ROOT}/docs/schema/test.json") as file:
        schema = json.load(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


class Measured:
    """One run that several cases look at: boots of both subjects with both tight clocks."""
    done = None

    @classmethod
    def get(cls):
        if cls.done is None:
            cls.done = measure("linux", "--subject", "vmtime,qemu", "--clocksource",
                               "kvm-clock,tsc", "--scenario", "boot,steady", "--duration", "10s",
                               "--cpus", "1")
        return report_of(cls.done, "linux")


def schema_is_kept():
    report, schema = Measured.get(), schema_of_the_report()
    schema.validate(report)
    report["results"][0]["surprise"] = 1
    check(not schema.is_valid(report), "it allows anything")


def both_subjects_pass():
    """But for QEMU's boot: its guest may begin more than a second late."""
    report = Measured.get()
    for subject in "vmtime", "qemu":
        for clocksource in "kvm-clock", "tsc":
            for scenario in "boot", "steady":
                row = result(report, subject=subject, clocksource=clocksource, scenario=scenario)
                if (subject, scenario) != ("qemu", "boot"):
                    check(row["verdict"] == "pass", row)
    check(Measured.done.returncode == 0, f"status {Measured.done.returncode}")
    check(Measured.done.stdout == "", f"also a table: {Measured.done.stdout}")


def brackets_are_tight():
    """Of most rows: one of a moment when this machine was busy says nothing about the way."""
    brackets = sorted(row["bracket_ns"] for row in Measured.get()["results"])
    check(brackets[len(brackets) // 2] < 200, brackets)


def figures_are_of_this_guest():
    report = Measured.get()
    check([s["name"] for s in report["subjects"]] == ["vmtime", "qemu"], report["subjects"])
    for subject in report["subjects"]:
        check(subject["guest"]["cpus"] == 1, subject)
        check("kvm-clock" in subject["guest"]["available_clocksource"], subject)
        check(subject["command"], subject)
    for row in report["results"]:
        if row["scenario"] == "steady":
            check(row["duration_ns"] >= 10_000_000_000, row)
            check(abs(row["frequency_error_ppb"]) < 2000, row)
            check(row["missing_readings"] + row["damaged_lines"] < 60, row)  # of 120
        else:
            check("realtime_change_ns" not in row, "a figure that was not measured is there")


def logs_are_kept():
    Measured.get()
    for subject in "vmtime", "qemu":
        for clocksource in "kvm-clock", "tsc":
            folder = f"{WORK}/kept-linux/{subject}-{clocksource}-1"
            with open(f"{folder}/samples.txt") as file:
                lines = file.read().splitlines()
            check(sum(line.startswith("S ") for line in lines) > 20, f"{len(lines)} lines")
            check(os.path.exists(f"{folder}/console.log"), "no console log")


def a_step_is_seen_to_within_the_bracket():
    """The instrument itself: the guest steps CLOCK_REALTIME alone by exactly a millisecond, so the
    change of CLOCK_REALTIME is that much more than the one of CLOCK_MONOTONIC."""
    done = run("--subject", "qemu", "--scenario", "steady", "--duration", "10s",
               "--append", "vmtime.step=1000000", "--json")
    row = json.loads(done.stdout)["results"][0]
    off = row["realtime_change_ns"] - row["monotonic_gap_ns"] - 1_000_000
    check(abs(off) <= 2 * row["bracket_ns"], f"off by {off} ns: {row}")
    check(row["verdict"] == "fail" and "realtime_change_ns" in row["reason"], row)
    check(row["backward_steps"] == 0, row)
    check(done.returncode == 1, f"status {done.returncode}")


def a_step_back_is_counted_on_two_cpus():
    """By a second, since readings are a tenth of one apart."""
    done = run("--subject", "qemu", "--scenario", "steady", "--duration", "10s", "--cpus", "2",
               "--append", "vmtime.step=-1000000000", "--json")
    report = json.loads(done.stdout)
    row = report["results"][0]
    check(report["subjects"][0]["guest"]["cpus"] == 2, report["subjects"])
    off = row["realtime_change_ns"] - row["monotonic_gap_ns"] + 1_000_000_000
    check(abs(off) <= 2 * row["bracket_ns"], f"off by {off} ns: {row}")
    check(row["backward_steps"] == 1, row)


def the_table_is_for_people():
    done = run("--subject", "qemu", "--scenario", "boot", "--limit", "boot=5s")
    lines = done.stdout.splitlines()
    check(done.returncode == 0, f"status {done.returncode}: {done.stderr}")
    check("\033" not in done.stdout, "colours in a pipe")
    check(done.stderr == "", f"progress in a pipe: {done.stderr}")
    check(lines[0].split()[:4] == ["subject", "clocksource", "scenario", "policy"], lines[0])
    check(lines[1].startswith("qemu ") and lines[1].rstrip().endswith("pass"), lines[1])
    check(lines[-1] == "1 passed, 0 failed (qemu)", lines[-1])


def what_cannot_be_told_is_skipped():
    """A read of the PM timer costs an exit: some 40 us in the lab, and no nanoseconds anywhere."""
    done = run("--subject", "qemu", "--scenario", "steady", "--clocksource", "acpi_pm",
               "--duration", "10s", "--limit", "steady=100ns", "--json")
    row = json.loads(done.stdout)["results"][0]
    check(row["verdict"] == "skip" and done.returncode == 77, f"status {done.returncode}: {row}")
    check(row["limit_ns"] == 100 and "wider than the limit" in row["reason"], row)


def vmtime_passes_on_its_hpet():
    """As precise as an exit is short: twice the bracket, and a quantum of 10 ns."""
    done = run("--subject", "vmtime", "--scenario", "boot,steady", "--clocksource", "hpet",
               "--duration", "10s", "--json")
    report = json.loads(done.stdout)
    check(all(row["verdict"] == "pass" for row in report["results"]), report["results"])
    check("hpet" in report["subjects"][0]["guest"]["available_clocksource"], report["subjects"])
    check(done.returncode == 0, f"status {done.returncode}: {done.stderr}")


def a_clock_that_is_not_there_is_skipped():
    done = run("--subject", "qemu", "--scenario", "boot,steady", "--clocksource", "hpet",
               "--qemu-args", "-machine hpet=off", "--json")
    rows = json.loads(done.stdout)["results"]
    check(all(row["verdict"] == "skip" and "not hpet" in row["reason"] for row in rows), rows)
    check(done.returncode == 77, f"status {done.returncode}")


def a_guest_that_does_not_boot_fails_with_its_last_words():
    done = run("--subject", "qemu", "--scenario", "boot,steady", "--append", "rdinit=/nothing",
               "--json")
    rows = json.loads(done.stdout)["results"]
    check(all(row["verdict"] == "fail" and "panic" in row["reason"] for row in rows), rows)
    check(done.returncode == 1, f"status {done.returncode}")
    check(not left_behind(), left_behind())


def a_panic_ends_the_wait_on_vmtime_too():
    """Its machine would boot again and again."""
    start = time.monotonic()
    done = run("--subject", "vmtime", "--scenario", "boot,steady", "--append", "rdinit=/nothing",
               "--json")
    rows = json.loads(done.stdout)["results"]
    check(all(row["verdict"] == "fail" and "panic" in row["reason"] for row in rows), rows)
    check(done.returncode == 1, f"status {done.returncode}")
    check(time.monotonic() - start < 150, "it waited for the end of its patience")
    check(not left_behind(), left_behind())


def a_vmm_that_cannot_start_says_why():
    done = run("--subject", "qemu", "--scenario", "boot", "--qemu-args", "-no-such-option")
    check(done.returncode == 1, f"status {done.returncode}")
    check("no-such-option" in done.stdout, done.stdout)
    check(not left_behind(), left_behind())


def a_qemu_that_is_not_there_is_named():
    done = run("--subject", "qemu", "--qemu", "/nowhere/qemu")
    check(done.returncode == 3 and done.stderr.count("\n") == 1, done)
    check("/nowhere/qemu" in done.stderr and "--qemu PATH" in done.stderr, done.stderr)


def being_ended_leaves_nothing():
    child = subprocess.Popen([VMTIME, "test", "--subject", "qemu", "--scenario", "boot"],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)
    end = time.monotonic() + 60
    while len(left_behind()) < 2 and time.monotonic() < end:
        time.sleep(0.2)
    check(len(left_behind()) >= 2, "it did not start")
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=60)
    check(child.returncode == -signal.SIGTERM, f"status {child.returncode}")
    check(not left_behind(), left_behind())


class Faces:
    """One run of the probe and of Linux on both subjects, with two CPUs."""
    done = None

    @classmethod
    def get(cls):
        if cls.done is None:
            cls.done = measure("faces", "--subject", "vmtime,qemu", "--scenario", "faces",
                               "--duration", "6s", "--cpus", "2")
        report = report_of(cls.done, "faces")
        check(report["results"] == [], report["results"])
        return report


def every_face_of_vmtime_agrees():
    """On a busy machine too few of the RTC's seconds may be seen, which is a skip."""
    report = Faces.get()
    bad = [row for row in report["faces"] + report["pairs"]
           if row["subject"] == "vmtime" and row["verdict"] != "pass"
           and not (row["verdict"] == "skip" and "rtc" in row.values())]
    check(not bad, bad)
    check(Faces.done.returncode == 0, f"status {Faces.done.returncode}")


def every_face_is_read_on_each_cpu():
    """QEMU's are named, not judged: it is the peer."""
    report = Faces.get()
    for subject in "vmtime", "qemu":
        for cpu in 0, 1:
            rows = {row["name"]: row for row in report["faces"]
                    if (row["subject"], row["cpu"], row["reader"]) == (subject, cpu, "probe")}
            wanted = {"pit", "rtc", "acpi_pm", "lapic", "tsc", "kvm-clock"}
            check(wanted <= set(rows), f"{subject}, CPU {cpu}: {sorted(rows)}")
            for name in wanted - {"rtc"}:
                check(rows[name]["reads"] >= 9, rows[name])
    for reader in "probe", "linux":
        names = [(p["a"], p["b"]) for p in report["pairs"]
                 if (p["subject"], p["reader"]) == ("vmtime", reader)]
        check(len(set(names)) == len(names) >= 15, names)


def linux_reads_what_the_probe_reads():
    """And its own clocks.  Of QEMU's guests the lab's CPU keeps the ports."""
    report = Faces.get()
    own = {"realtime", "monotonic", "monotonic_raw", "boottime"}
    for subject, wanted in (("vmtime", own | {"pit", "rtc", "acpi_pm", "hpet", "tsc"}),
                            ("qemu", own | {"hpet", "tsc"})):
        for cpu in 0, 1:
            rows = {row["name"]: row for row in report["faces"]
                    if (row["subject"], row["cpu"], row["reader"]) == (subject, cpu, "linux")}
            check(wanted <= set(rows), f"{subject}, CPU {cpu}: {sorted(rows)}")
            for row in rows.values():
                check(row["clocksource"] == "kvm-clock", row)
            for name in own:
                check(rows[name]["quantum_ns"] == 1 and rows[name]["reads"] >= 6, rows[name])
    guests = [subject["guest"] for subject in report["subjects"]]
    check(all(guest["cpus"] == 2 for guest in guests), guests)


def the_hpet_is_found_where_there_is_one():
    rows = [row for row in Faces.get()["faces"] if row["name"] == "hpet"]
    check(len(rows) == 8 and all(row["quantum_ns"] == 10 for row in rows), rows)
    done = run("--scenario", "faces", "--duration", "2s", "--json", "--", "--hpet", "off")
    report = json.loads(done.stdout)
    check("hpet" not in [row["name"] for row in report["faces"]], report["faces"])
    check("pit" in [row["name"] for row in report["faces"]], report)


def the_faces_json_is_as_its_schema_says():
    report, schema = Faces.get(), schema_of_the_report()
    schema.validate(report)
    del report["faces"][0]["worst_error_ns"]
    check(not schema.is_valid(report), "a verdict without its figure is allowed")


def what_the_probe_said_is_kept():
    Faces.get()
    for subject in "vmtime", "qemu":
        for folder in "faces-1", "faces-kvm-clock-1":
            with open(f"{WORK}/kept-faces/{subject}-{folder}/samples.txt") as file:
                lines = file.read().splitlines()
            check(any(line.startswith("H 1 2 ") for line in lines), lines[:3])
            check(sum(line.startswith("R ") for line in lines) > 100, f"{len(lines)} lines")


def a_step_is_seen_among_the_faces():
    """The guest steps CLOCK_REALTIME alone: to the kernel's other clocks and the chips it is off by
    half the step at least, once its phase is fitted to both sides."""
    done = run("--scenario", "faces", "--duration", "6s", "--append", "vmtime.step=1000000",
               "--json")
    rows = {row["name"]: row for row in json.loads(done.stdout)["faces"]
            if row["reader"] == "linux"}
    check(rows["realtime"]["verdict"] == "fail" and
          abs(rows["realtime"]["worst_error_ns"]) >= 400_000, rows["realtime"])
    for name in "monotonic", "monotonic_raw", "boottime", "hpet":
        check(rows[name]["verdict"] == "pass", rows[name])
    check(done.returncode == 1, f"status {done.returncode}")


def a_machine_that_cannot_run_the_probe_fails_with_its_words():
    done = run("--subject", "qemu", "--scenario", "faces", "--qemu-args", "-no-such-option",
               "--json")
    rows = json.loads(done.stdout)["results"]
    check(done.returncode == 1 and [row["clocksource"] for row in rows] == ["-", "kvm-clock"], done)
    check(all(row["verdict"] == "fail" and "no-such-option" in row["reason"] for row in rows), rows)
    check(not left_behind(), left_behind())


class Ticks:
    """Both subjects for a moment of each rate; longer for the figures."""
    done = None
    rates = [("pit", 18), ("pit", 100), ("pit", 1000), ("pit", 8008), ("rtc", 2), ("rtc", 1024),
             ("rtc", 8192), ("hpet0", 100), ("hpet0", 1000), ("hpet0", 8000),
             ("hpet0-legacy", 1000)]

    @classmethod
    def get(cls):
        if cls.done is None:
            duration = "3s" if os.environ.get("VMTIME_SOAK") else "200ms"
            cls.done = measure("ticks", "--subject", "vmtime,qemu", "--scenario", "ticks",
                               "--duration", duration)
        report = report_of(cls.done, "ticks")
        check(report["results"] == [], report["results"])
        return report

    @classmethod
    def rows(cls, subject):
        rows = [row for row in cls.get()["ticks"] if row["subject"] == subject]
        all_of_one = rows[:2 * len(cls.rates)]
        check([(row["source"], row["rate_hz"], row["load"]) for row in all_of_one] ==
              [(source, hz, load) for source, hz in cls.rates for load in ("idle", "busy")], rows)
        for row in rows:
            # What the lab steals between two reads of the TSC is not counted in ticks.
            check(row["due"] >= int(row["rate_hz"] * 0.19) and
                  (row["guest_count"] > 0 or row["rate_hz"] == 2), row)
            if "late_max_ns" in row:
                check(row["late_p50_ns"] <= row["late_p99_ns"] <= row["late_max_ns"], row)
            check("cpu_ns" not in row or row["load"] == "idle", row)
        return rows


def every_tick_of_vmtime_has_a_fate():
    """Also of a guest that takes longer than a period to acknowledge, as the lab's does at 8 kHz."""
    for row in Ticks.rows("vmtime"):
        if row["source"] == "kernel-pit":
            continue
        check(row["due"] == sum(row[fate] for fate in ("delivered", "merged", "discarded", "owed")),
              row)
        check(row["verdict"] == "pass", row)
        if row["load"] == "busy" and row["rate_hz"] >= 1000:  # deaf for most of the time
            check(row["delivered"] < row["due"], row)


def every_policy_counts():
    rows = Ticks.rows("vmtime")[2 * len(Ticks.rates):]
    wanted = [(policy, load) for policy in ("catchup", "delay", "merge")
              for load in ("idle", "busy")]
    own = [row for row in rows if row["source"] == "pit"]
    check([(row["policy"], row["load"]) for row in own] == wanted, own)
    check(own[5]["merged"] > 0, own[5])
    check(all(row["merged"] == 0 for row in own[:4]), own)


def the_kernels_pit_is_a_peer():
    rows = [row for row in Ticks.rows("vmtime") if row["source"] == "kernel-pit"]
    check(len(rows) == 10 and {row["policy"] for row in rows} == {"discard", "catchup"}, rows)
    for row in rows:
        check(row["verdict"] == "skip" and "delivered" not in row, row)


def an_interrupt_has_its_price():
    idle = [row for subject in ("vmtime", "qemu") for row in Ticks.rows(subject)
            if row["load"] == "idle" and row["rate_hz"] >= 100]
    check(all(row.get("cpu_ns", 0) > 0 for row in idle), idle)
    check(all("cpu_qemu_percent" in row for row in idle
              if row["subject"] == "vmtime" and row["source"] != "kernel-pit"), idle)


def ticks_of_qemu_are_shown_not_judged():
    for row in Ticks.rows("qemu"):
        check(row["verdict"] == "skip" and "delivered" not in row, row)


def the_ticks_json_is_as_its_schema_says():
    report, schema = Ticks.get(), schema_of_the_report()
    schema.validate(report)
    del report["ticks"][0]["due"]
    check(not schema.is_valid(report), "ticks without a count are allowed")


def the_load_passes(report, **wanted):
    row = result(report, scenario="steal", **wanted)
    check(row["verdict"] == "pass" and row["limit_ns"] == 10000000, row)
    # The guest and four others want each CPU.
    check(row["run_delay_ns"] > 500000000, row)
    return row


def steal_is_what_the_threads_waited():
    report = report_of(measure("steal", "--subject", "vmtime,qemu", "--scenario", "steal",
                               "--duration", "3s", "--cpus", "2"), "steal")
    schema_of_the_report().validate(report)
    for subject in "vmtime", "qemu":
        the_load_passes(report, subject=subject)


def our_steal_too_and_no_clock_notices():
    report = report_of(measure("overcommit", "--scenario", "overcommit,steal", "--duration", "3s",
                               "--cpus", "2", "--", "--steal", "user"), "overcommit")
    the_load_passes(report, subject="vmtime")
    row = result(report, scenario="overcommit")
    check(row["verdict"] == "pass" and row["backward_steps"] == 0, row)
    check(row["duration_ns"] >= 3000000000 and row["limit_ns"] == 1000, row)


def a_guest_without_steal_fails():
    done = run("--scenario", "steal", "--duration", "2s", "--", "--steal", "none")
    check(done.returncode == 1, done.stderr)
    check("steal_residual_ns" in done.stdout and "0 ns by the guest's count" in done.stdout,
          done.stdout)


def a_hundred_pauses_leave_no_error():
    """Of two CPUs that do nothing but look at their clocks."""
    options = [] if SOAK else ["--", "--on-pause", "freeze"]
    report = report_of(measure("pauses", "--scenario", "pauses", "--pauses", "100", "--cpus", "2",
                               "--memory", "128M", *options), "pauses")
    schema_of_the_report().validate(report)
    check(len(report["results"]) == (2 if SOAK else 1), report["results"])
    for row in report["results"]:
        check(row["verdict"] == "pass" and row["pauses"] == 100, row)
        check(row["limit_ns"] == 1000 and row["backward_steps"] == 0, row)
        check(row["ticks_due"] > 0 and row["ticks_missing"] == 0, row)
        check(row["checks"] > 1000 and 0 <= row["worst_pause_ns"] <= 1000, row)
        frozen = row["policy"] == "freeze"
        check(3_000_000_000 * frozen < row["frozen_ns"] + 1 < 60_000_000_000, row)


def a_step_back_is_seen_by_busy_cpus():
    """While they look, 16 s after the first reading; by 60 ms, as the lab may not run for some."""
    done = run("--scenario", "pauses", "--pauses", "30", "--memory", "128M", "--cpus", "2",
               "--append", "vmtime.step=-60000000 vmtime.step_after=16000", "--json", "--",
               "--on-pause", "continue")
    row = result(json.loads(done.stdout), scenario="pauses")
    check(row["backward_steps"] >= 1, row)
    check(row["verdict"] == "fail" and done.returncode == 1, row)


def nothing_is_left_behind():
    Measured.get()
    check(not left_behind(), left_behind())
    check(os.listdir(WORK) and not glob.glob(f"{WORK}/*.tmp"), "a temporary file is left")


# Those of a group look at one measurement.
GROUPS = [
    [
        ("the JSON is as its schema says", schema_is_kept),
        ("vmtime and QEMU pass on kvm-clock and tsc", both_subjects_pass),
        ("half brackets are below 200 ns", brackets_are_tight),
        ("the figures are of this guest", figures_are_of_this_guest),
        ("logs and samples are kept when asked for", logs_are_kept),
        ("nothing is left behind", nothing_is_left_behind),
    ],
    [
        ("every face of vmtime agrees, on two CPUs", every_face_of_vmtime_agrees),
        ("every face is read on each CPU", every_face_is_read_on_each_cpu),
        ("Linux reads the faces that the probe reads", linux_reads_what_the_probe_reads),
        ("the HPET is found where there is one", the_hpet_is_found_where_there_is_one),
        ("the JSON of faces is as its schema says", the_faces_json_is_as_its_schema_says),
        ("what the probe said of faces is kept", what_the_probe_said_is_kept),
    ],
    [("a step of 1 ms is seen among the faces", a_step_is_seen_among_the_faces)],
    [
        ("every tick of vmtime has a fate", every_tick_of_vmtime_has_a_fate),
        ("every policy counts its ticks", every_policy_counts),
        ("the kernel's PIT is a peer", the_kernels_pit_is_a_peer),
        ("an interrupt has its price", an_interrupt_has_its_price),
        ("ticks of QEMU are shown, not judged", ticks_of_qemu_are_shown_not_judged),
        ("the JSON of ticks is as its schema says", the_ticks_json_is_as_its_schema_says),
    ],
    [("steal is what the threads waited", steal_is_what_the_threads_waited)],
    [("our steal, too, and no clock notices the load", our_steal_too_and_no_clock_notices)],
    [("a guest without steal fails", a_guest_without_steal_fails)],
    [("a hundred pauses leave no error", a_hundred_pauses_leave_no_error)],
    *event_cases.GROUPS,
    [("a step of 1 ms is seen to within the bracket", a_step_is_seen_to_within_the_bracket)],
    [("a step back is counted, on two CPUs", a_step_back_is_counted_on_two_cpus)],
    [("the table is for people", the_table_is_for_people)],
    [("what cannot be told is skipped", what_cannot_be_told_is_skipped)],
    [("vmtime passes on its HPET", vmtime_passes_on_its_hpet)],
    [("a clock source that is not there is skipped", a_clock_that_is_not_there_is_skipped)],
    [("a guest that does not boot fails with its last words",
      a_guest_that_does_not_boot_fails_with_its_last_words)],
    [("a panic ends the wait on vmtime too", a_panic_ends_the_wait_on_vmtime_too)],
    [("a VMM that cannot start says why", a_vmm_that_cannot_start_says_why)],
    [("a machine that cannot run the probe fails with its words",
      a_machine_that_cannot_run_the_probe_fails_with_its_words)],
    [("a QEMU that is not there is named", a_qemu_that_is_not_there_is_named)],
    [("being ended leaves nothing", being_ended_leaves_nothing)],
]

if SOAK:
    GROUPS.append([("a step back is seen by busy CPUs", a_step_back_is_seen_by_busy_cpus)])

part.run("test", GROUPS, WORDS)
