/* SPDX-License-Identifier: Apache-2.0 */
/* hpet.asl - the HPET, present unless the machine runs with --hpet off.  Its interrupts are found in
 * its registers. */
DefinitionBlock ("hpet.aml", "SSDT", 2, "VMTIME", "HPET", 1)
{
	Scope (\_SB)
	{
		Device (HPET)
		{
			Name (_HID, EisaId ("PNP0103"))
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate ()
			{
				Memory32Fixed (ReadOnly, 0xfed00000, 0x400)
			})
		}
	}
}
