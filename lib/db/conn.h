/* conn: one connection to PostgreSQL, never waiting longer than it was told. Inside db only: the
 * pool (db.c), COPY (copy.c) and the listener (listen.c) stand on it. */
#ifndef DB_CONN_H
#define DB_CONN_H

#include "buf.h"
#include "db.h"

#include <libpq-fe.h>
#include <stdatomic.h>

#define CONN_NEVER INT64_MAX	/* a deadline that does not come */

/* Where to connect. libpq's own list of hosts is of no use without blocking: PQconnectPoll would
 * spend the whole time on a first host that swallows packets. So the list is taken apart and each
 * host gets its share of connect_ms, beginning with the one that worked last. Nor does PQconnectPoll wait for name servers
 * in a bounded time: names are resolved before (resolve.h). */
struct dial {
	PQconninfoOption *options;	/* NULL: conninfo is unreadable */
	char *problem;			/* then this says why */
	struct dial_host { char *host, *hostaddr, *port; } *hosts;
	size_t nhosts;
	unsigned connect_ms, statement_ms;
	atomic_size_t good;
};
/* -1: no memory. An unreadable conninfo is not an error here: it is told at every dial. */
int dial_init(struct dial *d, const struct db_conf *conf);
void dial_free(struct dial *d);

struct conn {
	PGconn *pg;
	unsigned generation;	/* see db.c */
	unsigned statement_ms;
	bool broken;		/* not to be used again */
	bool silent;		/* broken because nothing was heard in time */
};
/* wake: a descriptor that ends the wait when it becomes readable; -1: none. */
int conn_open(struct dial *d, int wake, struct conn *out, struct err *e);
void conn_close(struct conn *c);
/* Nothing has ended it while it lay idle. */
bool conn_alive(struct conn *c);

/* Readable or writable (POLLIN, POLLOUT) before deadline: 1; 0 when not; -1 when wake was readable. */
int conn_wait(const struct conn *c, short events, int64_t deadline, int wake);
/* Sends what libpq still holds. */
int conn_flush(struct conn *c, int64_t deadline, struct err *e);
/* The next result; *out NULL when there is none. The caller clears it. */
int conn_next(struct conn *c, int64_t deadline, PGresult **out, struct err *e);
/* One statement. *out may be NULL when rows are not wanted. */
int conn_query(struct conn *c, struct arena *a, const char *sql, const struct slice *params, size_t n,
    PGresult **out, struct err *e);
/* One statement of our own without parameters or rows. */
int conn_command(struct conn *c, const char *sql, struct err *e);
/* Fills e from a failed result: primary message only, because details quote values. */
int conn_refused(const PGresult *res, struct err *e);
/* The connection failed; marks it broken. */
int conn_lost(struct conn *c, const char *doing, struct err *e);
/* When a statement that starts now must have ended. */
int64_t conn_deadline(const struct conn *c);

struct db_copy {
	struct conn *conn;	/* NULL: no COPY is under way */
	struct buf rows;	/* what was not sent yet */
	bool begun;		/* a value of this row is in rows */
	bool bad;		/* a value held a NUL byte */
};
struct db_tx {
	struct conn *conn;
	struct db_copy copy;	/* one at a time, so it goes with the transaction */
};
/* Ends a COPY that its user left, so that the connection can roll back. */
void copy_abandon(struct db_copy *c);

#endif
