/* One request over libfcgi.
 *
 * The connection is ours (fcgi.c accepts and watches it); libfcgi gets it for one request through two fields that
 * fcgiapp.h puts below "Don't use anything below here": ipcFd and keepConnection. They are used in this file
 * alone, and test_fcgi has a test that fails should a new libfcgi mean something else by them. libfcgi never closes
 * a connection that it got a request from: its own close reads for as long as the peer sends.
 *
 * What to know before changing the end of a request:
 * - Apache writes the body while it polls for the answer. When we close with its bytes unread, its next write fails and
 *   it answers 503 instead of passing on our answer. So the body is read to its end, within limits; beyond
 *   them the answer is finished, our side shut, and fcgi.c reads away what still comes for a while.
 * - A connection with unread body is never used again, so that no request can begin in the middle of another.
 * - Nothing may be written after a cut: Apache takes END_REQUEST for the proper end of the answer. */
#include "serve.h"

#include "clock.h"
#include "conv.h"
#include "log.h"
#include "must.h"
#include "rand.h"

#include <errno.h>
#include <fcgiapp.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct req {
	FCGX_Request rq;
	struct arena *arena;
	struct slice id;
	int64_t length;			/* -1: not known */
	uint64_t bytes_in, bytes_out;
	bool answered, cut;
	bool body_broken;
};

static void
init_library(void)
{
	/* libfcgi takes these for its own accept loop, which is not used */
	static const int signals[] = { SIGUSR1, SIGTERM };
	struct sigaction old[2];

	for (size_t i = 0; i < 2; i++)
		sigaction(signals[i], NULL, &old[i]);
	must(FCGX_Init() == 0);
	for (size_t i = 0; i < 2; i++)
		sigaction(signals[i], &old[i], NULL);
	signal(SIGPIPE, SIG_IGN);	/* a peer that left shows as EPIPE */
}

void
req_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, init_library);
}

struct req *
req_new(size_t arena_cap)
{
	struct req *r = calloc(1, sizeof *r);

	if (r != NULL && (r->arena = arena_new(arena_cap)) == NULL) {
		free(r);
		r = NULL;
	}
	return r;
}

void
req_free(struct req *r)
{
	if (r == NULL)
		return;
	arena_free(r->arena);
	free(r);
}

/* ---- what the handler asks */

struct arena *
req_arena(struct req *r)
{
	return r->arena;
}

struct slice
req_id(const struct req *r)
{
	return r->id;
}

struct slice
req_param(const struct req *r, const char *name)
{
	return slice_of(FCGX_GetParam(name, r->rq.envp));
}

int64_t
req_length(const struct req *r)
{
	return r->length;
}

uint64_t
req_bytes_in(const struct req *r)
{
	return r->bytes_in;
}

uint64_t
req_bytes_out(const struct req *r)
{
	return r->bytes_out;
}

bool
req_answered(const struct req *r)
{
	return r->answered;
}

/* ---- its body */

static int
broken(struct req *r, struct err *e, const char *why)
{
	r->body_broken = true;
	return err_set(e, ERR_BODY_CUT, "%s after %llu of %lld bytes", why, (unsigned long long)r->bytes_in,
	    (long long)r->length);
}

static ssize_t
body_ended(struct req *r, struct err *e)
{
	int error = FCGX_GetError(r->rq.in);

	if (error == EAGAIN || error == EWOULDBLOCK)
		return broken(r, e, "the web server sent nothing for too long");
	if (error != 0)		/* FCGX_PROTOCOL_ERROR when the client gave up: no end of the stream came */
		return broken(r, e, "the sender broke off");
	if (r->length >= 0 && r->bytes_in != (uint64_t)r->length)
		return broken(r, e, "the body ended");
	return 0;
}

ssize_t
req_read(struct req *r, void *out, size_t n, struct err *e)
{
	FCGX_Stream *in = r->rq.in;
	unsigned char *p = out;

	must(n > 0);
	if (r->body_broken)
		return err_set(e, ERR_BODY_CUT, "the body was broken off before");
	/* FCGX_GetStr would wait until all n are there; a byte, then what lies in the buffer, streams */
	int c = FCGX_GetChar(in);
	if (c == EOF)
		return body_ended(r, e);
	p[0] = (unsigned char)c;
	size_t more = (size_t)(in->stop - in->rdNext);
	if (more > n - 1)
		more = n - 1;
	memcpy(p + 1, in->rdNext, more);
	in->rdNext += more;
	r->bytes_in += more + 1;
	if (r->length >= 0 && r->bytes_in > (uint64_t)r->length)
		return broken(r, e, "the body goes on");
	return (ssize_t)(more + 1);
}

