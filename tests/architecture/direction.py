#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Dependence goes one way:

    cmd -> guest, move, link, kvm, host, board      move -> kvm, board, host
    guest, link -> host                             kvm -> board, host
    board -> faces -> core                          host -> core

in what the sources include and in what the linker resolves."""
import pathlib
import re
import tempfile

import arch

# Which part a public header belongs to.
PUBLIC = {
    'out.h': 'core', 'clock.h': 'core', 'discipline.h': 'core',
    'pit.h': 'faces', 'rtc.h': 'faces', 'pmtmr.h': 'faces', 'hpet.h': 'faces',
    'kvmclock.h': 'faces', 'steal.h': 'faces', 'tsc.h': 'faces',
    'board.h': 'board', 'gap.h': 'board', 'vmtime.h': 'board',
    'read.h': 'guest',
}


def includes(text):
    """(line, 'public' or 'own', header) of each include that is the project's."""
    code = arch.code_only(text, strings=True)
    for line, directive in arch.found(r'(?m)^[ \t]*#[ \t]*include[ \t]*[<"][^>"]+[>"]', code):
        header = re.search(r'[<"]([^>"]+)', directive)[1]
        if header.startswith('vmtime/'):
            yield line, 'public', header[len('vmtime/'):]
        elif '"' in directive and header.endswith('.h'):  # others are data that the build makes
            yield line, 'own', header


def wrong_includes(label, part, text):
    if part not in arch.USES:
        return [f'{label}: no rule for the part {part}: add it to USES in arch.py']
    complaints = []
    for line, kind, header in includes(text):
        if kind == 'public':
            target = PUBLIC.get(header)
            if target is None:
                complaints.append(f'{label}:{line}: no rule for <vmtime/{header}>: '
                                  'add it to PUBLIC in direction.py')
                continue
        else:
            target = header.split('/')[0] if '/' in header else None
            if target is None:
                complaints.append(f'{label}:{line}: "{header}" names no part: '
                                  f'include it as "{part}/{header}"')
                continue
            if target not in arch.USES:
                continue  # made by the build, or a system's: the linker test sees what it brings
        if target not in arch.closure(part):
            complaints.append(f'{label}:{line}: {part} must not use {target} ({header})')
    return complaints


def wrong_links(facts):
    """facts: [(label, part, undefined, defined)]."""
    owners = {}
    for _, part, _, own in facts:
        for name in own:
            owners.setdefault(name, set()).add(part)
    return [f'{label}: {part} must not use {"/".join(sorted(owners[name]))} ({name})'
            for label, part, wanted, _ in facts for name in wanted
            if name in owners and not owners[name] & arch.closure(part)]


def test(report, args):
    root = args.source
    complaints = []
    for file in arch.c_files(root, 'src'):
        complaints += wrong_includes(file.relative_to(root), arch.part_of(file, root),
                                     file.read_text())
    for file in arch.c_files(root, 'include'):
        complaints += wrong_includes(file.relative_to(root), PUBLIC.get(file.name, file.name),
                                     file.read_text())
    report.check('includes go one way', complaints)
    report.check('links go one way', wrong_links(
        [(o.source, o.part, arch.undefined(o.path), arch.defined(o.path))
         for o in arch.objects(args)]))


def self_test(report):
    text = '''#include <stdio.h>
/* #include "cmd/cmd.h" */
#include "core/ns.h"
#include <vmtime/board.h>
#include <vmtime/new.h>
#include "ns.h"
#include "table.hex"
'''
    complaints = wrong_includes('pit.c', 'faces', text)
    report.catches('an upward include', complaints, 'pit.c:4: faces must not use board')
    report.catches('a header without a rule', complaints, '<vmtime/new.h>')
    report.catches('a header without its part', complaints, 'pit.c:6: "ns.h"')
    report.check('lets downward and commented includes be', complaints[3:])
    report.catches('a server that knows the VMM',
                   wrong_includes('qmp.c', 'link', '#include "kvm/machine.h"\n'),
                   'qmp.c:1: link must not use kvm')
    report.catches('a part without a rule', wrong_includes('x.c', 'misc', ''), 'misc')
    report.check('lets what is used by the used be', wrong_includes('x.c', 'cmd', text[:60]))
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        lower = arch.compile_sample(directory, 'int up(void); int low(void) { return up(); }')
        upper = arch.compile_sample(directory, 'int low(void); int up(void) { return low(); }',
                                    name='upper')
        linked = wrong_links([('lower.c', 'host', arch.undefined(lower), arch.defined(lower)),
                              ('upper.c', 'kvm', arch.undefined(upper), arch.defined(upper))])
        report.catches('an upward call', linked, 'lower.c: host must not use kvm (up)')
        report.check('lets a downward call be', linked[1:])


if __name__ == '__main__':
    arch.run_script(__doc__, test, self_test)
