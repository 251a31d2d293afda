/* One call.
 *
 * Each handle is driven through a multi handle of its own, as curl_easy_perform does inside, but with our clock:
 * libcurl has no limit for "sent, and no answer yet" or "no byte for so long" in milliseconds.
 *
 * Never twice: libcurl by itself sends a request again, also a POST, when a kept connection ends before the
 * first byte of an answer. It cannot know whether the endpoint had acted on the first one. It asks http_on_request
 * before each request; the second time for the same call the answer is no. So that this costs few calls, a kept
 * connection is looked at before it is used, and is not used after some seconds (pool.c).
 *
 * Never half: a source that fails, or ends before or goes on after its stated length, ends the connection before the
 * endpoint has the last byte. The last piece is only handed over when the source has said that it was the last. */
#include "http.h"

#include "buf.h"
#include "clock.h"
#include "conv.h"
#include "must.h"
#include "pool.h"

#include <stdlib.h>
#include <string.h>

#define HEAD_BYTES (256 * 1024)		/* of all headers of an answer, 1xx included */
#define HEADERS_MAX 256
#define DEFAULT_MS 60000
#define LEAST_RATE 500		/* bytes a second, beyond idle_ms; what Apache asks of a client (RequestReadTimeout) */

struct call {
	const struct http_call *c;
	struct arena *a;
	struct handle *handle;
	struct http_result *out;
	struct err *e;

	bool asked;			/* the request went out */
	bool source_ended;
	uint64_t given;			/* bytes of the source handed to libcurl */

	struct http_header *headers;
	size_t nheaders, head_bytes;
	int status;
	bool head_done, doubtful;	/* doubtful: nothing more is read from this connection */

	bool moved;			/* a byte came since the clock was looked at */
	curl_off_t uploaded;
	uint64_t measured;		/* bytes that had moved at measured_from */
	int64_t started, moved_at, sent_at;	/* sent_at 0: not all sent yet */
	int64_t measured_from;		/* LEAST_RATE counts from here; 0: not begun */
	bool measured_answer;		/* that is where the answer began */
};

/* ---- the request */

static bool
is_known_length(const struct http_call *c)
{
	return c->source != NULL && c->length >= 0;
}

int
http_on_request(void *ctx, char *remote, char *local, int remote_port, int local_port)
{
	struct call *call = ((struct handle *)ctx)->call;
	(void)remote, (void)local, (void)remote_port, (void)local_port;

	if (call->asked)
		return CURL_PREREQFUNC_ABORT;
	call->asked = call->out->connected = true;
	return CURL_PREREQFUNC_OK;
}

static int
source_failed(struct call *call, const char *how)
{
	/* unless the source said why */
	return err_set(call->e, ERR_BODY_CUT, "the source %s after %llu of %lld bytes", how,
	    (unsigned long long)call->given, (long long)call->c->length);
}

/* All bytes that were announced are there: nothing may follow. */
static int
check_source_end(struct call *call)
{
	char more;
	ssize_t n = call->c->source(call->c->ctx, &more, 1, call->e);

	if (n != 0)
		return source_failed(call, n < 0 ? "failed" : "goes on");
	call->source_ended = true;
	return 0;
}

static ssize_t
read_source(struct call *call, char *p, size_t room)
{
	const struct http_call *c = call->c;

	if (call->source_ended)
		return 0;
	if (is_known_length(c) && room > (uint64_t)c->length - call->given)
		room = (size_t)((uint64_t)c->length - call->given);
	ssize_t n = c->source(c->ctx, p, room, call->e);
	if (n < 0)
		return source_failed(call, "failed");
	if (n == 0 && is_known_length(c))
		return source_failed(call, "ended");
	call->given += (uint64_t)n;
	call->source_ended = n == 0;
	if (is_known_length(c) && call->given == (uint64_t)c->length && check_source_end(call) < 0)
		return -1;
	return n;
}

