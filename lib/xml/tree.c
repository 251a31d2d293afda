/* Documents of bounded size as a libxml2 tree, and canonical forms of it.
 *
 * The parse is libxml2's, but every start tag passes our hands first: what the reader (reader.c)
 * refuses is refused here too, so that no part of a message is read with other rules than the rest.
 * The document keeps libxml2's defaults otherwise; CDATA becomes text, comments stay in the tree. */
#include "xml_private.h"

#include "conv.h"

#include <libxml/SAX2.h>
#include <libxml/c14n.h>
#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <limits.h>
#include <string.h>

/* ---- what is judged before libxml2 sees a byte */

/* UTF-8 without NUL excludes every other encoding that libxml2 would guess from the first bytes. */
static int
check_encoding(struct slice *bytes, struct err *e)
{
	(void)slice_skip(bytes, S(XML_BOM));
	/* libxml2 would skip a second one, which is text before the root */
	if (bytes->n == 0 || slice_starts(*bytes, S(XML_BOM)))
		return err_set(e, ERR_XML, "no document");
	if (memchr(bytes->p, '\0', bytes->n) != NULL || !conv_is_utf8(*bytes))
		return err_set(e, ERR_ENCODING, "not UTF-8");
	return xml_check_declaration(*bytes, e);
}

/* Behind the first `what` in s, or the end of s. */
static struct slice
behind(struct slice s, const char *what)
{
	struct slice w = slice_of(what);
	ptrdiff_t at = slice_find(s, w);

	return slice_from(s, at < 0 ? s.n : (size_t)at + w.n);
}

/* s stands behind '<': counts the attributes of that tag and moves s behind its '>'. */
static unsigned
count_attributes(struct slice *s)
{
	unsigned count = 0;
	char quote = '\0';
	size_t i = 0;

	for (; i < s->n; i++) {
		char c = s->p[i];
		if (quote != '\0') {
			if (c == quote)
				quote = '\0';
		} else if (c == '"' || c == '\'') {
			quote = c;
		} else if (c == '=') {
			count++;
		} else if (c == '>') {
			break;
		}
	}
	*s = slice_from(*s, i);
	return count;
}

/* libxml2 2.9 compares each attribute with each other one before we are asked: a megabyte of them in
 * one tag costs many seconds. This count is linear; on_start below is the one that decides. */
static int
check_attribute_count(struct slice s, const struct xml_limits *limits, struct err *e)
{
	while (s.n > 0) {
		const char *open = memchr(s.p, '<', s.n);
		if (open == NULL)
			return 0;
		s = slice_from(s, (size_t)(open - s.p) + 1);
		if (slice_skip(&s, S("!--")))
			s = behind(s, "-->");
		else if (slice_skip(&s, S("![CDATA[")))
			s = behind(s, "]]>");
		else if (slice_skip(&s, S("?")))
			s = behind(s, "?>");
		else if (count_attributes(&s) > limits->attributes)
			return err_set(e, ERR_LIMIT, "more than %u attributes", limits->attributes);
	}
	return 0;
}

/* ---- the parse */

struct parse {
	const struct xml_limits *limits;
	struct err *e;
	unsigned depth, elements;
	bool refused;
};

static struct parse *
parse_of(void *ctx)
{
	return ((xmlParserCtxt *)ctx)->_private;
}

static void
refuse(void *ctx, enum err_kind kind, const char *why)
{
	struct parse *p = parse_of(ctx);

	p->refused = true;
	err_set(p->e, kind, "%s", why);
	xmlStopParser(ctx);
}

static void
on_doctype(void *ctx, const xmlChar *name, const xmlChar *external, const xmlChar *system)
{
	(void)name;
	(void)external;
	(void)system;
	refuse(ctx, ERR_DOCTYPE, "DOCTYPE");
}

static void
on_instruction(void *ctx, const xmlChar *target, const xmlChar *data)
{
	(void)target;
	(void)data;
	refuse(ctx, ERR_PROCESSING_INSTRUCTION, "processing instruction");
}

static bool
too_long(const xmlChar *s, const struct xml_limits *limits)
{
	return s != NULL && strlen((const char *)s) > limits->value;
}

static const char *
broken_limit(const struct parse *p, const xmlChar *name, int nnamespaces, const xmlChar **namespaces,
    int nattributes, const xmlChar **attributes)
{
	const struct xml_limits *l = p->limits;

	if (p->depth > l->depth)
		return "elements nested too deep";
	if (p->elements > l->elements)
		return "too many elements";
	if ((unsigned)nnamespaces + (unsigned)nattributes > l->attributes)
		return "too many attributes";
	if (too_long(name, l))
		return "name too long";
	for (int i = 0; i < nnamespaces; i++)
		if (too_long(namespaces[2 * i], l) || too_long(namespaces[2 * i + 1], l))
			return "namespace too long";
	/* local name, prefix, URI, value, end of value */
	for (int i = 0; i < nattributes; i++) {
		const xmlChar **attr = attributes + 5 * i;
		if (too_long(attr[0], l) || (size_t)(attr[4] - attr[3]) > l->value)
			return "attribute too long";
	}
	return NULL;
}

