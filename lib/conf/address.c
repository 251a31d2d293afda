#include "conf.h"

#include "conv.h"

#include <arpa/inet.h>
#include <string.h>

/* IPv4 becomes ::ffff:a.b.c.d, so that one comparison serves both. */
static int
parse_host(const char *text, uint8_t out[16], unsigned *offset)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	*offset = 0;
	if (inet_pton(AF_INET6, text, out) == 1)
		return 0;
	memcpy(out, mapped, sizeof mapped);
	*offset = 96;
	return inet_pton(AF_INET, text, out + 12) == 1 ? 0 : -1;
}

static bool
bit(const uint8_t *bytes, unsigned i)
{
	return (bytes[i / 8] >> (7 - i % 8) & 1) != 0;
}

int
conf_address_parse(struct slice text, struct conf_address *out)
{
	char host[64];
	struct slice rest = text, piece;
	unsigned offset;
	int64_t bits;

	if (!slice_next(&rest, '/', &piece) || piece.n >= sizeof host || memchr(piece.p, '\0', piece.n) != NULL)
		return -1;
	memcpy(host, piece.p, piece.n);
	host[piece.n] = '\0';
	if (parse_host(host, out->bytes, &offset) < 0)
		return -1;
	out->bits = 128;
	if (rest.p == NULL)
		return 0;
	if (rest.n > 3 || conv_number(rest, 128 - offset, &bits) < 0)
		return -1;
	out->bits = (unsigned)bits + offset;
	for (unsigned i = out->bits; i < 128; i++)
		if (bit(out->bytes, i))
			return -1;
	return 0;
}

bool
conf_address_has(const struct conf_address *range, const struct conf_address *one)
{
	unsigned whole = range->bits / 8, rest = range->bits % 8;

	if (one->bits < range->bits || memcmp(range->bytes, one->bytes, whole) != 0)
		return false;
	return rest == 0 || (range->bytes[whole] ^ one->bytes[whole]) >> (8 - rest) == 0;
}
