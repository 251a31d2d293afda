#include "cards.h"

#include "conv.h"

struct slice
cards_session_mark(struct arena *a, struct slice id)
{
	uint8_t hash[32];

	conv_sha256(id, hash);
	struct slice hex = conv_hex(a, (struct slice){ (const char *)hash, 8 });
	return hex.p == NULL ? hex : arena_printf(a, "session:%.*s", SLICE_FMT(hex));
}
