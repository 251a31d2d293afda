/* Well-formedness of a document of any length as it streams by: nothing is kept but libxml2's own state.
 *
 * libxml2 keeps a tag until its end has come, compares each of its attributes with all before it, and looks for a prefix
 * in every declaration in scope: a few megabytes could cost it a minute. So tags are measured before it sees them. */
#include "xml.h"

#include "xml_private.h"

#include <libxml/parser.h>
#include <libxml/xmlerror.h>

#include <string.h>

#define PIECE_MAX (64u << 10)
#define TAG_MAX (64u << 10)
#define ATTRIBUTES_MAX 256
#define NAMESPACES_MAX 1024	/* in scope */

/* Where in the document the bytes have come to. For anything that is well formed so far libxml2 is at the same place;
 * what is not, it refuses. */
struct tags {
	enum { TEXT, OPENED, DECLARED, TAG, QUOTED, COMMENT, CDATA, INSTRUCTION } place;
	char quote;
	unsigned bytes, values;	/* of this tag */
	unsigned closing;	/* how many '-', ']' or '?' in a row, that '>' may follow */
};

struct xml_whole {
	xmlParserCtxt *xml;
	struct tags tags;
	xml_whole_element *on_element;
	void *ctx;
	unsigned depth;
	struct err err;		/* why it is refused; NONE: it is not */
};

static void
refuse(struct xml_whole *w, enum err_kind kind, const char *why)
{
	err_set(&w->err, kind, "%s", why);
	xmlStopParser(w->xml);
}

/* Behind "<!". */
static void
declared(struct tags *t, char c)
{
	static const char cdata[] = "<![CDATA[";

	if (t->bytes == 3 && c == '-')
		return;
	if (t->bytes == 4 && c == '-')
		t->place = COMMENT;
	else if (t->bytes == sizeof cdata - 1 && c == '[')
		t->place = CDATA;
	else if (t->bytes >= sizeof cdata - 1 || c != cdata[t->bytes - 1])
		t->place = TAG;
	t->closing = 0;
}

static void
in_tag(struct tags *t, char c)
{
	if (c == '>') {
		t->place = TEXT;
	} else if (c == '"' || c == '\'') {
		t->place = QUOTED;
		t->quote = c;
		t->values++;
	}
}

/* What ends with so many of c and a '>'. */
static void
until(struct tags *t, char c, char end, unsigned least)
{
	if (c == end)
		t->closing++;
	else if (c == '>' && t->closing >= least)
		t->place = TEXT;
	else
		t->closing = 0;
}

static void
step(struct tags *t, char c)
{
	t->bytes++;
	switch (t->place) {
	case TEXT:
		*t = (struct tags){ .place = c == '<' ? OPENED : TEXT, .bytes = 1 };
		return;
	case OPENED:
		t->place = c == '!' ? DECLARED : c == '?' ? INSTRUCTION : TAG;
		if (t->place == TAG)
			in_tag(t, c);
		return;
	case DECLARED:
		declared(t, c);
		return;
	case TAG:
		in_tag(t, c);
		return;
	case QUOTED:
		t->place = c == t->quote ? TAG : QUOTED;
		return;
	case COMMENT:
		until(t, c, '-', 2);
		return;
	case CDATA:
		until(t, c, ']', 2);
		return;
	case INSTRUCTION:
		until(t, c, '?', 1);
	}
}

static const char *
broken_limit(struct tags *t, struct slice bytes)
{
	for (size_t i = 0; i < bytes.n; i++) {
		if (t->place == TEXT) {
			const char *tag = memchr(bytes.p + i, '<', bytes.n - i);
			if (tag == NULL)
				return NULL;
			i = (size_t)(tag - bytes.p);
		}
		step(t, bytes.p[i]);
		if (t->place != TAG && t->place != QUOTED)
			continue;
		if (t->values > ATTRIBUTES_MAX)
			return "too many attributes";
		if (t->bytes > TAG_MAX)
			return "a tag too long";
	}
	return NULL;
}

static void
on_start(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri, int nnamespaces,
    const xmlChar **namespaces, int nattributes, int ndefaulted, const xmlChar **attributes)
{
	struct xml_whole *w = ctx;

	(void)prefix, (void)nnamespaces, (void)namespaces, (void)nattributes, (void)ndefaulted, (void)attributes;
	w->depth++;
	/* libxml2 counts the prefix and the URI of each */
	if (w->xml->nsNr > 2 * NAMESPACES_MAX)
		refuse(w, ERR_LIMIT, "too many namespaces");
	if (w->err.kind == ERR_NONE && w->on_element(w->ctx, slice_of((const char *)uri),
	    slice_of((const char *)name), w->depth, &w->err) < 0)
		xmlStopParser(w->xml);
}

static void
on_end(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
	struct xml_whole *w = ctx;

	(void)name, (void)prefix, (void)uri;
	w->depth--;
}

static void
on_doctype(void *ctx, const xmlChar *name, const xmlChar *external, const xmlChar *system)
{
	(void)name, (void)external, (void)system;
	refuse(ctx, ERR_DOCTYPE, "a DOCTYPE");
}

static void
on_error(void *ctx, xmlError *error)
{
	struct xml_whole *w = ctx;

	if (error->level >= XML_ERR_ERROR)
		err_set(&w->err, ERR_XML, "libxml2 error %d in line %d", error->code, error->line);
}

static void
free_whole(void *whole)
{
	struct xml_whole *w = whole;

	if (w->xml->myDoc != NULL)
		xmlFreeDoc(w->xml->myDoc);
	xmlFreeParserCtxt(w->xml);
}

struct xml_whole *
xml_whole_new(struct arena *a, xml_whole_element *on_element, void *ctx)
{
	static xmlSAXHandler sax = {
		.initialized = XML_SAX2_MAGIC, .startElementNs = on_start, .endElementNs = on_end,
		.internalSubset = on_doctype, .serror = on_error,
	};
	struct xml_whole *w = arena_alloc(a, sizeof *w);

	if (w == NULL)
		return NULL;
	w->on_element = on_element;
	w->ctx = ctx;
	w->xml = xmlCreatePushParserCtxt(&sax, w, NULL, 0, NULL);
	if (w->xml == NULL)
		return NULL;
	xmlCtxtUseOptions(w->xml, XML_PARSE_NONET | XML_PARSE_IGNORE_ENC);
	return arena_defer(a, free_whole, w) < 0 ? NULL : w;
}

static int
verdict(const struct xml_whole *w, struct err *e)
{
	return w->err.kind == ERR_NONE ? 0 : err_set(e, w->err.kind, "%s", w->err.detail);
}

int
xml_whole_feed(struct xml_whole *w, struct slice bytes, struct err *e)
{
	while (bytes.n > 0 && w->err.kind == ERR_NONE) {
		size_t n = bytes.n < PIECE_MAX ? bytes.n : PIECE_MAX;
		const char *limit = broken_limit(&w->tags, (struct slice){ bytes.p, n });
		if (limit != NULL)
			err_set(&w->err, ERR_LIMIT, "%s", limit);
		else if (xmlParseChunk(w->xml, bytes.p, (int)n, 0) != XML_ERR_OK)
			err_set(&w->err, ERR_XML, "not well formed");
		bytes = slice_from(bytes, n);
	}
	return verdict(w, e);
}

int
xml_whole_end(struct xml_whole *w, struct err *e)
{
	if (w->err.kind == ERR_NONE && (xmlParseChunk(w->xml, "", 0, 1) != XML_ERR_OK || !w->xml->wellFormed))
		err_set(&w->err, ERR_XML, "the document is not complete");
	return verdict(w, e);
}
