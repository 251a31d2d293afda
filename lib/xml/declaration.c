/* The XML declaration, with our own eyes: libxml2 acts on it (changes the decoder) before anybody can
 * ask, so it is told to ignore the encoding that is named, and here it is judged. */
#include "xml_private.h"

#include <string.h>

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static size_t
take_spaces(struct slice *s)
{
	size_t n = 0;

	while (n < s->n && is_space(s->p[n]))
		n++;
	*s = slice_from(*s, n);
	return n;
}

/* S name S? '=' S? quoted value; false and *s as it was when the next thing is not that. */
static bool
take_pseudo(struct slice *s, const char *name, struct slice *value)
{
	struct slice at = *s;

	if (take_spaces(&at) == 0 || !slice_skip(&at, slice_of(name)))
		return false;
	take_spaces(&at);
	if (!slice_skip(&at, S("=")))
		return false;
	take_spaces(&at);
	if (at.n == 0 || (at.p[0] != '"' && at.p[0] != '\''))
		return false;
	const char *end = memchr(at.p + 1, at.p[0], at.n - 1);
	if (end == NULL)
		return false;
	*value = (struct slice){ at.p + 1, (size_t)(end - at.p) - 1 };
	*s = slice_from(at, value->n + 2);
	return true;
}

bool
xml_is_declaration(struct slice s)
{
	return slice_skip(&s, S("<?xml")) && s.n > 0 && is_space(s.p[0]);
}

int
xml_check_declaration(struct slice s, struct err *e)
{
	struct slice version, encoding, standalone;

	if (!xml_is_declaration(s))
		return 0;
	(void)slice_skip(&s, S("<?xml"));
	if (!take_pseudo(&s, "version", &version) || !slice_is(version, "1.0"))
		return err_set(e, ERR_ENCODING, "XML version is not 1.0");
	if (take_pseudo(&s, "encoding", &encoding) && !slice_is_nocase(encoding, "utf-8"))
		return err_set(e, ERR_ENCODING, "encoding %.*s", SLICE_FMT(encoding));
	(void)take_pseudo(&s, "standalone", &standalone);
	take_spaces(&s);
	if (!slice_skip(&s, S("?>")))
		return err_set(e, ERR_ENCODING, "XML declaration is malformed");
	return 0;
}