/* ---- its answer */

static int
gone(struct req *r, struct err *e)
{
	return err_set(e, ERR_CLIENT_GONE, "write to the web server: %s", strerror(FCGX_GetError(r->rq.out)));
}

static bool
is_token(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == n;
}

static bool
is_line(struct slice value)
{
	return value.p != NULL && memchr(value.p, '\r', value.n) == NULL &&
	    memchr(value.p, '\n', value.n) == NULL && memchr(value.p, '\0', value.n) == NULL;
}

static int
put(struct req *r, struct slice s)
{
	while (s.n > 0) {
		int k = s.n > INT_MAX ? INT_MAX : (int)s.n;
		if (FCGX_PutStr(s.p, k, r->rq.out) != k)
			return -1;
		s = slice_from(s, (size_t)k);
	}
	return 0;
}

int
req_answer(struct req *r, int status, const struct req_header *headers, size_t n, struct err *e)
{
	char line[32];

	must(!r->answered && status >= 200 && status <= 599);
	r->answered = true;
	snprintf(line, sizeof line, "Status: %d\r\n", status);
	int rc = put(r, slice_of(line));
	for (size_t i = 0; i < n && rc == 0; i++) {
		/* a line end here would let an endpoint or client write headers, which are commands to Apache */
		must(is_token(headers[i].name) && is_line(headers[i].value));
		if (put(r, slice_of(headers[i].name)) < 0 || put(r, S(": ")) < 0 ||
		    put(r, headers[i].value) < 0 || put(r, S("\r\n")) < 0)
			rc = -1;
	}
	if (rc < 0 || put(r, S("\r\n")) < 0)
		return gone(r, e);
	return 0;
}

int
req_write(struct req *r, struct slice bytes, struct err *e)
{
	must(r->answered && !r->cut);
	if (put(r, bytes) < 0)
		return gone(r, e);
	r->bytes_out += bytes.n;
	return 0;
}

int
req_flush(struct req *r, struct err *e)
{
	must(!r->cut);
	return FCGX_FFlush(r->rq.out) == 0 ? 0 : gone(r, e);
}

void
req_cut(struct req *r)
{
	/* Apache must have seen the answer begin: as long as nothing came, it gives the request to
	 * another worker, with what is left of the body. */
	if (r->answered && !r->cut)
		FCGX_FFlush(r->rq.out);
	r->cut = true;
}

/* ---- from beginning to end */

