/* seal: names that tell nothing and values that only holders of a key can read, make or move to another name. */
#ifndef CACHE_SEAL_H
#define CACHE_SEAL_H

#include "cache.h"

#include <openssl/evp.h>

struct seal_key { uint8_t id[4], naming[32], sealing[32]; };
struct seal {
	struct seal_key keys[CACHE_KEYS_MAX];	/* the first seals; all open */
	size_t n;
	EVP_CIPHER *cipher;
};
int seal_init(struct seal *s, const struct cache_key *keys, size_t n, struct err *e);
void seal_wipe(struct seal *s);

/* The name under one key of the ring. */
void seal_name(const struct seal *s, size_t key, const struct cache_name *name, uint8_t hash[32]);

struct seal_item {
	bool gone;		/* the mark of a deletion: no value */
	int64_t stamp;		/* the highest one of several copies is the newest */
	int64_t expires;	/* seconds UTC */
	struct slice value;
};
/* Sealed for that name; absent when the arena is full. */
struct slice seal_close(const struct seal *s, struct arena *a, const uint8_t hash[32], const struct seal_item *item);
enum seal_result {
	SEAL_OPENED,	/* the value is in the arena */
	SEAL_FOREIGN,	/* not made by seal_close for that name with a key of the ring */
	SEAL_NO_MEMORY,	/* the arena is full */
};
enum seal_result seal_open(const struct seal *s, struct arena *a, const uint8_t hash[32], struct slice sealed, struct seal_item *item);

#endif
