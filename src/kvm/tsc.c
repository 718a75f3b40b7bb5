/* SPDX-License-Identifier: Apache-2.0 */
/* tsc.c - the guest's TSC on this host. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "host/hostclock.h"
#include "kvm/tsc.h"

#define MSR_TSC_DEADLINE 0x6e0U

static uint32_t tolerance_ppm(void)
{
	char text[16] = "";
	int fd = open("/sys/module/kvm/parameters/tsc_tolerance_ppm", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	return length > 0 ? (uint32_t)strtoul(text, NULL, 10) : VMT_TSC_TOLERANCE_PPM;
}

void tsc_find(enum probe_tsc_class tsc_class, uint32_t khz, struct tsc_host *ret_host)
{
	struct tsc_host *h = ret_host;

	*h = (struct tsc_host){
		.tsc_class = tsc_class,
		.source = hostclock_tsc_is_stable(),
		.hardware = {.khz = khz, .tolerance_ppm = tolerance_ppm()},
	};
	if (tsc_class == PROBE_TSC_OFFSET_SCALING)
		h->hardware.frac = probe_is_svm() ? VMT_TSC_FRAC_SVM : VMT_TSC_FRAC_VMX;
	/* No thread to be had is no proof of anything; the VM will not get its own, either.  Nor is
	 * a CPU that had no turn (looks 0): then the kernel's word stands. */
	if (h->source)
		(void)warp_check(NULL, NULL, &h->warp);
}

bool tsc_trusted(const struct tsc_host *host)
{
	return host->source && !host->warp.back;
}

bool tsc_notice(const struct tsc_host *host, struct why *ret_text)
{
	if (host->tsc_class == PROBE_TSC_NONE)
		why_set(ret_text, 0,
			"this KVM gives guests the host's own TSC, whatever is set: it does not "
			"begin at 0, and the TSC-deadline timer is not shown");
	else if (host->warp.back)
		why_set(ret_text, 0,
			"the TSCs of this host's CPUs disagree by %llu counts: virtual time counts "
			"CLOCK_MONOTONIC, and kvm-clock is slower to read in the guest",
			(unsigned long long)host->warp.back);
	return host->tsc_class == PROBE_TSC_NONE || host->warp.back;
}

static int check_invariant(const struct tsc_host *host, struct why *why)
{
	static const char without[] = "(run without --invtsc on)";

	if (host->tsc_class == PROBE_TSC_NONE)
		return why_set(why, -ENODEV,
			       "an invariant TSC cannot be promised: this KVM gives guests the "
			       "host's own counts %s",
			       without);
	if (!host->source)
		return why_set(why, -ENODEV,
			       "an invariant TSC cannot be promised: this host does not trust its "
			       "own %s",
			       without);
	if (host->warp.back)
		return why_set(why, -ENODEV,
			       "an invariant TSC cannot be promised: the TSCs of this host's CPUs "
			       "disagree by %llu counts %s",
			       (unsigned long long)host->warp.back, without);
	return 0;
}

static int explain_khz(const struct tsc_host *host, uint32_t khz, struct why *why)
{
	const struct vmt_tsc_host *hw = &host->hardware;

	if (!hw->frac)
		return why_set(why, -ENODEV,
			       "a TSC of %u kHz is not possible: this host's runs at %u kHz, and "
			       "nothing here scales it (give --tsc host, or use a host with TSC "
			       "scaling)",
			       khz, hw->khz);
	if (vmt_tsc_tolerated(hw, khz))
		return why_set(why, -ENODEV,
			       "a TSC of %u kHz is not possible: within %u ppm of this host's %u "
			       "kHz KVM does not scale (give --tsc host, or load the module kvm "
			       "with tsc_tolerance_ppm=0)",
			       khz, hw->tolerance_ppm, hw->khz);
	return why_set(why, -ENODEV,
		       "a TSC of %u kHz is not possible: too far from this host's %u kHz for its "
		       "hardware (give --tsc host, or a frequency nearer to it)",
		       khz, hw->khz);
}

int tsc_plan(const struct tsc_host *host, const struct tsc_wish *wish, uint32_t cpus,
	     struct vmt_tsc *ret_tsc, struct why *why)
{
	int result = wish->invariant ? check_invariant(host, why) : 0;

