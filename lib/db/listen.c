/* The listener: one thread, one connection of its own. It calls with channel NULL whenever something
 * may have been missed, so that its user needs no other rule than "then look". */
#include "conn.h"

#include "clock.h"
#include "log.h"
#include "thread.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BACKOFF_FIRST_MS 500
#define BACKOFF_MOST_MS 2000
#define ANSWER_MS 2000		/* for a sign of life of a connection on which nothing has come */

struct db_listener {
	struct dial dial;
	char **channels;
	size_t nchannels;
	unsigned poll_ms;
	void (*on_notify)(void *ctx, const char *channel, const char *payload);
	void *ctx;
	int wake;		/* readable: stop */
	pthread_t thread;
	struct conn conn;
	int64_t next_poll;
};

/* A server that stands still, or was cut off and replaced meanwhile, says nothing on its own: it is asked, at every poll. */
static bool
lives(struct db_listener *l)
{
	struct err e = { 0 };

	if (conn_command(&l->conn, "SELECT 1", &e) == 0)
		return true;
	log_msg(LOG_WARN, "database-listen", "%s", e.detail);
	return false;
}

static void
look(struct db_listener *l)
{
	l->on_notify(l->ctx, NULL, NULL);
	l->next_poll = l->poll_ms == 0 ? CONN_NEVER : clock_mono_ms() + l->poll_ms;
}

static int
listen_to(struct db_listener *l, const char *channel, struct err *e)
{
	char sql[256];
	char *name = PQescapeIdentifier(l->conn.pg, channel, strlen(channel));

	if (name == NULL)
		return err_set(e, ERR_MEMORY, "LISTEN");
	snprintf(sql, sizeof sql, "LISTEN %s", name);
	PQfreemem(name);
	return conn_command(&l->conn, sql, e);
}

static int
connect_and_listen(struct db_listener *l, struct err *e)
{
	if (conn_open(&l->dial, l->wake, &l->conn, e) < 0)
		return -1;
	l->conn.statement_ms = ANSWER_MS;
	for (size_t i = 0; i < l->nchannels; i++) {
		if (listen_to(l, l->channels[i], e) < 0) {
			conn_close(&l->conn);
			return -1;
		}
	}
	return 0;
}

/* false: told to stop. */
static bool
rest(struct db_listener *l, int64_t until)
{
	struct pollfd fd = { l->wake, POLLIN, 0 };

	for (;;) {
		int64_t now = clock_mono_ms(), end = until < l->next_poll ? until : l->next_poll;
		if (now < end && poll(&fd, 1, (int)(end - now)) > 0)
			return false;
		now = clock_mono_ms();
		if (now >= l->next_poll)
			look(l);
		if (now >= until)
			return true;
	}
}

/* Passes on what came. false: the connection is gone. */
static bool
deliver(struct db_listener *l)
{
	PGnotify *n;

	if (PQconsumeInput(l->conn.pg) == 0)
		return false;
	while ((n = PQnotifies(l->conn.pg)) != NULL) {
		l->on_notify(l->ctx, n->relname, n->extra);
		PQfreemem(n);
	}
	return PQstatus(l->conn.pg) == CONNECTION_OK;
}

/* Until the connection breaks (true) or it is told to stop (false). */
static bool
attend(struct db_listener *l)
{
	look(l);
	if (!deliver(l))	/* what came with the answer to LISTEN makes no socket readable */
		return true;
	for (;;) {
		int ready = conn_wait(&l->conn, POLLIN, l->next_poll, l->wake);
		if (ready < 0)
			return false;
		if (ready == 0) {
			look(l);
			if (!lives(l))
				return true;
		}
		if (!deliver(l))
			return true;
	}
}

static void *
run(void *arg)
{
	struct db_listener *l = arg;
	int64_t backoff = BACKOFF_FIRST_MS;
	bool go_on = true;

	while (go_on) {
		struct err e = { 0 };

		if (connect_and_listen(l, &e) == 0) {
			backoff = BACKOFF_FIRST_MS;
			go_on = attend(l);
			conn_close(&l->conn);
			if (!go_on)
				break;
			log_msg(LOG_WARN, "database-listen", "the listening connection was lost");
		} else if (backoff == BACKOFF_FIRST_MS) {
			log_msg(LOG_WARN, "database-listen", "cannot listen yet: %s", e.detail);
		}
		go_on = rest(l, clock_mono_ms() + backoff);
		backoff = backoff * 2 > BACKOFF_MOST_MS ? BACKOFF_MOST_MS : backoff * 2;
	}
	return NULL;
}

static void
release(struct db_listener *l)
{
	for (size_t i = 0; l->channels != NULL && i < l->nchannels; i++)
		free(l->channels[i]);
	free(l->channels);
	dial_free(&l->dial);
	if (l->wake >= 0)
		close(l->wake);
	free(l);
}

struct db_listener *
db_listen(const struct db_conf *conf, const char *const *channels, size_t n, unsigned poll_ms,
    void (*on_notify)(void *ctx, const char *channel, const char *payload), void *ctx, struct err *e)
{
	struct db_listener *l = calloc(1, sizeof *l);

	if (l == NULL) {
		err_set(e, ERR_MEMORY, "listener");
		return NULL;
	}
	*l = (struct db_listener){ .poll_ms = poll_ms, .on_notify = on_notify, .ctx = ctx,
		.wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .nchannels = n,
		.channels = calloc(n > 0 ? n : 1, sizeof *l->channels),
		.next_poll = poll_ms == 0 ? CONN_NEVER : clock_mono_ms() + poll_ms };
	bool whole = l->wake >= 0 && l->channels != NULL && dial_init(&l->dial, conf) == 0;
	for (size_t i = 0; whole && i < n; i++)
		whole = (l->channels[i] = strdup(channels[i])) != NULL;
	if (!whole || thread_start(&l->thread, NULL, run, l) != 0) {
		err_set(e, ERR_MEMORY, "listener");
		release(l);
		return NULL;
	}
	return l;
}

void
db_listen_stop(struct db_listener *l)
{
	if (l == NULL)
		return;
	eventfd_write(l->wake, 1);
	pthread_join(l->thread, NULL);
	release(l);
}
