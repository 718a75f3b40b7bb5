# SPDX-License-Identifier: Apache-2.0
# lab_cases.sh - the cases of lab_test.sh, which names the build in VMTIME.
#
# Prints a line a case: `ok - lab: NAME`, `not ok - lab: NAME: why`.  Those that stand in
# VMTIME_TEST_DONE, a name a line, are left out.  One boot answers what can be asked together.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
vmtime=$VMTIME
passed=${VMTIME_TEST_DONE:-}
work=$(mktemp -d "${TMPDIR:-/tmp}/lab test.XXXXXX") # the blank is meant
trap 'rm -rf "$work"' EXIT
. "$root/tests/vm/needs.sh"
failures=0

# check NAME COMMAND...: the test passes when the command does.  A name has no colon: again.py.
check() {
	name=$1
	shift
	printf '%s\n' "$passed" | grep -qxF -e "$name" && return
	began=$(date +%s)
	: >"$work/stderr"
	if "$@" >"$work/why" 2>&1; then
		echo "ok - lab: $name ($(($(date +%s) - began)) s)"
	else
		sed 's/^/stderr: /' "$work/stderr" | tail -n 5 >>"$work/why"
		echo "not ok - lab: $name: $(head -c 1500 "$work/why" | tr -s '\n' '|')"
		failures=$((failures + 1))
	fi
}

# What a file of stderr holds but for the lab's word that a machine did not come up and another did.
without_notice() {
	LC_ALL=C sed '/^vmtime lab: .*; starting another$/d' "$1"
}

# One line on stderr, which begins as every error and holds $1.
one_line() {
	[ "$(without_notice "$work/stderr" | wc -l)" -eq 1 ] &&
		grep -q "^vmtime lab: .*$1" "$work/stderr"
}

# The processes whose parent is $1.
children() {
	for status in /proc/[0-9]*/status; do
		sed -n "/^Pid:/h; /^PPid:[[:space:]]*$1\$/{x;s/[^0-9]*//p}" "$status" 2>/dev/null
	done
}

# A process is gone, or a zombie that nobody has waited for yet.
gone_now() {
	case $(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) in
	'' | Z) return 0 ;;
	esac
	return 1
}

gone() {
	tries=150
	while [ "$tries" -gt 0 ]; do
		tries=$((tries - 1))
		gone_now "$1" && return 0
		sleep 0.2
	done
	return 1
}

# Runs a command that never ends, after the shell's $1, and waits until it runs: $lab and $qemu are
# the processes.  SIGHUP is ignored, as by nohup.
start_endless() {
	rm -f "$work/started"
	mkfifo "$work/started"
	(
		trap '' HUP
		export TMPDIR="$work/tmp"
		exec "$vmtime" lab --timeout 2min -- sh -c "$1 echo started; sleep 1000 & wait"
	) >"$work/started" 2>"$work/stderr" </dev/null &
	lab=$!
	read -r line <"$work/started" || line=
	qemu=$(children "$lab")
	[ "$line" = started ] && [ -n "$qemu" ]
}

# What ended it left neither QEMU nor files.
nothing_left() {
	gone "$qemu" && gone "$lab" && [ -z "$(ls -A "$work/tmp")" ]
}

status_is() {
	[ "$status" -eq "$1" ] || {
		echo "status $status, not $1"
		return 1
	}
}

# --- What costs no boot ---

refused() {
	"$vmtime" lab "$@" >"$work/stdout" 2>"$work/stderr" </dev/null
	status=$?
}

bad_options() {
	echo old >"$work/kept"
	refused --cpus 0 -- true
	status_is 2 && one_line '--cpus 0' || return 1
	refused --memory 1M -- true
	status_is 2 && one_line '256M' || return 1
	refused --timeout 5 -- true
	status_is 2 && one_line '5s' || return 1
	refused --timout 5s -- true
	status_is 2 && one_line '--timeout' || return 1
	refused --share "$work/nowhere" -- true
	status_is 2 && one_line 'nowhere' || return 1
	refused --link "$work/one" -- true
	status_is 2 && one_line 'not two names' || return 1
	refused --link "$work/one,$work/one" -- true
	status_is 2 && one_line 'the same socket' || return 1
	refused --link "$work/kept,$work/one" -- true
	status_is 2 && one_line 'no socket is there' || return 1
	refused --share / -- true
	status_is 2 && one_line 'cannot share /' || return 1
	refused
	status_is 2 && one_line 'no command'
}
check "bad options are named in one line" bad_options

