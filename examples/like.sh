#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# like.sh EXPRESSION LINES COMMAND...: whether the command succeeds and says so many lines, all of
# them like the expression (grep -E).
set -eu
said=$(mktemp)
trap 'rm -f "$said"' EXIT
expression=$1 lines=$2
shift 2
"$@" >"$said"
cat "$said"
test "$(wc -l <"$said")" -eq "$lines" && test "$(grep -c -E -x -e "$expression" "$said")" -eq "$lines"
