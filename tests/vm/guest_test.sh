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
busybox_cases guest "$@"