static void
on_start(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri, int nnamespaces,
    const xmlChar **namespaces, int nattributes, int ndefaulted, const xmlChar **attributes)
{
	struct parse *p = parse_of(ctx);

	p->depth++;
	p->elements++;
	const char *limit = broken_limit(p, name, nnamespaces, namespaces, nattributes, attributes);
	if (limit != NULL) {
		refuse(ctx, ERR_LIMIT, limit);
		return;
	}
	xmlSAX2StartElementNs(ctx, name, prefix, uri, nnamespaces, namespaces, nattributes, ndefaulted,
	    attributes);
}

static void
on_end(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
	parse_of(ctx)->depth--;
	xmlSAX2EndElementNs(ctx, name, prefix, uri);
}

/* Also namespace errors, after which libxml2 would go on with a prefix that is part of the name. */
static void
on_error(void *ctx, xmlError *error)
{
	struct parse *p = parse_of(ctx);

	if (error->level < XML_ERR_ERROR || p->refused)
		return;
	p->refused = true;
	if (error->code == XML_ERR_NO_MEMORY)
		err_set(p->e, ERR_MEMORY, "libxml2");
	else
		err_set(p->e, ERR_XML, "libxml2 error %d in line %d", error->code, error->line);
}

static void
listen_to(xmlSAXHandler *sax)
{
	sax->internalSubset = on_doctype;
	sax->externalSubset = on_doctype;
	sax->processingInstruction = on_instruction;
	sax->startElementNs = on_start;
	sax->endElementNs = on_end;
	sax->serror = on_error;
}

static void
free_doc(void *doc)
{
	xmlFreeDoc(doc);
}

static int
parse_checked(xmlParserCtxt *ctx, struct parse *p, struct slice bytes, xmlDoc **doc, struct err *e)
{
	ctx->_private = p;
	listen_to(ctx->sax);
	*doc = xmlCtxtReadMemory(ctx, bytes.p, (int)bytes.n, NULL, NULL,
	    XML_PARSE_NONET | XML_PARSE_NOCDATA | XML_PARSE_IGNORE_ENC);
	if (*doc != NULL && !p->refused && ctx->wellFormed && ctx->nsWellFormed &&
	    xmlDocGetRootElement(*doc) != NULL)
		return 0;
	xmlFreeDoc(*doc);
	*doc = NULL;
	return p->refused ? -1 : err_set(e, ERR_XML, "not well formed");
}

int
xml_parse(struct arena *a, struct slice bytes, const struct xml_limits *limits, xmlDoc **doc,
    struct err *e)
{
	struct parse p = { .limits = limits, .e = e };

	*doc = NULL;
	if (bytes.p == NULL || bytes.n > limits->bytes || bytes.n > INT_MAX)
		return err_set(e, ERR_LIMIT, "document of %zu bytes", bytes.n);
	if (check_encoding(&bytes, e) < 0 || check_attribute_count(bytes, limits, e) < 0)
		return -1;

	xmlParserCtxt *ctx = xmlNewParserCtxt();
	if (ctx == NULL)
		return err_set(e, ERR_MEMORY, "parser");
	int rc = parse_checked(ctx, &p, bytes, doc, e);
	xmlFreeParserCtxt(ctx);
	if (rc < 0)
		return -1;
	if (arena_defer(a, free_doc, *doc) < 0) {
		*doc = NULL;
		return err_set(e, ERR_MEMORY, "document");
	}
	return 0;
}

/* ---- looking at it */

bool
xml_is(const xmlNode *node, const char *ns, const char *name)
{
	if (node == NULL || node->type != XML_ELEMENT_NODE || strcmp((const char *)node->name, name) != 0)
		return false;
	if (ns == NULL)
		return node->ns == NULL;
	return node->ns != NULL && node->ns->href != NULL &&
	    strcmp((const char *)node->ns->href, ns) == 0;
}

static xmlNode *
this_or_next(xmlNode *node)
{
	while (node != NULL && node->type != XML_ELEMENT_NODE)
		node = node->next;
	return node;
}

xmlNode *
xml_first(const xmlNode *parent)
{
	return parent == NULL ? NULL : this_or_next(parent->children);
}

xmlNode *
xml_next(const xmlNode *node)
{
	return node == NULL ? NULL : this_or_next(node->next);
}

xmlNode *
xml_child(const xmlNode *parent, const char *ns, const char *name, unsigned n)
{
	for (xmlNode *child = xml_first(parent); child != NULL; child = xml_next(child))
		if (xml_is(child, ns, name) && n-- == 0)
			return child;
	return NULL;
}

static bool
is_text(const xmlNode *node)
{
	return node->type == XML_TEXT_NODE || node->type == XML_CDATA_SECTION_NODE;
}

