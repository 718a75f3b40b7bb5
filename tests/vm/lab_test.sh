#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# lab_test - a command in the lab is as it would be here, and whatever ends it leaves nothing; see
# lab_cases.sh.
#
# usage: tests/vm/lab_test.sh          VMTIME=PATH tries another build than build/vmtime
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
VMTIME=${VMTIME:-$root/build/vmtime} exec python3 "$root/tests/vm/again.py" lab \
	sh "$root/tests/vm/lab_cases.sh"
