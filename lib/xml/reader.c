/* The push reader: libxml2's SAX2 events with byte offsets, limits, and refusals.
 *
 * libxml2's own counting of bytes is believed only as far as it can be checked: all bytes fed are kept, and
 * each offset that is handed out has been compared with what stands there ('<', the name, '>').
 *
 * The push parser of libxml2 2.9 sees its input cut in two kinds of places only, before a '<' and behind
 * a '>' that ends a tag. So a character, a reference, an attribute or a tag never reaches it in halves, and
 * what it reports cannot depend on how the bytes arrived. See find_cut. */
#include "xml_private.h"

#include "conv.h"

#include <libxml/parser.h>
#include <libxml/parserInternals.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

const struct xml_limits xml_head_limits = { 64 << 10, 32, 64, 8 << 10, 2000 };
const struct xml_limits xml_document_limits = { 1 << 20, 64, 64, 64 << 10, 20000 };

/* libxml2 gets its input in pieces of about this size, so that little is copied and read in vain
 * behind the place where the handler stops. */
#define PIECE 4096
#define DECLARATION_MAX 1024

enum state { READING, STOPPED, REFUSED };

struct xml_reader {
	struct arena *a;
	struct xml_handler handler;
	void *ctx;
	struct xml_limits limits;
	xmlParserCtxt *xml;
	struct buf kept;	/* all bytes fed so far */
	size_t given;		/* of these, what libxml2 has got */
	size_t cut;		/* where they may be cut: the last such place */
	size_t scanned;		/* find_cut has seen the bytes before */
	bool in_tag;		/* find_cut stands in the tag that the last '<' opened */
	char quote;		/* and there in a value quoted so, or 0 */
	bool begun;		/* the beginning of the input has been judged */
	enum state state;
	enum err_kind kind;	/* REFUSED: why */
	struct err *e;		/* of the call that is going on */
	unsigned depth, elements;
	struct xml_attr *attrs;	/* limits.attributes of them */
	size_t start, end;	/* of the last tag */
	bool empty;		/* which was <x/> and has not ended yet */
};

static void
refuse(struct xml_reader *r, enum err_kind kind, const char *why)
{
	if (r->state != READING)
		return;
	r->state = REFUSED;
	r->kind = kind;
	err_set(r->e, kind, "%s at byte %zu", why, r->given);
}

/* From a callback of libxml2 when it shall not go on. */
static void
halt(struct xml_reader *r)
{
	xmlStopParser(r->xml);
}

static void
refuse_and_halt(struct xml_reader *r, enum err_kind kind, const char *why)
{
	refuse(r, kind, why);
	halt(r);
}

/* What a callback of the handler said. */
static void
obey(struct xml_reader *r, int rc)
{
	if (rc == 0)
		return;
	if (rc < 0 && r->e->kind == ERR_NONE)
		err_set(r->e, ERR_INTERNAL, "handler refused without a reason");
	r->state = rc > 0 ? STOPPED : REFUSED;
	r->kind = r->e->kind;
	halt(r);
}

/* ---- offsets */

/* Where libxml2 stands in the input. */
static size_t
position(const struct xml_reader *r)
{
	const xmlParserInput *in = r->xml->input;

	return in->consumed + (size_t)(in->cur - in->base);
}

/* text starts with that qualified name; *n is its length. */
static bool
starts_with_name(struct slice text, struct slice prefix, struct slice name, size_t *n)
{
	*n = name.n;
	if (prefix.p != NULL) {
		if (!slice_starts(text, prefix) || text.n <= prefix.n || text.p[prefix.n] != ':')
			return false;
		text = slice_from(text, prefix.n + 1);
		*n += prefix.n + 1;
	}
	return slice_starts(text, name);
}

static bool
ends_name(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '/' || c == '>';
}

/* The last '<' before `end` and not before the tag seen last, followed by `lead` and the tag's name.
 * No '<' can stand inside a tag, in its attribute values neither. */
