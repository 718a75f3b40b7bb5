#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# save_bench.sh [BUILD [OPTION...]] - save_bench.py in the lab, with the stock kernel for guests.
set -eu
. "$(dirname "$0")/bench_guest.sh"
bench_guest save "--memory 2560M --timeout 10min" "$@"
