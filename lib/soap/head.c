/* Reads the head of an envelope as it comes in: what is needed to judge and to forward it, and where it
 * stands. Identity and routing hang on this, so what could be read in two ways is refused; what does
 * not concern us passes. After the start of Body nothing is read. */
#include "soap.h"

#include <string.h>

/* SOAP 1.1, 4.2.2: this actor is whoever gets the message next, as is no actor at all. */
#define ACTOR_NEXT "http://schemas.xmlsoap.org/soap/actor/next"

struct soap_reader {
	struct arena *a;
	struct xml_reader *xml;
	struct soap_head head;
	struct buf text;	/* what the element at *target holds so far */
	struct slice *target;	/* where its whole text goes; NULL: text is not wanted */
	unsigned target_depth;
	enum err_kind target_children;	/* the refusal of child elements in it; ERR_NONE: their text is left out */
	unsigned depth;		/* of the element we are in */
	unsigned securities;	/* wsse:Security headers so far */
	unsigned security;	/* number of the one we are in; 0: none */
	unsigned our_security;	/* number of the one meant for us; 0: not seen yet */
	unsigned assertions;	/* in the whole head */
	bool in_card, in_subject, in_statement;
	unsigned name_ids;	/* in the card */
	struct slice level;
	struct slice *attribute;	/* where the value of the saml:Attribute we are in goes, or NULL */
};

/* Names are slices: every element is compared with many, and most differ in length already. */
static bool
is(const struct xml_tag *t, struct slice ns, struct slice name)
{
	return slice_eq(t->name, name) && slice_eq(t->ns, ns);
}

static struct slice
attribute(const struct xml_tag *t, struct slice ns, struct slice name)
{
	for (size_t i = 0; i < t->nattrs; i++) {
		const struct xml_attr *a = &t->attrs[i];
		if (slice_eq(a->name, name) && (ns.p == NULL ? a->ns.p == NULL : slice_eq(a->ns, ns)))
			return a->value;
	}
	return (struct slice){ NULL, 0 };
}

#define NO_NS ((struct slice){ NULL, 0 })

/* ---- text of an element */

static void
want_text(struct soap_reader *r, struct slice *target, enum err_kind children)
{
	buf_clear(&r->text);
	r->target = target;
	r->target_depth = r->depth;
	r->target_children = children;
}

static int
on_text(void *ctx, struct slice text, struct err *e)
{
	struct soap_reader *r = ctx;

	if (r->target == NULL || r->depth != r->target_depth)
		return 0;
	buf_put(&r->text, text);
	return r->text.failed ? err_set(e, ERR_MEMORY, "text of a header") : 0;
}

static int
keep_text(struct soap_reader *r, struct err *e)
{
	*r->target = arena_dup(r->a, slice_trim(buf_slice(&r->text)));
	if (r->target->p == NULL)
		return err_set(e, ERR_MEMORY, "text of a header");
	r->target = NULL;
	return 0;
}

/* ---- the envelope */

static int
envelope(struct soap_reader *r, const struct xml_tag *t, struct err *e)
{
	if (is(t, S(NS_SOAP12), S("Envelope")))
		return err_set(e, ERR_SOAP_12, "SOAP 1.2 envelope");
	if (!is(t, S(NS_SOAP), S("Envelope")))
		return err_set(e, ERR_NO_ENVELOPE, "root is %.*s", SLICE_FMT(t->name));
	r->head.envelope_prefix = arena_dup(r->a, t->prefix);
	if (t->prefix.p != NULL && r->head.envelope_prefix.p == NULL)
		return err_set(e, ERR_MEMORY, "prefix");
	return 0;
}

/* 1: Body has been reached. */
static int
envelope_child(struct soap_reader *r, const struct xml_tag *t, struct err *e)
{
	if (is(t, S(NS_SOAP), S("Body"))) {
		r->head.end = t->start;
		return 1;
	}
	if (!is(t, S(NS_SOAP), S("Header")))
		return err_set(e, ERR_ENVELOPE_FORM, "%.*s in Envelope", SLICE_FMT(t->name));
	if (r->head.has_header)
		return err_set(e, ERR_ENVELOPE_FORM, "two Headers");
	r->head.has_header = true;
	return 0;
}

/* A receiver that searches for these by name would find the wrong one. */
static bool
is_misplaced(const struct xml_tag *t)
{
	return is(t, S(NS_SOAP), S("Body")) || is(t, S(NS_SOAP), S("Header")) || is(t, S(NS_SOAP), S("Envelope"));
}

/* An id attribute, however it is spelt (id, ID, Id, xml:id, wsu:Id), with the value that signatures
 * over cards refer to. */
