/* xml: libxml2 with hard limits, no DTD and no network: a push reader that knows byte offsets, a
 * small tree for documents of trusted size, canonical forms, and a writer that escapes. */
#ifndef XML_XML_H
#define XML_XML_H

#include "buf.h"
#include "err.h"

#include <libxml/tree.h>

#define NS_SOAP  "http://schemas.xmlsoap.org/soap/envelope/"
#define NS_SOAP12 "http://www.w3.org/2003/05/soap-envelope"
#define NS_WSSE  "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
#define NS_WSU   "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
#define NS_SAML  "urn:oasis:names:tc:SAML:2.0:assertion"
#define NS_DS    "http://www.w3.org/2000/09/xmldsig#"
#define NS_WSA05 "http://www.w3.org/2005/08/addressing"
#define NS_WSA04 "http://schemas.xmlsoap.org/ws/2004/08/addressing"
#define NS_SAMLP "urn:oasis:names:tc:SAML:2.0:protocol"
#define NS_MD    "urn:oasis:names:tc:SAML:2.0:metadata"
#define NS_WST   "http://schemas.xmlsoap.org/ws/2005/02/trust"
#define NS_WST13 "http://docs.oasis-open.org/ws-sx/ws-trust/200512"
#define NS_WST14 "http://docs.oasis-open.org/ws-sx/ws-trust/200802"
#define NS_WSP   "http://schemas.xmlsoap.org/ws/2004/09/policy"
#define NS_WSFED "http://docs.oasis-open.org/wsfed/authorization/200706"
#define NS_MEDCOM "http://www.medcom.dk/dgws/2006/04/dgws-1.0.xsd"
#define NS_OPENOCES03 "http://www.openoces.org/2003/10/signature#"
#define NS_OPENOCES06 "http://www.openoces.org/2006/07/signature#"
#define NS_GW07  "http://sosi.dk/gw/2007.09.01"
#define NS_GW14  "http://sosi.dk/gw/2014.06.01"

/* Once, by main, before threads: libxml2 and an entity loader that refuses everything. */
void xml_init(void);

struct xml_limits {
	size_t bytes;		/* of the whole input fed */
	unsigned depth;		/* of elements */
	unsigned attributes;	/* of one element, namespace declarations counted too */
	size_t value;		/* bytes of one name, attribute value or namespace URI */
	unsigned elements;	/* in all */
};
extern const struct xml_limits xml_head_limits;		/* 64 KB, depth 32, 64, 8 KB, 2000 */
extern const struct xml_limits xml_document_limits;	/* 1 MB, depth 64, 64, 64 KB, 20000 */

/* ---- push reader: what strangers send, before any of it is trusted */

struct xml_attr {
	struct slice ns, name, value;	/* ns absent: no namespace; value is unescaped */
};
struct xml_tag {
	struct slice ns, name, prefix;	/* ns absent: no namespace; prefix absent: none */
	const struct xml_attr *attrs;
	size_t nattrs;
	unsigned depth;			/* the root is 1 */
	size_t start, end;		/* byte offsets in the input: from '<' to behind '>' */
	bool empty;			/* <x/>; on_end still follows, with the same offsets */
};
/* A callback returns 0 to go on, 1 to stop reading for good (xml_reader_feed then returns 1), or -1
 * with e filled. Slices live until the callback returns. */
struct xml_handler {
	int (*on_start)(void *ctx, const struct xml_tag *tag, struct err *e);
	int (*on_end)(void *ctx, const struct xml_tag *tag, struct err *e);	/* ns, name, prefix, depth, start, end */
	/* Text and CDATA of an element may come in pieces, split by comments too. NULL: not wanted. */
	int (*on_text)(void *ctx, struct slice text, struct err *e);
};
struct xml_reader;
/* Freed with the arena. Refuses, whatever the handler says: DOCTYPE (ERR_DOCTYPE, on sight), PIs
 * (ERR_PROCESSING_INSTRUCTION), any encoding but UTF-8 with or without BOM and any version but 1.0
 * (ERR_ENCODING), what is not well formed or has an unbound prefix (ERR_XML), limits (ERR_LIMIT). */
struct xml_reader *xml_reader_new(struct arena *a, const struct xml_limits *limits,
    const struct xml_handler *handler, void *ctx);
