/* http: calls to STS and endpoints over libcurl: warm connections per endpoint, every wait
 * bounded, bodies streamed both ways, nothing followed and nothing retried. */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include "arena.h"
#include "err.h"

#include <stdint.h>
#include <sys/types.h>

struct http;
/* max_idle: handles with warm connections kept for each endpoint. Threads share it. SIGPIPE is ignored from then on.
 * NULL when memory ends. */
struct http *http_new(unsigned max_idle);
void http_free(struct http *h);

struct http_tls {		/* file names; NULL: not set */
	const char *ca_file;	/* PEM; NULL: the system's */
	const char *cert_file, *key_file;	/* our client certificate */
};
struct http_header { const char *name; struct slice value; };

struct http_call {
	const char *url;	/* of the configuration, never of a client */
	const char *method;	/* NULL: POST when there is a body, else GET */
	const struct http_header *headers;
	size_t nheaders;
	struct http_tls tls;
	/* 0: a minute */
	unsigned connect_ms;	/* to connect, TLS included */
	unsigned answer_ms;	/* from the request sent until the answer's first byte */
	unsigned idle_ms;	/* without a byte, in either direction; beyond it 500 bytes a second must move */
	unsigned total_ms;	/* of the whole call; 0: no limit but the others */

	/* The request body: either in one piece, or read from a source. length -1: chunked. A source returns
	 * bytes, 0 at the end, -1 to abort (with the reason in e); then the endpoint never sees a complete request. */
	struct slice body;
	ssize_t (*source)(void *ctx, void *out, size_t n, struct err *e);
	int64_t length;

	/* The answer. on_head: status and headers of the final answer (no 1xx), -1 aborts. on_body: pieces. */
	int (*on_head)(void *ctx, int status, const struct http_header *headers, size_t n, struct err *e);
	int (*on_body)(void *ctx, struct slice bytes, struct err *e);
	void *ctx;
};
struct http_result {
	int status;		/* 0: none came */
	bool connected;		/* whether anything may have been sent */
	uint64_t sent, received;	/* body bytes */
};
/* ERR_ENDPOINT_UNREACHABLE, _TIMEOUT, _BROKE, _TLS, _ANSWER, or what a callback set; ERR_CONFIG for an address, ERR_INVALID
 * for a header that cannot be sent. A status is never a failure here, 3xx and 5xx go to on_head.
 *
 * A request is sent once. A kept connection that the endpoint has closed, or on which it said something unasked, is
 * not used; when one breaks after the request went out and before any answer, that is ERR_ENDPOINT_BROKE,
 * even if the endpoint only meant to close an idle connection: nobody can tell. */
int http_do(struct http *h, struct arena *a, const struct http_call *call, struct http_result *out, struct err *e);

/* A whole small answer in the arena: for STS, CRL, OCSP. */
struct http_small { int status; struct slice body, content_type, etag, last_modified; };
int http_fetch(struct http *h, struct arena *a, const struct http_call *call, size_t cap, struct http_small *out, struct err *e);

#endif
