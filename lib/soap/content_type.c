/* Content-Type of a request (RFC 9110 8.3, RFC 2387, XOP). Kind to what real clients send, strict about
 * what would make the bytes mean something else. */
#include "soap_private.h"

#include <string.h>

struct media {
	struct slice type;	/* text/xml */
	struct slice charset, boundary, start, root_type, start_info;	/* parameters; absent when not given */
};

/* How many bytes stand before the first of these. */
static size_t
until(struct slice s, const char *ends)
{
	size_t n = 0;

	while (n < s.n && strchr(ends, s.p[n]) == NULL)
		n++;
	return n;
}

/* Takes what stands before the first of `ends` (which stays), trimmed. */
static struct slice
take_until(struct slice *s, const char *ends)
{
	size_t n = until(*s, ends);
	struct slice taken = slice_trim((struct slice){ s->p, n });

	*s = slice_from(*s, n);
	return taken;
}

static bool
take_char(struct slice *s, char c)
{
	if (s->n == 0 || s->p[0] != c)
		return false;
	*s = slice_from(*s, 1);
	return true;
}

bool
soap_is_token(struct slice s)
{
	static const char others[] = "!#$%&'+-.^_`|~";

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (!(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') &&
		    (c == '\0' || strchr(others, c) == NULL))
			return false;
	}
	return s.n > 0;
}

/* A quoted string, behind its opening quote, with its backslashes. Absent when it does not end. */
static struct slice
take_quoted(struct slice *s)
{
	for (size_t n = 0; n < s->n; n++) {
		if (s->p[n] == '"') {
			struct slice text = { s->p, n };
			*s = slice_from(*s, n + 1);
			return text;
		}
		if (s->p[n] == '\\')
			n++;
	}
	return (struct slice){ NULL, 0 };
}

/* Where the parameter's value is kept; NULL: it does not matter. */
static struct slice *
place(struct media *m, struct slice name)
{
	if (slice_is_nocase(name, "charset"))
		return &m->charset;
	if (slice_is_nocase(name, "boundary"))
		return &m->boundary;
	if (slice_is_nocase(name, "start"))
		return &m->start;
	if (slice_is_nocase(name, "type"))
		return &m->root_type;
	return slice_is_nocase(name, "start-info") ? &m->start_info : NULL;
}

/* A value that matters is the same to every reader: some leave out a backslash, or end an unquoted value at a blank, a
 * quote or a comment. */
static int
keep(struct slice *to, struct slice name, struct slice value, bool quoted, struct err *e)
{
	if (to->p != NULL)
		return err_set(e, ERR_CONTENT_TYPE, "two %.*s", SLICE_FMT(name));
	if (until(value, quoted ? "\\" : "\\ \t\r\n\"()") < value.n)
		return err_set(e, ERR_CONTENT_TYPE, "value of %.*s: %.*s", SLICE_FMT(name), SLICE_FMT(value));
	*to = value;
	return 0;
}

/* Behind a ';': name, or name=value, up to the next ';' or ','. */
static int
take_parameter(struct slice *s, struct media *m, struct err *e)
{
	struct slice name = take_until(s, "=;,"), value = S("");
	bool quoted = false;

	if (take_char(s, '=')) {
		while (take_char(s, ' ') || take_char(s, '\t'))
			;
		quoted = take_char(s, '"');
		value = quoted ? take_quoted(s) : take_until(s, ";,");
		if (value.p == NULL)
			return err_set(e, ERR_CONTENT_TYPE, "value of %.*s", SLICE_FMT(name));
		if (take_until(s, ";,").n > 0)
			return err_set(e, ERR_CONTENT_TYPE, "text behind the value of %.*s", SLICE_FMT(name));
	} else if (name.n == 0) {
		return 0;	/* a ';' too many */
	}
	if (!soap_is_token(name))
		return err_set(e, ERR_CONTENT_TYPE, "parameter %.*s", SLICE_FMT(name));
	struct slice *to = place(m, name);
	return to == NULL ? 0 : keep(to, name, value, quoted, e);
}

static int
take_media(struct slice *s, struct media *m, struct err *e)
{
	*m = (struct media){ .type = take_until(s, ";,") };
	while (take_char(s, ';'))
		if (take_parameter(s, m, e) < 0)
			return -1;
	return m->charset.p == NULL || slice_is_nocase(m->charset, "utf-8") ? 0 :
	    err_set(e, ERR_ENCODING, "charset %.*s", SLICE_FMT(m->charset));
}

/* text/xml, or what says it is SOAP 1.2. */
static int
check_type(struct slice type, const char *or_else, struct err *e)
{
	struct slice bare = take_until(&type, ";");

	if (slice_is_nocase(bare, "application/soap+xml"))
		return err_set(e, ERR_SOAP_12, "type of SOAP 1.2");
	if (slice_is_nocase(bare, "text/xml") || slice_is_nocase(bare, or_else))
		return 0;
	return err_set(e, ERR_CONTENT_TYPE, "type %.*s", SLICE_FMT(bare));
}

/* RFC 2046 5.1.1: 1 to 70 characters of a small set. */
static bool
is_boundary(struct slice b)
{
	static const char others[] = "'()+_,-./:=? ";

	for (size_t i = 0; i < b.n; i++) {
		char c = b.p[i];
		if (!(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') &&
		    (c == '\0' || strchr(others, c) == NULL))
			return false;
	}
	return b.n > 0 && b.n <= 70 && b.p[b.n - 1] != ' ';
}

static int
check_multipart(const struct media *m, struct err *e)
{
	if (check_type(m->root_type, "application/xop+xml", e) < 0 ||
	    (m->start_info.p != NULL && check_type(m->start_info, NULL, e) < 0))
		return -1;
	if (!is_boundary(m->boundary))
		return err_set(e, ERR_CONTENT_TYPE, "boundary of multipart/related");
	return m->start.p == NULL || m->start.n > 0 ? 0 : err_set(e, ERR_CONTENT_TYPE, "an empty start");
}

int
soap_root_type(struct slice type, struct err *e)
{
	struct media m;

	if (take_media(&type, &m, e) < 0 || check_type(m.type, "application/xop+xml", e) < 0 ||
	    (m.root_type.p != NULL && check_type(m.root_type, NULL, e) < 0))
		return -1;
	return type.n == 0 ? 0 : err_set(e, ERR_CONTENT_TYPE, "two types of the root part");
}

int
soap_content_type(struct arena *a, struct slice content_type, enum soap_form *form, struct slice *boundary,
    struct slice *start, struct err *e)
{
	struct slice rest = slice_trim(content_type);
	struct media m;

	*form = SOAP_PLAIN;
	*boundary = *start = (struct slice){ NULL, 0 };
	/* Clients that send no type at all exist. Those that send it twice too: Apache joins the two with a
	 * comma; then both must be plain. */
	for (bool first = true; rest.n > 0; first = false) {
		if (take_media(&rest, &m, e) < 0)
			return -1;
		if (first && rest.n == 0 && slice_is_nocase(m.type, "multipart/related")) {
			*form = SOAP_MULTIPART;
			if (check_multipart(&m, e) < 0)
				return -1;
			*boundary = arena_dup(a, m.boundary);
			*start = arena_dup(a, m.start);
			return boundary->p == NULL || (m.start.p != NULL && start->p == NULL) ?
			    err_set(e, ERR_MEMORY, "Content-Type") : 0;
		}
		if (check_type(m.type, NULL, e) < 0)
			return -1;
		take_char(&rest, ',');
	}
	return 0;
}
