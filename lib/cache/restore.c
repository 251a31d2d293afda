/* A value that is read gets its second copy back (cache.c); one that nobody reads would have one copy for the rest of
 * its life after a node was restarted, and none when the other node is restarted too. So one process per server looks
 * at what the other nodes hold and gives a node that came back what belongs on it.
 *
 * - What a node holds is told by `lru_crawler metadump all`. Measured with 1.6.18: 200,000 keys in 0.6 s, but what was
 *   read within the last second is left out, as it waits to be moved within the lists. Who reads a value after the
 *   node is back repairs it himself; so what counts is a pass that begins SETTLE_MS after that, when every process has
 *   long noticed, and if it finds something to do there is another.
 * - A dump is read as fast as it comes, into memory. A second dump while one stands still blocks a thread of memcached,
 *   so none is begun while the crawler runs.
 * - Batches of `mg` (memcached 1.6; u: which does not count as reading) then tell which keys the node lacks, and which it has in another version
 *   (node_item.version). The first are copied as sealed bytes with `add`, which never undoes what somebody writes
 *   meanwhile; no key is needed for that. For the others the newest copy wins, as in cache.c.
 * - Other processes may notice later that the node is back, up to WATCH_BACK_MS and some timeouts, and write past it until
 *   then: one more reason for SETTLE_MS.
 * - The node itself keeps a mark that says since when it is whole. A restart takes the mark with the content, so it
 *   never lies; its name holds the list of nodes, so another list asks for another mark. While somebody works there is
 *   a second mark, which makes the others wait and ends by itself when its owner dies. Both work without the database. */
#include "cache_private.h"
#include "talk.h"

#include "clock.h"
#include "conv.h"
#include "log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
	ANSWER_MS = 2000,		/* nobody waits for us, and a busy node may take its time */
	SETTLE_MS = 3 * WATCH_BACK_MS,
	SEEN_BY_ALL_S = WATCH_BACK_MS / 1000 + 1,
	LEASE_S = 10,
	RENEW_MS = 2000,
	LOOK_MS = 5000,			/* between looks at the mark of a node that is whole */
	AGAIN_MS = 2000,		/* between attempts; what one has read is in the dump again */
	CRAWLER_MS = 30000,		/* how long another's crawl is waited for */
	PASSES = 6,
	BATCH = 64,
	PART = 500000,			/* keys held at once: 16 MB */
	SCRATCH = 16 * 1024 * 1024,
};

/* Of one node: whether it is whole, as far as this process knows. */
struct ward {
	bool known, done, told;
	bool seen_back;			/* by ourselves: then a mark counts that is younger than that */
	unsigned epoch;
	int64_t since;			/* when it was seen (monotonic) */
	int64_t clock;			/* the same by its own clock, in seconds; 0: not asked yet */
	int64_t next;			/* nothing is done before (monotonic) */
	uint32_t lacking;		/* nodes that could not be asked what they hold */
};

struct cache_restore {
	struct cache *c;
	char who[64], mark[48], lease[48];
	struct ward wards[CACHE_NODES_MAX];
	bool (*goes_on)(void *ctx);
	void *ctx;
	int64_t settle_ms, again_ms, renewed;
	struct arena *a;
	struct talk to, from;
	uint8_t (*hashes)[32];		/* PART of them */
	size_t nhashes;
};

struct counts { int64_t seen, copied, corrected; bool more; };
struct mark { int64_t began, ended, copied, corrected; char by[64]; };

/* ---- the marks on a node */

/* The list of nodes that something is placed on, whatever its order. */
static uint64_t
print_of(const char *host, uint16_t port, const char *zone)
{
	char text[400];
	uint8_t digest[32];
	uint64_t word;
	int n = snprintf(text, sizeof text, "%s:%u@%s", host, (unsigned)port, zone == NULL ? "" : zone);

	conv_sha256((struct slice){ text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1 }, digest);
	memcpy(&word, digest, sizeof word);
	return word;
}

static void
name_marks(uint64_t print, char mark[48], char lease[48])
{
	snprintf(mark, 48, "sosigw-restored-%016" PRIx64, print);
	snprintf(lease, 48, "sosigw-restoring-%016" PRIx64, print);
}

static bool
get_mark(struct talk *t, const char *name, struct mark *m)
{
	char text[256];

	*m = (struct mark){ .ended = 0 };
	if (!talk_get(t, name, text, sizeof text))
		return false;
	if (sscanf(text, "%" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNd64 " %63s", &m->began, &m->ended, &m->copied,
	    &m->corrected, m->by) != 5)
		m->ended = 0;
	return true;
}

