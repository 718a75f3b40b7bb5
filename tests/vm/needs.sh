# SPDX-License-Identifier: Apache-2.0
# needs.sh - what a test in the lab needs besides the build; to be sourced with $root and $vmtime
# set.

# The image of the kernel `lab` or `guest` in the cache, where there is one.
cached_kernel() {
	echo "${XDG_CACHE_HOME:-$HOME/.cache}/vmtime/$1"/boot/vmlinuz-*
}

# What is missing for NEED, one of lab, guest and busybox, and what brings it; nothing when it is
# all here.
missing() {
	case $1 in
	lab)
		if ! command -v qemu-system-x86_64 >/dev/null; then
			echo "no qemu-system-x86_64 here (make setup)"
		elif [ ! -r "$(cached_kernel lab)" ]; then
			echo "no kernel for the lab in the cache (make setup)"
		fi
		;;
	guest)
		[ -r "$(cached_kernel guest)" ] || echo "no kernel for guests in the cache (make setup)"
		;;
	busybox)
		if ! "${BUSYBOX:-/bin/busybox}" true 2>/dev/null; then
			echo "no ${BUSYBOX:-/bin/busybox} here (make setup)"
		elif ! command -v cpio >/dev/null; then
			echo "no cpio here (make setup)"
		fi
		;;
	esac
}

# lacks NEED...: true, and says why, when one of them is not here.
lacks() {
	for need; do
		reason=$(missing "$need")
		if [ -n "$reason" ]; then
			echo "$reason"
			return 0
		fi
	done
	return 1
}

# busybox_cases SUITE [WORD...]: runs SUITE_cases.py in the lab, with an initrd of BusyBox for its
# guests.  The last that a script does.
busybox_cases() {
	suite=$1
	shift
	if reason=$(lacks lab guest busybox); then
		echo "skip - $suite: $reason"
		exit 77
	fi
	work=$(mktemp -d "${TMPDIR:-/tmp}/vmtime-$suite-test.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	"$root/scripts/busybox-initrd" "$work/busybox.cpio" || exit 1
	python3 "$root/tests/vm/again.py" "$suite" "$vmtime" lab --timeout 9min -- \
		python3 "$root/tests/vm/${suite}_cases.py" "$vmtime" "$(cached_kernel guest)" \
		"$work/busybox.cpio" "$@"
}