/* Bytes in the order they came. 0: go on; 1: the handler has stopped; -1: refused. */
int xml_reader_feed(struct xml_reader *r, struct slice bytes, struct err *e);
/* The input has ended: -1 (ERR_XML) when the document is not complete. */
int xml_reader_end(struct xml_reader *r, struct err *e);

/* ---- a document of any length, looked at as it streams by: is it well formed? */

struct xml_whole;
/* Called at every start tag; -1 with e filled refuses the document. The root's depth is 1; ns absent: none. */
typedef int xml_whole_element(void *ctx, struct slice ns, struct slice name, unsigned depth, struct err *e);
/* Freed with the arena. Neither memory nor the work per byte grows with the document, however its bytes come. Limits: depth 256; a
 * tag (of 256 attributes), comment, instruction or reference of 64 KB; 1024 namespace declarations in scope; 20,000 different
 * names. A CDATA section may have any length. */
struct xml_whole *xml_whole_new(struct arena *a, xml_whole_element *on_element, void *ctx);
/* ERR_XML, ERR_DOCTYPE, ERR_LIMIT, or what on_element said; once refused it stays so. */
int xml_whole_feed(struct xml_whole *w, struct slice bytes, struct err *e);
int xml_whole_end(struct xml_whole *w, struct err *e);

/* ---- tree */

/* A whole document, with the same refusals. The document is freed with the arena. */
int xml_parse(struct arena *a, struct slice bytes, const struct xml_limits *limits, xmlDoc **doc,
    struct err *e);
/* The n-th (from 0) child element with that name; ns NULL: no namespace. NULL when there is none. */
xmlNode *xml_child(const xmlNode *parent, const char *ns, const char *name, unsigned n);
bool xml_is(const xmlNode *node, const char *ns, const char *name);
/* First child element of any name, and the next sibling element. */
xmlNode *xml_first(const xmlNode *parent);
xmlNode *xml_next(const xmlNode *node);
/* Anywhere in it. Comments have no place in a card, and readers have been fooled by one in a digest or a name (CVE-2025-29775,
 * CVE-2017-11427). Canonical forms leave them out, so it is to be asked before. */
bool xml_has_comment(const xmlNode *node);
/* An attribute without namespace; absent when missing. */
struct slice xml_attr(struct arena *a, const xmlNode *node, const char *name);
/* All text of an element that has no child elements; comments do not split it. Absent when the node
 * is NULL, has child elements, or memory ends. */
struct slice xml_text(struct arena *a, const xmlNode *node);

/* The shape of an element, for those who sign or trust it. Between its child elements is nothing but white space: no
 * text, no comment. */
bool xml_only_elements(const xmlNode *node);
/* Its content is text in one piece: a comment in a value is read in one way here and in another way there. */
bool xml_only_text(const xmlNode *node);
/* It has no attribute but `name`, without a namespace, and has that one; name NULL: has none. */
bool xml_only_attribute(const xmlNode *node, const char *name);

enum xml_c14n { XML_C14N_EXCLUSIVE, XML_C14N_INCLUSIVE };	/* both 1.0, without comments */
/* Canonical octets of the subtree at node, as a document subset. without: a child subtree that is
 * left out (the enveloped signature), or NULL. */
int xml_canonical(struct arena *a, const xmlNode *node, enum xml_c14n form, const xmlNode *without,
    struct slice *out, struct err *e);
/* Exclusive, with an InclusiveNamespaces PrefixList (exc-c14n, section 3): a namespace in scope whose prefix is listed is written
 * although nothing shows it used. prefixes end with NULL; "#default" is the default namespace; one that means nothing at an
 * element means nothing there. NULL: no list. The work grows with their number times that of the elements. */
int xml_canonical_listed(struct arena *a, const xmlNode *node, xmlChar **prefixes, const xmlNode *without,
    struct slice *out, struct err *e);

/* ---- writer: what cannot be written wrong */

/* Text content and attribute values are escaped; characters that XML cannot hold become U+FFFD.
 * The caller writes markup as literals with buf_puts. */
void xml_put_text(struct buf *b, struct slice text);
void xml_put_attr(struct buf *b, const char *name, struct slice value);	/* with a leading space */

#endif