size_t
http_on_source(char *p, size_t size, size_t n, void *ctx)
{
	ssize_t got = read_source(((struct handle *)ctx)->call, p, size * n);

	return got < 0 ? CURL_READFUNC_ABORT : (size_t)got;
}

static bool
is_token(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	    "!#$%&'*+-.^_`|~") == n;
}

static bool
is_line(struct slice s)
{
	return s.p != NULL && memchr(s.p, '\r', s.n) == NULL && memchr(s.p, '\n', s.n) == NULL &&
	    memchr(s.p, '\0', s.n) == NULL;
}

static int
put_line(struct arena *a, struct curl_slist **list, struct slice line)
{
	struct curl_slist *node = arena_alloc(a, sizeof *node);
	char *text = node == NULL ? NULL : arena_cstr(a, line);

	if (text == NULL)
		return -1;
	*node = (struct curl_slist){ text, *list };
	*list = node;
	return 0;
}

static int
put_header(struct call *call, struct curl_slist **list, const struct http_header *h)
{
	if (!is_token(h->name) || !is_line(h->value))
		return err_set(call->e, ERR_INVALID, "header \"%s\" cannot be sent", h->name);
	/* libcurl's own form for a header that is empty */
	struct slice line = h->value.n == 0 ? arena_printf(call->a, "%s;", h->name) :
	    arena_printf(call->a, "%s: %.*s", h->name, SLICE_FMT(h->value));
	if (line.p == NULL || put_line(call->a, list, line) < 0)
		return err_set(call->e, ERR_MEMORY, "headers");
	return 0;
}

static bool
has_header(const struct http_call *c, const char *name)
{
	for (size_t i = 0; i < c->nheaders; i++)
		if (slice_is_nocase(slice_of(c->headers[i].name), name))
			return true;
	return false;
}

/* In the arena, not with curl_slist_append: libcurl only reads the list, and only during the call. */
static int
set_headers(struct call *call)
{
	const struct http_call *c = call->c;
	struct curl_slist *list = NULL;
	bool body = c->body.p != NULL || c->source != NULL;
	int rc = 0;

	/* these are ours to write: they say where the message ends */
	must(!has_header(c, "Content-Length") && !has_header(c, "Transfer-Encoding"));
	/* an empty value takes out what libcurl would add */
	rc |= body ? put_line(call->a, &list, S("Expect:")) : 0;
	rc |= body && !has_header(c, "Content-Type") ? put_line(call->a, &list, S("Content-Type:")) : 0;
	rc |= c->source != NULL && c->length < 0 ? put_line(call->a, &list, S("Transfer-Encoding: chunked")) : 0;
	if (rc < 0)
		return err_set(call->e, ERR_MEMORY, "headers");
	for (size_t i = c->nheaders; i > 0; i--)
		if (put_header(call, &list, &c->headers[i - 1]) < 0)
			return -1;
	curl_easy_setopt(call->handle->easy, CURLOPT_HTTPHEADER, list);
	return 0;
}

static void
set_body(CURL *easy, const struct http_call *c)
{
	if (c->body.p != NULL) {
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->body.n);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, c->body.p);
	} else if (c->source != NULL) {
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, NULL);
		curl_easy_setopt(easy, CURLOPT_POST, 1L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->length);
	} else {
		curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
	}
}

static long
or_default(unsigned ms)
{
	return ms == 0 ? DEFAULT_MS : (long)ms;
}

static int
set_url(struct call *call)
{
	struct handle *h = call->handle;

	if (h->url != NULL && strcmp(h->url, call->c->url) == 0)
		return 0;
	free(h->url);
	h->url = strdup(call->c->url);
	if (h->url == NULL || curl_easy_setopt(h->easy, CURLOPT_URL, h->url) != CURLE_OK)
		return err_set(call->e, ERR_MEMORY, "url");
	return 0;
}

