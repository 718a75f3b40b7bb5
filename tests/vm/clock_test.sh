#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# clock_test - guests beside a host whose clock is slewed, or loses its TSC; see clock_cases.py.
#
# usage: tests/vm/clock_test.sh [WORD...]    only the cases whose name has one of the words
#        VMTIME=PATH tries another build than build/vmtime
#        VMTIME_SOAK=1 takes minutes in place of seconds
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
vmtime=${VMTIME:-$root/build/vmtime}
. "$root/tests/vm/needs.sh"
if reason=$(lacks lab guest); then
	echo "skip - clock: $reason"
	exit 77
fi
python3 "$root/tests/vm/again.py" clock "$vmtime" lab --timeout 9min -- \
	python3 -W ignore "$root/tests/vm/clock_cases.py" "$vmtime" "$@"
