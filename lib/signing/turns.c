/* A list of what is being made or has failed lately; it is short, since what went well leaves it at once. */
#include "turns.h"

#include "clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Failures that are remembered; of more the oldest are forgotten, which costs an attempt. */
#define FAILURES_MAX 128

struct making {
	struct making *next;
	uint8_t name[32];
	bool running;
	unsigned waiting;
	unsigned long round;	/* counts what was finished, so that a waiter knows its own */
	int64_t finished;	/* clock_mono_ms */
	struct err failed;	/* of the last round */
};

struct turns {
	pthread_mutex_t lock;
	pthread_cond_t change;
	struct making *first;	/* newest first */
};

struct turns *
turns_new(void)
{
	struct turns *t = calloc(1, sizeof *t);
	pthread_condattr_t attr;

	if (t == NULL)
		return NULL;
	pthread_mutex_init(&t->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&t->change, &attr);
	pthread_condattr_destroy(&attr);
	return t;
}

void
turns_free(struct turns *t)
{
	if (t == NULL)
		return;
	while (t->first != NULL) {
		struct making *m = t->first;
		t->first = m->next;
		free(m);
	}
	pthread_cond_destroy(&t->change);
	pthread_mutex_destroy(&t->lock);
	free(t);
}

static bool
is_idle(const struct making *m)
{
	return !m->running && m->waiting == 0;
}

static void
drop(struct turns *t, struct making *gone)
{
	struct making **at = &t->first;

	while (*at != gone)
		at = &(*at)->next;
	*at = gone->next;
	free(gone);
}

static void
forget_oldest(struct turns *t)
{
	struct making *last = NULL;
	size_t n = 0;

	for (struct making *m = t->first; m != NULL; m = m->next)
		if (is_idle(m)) {
			last = m;
			n++;
		}
	if (n > FAILURES_MAX)
		drop(t, last);
}

static struct making *
find(struct turns *t, const uint8_t name[32])
{
	struct making *m = t->first;

	while (m != NULL && memcmp(m->name, name, sizeof m->name) != 0)
		m = m->next;
	return m;
}

static struct making *
add(struct turns *t, const uint8_t name[32])
{
	struct making *m = calloc(1, sizeof *m);

	if (m == NULL)
		return NULL;
	forget_oldest(t);
	memcpy(m->name, name, sizeof m->name);
	m->next = t->first;
	t->first = m;
	return m;
}

static enum turn
outcome(const struct making *m, struct err *e)
{
	if (m->failed.kind == ERR_NONE)
		return TURN_MADE;
	if (e->kind == ERR_NONE)
		*e = m->failed;
	return TURN_FAILED;
}

/* Until the round that runs now is finished. */
static enum turn
wait_for(struct turns *t, struct making *m, int64_t wait_ms, struct err *e)
{
	const unsigned long round = m->round;
	struct timespec end;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += wait_ms / 1000;
	end.tv_nsec += wait_ms % 1000 * 1000000;
	if (end.tv_nsec >= 1000000000) {
		end.tv_nsec -= 1000000000;
		end.tv_sec++;
	}
	m->waiting++;
	while (m->round == round && rc == 0)
		rc = pthread_cond_timedwait(&t->change, &t->lock, &end);
	m->waiting--;
	enum turn turn = m->round == round ? TURN_BUSY : outcome(m, e);
	if (is_idle(m) && m->failed.kind == ERR_NONE)
		drop(t, m);
	return turn;
}

static enum turn
take(struct turns *t, const uint8_t name[32], int64_t wait_ms, int64_t rest_ms, struct err *e)
{
	struct making *m = find(t, name);

	if (m != NULL && m->running)
		return wait_ms <= 0 ? TURN_BUSY : wait_for(t, m, wait_ms, e);
	if (m != NULL && m->failed.kind != ERR_NONE && clock_mono_ms() - m->finished < rest_ms)
		return outcome(m, e);
	if (m == NULL)
		m = add(t, name);
	if (m == NULL)
		return TURN_BUSY;
	m->running = true;
	return TURN_MINE;
}

enum turn
turns_take(struct turns *t, const uint8_t name[32], int64_t wait_ms, int64_t rest_ms, struct err *e)
{
	pthread_mutex_lock(&t->lock);
	enum turn turn = take(t, name, wait_ms, rest_ms, e);
	pthread_mutex_unlock(&t->lock);
	return turn;
}

void
turns_done(struct turns *t, const uint8_t name[32], const struct err *failed)
{
	pthread_mutex_lock(&t->lock);
	struct making *m = find(t, name);
	m->running = false;
	m->round++;
	m->finished = clock_mono_ms();
	m->failed = *failed;
	pthread_cond_broadcast(&t->change);
	if (is_idle(m) && failed->kind == ERR_NONE)
		drop(t, m);
	pthread_mutex_unlock(&t->lock);
}
