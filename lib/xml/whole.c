/* Well-formedness of a document of any length as it streams by: nothing is kept but libxml2's own state. */
#include "xml.h"

#include "xml_private.h"

#include <libxml/parser.h>
#include <libxml/xmlerror.h>

#include <limits.h>

#define PIECE_MAX (64u << 10)

struct xml_whole {
	xmlParserCtxt *xml;
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

static void
on_start(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri, int nnamespaces,
    const xmlChar **namespaces, int nattributes, int ndefaulted, const xmlChar **attributes)
{
	struct xml_whole *w = ctx;

	(void)prefix, (void)nnamespaces, (void)namespaces, (void)nattributes, (void)ndefaulted, (void)attributes;
	w->depth++;
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
		if (xmlParseChunk(w->xml, bytes.p, (int)n, 0) != XML_ERR_OK)
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
