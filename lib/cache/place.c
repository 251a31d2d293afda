/* The weight of a node for a name is a mix of both; the highest weight wins. Changing anything here moves every card
 * to other nodes: all servers must then change at once. */
#include "place.h"

#include "conv.h"

#include <stdio.h>
#include <string.h>

static uint64_t
word(const uint8_t *p)
{
	uint64_t w = 0;

	for (int i = 0; i < 8; i++)
		w = w << 8 | p[i];
	return w;
}

/* The finaliser of splitmix64: every bit of the input reaches every bit of the result. */
static uint64_t
mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

uint64_t
place_identity(const char *host, uint16_t port)
{
	char text[300];
	uint8_t digest[32];
	int n = snprintf(text, sizeof text, "%s:%u", host, (unsigned)port);
	size_t size = (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;

	conv_sha256((struct slice){ text, size }, digest);
	return word(digest);
}

void
place_order(const uint64_t *identities, size_t n, const uint8_t hash[32], uint8_t *order)
{
	uint64_t name = word(hash), weights[256];

	for (size_t i = 0; i < n; i++) {
		uint64_t weight = mix(identities[i] ^ mix(name));
		size_t at = i;
		for (; at > 0 && weights[at - 1] < weight; at--) {
			weights[at] = weights[at - 1];
			order[at] = order[at - 1];
		}
		weights[at] = weight;
		order[at] = (uint8_t)i;
	}
}
