/* Two copies of each value, on the two best-ranked nodes that answer (place.h), the second in another zone when there
 * is one. How copies are kept from disagreeing:
 *
 * - Every value carries a stamp inside its seal, higher than that of any copy its writer could see. Where copies differ
 *   the highest stamp wins and the others are written over; a deletion is a value too (seal_item.gone), so an old copy
 *   that comes back with a node loses against it.
 * - A name whose copies have been compared is noted in `checked`, with the epochs of both nodes: then the first copy
 *   alone is asked, which is the normal case, one round trip. A node's epoch moves when it restarted or was away
 *   (watch.c), and every note ends after some minutes, since other processes may have seen other nodes.
 * - Copies are repaired with `add` where there was none and with `cas` where there was an older one, so that a repair
 *   never undoes what somebody wrote meanwhile.
 * - When the nodes that should have it have nothing, all are asked: it may have been written while those were away,
 *   or by a server with another list of nodes. Beside such a one, nodes that only one of both lists places on must be
 *   in the other as moving, else a note could hide what was written past it.
 * - What nobody reads is restored by restore.c.
 * - With two keys in rotation a name has one hash under each. All are looked up, the first is written. */
#include "cache_private.h"

#include "clock.h"
#include "log.h"
#include "place.h"
#include "rand.h"

#include <stdlib.h>
#include <string.h>

enum {
	CHECKED_MS = 10 * 60 * 1000,	/* how long a note is good */
	REPORT_MS = 60 * 1000,
	SCRATCH = 8 * 1024 * 1024,	/* all copies of the largest value */
	ADD_TRIES = 4,
};

/* A way over the nodes that are up, in the order of a spot. */
struct walk {
	struct cache *c;
	const struct spot *spot;
	uint32_t asked;
	size_t copies;
	int first;
};

/* What a copy's place held when it was looked at. */
struct slot { struct node *node; bool there; int64_t stamp; uint64_t cas; };
struct look {
	bool found;		/* something that opened, be it a deletion or expired */
	bool no_memory;
	struct seal_item best;
	size_t answered, nslots;
	struct slot slots[CACHE_COPIES];	/* under the first key */
};

static void
close_all(struct cache *c)
{
	watch_free(c->watch);
	for (size_t i = 0; i < c->n; i++)
		node_clear(&c->nodes[i]);
	seal_wipe(&c->seal);
	free(c);
}

static int
add_nodes(struct cache *c, const struct cache_conf *conf, struct err *e)
{
	unsigned timeout = conf->timeout_ms == 0 ? 100 : conf->timeout_ms;

	if (conf->nnodes == 0 || conf->nnodes > CACHE_NODES_MAX)
		return err_set(e, ERR_CONFIG, "%zu cache nodes; one to %d are allowed", conf->nnodes,
		    CACHE_NODES_MAX);
	for (size_t i = 0; i < conf->nnodes; i++) {
		const struct cache_node *n = &conf->nodes[i];
		c->identities[i] = place_identity(n->host, n->port);
		for (size_t j = 0; j < i; j++)
			if (c->identities[j] == c->identities[i])
				return err_set(e, ERR_CONFIG, "cache node %s:%u is named twice", n->host,
				    (unsigned)n->port);
		c->moving |= (uint32_t)n->moving << i;
		c->n++;
		if (node_init(&c->nodes[i], n->host, n->port, n->zone, timeout) < 0)
			return err_set(e, ERR_MEMORY, "cache node");
	}
	if (c->moving == UINT32_MAX >> (32 - c->n))
		return err_set(e, ERR_CONFIG, "every cache node is moving");
	return 0;
}

struct cache *
cache_new(const struct cache_conf *conf, struct err *e)
{
	struct cache *c = calloc(1, sizeof *c);

	if (c == NULL) {
		err_set(e, ERR_MEMORY, "cache");
		return NULL;
	}
	atomic_init(&c->reported, -REPORT_MS);
	if (add_nodes(c, conf, e) < 0 || seal_init(&c->seal, conf->keys, conf->nkeys, e) < 0 ||
	    (c->watch = watch_new(c->nodes, c->n, e)) == NULL) {
		close_all(c);
		return NULL;
	}
	return c;
}

void
cache_free(struct cache *c)
{
	if (c != NULL)
		close_all(c);
}

