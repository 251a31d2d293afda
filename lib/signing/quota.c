/* A count for each name, of the minute of the wall clock that it was last used in: around the full minute twice as
 * many may pass, which a cap against floods can bear. */
#include "quota.h"

#include "clock.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct count {
	struct count *next;
	int64_t minute;
	unsigned taken;
	size_t n;
	char name[];
};

struct quota {
	pthread_mutex_t lock;
	unsigned a_minute;
	struct count *first;
};

struct quota *
quota_new(unsigned a_minute)
{
	struct quota *q = calloc(1, sizeof *q);

	if (q == NULL)
		return NULL;
	pthread_mutex_init(&q->lock, NULL);
	q->a_minute = a_minute;
	return q;
}

void
quota_free(struct quota *q)
{
	if (q == NULL)
		return;
	while (q->first != NULL) {
		struct count *c = q->first;
		q->first = c->next;
		free(c);
	}
	pthread_mutex_destroy(&q->lock);
	free(q);
}

static struct count *
find_or_add(struct quota *q, struct slice name)
{
	struct count *c = q->first;

	while (c != NULL && !slice_eq((struct slice){ c->name, c->n }, name))
		c = c->next;
	if (c != NULL)
		return c;
	c = calloc(1, sizeof *c + name.n);
	if (c == NULL)
		return NULL;
	if (name.n > 0)
		memcpy(c->name, name.p, name.n);
	c->n = name.n;
	c->next = q->first;
	q->first = c;
	return c;
}

static bool
take(struct quota *q, struct slice name)
{
	struct count *c = find_or_add(q, name);
	int64_t minute = clock_now() / 60;

	if (c == NULL)
		return false;
	if (c->minute != minute) {
		c->minute = minute;
		c->taken = 0;
	}
	if (c->taken == q->a_minute)
		return false;
	c->taken++;
	return true;
}

bool
quota_take(struct quota *q, struct slice name)
{
	pthread_mutex_lock(&q->lock);
	bool may = take(q, name);
	pthread_mutex_unlock(&q->lock);
	return may;
}
