#include "sign_private.h"

#include "answer.h"
#include "clock.h"

/* base64 in base64 in a form: a certificate chain takes some thousand bytes of it */
#define FORM_MOST (64u << 10)

/* "LINK.ANSWER" */
static int
read_token(struct visit *v, struct slice *link)
{
	struct slice token = web_form_value(&v->form, "token");

	if (token.p == NULL || !slice_next(&token, '.', link) || token.p == NULL)
		return err_set(&v->call.err, ERR_FORM, "no token");
	v->answer = token;
	return 0;
}

int
answer_check_origin(struct visit *v)
{
	struct edge_call *c = &v->call;
	struct slice host = req_param(c->req, "HTTP_HOST");
	const struct slice own[] = { c->conf->browser_base, arena_printf(c->arena, "%s://%.*s",
	    slice_is(req_param(c->req, "HTTPS"), "on") ? "https" : "http", SLICE_FMT(host)) };

	if (web_is_from_here(req_param(c->req, "HTTP_SEC_FETCH_SITE"), req_param(c->req, "HTTP_ORIGIN"), own, 2))
		return 0;
	return err_set(&c->err, ERR_CROSS_SITE, "sent by %.*s", SLICE_FMT(req_param(c->req, "HTTP_ORIGIN")));
}

/* What was posted belongs to a page that was shown to this very browser, which awaits this very answer. */
static int
read_post(struct visit *v)
{
	struct edge_call *c = &v->call;
	struct cards_order *order;
	struct slice link, lang;

	if (web_form_read(c->req, FORM_MOST, &v->form, &c->err) < 0)
		return -1;
	lang = web_form_value(&v->form, "lang");
	if (slice_is(lang, "da") || slice_is(lang, "en"))
		v->danish = slice_is(lang, "da");
	if (read_token(v, &link) < 0 || visit_find(v, link) < 0)
		return -1;
	if (v->page == NULL)
		return err_set(&c->err, ERR_BROWSER_OTHER, "an answer to a page that nobody has opened");
	if (answer_check_origin(v) < 0)
		return -1;
	if (!visit_is_same_browser(v))
		return err_set(&c->err, ERR_BROWSER_OTHER, "the cookie is not that of the page");
	if (!secret_eq(v->answer, v->page->answer))
		return visit_order(v, &order) < 0 ? -1 : err_set(&c->err, ERR_ANSWER_USED, "the page awaits another answer");
	return visit_check_taken(v);
}

static int
check_time(struct visit *v)
{
	return clock_now() <= v->page->until ? 0 :
	    err_set(&v->call.err, ERR_ANSWER_LATE, "awaited until %lld", (long long)v->page->until);
}

int
answer_take(struct visit *v, enum cards_taken how)
{
	struct edge_call *c = &v->call;
	struct err failed = { .kind = ERR_NONE };

	if (cards_answer_take(v->sign->signing->cards, v->page, how, v->link->expires, &failed) == 0)
		return 0;
	return err_set(&c->err, failed.kind == ERR_CONFLICT ? ERR_ANSWER_USED : failed.kind, "%s", failed.detail);
}

static int
complete(struct visit *v, const struct cards_order *order)
{
	struct edge_call *c = &v->call;
	struct cards_user u = visit_user(v);
	struct slice posted = web_form_value(&v->form, "signature");
	struct signing_answer answer;

	if (posted.n == 0)
		return err_set(&c->err, ERR_NO_SIGNING_INFO, "the field signature is empty");
	if (signing_answer_read(c->arena, posted, order->signed_info, &answer, &c->err) < 0)
		return -1;
	return signing_complete(v->sign->signing, c->conf, c->arena, v->organisation, &u, answer.value, answer.certificate,
	    &c->event.card_id, &c->err);
}

/* The user may mend it, or the STS come back: the page again, awaiting another answer, as long as the order stands. */
int
answer_let_try_again(struct visit *v)
{
	struct edge_call *c = &v->call;
	struct err why = c->err, failed = { .kind = ERR_NONE };
	struct cards_order *order;

	err_clear(&c->err);
	if (visit_order(v, &order) < 0)
		return -1;
	if (visit_new_answer(v) == 0 &&
	    cards_page_renew(v->sign->signing->cards, c->arena, v->token, v->page, v->link->expires, &failed) == 0) {
		c->err = why;
		edge_log(c);
		return show_sign_page(v, order, (struct slice){ NULL, 0 }, &why, &failed);
	}
	c->err = why;
	return -1;
}

int
answer_say_signed(struct visit *v)
{
	struct edge_call *c = &v->call;
	struct cards_user u = visit_user(v);
	struct card *card;

	if (cards_get(v->sign->signing->cards, c->arena, &u, c->conf->expiry_margin, 0, &card, &c->err) < 0)
		return -1;
	v->signed_until = card->not_after - c->conf->expiry_margin;
	return show_signed(v, &c->err);
}

int
sign_answer(struct visit *v)
{
	struct cards_order *order;

	if (read_post(v) < 0 || visit_order(v, &order) < 0 || check_time(v) < 0 || edge_audit_open(&v->call) < 0 ||
	    answer_take(v, CARDS_ANSWERED) < 0)
		return -1;
	return complete(v, order) == 0 ? answer_say_signed(v) : answer_let_try_again(v);
}

int
sign_extend(struct visit *v)
{
	struct edge_call *c = &v->call;
	struct cards_order *order;
	int64_t now = clock_now();

	v->by_script = true;
	if (read_post(v) < 0 || visit_order(v, &order) < 0 || check_time(v) < 0)
		return -1;
	int64_t until = now + c->conf->url_answer;
	if (until > v->page->most)
		until = v->page->most;
	if (until <= v->page->until)
		return err_set(&c->err, ERR_EXTEND_LIMIT, "until %lld at most", (long long)v->page->most);
	v->page->until = until;
	if (cards_page_put_off(v->sign->signing->cards, c->arena, v->page, &c->err) < 0)
		return -1;
	c->event.http_status = 200;
	return web_answer_text(c->req, 200, arena_printf(c->arena, "%lld", (long long)(until - now)), &c->err);
}

/* The order goes too, so that the program that waits for a card is told that none will come. */
int
sign_cancel(struct visit *v)
{
	struct edge_call *c = &v->call;
	struct cards_user u;

	if (read_post(v) < 0 || edge_audit_open(c) < 0 || answer_take(v, CARDS_CANCELLED) < 0)
		return -1;
	u = visit_user(v);
	if (cards_withdraw(v->sign->signing->cards, c->arena, &u, v->link->order, &c->err) < 0)
		return -1;
	return show_cancelled(v, &c->err);
}
