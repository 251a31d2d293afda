/* A web server as the worker sees it: raw FastCGI over a unix socket, well-formed or not. One thread at a time. */
#ifndef PEER_H
#define PEER_H

#include "unit.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BEGIN = 1, ABORT = 2, END = 3, PARAMS = 4, STDIN = 5, STDOUT = 6, STDERR = 7, GET_VALUES = 9 };

struct bytes {
	unsigned char p[1 << 18];
	size_t n;
};

static inline void
put_raw(struct bytes *b, const void *p, size_t n)
{
	assert_true(b->n + n <= sizeof b->p);
	if (n > 0)
		memcpy(b->p + b->n, p, n);
	b->n += n;
}

static inline void
put_record(struct bytes *b, int type, int id, const void *p, size_t n)
{
	unsigned char h[8] = { 1, (unsigned char)type, (unsigned char)(id >> 8), (unsigned char)id,
		(unsigned char)(n >> 8), (unsigned char)n, 0, 0 };

	put_raw(b, h, sizeof h);
	put_raw(b, p, n);
}

static inline void
put_begin(struct bytes *b, int role, bool keep)
{
	unsigned char body[8] = { 0, (unsigned char)role, keep };

	put_record(b, BEGIN, 1, body, sizeof body);
}

static inline void
put_length(struct bytes *b, size_t n)
{
	unsigned char l[4] = { (unsigned char)(0x80 | n >> 24), (unsigned char)(n >> 16),
		(unsigned char)(n >> 8), (unsigned char)n };

	if (n < 128)
		put_raw(b, &l[3], 1);
	else
		put_raw(b, l, 4);
}

static inline void
put_pair(struct bytes *b, const char *name, const char *value)
{
	put_length(b, strlen(name));
	put_length(b, strlen(value));
	put_raw(b, name, strlen(name));
	put_raw(b, value, strlen(value));
}

/* "NAME=value" until NULL, and the end of the parameters */
static inline void
put_params(struct bytes *b, const char *const *params)
{
	static struct bytes pairs;

	pairs.n = 0;
	for (; *params != NULL; params++) {
		char name[64];
		const char *eq = strchr(*params, '=');
		snprintf(name, sizeof name, "%.*s", (int)(eq - *params), *params);
		put_pair(&pairs, name, eq + 1);
	}
	put_record(b, PARAMS, 1, pairs.p, pairs.n);
	put_record(b, PARAMS, 1, NULL, 0);
}

static inline void
put_stdin(struct bytes *b, const char *body)
{
	if (*body != '\0')
		put_record(b, STDIN, 1, body, strlen(body));
	put_record(b, STDIN, 1, NULL, 0);
}

static inline int
dial(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct timeval t = { 20, 0 };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
	if (connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0)
		fail_msg("connect %s: %s", path, strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	return fd;
}

/* All of it, or as much as the peer takes before it closes. */
static inline bool
send_all(int fd, const void *p, size_t n)
{
	for (size_t at = 0; at < n; ) {
		ssize_t k = send(fd, (const char *)p + at, n - at, MSG_NOSIGNAL);
		if (k < 0)
			return false;
		at += (size_t)k;
	}
	return true;
}

static inline bool
recv_all(int fd, void *p, size_t n)
{
	for (size_t at = 0; at < n; ) {
		ssize_t k = recv(fd, (char *)p + at, n - at, 0);
		if (k <= 0)
			return false;
		at += (size_t)k;
	}
	return true;
}

struct answer {
	char text[1 << 16];	/* STDOUT, NUL behind it */
	size_t n;
	bool ended;		/* END_REQUEST came */
	bool complete;		/* with FCGI_REQUEST_COMPLETE */
};

/* Until END_REQUEST, or the end of the connection. */
static inline const struct answer *
read_answer(int fd)
{
	static struct answer a;
	unsigned char h[8], body[65536 + 256];

	a = (struct answer){ .n = 0 };
	while (!a.ended && recv_all(fd, h, sizeof h)) {
		size_t n = (size_t)h[4] << 8 | h[5];
		if (!recv_all(fd, body, n + h[6]))
			break;
		if (h[1] == STDOUT && a.n + n < sizeof a.text) {
			memcpy(a.text + a.n, body, n);
			a.n += n;
		}
		if (h[1] == END) {
			a.ended = true;
			a.complete = body[4] == 0;
		}
	}
	a.text[a.n] = '\0';
	return &a;
}

/* True when the peer has closed, or does within 20 s. */
static inline bool
is_closed(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, 0);

	return n == 0 || (n < 0 && errno == ECONNRESET);
}

/* One whole request on an open connection. */
static inline const struct answer *
ask_on(int fd, bool keep, const char *const *params, const char *body)
{
	static struct bytes b;

	b.n = 0;
	put_begin(&b, 1, keep);
	put_params(&b, params);
	put_stdin(&b, body);
	assert_true(send_all(fd, b.p, b.n));
	return read_answer(fd);
}

#define PARAMS_OF(...) ((const char *const[]){ __VA_ARGS__, NULL })

#endif
