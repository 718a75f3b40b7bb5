/* SPDX-License-Identifier: Apache-2.0 */
/* sizeof.c - the sizes of the library's structs and its version, for foreign languages. */
#include <vmtime/vmtime.h>

const char *vmt_version(void)
{
	return VMT_VERSION;
}

size_t vmt_sizeof(uint32_t kind)
{
	static const size_t sizes[] = {
		[VMT_KIND_OUT] = sizeof(struct vmt_out),
		[VMT_KIND_READING] = sizeof(struct vmt_reading),
		[VMT_KIND_CLOCK] = sizeof(struct vmt_clock),
		[VMT_KIND_CHANGE] = sizeof(struct vmt_change),
		[VMT_KIND_PIT] = sizeof(struct vmt_pit),
		[VMT_KIND_RTC] = sizeof(struct vmt_rtc),
		[VMT_KIND_PMTMR] = sizeof(struct vmt_pmtmr),
		[VMT_KIND_BOARD] = sizeof(struct vmt_board),
		[VMT_KIND_BOARD_CONFIG] = sizeof(struct vmt_board_config),
		[VMT_KIND_BOARD_OUT] = sizeof(struct vmt_board_out),
		[VMT_KIND_LEDGER] = sizeof(struct vmt_ledger),
		[VMT_KIND_HPET] = sizeof(struct vmt_hpet),
		[VMT_KIND_KVMCLOCK] = sizeof(struct vmt_kvmclock),
		[VMT_KIND_DISCIPLINE] = sizeof(struct vmt_discipline),
		[VMT_KIND_DISCIPLINE_SAMPLE] = sizeof(struct vmt_discipline_sample),
		[VMT_KIND_STEAL] = sizeof(struct vmt_steal),
		[VMT_KIND_TSC] = sizeof(struct vmt_tsc),
		[VMT_KIND_TSC_HOST] = sizeof(struct vmt_tsc_host),
		[VMT_KIND_GAP_GUEST] = sizeof(struct vmt_gap_guest),
	};

	return kind < sizeof(sizes) / sizeof(sizes[0]) ? sizes[kind] : 0;
}
