#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the models in this folder with spin: every interleaving, no assertion that fails and no
end but the one that is meant.  Then each BREAK_ that a model names is switched on, and must be found
out: a model that cannot fail shows nothing."""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


def run(command, folder):
    done = subprocess.run(command, cwd=folder, text=True, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: {(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def search(model, *defines):
    """(errors, states) of a whole search."""
    with tempfile.TemporaryDirectory() as folder:
        run(["spin", *[f"-D{d}" for d in defines], "-a", model], folder)
        run(["cc", "-O1", "-w", "-DSAFETY", "-DCOLLAPSE", "-o", "pan", "pan.c"], folder)
        out = run(["./pan", "-m100000"], folder)
    if "search depth too small" in out or "out of memory" in out:
        sys.exit(f"{model.name}: not all was searched: {out}")
    return (int(re.search(r"errors: (\d+)", out)[1]),
            int(float(re.search(r"([\d.e+]+) states, stored", out)[1])))


def main():
    if not shutil.which("spin"):
        print("1..0 # SKIP no spin here (Debian's package spin)")
        return 0
    bad = number = 0
    models = sorted(HERE.glob("*.pml"))
    breaks = {m: sorted(set(re.findall(r"#ifn?def (BREAK_\w+)", m.read_text()))) for m in models}
    print(f"1..{sum(1 + len(b) for b in breaks.values())}")
    for model in models:
        for define in [None, *breaks[model]]:
            errors, states = search(model, *([define] if define else []))
            good = errors > 0 if define else errors == 0
            number += 1
            bad += not good
            print(f"{'ok' if good else 'not ok'} {number} - {model.stem}: "
                  f"{define or 'as it is'}: {errors} errors in {states} states")
    return bad > 0


sys.exit(main())
