/* What the tests of the central table share: a database, what is sent to it, what is found there. Include after
 * unit.h. */
#ifndef CENTRAL_H
#define CENTRAL_H

#include "events.h"
#include "log.h"
#include "pg.h"

/* quicker than TRUNCATE for what a test has written */
#define EMPTY "DELETE FROM audit_journal; DELETE FROM audit_record; DELETE FROM audit_event; DELETE FROM audit_dropped; " \
	"DELETE FROM audit_cut"

static struct test_pg *pg;
static struct db *db;

static inline int
start_database(void **state)
{
	(void)state;
	pg = pg_start();
	pg_schema(pg);
	db = db_new(&(struct db_conf){ .conninfo = pg_conninfo(pg), .connections = 4, .connect_ms = 2000,
	    .statement_ms = 20000, .wait_ms = 2000 });
	return db == NULL;
}

static inline int
stop_database(void **state)
{
	(void)state;
	db_free(db);
	pg_stop(pg);
	return 0;
}

static inline int
empty_world(void **state)
{
	pg_exec(pg, EMPTY);
	return world_new(state);
}

static inline long
count(const char *sql)
{
	char out[64];

	pg_value(pg, sql, out, sizeof out);
	return atol(out);
}

/* Until nothing is left to send. Returns the events sent. */
static inline uint64_t
ship(struct world *w)
{
	struct audit_shipped s = { .more = true };
	uint64_t n = 0;

	while (s.more) {
		assert_ok(audit_ship(w->dir, "gw1", 0, db, &s, &w->e), &w->e);
		n += s.events;
	}
	return n;
}

struct findings { uint64_t events, broken; unsigned lines; char text[4096]; };

static inline void
note(void *ctx, const char *line)
{
	struct findings *f = ctx;
	size_t n = strlen(f->text);

	f->lines++;
	snprintf(f->text + n, sizeof f->text - n, "%s\n", line);
}

static inline struct findings
verify(void)
{
	struct findings f = { 0 };
	struct err e = { 0 };

	assert_ok(audit_verify(db, note, &f, &f.events, &f.broken, &e), &e);
	return f;
}

static inline void
assert_whole(uint64_t events)
{
	struct findings f = verify();

	if (f.broken > 0)
		fail_msg("%s", f.text);
	assert_int_equal(f.events, events);
}

static inline struct audit_row *
search(struct world *w, struct audit_query q, size_t *n)
{
	struct audit_row *rows;

	assert_ok(audit_search(db, w->a, &q, &rows, n, &w->e), &w->e);
	return rows;
}

static inline size_t
files_in(struct world *w)
{
	struct folder_journal *list;
	size_t n;

	assert_ok(folder_list(w->a, w->dir, &list, &n, &w->e), &w->e);
	return n;
}

#endif
