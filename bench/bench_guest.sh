# SPDX-License-Identifier: Apache-2.0
# bench_guest.sh - a bench in the lab, with the stock kernel for guests; to be sourced.

# bench_guest NAME LAB_OPTIONS [BUILD [OPTION...]]: bench/NAME_bench.py, whose guests start
# bench/NAME_init.
bench_guest() {
	root=$(cd "$(dirname "$0")/.." && pwd)
	name=$1
	lab=$2
	shift 2
	build=${1:-$root/build}
	[ $# -eq 0 ] || shift
	kernel=$(echo "${XDG_CACHE_HOME:-$HOME/.cache}"/vmtime/guest/boot/vmlinuz-*)
	if [ ! -r "$kernel" ]; then
		echo "${name}_bench: no kernel for guests was fetched (make setup)" >&2
		exit 77
	fi
	# shellcheck disable=SC2086 # options of the lab, without blanks in them
	exec "$build/vmtime" lab $lab -- python3 "$root/bench/${name}_bench.py" \
		--vmtime "$build/vmtime" --kernel "$kernel" \
		--initrd "$build/bench/${name}_init.cpio" "$@"
}
