/* Well-formedness of a document of any length as it streams by: nothing is kept but libxml2's own state.
 *
 * libxml2's push parser keeps a thing (tag, comment, reference, CDATA section) until its end has come, looks through what it
 * keeps whenever more comes, compares each attribute of a tag with all before it, and looks for a prefix in every
 * declaration in scope: a few megabytes could cost it a minute. So all bytes are looked at before it sees them:
 * - it gets them in pieces of one size, however they came;
 * - what it would keep must be short, or is refused;
 * - what stands in a CDATA section, which may well be long, it gets as text, and the section empty. */
#include "xml.h"

#include "xml_private.h"

#include <libxml/parser.h>
#include <libxml/xmlerror.h>

#include <string.h>

#define PIECE 4096
#define KEPT_MAX (64u << 10)	/* bytes of a tag, comment, instruction or reference */
#define ATTRIBUTES_MAX 256
#define NAMESPACES_MAX 1024	/* in scope */
#define NAMES_MAX 20000		/* different ones; libxml2 remembers each */

#define CDATA_END "]]>"

/* Where in the document the bytes have come to. For anything that is well formed so far libxml2 is at the same place;
 * what is not, it refuses. */
struct place {
	enum { TEXT, REFERENCE, OPENED, DECLARED, TAG, QUOTED, COMMENT, CDATA, INSTRUCTION } in;
	char quote;
	unsigned bytes, values;	/* of this tag or the like */
	unsigned closing;	/* how many '-', ']' or '?' in a row, that '>' may follow */
};

struct xml_whole {
	xmlParserCtxt *xml;
	struct place place;
	xml_whole_element *on_element;
	void *ctx;
	unsigned depth;
	struct err err;		/* why it is refused; NONE: it is not */
	size_t n;		/* bytes of piece */
	size_t kept_most;
	char piece[PIECE + sizeof CDATA_END];
};

static void
refuse(struct xml_whole *w, enum err_kind kind, const char *why)
{
	err_set(&w->err, kind, "%s", why);
	xmlStopParser(w->xml);
}

/* ---- where the bytes have come to */

/* Behind "<!". */
static void
declared(struct place *p, char c)
{
	static const char cdata[] = "<![CDATA[";

	if (p->bytes == 3 && c == '-')
		return;
	if (p->bytes == 4 && c == '-')
		p->in = COMMENT;
	else if (p->bytes == sizeof cdata - 1 && c == '[')
		p->in = CDATA;
	else if (p->bytes >= sizeof cdata - 1 || c != cdata[p->bytes - 1])
		p->in = TAG;
	p->closing = 0;
}

static void
in_tag(struct place *p, char c)
{
	if (c == '>') {
		*p = (struct place){ .in = TEXT };
	} else if (c == '"' || c == '\'') {
		p->in = QUOTED;
		p->quote = c;
		p->values++;
	}
}

/* What ends with so many of c and a '>'. */
static void
until(struct place *p, char c, char end, unsigned least)
{
	if (c == end)
		p->closing++;
	else if (c == '>' && p->closing >= least)
		*p = (struct place){ .in = TEXT };
	else
		p->closing = 0;
}

static void
in_text(struct place *p, char c)
{
	if (c == '<')
		*p = (struct place){ .in = OPENED, .bytes = 1 };
	else if (c == '&')
		*p = (struct place){ .in = REFERENCE };
	else
		p->closing = c == ']' ? p->closing + 1 : 0;
}

static void
step(struct place *p, char c)
{
	p->bytes++;
	switch (p->in) {
	case TEXT:
		in_text(p, c);
		return;
	case REFERENCE:
		if (c == ';')
			*p = (struct place){ .in = TEXT };
		return;
	case OPENED:
		p->in = c == '!' ? DECLARED : c == '?' ? INSTRUCTION : TAG;
		if (p->in == TAG)
			in_tag(p, c);
		return;
	case DECLARED:
		declared(p, c);
		return;
	case TAG:
		in_tag(p, c);
		return;
	case QUOTED:
		p->in = c == p->quote ? TAG : QUOTED;
		return;
	case COMMENT:
		until(p, c, '-', 2);
		return;
	case CDATA:
		until(p, c, ']', 2);
		return;
	case INSTRUCTION:
		until(p, c, '?', 1);
	}
}

static const char *
broken_limit(const struct place *p)
{
	if (p->in == TEXT || p->in == CDATA)
		return NULL;
	if (p->values > ATTRIBUTES_MAX)
		return "too many attributes";
	return p->bytes > KEPT_MAX ? "a tag, comment or the like too long" : NULL;
}

/* ---- libxml2's events */

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
	if (xmlDictSize(w->xml->dict) > NAMES_MAX)
		refuse(w, ERR_LIMIT, "too many different names");
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

/* ---- in pieces to libxml2 */

static void
give(struct xml_whole *w)
{
	const xmlParserInput *in = w->xml->input;

	if (w->err.kind == ERR_NONE && xmlParseChunk(w->xml, w->piece, (int)w->n, 0) != XML_ERR_OK)
		err_set(&w->err, ERR_XML, "not well formed");
	w->n = 0;
	if ((size_t)(in->end - in->cur) > w->kept_most)
		w->kept_most = (size_t)(in->end - in->cur);
}

static void
take(struct xml_whole *w, char c)
{
	struct place *p = &w->place;
	int before = p->in;

	if (w->n >= PIECE)
		give(w);
	/* libxml2 does not see it when a piece ends in between */
	if (before == TEXT && c == '>' && p->closing >= 2)
		err_set(&w->err, ERR_XML, "the end of a CDATA section in text");
	step(p, c);
	w->piece[w->n++] = before == CDATA && (c == '<' || c == '&' || c == '>') ? ' ' : c;
	if (before == DECLARED && p->in == CDATA) {
		memcpy(w->piece + w->n, CDATA_END, strlen(CDATA_END));
		w->n += strlen(CDATA_END);
	}
	const char *limit = broken_limit(p);
	if (limit != NULL)
		err_set(&w->err, ERR_LIMIT, "%s", limit);
}

int
xml_whole_feed(struct xml_whole *w, struct slice bytes, struct err *e)
{
	for (size_t i = 0; i < bytes.n && w->err.kind == ERR_NONE; i++)
		take(w, bytes.p[i]);
	return verdict(w, e);
}

int
xml_whole_end(struct xml_whole *w, struct err *e)
{
	give(w);
	if (w->err.kind == ERR_NONE && (xmlParseChunk(w->xml, "", 0, 1) != XML_ERR_OK || !w->xml->wellFormed))
		err_set(&w->err, ERR_XML, "the document is not complete");
	return verdict(w, e);
}

size_t
xml_whole_kept_most(const struct xml_whole *w)
{
	return w->kept_most;
}