void
spot_of_hash(const struct cache *c, const uint8_t hash[32], struct spot *s)
{
	static const char digits[] = "0123456789abcdef";

	memmove(s->hash, hash, sizeof s->hash);
	for (size_t i = 0; i < sizeof s->hash; i++) {
		s->key[2 * i] = digits[s->hash[i] >> 4];
		s->key[2 * i + 1] = digits[s->hash[i] & 15];
	}
	place_order(c->identities, c->n, s->hash, s->order);
}

static void
spot_find(struct cache *c, const struct cache_name *name, size_t key, struct spot *s)
{
	uint8_t hash[32];

	seal_name(&c->seal, key, name, hash);
	spot_of_hash(c, hash, s);
}

static struct walk
walk_start(struct cache *c, const struct spot *s)
{
	return (struct walk){ .c = c, .spot = s, .asked = c->moving, .first = -1 };
}

/* Over those that nothing is placed on, behind the others. */
static struct walk
walk_moving(struct cache *c, const struct spot *s)
{
	return (struct walk){ .c = c, .spot = s, .asked = ~c->moving, .first = -1 };
}

/* The next node that is up, or -1. For the second copy a node of another zone goes before. */
static int
walk_next(struct walk *w)
{
	int next = -1;

	for (size_t i = 0; i < w->c->n; i++) {
		int node = w->spot->order[i];
		if ((w->asked >> node & 1) != 0 || !atomic_load(&w->c->nodes[node].up))
			continue;
		if (next < 0)
			next = node;
		if (w->copies != 1 || strcmp(w->c->nodes[node].zone, w->c->nodes[w->first].zone) != 0) {
			next = node;
			break;
		}
	}
	if (next >= 0)
		w->asked |= UINT32_C(1) << next;
	return next;
}

/* The node that walk_next gave has taken or shown a copy. */
static void
walk_count(struct walk *w, int node)
{
	if (w->copies++ == 0)
		w->first = node;
}

/* ---- names whose copies agree */

/* The two nodes that should hold the name now, in their present epochs and ten minutes, as one number. *first: the
 * better one, -1 when none is up. */
static uint64_t
note_of(struct cache *c, const struct spot *s, int *first)
{
	struct walk w = walk_start(c, s);
	uint64_t note = (uint64_t)(clock_mono_ms() / CHECKED_MS) + 1;

	*first = -1;
	for (int i = 0; i < CACHE_COPIES; i++) {
		int node = walk_next(&w);
		if (node < 0)
			break;
		if (i == 0)
			*first = node;
		walk_count(&w, node);
		note = note * 0x9e3779b97f4a7c15u + atomic_load(&c->nodes[node].epoch);
		note = note * 0x9e3779b97f4a7c15u + c->identities[node];
	}
	uint64_t name;
	memcpy(&name, s->hash + 8, sizeof name);
	return note ^ name;
}

static _Atomic uint64_t *
note_place(struct cache *c, const struct spot *s)
{
	uint32_t at;

	memcpy(&at, s->hash + 16, sizeof at);
	return &c->checked[at % CACHE_CHECKED];
}

/* ---- looking */

static void
count_unopened(struct cache *c, struct node *n)
{
	int64_t now = clock_mono_ms(), last = atomic_load(&c->reported);

	atomic_fetch_add(&n->unopened, 1);
	atomic_fetch_add(&c->unopened, 1);
	if (now - last >= REPORT_MS && atomic_compare_exchange_strong(&c->reported, &last, now))
		log_msg(LOG_WARN, "cache-unopened", "%llu values so far did not open, the last one from %s:%u",
		    (unsigned long long)atomic_load(&c->unopened), n->host, (unsigned)n->port);
}

/* One copy; on NODE_DONE *opened tells whether it is ours. */
static enum node_reply
read_copy(struct cache *c, struct arena *a, struct node *n, const struct spot *s, struct seal_item *item,
    enum seal_result *opened, uint64_t *cas)
{
	struct node_value v;
	enum node_reply reply = node_get(n, s->key, &v);

	if (reply != NODE_DONE)
		return reply;
	*cas = v.cas;
	*opened = seal_open(&c->seal, a, s->hash, v.bytes, item);
	node_give_back(n, &v);
	if (*opened == SEAL_FOREIGN)
		count_unopened(c, n);
	return reply;
}

static bool
is_alive(const struct seal_item *item)
{
	return !item->gone && item->expires > clock_now();
}