static bool
claims_card_id(const struct xml_tag *t)
{
	for (size_t i = 0; i < t->nattrs; i++)
		if (slice_is_nocase(t->attrs[i].name, "id") && slice_is(slice_trim(t->attrs[i].value), "IDCard"))
			return true;
	return false;
}

/* ---- header blocks */

static int
to_block(struct soap_reader *r, struct err *e)
{
	if (r->head.to.p != NULL)
		return err_set(e, ERR_TO_AMBIGUOUS, "two To");
	want_text(r, &r->head.to, ERR_TO_AMBIGUOUS);
	return 0;
}

static int
addressing_block(struct soap_reader *r, const struct xml_tag *t, struct err *e)
{
	struct soap_head *h = &r->head;

	if (h->nwsa == SOAP_WSA_MAX)
		return err_set(e, ERR_LIMIT, "more than %d WS-Addressing headers", SOAP_WSA_MAX);
	h->wsa[h->nwsa].start = t->start;
	if (slice_is(t->name, "To"))
		return to_block(r, e);
	/* these two only describe the call: of several the first is told */
	if (slice_is(t->name, "Action") && h->action.p == NULL)
		want_text(r, &h->action, ERR_NONE);
	else if (slice_is(t->name, "MessageID") && h->message_id.p == NULL)
		want_text(r, &h->message_id, ERR_NONE);
	return 0;
}

/* Of several Security headers one is ours: the one without an actor, or with a card. The others
 * must be for somebody else and without a card. */
static int
claim_security(struct soap_reader *r, struct err *e)
{
	if (r->our_security != 0 && r->our_security != r->security)
		return err_set(e, ERR_TWO_SECURITY, "Security headers %u and %u", r->our_security, r->security);
	r->our_security = r->security;
	return 0;
}

static int
security_block(struct soap_reader *r, const struct xml_tag *t, struct err *e)
{
	struct slice actor = slice_trim(attribute(t, S(NS_SOAP), S("actor")));

	r->head.has_security = true;
	r->security = ++r->securities;
	return actor.n == 0 || slice_is(actor, ACTOR_NEXT) ? claim_security(r, e) : 0;
}

static bool
is_addressing(struct slice ns)
{
	return slice_eq(ns, S(NS_WSA05)) || slice_eq(ns, S(NS_WSA04));
}

static int
header_block(struct soap_reader *r, const struct xml_tag *t, struct err *e)
{
	if (is_addressing(t->ns))
		return addressing_block(r, t, e);
	return is(t, S(NS_WSSE), S("Security")) ? security_block(r, t, e) : 0;
}

/* ---- the card */

static int
assertion(struct soap_reader *r, const struct xml_tag *t, struct err *e)
{
	bool is_card = t->depth == 4 && r->security != 0;

	if (is_card && claim_security(r, e) < 0)
		return -1;
	if (r->assertions++ > 0)
		return err_set(e, ERR_TWO_CARDS, "two assertions");
	if (is_card) {
		r->in_card = true;
		r->head.has_card = true;
		r->head.card.start = t->start;
	}
	return 0;
}

static int
name_id(struct soap_reader *r, const struct xml_tag *t, struct err *e)
{
	struct slice format = attribute(t, NO_NS, S("Format"));

	if (r->name_ids++ > 0)
		return err_set(e, ERR_CARD_FORM, "two NameIDs");
	if (t->depth != 6 || !r->in_subject)
		return 0;
	r->head.name_id_format = arena_dup(r->a, slice_trim(format));
	if (format.p != NULL && r->head.name_id_format.p == NULL)
		return err_set(e, ERR_MEMORY, "NameID");
	want_text(r, &r->head.name_id, ERR_CARD_FORM);
	return 0;
}

/* NameFormat says what kind of number CareProviderID is, and so which provider. */
static int
care_provider_format(struct soap_reader *r, const struct xml_tag *t, struct err *e)
{
	struct slice format = attribute(t, NO_NS, S("NameFormat"));

	r->head.care_provider_format = arena_dup(r->a, slice_trim(format));
	return format.p != NULL && r->head.care_provider_format.p == NULL ? err_set(e, ERR_MEMORY, "NameFormat") : 0;
}

static int
card_attribute(struct soap_reader *r, const struct xml_tag *t, struct err *e)
{
	struct { struct slice name; struct slice *value; } wanted[] = {
		{ S("sosi:IDCardID"), &r->head.card_id }, { S("sosi:IDCardType"), &r->head.type },
		{ S("sosi:AuthenticationLevel"), &r->level }, { S("medcom:ITSystemName"), &r->head.system },
		{ S("medcom:CareProviderID"), &r->head.care_provider },
		{ S("medcom:CareProviderName"), &r->head.care_provider_name },
	};
	struct slice name = attribute(t, NO_NS, S("Name"));

	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
		if (slice_eq(name, wanted[i].name))
			r->attribute = wanted[i].value;
	/* of two without a value between them the card's is the later; two values are refused */
	return r->attribute == &r->head.care_provider && r->head.care_provider.p == NULL ? care_provider_format(r, t, e) : 0;
}

