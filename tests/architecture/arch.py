# SPDX-License-Identifier: Apache-2.0
"""What the architecture tests share: the lines that they print, C text without its comments, and
the objects that the build has made.

Each test is a script with two uses.  Plain, it checks the tree and the build.  With --self-test
it feeds its own checks bad samples and is content when each of them is caught: a check that
cannot fail is worth nothing."""
import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import sys

# Which part may use which; what a part may use, those that use the part may use too.
USES = {
    'cmd': ['guest', 'move', 'link', 'kvm', 'host', 'board'],
    'move': ['kvm', 'board', 'host'],
    'guest': ['host'],
    'link': ['host'],
    'kvm': ['board', 'host'],
    'board': ['faces'],
    'faces': ['core'],
    'host': ['core'],
    'core': [],
}
LIBRARY = ['core', 'faces', 'board']  # what becomes libvmtime

# What instrumented builds (sanitizers, coverage) add to an object; no source can mean these.
INSTRUMENTS = re.compile(r'^(__(asan|ubsan|tsan|msan|gcov|llvm|sanitizer|odr_asan|start___sancov'
                         r'|stop___sancov|sancov|profc|profd|profn|covrec)'
                         r'|(asan|tsan|sancov)\.|_sub_[ID]_|mangle_path$)')

Object = collections.namedtuple('Object', 'part source path')
Symbol = collections.namedtuple('Symbol', 'name section')


class Report:
    """Prints one line a test point, in TAP, and remembers whether all were good."""

    def __init__(self):
        self.points = 0
        self.failed = 0

    def check(self, name, complaints):
        """`complaints`: sentences that say what is wrong; none when all is well."""
        self.points += 1
        if complaints:
            self.failed += 1
            print(f'not ok - {name}: {complaints[0]}')
            for more in complaints[1:]:
                print(f'# {name}: {more}')
        else:
            print(f'ok - {name}')

    def catches(self, name, complaints, word):
        """The self-test's point: some complaint names `word`."""
        missed = [] if any(word in c for c in complaints) else [
            f'no complaint names {word}; there were {complaints or "none"}']
        self.check(f'catches {name}', missed)

    def skip(self, name, why):
        self.points += 1
        print(f'ok - {name} # SKIP {why}')

    def end(self):
        print(f'1..{self.points}')
        return 1 if self.failed else 0


def run_script(description, test, self_test):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('--source', type=pathlib.Path, help="the project's root",
                        default=pathlib.Path(__file__).resolve().parents[2])
    parser.add_argument('--build', type=pathlib.Path, help="meson's build directory")
    parser.add_argument('--shared', type=pathlib.Path, help='libvmtime.so')
    parser.add_argument('--static', type=pathlib.Path, help='libvmtime.a')
    parser.add_argument('--self-test', action='store_true', help='check the checks by bad samples')
    args = parser.parse_args()
    report = Report()
    if args.self_test:
        self_test(report)
    else:
        test(report, args)
    sys.exit(report.end())


def run(*command, **options):
    """Standard output of a command that must succeed."""
    return subprocess.run([str(c) for c in command], check=True, text=True,
                          stdout=subprocess.PIPE, **options).stdout


def code_only(text, strings=False):
    """C text with comments (and, unless asked to keep them, the insides of strings) blanked out;
    lines keep their numbers."""
    def blank(match):
        token = match.group(0)
        if token.startswith(('"', "'")):
            return token if strings else token[0] * 2
        return ' ' + '\n' * token.count('\n')
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text,
                  flags=re.S)


def found(pattern, text):
    """(line number, matched text) of each match."""
    return [(text.count('\n', 0, m.start()) + 1, m.group(0)) for m in re.finditer(pattern, text)]


def c_files(root, *directories):
    """Sources and headers below the directories, in order."""
    return sorted(path for directory in directories for path in (root / directory).rglob('*')
                  if path.suffix in ('.c', '.h'))


def part_of(path, *roots):
    """The part that a file below src/ of one of the roots belongs to; None for others."""
    for root in roots:
        try:
            inside = path.relative_to(root / 'src').parts
        except ValueError:
            continue
        if len(inside) > 1:
            return inside[0]
    return None


def objects(args):
    """What the build compiled of src/: generated sources too, tests' and benches' own copies not.
    Complains when one is not there, so that a half-built tree cannot pass."""
    source, build = args.source.resolve(), args.build.resolve()
    made = []
    for entry in json.loads((build / 'compile_commands.json').read_text()):
        directory = pathlib.Path(entry['directory'])
        file = pathlib.Path(os.path.normpath(directory / entry['file']))
        part = part_of(file, build, source)
        if part and not entry['output'].startswith(('tests/', 'bench/')):
            path = directory / entry['output']
            if not path.exists():
                sys.exit(f'Bail out! {path} is missing: build first')
            made.append(Object(part, file.name, path))
    return made


def undefined(path):
    """Names that an object takes from elsewhere."""
    names = run('nm', '-u', '-P', path).split('\n')
    return sorted(n for n in {line.split(' ')[0] for line in names if line and ' ' in line}
                  if not INSTRUMENTS.match(n))


def defined(path, *options):
    """Global names that an object, archive or shared object gives to others."""
    lines = run('nm', '-g', '-P', '--defined-only', *options, path).split('\n')
    names = {fields[0] for fields in map(str.split, lines) if len(fields) > 2}
    return sorted(n for n in names if not INSTRUMENTS.match(n))


def symbols(path):
    """Every named datum and function of an object with the section it lies in."""
    lines = run('objdump', '-t', path).split('\n')
    matches = (re.match(r'[0-9a-f]+ (.{7}) (\S+)\t[0-9a-f]+\s+(?:\.\w+ )?(\S+)$', line)
               for line in lines)
    return [Symbol(m[3], m[2]) for m in matches
            if m and 'd' not in m[1] and 'f' not in m[1] and not INSTRUMENTS.match(m[3])]


def compile_sample(directory, text, *options, name='sample'):
    """An object of a few lines of C, for the self-tests."""
    source, made = directory / f'{name}.c', directory / f'{name}.o'
    source.write_text(text)
    run(*os.environ.get('CC', 'cc').split(), '-std=gnu17', '-O2', '-w', '-c', *options, '-o', made,
        source)
    return made


def closure(part):
    """All parts that `part` may use, itself included."""
    seen, todo = set(), [part]
    while todo:
        part = todo.pop()
        if part not in seen:
            seen.add(part)
            todo += USES.get(part, [])
    return seen
