/* The root part of a multipart/related message (MTOM). Only the first part may be the root: all the
 * real stacks send it so, and a root further on would mean holding what stands before it.
 *
 * Receivers differ in what they take for a line, a delimiter or a header. We read this stretch for all of them: what
 * only some would read as we do is refused. */
#include "soap_private.h"

#include <string.h>

#define LINE_MAX_BYTES 1000

/* The headers of the root part that say what it is; absent when not there. */
struct root {
	struct slice type, encoding, id;
	bool may_fold;		/* the line before is of the type */
};

static bool
is_text(struct slice line)
{
	for (size_t i = 0; i < line.n; i++)
		if ((line.p[i] < ' ' && line.p[i] != '\t') || line.p[i] > '~')
			return false;
	return true;
}

/* The line that begins at *at, without its CRLF; *at moves behind it. 0: the line is not complete yet. CR or LF alone
 * is refused with all that is no text: it ends a line for some. */
static int
next_line(struct slice bytes, size_t *at, struct slice *line, struct err *e)
{
	struct slice rest = slice_from(bytes, *at);
	ptrdiff_t end = slice_find(rest, S("\r\n"));

	*line = (struct slice){ rest.p, end < 0 ? rest.n : (size_t)end };
	if (line->n > LINE_MAX_BYTES)
		return err_set(e, ERR_XML, "line of %zu bytes before the root part", line->n);
	if (rest.p == NULL || end < 0)
		return 0;
	if (!is_text(*line))
		return err_set(e, ERR_XML, "not text before the root part: %.*s", SLICE_FMT(*line));
	*at += (size_t)end + 2;
	return 1;
}

static bool
is_delimiter(struct slice line, struct slice boundary)
{
	return slice_starts(line, S("--")) && slice_eq(slice_from(line, 2), boundary);
}

/* Where the header's value is kept; NULL: it does not matter. */
static struct slice *
place(struct root *r, struct slice name)
{
	if (slice_is_nocase(name, "Content-Type"))
		return &r->type;
	if (slice_is_nocase(name, "Content-Transfer-Encoding"))
		return &r->encoding;
	return slice_is_nocase(name, "Content-ID") ? &r->id : NULL;
}

/* A line that continues the one before (RFC 5322 2.2.3). Only a type is ever so long. */
static int
take_folded(struct root *r, struct slice line, struct err *e)
{
	if (!r->may_fold || slice_trim(line).n == 0)
		return err_set(e, ERR_XML, "folded header of the root part: %.*s", SLICE_FMT(line));
	r->type.n = (size_t)(line.p + line.n - r->type.p);
	return 0;
}

static int
take_header(struct root *r, struct slice line, struct err *e)
{
	if (line.p[0] == ' ' || line.p[0] == '\t')
		return take_folded(r, line, e);
	const char *colon = memchr(line.p, ':', line.n);
	struct slice name = { line.p, colon == NULL ? line.n : (size_t)(colon - line.p) };
	if (colon == NULL || !soap_is_token(name))
		return err_set(e, ERR_XML, "no header of the root part: %.*s", SLICE_FMT(line));
	struct slice *to = place(r, name);
	r->may_fold = to == &r->type;
	if (to == NULL)
		return 0;
	if (to->p != NULL)
		return err_set(e, ERR_XML, "the root part has two %.*s", SLICE_FMT(name));
	*to = slice_trim(slice_from(line, name.n + 1));
	return 0;
}

/* RFC 2387: start names the root by its Content-ID. RFC 2045: any other transfer encoding would hide the XML. */
static int
check_root(const struct root *r, struct slice start, struct err *e)
{
	if (start.p != NULL && !slice_eq(r->id, start))
		return err_set(e, ERR_XML, "the root part is not the first: %.*s", SLICE_FMT(r->id));
	if (r->encoding.p != NULL && !slice_is_nocase(r->encoding, "8bit") && !slice_is_nocase(r->encoding, "7bit") &&
	    !slice_is_nocase(r->encoding, "binary"))
		return err_set(e, ERR_XML, "root part is encoded as %.*s", SLICE_FMT(r->encoding));
	return r->type.p == NULL ? 0 : soap_root_type(r->type, e);
}

int
soap_find_root(struct slice bytes, struct slice boundary, struct slice start, size_t *root, struct err *e)
{
	struct root r = { .may_fold = false };
	bool in_part = false;
	struct slice line;
	size_t at = 0;
	int rc;

	while ((rc = next_line(bytes, &at, &line, e)) > 0) {
		if (in_part && line.n == 0) {
			*root = at;
			return check_root(&r, start, e) < 0 ? -1 : 1;
		}
		if (in_part && take_header(&r, line, e) < 0)
			return -1;
		/* text here is no preamble to all: some find a delimiter anywhere in it */
		if (!in_part && line.n > 0 && !is_delimiter(line, boundary))
			return err_set(e, ERR_XML, "before the root part: %.*s", SLICE_FMT(line));
		in_part = in_part || line.n > 0;
	}
	return rc;
}