/* The text of a list of nodes, comments left out; absent when anything else is among them. */
static struct slice
joined(struct arena *a, const xmlNode *first)
{
	size_t n = 0;

	for (const xmlNode *node = first; node != NULL; node = node->next) {
		if (is_text(node))
			n += strlen((const char *)node->content);
		else if (node->type != XML_COMMENT_NODE)
			return (struct slice){ 0 };
	}
	char *text = arena_alloc(a, n + 1);
	if (text == NULL)
		return (struct slice){ 0 };
	char *end = text;
	for (const xmlNode *node = first; node != NULL; node = node->next) {
		if (is_text(node))
			end = stpcpy(end, (const char *)node->content);
	}
	return (struct slice){ text, n };
}

struct slice
xml_attr(struct arena *a, const xmlNode *node, const char *name)
{
	if (node == NULL || node->type != XML_ELEMENT_NODE)
		return (struct slice){ 0 };
	for (const xmlAttr *attr = node->properties; attr != NULL; attr = attr->next)
		if (attr->ns == NULL && strcmp((const char *)attr->name, name) == 0)
			return joined(a, attr->children);
	return (struct slice){ 0 };
}

struct slice
xml_text(struct arena *a, const xmlNode *node)
{
	if (node == NULL || node->type != XML_ELEMENT_NODE)
		return (struct slice){ 0 };
	return joined(a, node->children);
}

/* ---- its shape */

static bool
is_blank(const xmlNode *node)
{
	return slice_trim(slice_of((const char *)node->content)).n == 0;
}

bool
xml_only_elements(const xmlNode *node)
{
	for (const xmlNode *child = node->children; child != NULL; child = child->next)
		if (child->type != XML_ELEMENT_NODE && !(child->type == XML_TEXT_NODE && is_blank(child)))
			return false;
	return true;
}

bool
xml_only_text(const xmlNode *node)
{
	for (const xmlNode *child = node->children; child != NULL; child = child->next)
		if (child->type != XML_TEXT_NODE)
			return false;
	return true;
}

bool
xml_only_attribute(const xmlNode *node, const char *name)
{
	const xmlAttr *attr = node->properties;

	if (name == NULL)
		return attr == NULL;
	return attr != NULL && attr->next == NULL && attr->ns == NULL &&
	    strcmp((const char *)attr->name, name) == 0;
}

/* ---- canonical forms */

struct subset {
	const xmlNode *root, *without;
};

static int
in_subset(void *ctx, xmlNode *node, xmlNode *parent)
{
	const struct subset *s = ctx;
	/* namespaces and attributes are where their element is */
	const xmlNode *at = node->type == XML_NAMESPACE_DECL || node->type == XML_ATTRIBUTE_NODE ?
	    parent : node;

	for (; at != NULL; at = at->parent) {
		if (at == s->without)
			return 0;
		if (at == s->root)
			return 1;
	}
	return 0;
}

static int
canonical(struct arena *a, const xmlNode *node, xmlC14NMode mode, xmlChar **prefixes, const xmlNode *without,
    struct slice *out, struct err *e)
{
	struct subset subset = { node, without };
	xmlOutputBuffer *buffer = xmlAllocOutputBuffer(NULL);

	if (buffer == NULL)
		return err_set(e, ERR_MEMORY, "canonical form");
	int rc = xmlC14NExecute(node->doc, in_subset, &subset, (int)mode, prefixes, 0, buffer);
	if (rc >= 0)
		*out = arena_dup(a, (struct slice){ (const char *)xmlOutputBufferGetContent(buffer),
		    xmlOutputBufferGetSize(buffer) });
	xmlOutputBufferClose(buffer);
	if (rc < 0)
		return err_set(e, ERR_XML, "no canonical form");
	return out->p == NULL ? err_set(e, ERR_MEMORY, "canonical form") : 0;
}

int
xml_canonical(struct arena *a, const xmlNode *node, enum xml_c14n form, const xmlNode *without,
    struct slice *out, struct err *e)
{
	return canonical(a, node, form == XML_C14N_EXCLUSIVE ? XML_C14N_EXCLUSIVE_1_0 : XML_C14N_1_0, NULL, without, out, e);
}

int
xml_canonical_listed(struct arena *a, const xmlNode *node, xmlChar **prefixes, const xmlNode *without,
    struct slice *out, struct err *e)
{
	return canonical(a, node, XML_C14N_EXCLUSIVE_1_0, prefixes, without, out, e);
}

bool
xml_has_comment(const xmlNode *top)
{
	for (const xmlNode *n = top; n != NULL;) {
		if (n->type == XML_COMMENT_NODE)
			return true;
		if (n->type == XML_ELEMENT_NODE && n->children != NULL) {
			n = n->children;
			continue;
		}
		while (n != top && n->next == NULL)
			n = n->parent;
		n = n == top ? NULL : n->next;
	}
	return false;
}