/* One copy more for the comparison; false when the node did not answer. */
static bool
look_at_copy(struct cache *c, struct arena *a, const struct spot *s, struct slot *slot, struct look *l)
{
	struct seal_item item;
	enum seal_result opened = SEAL_FOREIGN;
	enum node_reply reply = read_copy(c, a, slot->node, s, &item, &opened, &slot->cas);

	if (reply == NODE_AWAY || reply == NODE_REFUSED)
		return false;
	slot->there = reply == NODE_DONE;
	l->no_memory = l->no_memory || (slot->there && opened == SEAL_NO_MEMORY);
	if (slot->there && opened == SEAL_OPENED) {
		slot->stamp = item.stamp;
		if (!l->found || item.stamp > l->best.stamp)
			l->best = item;
		l->found = true;
	}
	l->answered++;
	return true;
}

/* Looks under one key: at the two nodes that should have it, or at all that are up. */
static void
look_at(struct cache *c, struct arena *a, const struct spot *s, bool everywhere, bool note_slots, struct look *l)
{
	struct walk w = walk_start(c, s), others = walk_moving(c, s);

	for (int i; (everywhere || w.copies < CACHE_COPIES) && (i = walk_next(&w)) >= 0;) {
		struct slot slot = { .node = &c->nodes[i], .stamp = INT64_MIN };
		if (!look_at_copy(c, a, s, &slot, l))
			continue;
		if (note_slots && w.copies < CACHE_COPIES)
			l->slots[l->nslots++] = slot;
		walk_count(&w, i);
	}
	for (int i; everywhere && (i = walk_next(&others)) >= 0;)
		look_at_copy(c, a, s, &(struct slot){ .node = &c->nodes[i], .stamp = INT64_MIN }, l);
}

static int
look(struct cache *c, struct arena *a, const struct cache_name *name, const struct spot *first, bool everywhere,
    struct look *l, struct err *e)
{
	memset(l, 0, sizeof *l);
	look_at(c, a, first, everywhere, true, l);
	for (size_t k = 1; k < c->seal.n; k++) {
		struct spot s;
		spot_find(c, name, k, &s);
		look_at(c, a, &s, everywhere, false, l);
	}
	if (l->answered == 0)
		return err_set(e, ERR_CACHE, "none of %zu cache nodes answers", c->n);
	if (l->no_memory)
		return err_set(e, ERR_MEMORY, "a value from the cache");
	return 0;
}

/* ---- writing */

/* Higher than what was seen, and not the same in two writers of one millisecond. */
static int64_t
next_stamp(const struct look *l)
{
	uint16_t some;

	rand_bytes(&some, sizeof some);
	int64_t stamp = clock_now_ms() * 1024 + some % 1024;
	return l->found && l->best.stamp >= stamp ? l->best.stamp + 1 : stamp;
}

/* What nodes are given: sealed, with a version that is the same for copies with the same stamp. bytes absent: the arena
 * is full. */
static struct node_item
seal_item_for(struct cache *c, struct arena *a, const struct spot *s, const struct seal_item *item)
{
	return (struct node_item){ seal_close(&c->seal, a, s->hash, item), (uint32_t)item->stamp,
		item->expires - clock_now() };
}

/* The very bytes that were found: somebody who adds them just now knows them by that when he finds them before him (win). Absent
 * when they are no longer there. What only lies under an older key, or on another node, is sealed anew. */
static struct node_item
item_found(struct cache *c, struct arena *a, const struct spot *s, const struct look *l)
{
	struct node_item item = { .version = (uint32_t)l->best.stamp, .ttl = l->best.expires - clock_now() };
	struct node_value v;

	for (size_t i = 0; i < l->nslots; i++) {
		const struct slot *slot = &l->slots[i];
		if (!slot->there || slot->stamp != l->best.stamp || node_get(slot->node, s->key, &v) != NODE_DONE)
			continue;
		if (v.cas == slot->cas)
			item.bytes = arena_dup(a, v.bytes);
		node_give_back(slot->node, &v);
		return item;
	}
	return seal_item_for(c, a, s, &l->best);
}

