/* Every way to fail takes the same path: all clients are looked at, whatever matched before, and the
 * answer is one and the same, so that neither time nor text tells which part was wrong. */
#include "access.h"

#include "conv.h"
#include "rand.h"

#include <string.h>

static const struct slice absent = { NULL, 0 };

static bool
in_ranges(const struct conf_address *ranges, size_t n, const struct conf_address *one, unsigned *bits)
{
	bool found = false;

	*bits = 0;
	for (size_t i = 0; i < n; i++)
		if (conf_address_has(&ranges[i], one)) {
			found = true;
			if (ranges[i].bits > *bits)
				*bits = ranges[i].bits;
		}
	return found;
}

static bool
is_front_proxy(const struct conf *c, const struct conf_address *a)
{
	unsigned bits;

	return in_ranges(c->front_proxies, c->nfront_proxies, a, &bits);
}

/* The last piece behind a comma; *rest loses it. */
static struct slice
last_piece(struct slice *rest)
{
	size_t at = rest->n;

	while (at > 0 && rest->p[at - 1] != ',')
		at--;
	struct slice piece = slice_trim(slice_from(*rest, at));
	rest->n = at > 0 ? at - 1 : 0;
	return piece;
}

/* The sender's address: the connection's own, or, when that is a listed front proxy, the nearest forwarded
 * address that is not one. -1: it cannot be told. */
static int
sender(const struct conf *c, const struct access_evidence *seen, struct arena *a,
    struct conf_address *out, struct slice *text)
{
	struct slice rest = seen->forwarded;

	*text = arena_dup(a, seen->peer);
	if (conf_address_parse(seen->peer, out) < 0)
		return -1;
	while (is_front_proxy(c, out)) {
		if (rest.p == NULL || rest.n == 0)
			return 0;
		struct slice piece = last_piece(&rest);
		if (conf_address_parse(piece, out) < 0)
			return -1;
		*text = arena_dup(a, piece);
	}
	return 0;
}

int
access_address(const struct conf *c, const struct access_evidence *seen, struct arena *a, struct slice *address,
    struct err *e)
{
	struct conf_address ignored;

	if (sender(c, seen, a, &ignored, address) < 0)
		return err_set(e, ERR_CLIENT_UNKNOWN, "sender's address cannot be told");
	return 0;
}

bool
access_is_front_proxy(const struct conf *c, struct slice peer)
{
	struct conf_address a;

	return conf_address_parse(peer, &a) == 0 && is_front_proxy(c, &a);
}

struct slice
access_nearest(struct slice header)
{
	return header.p == NULL ? header : last_piece(&header);
}

struct claim {
	struct slice id;	/* absent: not named */
	bool has_secret;
	uint8_t secret[32];	/* SHA-256 */
};

/* RFC 7617: "Basic " base64(id ":" secret) */
static void
read_basic(struct slice authorization, struct arena *a, struct claim *claim)
{
	if (authorization.n < 6 || !slice_is_nocase((struct slice){ authorization.p, 6 }, "Basic "))
		return;
	struct slice pair = conv_unbase64(a, slice_trim(slice_from(authorization, 6)));
	ptrdiff_t colon = slice_find(pair, S(":"));
	claim->has_secret = true;	/* an unreadable claim is a wrong one */
	if (colon < 0)
		return;
	claim->id = (struct slice){ pair.p, (size_t)colon };
	conv_sha256(slice_from(pair, (size_t)colon + 1), claim->secret);
}

static void
read_claim(const struct access_evidence *seen, struct arena *a, struct claim *claim)
{
	*claim = (struct claim){ .id = absent };
	read_basic(seen->authorization, a, claim);
	if (claim->has_secret || seen->secret.p == NULL)
		return;
	claim->has_secret = true;
	conv_sha256(seen->secret, claim->secret);
}

static bool
has_secret(const struct conf_client *client, const struct claim *claim)
{
	bool found = false;

	for (size_t i = 0; i < client->nsecrets; i++)
		found |= secret_eq((struct slice){ (const char *)client->secrets[i], 32 },
		    (struct slice){ (const char *)claim->secret, 32 });
	return found;
}

