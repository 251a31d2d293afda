/* Logging in at an identity provider instead of signing (lib/signing/idp.c). The page has a link to the provider, with a
 * request whose id comes of the answer that the page awaits. The provider has the browser post its answer to
 * /sosigw/sign/acs; that post comes from another site, so the page's cookie is not with it, and nothing is done but to show a
 * page of ours with a button. The button posts it once more, from here, to /sosigw/sign/login: now the cookie says whose it is.
 * What the provider's administrator needs to know of us is at /sosigw/sign/metadata, for everybody to read: it holds no secret. */
#include "sign_private.h"

#include "clock.h"
#include "log.h"
#include "page.h"

#include <string.h>

#define FORM_MOST (320u << 10)	/* with a bootstrap token, base64 in base64 */

static int
read_fields(struct visit *v, struct slice *posted)
{
	struct edge_call *c = &v->call;

	if (web_form_read(c->req, FORM_MOST, &v->form, &c->err) < 0)
		return -1;
	*posted = web_form_value(&v->form, "SAMLResponse");
	if (posted->n == 0)
		return err_set(&c->err, ERR_FORM, "no SAMLResponse");
	if (visit_find(v, web_form_value(&v->form, "RelayState")) < 0)
		return -1;
	return v->page != NULL ? 0 : err_set(&c->err, ERR_BROWSER_OTHER, "an answer to a page that nobody has opened");
}

int
sign_acs(struct visit *v)
{
	struct slice posted;

	return read_fields(v, &posted) < 0 ? -1 : show_continue(v, posted, &v->call.err);
}

int
sign_login(struct visit *v)
{
	struct edge_call *c = &v->call;
	struct cards_order *order;
	struct slice posted;

	if (read_fields(v, &posted) < 0 || answer_check_origin(v) < 0)
		return -1;
	if (!visit_is_same_browser(v))
		return err_set(&c->err, ERR_BROWSER_OTHER, "the cookie is not that of the page");
	if (visit_check_taken(v) < 0 || visit_order(v, &order) < 0)
		return -1;
	/* the clock on the page is for signing; logging in elsewhere takes as long as it may at most */
	if (clock_now() > v->page->most)
		return err_set(&c->err, ERR_ANSWER_LATE, "awaited until %lld", (long long)v->page->most);
	if (edge_audit_open(c) < 0 || answer_take(v, CARDS_ANSWERED) < 0)
		return -1;
	const struct cards_user u = visit_user(v);
	if (signing_idp_complete(v->sign->signing, c->conf, c->arena, v->organisation, &u, posted, v->page->answer,
	    &c->event.card_id, &c->err) < 0)
		return answer_let_try_again(v);
	return answer_say_signed(v);
}

/* The entry of that issuer; without one, the organisation's only entry. */
static const struct conf_idp *
find_idp(const struct conf_organisation *o, struct slice issuer)
{
	if (issuer.p == NULL)
		return o->nidps == 1 ? &o->idps[0] : NULL;
	for (size_t i = 0; i < o->nidps; i++)
		if (slice_eq(o->idps[i].issuer, issuer))
			return &o->idps[i];
	return NULL;
}

int
sign_metadata(struct visit *v)
{
	struct edge_call *c = &v->call;
	struct slice xml = { NULL, 0 };

	v->by_script = true;
	if (web_form_parse(c->arena, req_param(c->req, "QUERY_STRING"), &v->form, &c->err) < 0)
		return -1;
	v->organisation = visit_organisation(v, web_form_value(&v->form, "organisation"));
	const struct conf_idp *idp = v->organisation == NULL ? NULL : find_idp(v->organisation, web_form_value(&v->form, "issuer"));
	if (idp == NULL)
		return err_set(&c->err, ERR_PAGE_UNKNOWN, "metadata for no identity provider that is configured");
	if (signing_idp_metadata(v->sign->signing, c->conf, c->arena, idp, &xml, &c->err) < 0)
		return -1;
	c->event.organisation = v->organisation->id;
	c->event.http_status = 200;
	return web_answer_file(c->req, "application/samlmetadata+xml", xml, &c->err);
}

int
idp_fill(struct visit *v, struct sign_page *p)
{
	const struct conf_organisation *o = v->organisation;
	struct arena *a = v->call.arena;
	struct sign_idp *out = o->nidps == 0 ? NULL : arena_alloc(a, o->nidps * sizeof *out);

	p->idps = out;
	p->nidps = 0;
	for (size_t i = 0; out != NULL && i < o->nidps; i++) {
		struct err failed = { .kind = ERR_NONE };
		struct slice address;
		if (signing_idp_address(v->sign->signing, v->call.conf, a, &o->idps[i], v->page->answer, v->token, &address, &failed) < 0 ||
		    html_url_checked(address, &out[p->nidps].address, &failed) < 0) {
			/* the key file is still there to sign with */
			log_err(LOG_WARN, "identity-provider", req_id(v->call.req), &failed);
			continue;
		}
		out[p->nidps++].name = o->idps[i].name;
	}
	p->elsewhere = p->nidps > 0;
	return 0;
}
