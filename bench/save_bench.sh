#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# save_bench.sh [BUILD [OPTION...]] - save_bench.py in the lab, with the stock kernel for guests.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$root/build}
[ $# -eq 0 ] || shift
kernel=$(echo "${XDG_CACHE_HOME:-$HOME/.cache}"/vmtime/guest/boot/vmlinuz-*)
if [ ! -r "$kernel" ]; then
	echo "save_bench: no kernel for guests was fetched (make setup)" >&2
	exit 77
fi
exec "$build/vmtime" lab --memory 2560M --timeout 10min -- python3 "$root/bench/save_bench.py" \
	--vmtime "$build/vmtime" --kernel "$kernel" --initrd "$build/bench/save_init.cpio" "$@"
