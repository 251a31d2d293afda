/* A sealed value: format 1 byte, key id 4, nonce 12, AES-256-GCM over (kind 1, stamp 8, expires 8, value), tag 16.
 * The name's hash, the format and the key id are associated data: a value put under another name does not open. */
#include "seal.h"

#include "conv.h"
#include "must.h"
#include "rand.h"

#include <openssl/crypto.h>
#include <string.h>

enum { ID = 4, NONCE = 12, TAG = 16, PREFIX = 1 + ID + NONCE, INNER = 1 + 8 + 8 };
enum { KIND_VALUE = 0, KIND_GONE = 1 };

/* One configured key serves two purposes, each with a key of its own. */
static void
derive(const struct cache_key *key, const char *purpose, uint8_t out[32])
{
	struct slice part = slice_of(purpose);

	conv_hmac((struct slice){ (const char *)key->bytes, sizeof key->bytes }, &part, 1, out);
}

int
seal_init(struct seal *s, const struct cache_key *keys, size_t n, struct err *e)
{
	if (n == 0 || n > CACHE_KEYS_MAX)
		return err_set(e, ERR_CONFIG, "%zu cache keys; one to %d are allowed", n, CACHE_KEYS_MAX);
	for (size_t i = 0; i < n; i++) {
		memcpy(s->keys[i].id, keys[i].id, ID);
		derive(&keys[i], "sosigw cache name", s->keys[i].naming);
		derive(&keys[i], "sosigw cache seal", s->keys[i].sealing);
	}
	s->n = n;
	s->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	if (s->cipher == NULL)
		return err_set(e, ERR_INTERNAL, "no AES-256-GCM");
	return 0;
}

void
seal_wipe(struct seal *s)
{
	EVP_CIPHER_free(s->cipher);
	OPENSSL_cleanse(s, sizeof *s);
}

void
seal_name(const struct seal *s, size_t key, const struct cache_name *name, uint8_t hash[32])
{
	struct slice parts[] = { name->kind, name->organisation, name->user };

	conv_hmac((struct slice){ (const char *)s->keys[key].naming, 32 }, parts, 3, hash);
}

static void
put64(uint8_t *p, int64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)((uint64_t)v >> (56 - 8 * i));
}

static int64_t
get64(const uint8_t *p)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return (int64_t)v;
}

/* A context that has taken key, nonce and associated data; prefix: the start of the sealed value. */
static EVP_CIPHER_CTX *
begin(const struct seal *s, const struct seal_key *key, const uint8_t *prefix, const uint8_t hash[32], int encrypt)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n;

	must(ctx != NULL);
	must(EVP_CipherInit_ex2(ctx, s->cipher, key->sealing, prefix + 1 + ID, encrypt, NULL) == 1);
	must(EVP_CipherUpdate(ctx, NULL, &n, hash, 32) == 1);
	must(EVP_CipherUpdate(ctx, NULL, &n, prefix, 1 + ID) == 1);
	return ctx;
}

struct slice
seal_close(const struct seal *s, struct arena *a, const uint8_t hash[32], const struct seal_item *item)
{
	size_t size = PREFIX + INNER + item->value.n + TAG;
	uint8_t *out = arena_alloc(a, size), *p = out, inner[INNER];
	int n;

	if (out == NULL)
		return (struct slice){ NULL, 0 };
	*p++ = CACHE_FORMAT;
	memcpy(p, s->keys[0].id, ID);
	rand_bytes(p + ID, NONCE);
	p = out + PREFIX;
	inner[0] = item->gone ? KIND_GONE : KIND_VALUE;
	put64(inner + 1, item->stamp);
	put64(inner + 9, item->expires);

	EVP_CIPHER_CTX *ctx = begin(s, &s->keys[0], out, hash, 1);
	must(EVP_CipherUpdate(ctx, p, &n, inner, INNER) == 1 && n == INNER);
	p += n;
	if (item->value.n > 0) {
		must(EVP_CipherUpdate(ctx, p, &n, (const uint8_t *)item->value.p, (int)item->value.n) == 1);
		p += n;
	}
	must(EVP_CipherFinal_ex(ctx, p, &n) == 1 && n == 0);
	must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG, p) == 1);
	EVP_CIPHER_CTX_free(ctx);
	return (struct slice){ (const char *)out, size };
}

static const struct seal_key *
key_of(const struct seal *s, const uint8_t *id)
{
	for (size_t i = 0; i < s->n; i++)
		if (memcmp(s->keys[i].id, id, ID) == 0)
			return &s->keys[i];
	return NULL;
}

/* n bytes at in become n bytes at out; false when the tag behind them does not fit. */
static bool
decrypt(EVP_CIPHER_CTX *ctx, const uint8_t *in, size_t n, uint8_t *out)
{
	uint8_t tag[TAG];
	int done, rest;

	memcpy(tag, in + n, TAG);
	bool ok = EVP_CipherUpdate(ctx, out, &done, in, (int)n) == 1 &&
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG, tag) == 1 &&
	    EVP_CipherFinal_ex(ctx, out + done, &rest) == 1;
	EVP_CIPHER_CTX_free(ctx);
	return ok;
}

enum seal_result
seal_open(const struct seal *s, struct arena *a, const uint8_t hash[32], struct slice sealed, struct seal_item *item)
{
	const uint8_t *in = (const uint8_t *)sealed.p;
	const struct seal_key *key;

	if (sealed.n < PREFIX + INNER + TAG || sealed.n > PREFIX + INNER + CACHE_VALUE_MAX + TAG ||
	    in[0] != CACHE_FORMAT || (key = key_of(s, in + 1)) == NULL)
		return SEAL_FOREIGN;
	size_t n = sealed.n - PREFIX - TAG;
	uint8_t *inner = arena_alloc(a, n + 1);
	if (inner == NULL)
		return SEAL_NO_MEMORY;
	if (!decrypt(begin(s, key, in, hash, 0), in + PREFIX, n, inner) || inner[0] > KIND_GONE)
		return SEAL_FOREIGN;
	item->gone = inner[0] == KIND_GONE;
	item->stamp = get64(inner + 1);
	item->expires = get64(inner + 9);
	item->value = (struct slice){ (const char *)inner + INNER, n - INNER };
	return SEAL_OPENED;
}
