#include "html.h"

#include "conv.h"
#include "must.h"
#include "uri.h"

#define REPLACEMENT "\xEF\xBF\xBD"	/* U+FFFD */

/* Length of the UTF-8 character at the start of s when HTML can hold it, else 0. HTML forbids the controls but for white
 * space, and the noncharacters. */
static size_t
character(struct slice s)
{
	unsigned char c = (unsigned char)s.p[0];
	size_t n = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;

	if (n == 1)
		return (c >= 0x20 && c != 0x7F) || c == '\t' || c == '\n' || c == '\r' ? 1 : 0;
	if (n > s.n || !conv_is_utf8((struct slice){ s.p, n }))
		return 0;
	unsigned char second = (unsigned char)s.p[1], third = n > 2 ? (unsigned char)s.p[2] : 0;
	if (c == 0xC2 && second < 0xA0)
		return 0;
	if (c == 0xEF && ((second == 0xBF && third >= 0xBE) || (second == 0xB7 && third >= 0x90 && third <= 0xAF)))
		return 0;
	if (n == 4 && (second & 0x0F) == 0x0F && third == 0xBF && (unsigned char)s.p[3] >= 0xBE)
		return 0;
	return n;
}

static const char *
escape_of(char c)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return "&quot;";
	case '\'':
		return "&#39;";
	default:
		return NULL;
	}
}

static size_t
escape(struct slice rest, const char **instead)
{
	size_t n = character(rest);

	*instead = n == 0 ? REPLACEMENT : escape_of(rest.p[0]);
	return n == 0 ? 1 : n;
}

void
html_put_slice(struct buf *b, struct slice s)
{
	buf_put_escaped(b, s, escape);
}

void
html_put_element(struct buf *b, const struct slice *text)
{
	html_put_slice(b, *text);
}

void
html_put_string(struct buf *b, const char *text)
{
	html_put_slice(b, slice_of(text));
}

void
html_put_signed(struct buf *b, int64_t number)
{
	buf_printf(b, "%lld", (long long)number);
}

void
html_put_unsigned(struct buf *b, uint64_t number)
{
	buf_printf(b, "%llu", (unsigned long long)number);
}

void
html_put_address(struct buf *b, struct html_url url)
{
	html_put_slice(b, url.text);
}

/* A browser drops tabs and newlines, and reads a backslash as a slash: none of them may be there. */
static bool
is_plain(struct slice text)
{
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] <= ' ' || text.p[i] >= 0x7F || text.p[i] == '\\')
			return false;
	return text.n > 0;
}

static bool
is_local(struct slice text)
{
	return is_plain(text) && !slice_starts(text, S("//")) &&
	    (text.p[0] == '/' || text.p[0] == '?' || text.p[0] == '#');
}

static bool
is_absolute(struct slice text)
{
	struct uri ignored;

	return uri_parse(text, &ignored) == 0;
}

int
html_url_local(struct slice text, struct html_url *out, struct err *e)
{
	if (!is_local(text))
		return err_set(e, ERR_INVALID, "\"%.*s\" is no address on this server", SLICE_FMT(text));
	out->text = text;
	return 0;
}

int
html_url_checked(struct slice text, struct html_url *out, struct err *e)
{
	if (!is_absolute(text))
		return err_set(e, ERR_INVALID, "\"%.*s\" is no http address", SLICE_FMT(text));
	out->text = text;
	return 0;
}

void
html_put_url(struct buf *b, struct html_url url)
{
	must(is_local(url.text) || is_absolute(url.text));
	html_put_slice(b, url.text);
}

bool
html_is_true(bool x)
{
	return x;
}

bool
html_is_there(struct slice x)
{
	return x.n > 0;
}