static bool
find_open(struct xml_reader *r, size_t end, const char *lead, const struct xml_tag *tag, size_t *start)
{
	const char *from = r->kept.p + r->end;
	const char *open = end > r->end ? memrchr(from, '<', end - r->end) : NULL;
	size_t n;

	if (open == NULL)
		return false;
	*start = (size_t)(open - r->kept.p);
	struct slice behind = { open + 1, end - *start - 1 };
	if (!slice_starts(behind, slice_of(lead)))
		return false;
	behind = slice_from(behind, strlen(lead));
	return starts_with_name(behind, tag->prefix, tag->name, &n) && n < behind.n && ends_name(behind.p[n]);
}

/* libxml2 stands at the '>' or '/>' of a start tag. */
static bool
place_start(struct xml_reader *r, struct xml_tag *tag)
{
	struct slice at = slice_from(buf_slice(&r->kept), position(r));

	tag->empty = slice_starts(at, S("/>"));
	if (!tag->empty && !slice_starts(at, S(">")))
		return false;
	tag->end = (size_t)(at.p - r->kept.p) + (tag->empty ? 2 : 1);
	return find_open(r, tag->end, "", tag, &tag->start);
}

/* libxml2 stands behind the '>' of an end tag, or of <x/>. */
static bool
place_end(struct xml_reader *r, struct xml_tag *tag)
{
	size_t at = position(r);

	if (at == 0 || at > r->kept.n || r->kept.p[at - 1] != '>')
		return false;
	tag->end = at;
	if (r->empty) {
		tag->start = r->start;
		tag->empty = true;
		return at == r->end;
	}
	return find_open(r, at, "/", tag, &tag->start);
}

/* ---- libxml2's events */

static struct slice
text_of(const xmlChar *s)
{
	return slice_of((const char *)s);
}

static const char *
broken_limit(const struct xml_reader *r, const struct xml_tag *tag, unsigned attributes)
{
	const struct xml_limits *l = &r->limits;

	if (r->depth > l->depth)
		return "elements nested too deep";
	if (r->elements > l->elements)
		return "too many elements";
	if (attributes > l->attributes)
		return "too many attributes";
	if (tag->name.n > l->value || tag->prefix.n > l->value || tag->ns.n > l->value)
		return "name too long";
	return NULL;
}

/* libxml2 unescapes values but for '&', which it hands over as "&#38;" and in no other form, because
 * its own tree would replace entities next. There are none: a DOCTYPE is refused. */
static struct slice
with_ampersands(struct xml_reader *r, struct slice value)
{
	if (memchr(value.p, '&', value.n) == NULL)
		return value;
	char *copy = arena_alloc(r->a, value.n), *to = copy;
	if (copy == NULL)
		return (struct slice){ NULL, 0 };
	for (size_t i = 0; i < value.n; i++) {
		*to++ = value.p[i];
		if (value.p[i] == '&' && slice_starts(slice_from(value, i), S("&#38;")))
			i += strlen("#38;");
	}
	return (struct slice){ copy, (size_t)(to - copy) };
}

/* libxml2 gives five pointers for each: local name, prefix, URI, value, end of value. */
static bool
take_attributes(struct xml_reader *r, const xmlChar **from, unsigned n)
{
	for (unsigned i = 0; i < n; i++, from += 5) {
		const char *value = (const char *)from[3];
		struct xml_attr *a = &r->attrs[i];
		*a = (struct xml_attr){ text_of(from[2]), text_of(from[0]),
			with_ampersands(r, (struct slice){ value, (size_t)((const char *)from[4] - value) }) };
		if (a->value.p == NULL || a->ns.n > r->limits.value || a->name.n > r->limits.value || a->value.n > r->limits.value)
			return false;
	}
	return true;
}

static bool
short_namespaces(const struct xml_reader *r, const xmlChar **from, unsigned n)
{
	for (unsigned i = 0; i < 2 * n; i++)
		if (text_of(from[i]).n > r->limits.value)
			return false;
	return true;
}

