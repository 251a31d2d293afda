/* serve: what fcgi.c (connections and threads) and req.c (one request) tell each other. */
#ifndef FCGI_SERVE_H
#define FCGI_SERVE_H

#include "fcgi.h"

/* How far one request may hold a thread outside its handler. */
struct serve_limits {
	unsigned head_ms;	/* until the parameters have arrived */
	unsigned drain_ms;	/* reading away what the handler left of the body */
	size_t drain_bytes;	/* of these at most; when more is known to come, none */
};

/* What becomes of the connection afterwards. */
enum serve_end {
	SERVE_KEEP,	/* between two requests; wait for the next */
	SERVE_STALE,	/* so too, but more of the former body may come before it */
	SERVE_CLOSE,
};

/* One per thread, used for one request after the other. NULL when memory ends. */
struct req *req_new(size_t arena_cap);
void req_free(struct req *r);
/* Reads a request from fd, has it handled, finishes it. stale: the connection ended as SERVE_STALE before. */
enum serve_end req_serve(struct req *r, int fd, bool stale, const struct serve_limits *limits,
    fcgi_handler *handle, void *ctx);
/* Whether a request came out of the last req_serve, and not just an end or nonsense. */
bool req_was_served(const struct req *r);
/* Once per process, before the first request. */
void req_init(void);

#endif
