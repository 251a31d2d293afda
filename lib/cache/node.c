/* Plain libmemcached handles, each with this one server (platform.md 5: its own replicas and failover do not hold).
 * A handle is used by one thread at a time and goes back on top of the pile, so that few connections stay warm.
 *
 * After a restart of the server every kept connection is broken. One failure on a kept connection is therefore tried
 * once more on a fresh one before the node counts as down; every operation may be done twice with the same end, but
 * an `add` that was done and whose answer was lost says "there already" the second time: its caller then finds its
 * own value. A timeout is not tried again: that would double the wait. */
#include "node.h"

#include "log.h"
#include "must.h"

#include <errno.h>
#include <libmemcached/memcached.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct handle {
	memcached_st *memc;
	memcached_result_st result;
	struct handle *next;
	unsigned generation;
};

enum verb { GET, SET, ADD, REPLACE, DELETE };
struct op {
	enum verb verb;
	const char *key;
	struct slice bytes;
	uint32_t version;
	time_t ttl;
	uint64_t cas;
};

static void
handle_free(struct handle *h)
{
	memcached_result_free(&h->result);
	memcached_free(h->memc);
	free(h);
}

static bool
add_server(const struct node *n, memcached_st *memc)
{
	if (n->host[0] == '/')
		return memcached_server_add_unix_socket(memc, n->host) == MEMCACHED_SUCCESS;
	return memcached_server_add(memc, n->host, n->port) == MEMCACHED_SUCCESS;
}

static void
set_options(const struct node *n, memcached_st *memc)
{
	uint64_t ms = n->timeout_ms, us = 1000 * ms;
	const struct { memcached_behavior_t what; uint64_t to; } options[] = {
		{ MEMCACHED_BEHAVIOR_BINARY_PROTOCOL, 0 },
		{ MEMCACHED_BEHAVIOR_NO_BLOCK, 1 },
		{ MEMCACHED_BEHAVIOR_TCP_NODELAY, 1 },
		{ MEMCACHED_BEHAVIOR_TCP_KEEPALIVE, 1 },
		{ MEMCACHED_BEHAVIOR_CONNECT_TIMEOUT, ms },
		{ MEMCACHED_BEHAVIOR_POLL_TIMEOUT, ms },
		{ MEMCACHED_BEHAVIOR_SND_TIMEOUT, us },
		{ MEMCACHED_BEHAVIOR_RCV_TIMEOUT, us },
		{ MEMCACHED_BEHAVIOR_RETRY_TIMEOUT, 0 },
		{ MEMCACHED_BEHAVIOR_SERVER_FAILURE_LIMIT, 0 },
		{ MEMCACHED_BEHAVIOR_SUPPORT_CAS, 1 },
	};

	for (size_t i = 0; i < sizeof options / sizeof *options; i++)
		memcached_behavior_set(memc, options[i].what, options[i].to);
}

static struct handle *
handle_new(const struct node *n, unsigned generation)
{
	struct handle *h = calloc(1, sizeof *h);

	if (h == NULL)
		return NULL;
	h->memc = memcached_create(NULL);
	if (h->memc == NULL || !add_server(n, h->memc)) {
		if (h->memc != NULL)
			memcached_free(h->memc);
		free(h);
		return NULL;
	}
	set_options(n, h->memc);
	must(memcached_result_create(h->memc, &h->result) != NULL);
	h->generation = generation;
	return h;
}

int
node_init(struct node *n, const char *host, uint16_t port, const char *zone, unsigned timeout_ms)
{
	n->host = strdup(host);
	n->zone = strdup(zone == NULL ? "" : zone);
	n->port = port;
	n->timeout_ms = timeout_ms;
	n->wake = -1;
	atomic_init(&n->up, true);
	must(pthread_mutex_init(&n->lock, NULL) == 0);
	return n->host == NULL || n->zone == NULL ? -1 : 0;
}

void
node_clear(struct node *n)
{
	for (struct handle *h = n->idle, *next; h != NULL; h = next) {
		next = h->next;
		handle_free(h);
	}
	pthread_mutex_destroy(&n->lock);
	free(n->host);
	free(n->zone);
}

