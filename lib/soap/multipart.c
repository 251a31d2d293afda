/* The root part of a multipart/related message (MTOM). Only the first part may be the root: all the
 * real stacks send it so, and a root further on would mean holding what stands before it. */
#include "soap.h"

#include <string.h>

#define LINE_MAX_BYTES 1000

/* The line that begins at *at, without its CRLF; *at moves behind it. false: the line is not complete yet. */
static bool
next_line(struct slice bytes, size_t *at, struct slice *line)
{
	ptrdiff_t end = slice_find(slice_from(bytes, *at), S("\r\n"));

	if (end < 0)
		return false;
	*line = (struct slice){ bytes.p + *at, (size_t)end };
	*at += (size_t)end + 2;
	return true;
}

static bool
is_delimiter(struct slice line, struct slice boundary)
{
	return slice_starts(line, S("--")) && slice_starts(slice_from(line, 2), boundary) &&
	    slice_trim(slice_from(line, boundary.n + 2)).n == 0;
}

/* The value of "Name: value" when that is the header's name; else absent. */
static struct slice
header_value(struct slice line, const char *name)
{
	size_t n = strlen(name);

	if (line.n <= n || line.p[n] != ':' || !slice_is_nocase((struct slice){ line.p, n }, name))
		return (struct slice){ NULL, 0 };
	return slice_trim(slice_from(line, n + 1));
}

/* Whether a charset among these parameters is UTF-8: another would have the receiver read other text than we do. */
static bool
is_utf8(struct slice parameters)
{
	struct slice one, name;

	while (slice_next(&parameters, ';', &one))
		if (slice_next(&one, '=', &name) && slice_is_nocase(slice_trim(name), "charset") &&
		    !slice_is_nocase(slice_trim(one), "utf-8") && !slice_is_nocase(slice_trim(one), "\"utf-8\""))
			return false;
	return true;
}

/* RFC 2387: start names the root by its Content-ID. RFC 2045: any other transfer encoding would hide the XML. */
static int
check_part_header(struct slice line, struct slice start, struct err *e)
{
	struct slice id = header_value(line, "Content-ID"), enc = header_value(line, "Content-Transfer-Encoding");
	bool is_folded = line.p[0] == ' ' || line.p[0] == '\t';
	struct slice type = is_folded ? line : header_value(line, "Content-Type");

	if (type.p != NULL && !is_utf8(type))
		return err_set(e, ERR_ENCODING, "root part: %.*s", SLICE_FMT(type));
	if (id.p != NULL && start.p != NULL && !slice_eq(id, start))
		return err_set(e, ERR_XML, "the root part is not the first: %.*s", SLICE_FMT(id));
	if (enc.p != NULL && !slice_is_nocase(enc, "8bit") && !slice_is_nocase(enc, "7bit") &&
	    !slice_is_nocase(enc, "binary"))
		return err_set(e, ERR_XML, "root part is encoded as %.*s", SLICE_FMT(enc));
	return 0;
}

int
soap_find_root(struct slice bytes, struct slice boundary, struct slice start, size_t *root, struct err *e)
{
	bool in_part = false;
	struct slice line;
	size_t at = 0;

	while (next_line(bytes, &at, &line)) {
		if (line.n > LINE_MAX_BYTES)
			return err_set(e, ERR_XML, "line of %zu bytes before the root part", line.n);
		if (!in_part) {
			in_part = is_delimiter(line, boundary);
		} else if (line.n == 0) {
			*root = at;
			return 1;
		} else if (check_part_header(line, start, e) < 0) {
			return -1;
		}
	}
	if (bytes.n - at > LINE_MAX_BYTES)
		return err_set(e, ERR_XML, "no line end before the root part");
	return 0;
}
