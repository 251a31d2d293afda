#include "rand.h"

#include "conv.h"
#include "must.h"

#include <openssl/rand.h>

void
rand_bytes(void *out, size_t n)
{
	must(RAND_bytes(out, (int)n) == 1);
}

struct slice
rand_token(struct arena *a, size_t n)
{
	char *p = arena_alloc(a, n);

	if (p == NULL)
		return (struct slice){ NULL, 0 };
	rand_bytes(p, n);
	return conv_base64url(a, (struct slice){ p, n });
}

struct slice
rand_uuid(struct arena *a)
{
	unsigned char b[16];

	rand_bytes(b, sizeof b);
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	return arena_printf(a, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
	    b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
	    b[14], b[15]);
}

bool
rand_is_token(struct slice s, size_t n)
{
	for (size_t i = 0; i < s.n; i++) {
		char x = s.p[i];
		if (!((x >= 'a' && x <= 'z') || (x >= 'A' && x <= 'Z') || (x >= '0' && x <= '9') || x == '-' || x == '_'))
			return false;
	}
	return s.n == (n * 8 + 5) / 6;
}
