#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# migrate_bench.sh [BUILD [OPTION...]] - migrate_bench.py in the lab, with the stock kernel for guests.
set -eu
. "$(dirname "$0")/bench_guest.sh"
bench_guest migrate "--memory 3G --timeout 15min" "$@"
