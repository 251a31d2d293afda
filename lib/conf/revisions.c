/* Revisions in the database. Ids count without holes and a revision is inserted as base + 1: of two
 * publishers with one base, the second either sees another newest or meets the primary key. */
#include "conf.h"

#include <inttypes.h>
#include <string.h>

#define NORMAL_MAX (16 << 20)
#define COLUMNS "id, to_char(created, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), author, comment"

static void
read_row(const struct db_rows *rows, size_t i, struct conf_revision *out)
{
	*out = (struct conf_revision){ .id = db_int(rows, i, 0, 0), .created = db_value(rows, i, 1),
		.author = db_value(rows, i, 2), .comment = db_value(rows, i, 3) };
}

int
conf_load(struct db *d, struct arena *a, int64_t id, struct conf_revision *out, struct err *e)
{
	struct db_rows *rows;
	struct slice p[] = { id > 0 ? arena_printf(a, "%" PRId64, id) : (struct slice){ NULL, 0 } };

	if (db_query(d, a, "SELECT " COLUMNS ", document FROM config_revision"
	    " WHERE $1::bigint IS NULL OR id = $1::bigint ORDER BY id DESC LIMIT 1", p, 1, &rows, e) < 0)
		return -1;
	if (db_count(rows) == 0)
		return id > 0 ? err_set(e, ERR_NOT_FOUND, "there is no configuration revision %" PRId64, id) :
		    err_set(e, ERR_NOT_FOUND, "no configuration has been published yet");
	read_row(rows, 0, out);
	out->document = db_value(rows, 0, 4);
	return 0;
}

int
conf_history(struct db *d, struct arena *a, unsigned most, struct conf_revision **out, size_t *n, struct err *e)
{
	struct db_rows *rows;
	struct slice p[] = { arena_printf(a, "%u", most) };

	if (db_query(d, a, "SELECT " COLUMNS " FROM config_revision ORDER BY id DESC LIMIT $1::bigint", p, 1,
	    &rows, e) < 0)
		return -1;
	*n = db_count(rows);
	*out = arena_alloc(a, (*n + 1) * sizeof **out);
	if (*out == NULL)
		return err_set(e, ERR_MEMORY, "revisions");
	for (size_t i = 0; i < *n; i++)
		read_row(rows, i, &(*out)[i]);
	return 0;
}

static struct slice
or_empty(struct slice s)
{
	return s.p == NULL ? S("") : s;
}

static int
insert(struct db *d, struct arena *a, struct slice document, int64_t base, struct slice author,
    struct slice comment, int64_t *revision, struct err *e)
{
	struct db_rows *rows;
	struct slice p[] = { arena_printf(a, "%" PRId64, base), or_empty(author), or_empty(comment), document };

	if (db_query(d, a, "WITH added AS (INSERT INTO config_revision (id, author, comment, document)"
	    " SELECT $1::bigint + 1, $2::text, $3::text, $4::text"
	    " WHERE $1::bigint = (SELECT coalesce(max(id), 0) FROM config_revision) RETURNING id)"
	    " SELECT id, pg_notify('sosigw_config', id::text) FROM added", p, 4, &rows, e) < 0)
		return -1;
	if (db_count(rows) == 0)
		return err_set(e, ERR_CONFLICT, "revision %" PRId64 " is not the newest", base);
	*revision = db_int(rows, 0, 0, 0);
	return 0;
}

int
conf_publish(struct db *d, struct slice json, int64_t base, struct slice author, struct slice comment,
    int64_t *revision, struct buf *problems, struct err *e)
{
	struct conf *checked;
	struct buf normal;

	if (conf_parse(json, 0, &checked, problems, e) < 0)
		return -1;
	conf_free(checked);
	struct arena *a = arena_new(2 * NORMAL_MAX);
	if (a == NULL)
		return err_set(e, ERR_MEMORY, "configuration");
	buf_init(&normal, NORMAL_MAX);
	int done = conf_normal(json, &normal, e);
	if (done == 0)
		done = insert(d, a, buf_slice(&normal), base, author, comment, revision, e);
	buf_free(&normal);
	arena_free(a);
	return done;
}
