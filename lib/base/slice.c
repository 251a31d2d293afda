#include "slice.h"

#include <openssl/crypto.h>
#include <string.h>
#include <strings.h>

bool
slice_is_nocase(struct slice a, const char *s)
{
	return a.p != NULL && s != NULL && a.n == strlen(s) && strncasecmp(a.p, s, a.n) == 0;
}

ptrdiff_t
slice_find(struct slice hay, struct slice needle)
{
	if (hay.p == NULL || needle.p == NULL)
		return -1;
	const char *at = memmem(hay.p, hay.n, needle.p, needle.n);
	return at == NULL ? -1 : at - hay.p;
}

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct slice
slice_trim(struct slice a)
{
	while (a.n > 0 && is_space(a.p[0])) {
		a.p++;
		a.n--;
	}
	while (a.n > 0 && is_space(a.p[a.n - 1]))
		a.n--;
	return a;
}

bool
slice_skip(struct slice *rest, struct slice prefix)
{
	if (!slice_starts(*rest, prefix))
		return false;
	*rest = slice_from(*rest, prefix.n);
	return true;
}

bool
slice_next(struct slice *rest, char sep, struct slice *piece)
{
	if (rest->p == NULL)
		return false;
	const char *end = memchr(rest->p, sep, rest->n);
	if (end == NULL) {
		*piece = *rest;
		*rest = (struct slice){ NULL, 0 };
		return true;
	}
	*piece = (struct slice){ rest->p, (size_t)(end - rest->p) };
	*rest = slice_from(*rest, piece->n + 1);
	return true;
}

bool
secret_eq(struct slice a, struct slice b)
{
	return a.p != NULL && b.p != NULL && a.n == b.n && CRYPTO_memcmp(a.p, b.p, a.n) == 0;
}
