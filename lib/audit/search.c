#include "audit.h"

#include "buf.h"
#include "record.h"

#include <inttypes.h>
#include <string.h>

#define MOST 10000
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
build(struct select *s, const struct audit_query *q)
{
	buf_puts(&s->sql, "SELECT id, to_char(time AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), server, "
	    "kind, status"
#define TEXT(member, name) ", " name
#define NUMBER(member, name) ", " name
#include "fields.def"
#undef TEXT
#undef NUMBER
	    " FROM audit_event");
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
	buf_printf(&s->sql, " ORDER BY %s LIMIT %u", q->after_id > 0 ? "id" : "time DESC, id DESC",
	    q->most > 0 && q->most < MOST ? q->most : MOST);
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

int
audit_search(struct db *d, struct arena *a, const struct audit_query *q, struct audit_row **rows, size_t *n, struct err *e)
{
	struct select *s = arena_alloc(a, sizeof *s);
	struct db_rows *found;

	if (s == NULL)
		return err_set(e, ERR_MEMORY, "search");
	s->a = a;
	buf_init(&s->sql, 8192);
	if (buf_defer(&s->sql, a) < 0)
		return err_set(e, ERR_MEMORY, "search");
	build(s, q);
	buf_putc(&s->sql, '\0');
	if (s->sql.failed)
		return err_set(e, ERR_MEMORY, "search");
	if (db_query(d, a, s->sql.p, s->params, s->n, &found, e) < 0)
		return -1;
	*n = db_count(found);
	*rows = arena_alloc(a, (*n + 1) * sizeof **rows);
	if (*rows == NULL)
		return err_set(e, ERR_MEMORY, "%zu events", *n);
	for (size_t i = 0; i < *n; i++)
		read_row(found, i, &(*rows)[i]);
	return 0;
}
