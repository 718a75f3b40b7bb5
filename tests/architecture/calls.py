#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Who may do what: on the host's side only src/host/hostclock.c reads a clock, and only src/cmd
prints.  What runs in a guest (src/guest, include/vmtime/read.h) reads the clocks that it measures
and prints for itself; benches, tests and examples are programs of their own."""
import pathlib
import tempfile

import arch

CLOCK_READER = 'src/host/hostclock.c'
GUEST = ('src/guest/', 'include/vmtime/read.h')

CLOCK_CALLS = {'clock_gettime', '__clock_gettime', 'clock_gettime64', 'gettimeofday',
               'evutil_gettimeofday', 'time', 'ftime', 'timespec_get', 'clock', 'times'}
CLOCK_LINKS = CLOCK_CALLS | {'vdso_find_clock_gettime'}  # it reads none, but hands one out
CLOCK_TEXT = (r'\b(?:' + '|'.join(sorted(CLOCK_CALLS)) + r')\s*\('
              r'|\b(?:_?_?rdtscp?|__builtin_ia32_rdtscp?|PTP_SYS_OFFSET\w*|SYS_clock_gettime\w*'
              r'|__NR_clock_gettime\w*|__rdpmc)\b')
CLOCK_ASM = r'\b(?:__)?asm(?:__)?\b[^;]*\brdtscp?\b'
CLOCK_CODE = r'\trdtscp?\b'

PRINT_CALLS = {'printf', '__printf_chk', 'vprintf', '__vprintf_chk', 'puts', 'putchar', 'perror',
               'psignal', 'stdout', 'stderr', 'syslog', '__syslog_chk', 'vsyslog', 'err', 'errx',
               'warn', 'warnx', 'verr', 'verrx', 'vwarn', 'vwarnx', 'error'}
PRINT_TEXT = (r'(?<![.>])\b(?:v?printf|puts|putchar|perror|v?syslog|errx?|warnx?)\s*\('
              r'|\b(?:stdout|stderr)\b|\bdprintf\s*\(\s*(?:[12]|STD\w+)\b')


def in_text(label, text, pattern, what, raw=None):
    """Matches of `pattern` in code without strings, and of `raw` with them (inline assembly)."""
    hits = arch.found(pattern, arch.code_only(text))
    if raw:
        hits += arch.found(raw, arch.code_only(text, strings=True))
    return [f'{label}:{line}: {" ".join(token.split())} {what}' for line, token in hits]


def in_object(label, path, calls, what):
    return [f'{label}: {name} {what}' for name in arch.undefined(path) if name in calls]


def reads_tsc(label, path):
    code = arch.run('objdump', '-d', '--no-show-raw-insn', path)
    return [f'{label}: {token.strip()} reads a clock' for _, token in arch.found(CLOCK_CODE, code)]


def test(report, args):
    root = args.source
    made = arch.objects(args)
    files = [(str(f.relative_to(root)), f.read_text())
             for f in arch.c_files(root, 'src', 'include')]
    clocks = [f for f in files if f[0] != CLOCK_READER and not f[0].startswith(GUEST)]
    prints = [f for f in files if not f[0].startswith(('src/cmd/',) + GUEST)]
    report.check('only hostclock.c names a clock on the host side',
                 [c for label, text in clocks
                  for c in in_text(label, text, CLOCK_TEXT, 'reads a clock', CLOCK_ASM)])
    report.check('only hostclock.c is linked to a clock on the host side',
                 [c for o in made if o.part != 'guest' and o.source != 'hostclock.c'
                  for c in in_object(o.source, o.path, CLOCK_LINKS, 'reads a clock')
                  + reads_tsc(o.source, o.path)])
    report.check('only src/cmd names a way to print',
                 [c for label, text in prints for c in in_text(label, text, PRINT_TEXT, 'prints')])
    report.check('only src/cmd is linked to a way to print',
                 [c for o in made if o.part not in ('cmd', 'guest')
                  for c in in_object(o.source, o.path, PRINT_CALLS, 'prints')])


def self_test(report):
    text = '''/* clock_gettime() and printf() in words */
const char *help = "--rdtsc native: time(NULL)";
long a(void) { return time(0); }
long b(void) { return __rdtsc(); }
long c(void) { asm volatile("rdtsc" : : : "eax"); return s.time + realtime(rdtsc_mode); }
int d(int fd) { return ioctl(fd, PTP_SYS_OFFSET_EXTENDED2, 0); }
void e(void) { fprintf(stderr, "x"); dprintf(2, "y"); snprintf(buf, 9, "printf("); fn.err(1); }
'''
    clocks = in_text('x.c', text, CLOCK_TEXT, 'reads a clock', CLOCK_ASM)
    for name, line in (('time()', 'x.c:3: time('), ('a builtin', 'x.c:4: __rdtsc'),
                       ('assembly', 'x.c:5: asm'), ('a PTP request', 'x.c:6: PTP_SYS_OFFSET')):
        report.catches(name, clocks, line)
    report.check('lets comments, strings and like names be', clocks[4:])
    prints = in_text('x.c', text, PRINT_TEXT, 'prints')
    report.catches('stderr', prints, 'x.c:7: stderr')
    report.catches('a print to descriptor 2', prints, 'x.c:7: dprintf')
    report.check('lets text in memory and members be',
                 [c for c in prints if 'snprintf' in c or 'err (' in c or 'err(' in c])
    with tempfile.TemporaryDirectory() as name:
        sample = arch.compile_sample(pathlib.Path(name), '''
            #include <stdio.h>
            #include <time.h>
            int (*vdso_find_clock_gettime(void))(int, struct timespec *);
            long f(void) { return time(0) + __builtin_ia32_rdtsc(); }
            int v(struct timespec *t) { return vdso_find_clock_gettime()(1, t); }
            void g(void) { printf("one line\\n"); }
            int h(char *p) { return snprintf(p, 9, "%ld", f()); }''')
        clocks = in_object('x.c', sample, CLOCK_LINKS, 'reads a clock')
        report.catches('a linked clock', clocks, ': time')
        report.catches('a clock by way of the vDSO', clocks, 'vdso_find_clock_gettime')
        report.catches('an RDTSC however written', reads_tsc('x.c', sample), 'rdtsc')
        linked = in_object('x.c', sample, PRINT_CALLS, 'prints')
        report.catches('a linked print', linked, 'puts')
        report.check('lets a linked snprintf be', [c for c in linked if 'snprintf' in c])


if __name__ == '__main__':
    arch.run_script(__doc__, test, self_test)