static void
on_start(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri, int nnamespaces,
    const xmlChar **namespaces, int nattributes, int ndefaulted, const xmlChar **attributes)
{
	struct xml_reader *r = ctx;
	struct xml_tag tag = { text_of(uri), text_of(name), text_of(prefix), r->attrs,
		(size_t)nattributes, ++r->depth, 0, 0, false };

	(void)ndefaulted;
	if (r->state != READING)
		return;
	r->elements++;
	const char *limit = broken_limit(r, &tag, (unsigned)(nattributes + nnamespaces));
	if (limit == NULL && (!take_attributes(r, attributes, (unsigned)nattributes) ||
	    !short_namespaces(r, namespaces, (unsigned)nnamespaces)))
		limit = "attribute too long";
	if (limit != NULL) {
		refuse_and_halt(r, ERR_LIMIT, limit);
		return;
	}
	if (!place_start(r, &tag)) {
		refuse_and_halt(r, ERR_XML, "start tag not where it should be");
		return;
	}
	r->start = tag.start;
	r->end = tag.end;
	r->empty = tag.empty;
	if (r->handler.on_start != NULL)
		obey(r, r->handler.on_start(r->ctx, &tag, r->e));
}

static void
on_end(void *ctx, const xmlChar *name, const xmlChar *prefix, const xmlChar *uri)
{
	struct xml_reader *r = ctx;
	struct xml_tag tag = { text_of(uri), text_of(name), text_of(prefix), NULL, 0, r->depth--,
		0, 0, false };

	if (r->state != READING)
		return;
	if (!place_end(r, &tag)) {
		refuse_and_halt(r, ERR_XML, "end tag not where it should be");
		return;
	}
	r->start = tag.start;
	r->end = tag.end;
	r->empty = false;
	if (r->handler.on_end != NULL)
		obey(r, r->handler.on_end(r->ctx, &tag, r->e));
}

static void
on_text(void *ctx, const xmlChar *text, int n)
{
	struct xml_reader *r = ctx;

	if (r->state == READING && r->handler.on_text != NULL)
		obey(r, r->handler.on_text(r->ctx, (struct slice){ (const char *)text, (size_t)n }, r->e));
}

static void
on_doctype(void *ctx, const xmlChar *name, const xmlChar *external, const xmlChar *system)
{
	(void)name;
	(void)external;
	(void)system;
	refuse_and_halt(ctx, ERR_DOCTYPE, "DOCTYPE");
}

static void
on_instruction(void *ctx, const xmlChar *target, const xmlChar *data)
{
	(void)target;
	(void)data;
	refuse_and_halt(ctx, ERR_PROCESSING_INSTRUCTION, "processing instruction");
}

/* libxml2 has stopped at, or just behind the '<' of, a DOCTYPE that it does not take for one: in
 * lower case, or after the root has begun. */
static bool
at_doctype(const struct xml_reader *r)
{
	size_t at = position(r), n = strlen("<!DOCTYPE");

	if (at > 0 && at <= r->kept.n && r->kept.p[at - 1] == '<')
		at--;
	return at + n <= r->kept.n && strncasecmp(r->kept.p + at, "<!DOCTYPE", n) == 0;
}

static enum err_kind
kind_of(const struct xml_reader *r, int code)
{
	if (code == XML_ERR_NO_MEMORY)
		return ERR_MEMORY;
	if (code == XML_ERR_NAME_TOO_LONG)
		return ERR_LIMIT;
	if (at_doctype(r))
		return ERR_DOCTYPE;
	/* libxml2 has many codes for a byte that does not belong there */
	return conv_is_utf8((struct slice){ buf_slice(&r->kept).p, r->given }) ? ERR_XML : ERR_ENCODING;
}

/* Also namespace errors, after which libxml2 would go on with a prefix that is part of the name. It is
 * not halted from here: it may be in the middle of anything. */
static void
on_error(void *ctx, xmlError *error)
{
	struct xml_reader *r = ctx;
	char why[64];

	if (error->level < XML_ERR_ERROR)
		return;
	snprintf(why, sizeof why, "libxml2 error %d in line %d", error->code, error->line);
	refuse(r, kind_of(r, error->code), why);
}

/* ---- where the input may be cut */

