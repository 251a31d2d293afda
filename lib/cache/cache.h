/* cache: sealed values on memcached nodes, two copies each, placed by rendezvous hashing (design 5). */
#ifndef CACHE_CACHE_H
#define CACHE_CACHE_H

#include "arena.h"
#include "err.h"

#include <stdint.h>

#define CACHE_FORMAT 1			/* of the seal; what is in it has a format of its own */
#define CACHE_NODES_MAX 32
#define CACHE_VALUE_MAX (900 * 1024)	/* bytes */
#define CACHE_TTL_MAX (25 * 3600)	/* seconds; a card lives 24 h and 10 minutes at most */

/* Placement follows host and port as written here, so every server must write them the same way. On a node that is
 * moving, being added or taken away, nothing is placed, but it is searched, and cleared of what is written elsewhere:
 * so servers that place on it already, or still do, can work beside others. */
struct cache_node { const char *host; uint16_t port; const char *zone; bool moving; };	/* host may be a unix socket path */
struct cache_key { uint8_t id[4]; uint8_t bytes[32]; };	/* a sealing key and its id */
#define CACHE_KEYS_MAX 2

struct cache_conf {
	const struct cache_node *nodes;
	size_t nnodes;
	struct cache_key keys[CACHE_KEYS_MAX];	/* the first seals; all open */
	size_t nkeys;
	unsigned timeout_ms;	/* of one operation on one node */
};
struct cache;
/* Works with every node away. NULL: no memory. */
struct cache *cache_new(const struct cache_conf *conf, struct err *e);
void cache_free(struct cache *c);

/* One name of one kind for one organisation: hashed with HMAC, so nothing of it shows in a node. */
struct cache_name { struct slice kind, organisation, user; };

/* *value absent: no copy anywhere. ERR_CACHE: no node that may hold it could be asked. A copy that was altered, has another
 * format or belongs to another name counts as absent. */
int cache_get(struct cache *c, struct arena *a, const struct cache_name *name, struct slice *value, struct err *e);
/* The same, but every node is asked and the newest copy wins: for a caller that cannot use what cache_get gave, since
 * a node that was away may have come back with something old. */
int cache_get_newest(struct cache *c, struct arena *a, const struct cache_name *name, struct slice *value, struct err *e);
/* Both copies; one is enough for success when other nodes are down. ttl in seconds. ERR_CACHE: no node took it;
 * ERR_INVALID: value or ttl beyond the limits above. */
int cache_set(struct cache *c, const struct cache_name *name, struct slice value, int64_t ttl, struct err *e);
/* Only when there is none: ERR_CONFLICT otherwise. Of many callers one wins: every node that takes a copy decides, and who has
 * not all of them on his side has lost. When nodes come and go just then it may be that nobody wins. Two win only when the
 * servers they are on see no node in common. */
int cache_add(struct cache *c, const struct cache_name *name, struct slice value, int64_t ttl, struct err *e);
/* Gone on every node that may hold it, and a mark left that wins over an old copy on a node that comes back. *certain
 * is false when a node could not be asked; ERR_CACHE when none could. */
int cache_delete(struct cache *c, const struct cache_name *name, bool *certain, struct err *e);

struct cache_node_state { const char *host; uint16_t port; const char *zone; bool up; uint64_t gets, hits, sets, errors, unopened; };
/* unopened: values that were altered, of another format, key or name. */
size_t cache_state(struct cache *c, struct cache_node_state *out, size_t max);

/* ---- copies of what nobody reads (restore.c); one process per server does it, in a thread of its own */

struct cache_restore;
/* who: this server, one word; shown to administrators. NULL: no memory. */
struct cache_restore *cache_restore_new(struct cache *c, const char *who, struct err *e);
void cache_restore_free(struct cache_restore *r);
/* Gives every node that came back, or that the list of nodes names anew, the copies that belong on it: what it lacks is
 * added, what is older there is brought up to date, deletions are values too. To be called about once a second; there is
 * mostly nothing to do, but it may take minutes, and then goes_on is asked often and ends it. Of the servers that
 * want to restore a node one does it. ERR_CACHE: something could not be done; it is tried again at a later call. */
int cache_restore_run(struct cache_restore *r, bool (*goes_on)(void *ctx), void *ctx, struct err *e);
/* Test hook: it is not waited for until other processes know a node again. */
void cache_restore_hurry(struct cache_restore *r);

enum cache_restored { CACHE_NOT_RESTORED, CACHE_RESTORING, CACHE_RESTORED };
struct cache_node_report {
	const struct cache_node *node;
	bool reachable;
	int64_t uptime, items, evictions;	/* seconds; values; values that had to go for want of memory */
	/* Whether the node holds every copy that belongs on it; of a node that is moving it says nothing. */
	enum cache_restored state;
	int64_t restored;		/* seconds UTC, when that was last brought about; 0: never since the node started */
	int64_t copied, corrected;	/* how many values that took */
	char by[64];			/* the server that did it, or does it now */
};
/* Asks each node of conf, which needs no keys, in turn; out has room for all. */
void cache_report(const struct cache_conf *conf, struct cache_node_report *out);

/* Reads a key file: lines "id-in-8-hex key-in-64-hex", the first seals, '#' comments; refuses one that others can read. ERR_CONFIG. */
int cache_read_keys(const char *path, struct cache_key *keys, size_t *n, struct err *e);

#endif