help_is_its_own() {
	refused --cpus 1 --help
	status_is 0 && grep -q '^usage: vmtime lab' "$work/stdout" || return 1
	env "XDG_CACHE_HOME=$work/nowhere" "$vmtime" lab ls --help >"$work/stdout" \
		2>"$work/stderr" </dev/null
	status=$?
	status_is 3 && [ ! -s "$work/stdout" ] && one_line 'no kernel'
}
check "--help after the command is the command's" help_is_its_own

without_kernel() {
	env "XDG_CACHE_HOME=$work/nowhere" "$vmtime" lab -- true >"$work/stdout" 2>"$work/stderr" \
		</dev/null
	status=$?
	status_is 3 && one_line 'make setup'
}
check "without a kernel it says what fetches one" without_kernel

without_qemu() {
	env "PATH=$work" "$vmtime" lab -- true >"$work/stdout" 2>"$work/stderr" </dev/null
	status=$?
	status_is 3 && one_line 'make setup'
}

if reason=$(lacks lab); then
	echo "skip - lab: boots: $reason"
	exit $((failures > 0))
fi
check "without QEMU it says what installs it" without_qemu

# --- One boot for all that a command may see ---

mkdir "$work/shared" "$work/tmp"
echo old >"$work/kept"
head -c 1048576 /dev/urandom >"$work/input"
head -c 300000 /dev/urandom >"$work/noise"
cat >"$work/inside" <<'INSIDE'
#!/bin/sh
{
	pwd
	printf '%s\n' "$#" "$1" "$2" "$3" "$4"
	echo "$LAB_TEST_TEXT"
	id -u
	cat /proc/sys/kernel/hostname
	cat /sys/devices/system/clocksource/clocksource0/current_clocksource
	nproc
	sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status
} >shared/report
[ -z "${LAB_TEST_PROBE:-}" ] || CMOCKA_MESSAGE_OUTPUT=TAP "$LAB_TEST_PROBE" >shared/probe 2>&1
date +%s >shared/date
ls /sys/kernel/debug/kvm >shared/debugfs
echo new >kept
rm noise-copy
cat noise >&2
cat
exit 41
INSIDE
chmod +x "$work/inside"
cp "$work/noise" "$work/noise-copy"
text="one 'two' \"three\" \\
four"
before=$(date +%s)
printf '%s\n' "$work" 4 'two words' '' '*' "$text" "$text" 0 lab tsc 2 1-2 >"$work/expected"
probe=$(dirname "$vmtime")/tests/unit/probe_test
[ -x "$probe" ] || probe=
inside_status=
# inside COMMAND...: after the one boot.
inside() {
	if [ -z "$inside_status" ]; then
		(cd "$work" && LAB_TEST_TEXT=$text LAB_TEST_PROBE=$probe "$vmtime" lab \
			--timeout 3min --share shared -- ./inside 'two words' '' '*' "$text" \
			<input >output 2>error)
		inside_status=$?
		without_notice "$work/error" >"$work/said"
	fi
	[ "$inside_status" -eq 41 ] || tail -c 300 "$work/error"
	"$@"
}

status_comes_back() {
	status=$inside_status
	status_is 41
}
check "the exit status comes back" inside status_comes_back
check "1 MiB goes through standard input and output unchanged" \
	inside cmp "$work/input" "$work/output"
check "standard error is separate and unchanged" inside cmp "$work/noise" "$work/said"
check "directory, arguments, environment, user, clocksource, CPUs are as promised" \
	inside diff "$work/expected" "$work/shared/report"
check "files outside shares stay as they were" \
	inside sh -c '[ "$(cat "$1/kept")" = old ] && cmp "$1/noise" "$1/noise-copy"' - "$work"
clock_is_right() {
	[ "$(cat "$work/shared/date")" -ge "$before" ] &&
		[ "$(cat "$work/shared/date")" -le "$(date +%s)" ]
}
check "the clock is this machine's" inside clock_is_right
check "KVM is there, and its debugfs" inside test -e "$work/shared/debugfs"
if [ -n "$probe" ]; then
	check "the probe of KVM finds it working" \
		inside grep -q '^ok [0-9]* - the_lab_has_a_kvm' "$work/shared/probe"
else
	echo "skip - lab: the probe of KVM finds it working: the unit tests are not built"
fi

cat >"$work/vms.py" <<'VMS'
import fcntl, os
kvm = os.open("/dev/kvm", os.O_RDWR)
for _ in range(300):
    vm = fcntl.ioctl(kvm, 0xae01, 0)  # KVM_CREATE_VM
    fcntl.ioctl(vm, 0xae60)  # KVM_CREATE_IRQCHIP
    os.close(fcntl.ioctl(vm, 0xae41, 0))  # KVM_CREATE_VCPU
    os.close(vm)
