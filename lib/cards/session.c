#include "cards.h"

#include "conv.h"

#define SESSION_CHARACTERS 43	/* 32 bytes in base64url */

struct slice
cards_session_mark(struct arena *a, struct slice id)
{
	uint8_t hash[32];

	conv_sha256(id, hash);
	struct slice hex = conv_hex(a, (struct slice){ (const char *)hash, 8 });
	return hex.p == NULL ? hex : arena_printf(a, "session:%.*s", SLICE_FMT(hex));
}

bool
cards_is_session(struct slice text)
{
	for (size_t i = 0; i < text.n; i++) {
		char x = text.p[i];
		if (!((x >= 'a' && x <= 'z') || (x >= 'A' && x <= 'Z') || (x >= '0' && x <= '9') || x == '-' || x == '_'))
			return false;
	}
	return text.n == SESSION_CHARACTERS;
}
