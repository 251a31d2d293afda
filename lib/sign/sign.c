#include "sign_private.h"

#include "log.h"

#include <stdlib.h>
#include <string.h>

#define TOP "/sosigw/sign"
#define FOLDER TOP "/"
#define REPORTS "/sosigw/csp"

static const struct {
	const char *path, *method, *allow, *operation;
	int (*serve)(struct visit *v);
} routes[] = {
	{ FOLDER "start", "GET", "GET, HEAD, POST", "sign-start", sign_start },
	{ FOLDER "start", "POST", "GET, HEAD, POST", "sign-start", sign_again },
	{ FOLDER "answer", "POST", "POST", "sign-answer", sign_answer },
	{ FOLDER "extend", "POST", "POST", "sign-extend", sign_extend },
	{ FOLDER "acs", "POST", "POST", "sign-acs", sign_acs },
	{ FOLDER "login", "POST", "POST", "sign-login", sign_login },
	{ FOLDER "cancel", "POST", "POST", "sign-cancel", sign_cancel },
	{ FOLDER "metadata", "GET", "GET", "sign-metadata", sign_metadata },
};
#define NROUTES (sizeof routes / sizeof *routes)

struct sign *
sign_new(struct edge *w, const struct signing *s, struct err *e)
{
	struct sign *new = calloc(1, sizeof *new);

	if (new == NULL || (new->reports = report_new()) == NULL) {
		free(new);
		err_set(e, ERR_MEMORY, "signing page");
		return NULL;
	}
	new->edge = w;
	new->signing = s;
	return new;
}

void
sign_free(struct sign *s)
{
	if (s == NULL)
		return;
	report_free(s->reports);
	free(s);
}

bool
sign_serves(const struct req *r)
{
	struct slice path = req_param(r, "SCRIPT_NAME");

	return slice_starts(path, S(FOLDER)) || slice_is(path, TOP) || slice_is(path, REPORTS);
}

static int
serve(struct visit *v)
{
	struct edge_call *c = &v->call;
	struct slice path = req_param(c->req, "SCRIPT_NAME"), method = req_param(c->req, "REQUEST_METHOD");

	for (size_t i = 0; i < NROUTES; i++) {
		if (!slice_is(path, routes[i].path))
			continue;
		c->event.operation = slice_of(routes[i].operation);
		v->allow = routes[i].allow;
		if (slice_is(method, routes[i].method))
			return routes[i].serve(v);
	}
	return err_set(&c->err, v->allow != NULL ? ERR_PAGE_METHOD : ERR_PAGE_UNKNOWN, "%.*s %.*s", SLICE_FMT(method), SLICE_FMT(path));
}

/* Asks for nothing that a page would do: no link is opened, nothing is looked up, and so it tells nothing. */
static void
answer_head(struct req *r)
{
	const struct web_page page = { .status = 200, .html = S("") };
	struct err failed = { .kind = ERR_NONE };

	if (web_answer(r, &page, &failed) < 0)
		log_err(LOG_INFO, "answer", req_id(r), &failed);
}

static void
read_language(struct visit *v)
{
	struct req *r = v->call.req;

	v->danish = web_is_danish(req_param(r, "QUERY_STRING"), req_param(r, "HTTP_ACCEPT_LANGUAGE"),
	    v->call.conf == NULL || v->call.conf->danish);
}

static void
refuse(struct visit *v)
{
	struct edge_call *c = &v->call;
	struct err failed = { .kind = ERR_NONE };

	edge_log(c);
	if (!req_answered(c->req) && show_refusal(v, &failed) < 0)
		log_err(LOG_INFO, "answer", req_id(c->req), &failed);
}

/* Who is refused and has shown no link that we know. */
static bool
is_stranger(const struct visit *v)
{
	enum err_kind kind = v->call.err.kind;

	return v->link == NULL && (kind == ERR_BODY_TOO_BIG || kind == ERR_BODY_CUT || kind == ERR_MESSAGE_LOST ||
	    strcmp(err_code(kind), err_code(ERR_LINK_UNKNOWN)) == 0);
}

void
sign_handle(void *ctx, struct req *r)
{
	struct visit v = { .sign = ctx };

	if (slice_is(req_param(r, "SCRIPT_NAME"), REPORTS)) {
		report_take(v.sign->reports, r);
		return;
	}
	if (slice_is(req_param(r, "SCRIPT_NAME"), FOLDER "start") && slice_is(req_param(r, "REQUEST_METHOD"), "HEAD")) {
		answer_head(r);
		return;
	}
	int rc = edge_begin_page(v.sign->edge, r, &v.call);
	read_language(&v);
	if (rc == 0 && (rc = serve(&v)) < 0 && is_stranger(&v))
		edge_count_stranger(&v.call);
	if (rc < 0)
		refuse(&v);
	edge_end(&v.call);
}

void
sign_refuse_busy(void *ctx, struct req *r)
{
	struct visit v = { .sign = ctx };

	if (edge_begin_page(v.sign->edge, r, &v.call) == 0)
		err_set(&v.call.err, ERR_BUSY, "no thread became free in time");
	read_language(&v);
	refuse(&v);
	edge_end(&v.call);
}
