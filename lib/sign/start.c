#include "sign_private.h"

#include "clock.h"
#include "conv.h"
#include "rand.h"

#define COOKIE_BYTES 32

/* What tells this browser from others. A browser that has such a cookie keeps it, so that two pages in two of its tabs
 * do not take it from each other. *set_cookie: absent when it has one. */
static int
know_browser(struct visit *v, struct slice *set_cookie)
{
	struct edge_call *c = &v->call;
	struct slice cookie = web_cookie(req_param(c->req, "HTTP_COOKIE"), SIGN_COOKIE);
	uint8_t hash[32];

	*set_cookie = (struct slice){ NULL, 0 };
	if (!rand_is_token(cookie, COOKIE_BYTES)) {
		cookie = rand_token(c->arena, COOKIE_BYTES);
		*set_cookie = web_set_cookie(c->arena, SIGN_COOKIE, cookie);
		if (cookie.p == NULL || set_cookie->p == NULL)
			return err_set(&c->err, ERR_MEMORY, "cookie");
	}
	conv_sha256(cookie, hash);
	v->page->browser = arena_dup(c->arena, (struct slice){ (const char *)hash, sizeof hash });
	return v->page->browser.p == NULL ? err_set(&c->err, ERR_MEMORY, "cookie") : 0;
}

/* The one that comes first has the link. */
static int
claim(struct visit *v)
{
	struct edge_call *c = &v->call;
	struct err failed = { .kind = ERR_NONE };

	if (cards_page_open(v->sign->signing->cards, c->arena, v->token, v->page, v->link->expires, &failed) == 0)
		return 0;
	return err_set(&c->err, failed.kind == ERR_CONFLICT ? ERR_LINK_USED : failed.kind, "%s", failed.detail);
}

static int
open_link(struct visit *v)
{
	struct edge_call *c = &v->call;
	struct cards_order *order;
	struct slice set_cookie;

	if (visit_order(v, &order) < 0)
		return -1;
	if (clock_now() > v->link->opens_until)
		return err_set(&c->err, ERR_LINK_LATE, "open until %lld", (long long)v->link->opens_until);
	v->page = arena_alloc(c->arena, sizeof *v->page);
	if (v->page == NULL)
		return err_set(&c->err, ERR_MEMORY, "page");
	if (know_browser(v, &set_cookie) < 0 || visit_new_answer(v) < 0 || edge_audit_open(c) < 0 || claim(v) < 0)
		return -1;
	return show_sign_page(v, order, set_cookie, NULL, &c->err);
}

/* A reload, or the page in the other language: the same page with the time that is left. */
static int
show_again(struct visit *v)
{
	struct edge_call *c = &v->call;
	struct cards_order *order;

	if (!visit_is_same_browser(v))
		return err_set(&c->err, ERR_LINK_USED, "opened by another browser");
	if (visit_check_taken(v) < 0 || visit_order(v, &order) < 0)
		return -1;
	if (clock_now() > v->page->until)
		return err_set(&c->err, ERR_ANSWER_LATE, "awaited until %lld", (long long)v->page->until);
	if (edge_audit_open(c) < 0)
		return -1;
	return show_sign_page(v, order, (struct slice){ NULL, 0 }, NULL, &c->err);
}

int
sign_start(struct visit *v)
{
	struct edge_call *c = &v->call;

	if (web_is_prefetch(c->req))
		return err_set(&c->err, ERR_PREFETCH, "nobody has asked for the page yet");
	if (web_form_parse(c->arena, req_param(c->req, "QUERY_STRING"), &v->form, &c->err) < 0 ||
	    visit_find(v, web_form_value(&v->form, "id")) < 0)
		return -1;
	return v->page == NULL ? open_link(v) : show_again(v);
}

/* A page whose answer was refused has the link's address (main.js), but WebKit reloads it as it came: by a POST, of what has
 * been taken already. */
int
sign_again(struct visit *v)
{
	struct edge_call *c = &v->call;

	return web_see_other(c->req, arena_printf(c->arena, "start?%.*s", SLICE_FMT(req_param(c->req, "QUERY_STRING"))), &c->err);
}