static int
set_request(struct call *call)
{
	const struct http_call *c = call->c;
	struct handle *h = call->handle;
	const char *usual = c->body.p != NULL || c->source != NULL ? "POST" : "GET";

	must(c->body.p == NULL || c->source == NULL);
	if (set_url(call) < 0 || set_headers(call) < 0)
		return -1;
	if (h->connect_ms != or_default(c->connect_ms)) {
		h->connect_ms = or_default(c->connect_ms);
		curl_easy_setopt(h->easy, CURLOPT_CONNECTTIMEOUT_MS, h->connect_ms);
	}
	set_body(h->easy, c);
	bool same = c->method == NULL || strcmp(c->method, usual) == 0;
	if (curl_easy_setopt(h->easy, CURLOPT_CUSTOMREQUEST, same ? NULL : c->method) != CURLE_OK)
		return err_set(call->e, ERR_MEMORY, "method");
	/* a source of no bytes is never asked by libcurl */
	if (c->source != NULL && c->length == 0)
		return check_source_end(call);
	return 0;
}

/* What would dangle between calls. */
static void
unset_request(struct handle *h)
{
	curl_easy_setopt(h->easy, CURLOPT_HTTPHEADER, NULL);
	curl_easy_setopt(h->easy, CURLOPT_POSTFIELDS, NULL);
	h->call = NULL;
}

/* ---- the answer */

static int
add_header(struct call *call, struct slice line)
{
	const char *colon = memchr(line.p, ':', line.n);

	if (call->headers == NULL)
		call->headers = arena_alloc(call->a, HEADERS_MAX * sizeof *call->headers);
	if (call->headers == NULL)
		return err_set(call->e, ERR_MEMORY, "headers of the answer");
	if (colon == NULL || !is_line(line) || call->nheaders == HEADERS_MAX)
		return err_set(call->e, ERR_ENDPOINT_ANSWER, "header %zu is wrong or too much", call->nheaders);
	char *name = arena_cstr(call->a, (struct slice){ line.p, (size_t)(colon - line.p) });
	struct slice value = arena_dup(call->a, slice_trim(slice_from(line, (size_t)(colon - line.p) + 1)));
	if (name == NULL || value.p == NULL)
		return err_set(call->e, ERR_MEMORY, "headers of the answer");
	if (!is_token(name))
		return err_set(call->e, ERR_ENDPOINT_ANSWER, "header %zu has no name", call->nheaders);
	call->headers[call->nheaders++] = (struct http_header){ name, value };
	return 0;
}

/* obs-fold (RFC 9112, 5.2): a line that begins with white space continues the one before. */
static int
fold(struct call *call, struct slice line)
{
	if (call->nheaders == 0 || !is_line(line))
		return err_set(call->e, ERR_ENDPOINT_ANSWER, "the first header is a continuation");
	struct slice *value = &call->headers[call->nheaders - 1].value;
	*value = arena_printf(call->a, "%.*s %.*s", SLICE_FMT(*value), SLICE_FMT(slice_trim(line)));
	return value->p == NULL ? err_set(call->e, ERR_MEMORY, "headers of the answer") : 0;
}

/* Two lengths that differ: nobody can say where the answer ends. Chunked and a length: chunked counts (RFC 9112,
 * 6.1); the length must not travel on, and the connection is not used again. */
static int
check_lengths(struct call *call)
{
	struct slice length = { NULL, 0 };
	bool chunked = false;

	for (size_t i = 0; i < call->nheaders; i++) {
		struct slice name = slice_of(call->headers[i].name), value = call->headers[i].value;
		chunked |= slice_is_nocase(name, "Transfer-Encoding");
		if (!slice_is_nocase(name, "Content-Length"))
			continue;
		int64_t n;
		if ((length.p != NULL && !slice_eq(length, value)) || conv_number(value, INT64_MAX, &n) < 0)
			return err_set(call->e, ERR_ENDPOINT_ANSWER, "its Content-Length is not one number");
		length = value;
	}
	if (length.p == NULL || !chunked)
		return 0;
	call->doubtful = true;
	size_t kept = 0;
	for (size_t i = 0; i < call->nheaders; i++)
		if (!slice_is_nocase(slice_of(call->headers[i].name), "Content-Length"))
			call->headers[kept++] = call->headers[i];
	call->nheaders = kept;
	return 0;
}