/* Brings both copies to what was found; true when they agree now. */
static bool
repair(struct cache *c, struct arena *a, const struct spot *s, const struct look *l)
{
	struct node_item item = { .ttl = 0 };
	bool agree = true;

	for (size_t i = 0; i < l->nslots; i++) {
		const struct slot *slot = &l->slots[i];
		if (slot->there && slot->stamp == l->best.stamp)
			continue;
		if (item.bytes.p == NULL)
			item = item_found(c, a, s, l);
		if (item.ttl <= 0 || item.bytes.p == NULL)
			return false;
		enum node_reply reply = slot->there ? node_replace(slot->node, s->key, &item, slot->cas) :
		    node_add(slot->node, s->key, &item);
		agree = agree && reply == NODE_DONE;
	}
	return agree;
}

bool
cache_reconcile(struct cache *c, struct arena *a, const struct spot *s)
{
	struct look l = { .found = false };

	look_at(c, a, s, true, true, &l);
	return l.found && !l.no_memory && repair(c, a, s, &l);
}

uint32_t
cache_holders(struct cache *c, const struct spot *s)
{
	struct walk w = walk_start(c, s);
	uint32_t holders = 0;

	for (int i; w.copies < CACHE_COPIES && (i = walk_next(&w)) >= 0;) {
		holders |= UINT32_C(1) << i;
		walk_count(&w, i);
	}
	return holders;
}

/* Writes until two nodes have it; they are told as bits. 0: no node took it. */
static uint32_t
write_copies(struct cache *c, struct walk *w, const struct node_item *item)
{
	uint32_t took = 0;

	for (int i; w->copies < CACHE_COPIES && (i = walk_next(w)) >= 0;) {
		if (node_set(&c->nodes[i], w->spot->key, item) != NODE_DONE)
			continue;
		took |= UINT32_C(1) << i;
		walk_count(w, i);
	}
	return took;
}

/* Removes the name under one key from every node but `keep`; false when a node could not be asked. */
static bool
sweep(struct cache *c, const struct spot *s, uint32_t keep)
{
	bool all = true;

	for (size_t i = 0; i < c->n; i++) {
		struct node *n = &c->nodes[i];
		if ((keep >> i & 1) != 0)
			continue;
		enum node_reply reply = atomic_load(&n->up) ? node_delete(n, s->key) : NODE_AWAY;
		all = all && (reply == NODE_DONE || reply == NODE_NO);
	}
	return all;
}

/* The item on two nodes, and nothing of that name anywhere else. *all: every node was asked. */
static int
put(struct cache *c, struct arena *a, const struct cache_name *name, const struct spot *first,
    const struct seal_item *item, bool *all, struct err *e)
{
	struct node_item sealed = seal_item_for(c, a, first, item);
	struct walk w = walk_start(c, first);

	*all = false;
	if (sealed.bytes.p == NULL)
		return err_set(e, ERR_MEMORY, "a sealed value of %zu bytes", item->value.n);
	uint32_t took = write_copies(c, &w, &sealed);
	bool swept = sweep(c, first, took);
	for (size_t k = 1; k < c->seal.n; k++) {
		struct spot s;
		spot_find(c, name, k, &s);
		swept = sweep(c, &s, 0) && swept;
	}
	*all = swept;
	/* A full node refuses the mark of a deletion but not the deletion. */
	if (took == 0 && !(item->gone && swept))
		return err_set(e, ERR_CACHE, "none of %zu cache nodes took the value", c->n);
	return 0;
}

static int
check_limits(struct slice value, int64_t ttl, struct err *e)
{
	if (value.p == NULL || value.n > CACHE_VALUE_MAX)
		return err_set(e, ERR_INVALID, "a value of %zu bytes for the cache", value.n);
	if (ttl <= 0 || ttl > CACHE_TTL_MAX)
		return err_set(e, ERR_INVALID, "%lld seconds in the cache", (long long)ttl);
	return 0;
}

/* Memory for what is only looked at; NULL with the error set. */
static struct arena *
scratch(struct err *e)
{
	struct arena *a = arena_new(SCRATCH * CACHE_KEYS_MAX);

	if (a == NULL)
		err_set(e, ERR_MEMORY, "cache");
	return a;
}

/* ---- the operations */

