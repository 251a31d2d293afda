/* The reading half of FastCGI for one request at a time.
 *
 * Why not libfcgi's: 2.4.2 believes its peer. It allocates whatever a length says (and aborts when it gets nothing), keeps
 * parameters without end, and overflows a buffer on its stack when FCGI_GET_VALUES repeats a name, anywhere
 * in a stream. So it only gets to see a head that has been judged here (req.c hands it over), and the body never
 * passes through it. A web server sends nothing else than BEGIN_REQUEST, PARAMS and STDIN of one request at a time;
 * whatever is different ends the request. */
#include "input.h"

#include "clock.h"
#include "must.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum { BEGIN_REQUEST = 1, ABORT_REQUEST = 2, PARAMS = 4, STDIN = 5 };
enum { RESPONDER = 1, HEADER = 8, BEGIN_BODY = 8 };

/* What a request is begun with, and doubled: what has been received of a body that is then refused, the client has sent
 * for nothing. A plain call fits. */
#define RECEIVE_FIRST 16384

static size_t
word(const uint8_t *p)
{
	return (size_t)p[0] << 8 | p[1];
}

/* ---- the head */

/* Steps over name-value pairs, which may begin in one record and end in the next. */
struct pairs {
	size_t skip;		/* bytes of the present name and value still to come */
	unsigned have;		/* bytes of its two lengths seen so far */
	uint8_t lengths[8];
};

static size_t
length_at(const uint8_t *p, size_t *used)
{
	*used = (p[0] & 0x80) != 0 ? 4 : 1;
	if (*used == 1)
		return p[0];
	return (size_t)(p[0] & 0x7f) << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
}

/* Name and value together, when both lengths are complete; -1 when they are not. */
static ssize_t
both_lengths(const struct pairs *s)
{
	size_t n1, n2;
	size_t name = length_at(s->lengths, &n1);

	if (s->have <= n1)
		return -1;
	size_t value = length_at(s->lengths + n1, &n2);
	return s->have < n1 + n2 ? -1 : (ssize_t)(name + value);
}

static int
step(struct pairs *s, const uint8_t *p, size_t n)
{
	while (n > 0) {
		size_t k = s->skip < n ? s->skip : n;
		s->skip -= k;
		p += k;
		n -= k;
		if (n == 0)
			break;
		s->lengths[s->have++] = *p++;
		n--;
		ssize_t skip = both_lengths(s);
		if (skip > HEAD_MAX)
			return -1;
		if (skip >= 0) {
			s->skip = (size_t)skip;
			s->have = 0;
		}
	}
	return 0;
}

ssize_t
head_check(const uint8_t *p, size_t n)
{
	struct pairs pairs = { 0 };

	if (n > 0 && p[0] != 1)
		return -1;
	if (n < HEADER + BEGIN_BODY)
		return 0;
	size_t id = word(p + 2);
	/* libfcgi loses the parameters when this record is padded */
	if (p[1] != BEGIN_REQUEST || id == 0 || word(p + 4) != BEGIN_BODY || p[6] != 0 ||
	    word(p + HEADER) != RESPONDER)
		return -1;
	for (size_t at = HEADER + BEGIN_BODY; at + HEADER <= n; ) {
		const uint8_t *h = p + at;
		size_t len = word(h + 4);
		if (h[0] != 1 || h[1] != PARAMS || word(h + 2) != id)
			return -1;
		if (len == 0)
			return pairs.skip == 0 && pairs.have == 0 ? (ssize_t)(at + HEADER) : -1;
		if (at + HEADER + len > n)
			return 0;
		if (step(&pairs, h + HEADER, len) < 0)
			return -1;
		at += HEADER + len + h[6];
	}
	return 0;
}

/* ---- bytes */

static size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static int
give_up(struct input *in, const char *why)
{
	in->broken = why;
	return -1;
}

static int
fell_silent(struct input *in)
{
	in->silent = true;
	return give_up(in, "the web server sent nothing for too long");
}

/* Receives what there is, at least a byte and at most `most`, behind what the buffer holds. 1 when nothing comes in ms. */
static int
receive(struct input *in, size_t most, int ms)
{
	struct pollfd readable = { in->fd, POLLIN, 0 };

	for (;;) {
		ssize_t n = recv(in->fd, in->buf + in->end, least(most, in->most), MSG_DONTWAIT);
		if (n > 0) {
			in->end += (size_t)n;
			in->most = least(2 * in->most, sizeof in->buf);
			return 0;
		}
		if (n == 0)
			return give_up(in, in->end == 0 ? "" : "the sender broke off");
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN && errno != EWOULDBLOCK)
			return give_up(in, "the connection broke");
		int rc = poll(&readable, 1, ms);
		if (rc == 0)
			return 1;
		if (rc < 0 && errno != EINTR)
			return give_up(in, "the connection cannot be watched");
	}
}

/* At least n bytes stand at in->at. */
static int
need(struct input *in, size_t n, int ms)
{
	must(n <= sizeof in->buf);
	if (in->at == in->end)
		in->at = in->end = 0;
	while (in->end - in->at < n) {
		if (in->at > 0) {	/* a header that was cut by the end of what we received */
			memmove(in->buf, in->buf + in->at, in->end - in->at);
			in->end -= in->at;
			in->at = 0;
		}
		int rc = receive(in, in->exact ? n - in->end : sizeof in->buf - in->end, ms);
		if (rc != 0)
			return rc < 0 ? -1 : fell_silent(in);
	}
	return 0;
}

