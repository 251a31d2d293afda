#include "web.h"

#include "uri.h"

#include <string.h>

struct slice
web_cookie(struct slice header, const char *name)
{
	struct slice piece, key, found = { NULL, 0 };

	while (slice_next(&header, ';', &piece)) {
		struct slice value = slice_trim(piece);
		slice_next(&value, '=', &key);
		if (!slice_is(key, name) || value.p == NULL)
			continue;
		if (found.p != NULL)
			return (struct slice){ NULL, 0 };
		found = value;
	}
	return found;
}

struct slice
web_set_cookie(struct arena *a, const char *name, struct slice value)
{
	return arena_printf(a, "%s=%.*s; Path=/; Secure; HttpOnly; SameSite=Strict", name, SLICE_FMT(value));
}

/* Browsers write hosts in lower case, people as they like. */
static bool
is_same_host(struct slice a, struct slice b)
{
	char name[256];

	if (b.n >= sizeof name)
		return false;
	memcpy(name, b.p, b.n);
	name[b.n] = '\0';
	return slice_is_nocase(a, name);
}

static bool
is_same(struct slice origin, struct slice own)
{
	struct uri a, b;

	return uri_parse(origin, &a) == 0 && uri_parse(own, &b) == 0 && a.path.n == 0 && b.path.n == 0 &&
	    a.tls == b.tls && a.port == b.port && is_same_host(a.host, b.host);
}

bool
web_is_from_here(struct slice fetch_site, struct slice origin, const struct slice *own, size_t nown)
{
	if (fetch_site.p != NULL && !slice_is(fetch_site, "same-origin"))
		return false;
	if (origin.p == NULL)
		return true;
	/* A page that tells no referrer tells no origin either when it posts a form; then the other header must have said it. */
	if (slice_is(origin, "null"))
		return fetch_site.p != NULL;
	for (size_t i = 0; i < nown; i++)
		if (is_same(origin, own[i]))
			return true;
	return false;
}

bool
web_is_prefetch(struct req *r)
{
	return slice_find(req_param(r, "HTTP_SEC_PURPOSE"), S("prefetch")) >= 0 ||
	    slice_find(req_param(r, "HTTP_PURPOSE"), S("prefetch")) >= 0 ||
	    slice_find(req_param(r, "HTTP_X_MOZ"), S("prefetch")) >= 0;
}