static int
compare_copies(struct cache *c, struct arena *a, const struct cache_name *name, const struct spot *s,
    bool everywhere, struct slice *value, struct err *e)
{
	struct look l;
	int first;
	uint64_t note = note_of(c, s, &first);	/* before looking: a node that changes meanwhile makes it void */

	if (look(c, a, name, s, everywhere, &l, e) < 0)
		return -1;
	if (!(l.found && is_alive(&l.best)) && !everywhere && (c->n > CACHE_COPIES || c->moving != 0) &&
	    look(c, a, name, s, true, &l, e) < 0)
		return -1;
	if (!l.found)
		return 0;
	if (repair(c, a, s, &l))
		atomic_store(note_place(c, s), note);
	if (is_alive(&l.best))
		*value = l.best.value;
	return 0;
}

int
cache_get(struct cache *c, struct arena *a, const struct cache_name *name, struct slice *value, struct err *e)
{
	struct spot s;
	struct seal_item item;
	enum seal_result opened;
	uint64_t cas;
	int first;

	*value = (struct slice){ NULL, 0 };
	spot_find(c, name, 0, &s);
	uint64_t note = note_of(c, &s, &first);
	if (first >= 0 && atomic_load(note_place(c, &s)) == note &&
	    read_copy(c, a, &c->nodes[first], &s, &item, &opened, &cas) == NODE_DONE &&
	    opened == SEAL_OPENED && is_alive(&item)) {
		*value = item.value;
		return 0;
	}
	return compare_copies(c, a, name, &s, false, value, e);
}

int
cache_get_newest(struct cache *c, struct arena *a, const struct cache_name *name, struct slice *value, struct err *e)
{
	struct spot s;

	*value = (struct slice){ NULL, 0 };
	spot_find(c, name, 0, &s);
	return compare_copies(c, a, name, &s, true, value, e);
}

static int
set_in(struct cache *c, struct arena *a, const struct cache_name *name, struct slice value, int64_t ttl, struct err *e)
{
	struct spot s;
	struct look l;
	bool all;

	spot_find(c, name, 0, &s);
	if (look(c, a, name, &s, true, &l, e) < 0)
		return -1;
	struct seal_item item = { false, next_stamp(&l), clock_now() + ttl, value };
	return put(c, a, name, &s, &item, &all, e);
}

int
cache_set(struct cache *c, const struct cache_name *name, struct slice value, int64_t ttl, struct err *e)
{
	if (check_limits(value, ttl, e) < 0)
		return -1;
	struct arena *a = scratch(e);
	if (a == NULL)
		return -1;
	int r = set_in(c, a, name, value, ttl, e);
	arena_free(a);
	return r;
}

static int
conflict(struct err *e)
{
	return err_set(e, ERR_CONFLICT, "the name has a value");
}

/* A node lets one caller win; `add` found something: it is in the way only when it is a value that still counts. */
static enum node_reply
displace(struct cache *c, struct arena *a, struct node *n, const struct spot *s, const struct node_item *sealed,
    struct seal_item *other, bool *alive)
{
	enum seal_result opened;
	uint64_t cas;
	enum node_reply reply = read_copy(c, a, n, s, other, &opened, &cas);

	*alive = reply == NODE_DONE && opened == SEAL_OPENED && is_alive(other);
	if (reply != NODE_DONE || *alive)
		return reply;
	return node_replace(n, s->key, sealed, cas);
}

/* NODE_NO: somebody else won on that node; *alive: with *other. */
static enum node_reply
decide(struct cache *c, struct arena *a, struct node *n, const struct spot *s, const struct node_item *sealed,
    struct seal_item *other, bool *alive)
{
	enum node_reply reply = NODE_NO;

	*alive = false;
	for (int i = 0; i < ADD_TRIES && reply == NODE_NO; i++) {
		reply = node_add(n, s->key, sealed);
		if (reply == NODE_NO)
			reply = displace(c, a, n, s, sealed, other, alive);
		if (*alive)
			return NODE_NO;
	}
	return reply;
}

/* Who won on one node and lost on the next makes way for the winner where he won. Should somebody have brought his value to
 * the other node meanwhile, the name has a value that nobody added: then nobody has won, which is better than two. */
static void
make_way(struct cache *c, struct arena *a, const struct spot *s, uint32_t won, int64_t stamp, const struct seal_item *other)
{
	struct node_item sealed = seal_item_for(c, a, s, other);

	for (size_t i = 0; i < c->n; i++) {
		struct seal_item mine;
		enum seal_result opened;
		uint64_t cas;
		if ((won >> i & 1) == 0 || sealed.bytes.p == NULL || sealed.ttl <= 0)
			continue;
		if (read_copy(c, a, &c->nodes[i], s, &mine, &opened, &cas) == NODE_DONE && opened == SEAL_OPENED &&
		    mine.stamp == stamp)
			node_replace(&c->nodes[i], s->key, &sealed, cas);
	}
}