static int
head_ends(struct call *call)
{
	const struct http_call *c = call->c;

	if (call->status < 200)		/* an interim answer; the real one follows */
		return 0;
	call->head_done = true;
	call->out->status = call->status;
	if (check_lengths(call) < 0)
		return -1;
	return c->on_head == NULL ? 0 : c->on_head(c->ctx, call->status, call->headers, call->nheaders, call->e);
}

/* libcurl has read the line and found it in order. */
static int
begin_head(struct call *call, struct slice line)
{
	struct slice rest = slice_from(line, sizeof "HTTP/1.1 " - 1);
	int64_t status;

	call->nheaders = 0;
	rest.n = rest.n > 3 ? 3 : rest.n;
	if (conv_number(rest, 999, &status) < 0 || status < 100)
		return err_set(call->e, ERR_ENDPOINT_ANSWER, "its status is not a number");
	call->status = (int)status;
	return 0;
}

static int
take_line(struct call *call, struct slice line)
{
	if (call->head_done)		/* trailers behind a chunked body */
		return 0;
	if (slice_starts(line, S("HTTP/")))
		return begin_head(call, line);
	if (line.n == 0)
		return head_ends(call);
	return line.p[0] == ' ' || line.p[0] == '\t' ? fold(call, line) : add_header(call, line);
}

size_t
http_on_header(char *p, size_t size, size_t n, void *ctx)
{
	struct call *call = ((struct handle *)ctx)->call;
	struct slice line = { p, size * n };

	call->moved = true;
	call->head_bytes += line.n;
	if (call->head_bytes > HEAD_BYTES) {
		err_set(call->e, ERR_ENDPOINT_ANSWER, "its headers are longer than %d bytes", HEAD_BYTES);
		return 0;
	}
	if (line.n > 0 && line.p[line.n - 1] == '\n')
		line.n--;
	if (line.n > 0 && line.p[line.n - 1] == '\r')
		line.n--;
	return take_line(call, line) < 0 ? 0 : size * n;
}

size_t
http_on_body(char *p, size_t size, size_t n, void *ctx)
{
	struct call *call = ((struct handle *)ctx)->call;
	const struct http_call *c = call->c;
	struct slice bytes = { p, size * n };

	call->moved = true;
	call->out->received += bytes.n;
	return c->on_body != NULL && c->on_body(c->ctx, bytes, call->e) < 0 ? 0 : bytes.n;
}

/* ---- the clock */

static bool
is_all_sent(const struct call *call)
{
	const struct http_call *c = call->c;

	if (c->source != NULL)
		return call->source_ended && (c->length < 0 || call->uploaded >= c->length);
	return call->uploaded >= (curl_off_t)c->body.n;
}

static uint64_t
bytes_moved(const struct call *call)
{
	return (uint64_t)call->uploaded + call->out->received;
}

/* The rate is that of the request on its way, then that of the answer. */
static void
measure(struct call *call, int64_t now)
{
	if (call->measured_from != 0 && call->measured_answer == call->head_done)
		return;
	call->measured_from = now;
	call->measured = bytes_moved(call);
	call->measured_answer = call->head_done;
}

