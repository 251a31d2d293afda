#include "ops_private.h"

#include <stdlib.h>

static const struct {
	const char *ns, *element, *name;
	int (*serve)(struct op *op);
	bool by_token;	/* the user is not in a card in the head, but in a token in the body */
} operations[] = {
#define OP(ns, element, name, action, serve, by_token, da, en) { ns, element, name, serve, by_token },
#include "operations.def"
#undef OP
};

struct ops *
ops_new(struct edge *w, struct err *e)
{
	struct ops *o = calloc(1, sizeof *o);

	if (o == NULL) {
		err_set(e, ERR_MEMORY, "card operations");
		return NULL;
	}
	o->edge = w;
	o->sts = sts_new(w->http);
	o->signing = (struct signing){ .cards = w->cards, .sts = o->sts, .revoked = w->revoked,
		.systems = signing_systems_new(), .http = w->http };
	if (o->sts == NULL || o->signing.systems == NULL) {
		ops_free(o);
		err_set(e, ERR_MEMORY, "card operations");
		return NULL;
	}
	return o;
}

void
ops_free(struct ops *o)
{
	signing_systems_free(o->signing.systems);
	sts_free(o->sts);
	free(o);
}

const struct signing *
ops_signing(const struct ops *o)
{
	return &o->signing;
}

static int
read_message(struct op *op)
{
	struct edge_call *c = &op->call;
	struct slice boundary, start;
	enum soap_form form;

	if (edge_need_soap_post(c, &form, &boundary, &start) < 0)
		return -1;
	if (form != SOAP_PLAIN)
		return err_set(&c->err, ERR_CONTENT_TYPE, "multipart card operation");
	if (req_read_all(c->req, (size_t)c->conf->max_message, &op->bytes, &c->err) < 0)
		return -1;
	int rc = soap_read(c->arena, op->bytes, &op->message, &c->err);
	if (op->message.head != NULL)
		edge_note_head(c, op->message.head);
	return rc;
}

/* Whose operation it is, for the audit: in an organisation with session ids NameID does not tell. */
static void
note_session(struct op *op)
{
	struct edge_call *c = &op->call;

	if (!c->caller.organisation->session_ids)
		return;
	struct slice user = signing_session_user(&op->ops->signing, c->arena, &op->user);
	if (user.p != NULL)
		c->event.user = user;
}

static int
serve(struct op *op)
{
	struct edge_call *c = &op->call;
	const xmlNode *asked;

	if (read_message(op) < 0)
		return -1;
	asked = op->message.operation;
	for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
		if (asked == NULL || !xml_is(asked, operations[i].ns, operations[i].element))
			continue;
		c->event.operation = slice_of(operations[i].name);
		if (!operations[i].by_token && soap_need_user(op->message.head, &c->err) < 0)
			return -1;
		op->user = edge_user(c, op->message.head);
		if (!operations[i].by_token)
			note_session(op);
		/* nothing is done or handed out that the journal does not know of */
		return edge_audit_open(c) < 0 ? -1 : operations[i].serve(op);
	}
	return err_set(&c->err, ERR_OPERATION, "body element %s",
	    asked == NULL ? "(none)" : (const char *)asked->name);
}

/* A one-way operation has no answer: HTTP 202, nothing in it. */
static int
answer(struct op *op)
{
	struct edge_call *c = &op->call;
	struct buf b;

	if (op->body.p == NULL) {
		c->event.http_status = 202;
		return req_answer(c->req, 202, NULL, 0, &c->err);
	}
	buf_init(&b, op->header.n + op->body.n + 1024);
	soap_write_answer(&b, op->header, op->body);
	int rc = edge_answer(c, buf_slice(&b));
	buf_free(&b);
	return rc;
}

void
ops_handle(void *ctx, struct req *r)
{
	struct op op = { .ops = ctx, .header = { NULL, 0 }, .body = { NULL, 0 } };
	struct edge_call *c = &op.call;

	if (ops_is_question(r)) {
		ops_describe(op.ops, r);
		return;
	}
	int rc = edge_begin(op.ops->edge, r, AUDIT_SERVICE, c);
	if ((rc < 0 || serve(&op) < 0 || answer(&op) < 0) && !req_answered(r))
		edge_fault(c, (struct slice){ NULL, 0 });
	edge_end(c);
}

void
ops_refuse_busy(struct ops *o, struct req *r)
{
	edge_refuse_busy(o->edge, AUDIT_SERVICE, r);
}
