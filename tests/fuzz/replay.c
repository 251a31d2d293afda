/* main() of a fuzz target without a fuzzer: runs it over every file of the folders and files named. A crash is
 * the failure; under a sanitizer its report says where. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static unsigned passed, failed;

static void
run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	long n = f != NULL && fseek(f, 0, SEEK_END) == 0 ? ftell(f) : -1;
	/* exactly as large as the file, so that a read behind the end is seen */
	uint8_t *data = n < 0 ? NULL : malloc((size_t)n);

	if (n > 0 && data != NULL)
		rewind(f);
	if (n < 0 || (n > 0 && (data == NULL || fread(data, 1, (size_t)n, f) != (size_t)n))) {
		fprintf(stderr, "%s cannot be read\n", path);
		failed++;
	} else {
		LLVMFuzzerTestOneInput(data, (size_t)n);
		passed++;
	}
	free(data);
	if (f != NULL)
		fclose(f);
}

static void
run(const char *path)
{
	DIR *dir = opendir(path);
	char name[4096];

	if (dir == NULL) {
		run_file(path);
		return;
	}
	for (struct dirent *d; (d = readdir(dir)) != NULL;) {
		if (d->d_name[0] == '.')
			continue;
		snprintf(name, sizeof name, "%s/%s", path, d->d_name);
		run_file(name);
	}
	closedir(dir);
}

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		run(argv[i]);
	printf("%u passed, %u failed\n", passed, failed);
	return failed > 0;
}
