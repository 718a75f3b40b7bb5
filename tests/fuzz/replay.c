/* SPDX-License-Identifier: Apache-2.0 */
/* replay.c - main of a fuzz target where there is no libFuzzer: each file of each folder, once; and
 * RUNS inputs that are made of them by small changes, the same ones each time (tests/random.h). */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RUNS = 5000, CHANGES = 6, INPUTS_MAX = 256, LONGEST = 65536 };

struct input {
	uint8_t *data;
	size_t size;
};

static struct input inputs[INPUTS_MAX];
static unsigned count;

static int load(const char *path)
{
	struct input *input = &inputs[count];
	FILE *file = fopen(path, "rb");
	size_t got;

	if (!file || count == INPUTS_MAX) {
		perror(path);
		return 1;
	}
	do {
		input->data = realloc(input->data, input->size + 4096);
		if (!input->data)
			abort();
		got = fread(input->data + input->size, 1, 4096, file);
		input->size += got;
	} while (got);
	fclose(file);
	count++;
	return 0;
}

static int load_folder(const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	char path[4096];
	int failed = 0;

	if (!dir) {
		perror(folder);
		return 1;
	}
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		failed |= load(path);
	}
	closedir(dir);
	return failed;
}

static int by_bytes(const void *a, const void *b)
{
	const struct input *x = a, *y = b;

	if (x->size != y->size)
		return x->size < y->size ? -1 : 1;
	return x->size ? memcmp(x->data, y->data, x->size) : 0;
}

/* Exactly as large as the input, so that a sanitizer sees the first byte beyond. */
static void run(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		abort();
	if (size)
		memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

/* A byte or a bit, the end, or from some place on what another input has there. */
static size_t change(struct random *random, uint8_t *data, size_t size)
{
	const struct input *other = &inputs[random_below(random, count)];
	uint32_t at = random_below(random, (uint32_t)size + 1);

	switch (random_below(random, 5)) {
	case 0:
		return at;
	case 1:
		if (at < other->size && other->size <= LONGEST) {
			memcpy(data + at, other->data + at, other->size - at);
			return other->size;
		}
		return size;
	case 2:
		if (at < size)
			data[at] ^= (uint8_t)(1U << random_below(random, 8));
		return size;
	case 3:
		if (at < size)
			data[at] = (uint8_t)(random_below(random, 2) ? 0xff : 0);
		return size;
	default:
		if (at < LONGEST)
			data[at] = (uint8_t)random_next(random);
		return at == size && size < LONGEST ? size + 1 : size;
	}
}

static void run_changed(struct random *random)
{
	static uint8_t data[LONGEST + 1];
	const struct input *from = &inputs[random_below(random, count)];
	size_t size = from->size < LONGEST ? from->size : LONGEST;

	if (size)
		memcpy(data, from->data, size);
	for (uint32_t i = random_below(random, CHANGES) + 1; i; i--)
		size = change(random, data, size);
	run(data, size);
}

int main(int argc, char **argv)
{
	struct random random = random_start();
	int failed = 0;

	for (int i = 1; i < argc; i++)
		failed |= load_folder(argv[i]);
	/* Whatever the order of the folder: the same inputs have the same changes. */
	qsort(inputs, count, sizeof(inputs[0]), by_bytes);
	for (unsigned i = 0; i < count; i++)
		run(inputs[i].data, inputs[i].size);
	for (int i = 0; count && i < RUNS; i++)
		run_changed(&random);
	printf("%u inputs, %d made of them\n", count, RUNS);
	for (unsigned i = 0; i < count; i++)
		free(inputs[i].data);
	return failed || !count;
}
