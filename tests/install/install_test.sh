#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# install_test.sh - libvmtime as its users find it: installed into a temporary prefix, found by
# pkg-config, linked shared and static, called from C, C++ and Python.
#
#     install_test.sh [BUILD]     (meson's build directory, "build" when not given)
#
# The build is not made again for another prefix: DESTDIR puts its prefix below a temporary
# directory, as packagers do, and pkg-config is told where it went.  Nothing of the source and
# build trees is visible to the compilers: they work on copies, in a directory of their own.
#
# shellcheck disable=SC2317 # functions are called through check()
set -u

points=0
failed=0

# ok NAME STATUS WHY: one line of TAP.
ok()
{
	points=$((points + 1))
	if [ "$2" -eq 0 ]; then
		echo "ok - $1"
	else
		failed=$((failed + 1))
		echo "not ok - $1: $3"
		[ -s log ] && sed 's/^/# /' log
	fi
}

# check NAME WHY COMMAND...: ok when the command succeeds; what it says goes to `log`.
check()
{
	name=$1 why=$2
	shift 2
	"$@" >log 2>&1
	ok "$name" $? "$why"
}

finish()
{
	echo "1..$points"
	exit $((failed > 0))
}

# All lines of the standard input that name a vmtime file begin with the prefix, and there are some.
only_from()
{
	grep vmtime >named || { echo "no vmtime file is used at all"; return 1; }
	! grep -v -F "$1/" named
}

tells()
{
	expected=$1
	shift
	"$@" >output && diff -u "$expected" output
}

work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
trap 'exit 99' HUP INT TERM

source=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "${1:-$source/build}" && pwd) || exit 99
prefix=$(sed -n 's/^prefix=//p' "$build/meson-private/vmtime.pc") || exit 99
if nm -u "$build/src/libvmtime.a" 2>/dev/null | grep -q -E '__((a|t|ub)san|gcov)_'; then
	echo "skip - install: an instrumented library needs its runtime in its users too"
	exit 77
fi
mkdir "$work/user" "$work/root" && cd "$work/user" || exit 99
cp "$source/examples/embed.c" "$source/examples/embed.py" "$source/examples/embed.txt" \
	"$source/examples/read.c" . || exit 99

# First the checks themselves, on bad samples: each must see its fault.
sees()
{
	name=$1
	shift
	"$@" >log 2>&1
	ok "sees $name" $(($? == 0)) "not seen"
}
echo /p/lib/libvmtime.so >good
printf '/p/include/vmtime/pit.h\n/usr/include/vmtime/pit.h\n' >bad
check 'lets files of the prefix be' 'refused' only_from /p <good
sees 'a file from elsewhere' only_from /p <bad
sees 'that no file is used' only_from /p </dev/null
sees 'a program that fails' tells good false
sees 'a program that says something else' tells good echo hello
check 'lets the right output be' 'refused' tells good cat good

check 'meson installs' 'meson install failed' \
	env DESTDIR="$work/root" meson install -C "$build" --no-rebuild --quiet
place=$work/root$prefix
pc=$(find "$place" -name vmtime.pc)
PKG_CONFIG_LIBDIR=$(dirname "${pc:-/nowhere/vmtime.pc}")
export PKG_CONFIG_LIBDIR
unset PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR LD_LIBRARY_PATH CPATH LIBRARY_PATH C_INCLUDE_PATH
pkg() { pkg-config --define-variable=prefix="$place" "$@" vmtime; }
check 'pkg-config finds vmtime' 'no vmtime.pc' pkg --exists --print-errors
libdir=$(pkg --variable=libdir)

cat >version.c <<'END'
#include <stdio.h>
#include <string.h>
#include <vmtime/vmtime.h>
int main(void) { puts(vmt_version()); return strcmp(vmt_version(), VMT_VERSION) != 0; }
END
cp version.c version.cc

# SHARED: headers (-M), link (--trace) and load (ldd) stay within the prefix.
flags=$(pkg --cflags --libs)
static=$(pkg --cflags --libs --static)
: "${CC:=cc}" "${CXX:=c++}"
# shellcheck disable=SC2086 # flags and compilers are lists of words
{
	check 'the example compiles shared' 'cc failed' \
		$CC -Wall -Wextra -Werror -o shared embed.c $flags -Wl,-rpath,"$libdir"
	check 'the example runs shared' 'not what embed.txt says' tells embed.txt ./shared
	$CC -M embed.c $flags | tr ' ' '\n' >used
	check 'headers come from the prefix alone' 'others are read' only_from "$place" <used
	$CC -o shared embed.c $flags -Wl,--trace >used 2>&1
	check 'the linker reads the prefix alone' 'another library is read' only_from "$place" <used
	LD_LIBRARY_PATH=$libdir ldd shared >used 2>&1
	check 'the loader reads the prefix alone' 'another library is read' only_from "$place" <used

	check 'the example compiles static' 'cc failed' $CC -static -o static embed.c $static
	check 'the example runs static' 'not what embed.txt says' tells embed.txt ./static
	readelf -d static >used 2>&1
	check 'the static example needs no library' 'it has a dynamic section' \
		grep -q 'There is no dynamic section' used

	pkg --modversion >version.txt
	$CC -o version version.c $flags -Wl,-rpath,"$libdir" >log 2>&1
	check 'header, library and pkg-config agree on the version' 'they differ' \
		tells version.txt ./version
	if command -v "${CXX%% *}" >/dev/null; then
		$CXX -std=c++17 -o version++ version.cc $flags -Wl,-rpath,"$libdir" >log 2>&1
		check 'C++ links and runs' 'it does not' tells version.txt ./version++
	fi
}
# The reader links nothing of ours.
# shellcheck disable=SC2086 # the same
{
	alone="-Wall -Wextra -Wpedantic -Werror -O2 $(pkg --cflags)"
	check 'the reader compiles alone as C11' 'cc failed' $CC -std=c11 $alone -o read read.c
	check 'and runs' 'it does not' ./read
	check 'it needs no library of ours' 'it does' sh -c '! ldd ./read | grep -i vmtime'
	if command -v "${CXX%% *}" >/dev/null; then
		cp read.c read.cc
		check 'the reader compiles alone as C++11' 'c++ failed' \
			$CXX -std=c++11 $alone -o read++ read.cc
		check 'and runs too' 'it does not' ./read++
	fi
}
check 'Python finds the library and runs' 'not what embed.txt says' \
	tells embed.txt env LD_LIBRARY_PATH="$libdir" python3 embed.py
find "$place/include" "$pc" -type f -exec grep -l -F -e "$source" -e "$build" {} + >named
check 'no installed text names the source or build tree' 'some do' test ! -s named
finish
