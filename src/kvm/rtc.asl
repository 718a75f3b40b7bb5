/* SPDX-License-Identifier: Apache-2.0 */
/* rtc.asl - the MC146818, present unless the machine runs with --rtc none. */
DefinitionBlock ("rtc.aml", "SSDT", 2, "VMTIME", "RTC", 1)
{
	Scope (\_SB)
	{
		Device (RTC)
		{
			Name (_HID, EisaId ("PNP0B00"))
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x70, 0x70, 0, 2)
				IRQNoFlags () { 8 }
			})
		}
	}
}
