/* SPDX-License-Identifier: Apache-2.0 */
/* save_init.c - process 1 of a guest that is idle but for a byte each 2 ms: so that the first
 * which comes after the guest was started from a file says that it runs. */
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
	static const char line[] = "process 1 runs\n";
	const struct timespec pause = {.tv_nsec = 2000000};
	int console = open("/dev/console", O_WRONLY);

	if (console < 0)
		console = STDOUT_FILENO;
	(void)!write(console, line, sizeof(line) - 1);
	for (;;) {
		nanosleep(&pause, NULL);
		(void)!write(console, ".", 1);
	}
}
