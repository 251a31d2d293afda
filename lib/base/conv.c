#include "conv.h"

#include "must.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>

/* What OpenSSL would otherwise look up by name, under locks that all threads share, at each use. */
static struct {
	pthread_once_t once;
	EVP_MD *sha256;
	EVP_MAC *hmac;
} fetched = { .once = PTHREAD_ONCE_INIT };

static void
fetch(void)
{
	fetched.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	fetched.hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	must(fetched.sha256 != NULL && fetched.hmac != NULL);
}

static const struct slice absent = { NULL, 0 };

struct slice
conv_base64(struct arena *a, struct slice bytes)
{
	char *p = bytes.n > INT32_MAX / 2 ? NULL : arena_alloc(a, (bytes.n + 2) / 3 * 4 + 1);

	if (p == NULL)
		return absent;
	int n = EVP_EncodeBlock((unsigned char *)p, (const unsigned char *)bytes.p, (int)bytes.n);
	return (struct slice){ p, (size_t)n };
}

static bool
is_base64_char(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
	    c == '+' || c == '/';
}

/* Copies text without white space to out; the number of '=' at its end, or -1 for a foreign
 * character or one behind the padding. */
static int
compact(struct slice text, char *out, size_t *n)
{
	int padding = 0;

	*n = 0;
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
			continue;
		if (c == '=')
			padding++;
		else if (padding > 0 || !is_base64_char(c))
			return -1;
		out[(*n)++] = c;
	}
	return padding > 2 ? -1 : padding;
}

struct slice
conv_unbase64(struct arena *a, struct slice text)
{
	if (text.p == NULL || text.n > INT32_MAX / 2)
		return absent;
	char *plain = arena_alloc(a, text.n + 1), *out = arena_alloc(a, text.n + 4);
	size_t n;
	if (plain == NULL || out == NULL)
		return absent;
	int padding = compact(text, plain, &n);
	if (padding < 0 || n % 4 != 0)
		return absent;
	int got = EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)plain, (int)n);
	if (got < padding)
		return absent;
	out[got - padding] = '\0';
	return (struct slice){ out, (size_t)(got - padding) };
}

struct slice
conv_base64url(struct arena *a, struct slice bytes)
{
	struct slice s = conv_base64(a, bytes);
	char *p = arena_cstr(a, s);

	if (p == NULL)
		return absent;
	for (size_t i = 0; i < s.n; i++)
		if (p[i] == '+')
			p[i] = '-';
		else if (p[i] == '/')
			p[i] = '_';
	while (s.n > 0 && p[s.n - 1] == '=')
		p[--s.n] = '\0';
	return (struct slice){ p, s.n };
}

struct slice
conv_hex(struct arena *a, struct slice bytes)
{
	static const char digits[] = "0123456789abcdef";
	char *p = arena_alloc(a, bytes.n * 2 + 1);

	if (p == NULL)
		return absent;
	for (size_t i = 0; i < bytes.n; i++) {
		p[2 * i] = digits[(unsigned char)bytes.p[i] >> 4];
		p[2 * i + 1] = digits[(unsigned char)bytes.p[i] & 15];
	}
	return (struct slice){ p, bytes.n * 2 };
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

struct slice
conv_unhex(struct arena *a, struct slice text)
{
	char *p = text.p == NULL || text.n % 2 != 0 ? NULL : arena_alloc(a, text.n / 2 + 1);

	if (p == NULL)
		return absent;
	for (size_t i = 0; i < text.n / 2; i++) {
		int hi = hex_digit(text.p[2 * i]), lo = hex_digit(text.p[2 * i + 1]);
		if (hi < 0 || lo < 0)
			return absent;
		p[i] = (char)(hi << 4 | lo);
	}
	return (struct slice){ p, text.n / 2 };
}

int
conv_number(struct slice text, int64_t max, int64_t *out)
{
	int64_t v = 0;

	if (text.p == NULL || text.n == 0)
		return -1;
	for (size_t i = 0; i < text.n; i++) {
		char c = text.p[i];
		if (c < '0' || c > '9' || v > (max - (c - '0')) / 10)
			return -1;
		v = v * 10 + (c - '0');
	}
	*out = v;
	return 0;
}

/* Length of the well-formed character at s, or 0. Unicode 15, table 3-7. */
static size_t
utf8_length(const unsigned char *s, size_t n)
{
	unsigned char lo = 0x80, hi = 0xBF;
	size_t len;

	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xC2 && s[0] <= 0xDF)
		len = 2;
	else if ((s[0] & 0xF0) == 0xE0)
		len = 3;
	else if (s[0] >= 0xF0 && s[0] <= 0xF4)
		len = 4;
	else
		return 0;
	if (s[0] == 0xE0)
		lo = 0xA0;
	else if (s[0] == 0xED)
		hi = 0x9F;
	else if (s[0] == 0xF0)
		lo = 0x90;
	else if (s[0] == 0xF4)
		hi = 0x8F;
	if (n < len || s[1] < lo || s[1] > hi)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((s[i] & 0xC0) != 0x80)
			return 0;
	return len;
}

bool
conv_is_utf8(struct slice s)
{
	for (size_t i = 0, len; i < s.n; i += len) {
		len = utf8_length((const unsigned char *)s.p + i, s.n - i);
		if (len == 0)
			return false;
	}
	return s.p != NULL;
}

void
conv_sha256(struct slice bytes, uint8_t out[32])
{
	pthread_once(&fetched.once, fetch);
	must(EVP_Digest(bytes.p == NULL ? "" : bytes.p, bytes.n, out, NULL, fetched.sha256, NULL) == 1);
}

void
conv_hmac(struct slice key, const struct slice *parts, size_t n, uint8_t out[32])
{
	pthread_once(&fetched.once, fetch);
	EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(fetched.hmac);
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char []){ "SHA256" }, 0),
		OSSL_PARAM_construct_end(),
	};
	size_t len;

	must(EVP_MAC_init(ctx, (const unsigned char *)key.p, key.n, params) == 1);
	for (size_t i = 0; i < n; i++) {
		uint64_t size = parts[i].n;
		unsigned char prefix[8];
		for (int j = 0; j < 8; j++)
			prefix[j] = (unsigned char)(size >> (56 - 8 * j));
		must(EVP_MAC_update(ctx, prefix, sizeof prefix) == 1);
		if (parts[i].n > 0)
			must(EVP_MAC_update(ctx, (const unsigned char *)parts[i].p, parts[i].n) == 1);
	}
	must(EVP_MAC_final(ctx, out, &len, 32) == 1 && len == 32);
	EVP_MAC_CTX_free(ctx);
}
