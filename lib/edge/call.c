#include "edge.h"

#include "buf.h"
#include "clock.h"
#include "log.h"

#include <stdio.h>
#include <string.h>

#define FAULT_MAX (64u << 10)

static struct access_evidence
evidence(struct req *r)
{
	struct slice verified = req_param(r, "SSL_CLIENT_VERIFY");
	struct access_evidence seen = {
		.peer = req_param(r, "REMOTE_ADDR"),
		.forwarded = req_param(r, "HTTP_X_FORWARDED_FOR"),
		.authorization = req_param(r, "HTTP_AUTHORIZATION"),
		.secret = req_param(r, "HTTP_SOSIGW_SECRET"),
	};

	/* GENEROUS: shown and its key proven, but its issuer not judged by Apache; the fingerprint does that */
	if (slice_is(verified, "SUCCESS") || slice_is(verified, "GENEROUS"))
		seen.certificate = access_fingerprint(req_arena(r), req_param(r, "SSL_CLIENT_CERT"));
	return seen;
}

static int
begin(struct edge *w, struct req *r, enum audit_kind kind, struct edge_call *c)
{
	*c = (struct edge_call){
		.edge = w, .req = r, .arena = req_arena(r), .started = clock_mono_ms(),
		.event = { .kind = kind, .time_ms = clock_now_ms(), .request_id = req_id(r),
		    .address = req_param(r, "REMOTE_ADDR") },
	};
	c->conf = conf_hold(w->live);
	return c->conf == NULL ? err_set(&c->err, ERR_CONFIG, "there is no configuration yet") : 0;
}

void
edge_count_stranger(struct edge_call *c)
{
	c->only_counted = !access_failure(c->edge->failures, c->event.address, (int)c->event.kind, c->started);
}

int
edge_begin(struct edge *w, struct req *r, enum audit_kind kind, struct edge_call *c)
{
	if (begin(w, r, kind, c) < 0)
		return -1;
	struct access_evidence seen = evidence(r);
	int rc = access_identify(c->conf, &seen, c->arena, &c->caller, &c->err);
	if (c->caller.address.p != NULL)
		c->event.address = c->caller.address;
	if (rc < 0) {
		edge_count_stranger(c);
		return -1;
	}
	c->event.client = c->caller.client->id;
	c->event.organisation = c->caller.organisation->id;
	return 0;
}

int
edge_begin_page(struct edge *w, struct req *r, struct edge_call *c)
{
	struct slice address;

	if (begin(w, r, AUDIT_BROWSER, c) < 0)
		return -1;
	struct access_evidence seen = evidence(r);
	if (access_address(c->conf, &seen, c->arena, &address, &c->err) < 0) {
		edge_count_stranger(c);
		return -1;
	}
	c->event.address = address;
	return 0;
}

int
edge_need_soap_post(struct edge_call *c, enum soap_form *form, struct slice *boundary, struct slice *start)
{
	struct slice method = req_param(c->req, "REQUEST_METHOD");

	if (!slice_is(method, "POST"))
		return err_set(&c->err, ERR_METHOD, "method %.*s", SLICE_FMT(method));
	return soap_content_type(c->arena, req_param(c->req, "CONTENT_TYPE"), form, boundary, start, &c->err);
}

void
edge_note_head(struct edge_call *c, const struct soap_head *h)
{
	bool session = c->caller.organisation != NULL && c->caller.organisation->session_ids;

	c->event.user = session && h->name_id.p != NULL ? cards_session_mark(c->arena, h->name_id) : h->name_id;
	c->event.system = h->system;
}

void
edge_note_card(struct edge_call *c, const struct card *card)
{
	c->event.card_id = card->id;
	c->event.card_client = card->client;
	if (card->user.p != NULL)
		c->event.user = card->user;
}

struct cards_user
edge_user(const struct edge_call *c, const struct soap_head *h)
{
	return (struct cards_user){ .organisation = c->caller.organisation->id, .user = h->name_id,
		.session = c->caller.organisation->session_ids };
}

int
edge_audit_open(struct edge_call *c)
{
	c->event.status = AUDIT_OPEN;
	if (audit_write(c->edge->audit, &c->event, &c->err) < 0)
		return -1;
	c->opened = true;
	return 0;
}

static int
answer(struct edge_call *c, int status, struct slice xml, struct err *e)
{
	const struct req_header headers[] = {
		{ "Content-Type", S(SOAP_CONTENT_TYPE) },
		{ "Content-Length", arena_printf(c->arena, "%zu", xml.n) },
		{ "Cache-Control", S("no-store") },
		{ "Allow", S("POST") },
	};

	c->event.http_status = status;
	if (xml.p == NULL || headers[1].value.p == NULL)
		return err_set(e, ERR_MEMORY, "answer");
	if (req_answer(c->req, status, headers, status == 405 ? 4 : 3, e) < 0)
		return -1;
	return req_write(c->req, xml, e);
}

