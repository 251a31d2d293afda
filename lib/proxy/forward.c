#include "proxy_private.h"

#include <string.h>

/* A body up to this size goes out in one piece: one write, and its length is known even if it came
 * chunked (platform.md 2). */
#define ONE_PIECE (48u << 10)
#define READ_STEP 4096
#define ANSWER_HEADERS 4
#define CALL_HEADERS 6

/* Reads on until the body ends or is too large for one piece. *whole: it has ended. */
static int
gather(struct flow *f, bool *whole)
{
	int64_t length = req_length(f->call.req);

	*whole = false;
	if (length > ONE_PIECE)
		return 0;
	for (f->out.cap += ONE_PIECE + READ_STEP; f->out.n < ONE_PIECE;) {
		char *room = buf_room(&f->out, READ_STEP);
		if (room == NULL)
			return err_set(&f->call.err, ERR_MEMORY, "body");
		ssize_t n = proxy_read_body(f, room, READ_STEP, &f->call.err);
		if (n < 0)
			return -1;
		if (n == 0) {
			*whole = true;
			return 0;
		}
		f->out.n += (size_t)n;
	}
	return 0;
}

/* ---- the body on its way out: what has been read, then the rest as it comes */

struct body {
	struct flow *flow;
	struct slice first;
};

static ssize_t
next_bytes(void *ctx, void *out, size_t n, struct err *e)
{
	struct body *b = ctx;

	if (b->first.n == 0)
		return proxy_read_body(b->flow, out, n, e);
	if (n > b->first.n)
		n = b->first.n;
	memcpy(out, b->first.p, n);
	b->first = slice_from(b->first, n);
	return (ssize_t)n;
}

/* ---- the answer on its way back */

/* The endpoint's headers that the client gets. Status and Location would be commands to Apache, and the
 * rest is between the endpoint and us. */
static const char *const passed_back[] = { "Content-Type", "Content-Length", "Content-Encoding", "MIME-Version" };

static bool
is_passed_back(const char *name)
{
	for (size_t i = 0; i < sizeof passed_back / sizeof *passed_back; i++)
		if (slice_is_nocase(slice_of(name), passed_back[i]))
			return true;
	return false;
}

static int
answer_head(void *ctx, int status, const struct http_header *headers, size_t n, struct err *e)
{
	struct flow *f = ((struct body *)ctx)->flow;
	struct req_header back[ANSWER_HEADERS];
	size_t count = 0;

	if (status < 200 || (status >= 300 && status < 400) || status > 599)
		return err_set(e, ERR_ENDPOINT_ANSWER, "HTTP status %d", status);
	for (size_t i = 0; i < n && count < ANSWER_HEADERS; i++)
		if (is_passed_back(headers[i].name))
			back[count++] = (struct req_header){ headers[i].name, headers[i].value };
	f->call.event.http_status = status;
	return req_answer(f->call.req, status, back, count, e);
}

static int
answer_bytes(void *ctx, struct slice bytes, struct err *e)
{
	struct flow *f = ((struct body *)ctx)->flow;

	return req_write(f->call.req, bytes, e);
}

/* ---- the call */

/* The client's headers that the endpoint gets. */
static const struct {
	const char *name, *param;
} passed_on[] = {
	{ "Content-Type", "CONTENT_TYPE" }, { "SOAPAction", "HTTP_SOAPACTION" }, { "Accept", "HTTP_ACCEPT" },
	{ "MIME-Version", "HTTP_MIME_VERSION" }, { "traceparent", "HTTP_TRACEPARENT" },
	{ "tracestate", "HTTP_TRACESTATE" },
};

static size_t
call_headers(struct req *r, struct http_header out[CALL_HEADERS])
{
	size_t n = 0;

	_Static_assert(sizeof passed_on / sizeof *passed_on == CALL_HEADERS, "room for all");
	for (size_t i = 0; i < CALL_HEADERS; i++) {
		struct slice value = req_param(r, passed_on[i].param);
		if (value.p != NULL)
			out[n++] = (struct http_header){ passed_on[i].name, value };
	}
	return n;
}

/* Bytes the endpoint will get: what is ready and what is still to come; -1 when that is not known. */
static int64_t
length_out(const struct flow *f)
{
	int64_t length = req_length(f->call.req);

	return length < 0 ? -1 : (int64_t)f->out.n + length - (int64_t)f->in.n;
}

int
proxy_forward(struct flow *f)
{
	const struct conf_service *s = f->service;
	struct body body = { .flow = f };
	struct http_header headers[CALL_HEADERS];
	struct http_result result;
	struct http_call call = {
		.url = s->url_z, .method = "POST", .headers = headers,
		.tls = { s->ca_file, s->cert_file, s->key_file },
		.connect_ms = s->connect_ms, .answer_ms = s->answer_ms, .idle_ms = s->idle_ms, .total_ms = s->total_ms,
		.on_head = answer_head, .on_body = answer_bytes, .ctx = &body,
	};
	bool whole;

	call.nheaders = call_headers(f->call.req, headers);
	/* before gather moves bytes from what is to come to what is ready */
	int64_t length = length_out(f);
	if (gather(f, &whole) < 0)
		return -1;
	body.first = buf_slice(&f->out);
	if (whole) {
		call.body = body.first;
		call.length = (int64_t)body.first.n;
	} else {
		call.source = next_bytes;
		call.length = length;
	}
	return http_do(f->proxy->edge->http, f->call.arena, &call, &result, &f->call.err);
}
