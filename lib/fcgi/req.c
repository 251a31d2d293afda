/* One request.
 *
 * Reading is ours (input.c says why). libfcgi gets the judged head over a socket pair of this thread, makes the parameters of
 * it, and writes the answer to the connection. It is steered by two fields that fcgiapp.h puts below "Don't use
 * anything below here": ipcFd and keepConnection. They are used in this file alone, and test_fcgi has a test that
 * fails should a new libfcgi mean something else by them. libfcgi never closes a connection: its own close
 * reads for as long as the peer sends.
 *
 * What to know before changing the end of a request:
 * - Apache writes the body while it polls for the answer. When we close with its bytes unread, its next write fails and
 *   it answers 503 instead of passing on our answer. So what is left of a short body is read away before the end.
 * - What is longer is left: Apache holds a short answer back until it sees our END_REQUEST, and all that we read meanwhile the
 *   client sends for nothing. Then Apache stops writing, and at once gives the connection to
 *   its next request. Closing it then would hit that one (it did: 8 of 25,000 requests, one of them repeated without
 *   its body). So the connection is left at the border of two records, and the rest of the old body is
 *   passed over when the next BEGIN_REQUEST is looked for: nothing of one request can be taken for another's.
 * - Nothing may be written after a cut: Apache takes END_REQUEST for the proper end of the answer. */
#include "serve.h"

#include "buf.h"
#include "clock.h"
#include "conv.h"
#include "input.h"
#include "log.h"
#include "must.h"
#include "rand.h"

#include <errno.h>
#include <fcgiapp.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_PIECE 8192
#define ID_BYTES 16
#define IDS 16		/* drawn at once */
#define BODY_MS 60000	/* for a web server that sends none of its body */

struct req {
	FCGX_Request rq;
	struct input in;
	int pair[2];			/* our end, libfcgi's end */
	struct arena *arena;
	struct slice id;
	char ids[IDS * ID_BYTES];	/* random bytes; they name requests and keep no secret */
	size_t ids_left;		/* of these bytes, not yet used */
	int64_t length;			/* -1: not known */
	uint64_t bytes_in, bytes_out;
	bool served, answered, cut;
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

	if (r == NULL)
		return NULL;
	r->pair[0] = r->pair[1] = -1;
	r->arena = arena_new(arena_cap);
	if (r->arena == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, r->pair) < 0) {
		req_free(r);
		return NULL;
	}
	return r;
}

void
req_free(struct req *r)
{
	if (r == NULL)
		return;
	if (r->pair[0] >= 0)
		close(r->pair[0]);
	if (r->pair[1] >= 0)
		close(r->pair[1]);
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
	size_t n = strlen(name);

	/* FCGX_GetParam compares whole names, and this is asked for a score of them in each request */
	for (char **p = r->rq.envp; *p != NULL; p++)
		if (**p == *name && strncmp(*p, name, n) == 0 && (*p)[n] == '=')
			return slice_of(*p + n + 1);
	return slice_of(NULL);
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

bool
req_is_repeated(const struct req *r)
{
	return slice_is(req_param(r, "SOSIGW_REPEATED"), "yes");
}

static int
broken(struct req *r, enum err_kind kind, const char *why, struct err *e)
{
	r->body_broken = true;
	return err_set(e, kind, "%s after %llu of %lld bytes", why, (unsigned long long)r->bytes_in, (long long)r->length);
}

ssize_t
req_read(struct req *r, void *out, size_t n, struct err *e)
{
	must(n > 0);
	if (r->body_broken)
		return err_set(e, ERR_BODY_CUT, "the body was broken off before");
	ssize_t k = input_read(&r->in, out, n, BODY_MS);
	if (k < 0)
		return broken(r, ERR_BODY_CUT, r->in.broken, e);
	r->bytes_in += (uint64_t)k;
	if (r->length < 0)
		return k;
	if (r->bytes_in > (uint64_t)r->length)
		return broken(r, ERR_BODY_CUT, "the body goes on", e);
	/* Apache ends it in order only when it has it all; a balancer's second try has not, but says the first one's length */
	if (k == 0 && r->bytes_in < (uint64_t)r->length)
		return broken(r, ERR_MESSAGE_LOST, "the body ended", e);
	return k;
}

static int
read_to_end(struct req *r, struct buf *b, struct err *e)
{
	for (;;) {
		char *room = buf_room(b, READ_PIECE);
		if (room == NULL)
			return err_set(e, ERR_BODY_TOO_BIG, "more than %zu bytes", b->cap - READ_PIECE);
		ssize_t n = req_read(r, room, READ_PIECE, e);
		if (n < 0)
			return -1;
		if (n == 0)
			return 0;
		b->n += (size_t)n;
	}
}

int
req_read_all(struct req *r, size_t most, struct slice *out, struct err *e)
{
	struct buf *b = arena_alloc(r->arena, sizeof *b);

	if (r->length > (int64_t)most)
		return err_set(e, ERR_BODY_TOO_BIG, "%lld bytes", (long long)r->length);
	if (b == NULL)
		return err_set(e, ERR_MEMORY, "body");
	buf_init(b, most + READ_PIECE);
	if (buf_defer(b, r->arena) < 0)
		return err_set(e, ERR_MEMORY, "body");
	if (read_to_end(r, b, e) < 0)
		return -1;
	if (b->n > most)
		return err_set(e, ERR_BODY_TOO_BIG, "more than %zu bytes", most);
	*out = b->n == 0 ? S("") : buf_slice(b);
	return 0;
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

/* Gives libfcgi the head; it has nothing else to read. After this it writes to the connection. */
static int
begin(struct req *r, int fd, struct slice head)
{
	if (send(r->pair[0], head.p, head.n, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)head.n)
		return -1;
	must(FCGX_InitRequest(&r->rq, -1, 0) == 0);
	r->rq.ipcFd = r->pair[1];
	r->rq.keepConnection = 1;	/* else Accept_r would begin by closing ipcFd */
	if (FCGX_Accept_r(&r->rq) < 0) {
		r->pair[1] = -1;	/* it closed it */
		return -1;
	}
	r->rq.ipcFd = fd;
	r->bytes_in = r->bytes_out = 0;
	r->answered = r->cut = r->body_broken = false;
	return 0;
}

/* libfcgi did not take a head that we found in order, and may have left some of it: start afresh. */
static void
renew_pair(struct req *r)
{
	log_msg(LOG_ERROR, "fastcgi", "libfcgi refused a request");
	close(r->pair[0]);
	if (r->pair[1] >= 0)
		close(r->pair[1]);
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, r->pair) == 0);
}

