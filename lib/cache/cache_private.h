/* What cache.c and restore.c share: the nodes, where a name lies on them, and what its copies look like. */
#ifndef CACHE_PRIVATE_H
#define CACHE_PRIVATE_H

#include "cache.h"
#include "node.h"
#include "seal.h"
#include "watch.h"

#define CACHE_COPIES 2
#define CACHE_CHECKED (1 << 16)		/* names noted; 512 KB */

struct cache {
	size_t n;
	struct node nodes[CACHE_NODES_MAX];
	uint64_t identities[CACHE_NODES_MAX];
	uint32_t moving;		/* bits of the nodes that nothing is placed on */
	struct watch *watch;
	struct seal seal;
	_Atomic int64_t reported;	/* when values that do not open were last logged */
	atomic_uint_fast64_t unopened;
	_Atomic uint64_t checked[CACHE_CHECKED];
};

/* A name under one key: where it is on the nodes. */
struct spot {
	uint8_t hash[32];
	char key[NODE_KEY];
	uint8_t order[CACHE_NODES_MAX];
};
/* Of a name that is known by its hash alone. */
void spot_of_hash(const struct cache *c, const uint8_t hash[32], struct spot *s);

/* The nodes that should have the name, of those that are up, as bits. */
uint32_t cache_holders(struct cache *c, const struct spot *s);
/* Brings the copies on those nodes to the newest that any node has; false when that could not be done or told. */
bool cache_reconcile(struct cache *c, struct arena *a, const struct spot *s);

#endif
