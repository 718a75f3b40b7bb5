#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""libvmtime is pure: core, faces and board take nothing from outside but memcpy and its like,
compute with integers only, and keep no state of their own.  This is what lets a VMM of any
language call it from any thread."""
import os
import pathlib
import re
import tempfile

import arch

MEMORY = {'memcpy', 'memset', 'memcmp', 'memmove', '__memcpy_chk', '__memset_chk', '__memmove_chk'}
# What compilers call for 128-bit integers and for hardening, never for floating point.
HELPERS = {'__udivti3', '__umodti3', '__udivmodti4', '__divti3', '__modti3', '__multi3',
           '__ashlti3', '__lshrti3', '__ashrti3', '__muloti4', '__popcountdi2', '__clzti2',
           '__stack_chk_fail', '_GLOBAL_OFFSET_TABLE_'}
CONSTANT = ('.text', '.rodata', '.data.rel.ro', '.note', '.comment', '*UND*', '*ABS*')
FLOATING_WORD = (r'\b(?:float|double|_Float\w+|__float128|_Complex|_Decimal\w+)\b'
                 r'|<(?:math|fenv|tgmath|float)\.h>')
FLOATING_LITERAL = (r'(?<![\w.])(?:\d+\.\d*|\.\d+|\d+(?=[eE][-+]?\d))(?:[eE][-+]?\d+)?[fFlL]?\b'
                    r'|\b0[xX][0-9a-fA-F.]+[pP][-+]?\d+')


def foreign_names(parts_objects):
    """Names from outside the library, per object: [(label, part, undefined, defined)]."""
    owner = {}
    for _, part, _, own in parts_objects:
        for name in own:
            owner.setdefault(name, part)
    complaints = []
    for label, part, wanted, _ in parts_objects:
        for name in wanted:
            if name in MEMORY or name in HELPERS:
                continue
            if owner.get(name) not in arch.closure(part) & set(arch.LIBRARY):
                complaints.append(f'{label} takes {name} from outside {part} and what it may use')
    return complaints


def state(label, symbols):
    """Data that could change."""
    return [f'{label} keeps {s.name} in {s.section}: let the caller own it, or make it const'
            for s in symbols if not s.section.startswith(CONSTANT)]


def floating_text(label, text):
    code = arch.code_only(text)
    return [f'{label}:{line}: {token} is floating point'
            for pattern in (FLOATING_WORD, FLOATING_LITERAL)
            for line, token in arch.found(pattern, code)]


def floating_code(label, path, includes, directory):
    """Compiled without any floating-point register, a source must still compile and must not
    call a soft-float helper."""
    made = directory / 'integer.o'
    command = [*os.environ.get('CC', 'cc').split(), '-std=gnu17', '-O1', '-w', '-c',
               '-mgeneral-regs-only', *[f'-I{i}' for i in includes], '-o', made, path]
    try:
        arch.run(*command, stderr=-1)
    except arch.subprocess.CalledProcessError as error:
        why = next((l for l in error.stderr.split('\n') if 'error' in l), 'no reason given')
        return [f'{label} does not compile with general registers alone: {why.strip()}']
    soft = [n for n in arch.undefined(made) if re.match(r'__\w+[sdxt]f[23]?$|__(fix|float)', n)]
    return [f'{label} computes in floating point: it calls {name}' for name in soft]


def needed(shared):
    """Libraries that the shared object draws in."""
    text = arch.run('readelf', '-d', '-W', shared)
    return re.findall(r'\(NEEDED\).*\[(.*)\]', text)


def test(report, args):
    own = [o for o in arch.objects(args) if o.part in arch.LIBRARY]
    report.check('objects of core, faces and board exist',
                 [] if {o.part for o in own} == set(arch.LIBRARY) else [
                     f'only {sorted({o.part for o in own})} were built'])
    facts = [(o.source, o.part, arch.undefined(o.path), arch.defined(o.path)) for o in own]
    report.check('libvmtime takes nothing from outside but memcpy and its like',
                 foreign_names(facts))
    extra = [n for n in needed(args.shared)
             if not re.match(r'libc\.so|libgcc_s\.so|lib(a|ub|t)san\.so|ld-linux', n)]
    report.check('libvmtime.so needs no library but libc', [f'it needs {n}' for n in extra])
    report.check('libvmtime keeps no state of its own',
                 [c for o in own for c in state(o.source, arch.symbols(o.path))])
    files = arch.c_files(args.source, *[f'src/{part}' for part in arch.LIBRARY], 'include')
    report.check('no floating point in the sources of libvmtime',
                 [c for f in files for c in floating_text(f.name, f.read_text())])
    includes = [args.source / 'src', args.source / 'include']
    with tempfile.TemporaryDirectory() as directory:
        report.check('libvmtime compiles with general registers alone',
                     [c for f in files if f.suffix == '.c'
                      for c in floating_code(f.name, f, includes, pathlib.Path(directory))])


def self_test(report):
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        sample = arch.compile_sample(directory, '''
            #include <string.h>
            #include <stdlib.h>
            int vmt_lower(void);
            int counter;
            static int hidden;
            _Thread_local int mine;
            const int table[] = {1, 2};
            static const char *const names[] = {"a", "b"};
            const char *vmt_name(int i) { return names[i]; }
            void *vmt_bad(void *p, int n)
            {
                hidden += vmt_lower(); memset(p, counter++ + mine, n); return malloc(hidden);
            }''', '-fPIC')
        facts = [('sample.c', 'core', arch.undefined(sample), arch.defined(sample)),
                 ('board.c', 'board', ['vmt_bad'], ['vmt_lower'])]
        complaints = foreign_names(facts)
        report.catches('a call of libc', complaints, 'malloc')
        report.catches('a call upwards', complaints, 'vmt_lower')
        report.check('lets memset and a call downwards be',
                     [c for c in complaints if 'memset' in c or 'vmt_bad' in c])
        kept = state('sample.c', arch.symbols(sample))
        for variable in ('counter', 'hidden', 'mine'):
            report.catches(f'the variable {variable}', kept, f'keeps {variable}')
        report.check('lets constant tables be',
                     [c for c in kept if 'table' in c or 'names' in c or 'vmt_' in c])
        report.catches('a double', floating_text('x.c', 'int f(void)\n{\n double d;\n}'),
                       'x.c:3: double')
        report.catches('a literal', floating_text('x.c', 'int f = (int)1e9;'), '1e9')
        report.catches('a fraction', floating_text('x.c', 'int f = 3 * .5;'), '.5')
        report.check('lets integers, words and comments be',
                     floating_text('x.c', 'int f = 0x1e9 + 10; /* 1.5 double */ int e5 = a.b;'))
        hidden = directory / 'float.c'
        hidden.write_text('long f(long x) { return x * __builtin_sqrt(x) + x / 3.0L; }')
        report.catches('hidden floating point', floating_code('float.c', hidden, [], directory),
                       'float.c')
        integer = directory / 'whole.c'
        integer.write_text('typedef unsigned __int128 u; u f(u x, u y) { return x * 3 / y; }')
        report.check('lets 128-bit integers be', floating_code('whole.c', integer, [], directory))


if __name__ == '__main__':
    arch.run_script(__doc__, test, self_test)
