#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""libvmtime exports what its headers declare and symbols.txt lists, nothing else, and pollutes
no embedder's namespace."""
import pathlib
import re
import tempfile

import arch

LIST = pathlib.Path(__file__).with_name('symbols.txt')


def declared(text):
    """Functions that a public header marks VMT_API."""
    code = re.sub(r'(?m)^[ \t]*#.*$', '', arch.code_only(text))
    return re.findall(r'\bVMT_API\b[^;{}]*?\b(\w+)\s*\(', code)


def called(text):
    """Functions of the library that a document names, `vmt_name()`."""
    return re.findall(r'\b(vmt_\w+)\s*\(', text)


def differences(names, wanted, what, remedy):
    return ([f'{n} is exported but not {what}: {remedy}' for n in sorted(set(names) - set(wanted))]
            + [f'{n} is {what} but not exported' for n in sorted(set(wanted) - set(names))])


def strangers(names, where):
    return [f'{where} has the global name {n}, which does not begin with vmt_'
            for n in names if not n.startswith('vmt_')]


def test(report, args):
    exported = arch.defined(args.shared, '-D')
    report.check('libvmtime.so exports what symbols.txt lists',
                 differences(exported, LIST.read_text().split(), 'listed',
                             f'add it to {LIST.name} if embedders may rely on it'))
    headers = sorted((args.source / 'include/vmtime').glob('*.h'))
    report.check('libvmtime.so exports what the public headers declare',
                 differences(exported, [n for h in headers for n in declared(h.read_text())],
                             'declared in include/vmtime', 'declare it, or drop VMT_API'))
    guide = args.source / 'docs/embedding.md'
    report.check('docs/embedding.md names functions that exist',
                 [f'it names {n}, which is not exported' for n in called(guide.read_text())
                  if n not in exported])
    report.check('every exported name begins with vmt_', strangers(exported, 'libvmtime.so'))
    report.check('every global name of libvmtime.a begins with vmt_',
                 strangers(arch.defined(args.static), 'libvmtime.a'))


def self_test(report):
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        sample = arch.compile_sample(directory, '''
            #define VMT_API __attribute__((visibility("default")))
            VMT_API int vmt_new(void) { return 1; }
            VMT_API int vmt_known(void) { return 2; }
            VMT_API int stray;
            int vmt_inner(void) { return 3; }
            int helper(void) { return 4; }''', '-fPIC', '-fvisibility=hidden')
        shared = directory / 'sample.so'
        arch.run('cc', '-shared', '-o', shared, sample)
        exported = arch.defined(shared, '-D')
        listed = differences(exported, ['vmt_known', 'vmt_gone', 'stray'], 'listed', 'list it')
        report.catches('an export that is not listed', listed, 'vmt_new is exported but not')
        report.catches('a listed name that is gone', listed, 'vmt_gone is listed but not')
        report.check('lets hidden and listed names be',
                     [c for c in listed if 'vmt_inner' in c or 'vmt_known' in c])
        report.catches('a strange exported name', strangers(exported, 'sample.so'), 'stray')
        report.catches('a strange hidden name', strangers(arch.defined(sample), 'sample.a'),
                       'helper')
        header = ('/* VMT_API int no(void); */ VMT_API struct vmt_out\nvmt_x(int (*y)(int));\n'
                  '#define VMT_API __attribute__((visibility("default")))\n')
        report.check('reads what a document names',
                     [] if called('`vmt_a()` and `struct vmt_b`, `vmt_c(x)`') == ['vmt_a', 'vmt_c']
                     else ['not so'])
        report.check('reads declarations', [] if declared(header) == ['vmt_x'] else [
            f'it read {declared(header)}'])


if __name__ == '__main__':
    arch.run_script(__doc__, test, self_test)
