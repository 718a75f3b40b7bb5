#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# same.sh EXPECTED COMMAND...: whether the command succeeds and says just that.
set -eu
said=$(mktemp)
trap 'rm -f "$said"' EXIT
expected=$1
shift
"$@" >"$said"
diff -u "$expected" "$said"
