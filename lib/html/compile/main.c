/* html-compile TEMPLATE: its C source on standard output. */
#include "compile.h"

#include <stdio.h>

#define MAX (4u << 20)

static int
read_file(const char *path, struct buf *in)
{
	FILE *f = fopen(path, "rb");
	char *room;

	if (f == NULL)
		return -1;
	while ((room = buf_room(in, 65536)) != NULL) {
		size_t n = fread(room, 1, 65536, f);
		in->n += n;
		if (n == 0)
			break;
	}
	int rc = ferror(f) || in->failed ? -1 : 0;
	fclose(f);
	return rc;
}

int
main(int argc, char **argv)
{
	struct buf in, out;
	struct err e = { .kind = ERR_NONE };

	buf_init(&in, MAX);
	buf_init(&out, MAX);
	if (argc != 2 || read_file(argv[1], &in) < 0) {
		fprintf(stderr, "html-compile: cannot read %s\n", argc == 2 ? argv[1] : "one template");
		return 2;
	}
	if (html_compile(buf_slice(&in), argv[1], &out, &e) < 0) {
		fprintf(stderr, "%s\n", e.detail);
		return 1;
	}
	size_t written = fwrite(out.p, 1, out.n, stdout);
	int rc = written == out.n && fflush(stdout) == 0 ? 0 : 2;
	buf_free(&in);
	buf_free(&out);
	return rc;
}
