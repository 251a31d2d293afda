#include "proxy_private.h"

static int
read_card(void *ctx, struct idcard **asked, struct err *e)
{
	struct flow *f = ctx;
	struct arena *a = f->call.arena;
	xmlNode *node;

	return soap_head_card(a, f->head, slice_from(buf_slice(&f->in), f->root), &node, e) < 0 ? -1 :
	    idcard_read_request(a, node, asked, e);
}

/* What the caller can do about a missing card: the order that awaits its user's signature, as the content
 * of the refusal's SOAP header. The refusal stays what it was. When the request's card does not hold enough to
 * order with, its own refusal (CARD_DATA) says what is missing; an order that awaits all the same is told as that. */
static int
offer_login(struct flow *f, struct cards_user *u)
{
	struct edge_call *c = &f->call;
	struct err failed = { .kind = ERR_NONE };
	struct cards_order *order;
	struct idcard *asked;
	struct slice url;
	struct buf *b = arena_alloc(c->arena, sizeof *b);

	if (b == NULL || read_card(f, &asked, &failed) < 0 ||
	    signing_order(&f->proxy->signing, c->conf, c->arena, c->caller.client, u, asked, &order, &failed) < 0 ||
	    signing_url(&f->proxy->signing, c->conf, c->arena, u, order, &url, &failed) < 0) {
		if (failed.kind == ERR_CARD_DATA && cards_pending(f->proxy->signing.cards, c->arena, u, &order,
		    &(struct err){ .kind = ERR_NONE }) == 0)
			failed = (struct err){ .kind = ERR_AWAITING };
		if (failed.kind != ERR_NONE)
			c->err = failed;
		return -1;
	}
	c->event.user = order->user;
	buf_init(b, 16384);
	buf_puts(b, "<ns2:implicitLoginHeader xmlns:ns2=\"" NS_GW07 "\">");
	soap_write_digest_response(b, order->signed_info, url, c->arena);
	buf_puts(b, "</ns2:implicitLoginHeader>");
	signing_session(b, c->caller.organisation, u);
	if (buf_defer(b, c->arena) == 0)
		f->login = buf_slice(b);
	return -1;
}

static bool
is_for_want_of_a_card(enum err_kind kind)
{
	return kind == ERR_NO_CARD || kind == ERR_CARD_EXPIRED || kind == ERR_CARD_REVOKED;
}

static int
use_kept(struct flow *f, const struct cards_user *u)
{
	struct edge_call *c = &f->call;
	struct card *card;

	if (cards_get(f->proxy->signing.cards, c->arena, u, c->conf->expiry_margin, f->service->max_card_age,
	    &card, &c->err) < 0)
		return -1;
	f->card = card->xml;
	edge_note_card(c, card);
	return 0;
}

/* A system whose key the gateway keeps: there is always a card, or a reason that no user can mend. */
static int
use_system(struct flow *f, const struct conf_system_key *key)
{
	struct edge_call *c = &f->call;
	const struct signing_system wanted = {
		.organisation = c->caller.organisation, .key = key, .system = f->head->system,
		.care_provider = f->head->care_provider, .care_provider_format = f->head->care_provider_format,
		.care_provider_name = f->head->care_provider_name, .max_age = f->service->max_card_age, .read = read_card, .ctx = f,
	};
	struct card *card;

	if (signing_system(&f->proxy->signing, c->conf, c->arena, &wanted, &card, &c->err) < 0)
		return -1;
	f->card = card->xml;
	edge_note_card(c, card);
	return 0;
}

/* A signed card of the client's own, when its user has none here: passed on only if the STS signed it. The
 * message's card is replaced by the very bytes that were verified. */
static int
use_own(struct flow *f, const struct cards_user *u)
{
	struct edge_call *c = &f->call;
	struct idcard *own;
	struct slice xml;
	xmlNode *node;

	if (soap_head_card(c->arena, f->head, slice_from(buf_slice(&f->in), f->root), &node, &c->err) < 0)
		return -1;
	if (xml_has_comment(node))
		return err_set(&c->err, ERR_CARD_NOT_TRUSTED, "a comment in the card");
	if (xml_canonical(c->arena, node, XML_C14N_EXCLUSIVE, NULL, &xml, &c->err) < 0 ||
	    sts_verify_card(c->conf, c->arena, xml, &own, &c->err) < 0 ||
	    cards_check_own(f->proxy->signing.cards, u, own->id, own->not_before, own->not_after,
	    c->conf->expiry_margin, f->service->max_card_age, &c->err) < 0)
		return -1;
	f->card = own->xml;
	c->event.card_id = own->id;
	return 0;
}

/* A card that its client could use without us. */
static bool
is_own(const struct soap_head *h)
{
	return h->card_signed || h->level == 2;
}

/* Set so by the organisation; but a session's id opens its card, and no service gets to know it. */
static bool
is_passed_on(const struct flow *f)
{
	const struct conf_organisation *o = f->call.caller.organisation;

	return is_own(f->head) && o->pass_signed && !(o->session_ids && cards_is_session(f->head->name_id));
}

int
proxy_choose_card(struct flow *f)
{
	struct edge_call *c = &f->call;
	const struct soap_head *h = f->head;
	struct cards_user u = edge_user(c, h);
	const struct conf_system_key *key = is_own(h) ? NULL :
	    signing_system_key(c->caller.organisation, h->type, h->level, h->system);

	if (is_passed_on(f)) {
		c->event.card_id = h->card_id;
		return cards_check_own(f->proxy->signing.cards, &u, h->card_id, 0, 0, 0, 0, &c->err);
	}
	if (key != NULL)
		return use_system(f, key);
	if (use_kept(f, &u) == 0)
		return 0;
	if (!is_for_want_of_a_card(c->err.kind))
		return -1;
	if (h->card_signed) {
		err_clear(&c->err);
		if (use_own(f, &u) == 0)
			return 0;
		return is_for_want_of_a_card(c->err.kind) ? offer_login(f, &u) : -1;
	}
	return is_own(h) ? -1 : offer_login(f, &u);
}
