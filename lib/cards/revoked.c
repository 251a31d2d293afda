/* A hash table with open addressing over the first 16 bytes of SHA-256(id), at most half full. Readers share a lock
 * that writers take for moments, some times a second at most. */
#include "revoked.h"

#include "conv.h"
#include "must.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 1024

struct entry { uint64_t id[2]; int64_t expires, when; };	/* id 0, 0: free */

struct revoked {
	pthread_rwlock_t lock;
	struct entry *table;
	size_t size, used;	/* size: a power of two */
};

struct revoked *
revoked_new(void)
{
	struct revoked *r = calloc(1, sizeof *r);

	if (r == NULL || (r->table = calloc(FIRST_SIZE, sizeof *r->table)) == NULL) {
		free(r);
		return NULL;
	}
	r->size = FIRST_SIZE;
	must(pthread_rwlock_init(&r->lock, NULL) == 0);
	return r;
}

void
revoked_free(struct revoked *r)
{
	if (r == NULL)
		return;
	pthread_rwlock_destroy(&r->lock);
	free(r->table);
	free(r);
}

static void
hash(struct slice id, uint64_t out[2])
{
	uint8_t digest[32];

	conv_sha256(id, digest);
	memcpy(out, digest, 16);
}

/* Where the id is, or the free place where it would be. */
static struct entry *
find(struct entry *table, size_t size, const uint64_t id[2])
{
	size_t i = id[0] & (size - 1);

	while ((table[i].id[0] != 0 || table[i].id[1] != 0) &&
	    (table[i].id[0] != id[0] || table[i].id[1] != id[1]))
		i = (i + 1) & (size - 1);
	return &table[i];
}

static bool
is_free(const struct entry *e)
{
	return e->id[0] == 0 && e->id[1] == 0;
}

/* Into a new table, without what has expired. */
static void
move_all(struct revoked *r, size_t size, int64_t now)
{
	struct entry *table = calloc(size, sizeof *table);

	must(table != NULL);	/* to forget a revocation would be worse than a restart */
	size_t used = 0;
	for (size_t i = 0; i < r->size; i++) {
		const struct entry *e = &r->table[i];
		if (is_free(e) || e->expires <= now)
			continue;
		*find(table, size, e->id) = *e;
		used++;
	}
	free(r->table);
	r->table = table;
	r->size = size;
	r->used = used;
}

void
revoked_put(struct revoked *r, struct slice id, int64_t expires, int64_t when)
{
	uint64_t h[2];

	hash(id, h);
	pthread_rwlock_wrlock(&r->lock);
	if (2 * (r->used + 1) > r->size)
		move_all(r, 2 * r->size, INT64_MIN);
	struct entry *e = find(r->table, r->size, h);
	if (is_free(e)) {
		*e = (struct entry){ { h[0], h[1] }, expires, when };
		r->used++;
	} else {
		e->expires = expires > e->expires ? expires : e->expires;
		e->when = when > e->when ? when : e->when;
	}
	pthread_rwlock_unlock(&r->lock);
}

bool
revoked_has(struct revoked *r, struct slice id, int64_t *when)
{
	uint64_t h[2];

	hash(id, h);
	pthread_rwlock_rdlock(&r->lock);
	const struct entry *e = find(r->table, r->size, h);
	bool has = !is_free(e);
	if (has)
		*when = e->when;
	pthread_rwlock_unlock(&r->lock);
	return has;
}

void
revoked_purge(struct revoked *r, int64_t now)
{
	pthread_rwlock_wrlock(&r->lock);
	size_t expired = 0;
	for (size_t i = 0; i < r->size; i++)
		expired += !is_free(&r->table[i]) && r->table[i].expires <= now;
	if (expired > 0) {
		size_t size = r->size;
		while (size > FIRST_SIZE && 8 * (r->used - expired) < size)
			size /= 2;
		move_all(r, size, now);
	}
	pthread_rwlock_unlock(&r->lock);
}

size_t
revoked_count(struct revoked *r)
{
	pthread_rwlock_rdlock(&r->lock);
	size_t n = r->used;
	pthread_rwlock_unlock(&r->lock);
	return n;
}
