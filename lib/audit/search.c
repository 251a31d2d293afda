#include "audit.h"

#include "buf.h"
#include "record.h"

#include <inttypes.h>
#include <string.h>

#define MOST 10000
#define PAGE "1000"
#define PAGE_ARENA ((size_t)64 << 20)
#define CONDITIONS 11

/* A SELECT that grows: each condition brings its own parameter. */
struct select {
	struct arena *a;
	struct buf sql;
	struct slice params[CONDITIONS];
	size_t n;
};

static void
condition(struct select *s, const char *test, struct slice value)
{
	s->params[s->n++] = value;
	buf_printf(&s->sql, "%s%s$%zu", s->n == 1 ? " WHERE " : " AND ", test, s->n);
}

/* Values in the table were cleaned and cut when they were written: so is what is looked for. */
static void
text_condition(struct select *s, const char *test, struct slice value)
{
	char clean[RECORD_VALUE];

	if (value.p != NULL)
		condition(s, test, arena_dup(s->a, (struct slice){ clean, record_clean(clean, value) }));
}

static void
number_condition(struct select *s, const char *before, int64_t value)
{
	if (value > 0)
		condition(s, before, arena_printf(s->a, "%" PRId64, value));
}

static void
build(struct select *s, const char *before, const struct audit_query *q)
{
	buf_printf(&s->sql, "%sSELECT id, to_char(time AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), server, "
	    "kind, status"
#define TEXT(member, name) ", " name
#define NUMBER(member, name) ", " name
#include "fields.def"
#undef TEXT
#undef NUMBER
	    " FROM audit_event", before);
	text_condition(s, "user_id = ", q->user);
	text_condition(s, "client = ", q->client);
	text_condition(s, "service = ", q->service);
	text_condition(s, "status = ", q->status);
	text_condition(s, "kind = ", q->kind);
	text_condition(s, "request_id = ", q->request_id);
	text_condition(s, "card_id = ", q->card_id);
	text_condition(s, "address = ", q->address);
	number_condition(s, "time >= timestamptz 'epoch' + interval '1 millisecond' * ", q->from_ms);
	number_condition(s, "time < timestamptz 'epoch' + interval '1 millisecond' * ", q->to_ms);
	number_condition(s, "id > ", q->after_id);
}

static void
read_row(const struct db_rows *from, size_t i, struct audit_row *row)
{
	unsigned column = 5;

	*row = (struct audit_row){ .id = db_int(from, i, 0, 0), .time = db_value(from, i, 1),
		.server = db_value(from, i, 2), .kind = db_value(from, i, 3), .status = db_value(from, i, 4) };
#define TEXT(member, name) row->member = db_value(from, i, column++);
#define NUMBER(member, name) row->member = db_value(from, i, column++);
#include "fields.def"
#undef TEXT
#undef NUMBER
}

/* The statement up to its order. NULL with e filled. */
static struct select *
select_new(struct arena *a, const char *before, const struct audit_query *q, struct err *e)
{
	struct select *s = arena_alloc(a, sizeof *s);

	if (s != NULL) {
		s->a = a;
		buf_init(&s->sql, 8192);
	}
	if (s == NULL || buf_defer(&s->sql, a) < 0) {
		err_set(e, ERR_MEMORY, "search");
		return NULL;
	}
	build(s, before, q);
	return s;
}

/* The whole statement; NULL with e filled. */
static const char *
select_sql(struct select *s, struct err *e)
{
	buf_putc(&s->sql, '\0');
	if (!s->sql.failed)
		return s->sql.p;
	err_set(e, ERR_MEMORY, "search");
	return NULL;
}

int
audit_search(struct db *d, struct arena *a, const struct audit_query *q, struct audit_row **rows, size_t *n, struct err *e)
{
	struct select *s = select_new(a, "", q, e);
	struct db_rows *found;

	if (s == NULL)
		return -1;
	buf_printf(&s->sql, " ORDER BY %s LIMIT %u", q->after_id > 0 ? "id" : "time DESC, id DESC",
	    q->most > 0 && q->most < MOST ? q->most : MOST);
	const char *sql = select_sql(s, e);
	if (sql == NULL || db_query(d, a, sql, s->params, s->n, &found, e) < 0)
		return -1;
	*n = db_count(found);
	*rows = arena_alloc(a, (*n + 1) * sizeof **rows);
	if (*rows == NULL)
		return err_set(e, ERR_MEMORY, "%zu events", *n);
	for (size_t i = 0; i < *n; i++)
		read_row(found, i, &(*rows)[i]);
	return 0;
}

/* ---- all of them, a page at a time */

struct export {
	const struct audit_query *q;
	int (*row)(void *ctx, const struct audit_row *row, struct err *e);
	void *ctx;
	struct arena *a, *page;
};

/* The next page: 1, 0 when there was none, -1. */
static int
export_page(struct export *x, struct db_tx *tx, struct err *e)
{
	struct audit_row row;
	struct db_rows *rows;

	arena_reset(x->page);
	if (db_tx_query(tx, x->page, "FETCH " PAGE " FROM export", NULL, 0, &rows, e) < 0)
		return -1;
	for (size_t i = 0; i < db_count(rows); i++) {
		read_row(rows, i, &row);
		if (x->row(x->ctx, &row, e) < 0)
			return -1;
	}
	return db_count(rows) > 0;
}

static int
export_all(void *ctx, struct db_tx *tx, struct err *e)
{
	struct export *x = ctx;
	struct select *s = select_new(x->a, "DECLARE export NO SCROLL CURSOR FOR ", x->q, e);
	int more = 1;

	if (s == NULL)
		return -1;
	buf_puts(&s->sql, " ORDER BY time, id");
	if (x->q->most > 0)
		buf_printf(&s->sql, " LIMIT %u", x->q->most);
	const char *sql = select_sql(s, e);
	if (sql == NULL || db_tx_query(tx, x->a, sql, s->params, s->n, NULL, e) < 0)
		return -1;
	while (more > 0)
		more = export_page(x, tx, e);
	return more;
}

int
audit_export(struct db *d, const struct audit_query *q, int (*row)(void *ctx, const struct audit_row *row, struct err *e),
    void *ctx, struct err *e)
{
	struct export x = { .q = q, .row = row, .ctx = ctx, .a = arena_new(PAGE_ARENA), .page = arena_new(PAGE_ARENA) };
	int rc = x.a == NULL || x.page == NULL ? err_set(e, ERR_MEMORY, "export") : db_transaction(d, export_all, &x, e);

	arena_free(x.page);
	arena_free(x.a);
	return rc;
}