/* Moves r->cut to the last good place: behind the '>' of the last tag when that tag is complete,
 * else before its '<'. In a comment or a CDATA section what looks like a tag is none, but any place is good
 * there; the cut may then come later than it could, until the next '<' or the end. */
static void
find_cut(struct xml_reader *r)
{
	const char *p = r->kept.p;
	size_t i = r->scanned;
	const char *open = memrchr(p + i, '<', r->kept.n - i);

	if (open != NULL) {
		r->cut = (size_t)(open - p);
		i = r->cut + 1;
		r->in_tag = true;
		r->quote = '\0';
	}
	for (; r->in_tag && i < r->kept.n; i++) {
		char c = p[i];
		if (r->quote != '\0') {
			if (c == r->quote)
				r->quote = '\0';
		} else if (c == '"' || c == '\'') {
			r->quote = c;
		} else if (c == '>') {
			r->in_tag = false;
			r->cut = i + 1;
		}
	}
	r->scanned = r->kept.n;
}

/* How much of the n bytes that may be given is given now. */
static size_t
piece(const char *p, size_t n)
{
	if (n <= PIECE)
		return n;
	const char *open = memrchr(p + 1, '<', PIECE - 1);
	if (open == NULL)
		open = memchr(p + PIECE, '<', n - PIECE);
	return open == NULL ? n : (size_t)(open - p);
}

/* What libxml2 has not read begins with '<': it is in a comment, or another thing that ends with
 * more than a '>'. */
static bool
in_markup(const struct xml_reader *r)
{
	const xmlParserInput *in = r->xml->input;

	return r->xml->instate != XML_PARSER_CDATA_SECTION && (in->cur == in->end || *in->cur != '<');
}

/* libxml2 compares each attribute with all before it: a long tag could cost it seconds. Tags within a PIECE
 * cannot have enough of them; longer ones come here alone, before libxml2 sees them. */
static bool
too_many_attributes(const struct xml_reader *r, struct slice tag)
{
	unsigned count = 0;
	char quote = '\0';

	if (tag.n <= PIECE || tag.p[0] != '<' || tag.p[1] == '!' || tag.p[1] == '?' || !in_markup(r))
		return false;
	for (size_t i = 1; i < tag.n && (quote != '\0' || tag.p[i] != '>'); i++) {
		char c = tag.p[i];
		if (quote == '\0' && (c == '"' || c == '\'')) {
			quote = c;
			count++;
		} else if (c == quote) {
			quote = '\0';
		}
	}
	return count > r->limits.attributes;
}

static void
give(struct xml_reader *r, size_t end)
{
	while (r->given < end && r->state == READING) {
		const char *p = r->kept.p + r->given;
		size_t n = piece(p, end - r->given);
		if (too_many_attributes(r, (struct slice){ p, n })) {
			refuse(r, ERR_LIMIT, "too many attributes");
			return;
		}
		r->given += n;
		xmlParseChunk(r->xml, p, (int)n, 0);
		if (r->xml->wellFormed == 0 || r->xml->nsWellFormed == 0)
			refuse(r, ERR_XML, "not well formed");
	}
}

/* ---- the beginning of the input */

/* Every encoding that libxml2 would guess from the first four bytes, but UTF-8; UTF-7 too. */
static bool
other_encoding(struct slice s)
{
	unsigned char first = (unsigned char)s.p[0];

	return memchr(s.p, '\0', s.n < 4 ? s.n : 4) != NULL ||
	    (first >= 0x80 && !slice_starts(s, S(XML_BOM))) ||
	    slice_starts(s, S("+/v")) || slice_starts(s, S("\x4C\x6F\xA7\x94"));
}

