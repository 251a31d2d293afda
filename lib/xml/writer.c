/* Text and attribute values with what XML needs escaped, and nothing that XML cannot hold. */
#include "xml.h"

#include "conv.h"

#include <stdint.h>

#define REPLACEMENT "\xEF\xBF\xBD"	/* U+FFFD */

/* Length of the UTF-8 character at the start of s when XML 1.0 can hold it, else 0. */
static size_t
character(struct slice s)
{
	unsigned char c = (unsigned char)s.p[0];
	size_t n = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;

	if (n == 1)
		return c >= 0x20 || c == '\t' || c == '\n' || c == '\r' ? 1 : 0;
	if (n > s.n || !conv_is_utf8((struct slice){ s.p, n }))
		return 0;
	/* U+FFFE and U+FFFF */
	if (n == 3 && c == 0xEF && (unsigned char)s.p[1] == 0xBF && (unsigned char)s.p[2] >= 0xBE)
		return 0;
	return n;
}

/* The escape of an ASCII character; NULL when it stands for itself. */
static const char *
escape_of(char c, bool in_attribute)
{
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '\r':	/* a reader would make it a newline */
		return "&#13;";
	case '"':
		return in_attribute ? "&quot;" : NULL;
	case '\t':	/* a reader would make both of these a space in an attribute */
		return in_attribute ? "&#9;" : NULL;
	case '\n':
		return in_attribute ? "&#10;" : NULL;
	default:
		return NULL;
	}
}

static size_t
escape(struct slice rest, bool in_attribute, const char **instead)
{
	size_t n = character(rest);

	*instead = n == 0 ? REPLACEMENT : escape_of(rest.p[0], in_attribute);
	return n == 0 ? 1 : n;
}

static size_t
escape_text(struct slice rest, const char **instead)
{
	return escape(rest, false, instead);
}

static size_t
escape_attr(struct slice rest, const char **instead)
{
	return escape(rest, true, instead);
}

void
xml_put_text(struct buf *b, struct slice text)
{
	buf_put_escaped(b, text, escape_text);
}

void
xml_put_attr(struct buf *b, const char *name, struct slice value)
{
	buf_putc(b, ' ');
	buf_puts(b, name);
	buf_puts(b, "=\"");
	buf_put_escaped(b, value, escape_attr);
	buf_putc(b, '"');
}
