/* SPDX-License-Identifier: Apache-2.0 */
/* dsdt.asl - what the small machine has that cannot be found by asking: the way to switch it off
 * and two serial ports.
 *
 * There is no PCI host bridge, no processor device and no power button: Linux then runs none of
 * their drivers, and each table that it does not load is boot time.  The RTC has a table of its own
 * (rtc.asl), so that a machine without one differs by a table and not by patched bytes. */
DefinitionBlock ("dsdt.aml", "DSDT", 2, "VMTIME", "VMTIME", 1)
{
	/* SLP_TYP of PM1a_CNT and PM1b_CNT for "soft off"; ACPI_S5_SLP_TYP in acpi.h. */
	Name (\_S5, Package (4) { 5, 0, 0, 0 })

	Scope (\_SB)
	{
		Device (COM1)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 1)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x3f8, 0x3f8, 0, 8)
				IRQNoFlags () { 4 }
			})
		}

		Device (COM2)
		{
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 2)
			Name (_CRS, ResourceTemplate ()
			{
				IO (Decode16, 0x2f8, 0x2f8, 0, 8)
				IRQNoFlags () { 3 }
			})
		}
	}
}
