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
escape(char c, bool in_attribute)
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

static void
put_escaped(struct buf *b, struct slice s, bool in_attribute)
{
	size_t plain = 0;	/* bytes that have been passed and can go out as they are */

	while (plain < s.n) {
		struct slice rest = slice_from(s, plain);
		size_t n = character(rest);
		const char *instead = n == 0 ? REPLACEMENT : escape(rest.p[0], in_attribute);
		if (instead == NULL) {
			plain += n;
			continue;
		}
		buf_put(b, (struct slice){ s.p, plain });
		buf_puts(b, instead);
		s = slice_from(s, plain + 1);
		plain = 0;
	}
	buf_put(b, s);
}

void
xml_put_text(struct buf *b, struct slice text)
{
	put_escaped(b, text, false);
}

void
xml_put_attr(struct buf *b, const char *name, struct slice value)
{
	buf_putc(b, ' ');
	buf_puts(b, name);
	buf_puts(b, "=\"");
	put_escaped(b, value, true);
	buf_putc(b, '"');
}