/* Waits until the head lies in the socket, whole and in order; it is looked at, not taken. */
static int
await_head(int fd, unsigned head_ms)
{
	uint8_t head[HEAD_MAX];
	size_t look = 8192;		/* enough for nearly all; a long body need not be copied for this */
	int64_t end = clock_mono_ms() + head_ms;
	struct timespec wait = { 0, 50000 };

	for (;;) {
		ssize_t n = recv(fd, head, look, MSG_PEEK | MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return -1;
		ssize_t known = head_check(head, n < 0 ? 0 : (size_t)n);
		if (known > 0)
			return 0;
		if (known == 0 && n == (ssize_t)look && look < sizeof head) {
			look = sizeof head;
			continue;
		}
		if (known < 0 || n == HEAD_MAX || clock_mono_ms() >= end) {
			log_msg(LOG_WARN, "fastcgi", "request dropped: %s", known < 0 ? "not FastCGI" :
			    n == HEAD_MAX ? "its parameters are too long" : "its parameters do not come");
			return -1;
		}
		/* Nothing wakes us for a second byte, as the first still lies there: look again soon, then less
		 * often. Apache sends a head in three writes, microseconds apart. */
		struct pollfd left = { fd, POLLRDHUP, 0 };
		if (ppoll(&left, 1, &wait, NULL) > 0)
			return -1;
		if (wait.tv_nsec < 20000000)
			wait.tv_nsec *= 2;
	}
}

static void
answer_plainly(struct req *r, int status, const char *text)
{
	static const struct req_header type[] = { { "Content-Type", { "text/plain", 10 } } };
	struct err e = { 0 };

	if (req_answer(r, status, type, 1, &e) == 0)
		req_write(r, slice_of(text), &e);
}

/* -1: the request cannot be handled and has been answered. */
static int
prepare(struct req *r)
{
	struct slice length = req_param(r, "CONTENT_LENGTH");

	r->length = -1;
	r->id = rand_token(r->arena, 16);
	if (r->id.p == NULL) {
		answer_plainly(r, 500, "Out of memory\n");
		return -1;
	}
	/* Apache sends none, or an empty one, when the length is not known (chunked) or there is no body */
	if (length.n > 0 && conv_number(length, INT64_MAX, &r->length) < 0) {
		answer_plainly(r, 400, "Content-Length is not a number\n");
		return -1;
	}
	return 0;
}

static void
set_read_timeout(int fd, unsigned ms)
{
	struct timeval t = { ms / 1000, (suseconds_t)(ms % 1000) * 1000 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
}

/* Reads the rest of the body away. True when its end was seen, so that the connection can be kept. */
static bool
drain(struct req *r, const struct serve_limits *limits)
{
	FCGX_Stream *in = r->rq.in;
	int64_t end = clock_mono_ms() + limits->drain_ms;
	size_t left = limits->drain_bytes;
	struct timeval old;
	socklen_t size = sizeof old;

	if (FCGX_HasSeenEOF(in) != 0)
		return FCGX_GetError(in) == 0;
	FCGX_FFlush(r->rq.out);		/* the answer need not wait for this */
	getsockopt(r->rq.ipcFd, SOL_SOCKET, SO_RCVTIMEO, &old, &size);
	set_read_timeout(r->rq.ipcFd, limits->drain_ms);
	while (FCGX_GetChar(in) != EOF) {
		size_t k = (size_t)(in->stop - in->rdNext) + 1;
		in->rdNext = in->stop;
		if (k > left || clock_mono_ms() > end)
			return false;
		left -= k;
	}
	setsockopt(r->rq.ipcFd, SOL_SOCKET, SO_RCVTIMEO, &old, size);
	return FCGX_GetError(in) == 0;
}

static enum serve_end
finish(struct req *r, const struct serve_limits *limits)
{
	int fd = r->rq.ipcFd;

	if (r->cut) {
		FCGX_Free(&r->rq, 0);
		return SERVE_CLOSE;
	}
	bool drained = drain(r, limits);
	bool wanted = r->rq.keepConnection != 0;
	/* | and not ||: both have to be closed, and the second writes END_REQUEST */
	bool failed = (FCGX_FClose(r->rq.err) | FCGX_FClose(r->rq.out)) != 0;
	FCGX_Free(&r->rq, 0);
	if (failed)
		return SERVE_CLOSE;
	if (drained)
		return wanted ? SERVE_KEEP : SERVE_CLOSE;
	shutdown(fd, SHUT_WR);
	return SERVE_LINGER;
}

enum serve_end
req_serve(struct req *r, int fd, const struct serve_limits *limits, fcgi_handler *handle, void *ctx)
{
	if (await_head(fd, limits->head_ms) < 0)
		return SERVE_CLOSE;
	must(FCGX_InitRequest(&r->rq, -1, 0) == 0);
	r->rq.ipcFd = fd;
	r->rq.keepConnection = 1;	/* else Accept_r would begin by closing ipcFd */
	if (FCGX_Accept_r(&r->rq) < 0)
		return SERVE_CLOSED;
	r->bytes_in = r->bytes_out = 0;
	r->answered = r->cut = r->body_broken = false;
	if (prepare(r) == 0) {
		handle(ctx, r);
		if (!r->answered && !r->cut) {
			log_msg(LOG_ERROR, "fastcgi", "request %.*s was left without an answer", SLICE_FMT(r->id));
			answer_plainly(r, 500, "Internal error\n");
		}
	}
	enum serve_end end = finish(r, limits);
	arena_reset(r->arena);
	return end;
}
