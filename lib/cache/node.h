/* node: one memcached server: connections that threads borrow, whether it answers, and what it was asked. */
#ifndef CACHE_NODE_H
#define CACHE_NODE_H

#include "slice.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#define NODE_KEY 64	/* bytes of a key: a hash in hex */

struct handle;
struct node {
	char *host, *zone;
	uint16_t port;
	unsigned timeout_ms;
	int wake;			/* eventfd of the watcher; -1: none */
	atomic_bool up;			/* requests clear it, only the watcher sets it */
	atomic_bool failed;		/* a request cleared it and the watcher has not seen that yet */
	atomic_uint epoch;		/* counts the times its content may have changed unseen */
	atomic_uint_fast64_t gets, hits, sets, errors, unopened;

	pthread_mutex_t lock;
	struct handle *idle;		/* last used first */
	unsigned generation;		/* a handle of an older one has a broken connection */
};
int node_init(struct node *n, const char *host, uint16_t port, const char *zone, unsigned timeout_ms);
void node_clear(struct node *n);

enum node_reply {
	NODE_DONE,	/* found, stored, deleted */
	NODE_NO,	/* not found; there already (add); changed meanwhile (replace) */
	NODE_REFUSED,	/* the node is well but would not, or we could not ask: for want of memory or descriptors */
	NODE_AWAY,	/* no answer in time, or no connection: the node is down from now on */
};
struct node_value { struct slice bytes; uint32_t version; uint64_t cas; struct handle *held; };
/* version: kept beside the bytes as memcached's client flags, so that copies are compared without being fetched. */
struct node_item { struct slice bytes; uint32_t version; int64_t ttl; };

/* On NODE_DONE the bytes are lent until node_give_back. */
enum node_reply node_get(struct node *n, const char key[NODE_KEY], struct node_value *v);
void node_give_back(struct node *n, struct node_value *v);
enum node_reply node_set(struct node *n, const char key[NODE_KEY], const struct node_item *item);
enum node_reply node_add(struct node *n, const char key[NODE_KEY], const struct node_item *item);
/* Only when it is still what node_get saw. */
enum node_reply node_replace(struct node *n, const char key[NODE_KEY], const struct node_item *item, uint64_t cas);
enum node_reply node_delete(struct node *n, const char key[NODE_KEY]);

/* Its connections are no longer good and its content may have changed: for the watcher. */
void node_lost(struct node *n);
/* Closes connections nobody will use again. */
void node_trim(struct node *n);

#endif
