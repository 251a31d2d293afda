/* getaddrinfo waits for name servers as long as resolv.conf says, and nothing can end it. So it runs in a thread of its
 * own, and when it takes too long it is left to itself: whoever of the two is last frees what they share. */
#include "resolve.h"

#include "clock.h"
#include "thread.h"

#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

struct lookup {
	char host[256];
	atomic_int users;
	pthread_mutex_t lock;
	pthread_cond_t done;
	bool ended;
	int failed;		/* of getaddrinfo */
	struct resolved found;
};

static void
let_go(struct lookup *l)
{
	if (atomic_fetch_sub(&l->users, 1) != 1)
		return;
	pthread_cond_destroy(&l->done);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

static void
take_addresses(const struct addrinfo *list, struct resolved *out)
{
	for (; list != NULL && out->n < RESOLVE_MOST; list = list->ai_next)
		if (getnameinfo(list->ai_addr, list->ai_addrlen, out->addresses[out->n], sizeof *out->addresses, NULL, 0,
		    NI_NUMERICHOST) == 0)
			out->n++;
}

static void *
look_up(void *arg)
{
	static const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct lookup *l = arg;
	struct addrinfo *list = NULL;
	struct resolved found = { 0 };

	int failed = getaddrinfo(l->host, NULL, &hints, &list);
	if (failed == 0) {
		take_addresses(list, &found);
		freeaddrinfo(list);
	}
	pthread_mutex_lock(&l->lock);
	l->failed = failed;
	l->found = found;
	l->ended = true;
	pthread_cond_signal(&l->done);
	pthread_mutex_unlock(&l->lock);
	let_go(l);
	return NULL;
}

static struct lookup *
lookup_new(const char *host)
{
	struct lookup *l = calloc(1, sizeof *l);
	pthread_condattr_t attr;

	if (l == NULL)
		return NULL;
	snprintf(l->host, sizeof l->host, "%s", host);
	atomic_init(&l->users, 2);
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&l->done, &attr);
	pthread_condattr_destroy(&attr);
	return l;
}

static bool
start(struct lookup *l)
{
	pthread_attr_t attr;
	pthread_t id;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	bool started = thread_start(&id, &attr, look_up, l) == 0;
	pthread_attr_destroy(&attr);
	return started;
}

static int
outcome(const struct lookup *l, struct resolved *out, struct err *e)
{
	if (!l->ended)
		return err_set(e, ERR_DATABASE, "the name %s is not resolved in time", l->host);
	if (l->failed != 0 || l->found.n == 0)
		return err_set(e, ERR_DATABASE, "%s: %s", l->host, l->failed != 0 ? gai_strerror(l->failed) : "no address");
	*out = l->found;
	return 0;
}

int
resolve(const char *host, int64_t deadline, struct resolved *out, struct err *e)
{
	struct lookup *l = lookup_new(host);
	struct timespec until = { deadline / 1000, deadline % 1000 * 1000000 };
	int waited = 0;

	if (l == NULL)
		return err_set(e, ERR_MEMORY, "a name's address");
	if (!start(l)) {
		atomic_store(&l->users, 1);
		let_go(l);
		return err_set(e, ERR_MEMORY, "a thread for a name's address");
	}
	pthread_mutex_lock(&l->lock);
	while (!l->ended && waited == 0)
		waited = pthread_cond_timedwait(&l->done, &l->lock, &until);
	int done = outcome(l, out, e);
	pthread_mutex_unlock(&l->lock);
	let_go(l);
	return done;
}
