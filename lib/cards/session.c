#include "cards.h"

#include "conv.h"
#include "rand.h"

#define SESSION_BYTES 32

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
	return rand_is_token(text, SESSION_BYTES);
}