static bool
put_mark(struct cache_restore *r, const struct mark *m)
{
	char text[256];
	bool stored;

	snprintf(text, sizeof text, "%" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %s", m->began, m->ended, m->copied,
	    m->corrected, r->who);
	return talk_store(&r->to, "set", r->mark, text, 0, &stored) && stored;
}

/* false: somebody else has it, or the node does not answer. One with our own name is from before we died. */
static bool
take_lease(struct cache_restore *r)
{
	char holder[64];
	bool ours;

	r->renewed = clock_mono_ms();
	if (!talk_store(&r->to, "add", r->lease, r->who, LEASE_S, &ours) || ours)
		return r->to.fd >= 0;
	return talk_get(&r->to, r->lease, holder, sizeof holder) && strcmp(holder, r->who) == 0;
}

static bool
may_go_on(struct cache_restore *r)
{
	int64_t now = clock_mono_ms();
	bool stored;

	if (!r->goes_on(r->ctx))
		return false;
	if (now - r->renewed < RENEW_MS)
		return true;
	r->renewed = now;
	return talk_store(&r->to, "set", r->lease, r->who, LEASE_S, &stored);
}

static void
drop_lease(struct cache_restore *r)
{
	char text[80];
	struct slice line;

	snprintf(text, sizeof text, "delete %s\r\n", r->lease);
	talk_ask(&r->to, slice_of(text), &line);
}