	if (result == 0 && vmt_tsc_init(ret_tsc, cpus, &host->hardware) < 0)
		result = why_set(why, -EINVAL, "%u CPUs with a TSC of %u kHz are not possible",
				 cpus, host->hardware.khz);
	if (result == 0 && wish->khz && vmt_tsc_scale(ret_tsc, 0, wish->khz) < 0)
		result = explain_khz(host, wish->khz, why);
	return result;
}

static bool has_word(const char *text, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = text; (at = strstr(at, word)); at += length)
		if ((at == text || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
			return true;
	return false;
}

/* Linux that is told not to use the LAPIC's timer takes the PIT instead, unless it sees the
 * TSC-deadline timer: then it sets up neither and has no tick at all (apic_needs_pit()). */
bool tsc_shows_deadline(const struct tsc_host *host, const struct tsc_wish *wish,
			const char *append)
{
	return host->tsc_class != PROBE_TSC_NONE && !wish->portable &&
	       !has_word(append, "nolapic_timer");
}

void tsc_begin(const struct tsc_host *host, uint64_t host_tsc, struct vmt_tsc *tsc)
{
	vmt_tsc_set(tsc, host_tsc, host->tsc_class == PROBE_TSC_NONE ? host_tsc : 0);
}

static int set_offset(const struct vcpu *v, uint64_t offset, struct why *why)
{
	uint64_t value = offset;
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uint64_t)(uintptr_t)&value,
	};

	if (ioctl(v->fd, KVM_SET_DEVICE_ATTR, &attr) < 0)
		return why_set(why, -EIO, "KVM refused a TSC offset: %s (use Linux 5.16 or later)",
			       strerror(errno));
	/* A KVM that cannot apply it may say yes and forget it. */
	if (ioctl(v->fd, KVM_GET_DEVICE_ATTR, &attr) < 0 || value != offset)
		return why_set(why, -EIO,
			       "this KVM takes a TSC offset and does not apply it (use a host with "
			       "svm or vmx)");
	return 0;
}

/* KVM computes the ratio itself and tells nobody: its own reading must be on our line. */
static int check_scaling(const struct vmt_tsc *tsc, const struct vcpu *v, struct why *why)
{
	uint64_t lo = vmt_tsc_at(tsc, v->cpu, hostclock_tsc()), count, hi;
	bool got = vcpu_get_msr(v, VMT_MSR_TSC, &count);

	hi = vmt_tsc_at(tsc, v->cpu, hostclock_tsc());
	if (!got || count - lo > hi - lo)
		return why_set(why, -EIO,
			       "KVM does not scale the TSC from %u to %u kHz as announced (give "
			       "--tsc host)",
			       tsc->host.khz, tsc->khz);
	return 0;
}

int tsc_apply(const struct tsc_host *host, const struct vmt_tsc *tsc, const struct vcpu *v,
	      struct why *why)
{
	bool scales = tsc->khz != tsc->host.khz;
	int result;

	if (host->tsc_class == PROBE_TSC_NONE)
		return 0;
	if (scales && ioctl(v->fd, KVM_SET_TSC_KHZ, (unsigned long)tsc->khz) < 0)
		return why_set(why, -EIO, "KVM refused a TSC of %u kHz: %s (give --tsc host)",
			       tsc->khz, strerror(errno));
	result = set_offset(v, vmt_tsc_offset(tsc, v->cpu), why);
	if (result == 0 && scales)
		result = check_scaling(tsc, v, why);
	return result;
}

/* KVM keeps a host's writing of TSC_ADJUST as it is and moves nothing.  A deadline is a count: the
 * timer that waits for it is armed for another instant now, which KVM does at a write only. */
bool tsc_move(const struct vcpu *v, uint64_t offset, uint64_t adjust)
{
	uint64_t deadline;

	if (set_offset(v, offset, NULL) < 0 || !vcpu_set_msr(v, VMT_MSR_TSC_ADJUST, adjust))
		return false;
	if (vcpu_get_msr(v, MSR_TSC_DEADLINE, &deadline) && deadline)
		(void)vcpu_set_msr(v, MSR_TSC_DEADLINE, deadline);
	return true;
}