static int
card_value(struct soap_reader *r, struct err *e)
{
	if (r->attribute->p != NULL)
		return err_set(e, ERR_CARD_FORM, "two values of an attribute");
	want_text(r, r->attribute, ERR_CARD_FORM);
	return 0;
}

/* Depths: Envelope 1, Header 2, Security 3, Assertion 4. */
static int
card_part(struct soap_reader *r, const struct xml_tag *t, struct err *e)
{
	if (is(t, S(NS_SAML), S("NameID")))
		return name_id(r, t, e);
	if (t->depth == 5) {
		r->in_subject = is(t, S(NS_SAML), S("Subject"));
		r->in_statement = is(t, S(NS_SAML), S("AttributeStatement"));
		if (is(t, S(NS_DS), S("Signature")))
			r->head.card_signed = true;
	} else if (t->depth == 6 && r->in_statement && is(t, S(NS_SAML), S("Attribute"))) {
		return card_attribute(r, t, e);
	} else if (t->depth == 7 && r->attribute != NULL && is(t, S(NS_SAML), S("AttributeValue"))) {
		return card_value(r, e);
	}
	return 0;
}

/* ---- events */

static int
on_start(void *ctx, const struct xml_tag *t, struct err *e)
{
	struct soap_reader *r = ctx;
	bool is_assertion = is(t, S(NS_SAML), S("Assertion"));

	r->depth = t->depth;
	if (r->target != NULL && r->target_children != ERR_NONE)
		return err_set(e, r->target_children, "%.*s in text", SLICE_FMT(t->name));
	if (!r->in_card && !is_assertion && claims_card_id(t))
		return err_set(e, ERR_TWO_CARDS, "%.*s has the id of the card", SLICE_FMT(t->name));
	if (t->depth == 1)
		return envelope(r, t, e);
	if (t->depth == 2)
		return envelope_child(r, t, e);
	if (is_misplaced(t))
		return err_set(e, ERR_ENVELOPE_FORM, "%.*s in Header", SLICE_FMT(t->name));
	if (is_assertion)
		return assertion(r, t, e);
	if (t->depth == 3)
		return header_block(r, t, e);
	return r->in_card ? card_part(r, t, e) : 0;
}

static int
on_end(void *ctx, const struct xml_tag *t, struct err *e)
{
	struct soap_reader *r = ctx;

	if (r->target != NULL && t->depth == r->target_depth && keep_text(r, e) < 0)
		return -1;
	r->depth = t->depth - 1;
	if (t->depth == 3) {
		r->security = 0;
		if (is_addressing(t->ns))
			r->head.wsa[r->head.nwsa++].end = t->end;
	} else if (t->depth == 4 && r->in_card) {
		r->in_card = false;
		r->head.card.end = t->end;
	} else if (t->depth == 6) {
		r->attribute = NULL;
	}
	return 0;
}

/* ---- the interface */

static const struct xml_handler handler = { on_start, on_end, on_text };

struct soap_reader *
soap_reader_new(struct arena *a, const struct xml_limits *limits)
{
	struct soap_reader *r = arena_alloc(a, sizeof *r);

	if (r == NULL)
		return NULL;
	r->a = a;
	buf_init(&r->text, limits->bytes);
	if (buf_defer(&r->text, a) < 0)
		return NULL;
	r->xml = xml_reader_new(a, limits, &handler, r);
	return r->xml == NULL ? NULL : r;
}

int
soap_reader_feed(struct soap_reader *r, struct slice bytes, struct err *e)
{
	int rc = xml_reader_feed(r->xml, bytes, e);

	if (rc == 1 && r->level.n == 1 && r->level.p[0] >= '1' && r->level.p[0] <= '4')
		r->head.level = r->level.p[0] - '0';
	return rc;
}

int
soap_reader_end(struct soap_reader *r, struct err *e)
{
	if (xml_reader_end(r->xml, e) < 0)
		return -1;
	return err_set(e, ERR_ENVELOPE_FORM, "no Body");
}

const struct soap_head *
soap_reader_head(const struct soap_reader *r)
{
	return &r->head;
}

int
soap_need_user(const struct soap_head *h, struct err *e)
{
	if (!h->has_card)
		return err_set(e, ERR_NO_CARD_IN_REQUEST, "no assertion in Security");
	return h->name_id.n == 0 ? err_set(e, ERR_NO_NAME_ID, "no NameID") : 0;
}

int
soap_need_to(const struct soap_head *h, struct err *e)
{
	return h->to.n == 0 ? err_set(e, ERR_TO_MISSING, "no To") : 0;
}
