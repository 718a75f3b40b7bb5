#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# test_test - vmtime test on real guests: its figures, its verdicts, its manners.
#
# usage: tests/vm/test_test.sh [WORD...]    only the cases whose name has one of the words
#        VMTIME=PATH tries another build than build/vmtime
#
# What costs no boot comes first; the rest runs in one boot of the lab; see test_cases.py.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
vmtime=${VMTIME:-$root/build/vmtime}
work=$(mktemp -d "${TMPDIR:-/tmp}/vmtime-test-test.XXXXXX")
trap 'rm -rf "$work"' EXIT
. "$root/tests/vm/needs.sh"
failures=0

# refused NAME STATUS TEXT OPTION...: one line on stderr that holds TEXT, and that status.
refused() {
	name=$1 wanted=$2 text=$3
	shift 3
	"$vmtime" test "$@" >"$work/stdout" 2>"$work/stderr" </dev/null
	status=$?
	if [ "$status" -eq "$wanted" ] && [ "$(wc -l <"$work/stderr")" -eq 1 ] &&
		[ ! -s "$work/stdout" ] && grep -qF -e "$text" "$work/stderr" &&
		grep -q '^vmtime test: ' "$work/stderr"; then
		echo "ok - test: $name"
	else
		echo "not ok - test: $name: status $status, '$(head -c 300 "$work/stderr")'"
		failures=$((failures + 1))
	fi
}

if [ $# -eq 0 ]; then
	refused 'an unknown option is told its nearest' 2 "'--duration'" --durration 5s
	refused 'half an option is none' 2 "'--duration'" --dur 5s
	refused 'an option without its value is named' 2 '--duration needs a value' --duration
	refused 'a duration without a unit says so' 2 '--duration 10 has no unit' --duration 10
	refused 'a duration that is none is named' 2 '--duration soon is no duration' --duration soon
	refused 'a duration of nothing is refused' 2 '1ns to 24h' --duration 0s
	refused 'a duration beyond a day is refused' 2 '1ns to 24h' --duration 25h
	refused 'an unknown subject is named' 2 "no subject 'xen'" --subject vmtime,xen
	refused 'an empty list is refused' 2 '--subject is empty' --subject ,
	refused 'an unknown clock source is named' 2 "no clock source 'sundial'" --clocksource sundial
	refused 'a clock source to come is refused by name' 2 'hyperv is not in this version' \
		--clocksource hyperv
	refused 'an unknown scenario is named' 2 "no scenario 'earthquake'" --scenario earthquake
	refused 'and so are those that there are' 2 'migrate, migrations, hoststep' --scenario x
	refused 'a scenario to come is refused by name' 2 'ntp is not in this version' \
		--scenario boot,ntp
	refused 'a policy that promises neither is refused' 2 'tries continue and freeze' \
		--scenario pause -- --on-pause auto
	refused 'but nobody asked for that scenario' 2 'pause: that scenario is not run here' \
		--limit pause=1us -- --on-pause auto
	refused 'nor is one of a snapshot' 2 '--on-restore auto' \
		--scenario snapshot -- --on-restore auto
	refused 'nor is one of a migration' 2 '--on-migrate auto' \
		--scenario migrations -- --on-migrate auto
	refused 'files that a suspended lab loses are refused' 2 'loses the files' \
		--scenario suspend --keep "$work"
	export VMTIME_LAB=1
	refused 'in the lab so is a report' 2 'use --json >FILE' --scenario all \
		--json="$work/x.json"
	unset VMTIME_LAB
	refused 'no pause at all is refused' 2 '--pauses 0' --scenario pauses --pauses 0
	refused 'a number of pauses needs its scenario' 2 'give --scenario pauses' --pauses 10
	refused 'so does a number of migrations' 2 'give --scenario migrations' --migrations 10
	refused 'clones need their scenario' 2 'give --scenario snapshot' \
		--scenario boot --clones 2
	refused 'a limit of faces needs its scenario' 2 'faces: that scenario is not run' \
		--limit faces=1us
	refused 'what a reading costs has no limit' 2 'shown, and not judged' \
		--scenario costs --limit costs=1us
	refused 'ticks are limited by a number' 2 'number of ticks' --scenario ticks --limit ticks=1us
	refused 'no tick is no limit' 2 'at least 1' --scenario ticks --limit ticks=0
	refused 'a limit needs its scenario' 2 'SCENARIO=DUR' --limit 1us
	refused 'a limit of an unknown scenario is refused' 2 "no scenario 'party'" --limit party=1us
	refused 'a limit needs a unit' 2 'has no unit' --limit steady=5
	refused 'no repeat at all is refused' 2 '--repeat 0' --repeat 0
	refused 'cpus have to be a number' 2 '--cpus two' --cpus two
	refused 'a memory that is none is named' 2 '--memory lots' --memory lots
	refused 'a memory too small is refused' 2 '128M' --memory 4M
	refused 'a kernel that is not there is named' 2 '/nowhere/bzImage' --kernel /nowhere/bzImage
	refused 'a word that is no option is named' 2 "'boot'" boot
	refused 'run options without subject vmtime are refused' 2 'not a subject' \
		--subject qemu -- --pit kernel
	refused 'a letter that is no option is named' 2 "'-x'" -xy
	refused 'a limit of a scenario that is not run is refused' 2 'not run' \
		--scenario boot --limit steady=1us
	refused 'a JSON file that is a folder is named' 2 "--json $work" "--json=$work"
	refused 'a folder for logs that is a file is named' 2 '--keep /dev/null' --keep /dev/null
	refused 'a folder for the JSON that is not there is named' 2 '/nowhere/x.json' \
		--json=/nowhere/x.json
fi

if reason=$(lacks lab guest); then
	echo "skip - test: $reason"
else
	# Not in the lab: there the modules that check a schema may be missing.
	mkdir "$work/out"
	python3 "$root/tests/vm/again.py" test \
		"$vmtime" lab --memory 2560M --timeout 9min --share "$work/out" -- \
		python3 -W ignore "$root/tests/vm/test_cases.py" "$vmtime" "$root" "$work/out" "$@" ||
		failures=$((failures + 1))
fi

# By themselves: the files that are lent to a lab do not outlive a suspend of it.
of_the_host() {
	rm -f "$work/host.json"
	"$vmtime" test --json="$work/host.json" --scenario hoststep,suspend --memory 128M \
		--duration 2s -- --on-pause "$1" >"$work/stdout" 2>"$work/stderr"
	status=$?
	[ "$status" -eq 0 ] && [ ! -s "$work/stdout" ] && [ "$(grep -c '"verdict": "pass"' "$work/host.json")" -eq 2 ]
}

if [ $# -eq 0 ] && ! lacks lab guest >"$work/reason"; then
	for policy in freeze ${VMTIME_SOAK:+continue}; do
		name="a step and a suspend of the host are met by $policy"
		if of_the_host "$policy" || of_the_host "$policy"; then
			echo "ok - test: $name"
		else
			echo "not ok - test: $name: status $status, '$(head -c 300 "$work/stderr")" \
				"$(head -c 2000 "$work/host.json")'"
			failures=$((failures + 1))
		fi
	done
fi
[ "$failures" -eq 0 ]
