#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Files that a person can hold: at most 600 lines a file, 70 a function, 100 columns in C; each
begins with its licence and says what it is."""
import re

import arch

FILE_LINES, FUNCTION_LINES, COLUMNS, TAB = 600, 70, 100, 8
DIRECTORIES = ('src', 'include', 'tests', 'bench', 'examples', 'lab', 'scripts')
LICENCE = 'SPDX-License-Identifier: Apache-2.0'


def functions(text):
    """(name, first line, number of lines) of each function: from the line that names it to the
    closing brace.  By the style, braces of functions alone stand in the first column."""
    lines = arch.code_only(text).split('\n')
    head = start = None
    for number, line in enumerate(lines, 1):
        if start is None and line == '{':
            start = number
        elif start is not None and line.startswith('}'):
            match = re.search(r'(\w+)\s*\(', ' '.join(lines[head - 1:start - 1]))
            yield (match[1] if match else '?'), head, number - head + 1
            head = start = None
        elif start is None:
            if not line.strip() or line.startswith('#') or line.rstrip().endswith((';', '}')):
                head = None
            elif head is None:
                head = number


def too_long(label, text):
    lines = text.count('\n')
    return [f'{label} has {lines} lines, more than {FILE_LINES}: split it'
            ] if lines > FILE_LINES else []


def too_wide(label, text):
    return [f'{label}:{number} is wider than {COLUMNS} columns'
            for number, line in enumerate(text.split('\n'), 1)
            if len(line.expandtabs(TAB)) > COLUMNS]


def long_functions(label, text):
    return [f'{label}:{first}: {name} has {lines} lines, more than {FUNCTION_LINES}: split it'
            for name, first, lines in functions(text) if lines > FUNCTION_LINES]


def opening(label, text):
    """A C file begins with the licence's line and a comment `name - what it is`."""
    name = label.rsplit('/', 1)[-1]
    lines = (text + '\n\n').split('\n')
    if lines[0] != f'/* {LICENCE} */':
        return [f'{label} does not begin with /* {LICENCE} */']
    if not re.match(r'/\* ' + re.escape(name) + r' - \S', lines[1]):
        return [f'{label}: the second line is not a comment "{name} - what it is"']
    return []


def script_opening(label, text):
    head = text.split('\n')[:2]
    return [] if f'# {LICENCE}' in head else [
        f'{label}: neither of the first two lines is # {LICENCE}']


def scripts(root):
    """Python and shell, by name or by first line."""
    for directory in DIRECTORIES:
        for path in sorted((root / directory).rglob('*')):
            if path.suffix in ('.py', '.sh'):
                yield path
            elif path.is_file() and not path.suffix and path.read_bytes()[:2] == b'#!':
                yield path


def test(report, args):
    root = args.source
    c_texts = [(str(f.relative_to(root)), f.read_text())
               for f in arch.c_files(root, *DIRECTORIES)]
    texts = [(str(f.relative_to(root)), f.read_text()) for f in scripts(root)]
    report.check(f'files have at most {FILE_LINES} lines',
                 [c for f in c_texts + texts for c in too_long(*f)])
    report.check(f'C files have at most {COLUMNS} columns',
                 [c for f in c_texts for c in too_wide(*f)])
    report.check(f'functions have at most {FUNCTION_LINES} lines',
                 [c for f in c_texts for c in long_functions(*f)])
    report.check('C files begin with licence and purpose',
                 [c for f in c_texts for c in opening(*f)])
    report.check('scripts begin with the licence', [c for f in texts for c in script_opening(*f)])


def self_test(report):
    head = f'/* {LICENCE} */\n/* x.c - a sample. */\n'

    def function(lines):
        return head + 'static int f(int a,\n\t     int b)\n{\n' + '\ta++;\n' * (lines - 4) + '}\n'

    report.catches('a long file', too_long('x.c', head + '\n' * 599), 'x.c has 601 lines')
    report.check('lets a file of 600 lines be', too_long('x.c', head + '\n' * 598))
    report.catches('a wide line', too_wide('x.c', head + '\t' * 12 + '12345'), 'x.c:3')
    report.catches('a long function', long_functions('x.c', function(71)), 'x.c:3: f has 71 lines')
    report.check('lets a function of 70 lines be', long_functions('x.c', function(70)))
    table = head + 'static const int t[] = {\n' + '\t1,\n' * 90 + '};\n\nint g(void)\n{\n}\n'
    report.check('lets a long table be', long_functions('x.c', table))
    report.catches('a missing licence', opening('a/x.c', '/* x.c - a. */\n'), 'does not begin')
    report.catches('a missing purpose', opening('a/x.c', f'/* {LICENCE} */\n#include <a.h>\n'),
                   'second line')
    report.catches('a purpose of another file',
                   opening('a/y.c', head), 'y.c - what it is')
    report.check('lets a good opening be', opening('a/x.c', head))
    report.catches('a script without licence',
                   script_opening('x.sh', '#!/bin/sh\nset -e\n'), 'x.sh')
    report.check('lets a script with licence be',
                 script_opening('x.sh', f'#!/bin/sh\n# {LICENCE}\n'))


if __name__ == '__main__':
    arch.run_script(__doc__, test, self_test)
