#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# hosts_test - a guest migrates between two hosts whose clocks differ: two labs on a link; see
# hosts_cases.py.
#
# usage: tests/vm/hosts_test.sh [WORD...]    only the cases whose name has one of the words
#        VMTIME=PATH tries another build than build/vmtime
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
vmtime=${VMTIME:-$root/build/vmtime}
. "$root/tests/vm/needs.sh"
if reason=$(lacks lab guest); then
	echo "skip - hosts: $reason"
	exit 77
fi
exec python3 "$root/tests/vm/again.py" hosts python3 "$root/tests/vm/hosts_cases.py" "$vmtime" \
	"$(cached_kernel guest)" "$(dirname "$vmtime")/observer.cpio" "$@"
