/* What libxml2 keeps per process: set once, before there are threads. */
#include "xml.h"

#include <libxml/catalog.h>
#include <libxml/parser.h>

/* Nothing that a document names is ever fetched, from the network or from a file. */
static xmlParserInput *
refuse_entity(const char *url, const char *id, xmlParserCtxt *ctx)
{
	(void)url;
	(void)id;
	(void)ctx;
	return NULL;
}

/* Errors reach us through each parser's own handler; nothing is printed. */
static void
say_nothing(void *ctx, const char *fmt, ...)
{
	(void)ctx;
	(void)fmt;
}

void
xml_init(void)
{
	xmlInitParser();
	xmlSetExternalEntityLoader(refuse_entity);
	xmlCatalogSetDefaults(XML_CATA_ALLOW_NONE);
	xmlSetGenericErrorFunc(NULL, say_nothing);
	xmlThrDefSetGenericErrorFunc(NULL, say_nothing);
}
