/* db: PostgreSQL over libpq: a few connections shared by threads, parameters only, bounded waits,
 * and a breaker so that a dead database costs one wait, not one per request. */
#ifndef DB_DB_H
#define DB_DB_H

#include "arena.h"
#include "err.h"

#include <stdint.h>

struct db;
struct db_conf {
	const char *conninfo;	/* may name several hosts */
	unsigned connections;	/* most open at once */
	unsigned connect_ms, statement_ms, wait_ms;
};
/* Connects lazily: works with the database away. NULL: no memory. */
struct db *db_new(const struct db_conf *conf);
void db_free(struct db *d);

struct db_rows;		/* a result; freed with the arena */
size_t db_count(const struct db_rows *r);
/* Absent when NULL. */
struct slice db_value(const struct db_rows *r, size_t row, unsigned column);
int64_t db_int(const struct db_rows *r, size_t row, unsigned column, int64_t otherwise);

/* One statement with text parameters $1.. (absent slice: NULL), in its own transaction. rows may be NULL.
 * ERR_DATABASE; ERR_CONFLICT on a unique or serialisation failure. */
int db_query(struct db *d, struct arena *a, const char *sql, const struct slice *params, size_t n, struct db_rows **rows, struct err *e);

/* Several statements in one transaction: fn is called with the transaction; 0 commits, -1 rolls back. A commit
 * whose outcome is unknown is ERR_DATABASE: callers are idempotent (threats 1.6). */
struct db_tx;
int db_transaction(struct db *d, int (*fn)(void *ctx, struct db_tx *tx, struct err *e), void *ctx, struct err *e);
int db_tx_query(struct db_tx *tx, struct arena *a, const char *sql, const struct slice *params, size_t n, struct db_rows **rows, struct err *e);
/* COPY table FROM STDIN (text format): rows are escaped by db_copy_value. */
struct db_copy;
int db_copy_start(struct db_tx *tx, const char *copy_statement, struct db_copy **out, struct err *e);
void db_copy_value(struct db_copy *c, struct slice value);	/* absent: NULL */
int db_copy_row(struct db_copy *c, struct err *e);
int db_copy_end(struct db_copy *c, struct err *e);	/* frees it */

/* Runs a script of many statements (a migration); simple protocol. */
int db_script(struct db *d, struct slice sql, struct err *e);

/* A thread with a connection of its own that LISTENs. on_notify: a notification, or channel NULL when the
 * connection (again) came up, so that what was missed is read. poll_ms: called with channel NULL at least so often. */
struct db_listener;
struct db_listener *db_listen(const struct db_conf *conf, const char *const *channels, size_t n, unsigned poll_ms,
    void (*on_notify)(void *ctx, const char *channel, const char *payload), void *ctx, struct err *e);
void db_listen_stop(struct db_listener *l);
bool db_is_up(struct db *d);	/* what the breaker thinks */

#endif
