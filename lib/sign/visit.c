#include "sign_private.h"

#include "clock.h"
#include "conv.h"
#include "rand.h"

#define TOKEN_MOST 100	/* characters */
#define TOKEN_BYTES 32

const struct conf_organisation *
visit_organisation(const struct visit *v, struct slice id)
{
	const struct conf *c = v->call.conf;

	for (size_t i = 0; i < c->norganisations; i++)
		if (slice_eq(c->organisations[i].id, id))
			return &c->organisations[i];
	return NULL;
}

int
visit_find(struct visit *v, struct slice token)
{
	struct edge_call *c = &v->call;
	struct cards_link *link;

	if (token.n == 0 || token.n > TOKEN_MOST)
		return err_set(&c->err, ERR_LINK_UNKNOWN, "a token of %zu bytes", token.n);
	if (cards_link_find(v->sign->signing->cards, c->arena, token, &link, &c->err) < 0)
		return -1;
	v->token = token;
	v->link = link;
	c->event.organisation = link->organisation;
	c->event.client = link->client;
	c->event.user = link->name;
	c->event.system = link->system;
	v->organisation = visit_organisation(v, link->organisation);
	if (v->organisation == NULL)
		return err_set(&c->err, ERR_ORDER_GONE, "organisation %.*s is no more", SLICE_FMT(link->organisation));
	return cards_page_find(v->sign->signing->cards, c->arena, token, &v->page, &c->err);
}

bool
visit_is_same_browser(const struct visit *v)
{
	struct slice cookie = web_cookie(req_param(v->call.req, "HTTP_COOKIE"), SIGN_COOKIE);
	uint8_t hash[32];

	if (cookie.p == NULL)
		return false;
	conv_sha256(cookie, hash);
	return secret_eq((struct slice){ (const char *)hash, sizeof hash }, v->page->browser);
}

struct cards_user
visit_user(const struct visit *v)
{
	return (struct cards_user){ .organisation = v->link->organisation, .user = v->link->user,
		.session = v->organisation->session_ids };
}

/* The order is gone: because it was signed, here or in a program? */
static int
say_why_gone(struct visit *v)
{
	struct edge_call *c = &v->call;
	struct cards_user u = visit_user(v);
	struct err none = { .kind = ERR_NONE };
	struct card *card;

	if (cards_get(v->sign->signing->cards, c->arena, &u, c->conf->expiry_margin, 0, &card, &none) < 0 ||
	    card->kept < v->link->ordered)
		return err_set(&c->err, ERR_ORDER_GONE, "the order of %lld does not stand", (long long)v->link->ordered);
	v->signed_until = card->not_after - c->conf->expiry_margin;
	c->event.card_id = card->id;
	return err_set(&c->err, ERR_SIGNED_ALREADY, "card %.*s", SLICE_FMT(card->id));
}

int
visit_order(struct visit *v, struct cards_order **order)
{
	struct edge_call *c = &v->call;
	struct cards_user u = visit_user(v);
	struct err none = { .kind = ERR_NONE };

	if (cards_pending(v->sign->signing->cards, c->arena, &u, order, &none) == 0 &&
	    slice_eq((*order)->token, v->link->order))
		return 0;
	if (none.kind != ERR_NONE && none.kind != ERR_NO_CARD)
		return err_set(&c->err, none.kind, "%s", none.detail);
	return say_why_gone(v);
}

int
visit_check_taken(struct visit *v)
{
	struct edge_call *c = &v->call;
	struct cards_order *order;
	enum cards_taken how;

	if (cards_answer_taken(v->sign->signing->cards, c->arena, v->page, &how, &c->err) < 0)
		return -1;
	if (how == CARDS_NOT_TAKEN)
		return 0;
	if (how == CARDS_CANCELLED)
		return err_set(&c->err, ERR_LINK_CANCELLED, "cancelled before");
	return visit_order(v, &order) < 0 ? -1 : err_set(&c->err, ERR_ANSWER_USED, "taken before");
}

int
visit_new_answer(struct visit *v)
{
	const struct conf *conf = v->call.conf;
	int64_t now = clock_now(), most = now + conf->url_answer_most;
	struct cards_page *p = v->page;

	p->answer = rand_token(v->call.arena, TOKEN_BYTES);
	p->most = most < v->link->expires ? most : v->link->expires;
	p->until = now + conf->url_answer < p->most ? now + conf->url_answer : p->most;
	return p->answer.p == NULL ? err_set(&v->call.err, ERR_MEMORY, "answer token") : 0;
}
