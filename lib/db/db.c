/* The pool: connections are kept, last used first, and looked at before each use. A connection that
 * died while it lay idle is replaced before anything is sent; once a statement is on its way, a
 * failure is told to the caller, because nobody knows whether the server did it.
 *
 * The breaker is about connecting: after a failed attempt everybody fails at once until its time is
 * over, then one caller tries. A server that has fallen silent (no answer even to its own
 * statement_timeout) costs one caller the wait: the generation moves on, and idle connections of
 * an older one are closed instead of used. */
#include "conn.h"

#include "buf.h"
#include "clock.h"
#include "conv.h"
#include "log.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BREAKER_FIRST_MS 500
#define BREAKER_MOST_MS 2000	/* after a fail-over nobody should wait for long */

struct db {
	struct dial dial;
	unsigned most, wait_ms;
	pthread_mutex_t lock;
	pthread_cond_t changed;	/* one came back, one may be opened, or the breaker opened */
	struct conn *idle;	/* a stack of nidle, room for most */
	unsigned nidle, nopen;	/* nopen: idle, in use and being opened */
	unsigned generation;
	int64_t closed_until;	/* breaker: no attempt before this (monotonic) */
	int64_t backoff;	/* 0: the last attempt worked */
	bool probing;		/* one caller is trying */
};

struct db *
db_new(const struct db_conf *conf)
{
	struct db *d = calloc(1, sizeof *d);
	pthread_condattr_t attr;

	if (d == NULL)
		return NULL;
	d->most = conf->connections > 0 ? conf->connections : 1;
	d->wait_ms = conf->wait_ms;
	d->idle = calloc(d->most, sizeof *d->idle);
	if (d->idle == NULL || dial_init(&d->dial, conf) < 0) {
		free(d->idle);
		free(d);
		return NULL;
	}
	pthread_mutex_init(&d->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&d->changed, &attr);
	pthread_condattr_destroy(&attr);
	return d;
}

void
db_free(struct db *d)
{
	if (d == NULL)
		return;
	while (d->nidle > 0)
		conn_close(&d->idle[--d->nidle]);
	dial_free(&d->dial);
	pthread_cond_destroy(&d->changed);
	pthread_mutex_destroy(&d->lock);
	free(d->idle);
	free(d);
}

bool
db_is_up(struct db *d)
{
	pthread_mutex_lock(&d->lock);
	bool up = d->backoff == 0;
	pthread_mutex_unlock(&d->lock);
	return up;
}

/* The lock is held in all that follow up to open_one. */

static bool
breaker_refuses(const struct db *d)
{
	return d->backoff > 0 && (d->probing || clock_mono_ms() < d->closed_until);
}

static void
breaker_note(struct db *d, bool worked)
{
	if (worked) {
		if (d->backoff > 0)
			log_msg(LOG_INFO, "database-up", "PostgreSQL can be reached again");
		d->backoff = 0;
		return;
	}
	d->backoff = d->backoff == 0 ? BREAKER_FIRST_MS : d->backoff * 2;
	if (d->backoff > BREAKER_MOST_MS)
		d->backoff = BREAKER_MOST_MS;
	d->closed_until = clock_mono_ms() + d->backoff;
}

static int
open_one(struct db *d, struct conn *out, struct err *e)
{
	bool probe = d->backoff > 0;

	if (breaker_refuses(d))
		return err_set(e, ERR_DATABASE, "PostgreSQL was away a moment ago");
	if (probe)
		d->probing = true;
	d->nopen++;
	unsigned generation = d->generation;
	pthread_mutex_unlock(&d->lock);

	int done = conn_open(&d->dial, -1, out, e);
	out->generation = generation;

	pthread_mutex_lock(&d->lock);
	if (probe)
		d->probing = false;
	if (done < 0) {
		if (!probe && d->backoff == 0)
			log_msg(LOG_WARN, "database-down", "%s", e->detail);
		/* of several that failed together, the first has set the breaker */
		if (probe || d->backoff == 0)
			breaker_note(d, false);
		d->nopen--;
		pthread_cond_broadcast(&d->changed);
	} else {
		breaker_note(d, true);
	}
	return done;
}

/* A kept connection that is still good: 0; -1 when there is none. */
static int
take_idle(struct db *d, struct conn *out)
{
	while (d->nidle > 0) {
		*out = d->idle[--d->nidle];
		bool current = out->generation == d->generation;
		pthread_mutex_unlock(&d->lock);
		bool good = current && conn_alive(out);
		if (!good)
			conn_close(out);
		pthread_mutex_lock(&d->lock);
		if (good)
			return 0;
		d->nopen--;
		pthread_cond_signal(&d->changed);
	}
	return -1;
}

/* *kept: it is not a fresh one. */
static int
take(struct db *d, struct conn *out, bool *kept, struct err *e)
{
	int64_t end = clock_mono_ms() + d->wait_ms;
	struct timespec until = { end / 1000, end % 1000 * 1000000 };
	int done = 0, waited = 0;

	pthread_mutex_lock(&d->lock);
	for (;;) {
		*kept = take_idle(d, out) == 0;
		if (*kept)
			break;
		if (d->nopen < d->most) {
			done = open_one(d, out, e);
			break;
		}
		if (waited == ETIMEDOUT) {
			done = err_set(e, ERR_DATABASE, "all %u connections to PostgreSQL are in use", d->most);
			break;
		}
		waited = pthread_cond_timedwait(&d->changed, &d->lock, &until);
	}
	pthread_mutex_unlock(&d->lock);
	return done;
}

