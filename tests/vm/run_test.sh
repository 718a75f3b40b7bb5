#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run_test - vmtime run with real guests, in one boot of the lab; see run_cases.py.
#
# usage: tests/vm/run_test.sh [WORD...]    only the cases whose name has one of the words
#        VMTIME=PATH tries another build than build/vmtime
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
vmtime=${VMTIME:-$root/build/vmtime}
. "$root/tests/vm/needs.sh"
busybox_cases run "$@"
