/* slice: a view of bytes that somebody else owns. */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* p == NULL means absent, which is not the same as empty. */
struct slice {
	const char *p;
	size_t n;
};

/* A slice of a string literal. */
#define S(lit) ((struct slice){ "" lit, sizeof(lit) - 1 })
/* For printf("%.*s", SLICE_FMT(s)). */
#define SLICE_FMT(s) (int)(s).n, (s).p == NULL ? "" : (s).p

/* Some are inline: every element of a message is compared with literals, whose length is then known in advance. */

/* The bytes of a C string; NULL becomes absent. */
static inline struct slice
slice_of(const char *s)
{
	return (struct slice){ s, s == NULL ? 0 : strlen(s) };
}

/* Equal bytes. Absent equals nothing, not even absent, so that a missing value fails closed. */
static inline bool
slice_eq(struct slice a, struct slice b)
{
	return a.p != NULL && b.p != NULL && a.n == b.n && memcmp(a.p, b.p, a.n) == 0;
}

/* slice_eq with a C string. */
static inline bool
slice_is(struct slice a, const char *s)
{
	return slice_eq(a, slice_of(s));
}

/* ASCII case folded; for header and parameter names, never for identities. */
bool slice_is_nocase(struct slice a, const char *s);

static inline bool
slice_starts(struct slice a, struct slice prefix)
{
	return a.p != NULL && prefix.p != NULL && a.n >= prefix.n &&
	    memcmp(a.p, prefix.p, prefix.n) == 0;
}

/* Offset of the first occurrence, or -1. */
ptrdiff_t slice_find(struct slice hay, struct slice needle);
/* Without XML white space (space, tab, CR, LF) at the ends. */
struct slice slice_trim(struct slice a);

/* From byte `from` to the end; empty when beyond it. */
static inline struct slice
slice_from(struct slice a, size_t from)
{
	if (a.p == NULL)
		return (struct slice){ NULL, 0 };
	if (from > a.n)
		from = a.n;
	return (struct slice){ a.p + from, a.n - from };
}

/* Goes past `prefix` when it stands first in *rest; else false, and *rest is as it was. */
bool slice_skip(struct slice *rest, struct slice prefix);
/* Takes what stands before the first `sep` out of *rest; false when *rest is absent. The last
 * piece leaves *rest absent. */
bool slice_next(struct slice *rest, char sep, struct slice *piece);
/* slice_eq in time that depends on the lengths alone; for secrets and MACs. */
bool secret_eq(struct slice a, struct slice b);

#endif
