#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests that the documents name are there: docs/faces.md answers each problem by a test."""
import re

import arch

DOCUMENT = 'docs/faces.md'


def named(text):
    """(program or file, function) of each `a_test`: `one`, `two` in the tables' last column."""
    for line in text.split('\n'):
        if not line.startswith('|'):
            continue
        program = None
        for name in re.findall(r'`([^`]+)`', line.rsplit('|', 2)[-2]):
            if name.endswith(('_test', '.py')):
                program = name
            elif program and re.fullmatch(r'[a-z0-9_]+', name):
                yield program, name


def missing(text, sources):
    """sources: {file name: its text}."""
    found = []
    for program, function in named(text):
        name = program if program.endswith('.py') else program + '.c'
        if name not in sources:
            found.append(f'{DOCUMENT} names {program}, which is not there')
        elif not re.search(rf'\b{function}\b', sources[name]):
            found.append(f'{DOCUMENT} names {function}, which {name} does not have')
    return found


def test(report, args):
    sources = {f.name: f.read_text() for f in (args.source / 'tests').rglob('*')
               if f.suffix in ('.c', '.py')}
    text = (args.source / DOCUMENT).read_text()
    report.check('tests that are named exist',
                 missing(text, sources) or ([] if list(named(text)) else ['none is named']))


def self_test(report):
    sources = {'pit_test.c': 'void it_works(void)', 'cases.py': 'def it_runs():'}

    def row(last):
        return '| a | b | ' + last + ' |\n'

    report.check('lets tests that are there be',
                 missing(row('`pit_test`: `it_works`; `cases.py`: `it_runs`'), sources))
    report.catches('a function that is gone', missing(row('`pit_test`: `it_walks`'), sources),
                   'names it_walks')
    report.catches('a program that is gone', missing(row('`pot_test`: `it_works`'), sources),
                   'names pot_test')
    report.catches('a case that is gone', missing(row('in: `cases.py`: `it_walks`'), sources),
                   'cases.py does not have')


if __name__ == '__main__':
    arch.run_script(__doc__, test, self_test)