/* Are these very bytes there? Then an `add` of them was done whose answer was lost, or somebody who restores copies was
 * faster. */
static bool
holds(struct node *n, const struct spot *s, struct slice sealed)
{
	struct node_value v;

	if (node_get(n, s->key, &v) != NODE_DONE)
		return false;
	bool same = slice_eq(v.bytes, sealed);
	node_give_back(n, &v);
	return same;
}

/* On both copies' nodes, in their order. Two servers may see different nodes, while one is going or coming back; as long as
 * there is one that both see, it lets only one of them pass. */
static int
win(struct cache *c, struct arena *a, const struct spot *s, const struct seal_item *item, struct err *e)
{
	struct node_item sealed = seal_item_for(c, a, s, item);
	struct walk w = walk_start(c, s);
	uint32_t won = 0;

	if (sealed.bytes.p == NULL)
		return err_set(e, ERR_MEMORY, "a sealed value of %zu bytes", item->value.n);
	for (int i; w.copies < CACHE_COPIES && (i = walk_next(&w)) >= 0;) {
		struct seal_item other;
		bool alive;
		enum node_reply reply = decide(c, a, &c->nodes[i], s, &sealed, &other, &alive);
		if (reply == NODE_NO && alive && holds(&c->nodes[i], s, sealed.bytes))
			reply = NODE_DONE;
		if (reply == NODE_NO && alive && won != 0)
			make_way(c, a, s, won, item->stamp, &other);
		if (reply == NODE_NO)
			return conflict(e);
		if (reply != NODE_DONE)
			continue;
		won |= UINT32_C(1) << i;
		walk_count(&w, i);
	}
	return won != 0 ? 0 : err_set(e, ERR_CACHE, "none of %zu cache nodes took the value", c->n);
}

static int
add_in(struct cache *c, struct arena *a, const struct cache_name *name, struct slice value, int64_t ttl, struct err *e)
{
	struct spot s;
	struct look l;

	spot_find(c, name, 0, &s);
	if (look(c, a, name, &s, true, &l, e) < 0)
		return -1;
	if (l.found && is_alive(&l.best))
		return conflict(e);
	struct seal_item item = { false, next_stamp(&l), clock_now() + ttl, value };
	return win(c, a, &s, &item, e);
}

int
cache_add(struct cache *c, const struct cache_name *name, struct slice value, int64_t ttl, struct err *e)
{
	if (check_limits(value, ttl, e) < 0)
		return -1;
	struct arena *a = scratch(e);
	if (a == NULL)
		return -1;
	int r = add_in(c, a, name, value, ttl, e);
	arena_free(a);
	return r;
}

static int
delete_in(struct cache *c, struct arena *a, const struct cache_name *name, bool *certain, struct err *e)
{
	struct spot s;
	struct look l;

	spot_find(c, name, 0, &s);
	if (look(c, a, name, &s, true, &l, e) < 0)
		return -1;
	/* The mark must outlive every copy that may be on a node that is away. */
	struct seal_item item = { true, next_stamp(&l), clock_now() + CACHE_TTL_MAX, S("") };
	return put(c, a, name, &s, &item, certain, e);
}

int
cache_delete(struct cache *c, const struct cache_name *name, bool *certain, struct err *e)
{
	struct arena *a = scratch(e);

	*certain = false;
	if (a == NULL)
		return -1;
	int r = delete_in(c, a, name, certain, e);
	arena_free(a);
	return r;
}

size_t
cache_state(struct cache *c, struct cache_node_state *out, size_t max)
{
	size_t n = c->n < max ? c->n : max;

	for (size_t i = 0; i < n; i++) {
		struct node *node = &c->nodes[i];
		out[i] = (struct cache_node_state){
			.host = node->host, .port = node->port,
			.zone = node->zone[0] == '\0' ? NULL : node->zone,
			.up = atomic_load(&node->up), .gets = atomic_load(&node->gets),
			.hits = atomic_load(&node->hits), .sets = atomic_load(&node->sets),
			.errors = atomic_load(&node->errors), .unopened = atomic_load(&node->unopened),
		};
	}
	return n;
}
