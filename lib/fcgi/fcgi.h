/* fcgi: a FastCGI worker: a dispatcher thread that accepts and watches connections, a pool of
 * blocking threads that serve requests, a bounded queue, a graceful stop (design D2). */
#ifndef FCGI_FCGI_H
#define FCGI_FCGI_H

#include "arena.h"
#include "err.h"

#include <stdint.h>
#include <sys/types.h>

struct req;
typedef void fcgi_handler(void *ctx, struct req *r);

struct fcgi_conf {
	const char *listen;	/* path of a unix socket, or "host:port" */
	unsigned threads;	/* that serve requests */
	unsigned queue;		/* requests that may wait for a thread */
	unsigned queue_ms;	/* longest wait; then `refuse` answers */
	size_t arena_cap;	/* of one request */
	fcgi_handler *handle;	/* on a pool thread */
	fcgi_handler *refuse;	/* answers at once, without waiting for anything: the worker is too busy */
	void *ctx;
};
struct fcgi;
/* Listens (backlog 4096; an old socket file is replaced, its mode is the process's umask). NULL with e filled.
 * SIGPIPE is ignored from then on. */
struct fcgi *fcgi_new(const struct fcgi_conf *conf, struct err *e);
/* Serves until fcgi_stop; then closes the listening socket, lets running requests end (at most drain_ms),
 * and returns 0. -1 (ERR_BUSY) when some still run after that: then leave by _exit, and free nothing that
 * handlers use. */
int fcgi_run(struct fcgi *f, unsigned drain_ms, struct err *e);
/* May be called from a signal handler. */
void fcgi_stop(struct fcgi *f);
void fcgi_free(struct fcgi *f);

struct fcgi_stats { uint64_t served, refused; unsigned busy, waiting, threads; };
void fcgi_stats(const struct fcgi *f, struct fcgi_stats *out);

/* ---- a request; everything of it ends when the handler returns */
struct arena *req_arena(struct req *r);
/* Unique, 22 characters; stands in faults, logs and audit. */
struct slice req_id(const struct req *r);
/* A FastCGI parameter ("REMOTE_ADDR", "HTTP_SOAPACTION"); absent when not sent. */
struct slice req_param(const struct req *r, const char *name);
/* CONTENT_LENGTH, or -1 when the length is not known in advance (chunked). A CONTENT_LENGTH that is not a
 * plain number is answered with 400 before the handler sees the request. */
int64_t req_length(const struct req *r);
/* The body as it comes; blocks for the first byte only. > 0 bytes; 0 at its proper end; -1 when the sender broke off or more
 * came than CONTENT_LENGTH (ERR_BODY_CUT), or it ended in order and before (ERR_MESSAGE_LOST: only a repeated one does). */
ssize_t req_read(struct req *r, void *out, size_t n, struct err *e);
/* The whole body, at most `most` bytes; it lives in the request's arena. ERR_BODY_TOO_BIG, before a byte is read when the length is
 * known in advance; ERR_BODY_CUT, ERR_MESSAGE_LOST. */
int req_read_all(struct req *r, size_t most, struct slice *out, struct err *e);
/* Another worker had this request before, and was gone before it had answered: Apache's balancer gave it to us, with what was left of
 * its body (SOSIGW_REPEATED, set in apache-conf/sosigw-urls.conf). */
bool req_is_repeated(const struct req *r);
/* Body bytes read so far. */
uint64_t req_bytes_in(const struct req *r);
uint64_t req_bytes_out(const struct req *r);	/* of the answer's body */

/* ---- its answer: status and headers once, then the body in pieces. A header with CR, LF or NUL is refused (must). */
struct req_header { const char *name; struct slice value; };
int req_answer(struct req *r, int status, const struct req_header *headers, size_t n, struct err *e);
int req_write(struct req *r, struct slice bytes, struct err *e);
/* Hands what is buffered to Apache now. */
int req_flush(struct req *r, struct err *e);
bool req_answered(const struct req *r);
/* The answer cannot be completed: the FastCGI connection is closed without END_REQUEST, so that the cut answer
 * looks cut (threats 1.8). */
void req_cut(struct req *r);

#endif
