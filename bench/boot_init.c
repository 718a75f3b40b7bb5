/* SPDX-License-Identifier: Apache-2.0 */
/* boot_init.c - the smallest process 1: says that it runs, and stays. */
#include <fcntl.h>
#include <unistd.h>

int main(void)
{
	static const char line[] = "process 1 runs\n";
	int console = open("/dev/console", O_WRONLY);

	if (console < 0)
		console = STDOUT_FILENO;
	(void)!write(console, line, sizeof(line) - 1);
	for (;;)
		pause();
}