static bool
fits(const struct conf_client *client, const struct access_evidence *seen, const struct claim *claim,
    const struct conf_address *from, unsigned *bits)
{
	bool named = claim->id.p == NULL || slice_eq(claim->id, client->id);
	bool here = in_ranges(client->addresses, client->naddresses, from, bits);

	switch (client->auth) {
	case CONF_AUTH_SECRET:
		/* first, so that it is compared whatever else does not fit (test_same_path) */
		return has_secret(client, claim) && claim->has_secret && named && here;
	case CONF_AUTH_ADDRESS:
		return here && !claim->has_secret;
	case CONF_AUTH_CERTIFICATE:
		return (here || client->naddresses == 0) && !claim->has_secret &&
		    secret_eq(client->certificate, seen->certificate);
	}
	return false;
}

/* A certificate or a secret says more than an address; among addresses the narrowest range wins. */
static unsigned
strength(const struct conf_client *client, unsigned bits)
{
	return client->auth == CONF_AUTH_ADDRESS ? bits : 1000;
}

int
access_identify(const struct conf *c, const struct access_evidence *seen, struct arena *a,
    struct access_caller *out, struct err *e)
{
	struct conf_address from;
	struct claim claim;
	unsigned best = 0;
	bool tie = false;

	*out = (struct access_caller){ .address = absent };
	if (sender(c, seen, a, &from, &out->address) < 0)
		return err_set(e, ERR_CLIENT_UNKNOWN, "sender's address cannot be told");
	read_claim(seen, a, &claim);
	for (size_t i = 0; i < c->nclients; i++) {
		unsigned bits;
		if (!fits(&c->clients[i], seen, &claim, &from, &bits))
			continue;
		unsigned s = strength(&c->clients[i], bits);
		if (out->client == NULL || s > best) {
			best = s;
			tie = false;
			out->client = &c->clients[i];
		} else if (s == best) {
			tie = true;
		}
	}
	if (out->client == NULL || tie) {
		out->client = NULL;
		return err_set(e, ERR_CLIENT_UNKNOWN, "%s from %.*s%s", tie ? "two clients fit" : "no client fits",
		    SLICE_FMT(out->address), claim.has_secret ? " with a secret" : "");
	}
	out->organisation = out->client->organisation;
	return 0;
}

int
access_service(const struct conf *c, struct slice to, const struct conf_service **out, struct err *e)
{
	for (size_t i = 0; i < c->nservices; i++)
		if (slice_eq(c->services[i].url, to)) {
			*out = &c->services[i];
			return 0;
		}
	return err_set(e, ERR_SERVICE_UNKNOWN, "wsa:To \"%.*s\"", SLICE_FMT(to));
}

int
access_new_secret(struct arena *a, struct slice *secret, struct slice *stored)
{
	uint8_t hash[32];

	*secret = rand_token(a, 32);
	if (secret->p == NULL)
		return -1;
	conv_sha256(*secret, hash);
	struct slice hex = conv_hex(a, (struct slice){ (const char *)hash, sizeof hash });
	*stored = hex.p == NULL ? hex : arena_printf(a, "sha256:%.*s", SLICE_FMT(hex));
	return stored->p == NULL ? -1 : 0;
}

/* The base64 lines between the first BEGIN and END lines. */
struct slice
access_fingerprint(struct arena *a, struct slice pem)
{
	uint8_t hash[32];
	ptrdiff_t begin = slice_find(pem, S("-----BEGIN CERTIFICATE-----"));

	if (begin < 0)
		return absent;
	struct slice rest = slice_from(pem, (size_t)begin + 27);
	ptrdiff_t end = slice_find(rest, S("-----END CERTIFICATE-----"));
	if (end < 0)
		return absent;
	struct slice der = conv_unbase64(a, (struct slice){ rest.p, (size_t)end });
	if (der.p == NULL || der.n == 0)
		return absent;
	conv_sha256(der, hash);
	return conv_hex(a, (struct slice){ (const char *)hash, sizeof hash });
}