static void
answer_plainly(struct req *r, int status, const char *text)
{
	static const struct req_header type[] = { { "Content-Type", { "text/plain", 10 } } };
	struct err e = { 0 };

	if (req_answer(r, status, type, 1, &e) == 0)
		req_write(r, slice_of(text), &e);
}

static struct slice
next_id(struct req *r)
{
	if (r->ids_left == 0) {
		rand_bytes(r->ids, sizeof r->ids);
		r->ids_left = sizeof r->ids;
	}
	r->ids_left -= ID_BYTES;
	return conv_base64url(r->arena, (struct slice){ r->ids + r->ids_left, ID_BYTES });
}

/* -1: the request cannot be handled and has been answered. */
static int
prepare(struct req *r)
{
	struct slice length = req_param(r, "CONTENT_LENGTH");

	r->length = -1;
	r->id = next_id(r);
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

/* Reads the rest of the body away when it is short. True when its end was seen, so that the connection can be kept. */
static bool
drain(struct req *r, const struct serve_limits *limits)
{
	int64_t end = clock_mono_ms() + limits->drain_ms, left = limits->drain_ms;
	size_t room = limits->drain_bytes;
	char trash[16384];

	if (r->in.ended || r->in.broken != NULL)
		return input_is_clean(&r->in);
	if (r->length >= 0 && (uint64_t)r->length > r->bytes_in + room)
		return false;
	FCGX_FFlush(r->rq.out);		/* the answer need not wait for this */
	for (ssize_t n; left > 0 && (n = input_read(&r->in, trash, sizeof trash, (int)left)) > 0; ) {
		if ((size_t)n > room)
			break;
		room -= (size_t)n;
		left = end - clock_mono_ms();
	}
	return input_is_clean(&r->in);
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
	bool settled = drained || input_settle(&r->in, (int)limits->drain_ms) == 0;
	bool wanted = r->rq.keepConnection != 0;
	/* | and not ||: both have to be closed, and the second writes END_REQUEST */
	bool failed = (FCGX_FClose(r->rq.err) | FCGX_FClose(r->rq.out)) != 0;
	FCGX_Free(&r->rq, 0);
	if (failed || !settled || (drained && !wanted))
		return SERVE_CLOSE;
	if (drained)
		return SERVE_KEEP;
	if (!wanted)
		shutdown(fd, SHUT_WR);	/* the web server closes when it has the answer */
	return SERVE_STALE;
}

bool
req_was_served(const struct req *r)
{
	return r->served;
}

enum serve_end
req_serve(struct req *r, int fd, bool stale, const struct serve_limits *limits, fcgi_handler *handle, void *ctx)
{
	struct slice head = input_head(&r->in, fd, limits->head_ms, stale);

	r->served = false;
	if (head.p == NULL && r->in.broken == NULL)
		return SERVE_STALE;
	if (head.p == NULL) {
		if (r->in.broken[0] != '\0')
			log_msg(LOG_WARN, "fastcgi", "request dropped: %s", r->in.broken);
		return SERVE_CLOSE;
	}
	if (begin(r, fd, head) < 0) {
		renew_pair(r);
		return SERVE_CLOSE;
	}
	r->served = true;
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