/* The last used handle that is still good, or NULL; those that broke are freed on the way. */
static struct handle *
pop(struct node *n, unsigned *generation)
{
	struct handle *h = NULL, *stale = NULL;

	pthread_mutex_lock(&n->lock);
	*generation = n->generation;
	while (n->idle != NULL && h == NULL) {
		h = n->idle;
		n->idle = h->next;
		if (h->generation != *generation) {
			h->next = stale;
			stale = h;
			h = NULL;
		}
	}
	pthread_mutex_unlock(&n->lock);
	for (struct handle *next; stale != NULL; stale = next) {
		next = stale->next;
		handle_free(stale);
	}
	return h;
}

/* A kept handle, or when there is none a new one; NULL: no memory. */
static struct handle *
take(struct node *n, bool *kept)
{
	unsigned generation;
	struct handle *h = pop(n, &generation);

	*kept = h != NULL;
	return h != NULL ? h : handle_new(n, generation);
}

static void
give_back(struct node *n, struct handle *h)
{
	pthread_mutex_lock(&n->lock);
	bool good = h->generation == n->generation;
	if (good) {
		h->next = n->idle;
		n->idle = h;
	}
	pthread_mutex_unlock(&n->lock);
	if (!good)
		handle_free(h);
}

void
node_lost(struct node *n)
{
	pthread_mutex_lock(&n->lock);
	n->generation++;
	pthread_mutex_unlock(&n->lock);
	atomic_fetch_add(&n->epoch, 1);
}

void
node_trim(struct node *n)
{
	unsigned generation;
	struct handle *h = pop(n, &generation);

	if (h != NULL)
		give_back(n, h);
}

static void
wake_watcher(struct node *n)
{
	uint64_t one = 1;

	if (n->wake >= 0 && write(n->wake, &one, sizeof one) < 0)
		return;		/* it is awake already, or will be within a second */
}

static void
fail(struct node *n, memcached_return_t why)
{
	if (!atomic_exchange(&n->up, false))
		return;
	node_lost(n);
	log_msg(LOG_WARN, "cache-node-down", "%s:%u: %s", n->host, (unsigned)n->port,
	    memcached_strerror(NULL, why));
	atomic_store(&n->failed, true);
	wake_watcher(n);
}

/* One key with one value; reads on to the end of the answer, so that the connection can be used again. */
static memcached_return_t
get(struct handle *h, const struct op *op)
{
	const size_t size = NODE_KEY;
	memcached_return_t rc = memcached_mget(h->memc, &op->key, &size, 1);

	if (rc != MEMCACHED_SUCCESS)
		return rc;
	if (memcached_fetch_result(h->memc, &h->result, &rc) == NULL)
		return rc == MEMCACHED_END || rc == MEMCACHED_SUCCESS ? MEMCACHED_NOTFOUND : rc;
	memcached_result_st more;
	must(memcached_result_create(h->memc, &more) != NULL);
	bool another = memcached_fetch_result(h->memc, &more, &rc) != NULL;
	memcached_result_free(&more);
	if (another)
		return MEMCACHED_PROTOCOL_ERROR;
	return rc == MEMCACHED_END || rc == MEMCACHED_NOTFOUND ? MEMCACHED_SUCCESS : rc;
}

static memcached_return_t
perform(struct handle *h, const struct op *op)
{
	memcached_st *m = h->memc;
	const char *p = op->bytes.p;
	size_t n = op->bytes.n;

	switch (op->verb) {
	case GET:
		return get(h, op);
	case SET:
		return memcached_set(m, op->key, NODE_KEY, p, n, op->ttl, op->version);
	case ADD:
		return memcached_add(m, op->key, NODE_KEY, p, n, op->ttl, op->version);
	case REPLACE:
		return memcached_cas(m, op->key, NODE_KEY, p, n, op->ttl, op->version, op->cas);
	case DELETE:
		break;
	}
	return memcached_delete(m, op->key, NODE_KEY, 0);
}