/* true: libxml2 may begin. false: refused, or more bytes are needed to judge. */
static bool
begin(struct xml_reader *r, bool last)
{
	struct slice s = buf_slice(&r->kept);

	if (r->begun)
		return true;
	bool could_be_declaration = slice_starts(s, S("<?")) || slice_starts(s, S(XML_BOM));
	if (!last && (s.n < 4 || (s.n < strlen(XML_BOM "<?xml ") && could_be_declaration)))
		return false;
	if (s.n > 0 && other_encoding(s)) {
		refuse(r, ERR_ENCODING, "not UTF-8");
		return false;
	}
	if (slice_starts(s, S(XML_BOM)))
		s = slice_from(s, strlen(XML_BOM));
	if (xml_is_declaration(s) && slice_find((struct slice){ s.p, s.n < DECLARATION_MAX ? s.n : DECLARATION_MAX }, S("?>")) < 0) {
		if (s.n >= DECLARATION_MAX)	/* it is looked for anew whenever more comes */
			refuse(r, ERR_LIMIT, "XML declaration too long");
		else if (last)
			refuse(r, ERR_XML, "not complete");
		return false;
	}
	if (xml_check_declaration(s, r->e) < 0) {
		r->state = REFUSED;
		r->kind = r->e->kind;
		return false;
	}
	r->begun = true;
	return true;
}

/* ---- the interface */

static void
free_reader(void *reader)
{
	struct xml_reader *r = reader;

	xmlFreeParserCtxt(r->xml);
	buf_free(&r->kept);
}

static xmlParserCtxt *
new_parser(struct xml_reader *r)
{
	xmlSAXHandler sax = {
		.initialized = XML_SAX2_MAGIC,
		.startElementNs = on_start,
		.endElementNs = on_end,
		.characters = on_text,
		.ignorableWhitespace = on_text,
		.cdataBlock = on_text,
		.internalSubset = on_doctype,
		.processingInstruction = on_instruction,
		.serror = on_error,
	};
	xmlParserCtxt *xml = xmlCreatePushParserCtxt(&sax, r, NULL, 0, NULL);

	if (xml != NULL)
		xmlCtxtUseOptions(xml, XML_PARSE_NONET | XML_PARSE_IGNORE_ENC);
	return xml;
}

struct xml_reader *
xml_reader_new(struct arena *a, const struct xml_limits *limits, const struct xml_handler *handler,
    void *ctx)
{
	struct xml_reader *r = arena_alloc(a, sizeof *r);

	if (r == NULL)
		return NULL;
	r->a = a;
	r->handler = *handler;
	r->ctx = ctx;
	r->limits = *limits;
	buf_init(&r->kept, limits->bytes);
	r->attrs = arena_alloc(a, limits->attributes * sizeof *r->attrs);
	r->xml = r->attrs == NULL ? NULL : new_parser(r);
	if (r->xml == NULL || arena_defer(a, free_reader, r) < 0)
		return NULL;
	return r;
}

static int
answer(struct xml_reader *r, struct err *e)
{
	if (r->state == REFUSED)
		return err_set(e, r->kind, "refused before");
	return r->state == STOPPED ? 1 : 0;
}

/* Keeps the next bytes and gives libxml2 what it may have of all that is kept. */
static void
take(struct xml_reader *r, struct slice bytes)
{
	buf_put(&r->kept, bytes);
	if (r->kept.failed) {
		refuse(r, ERR_MEMORY, "input");
		return;
	}
	find_cut(r);
	if (begin(r, false))
		give(r, r->cut);
}

int
xml_reader_feed(struct xml_reader *r, struct slice bytes, struct err *e)
{
	r->e = e;
	while (r->state == READING && bytes.n > 0) {
		size_t room = r->limits.bytes - r->kept.n, n = bytes.n < 2 * PIECE ? bytes.n : 2 * PIECE;
		if (room == 0)
			refuse(r, ERR_LIMIT, "too many bytes");
		else
			take(r, (struct slice){ bytes.p, n < room ? n : room });
		bytes = slice_from(bytes, n < room ? n : room);
	}
	return answer(r, e);
}

int
xml_reader_end(struct xml_reader *r, struct err *e)
{
	r->e = e;
	if (r->state == READING && begin(r, true)) {
		give(r, r->kept.n);
		if (r->state == READING)
			xmlParseChunk(r->xml, NULL, 0, 1);
		if (r->state == READING && (r->xml->wellFormed == 0 || r->depth != 0 || r->elements == 0))
			refuse(r, ERR_XML, "not complete");
	}
	return answer(r, e) < 0 ? -1 : 0;
}