int
edge_answer(struct edge_call *c, struct slice xml)
{
	return answer(c, 200, xml, &c->err);
}

void
edge_log(const struct edge_call *c)
{
	if (!c->only_counted)
		log_err(c->err.kind == ERR_INTERNAL || c->err.kind == ERR_MEMORY ? LOG_ERROR : LOG_INFO, "fault",
		    req_id(c->req), &c->err);
}

static bool
is_about_the_message(enum err_kind kind)
{
	return kind != ERR_METHOD && kind != ERR_CONTENT_TYPE && kind != ERR_BODY_TOO_BIG &&
	    strcmp(err_code(kind), err_code(ERR_XML)) == 0;
}

/* Of a repeated request that makes no sense the client may have sent a good one: its beginning went with the first worker. */
static void
judge_repeated(struct edge_call *c)
{
	const struct err was = c->err;

	if (!req_is_repeated(c->req) || !is_about_the_message(was.kind))
		return;
	err_clear(&c->err);
	err_set(&c->err, ERR_MESSAGE_LOST, "repeated by the balancer; %s: %.200s", err_name(was.kind), was.detail);
}

void
edge_fault(struct edge_call *c, struct slice header)
{
	struct err failed = { .kind = ERR_NONE };
	struct buf b;

	judge_repeated(c);
	edge_log(c);
	buf_init(&b, FAULT_MAX);
	soap_write_fault(&b, &c->err, req_id(c->req), c->conf == NULL || c->conf->danish, header);
	/* DGWS: faults are HTTP 500; only a wrong method has a status of its own */
	if (answer(c, c->err.kind == ERR_METHOD ? 405 : 500, buf_slice(&b), &failed) < 0)
		log_err(LOG_INFO, "answer", req_id(c->req), &failed);
	buf_free(&b);
}

/* What we refuse is the sender's; what fails is ours or a neighbour's. */
static enum audit_status
status_of(enum err_kind kind)
{
	if (kind == ERR_NONE)
		return AUDIT_OK;
	struct slice code = slice_of(err_code(kind));
	return slice_is(code, "sosigw_internal_error") || slice_is(code, "sosigw_proxy_error") ?
	    AUDIT_FAILED : AUDIT_REFUSED;
}

void
edge_audit_sums(struct edge *w, int64_t now)
{
	struct access_sum sum;
	char words[60];

	while (access_failures_sum(w->failures, now, &sum)) {
		struct err failed = { .kind = ERR_NONE };
		snprintf(words, sizeof words, "%llu more refusals", (unsigned long long)sum.count);
		const struct audit_event ev = {
			.kind = (enum audit_kind)sum.what, .status = AUDIT_REFUSED, .time_ms = sum.since_ms,
			.address = slice_of(sum.address), .operation = slice_of(words),
			.reason = slice_of(err_name(sum.what == AUDIT_BROWSER ? ERR_LINK_UNKNOWN : ERR_CLIENT_UNKNOWN)),
		};
		if (audit_write(w->audit, &ev, &failed) < 0)
			log_err(LOG_ERROR, "audit", (struct slice){ NULL, 0 }, &failed);
	}
}

void
edge_end(struct edge_call *c)
{
	struct err failed = { .kind = ERR_NONE };
	struct audit_event *ev = &c->event;

	ev->status = status_of(c->err.kind);
	if (c->err.kind != ERR_NONE)
		ev->reason = slice_of(err_name(c->err.kind));
	ev->duration_ms = clock_mono_ms() - c->started;
	ev->bytes_in = req_bytes_in(c->req);
	ev->bytes_out = req_bytes_out(c->req);
	if (!c->only_counted && audit_write(c->edge->audit, ev, &failed) < 0)
		log_err(LOG_ERROR, "audit", req_id(c->req), &failed);
	edge_audit_sums(c->edge, clock_mono_ms());
	if (c->conf != NULL)
		conf_release(c->edge->live, c->conf);
}

void
edge_refuse_busy(struct edge *w, enum audit_kind kind, struct req *r)
{
	struct edge_call c;

	if (edge_begin(w, r, kind, &c) == 0)
		err_set(&c.err, ERR_BUSY, "no thread became free in time");
	edge_fault(&c, (struct slice){ NULL, 0 });
	edge_end(&c);
}