static enum node_reply
reply_of(memcached_return_t rc)
{
	switch (rc) {
	case MEMCACHED_SUCCESS:
	case MEMCACHED_STORED:
	case MEMCACHED_DELETED:
		return NODE_DONE;
	case MEMCACHED_NOTFOUND:
	case MEMCACHED_NOTSTORED:
	case MEMCACHED_DATA_EXISTS:
	case MEMCACHED_DATA_DOES_NOT_EXIST:
		return NODE_NO;
	case MEMCACHED_SERVER_ERROR:
	case MEMCACHED_SERVER_MEMORY_ALLOCATION_FAILURE:
	case MEMCACHED_MEMORY_ALLOCATION_FAILURE:
	case MEMCACHED_CLIENT_ERROR:
	case MEMCACHED_E2BIG:
		return NODE_REFUSED;
	default:
		return NODE_AWAY;
	}
}

/* We had no descriptor or no memory to open a connection with: that says nothing of the node, and those who have a
 * connection must not lose it. */
static bool
is_our_want(const struct handle *h)
{
	int why = memcached_last_error_errno(h->memc);

	return why == EMFILE || why == ENFILE || why == ENOMEM || why == ENOBUFS;
}

/* *held is the handle when the reply is good: its connection can be used again. */
static enum node_reply
run(struct node *n, const struct op *op, struct handle **held)
{
	bool kept = true;
	memcached_return_t rc = MEMCACHED_MEMORY_ALLOCATION_FAILURE;

	*held = NULL;
	while (kept) {
		struct handle *h = take(n, &kept);
		if (h == NULL)
			break;
		rc = perform(h, op);
		enum node_reply reply = reply_of(rc);
		if (reply == NODE_DONE || reply == NODE_NO) {
			*held = h;
			return reply;
		}
		bool ours = is_our_want(h);
		handle_free(h);
		if (ours)
			rc = MEMCACHED_MEMORY_ALLOCATION_FAILURE;
		if (ours || reply == NODE_REFUSED || rc == MEMCACHED_TIMEOUT)
			break;
		if (kept)
			node_lost(n);	/* so that the next one is fresh */
	}
	atomic_fetch_add(&n->errors, 1);
	if (reply_of(rc) == NODE_AWAY)
		fail(n, rc);
	return reply_of(rc);
}

static enum node_reply
change(struct node *n, const struct op *op)
{
	struct handle *h;
	enum node_reply reply = run(n, op, &h);

	if (h != NULL)
		give_back(n, h);
	if (op->verb != DELETE)
		atomic_fetch_add(&n->sets, 1);
	return reply;
}

enum node_reply
node_get(struct node *n, const char key[NODE_KEY], struct node_value *v)
{
	enum node_reply reply = run(n, &(struct op){ .verb = GET, .key = key }, &v->held);

	atomic_fetch_add(&n->gets, 1);
	if (reply == NODE_DONE) {
		atomic_fetch_add(&n->hits, 1);
		v->bytes.p = memcached_result_value(&v->held->result);
		v->bytes.n = v->bytes.p == NULL ? 0 : memcached_result_length(&v->held->result);
		v->version = memcached_result_flags(&v->held->result);
		v->cas = memcached_result_cas(&v->held->result);
	} else if (v->held != NULL) {
		node_give_back(n, v);
	}
	return reply;
}

void
node_give_back(struct node *n, struct node_value *v)
{
	give_back(n, v->held);
	v->held = NULL;
}

/* memcached counts whole seconds and may drop an entry early within one, and takes more than 30 days for a date;
 * the sealed value holds the exact end. */
static struct op
op_of(enum verb verb, const char key[NODE_KEY], const struct node_item *item, uint64_t cas)
{
	return (struct op){ verb, key, item->bytes, item->version, (time_t)(item->ttl + 1), cas };
}

enum node_reply
node_set(struct node *n, const char key[NODE_KEY], const struct node_item *item)
{
	struct op op = op_of(SET, key, item, 0);

	return change(n, &op);
}

enum node_reply
node_add(struct node *n, const char key[NODE_KEY], const struct node_item *item)
{
	struct op op = op_of(ADD, key, item, 0);

	return change(n, &op);
}

enum node_reply
node_replace(struct node *n, const char key[NODE_KEY], const struct node_item *item, uint64_t cas)
{
	struct op op = op_of(REPLACE, key, item, cas);

	return change(n, &op);
}

enum node_reply
node_delete(struct node *n, const char key[NODE_KEY])
{
	return change(n, &(struct op){ .verb = DELETE, .key = key });
}
