/* Judges the head of a FastCGI request before libfcgi reads it. libfcgi 2.4.2 believes its peer: it allocates
 * whatever a length says (and aborts when it gets nothing), keeps parameters without end, and
 * overflows a buffer on the stack when FCGI_GET_VALUES repeats a name. So nothing but BEGIN_REQUEST for a
 * responder and a bounded PARAMS stream whose lengths add up is let through to it. */
#include "serve.h"

enum { BEGIN_REQUEST = 1, PARAMS = 4, RESPONDER = 1, HEADER = 8, BEGIN_BODY = 8 };

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

/* The two lengths are complete: the number of bytes to step over; -1 when they are not. */
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

static size_t
word(const uint8_t *p)
{
	return (size_t)p[0] << 8 | p[1];
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
	if (p[1] != BEGIN_REQUEST || id == 0 || word(p + 4) != BEGIN_BODY || word(p + HEADER) != RESPONDER)
		return -1;
	for (size_t at = HEADER + BEGIN_BODY + p[6]; at + HEADER <= n; ) {
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
