/* A line: check, "+" (told) or "-", expires, when, id in hex. The check is the start of the SHA-256 of what follows it: a line
 * that was cut off, or that another was written behind, is none.
 *
 * Who appends and who rewrites need no lock: who has appended looks whether the file is still the one of that name,
 * and appends to the new one if not; who has put a new one in place takes over what came to the old one until then. A
 * line may be there twice. */
#include "kept.h"

#include "buf.h"
#include "conv.h"
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ID_MAX = 1000, LINE_MAX_BYTES = 2 * ID_MAX + 100, PIECE = 256 * 1024, FILE_MAX_BYTES = 1 << 30, TRIES = 3 };

static void
check_of(struct slice rest, char out[9])
{
	uint8_t digest[32];

	conv_sha256(rest, digest);
	snprintf(out, 9, "%02x%02x%02x%02x", digest[0], digest[1], digest[2], digest[3]);
}

/* Its length; 0 when the id is too long. */
static size_t
write_line(const struct kept_line *line, char out[LINE_MAX_BYTES])
{
	static const char digits[] = "0123456789abcdef";

	if (line->id.n == 0 || line->id.n > ID_MAX)
		return 0;
	size_t n = 9 + (size_t)snprintf(out + 9, LINE_MAX_BYTES - 9, "%c %" PRId64 " %" PRId64 " ", line->told ? '+' : '-',
	    line->expires, line->when);
	for (size_t i = 0; i < line->id.n; i++) {
		out[n++] = digits[(unsigned char)line->id.p[i] >> 4];
		out[n++] = digits[(unsigned char)line->id.p[i] & 15];
	}
	check_of((struct slice){ out + 9, n - 9 }, out);
	out[8] = ' ';
	out[n++] = '\n';
	return n;
}

static bool
read_line(struct arena *a, struct slice text, struct kept_line *out)
{
	struct slice check, told, expires, when;
	char want[9];

	if (!slice_next(&text, ' ', &check) || text.p == NULL)
		return false;
	check_of(text, want);
	if (!slice_is(check, want) || !slice_next(&text, ' ', &told) || !slice_next(&text, ' ', &expires) ||
	    !slice_next(&text, ' ', &when) || conv_number(expires, INT64_MAX, &out->expires) < 0 ||
	    conv_number(when, INT64_MAX, &out->when) < 0)
		return false;
	out->told = slice_is(told, "+");
	out->id = conv_unhex(a, text);
	return out->id.p != NULL;
}

static int
failed(const char *path, struct err *e)
{
	return err_set(e, ERR_INTERNAL, "%s: %s", path, strerror(errno));
}

int
kept_append(const char *path, const struct kept_line *line, struct err *e)
{
	char text[LINE_MAX_BYTES];
	size_t n = write_line(line, text);
	struct stat mine, there;
	bool same = n == 0;

	for (int i = 0; i < TRIES && !same; i++) {
		int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
		if (fd < 0)
			return failed(path, e);
		bool written = write(fd, text, n) == (ssize_t)n && fstat(fd, &mine) == 0;
		close(fd);
		if (!written || stat(path, &there) < 0)
			return failed(path, e);
		same = mine.st_ino == there.st_ino;
	}
	return 0;
}

struct reading {
	void (*each)(void *ctx, const struct kept_line *line);
	void *ctx;
	struct arena *a;
	char piece[PIECE];
};

/* The whole lines of the piece; how many bytes they are. */
static size_t
read_piece(struct reading *r, size_t n)
{
	struct slice rest = { r->piece, n }, text;
	const char *last = memrchr(r->piece, '\n', n);
	size_t whole = last == NULL ? 0 : (size_t)(last - r->piece) + 1;
	struct kept_line line;

	rest.n = whole;
	while (rest.n > 0 && slice_next(&rest, '\n', &text)) {
		if (read_line(r->a, text, &line))
			r->each(r->ctx, &line);
		arena_reset(r->a);
	}
	/* no line is as long as a piece: such a one is skipped */
	return whole == 0 && n == PIECE ? n : whole;
}

static int
read_from(int fd, off_t *at, struct reading *r)
{
	ssize_t n;

	while ((n = pread(fd, r->piece, PIECE, *at)) > 0) {
		size_t whole = read_piece(r, (size_t)n);
		*at += (off_t)whole;
		if (whole == 0)
			return 0;
	}
	return n < 0 ? -1 : 0;
}

static struct reading *
reading_new(void (*each)(void *ctx, const struct kept_line *line), void *ctx, struct err *e)
{
	struct reading *r = malloc(sizeof *r);

	if (r == NULL || (r->a = arena_new(64 * 1024)) == NULL) {
		free(r);
		err_set(e, ERR_MEMORY, "what was withdrawn");
		return NULL;
	}
	r->each = each;
	r->ctx = ctx;
	return r;
}

static void
reading_free(struct reading *r)
{
	arena_free(r->a);
	free(r);
}

int
kept_read(const char *path, struct kept_place *place, void (*each)(void *ctx, const struct kept_line *line), void *ctx, struct err *e)
{
	struct reading *r = reading_new(each, ctx, e);
	struct stat st;
	int done = 0;

	if (r == NULL)
		return -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		reading_free(r);
		return errno == ENOENT ? 0 : failed(path, e);
	}
	if (fstat(fd, &st) < 0) {
		done = failed(path, e);
	} else {
		if (place->file != st.st_ino || place->at > st.st_size)
			*place = (struct kept_place){ .file = st.st_ino };
		if (read_from(fd, &place->at, r) < 0)
			done = failed(path, e);
	}
	close(fd);
	reading_free(r);
	return done;
}

struct rewriting {
	const char *path;
	bool (*keep)(void *ctx, struct kept_line *line);
	void *ctx;
	struct buf text;
	struct err *e;
	int done;
};

static void
take_over(void *ctx, const struct kept_line *line)
{
	struct rewriting *w = ctx;
	struct kept_line changed = *line;
	char text[LINE_MAX_BYTES];

	if (w->keep(w->ctx, &changed))
		buf_put(&w->text, (struct slice){ text, write_line(&changed, text) });
}

static void
append_late(void *ctx, const struct kept_line *line)
{
	struct rewriting *w = ctx;

	if (w->done == 0)
		w->done = kept_append(w->path, line, w->e);
}

static int
rewrite(struct rewriting *w, int fd, struct reading *r, struct err *e)
{
	off_t at = 0;

	if (read_from(fd, &at, r) < 0)
		return failed(w->path, e);
	if (w->text.failed)
		return err_set(e, ERR_MEMORY, "%s", w->path);
	if (file_replace(w->path, w->text.n == 0 ? S("") : buf_slice(&w->text), e) < 0)
		return -1;
	r->each = append_late;
	return read_from(fd, &at, r) < 0 ? failed(w->path, e) : w->done;
}

int
kept_rewrite(const char *path, bool (*keep)(void *ctx, struct kept_line *line), void *ctx, struct err *e)
{
	struct rewriting w = { .path = path, .keep = keep, .ctx = ctx, .e = e };
	struct reading *r = reading_new(take_over, &w, e);

	if (r == NULL)
		return -1;
	int fd = open(path, O_RDONLY | O_CLOEXEC), done = 0;
	if (fd >= 0) {
		buf_init(&w.text, FILE_MAX_BYTES);
		done = rewrite(&w, fd, r, e);
		buf_free(&w.text);
		close(fd);
	} else if (errno != ENOENT) {
		done = failed(path, e);
	}
	reading_free(r);
	return done;
}