static void
give(struct db *d, struct conn *c)
{
	bool good = !c->broken && PQtransactionStatus(c->pg) == PQTRANS_IDLE;

	if (!good)
		conn_close(c);
	pthread_mutex_lock(&d->lock);
	if (c->silent && c->generation == d->generation)
		d->generation++;
	if (good)
		d->idle[d->nidle++] = *c;
	else
		d->nopen--;
	pthread_cond_signal(&d->changed);
	pthread_mutex_unlock(&d->lock);
}

/* ---- results */

struct db_rows { PGresult *res; };

static void
clear(void *res)
{
	PQclear(res);
}

static int
keep_rows(struct arena *a, PGresult *res, struct db_rows **out, struct err *e)
{
	struct db_rows *rows = arena_alloc(a, sizeof *rows);

	if (rows == NULL) {
		PQclear(res);
		return err_set(e, ERR_MEMORY, "rows");
	}
	rows->res = res;
	if (arena_defer(a, clear, res) < 0)
		return err_set(e, ERR_MEMORY, "rows");
	*out = rows;
	return 0;
}

size_t
db_count(const struct db_rows *r)
{
	return (size_t)PQntuples(r->res);
}

struct slice
db_value(const struct db_rows *r, size_t row, unsigned column)
{
	if (PQgetisnull(r->res, (int)row, (int)column))
		return (struct slice){ NULL, 0 };
	return (struct slice){ PQgetvalue(r->res, (int)row, (int)column),
		(size_t)PQgetlength(r->res, (int)row, (int)column) };
}

int64_t
db_int(const struct db_rows *r, size_t row, unsigned column, int64_t otherwise)
{
	struct slice text = db_value(r, row, column);
	bool negative = slice_starts(text, S("-"));
	int64_t n;

	if (text.p == NULL || conv_number(slice_from(text, negative), INT64_MAX, &n) < 0)
		return otherwise;
	return negative ? -n : n;
}

/* ---- statements */

static int
query_on(struct conn *c, struct arena *a, const char *sql, const struct slice *params, size_t n,
    struct db_rows **rows, struct err *e)
{
	PGresult *res;

	if (conn_query(c, a, sql, params, n, rows == NULL ? NULL : &res, e) < 0)
		return -1;
	return rows == NULL ? 0 : keep_rows(a, res, rows, e);
}

int
db_query(struct db *d, struct arena *a, const char *sql, const struct slice *params, size_t n,
    struct db_rows **rows, struct err *e)
{
	struct conn c;
	bool kept;

	if (take(d, &c, &kept, e) < 0)
		return -1;
	int done = query_on(&c, a, sql, params, n, rows, e);
	give(d, &c);
	return done;
}

int
db_tx_query(struct db_tx *tx, struct arena *a, const char *sql, const struct slice *params, size_t n,
    struct db_rows **rows, struct err *e)
{
	return query_on(tx->conn, a, sql, params, n, rows, e);
}

/* A connection inside a transaction. BEGIN does nothing that could be done twice, so it alone may be
 * said again when a kept connection turns out to be dead. */
static int
begin(struct db *d, struct conn *c, struct err *e)
{
	for (int attempt = 0; ; attempt++) {
		struct err why = { 0 };
		bool kept;

		if (take(d, c, &kept, e) < 0)
			return -1;
		if (conn_command(c, "BEGIN", &why) == 0)
			return 0;
		bool again = kept && c->broken && !c->silent && attempt == 0;
		give(d, c);
		if (!again)
			return err_set(e, why.kind, "%s", why.detail);
	}
}

/* COMMIT of a transaction in which a statement has failed answers ROLLBACK. */
static int
commit(struct conn *c, struct err *e)
{
	PGresult *res;
	struct arena *a = arena_new(256);

	if (a == NULL)
		return err_set(e, ERR_MEMORY, "commit");
	int done = conn_query(c, a, "COMMIT", NULL, 0, &res, e);
	if (done == 0) {
		if (strcmp(PQcmdStatus(res), "COMMIT") != 0)
			done = err_set(e, ERR_DATABASE, "the transaction had failed and was rolled back");
		PQclear(res);
	}
	arena_free(a);
	return done;
}

static void
roll_back(struct conn *c)
{
	struct err ignored = { 0 };

	if (!c->broken && PQtransactionStatus(c->pg) != PQTRANS_IDLE &&
	    conn_command(c, "ROLLBACK", &ignored) < 0)
		c->broken = true;
}

int
db_transaction(struct db *d, int (*fn)(void *ctx, struct db_tx *tx, struct err *e), void *ctx, struct err *e)
{
	struct conn c;
	struct db_tx tx = { .conn = &c };

	if (begin(d, &c, e) < 0)
		return -1;
	int done = fn(ctx, &tx, e);
	if (done == 0 && tx.copy.conn != NULL)
		done = err_set(e, ERR_INTERNAL, "a COPY was not ended");
	copy_abandon(&tx.copy);
	if (done == 0)
		done = commit(&c, e);
	roll_back(&c);
	give(d, &c);
	return done;
}

int
db_script(struct db *d, struct slice sql, struct err *e)
{
	struct arena *a = arena_new(sql.n + 4096);
	char *text = a == NULL ? NULL : arena_cstr(a, sql);
	struct conn c;
	bool kept;
	int done = -1;

	if (text == NULL) {
		arena_free(a);
		return err_set(e, ERR_MEMORY, "script");
	}
	if (take(d, &c, &kept, e) == 0) {
		/* each statement is bounded by the server; how many there are is the script's affair */
		c.statement_ms = UINT32_MAX;
		done = conn_command(&c, text, e);
		c.broken = true;	/* whatever it has SET ends with it */
		give(d, &c);
	}
	arena_free(a);
	return done;
}
