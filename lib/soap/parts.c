/* The parts of a multipart/related message as they stream by. A receiver may keep the last of two parts with one
 * Content-ID, and would then read an envelope that was never looked at (threats 2.2). Of the content of parts only the
 * beginning of each line is compared, with the delimiter; nothing of it is kept. A line ends as any receiver may think:
 * with CRLF, or with CR or LF alone. */
#include "soap.h"

#include <string.h>
#include <strings.h>

#define HEADERS_MAX (8u << 10)

struct soap_parts {
	struct arena *a;
	struct slice delimiter;	/* "--boundary" */
	struct slice root;	/* the root's Content-ID without its angles; absent: not known (yet) */
	unsigned parts;
	bool in_headers;
	struct buf headers;	/* of the part that begins, while in_headers; their lines end with LF */
	size_t line;		/* where the present line begins in it */
	size_t same;		/* bytes of the present line that are those of the delimiter */
	bool differs;		/* the line is no delimiter */
	bool after_cr;		/* an LF that comes now belongs to the CR before it */
};

struct soap_parts *
soap_parts_new(struct arena *a, struct slice boundary, struct slice start)
{
	struct soap_parts *p = arena_alloc(a, sizeof *p);

	if (p == NULL)
		return NULL;
	p->a = a;
	p->delimiter = arena_printf(a, "--%.*s", SLICE_FMT(boundary));
	p->root = start;
	buf_init(&p->headers, HEADERS_MAX);
	return p->delimiter.p == NULL || buf_defer(&p->headers, a) < 0 ? NULL : p;
}

static struct slice
without_angles(struct slice id)
{
	id = slice_trim(id);
	if (id.n >= 2 && id.p[0] == '<' && id.p[id.n - 1] == '>')
		id = (struct slice){ id.p + 1, id.n - 2 };
	return slice_trim(id);
}

/* Names that a careless receiver could take for one. */
static bool
same_id(struct slice a, struct slice b)
{
	a = without_angles(a);
	b = without_angles(b);
	return a.n > 0 && a.n == b.n && strncasecmp(a.p, b.p, a.n) == 0;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Takes one header with the lines that continue it (RFC 5322 2.2.3). */
static struct slice
take_header(struct slice *rest)
{
	size_t n = 0;

	do {
		const char *lf = memchr(rest->p + n, '\n', rest->n - n);
		n = lf == NULL ? rest->n : (size_t)(lf - rest->p) + 1;
	} while (n < rest->n && is_blank(rest->p[n]));
	struct slice header = { rest->p, n };
	*rest = slice_from(*rest, n);
	return header;
}

static int
check_id(struct soap_parts *p, struct slice id, struct err *e)
{
	if (p->parts > 1)
		return same_id(id, p->root) ? err_set(e, ERR_XML, "part %u has the root's Content-ID", p->parts) : 0;
	if (p->root.p != NULL)
		return 0;
	p->root = arena_dup(p->a, without_angles(id));
	return p->root.p == NULL ? err_set(e, ERR_MEMORY, "Content-ID") : 0;
}

static int
check_headers(struct soap_parts *p, struct err *e)
{
	struct slice rest = buf_slice(&p->headers);

	while (rest.n > 0) {
		struct slice header = take_header(&rest);
		const char *colon = memchr(header.p, ':', header.n);
		if (colon == NULL)
			continue;
		size_t n = (size_t)(colon - header.p);
		if (slice_is_nocase(slice_trim((struct slice){ header.p, n }), "Content-ID") &&
		    check_id(p, slice_from(header, n + 1), e) < 0)
			return -1;
	}
	return 0;
}

/* White space may stand behind a delimiter (RFC 2046 5.1.1). */
static void
compare(struct soap_parts *p, struct slice piece)
{
	size_t n = p->delimiter.n - p->same;

	if (p->differs)
		return;
	n = n < piece.n ? n : piece.n;
	p->differs = memcmp(piece.p, p->delimiter.p + p->same, n) != 0 || slice_trim(slice_from(piece, n)).n > 0;
	p->same += n;
}

static void
begin_part(struct soap_parts *p)
{
	p->in_headers = true;
	p->parts++;
	buf_clear(&p->headers);
	p->line = 0;
}

static int
end_line(struct soap_parts *p, struct err *e)
{
	bool delimiter = !p->differs && p->same == p->delimiter.n;
	bool empty = slice_trim(slice_from(buf_slice(&p->headers), p->line)).n == 0;

	p->same = 0;
	p->differs = false;
	p->line = p->headers.n;
	if (p->in_headers && (empty || delimiter)) {
		p->in_headers = false;
		if (check_headers(p, e) < 0)
			return -1;
	}
	if (delimiter)
		begin_part(p);
	return 0;
}

static int
take_piece(struct soap_parts *p, struct slice piece, bool ends, struct err *e)
{
	compare(p, piece);
	if (p->in_headers) {
		buf_put(&p->headers, piece);
		if (ends)
			buf_putc(&p->headers, '\n');
	}
	if (p->headers.failed)
		return err_set(e, ERR_LIMIT, "headers of part %u", p->parts);
	return ends ? end_line(p, e) : 0;
}

static const char *
find_char(const char *at, const char *end, char c)
{
	return memchr(at, c, (size_t)(end - at));
}

int
soap_parts_feed(struct soap_parts *p, struct slice bytes, struct err *e)
{
	if (bytes.n == 0)
		return 0;
	const char *at = bytes.p, *end = at + bytes.n;
	at += p->after_cr && *at == '\n';
	const char *lf = find_char(at, end, '\n');
	while (at < end) {
		/* an LF that was found stands until it is passed: CRs before it must not make us look again and again */
		if (lf != NULL && lf < at)
			lf = find_char(at, end, '\n');
		const char *cr = find_char(at, lf == NULL ? end : lf, '\r');
		const char *to = cr != NULL ? cr : lf != NULL ? lf : end;
		if (take_piece(p, (struct slice){ at, (size_t)(to - at) }, to < end, e) < 0)
			return -1;
		at = cr != NULL && cr + 1 == lf ? lf + 1 : to + (to < end);
	}
	p->after_cr = end[-1] == '\r';
	return 0;
}