/* Notes what happened since it was called last. */
static void
look(struct call *call, int64_t now)
{
	curl_off_t uploaded = 0;

	if (!call->asked)
		return;
	curl_easy_getinfo(call->handle->easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
	if (call->moved || uploaded != call->uploaded || call->moved_at == 0)
		call->moved_at = now;
	call->moved = false;
	call->uploaded = uploaded;
	if (call->sent_at == 0 && is_all_sent(call))
		call->sent_at = now;
	measure(call, now);
}

static void
sooner(int64_t *end, const char **wait, int64_t other, const char *what)
{
	if (other < *end) {
		*end = other;
		*wait = what;
	}
}

/* When the present wait ends; what for, for the log. */
static int64_t
deadline(const struct call *call, const char **wait)
{
	const struct http_call *c = call->c;
	int64_t end;

	if (!call->asked) {
		/* libcurl keeps to connect_ms itself; a little later we do it for it */
		*wait = "a connection";
		end = call->started + or_default(c->connect_ms) + 500;
	} else if (call->sent_at != 0 && !call->head_done) {
		*wait = "the answer";
		end = call->sent_at + or_default(c->answer_ms);
	} else {
		*wait = "the next byte";
		end = call->moved_at + or_default(c->idle_ms);
		int64_t earned = (int64_t)(bytes_moved(call) - call->measured) * 1000 / LEAST_RATE;
		sooner(&end, wait, call->measured_from + or_default(c->idle_ms) + earned, "500 bytes a second");
	}
	if (c->total_ms != 0)
		sooner(&end, wait, call->started + c->total_ms, "the whole call");
	return end;
}

static int
timed_out(struct call *call, const char *wait)
{
	return err_set(call->e, call->asked ? ERR_ENDPOINT_TIMEOUT : ERR_ENDPOINT_UNREACHABLE,
	    "%s: waited too long for %s", call->c->url, wait);
}

/* ---- the call */

static bool
is_tls_failure(CURLcode code)
{
	switch (code) {
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_ENGINE_INITFAILED:
	case CURLE_SSL_INVALIDCERTSTATUS:
	case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
	case CURLE_USE_SSL_FAILED:
		return true;
	default:
		return false;
	}
}

static enum err_kind
kind_of(CURLcode code, bool asked)
{
	if (code == CURLE_OUT_OF_MEMORY)
		return ERR_MEMORY;
	if (!asked)
		return is_tls_failure(code) ? ERR_ENDPOINT_TLS : ERR_ENDPOINT_UNREACHABLE;
	switch (code) {
	case CURLE_UNSUPPORTED_PROTOCOL:	/* HTTP/0.9, or no HTTP at all */
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_BAD_CONTENT_ENCODING:
	case CURLE_FILESIZE_EXCEEDED:
		return ERR_ENDPOINT_ANSWER;
	case CURLE_OPERATION_TIMEDOUT:
		return ERR_ENDPOINT_TIMEOUT;
	default:
		return ERR_ENDPOINT_BROKE;
	}
}

static int
failed(struct call *call, CURLcode code)
{
	const char *text = call->handle->error;

	/* keeps what a callback has said */
	return err_set(call->e, kind_of(code, call->asked), "%s: %s", call->c->url,
	    text[0] != '\0' ? text : curl_easy_strerror(code));
}

static int
finished(struct call *call, CURLcode code)
{
	if (code != CURLE_OK)
		return failed(call, code);
	/* libcurl finds nothing wrong with a connection that ends in the headers */
	if (!call->head_done)
		return err_set(call->e, ERR_ENDPOINT_BROKE, "%s: the answer ended in its headers", call->c->url);
	return 0;
}

/* Until libcurl is done with it, or we are. */
static int
drive(struct call *call)
{
	CURLM *multi = call->handle->multi;
	int running, left;
	const char *wait;

	for (;;) {
		if (curl_multi_perform(multi, &running) != CURLM_OK)
			return err_set(call->e, ERR_INTERNAL, "curl_multi_perform");
		CURLMsg *msg = curl_multi_info_read(multi, &left);
		if (msg != NULL)
			return finished(call, msg->data.result);
		int64_t now = clock_mono_ms();
		look(call, now);
		int64_t end = deadline(call, &wait);
		if (now >= end)
			return timed_out(call, wait);
		int ms = end - now > 60000 ? 60000 : (int)(end - now);
		if (curl_multi_poll(multi, NULL, 0, ms, NULL) != CURLM_OK)
			return err_set(call->e, ERR_INTERNAL, "curl_multi_poll");
	}
}

static int
perform(struct call *call)
{
	struct handle *h = call->handle;
	curl_off_t uploaded = 0;

	h->call = call;
	h->error[0] = '\0';
	int rc = set_request(call);
	if (rc == 0 && curl_multi_add_handle(h->multi, h->easy) != CURLM_OK)
		rc = err_set(call->e, ERR_MEMORY, "curl_multi_add_handle");
	if (rc == 0) {
		rc = drive(call);
		curl_easy_getinfo(h->easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
		call->out->sent = call->c->source != NULL ? call->given : (uint64_t)uploaded;
		curl_easy_getinfo(h->easy, CURLINFO_ACTIVESOCKET, &h->socket);
		curl_multi_remove_handle(h->multi, h->easy);	/* ends the connection when the call was not over */
	}
	unset_request(h);
	return rc;
}

int
http_do(struct http *h, struct arena *a, const struct http_call *c, struct http_result *out, struct err *e)
{
	struct call call = { .c = c, .a = a, .out = out, .e = e, .started = clock_mono_ms() };

	*out = (struct http_result){ .status = 0 };
	call.handle = pool_take(h, a, c, e);
	if (call.handle == NULL)
		return -1;
	int rc = perform(&call);
	/* after a failure everything of the call goes, the handle too */
	pool_give(h, call.handle, rc == 0 && !call.doubtful);
	return rc;
}

/* ---- a whole small answer */

struct fetch {
	const struct http_call *c;
	struct arena *a;
	struct buf *body;
	struct http_small *out;
};

static int
fetch_head(void *ctx, int status, const struct http_header *headers, size_t n, struct err *e)
{
	struct fetch *f = ctx;
	(void)e;

	f->out->status = status;
	for (size_t i = 0; i < n; i++) {
		struct slice name = slice_of(headers[i].name);
		if (slice_is_nocase(name, "Content-Type"))
			f->out->content_type = headers[i].value;
		else if (slice_is_nocase(name, "ETag"))
			f->out->etag = headers[i].value;
		else if (slice_is_nocase(name, "Last-Modified"))
			f->out->last_modified = headers[i].value;
	}
	return 0;
}

static int
fetch_body(void *ctx, struct slice bytes, struct err *e)
{
	struct fetch *f = ctx;

	buf_put(f->body, bytes);
	if (buf_slice(f->body).p == NULL)
		return err_set(e, ERR_ENDPOINT_ANSWER, "%s: the answer is longer than %zu bytes", f->c->url, f->body->cap);
	return 0;
}

static ssize_t
fetch_source(void *ctx, void *out, size_t n, struct err *e)
{
	const struct http_call *c = ((struct fetch *)ctx)->c;

	return c->source(c->ctx, out, n, e);
}

int
http_fetch(struct http *h, struct arena *a, const struct http_call *call, size_t cap, struct http_small *out,
    struct err *e)
{
	struct buf *body = arena_alloc(a, sizeof *body);
	struct fetch f = { call, a, body, out };
	struct http_result result;
	struct http_call c = *call;

	*out = (struct http_small){ .status = 0 };
	if (body == NULL)
		return err_set(e, ERR_MEMORY, "fetch");
	buf_init(body, cap);
	if (buf_defer(body, a) < 0)
		return err_set(e, ERR_MEMORY, "fetch");
	c.on_head = fetch_head;
	c.on_body = fetch_body;
	c.source = call->source == NULL ? NULL : fetch_source;
	c.ctx = &f;
	if (http_do(h, a, &c, &result, e) < 0)
		return -1;
	out->body = buf_slice(body);
	return 0;
}