static void
pause_ms(int64_t ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

static int
stopped(struct cache_restore *r, struct err *e)
{
	return err_set(e, ERR_CACHE, r->to.fd < 0 ? "the node to restore does not answer" : "told to stop");
}

/* ---- what a node holds */

/* Behind "key=" of a line of the dump: is it one of ours that belongs on that node? Then it is kept. */
static void
take_key(struct cache_restore *r, size_t node, struct slice rest, size_t part, size_t parts)
{
	struct spot s;

	if (rest.n <= NODE_KEY || rest.p[NODE_KEY] != ' ' || r->nhashes == PART)
		return;
	struct slice hash = conv_unhex(r->a, (struct slice){ rest.p, NODE_KEY });
	if (hash.p == NULL || ((uint8_t)hash.p[30] * 256u + (uint8_t)hash.p[31]) % parts != part)
		return;
	spot_of_hash(r->c, (const uint8_t *)hash.p, &s);
	if ((cache_holders(r->c, &s) >> node & 1) != 0)
		memcpy(r->hashes[r->nhashes++], s.hash, sizeof s.hash);
}

/* 0: a dump that has begun, with *line its first; 1: the crawler is busy. */
static int
begin_dump(struct cache_restore *r, struct slice *line, struct err *e)
{
	struct talk_stats stats;

	if (!talk_stats(&r->from, &stats))
		return err_set(e, ERR_CACHE, "another node does not answer");
	if (stats.crawling)
		return 1;
	if (!talk_ask(&r->from, S("lru_crawler metadump all\r\n"), line))
		return err_set(e, ERR_CACHE, "another node does not tell its keys");
	return slice_starts(*line, S("BUSY")) ? 1 : 0;
}

static int
read_dump(struct cache_restore *r, size_t node, size_t part, size_t parts, struct slice line, struct err *e)
{
	r->nhashes = 0;
	for (size_t n = 1;; n++) {
		if (slice_is(line, "END"))
			return 0;
		if (!slice_skip(&line, S("key=")))
			return err_set(e, ERR_CACHE, "lru_crawler metadump: %.*s", SLICE_FMT(line));
		take_key(r, node, line, part, parts);
		if (n % 256 == 0) {
			arena_reset(r->a);
			if (!may_go_on(r))
				return stopped(r, e);
		}
		if (!talk_line(&r->from, &line))
			return err_set(e, ERR_CACHE, "another node does not tell all its keys");
	}
}

/* The keys on `from` that belong on the node. */
static int
collect(struct cache_restore *r, size_t node, size_t part, size_t parts, struct err *e)
{
	int64_t end = clock_mono_ms() + CRAWLER_MS;
	struct slice line;
	int busy;

	while ((busy = begin_dump(r, &line, e)) > 0) {
		if (clock_mono_ms() >= end)
			return err_set(e, ERR_CACHE, "the LRU crawler of another node is busy all the time");
		if (!may_go_on(r))
			return stopped(r, e);
		pause_ms(100);
	}
	int done = busy < 0 ? -1 : read_dump(r, node, part, parts, line, e);
	arena_reset(r->a);
	return done;
}

/* ---- comparing and copying */

struct held { bool there; int64_t version, ttl; };

/* "HD f12345 t3600" or "EN" */
static struct held
read_held(struct slice line)
{
	struct held h = { .there = false };
	struct slice version;

	if (slice_skip(&line, S("HD f")) && slice_next(&line, ' ', &version) && slice_skip(&line, S("t")))
		h.there = conv_number(version, UINT32_MAX, &h.version) == 0 &&
		    conv_number(line, CACHE_TTL_MAX + 1, &h.ttl) == 0;
	return h;
}

/* What a node has of n keys, in one round trip. */
static int
ask_held(struct talk *t, struct slice request, struct held *out, size_t n, struct err *e)
{
	struct slice line;

	bool ok = talk_send(t, request);
	for (size_t i = 0; ok && i < n; i++) {
		ok = talk_line(t, &line);
		out[i] = ok ? read_held(line) : (struct held){ .there = false };
	}
	if (ok && talk_line(t, &line) && slice_is(line, "MN"))
		return 0;
	talk_close(t);
	return err_set(e, ERR_CACHE, "a node does not tell what it has of %zu keys; it must be memcached 1.6 or newer", n);
}

/* 1: copied; 0: not needed any more; -1. */
static int
copy(struct node *to, struct node *from, const struct spot *s, int64_t ttl, struct err *e)
{
	struct node_value v;
	enum node_reply reply = node_get(from, s->key, &v);

	if (reply == NODE_NO)
		return 0;
	if (reply == NODE_DONE) {
		const struct node_item item = { v.bytes, v.version, ttl };
		reply = node_add(to, s->key, &item);
		node_give_back(from, &v);
		if (reply == NODE_DONE || reply == NODE_NO)
			return reply == NODE_DONE;
	}
	return err_set(e, ERR_CACHE, reply == NODE_REFUSED ? "the node does not take the copies that belong on it" :
	    "a node went away meanwhile");
}

static int
restore_batch(struct cache_restore *r, size_t node, size_t source, size_t first, size_t n, struct counts *counts,
    struct err *e)
{
	struct held here[BATCH], there[BATCH];
	struct spot spots[BATCH];
	char request[BATCH * (NODE_KEY + 16)];
	size_t used = 0;

	for (size_t i = 0; i < n; i++) {
		spot_of_hash(r->c, r->hashes[first + i], &spots[i]);
		used += (size_t)snprintf(request + used, sizeof request - used, "mg %.*s f t u\r\n", NODE_KEY, spots[i].key);
	}
	used += (size_t)snprintf(request + used, sizeof request - used, "mn\r\n");
	struct slice text = { request, used };
	if (ask_held(&r->from, text, there, n, e) < 0 || ask_held(&r->to, text, here, n, e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (!there[i].there || (here[i].there && here[i].version == there[i].version))
			continue;
		if (here[i].there) {
			arena_reset(r->a);
			counts->corrected += cache_reconcile(r->c, r->a, &spots[i]);
			continue;
		}
		int done = copy(&r->c->nodes[node], &r->c->nodes[source], &spots[i], there[i].ttl, e);
		if (done < 0)
			return -1;
		counts->copied += done;
	}
	counts->seen += (int64_t)n;
	return 0;
}

/* As much rest as work, so that requests come first. */
static int
restore_part(struct cache_restore *r, size_t node, size_t source, struct counts *counts, struct err *e)
{
	for (size_t first = 0; first < r->nhashes; first += BATCH) {
		int64_t began = clock_mono_ms(), before = counts->copied + counts->corrected;
		size_t n = r->nhashes - first < BATCH ? r->nhashes - first : BATCH;
		if (restore_batch(r, node, source, first, n, counts, e) < 0)
			return -1;
		if (!may_go_on(r))
			return stopped(r, e);
		int64_t took = clock_mono_ms() - began;
		if (took > 0 || counts->copied + counts->corrected > before)
			pause_ms(took > 0 ? took : 1);
	}
	counts->more = counts->more || r->nhashes == PART;
	return 0;
}

static int
restore_from(struct cache_restore *r, size_t node, size_t source, struct counts *counts, struct err *e)
{
	const struct node *n = &r->c->nodes[source];
	struct talk_stats stats;

	bool ok = talk_open(&r->from, n->host, n->port, ANSWER_MS) && talk_stats(&r->from, &stats);
	int done = ok ? 0 : err_set(e, ERR_CACHE, "%s:%u does not answer", n->host, (unsigned)n->port);
	size_t parts = ok ? (size_t)stats.items / PART + 1 : 0;
	for (size_t part = 0; done == 0 && part < parts; part++) {
		done = collect(r, node, part, parts, e);
		if (done == 0)
			done = restore_part(r, node, source, counts, e);
	}
	talk_close(&r->from);
	return done;
}

/* Everything once. *lacking: nodes that are away. */
static int
one_pass(struct cache_restore *r, size_t node, struct counts *counts, uint32_t *lacking, struct err *e)
{
	*lacking = 0;
	for (size_t i = 0; i < r->c->n; i++) {
		if (i == node)
			continue;
		if (!atomic_load(&r->c->nodes[i].up))
			*lacking |= UINT32_C(1) << i;
		else if (restore_from(r, node, i, counts, e) < 0)
			return -1;
	}
	return 0;
}

/* ---- one node */

/* One pass at once, so that the time with a single copy is short; then, when every process knows the node again, until one
 * has nothing to do. */
static int
all_passes(struct cache_restore *r, size_t node, struct mark *m, struct counts *sum, struct err *e)
{
	struct ward *w = &r->wards[node];
	struct talk_stats stats;
	struct counts one;

	for (int pass = 0; pass < PASSES; pass++) {
		bool early = pass == 0 && clock_mono_ms() < w->since + r->settle_ms;
		while (!early && clock_mono_ms() < w->since + r->settle_ms) {
			if (!may_go_on(r))
				return stopped(r, e);
			pause_ms(100);
		}
		one = (struct counts){ .seen = 0 };
		if (!talk_stats(&r->to, &stats))
			return stopped(r, e);
		m->began = stats.time;
		if (one_pass(r, node, &one, &w->lacking, e) < 0)
			return -1;
		sum->seen = one.seen;
		sum->copied += one.copied;
		sum->corrected += one.corrected;
		if (!early && one.copied + one.corrected == 0 && !one.more)
			break;
	}
	if (!talk_stats(&r->to, &stats))
		return stopped(r, e);
	m->ended = stats.time;
	return 0;
}

static int
restore_node(struct cache_restore *r, size_t node, struct err *e)
{
	const struct node *n = &r->c->nodes[node];
	struct ward *w = &r->wards[node];
	struct counts sum = { .seen = 0 };
	struct mark m = { .ended = 0 };

	if (!w->told)
		log_msg(LOG_INFO, "cache-restore", "%s:%u: looking for what belongs on it", n->host, (unsigned)n->port);
	w->told = true;
	if (all_passes(r, node, &m, &sum, e) < 0)
		return -1;
	m.copied = sum.copied;
	m.corrected = sum.corrected;
	if (w->lacking == 0 && !put_mark(r, &m))
		return stopped(r, e);
	log_msg(w->lacking == 0 ? LOG_INFO : LOG_WARN, "cache-restored", "%s:%u: %" PRId64 " values belong on it, %" PRId64
	    " were copied, %" PRId64 " corrected%s", n->host, (unsigned)n->port, sum.seen, sum.copied, sum.corrected,
	    w->lacking == 0 ? "" : "; nodes that are away could not be asked, so it may lack some");
	return 0;
}

static bool
satisfies(const struct mark *m, const struct ward *w)
{
	return m->ended != 0 && (!w->seen_back || m->began > w->clock + SEEN_BY_ALL_S);
}

/* With a connection to the node. */
static int
tend_open(struct cache_restore *r, size_t node, struct err *e)
{
	struct ward *w = &r->wards[node];
	struct talk_stats stats;
	struct mark m;

	if (w->clock == 0 && talk_stats(&r->to, &stats))
		w->clock = stats.time;
	if (w->clock == 0 || !get_mark(&r->to, r->mark, &m))
		return 0;	/* the watcher will tell when it is back */
	if (satisfies(&m, w) || (w->done && w->lacking != 0)) {
		w->done = true;
		w->next = clock_mono_ms() + LOOK_MS;
		return 0;
	}
	if (w->done)	/* emptied without a restart */
		*w = (struct ward){ .known = true, .epoch = w->epoch, .since = clock_mono_ms(), .clock = w->clock };
	if (!take_lease(r))
		return 0;
	int done = restore_node(r, node, e);
	w->done = done == 0;
	w->seen_back = w->seen_back && !w->done;	/* any mark will do from now on */
	drop_lease(r);
	return done;
}

static uint32_t
nodes_up(const struct cache *c)
{
	uint32_t up = 0;

	for (size_t i = 0; i < c->n; i++)
		up |= (uint32_t)atomic_load(&c->nodes[i].up) << i;
	return up;
}

/* Is the node another than when it was last looked at, or another one back that has what this one may lack? */
static void
notice(struct cache_restore *r, size_t node)
{
	struct ward *w = &r->wards[node];
	unsigned epoch = atomic_load(&r->c->nodes[node].epoch);

	if (!w->known || w->epoch != epoch || (w->lacking & nodes_up(r->c)) != 0)
		*w = (struct ward){ .known = true, .seen_back = true, .epoch = epoch, .since = clock_mono_ms() };
}

static int
tend(struct cache_restore *r, size_t node, struct err *e)
{
	const struct node *n = &r->c->nodes[node];
	struct ward *w = &r->wards[node];
	struct err why = { 0 };

	if (clock_mono_ms() < w->next)
		return 0;
	w->next = clock_mono_ms() + r->again_ms;
	int done = talk_open(&r->to, n->host, n->port, ANSWER_MS) ? tend_open(r, node, &why) : 0;
	talk_close(&r->to);
	return done == 0 || !r->goes_on(r->ctx) ? 0 :
	    err_set(e, why.kind, "restoring %s:%u: %s", n->host, (unsigned)n->port, why.detail);
}

int
cache_restore_run(struct cache_restore *r, bool (*goes_on)(void *ctx), void *ctx, struct err *e)
{
	uint32_t wanted = nodes_up(r->c) & ~r->c->moving;
	int done = 0;

	r->goes_on = goes_on;
	r->ctx = ctx;
	for (size_t i = 0; i < r->c->n; i++)
		if ((wanted >> i & 1) != 0)
			notice(r, i);
	for (size_t i = 0; i < r->c->n && goes_on(ctx); i++)
		if ((wanted >> i & 1) != 0 && tend(r, i, e) < 0)
			done = -1;
	return done;
}

/* ---- life */

struct cache_restore *
cache_restore_new(struct cache *c, const char *who, struct err *e)
{
	struct cache_restore *r = calloc(1, sizeof *r);
	uint64_t print = 0;

	if (r != NULL) {
		r->a = arena_new(SCRATCH);
		r->hashes = malloc(PART * sizeof *r->hashes);
	}
	if (r == NULL || r->a == NULL || r->hashes == NULL) {
		cache_restore_free(r);
		err_set(e, ERR_MEMORY, "restoring of copies");
		return NULL;
	}
	r->c = c;
	r->settle_ms = SETTLE_MS;
	r->again_ms = AGAIN_MS;
	r->to.fd = r->from.fd = -1;
	snprintf(r->who, sizeof r->who, "%s", who);
	for (size_t i = 0; i < c->n; i++)
		if ((c->moving >> i & 1) == 0)
			print ^= print_of(c->nodes[i].host, c->nodes[i].port, c->nodes[i].zone);
	name_marks(print, r->mark, r->lease);
	return r;
}

void
cache_restore_free(struct cache_restore *r)
{
	if (r == NULL)
		return;
	arena_free(r->a);
	free(r->hashes);
	free(r);
}

void
cache_restore_hurry(struct cache_restore *r)
{
	r->settle_ms = 0;
	r->again_ms = 10;
}

/* ---- what administrators see */

static bool
report(struct talk *t, const char *mark_name, const char *lease_name, struct cache_node_report *out)
{
	struct talk_stats stats;
	struct mark m;
	char holder[64];

	if (!talk_stats(t, &stats) || !get_mark(t, mark_name, &m) || !talk_get(t, lease_name, holder, sizeof holder))
		return false;
	out->uptime = stats.uptime;
	out->items = stats.items;
	out->evictions = stats.evictions;
	out->restored = m.ended;
	out->copied = m.copied;
	out->corrected = m.corrected;
	out->state = holder[0] != '\0' ? CACHE_RESTORING : m.ended != 0 ? CACHE_RESTORED : CACHE_NOT_RESTORED;
	memcpy(out->by, holder[0] != '\0' ? holder : m.by, sizeof out->by);
	return true;
}

void
cache_report(const struct cache_conf *conf, struct cache_node_report *out)
{
	char mark_name[48], lease_name[48];
	uint64_t print = 0;
	struct talk t;

	for (size_t i = 0; i < conf->nnodes; i++)
		if (!conf->nodes[i].moving)
			print ^= print_of(conf->nodes[i].host, conf->nodes[i].port, conf->nodes[i].zone);
	name_marks(print, mark_name, lease_name);
	for (size_t i = 0; i < conf->nnodes; i++) {
		const struct cache_node *n = &conf->nodes[i];
		out[i] = (struct cache_node_report){ .node = n };
		out[i].reachable = talk_open(&t, n->host, n->port, ANSWER_MS) &&
		    report(&t, mark_name, lease_name, &out[i]);
		talk_close(&t);
	}
}
