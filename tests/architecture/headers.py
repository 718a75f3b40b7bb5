#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each public header is whole by itself, in C11, C17 and C++17, with every warning an error, for
gcc and for clang where they are; and holds nothing that another language could not follow: only
fixed-width integers, no bit-field, union or enum as a member or argument, no function that only a
macro can call.  read.h, for programs in a guest, is all inline: for C and C++ alone, from C++11 on,
and compiled with what it does."""
import pathlib
import re
import shutil
import subprocess
import tempfile

import arch

COMPILERS = [('gcc', '-std=c11'), ('gcc', '-std=c17'), ('g++', '-std=c++17'),
             ('clang', '-std=c11'), ('clang', '-std=c17'), ('clang++', '-std=c++17')]
READER = 'read.h'
READER_COMPILERS = [('gcc', '-std=c11'), ('gcc', '-std=gnu17'), ('g++', '-std=c++11'),
                    ('g++', '-std=c++20'), ('clang', '-std=c11'), ('clang', '-std=gnu17'),
                    ('clang++', '-std=c++11'), ('clang++', '-std=c++20')]
READER_USE = '''int main(void)
{
	static struct vmt_read r;

	vmt_read_open(&r);
	vmt_read_renew(&r, VMT_READ_GROWTH_PPM);
	return vmt_read_now(&r).latest_ns + vmt_read_now_ordered(&r).latest_ns +
	       vmt_read_realtime(&r).latest_ns + vmt_read_ns(&r) + vmt_read_ns_ordered(&r) < 0;
}
'''
WARNINGS = ['-Wall', '-Wextra', '-Wpedantic', '-Wconversion', '-Wshadow', '-Wundef', '-Werror']

FOREIGN = (r'\b(?:long|short|bool|_Bool|unsigned|signed|union|float|double|__int128|wchar_t'
           r'|ssize_t|time_t|va_list|ptrdiff_t|uintptr_t|intptr_t)\b')
LOOSE_CHAR = r'(?<!\bconst )\bchar\b'
LOOSE_INT = r'\bint\b(?!\s+vmt_\w+\s*\()'  # as the status that a function returns it is fine
BIT_FIELD = r'\b\w+\s*:\s*\w+\s*;'
ENUM_VALUE = r'\benum\s+vmt_\w+\s+\w+\s*[,;)\[]'
CALLED_MACRO = r'(?m)^[ \t]*#[ \t]*define[ \t]+\w+\('
FUNCTION_POINTER = r'\(\s*\*\s*\w*\s*\)\s*\('
INLINE = r'\binline\b'


def foreign_forms(label, text):
    code = arch.code_only(text).replace('extern ""', '')
    rules = ((FOREIGN, 'is not a fixed-width integer'),
             (LOOSE_CHAR, 'is not a fixed-width integer'),
             (LOOSE_INT, 'is not a fixed-width integer'), (BIT_FIELD, 'is a bit-field'),
             (ENUM_VALUE, 'leaves its size to the compiler'), (CALLED_MACRO, 'needs a macro'),
             (FUNCTION_POINTER, 'calls back'), (INLINE, 'cannot be called from outside C'))
    return [f'{label}:{line}: {token.strip()} {why}'
            for pattern, why in rules for line, token in arch.found(pattern, code)]


def compiles(compiler, standard, include, header, directory, use='int main(void) { return 0; }\n',
             how=('-fsyntax-only',)):
    """Complaints of one compiler about a file that includes nothing but the header, twice."""
    cplusplus = compiler.endswith('++')
    source = directory / ('alone.cc' if cplusplus else 'alone.c')
    source.write_text(f'#include <vmtime/{header}>\n#include <vmtime/{header}>\n'
                      + use)
    done = subprocess.run([compiler, standard, *WARNINGS, f'-I{include}', *how, source],
                          text=True, capture_output=True, check=False)
    if done.returncode == 0:
        return []
    why = next((line for line in done.stderr.split('\n') if 'error' in line), 'no reason given')
    return [f'{compiler} {standard} says {why.strip()}']


def test(report, args):
    include = args.source / 'include'
    headers = sorted((include / 'vmtime').glob('*.h'))
    report.check('there are public headers', [] if headers else ['include/vmtime is empty'])
    report.check('public headers hold only what any language can follow',
                 [c for h in headers if h.name != READER
                  for c in foreign_forms(h.name, h.read_text())])
    listed = (include / 'vmtime/meson.build').read_text()
    report.check('every public header is installed',
                 [f'{h.name} is not in include/vmtime/meson.build' for h in headers
                  if f"'{h.name}'" not in listed])
    with tempfile.TemporaryDirectory() as name:
        for compiler, standard in COMPILERS:
            title = f'each header compiles alone: {compiler} {standard}'
            if not shutil.which(compiler):
                report.skip(title, f'{compiler} is not installed')
                continue
            report.check(title, [c for h in headers
                                 for c in compiles(compiler, standard, include, h.name,
                                                   pathlib.Path(name))])
        for compiler, standard in READER_COMPILERS:
            for level in ('-O0', '-O2'):
                title = f'{READER} compiles with what it does: {compiler} {standard} {level}'
                if not shutil.which(compiler):
                    report.skip(title, f'{compiler} is not installed')
                    continue
                report.check(title, compiles(compiler, standard, include, READER,
                                             pathlib.Path(name), READER_USE, (level, '-c', '-o', f'{name}/alone.o')))


def self_test(report):
    text = '''/* a long bool union */
struct vmt_bad {
	unsigned long wide;
	bool truth;
	uint32_t bit : 3;
	enum vmt_kind kind;
	union { uint32_t a; } u;
	int plain;
	char letter;
	void (*hook)(void *);
};
#define VMT_READ(x) vmt_read(&(x))
extern "C" { int vmt_good(const struct vmt_bad *b, uint32_t n); const char *vmt_name(void); }
static inline uint32_t vmt_quick(void) { return 1; }
'''
    forms = foreign_forms('x.h', text)
    for what, complaint in (('long', ':3: long'), ('bool', ':4: bool'),
                            ('a bit-field', ':5: bit : 3; is a bit-field'),
                            ('an enum member', ':6: enum vmt_kind kind;'), ('a union', ':7: union'),
                            ('an int member', ':8: int'), ('a char', ':9: char'),
                            ('a callback', ':10: (*hook)('), ('a macro', ':12: #define VMT_READ('),
                            ('an inline function', ':14: inline')):
        report.catches(what, forms, complaint)
    report.check('lets a status, a name and comments be',
                 [c for c in forms if ':1:' in c or ':13:' in c])
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        (directory / 'vmtime').mkdir()
        bad = {'needs.h': 'uint32_t vmt_x(void);\n', 'twice.h': 'struct vmt_x { int a; };\n',
               'words.h': 'struct vmt_x;\n#ifdef __cplusplus\nint new;\nint class;\n#endif\n',
               'gnu.h': '#ifndef A\n#define A\nstruct vmt_x { int a; int b[0]; };\n#endif\n'}
        for file, content in bad.items():
            (directory / 'vmtime' / file).write_text(content)
        (directory / 'vmtime/odd.h').write_text(
            '#ifndef A\n#define A\nstatic inline int vmt_x(int n) { int a; if (n) a = n; '
            'return a; }\n#endif\n')
        if shutil.which('gcc'):
            report.catches('what only an optimizer sees', compiles(
                'gcc', '-std=c11', directory, 'odd.h', directory,
                'int main(int c, char **v) { (void)v; return vmt_x(c - 1); }\n', ('-O2', '-c', '-o', directory / 'odd.o')),
                'gcc')
        for compiler, standard in COMPILERS:
            if shutil.which(compiler):
                for file in bad:
                    if file != 'words.h' or compiler.endswith('++'):
                        report.catches(f'{file} by {compiler} {standard}', compiles(
                            compiler, standard, directory, file, directory), file)


if __name__ == '__main__':
    arch.run_script(__doc__, test, self_test)
