#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# guest_test - what guests read, at what price, and what their kernels say; see guest_cases.py.
#
# usage: tests/vm/guest_test.sh [WORD...]    only the cases whose name has one of the words
#        VMTIME=PATH tries another build than build/vmtime
#        VMTIME_SOAK=1 has a guest of eight CPUs as well
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
vmtime=${VMTIME:-$root/build/vmtime}
. "$root/tests/vm/needs.sh"
if reason=$(lacks lab guest busybox); then
	echo "skip - guest: $reason"
	exit 77
fi
kernel=$(cached_kernel guest)
work=$(mktemp -d "${TMPDIR:-/tmp}/vmtime-guest-test.XXXXXX")
trap 'rm -rf "$work"' EXIT
"$root/scripts/busybox-initrd" "$work/busybox.cpio" || exit 1
python3 "$root/tests/vm/again.py" guest "$vmtime" lab --timeout 9min -- \
	python3 "$root/tests/vm/guest_cases.py" "$vmtime" "$kernel" "$work/busybox.cpio" "$@"
