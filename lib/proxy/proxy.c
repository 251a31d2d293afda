#include "proxy_private.h"

#include <stdlib.h>
#include <string.h>

#define READ_PIECE (16u << 10)
/* Part headers of a multipart before its envelope. */
#define PREAMBLE_MAX (8u << 10)

struct proxy *
proxy_new(struct edge *w, struct err *e)
{
	struct proxy *p = calloc(1, sizeof *p);

	if (p == NULL) {
		err_set(e, ERR_MEMORY, "proxy");
		return NULL;
	}
	p->edge = w;
	p->sts = sts_new(w->http);
	p->signing = (struct signing){ .cards = w->cards, .sts = p->sts, .revoked = w->revoked,
		.systems = signing_systems_new(), .http = w->http };
	if (p->sts == NULL || p->signing.systems == NULL) {
		proxy_free(p);
		err_set(e, ERR_MEMORY, "proxy");
		return NULL;
	}
	return p;
}

void
proxy_free(struct proxy *p)
{
	signing_systems_free(p->signing.systems);
	sts_free(p->sts);
	free(p);
}

/* Reads one more piece into f->in. 1: some came; 0: the body has ended. */
static int
read_piece(struct flow *f)
{
	char *room = buf_room(&f->in, READ_PIECE);

	if (room == NULL)
		return err_set(&f->call.err, ERR_LIMIT, "no end of the head within %zu bytes", f->in.cap);
	ssize_t n = req_read(f->call.req, room, READ_PIECE, &f->call.err);
	if (n < 0)
		return -1;
	f->in.n += (size_t)n;
	return n > 0;
}

/* A multipart's preamble: up to where the envelope of its root part begins. */
static int
find_root(struct flow *f, struct slice boundary, struct slice start)
{
	for (;;) {
		int found = soap_find_root(buf_slice(&f->in), boundary, start, &f->root, &f->call.err);
		if (found != 0)
			return found < 0 ? -1 : 0;
		if (f->in.n > PREAMBLE_MAX)
			return err_set(&f->call.err, ERR_LIMIT, "multipart preamble");
		int rc = read_piece(f);
		if (rc < 0)
			return -1;
		if (rc == 0)
			return err_set(&f->call.err, ERR_XML, "multipart ends before its root part");
	}
}

static int
read_head(struct flow *f)
{
	struct soap_reader *reader = soap_reader_new(f->call.arena, &xml_head_limits);
	size_t fed = f->root;

	if (reader == NULL)
		return err_set(&f->call.err, ERR_MEMORY, "SOAP reader");
	for (;;) {
		int rc = soap_reader_feed(reader, slice_from(buf_slice(&f->in), fed), &f->call.err);
		fed = f->in.n;
		if (rc < 0)
			return -1;
		f->head = soap_reader_head(reader);
		if (rc > 0)
			return 0;
		rc = read_piece(f);
		if (rc < 0)
			return -1;
		if (rc == 0)
			return soap_reader_end(reader, &f->call.err);
	}
}

static int
read_message(struct flow *f)
{
	struct slice boundary, start;
	enum soap_form form;

	if (edge_need_soap_post(&f->call, &form, &boundary, &start) < 0)
		return -1;
	buf_init(&f->in, xml_head_limits.bytes + PREAMBLE_MAX + 2 * READ_PIECE);
	if (form == SOAP_PLAIN)
		return read_head(f);
	f->parts = soap_parts_new(f->call.arena, boundary, start);
	if (f->parts == NULL)
		return err_set(&f->call.err, ERR_MEMORY, "parts");
	return find_root(f, boundary, start) < 0 ? -1 : read_head(f);
}

/* What the audit needs to know even of a message that is refused. */
static void
note_message(struct flow *f)
{
	struct audit_event *ev = &f->call.event;

	if (f->head == NULL)
		return;
	edge_note_head(&f->call, f->head);
	ev->endpoint = f->head->to;
	if (f->head->action.p != NULL)
		ev->operation = f->head->action;
}

static int
find_service(struct flow *f)
{
	struct edge_call *c = &f->call;

	if (soap_need_to(f->head, &c->err) < 0 ||
	    access_service(c->conf, f->head->to, &f->service, &c->err) < 0)
		return -1;
	c->event.service = f->service->id;
	return 0;
}

/* The bytes up to <Body> with the card in place, then what had been read of the body. */
static int
write_head(struct flow *f)
{
	struct slice in = buf_slice(&f->in), message = slice_from(in, f->root);

	buf_init(&f->out, f->in.n + f->card.n + 256);
	buf_put(&f->out, (struct slice){ in.p, f->root });
	if (soap_splice(f->head, message, f->card, f->service->strip_wsa, &f->out, &f->call.err) < 0)
		return -1;
	buf_put(&f->out, slice_from(message, f->head->end));
	return f->out.failed ? err_set(&f->call.err, ERR_MEMORY, "spliced head") : 0;
}

static int
serve(struct flow *f)
{
	int rc = read_message(f);

	note_message(f);
	if (rc < 0 || soap_need_user(f->head, &f->call.err) < 0 || find_service(f) < 0 ||
	    proxy_watch_body(f) < 0 || proxy_choose_card(f) < 0 || write_head(f) < 0 || edge_audit_open(&f->call) < 0)
		return -1;
	return proxy_forward(f);
}

void
proxy_handle(void *ctx, struct req *r)
{
	struct flow f = { .proxy = ctx };
	struct edge_call *c = &f.call;

	int rc = edge_begin(f.proxy->edge, r, AUDIT_PROXY, c);
	c->event.operation = S("proxy");
	if (rc < 0 || serve(&f) < 0) {
		/* once the answer has begun it cannot be taken back: it must look cut */
		if (req_answered(r))
			req_cut(r);
		else
			edge_fault(c, f.login);
	}
	edge_end(c);
	buf_free(&f.in);
	buf_free(&f.out);
}