print("done")
VMS
many_vms() {
	# The other CPU is to run the code that Linux patches with the first and the last VM.
	"$vmtime" lab --timeout 2min -- sh -c 'yes >/dev/null & python3 "$1"; kill $!' - \
		"$work/vms.py" >"$work/stdout" 2>"$work/stderr" </dev/null
	status=$?
	grep -q done "$work/stdout" || status_is 0
}
check "VMs may come and go" many_vms

closed_streams() {
	"$vmtime" lab --timeout 1min -- sh -c 'cat; echo said; exit 41' \
		<&- >&- 2>"$work/stderr"
	status=$?
	status_is 41
}
check "closed streams are empty" closed_streams

# --- Two of them ---

cat >"$work/talk.py" <<'TALK'
import os, socket, sys, time
here, there = os.environ["VMTIME_LAB_HERE"], os.environ["VMTIME_LAB_THERE"]
MIB = bytes(range(256)) * 4096
def take():
    assert connection.recv(len(MIB), socket.MSG_WAITALL) == MIB
if sys.argv[1] == "first":
    connection, (address, _) = socket.create_server((here, 7000)).accept()
    assert address == there, address
else:
    end = time.monotonic() + 120
    while True:
        try:
            connection = socket.create_connection((there, 7000), timeout=5)
            break
        except OSError:  # the other lab still boots
            assert time.monotonic() < end, "nobody is there"
            time.sleep(0.2)
connection.settimeout(None)
if sys.argv[1] == "second":
    take()
connection.sendall(MIB)
if sys.argv[1] == "first":
    take()
print("talked", sorted(os.listdir("/sys/class/net")))
TALK
two_labs() {
	timeout -k 5 180 "$vmtime" lab --link "$work/left,$work/right" -- \
		python3 "$work/talk.py" first >"$work/first" 2>&1 </dev/null &
	first=$!
	timeout -k 5 180 "$vmtime" lab --link "$work/right,$work/left" -- \
		python3 "$work/talk.py" second >"$work/second" 2>&1 </dev/null
	status=$?
	wait "$first" || status=$?
	for side in first second; do
		[ "$(without_notice "$work/$side")" = "talked ['eth0', 'lo']" ] || cat "$work/$side"
	done
	status_is 0 && [ ! -e "$work/left" ] && [ ! -e "$work/right" ]
}
check "two labs on a link talk to one another and to nobody else" two_labs

# --- How it ends ---

no_such_command() {
	refused --timeout 2min -- "$work/no such command"
	status_is 127 && one_line 'no such command'
}
check "a command that is not there ends with 127 and is named" no_such_command

signal_status() {
	"$vmtime" lab --timeout 2min -- sh -c 'kill -9 $$' >"$work/stdout" 2>"$work/stderr" \
		</dev/null
	status=$?
	status_is 137
}
check "a command that a signal ends has 128 and the signal" signal_status

time_limit() {
	TMPDIR="$work/tmp" "$vmtime" lab --timeout 12s -- sleep 1000 >"$work/stdout" \
		2>"$work/stderr" </dev/null
	status=$?
	status_is 124 && one_line '12.0 s' && [ -z "$(ls -A "$work/tmp")" ]
}
check "a hang ends at the time limit with 124" time_limit

terminated() {
	start_endless 'trap "exit 7" TERM;' || return 1
	kill -HUP "$lab"
	sleep 1
	gone_now "$lab" && return 1
	kill -TERM "$lab"
	wait "$lab"
	status=$?
	status_is 7 && nothing_left
}
check "SIGTERM goes to the command, an ignored SIGHUP does not" terminated

deaf() {
	start_endless 'trap "" TERM;' || return 1
	kill -TERM "$lab"
	wait "$lab"
	status=$?
	status_is 143 && nothing_left
}
check "SIGTERM ends what does not heed it with 128 and the signal" deaf

killed() {
	start_endless '' || return 1
	kill -KILL "$lab"
	wait "$lab" 2>/dev/null
	nothing_left
}
check "killed itself, it leaves no QEMU" killed

machine_killed() {
	start_endless '' || return 1
	kill -KILL "$qemu"
	wait "$lab"
	status=$?
	status_is 3 && one_line 'killed' && nothing_left
}
check "QEMU killed is one line and status 3" machine_killed

# --- A terminal ---

# Each has a lab of its own: there is no time limit for all.
VMTIME_TEST_SECONDS=inf python3 "$root/tests/vm/lab_terminal.py" "$vmtime" ||
	failures=$((failures + 1))

exit $((failures > 0))
