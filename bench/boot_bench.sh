#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# boot_bench.sh [BUILD [OPTION...]] - boot_bench.py in the lab, with the stock kernel for guests.
set -eu
. "$(dirname "$0")/bench_guest.sh"
bench_guest boot "--timeout 20min" "$@"
