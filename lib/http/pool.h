/* pool: libcurl handles, each with at most one warm connection, kept per endpoint. */
#ifndef HTTP_POOL_H
#define HTTP_POOL_H

#include "http.h"

#include <curl/curl.h>

struct call;	/* http.c */

/* In the hands of one thread, or idle in its endpoint's stack. */
struct handle {
	struct handle *below;
	struct endpoint *of;
	CURL *easy;
	CURLM *multi;		/* its own, so that connections are never shared between threads */
	int64_t since;		/* idle since */
	struct call *call;	/* what the callbacks work for */
	curl_socket_t socket;	/* of the kept connection, or CURL_SOCKET_BAD */
	char *url;		/* what the handle is set to, so that the same need not be set again */
	long connect_ms;
	char error[CURL_ERROR_SIZE];
};

/* A handle set up for the endpoint of this call (scheme, host, port, TLS files): the one used last, else a new one. */
struct handle *pool_take(struct http *h, struct arena *a, const struct http_call *call, struct err *e);
/* keep: its connection may serve another call. */
void pool_give(struct http *h, struct handle *handle, bool keep);

/* The callbacks, set once for each new handle; ctx is the handle. */
size_t http_on_header(char *p, size_t size, size_t n, void *ctx);
size_t http_on_body(char *p, size_t size, size_t n, void *ctx);
size_t http_on_source(char *p, size_t size, size_t n, void *ctx);
int http_on_request(void *ctx, char *remote, char *local, int remote_port, int local_port);

#endif