/* Passes over *left bytes. */
static int
skip(struct input *in, size_t *left, int ms)
{
	while (*left > 0) {
		if (in->at == in->end && need(in, in->exact ? least(*left, sizeof in->buf) : 1, ms) < 0)
			return -1;
		size_t k = least(in->end - in->at, *left);
		in->at += k;
		*left -= k;
	}
	return 0;
}

/* ---- a request begins */

/* 1: at the BEGIN_REQUEST of the next request; 0: nothing more has come; -1: broken. */
static int
skip_stale(struct input *in, int64_t end)
{
	for (;;) {
		if (in->at == in->end) {
			in->at = in->end = 0;
			int rc = receive(in, sizeof in->buf, 0);
			if (rc != 0)
				return rc < 0 ? -1 : 0;
		}
		int64_t left = end - clock_mono_ms();
		if (left <= 0)
			return give_up(in, "an answered request goes on");
		if (need(in, HEADER, (int)left) < 0)
			return -1;
		const uint8_t *h = in->buf + in->at;
		if (h[0] == 1 && h[1] == BEGIN_REQUEST)
			return 1;
		if (h[0] != 1 || h[1] != STDIN)
			return give_up(in, "a record that is no part of the body came");
		in->content = word(h + 4) + h[6];
		in->at += HEADER;
		if (skip(in, &in->content, (int)left) < 0)
			return -1;
	}
}

/* What stands at in->at goes to the front; then until the head is whole. */
static ssize_t
collect_head(struct input *in, int64_t end)
{
	memmove(in->buf, in->buf + in->at, in->end - in->at);
	in->end -= in->at;
	in->at = 0;
	for (;;) {
		ssize_t head = head_check(in->buf, in->end);
		if (head < 0)
			return give_up(in, "not FastCGI");
		if (head > 0)
			return head;
		if (in->end == sizeof in->buf)
			return give_up(in, "its parameters are too long");
		int64_t left = end - clock_mono_ms();
		int rc = receive(in, sizeof in->buf - in->end, left < 0 ? 0 : (int)left);
		if (rc != 0)
			return rc < 0 ? -1 : fell_silent(in);
	}
}

struct slice
input_head(struct input *in, int fd, unsigned ms, bool stale)
{
	const struct slice none = { NULL, 0 };
	int64_t end = clock_mono_ms() + ms;

	in->fd = fd;
	in->at = in->end = in->content = in->padding = 0;
	in->ended = in->exact = in->silent = false;
	in->most = RECEIVE_FIRST;
	in->broken = NULL;
	if (stale && skip_stale(in, end) <= 0)
		return none;
	ssize_t head = collect_head(in, end);
	if (head < HEADER)	/* -1; a head has some records */
		return none;
	in->id = (unsigned)word(in->buf + 2);
	in->at = (size_t)head;
	in->padding = in->buf[head - 2];	/* of the last record, which has nothing else */
	return (struct slice){ (const char *)in->buf, (size_t)head };
}

/* ---- the body */

static int
next_record(struct input *in, int ms)
{
	if (skip(in, &in->padding, ms) < 0 || need(in, HEADER, ms) < 0)
		return -1;
	const uint8_t *h = in->buf + in->at;
	if (h[0] != 1 || word(h + 2) != in->id || (h[1] != STDIN && h[1] != ABORT_REQUEST))
		return give_up(in, "a record that is no part of the body came");
	if (h[1] == ABORT_REQUEST)
		return give_up(in, "the web server aborted the request");
	in->content = word(h + 4);
	in->padding = h[6];
	in->at += HEADER;
	if (in->content == 0 && skip(in, &in->padding, ms) < 0)
		return -1;
	in->ended = in->content == 0;
	return 0;
}

ssize_t
input_read(struct input *in, void *out, size_t n, int ms)
{
	if (in->broken != NULL)
		return -1;
	while (in->content == 0 && !in->ended)
		if (next_record(in, ms) < 0)
			break;
	if (in->broken == NULL && in->ended)
		return 0;
	if (in->broken == NULL && need(in, 1, ms) == 0) {
		size_t k = least(least(in->end - in->at, in->content), n);
		memcpy(out, in->buf + in->at, k);
		in->at += k;
		in->content -= k;
		return (ssize_t)k;
	}
	if (in->broken[0] == '\0')
		in->broken = "the sender broke off";
	return -1;
}

bool
input_is_clean(const struct input *in)
{
	return in->ended && in->at == in->end;
}

int
input_settle(struct input *in, int ms)
{
	if (in->silent) {	/* that is no reason any more */
		in->silent = false;
		in->broken = NULL;
	}
	in->exact = true;
	while (in->broken == NULL) {
		if (skip(in, &in->content, ms) < 0 || skip(in, &in->padding, ms) < 0)
			return -1;
		if (in->at == in->end)
			return 0;
		if (in->ended || next_record(in, ms) < 0)
			return -1;
	}
	return -1;
}
