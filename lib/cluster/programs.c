#include "programs.h"

#include "file.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define COPY_NAME "members.json"

/* ---- in the database */

static const char read_sql[] = "SELECT server, program, version, pid, extract(epoch FROM started)::bigint, "
    "greatest(extract(epoch FROM now() - seen)::bigint, 0), card_format, card_written, journal_format, journal_written, "
    "config_format, revision, refused, problem, signatures_sha1, signatures_sha2 FROM member_program "
    "WHERE seen > now() - make_interval(secs => $1::integer) ORDER BY server, program";

static struct slice
counts(struct arena *a)
{
	return arena_printf(a, "%d", CLUSTER_COUNTS);
}

static int
take_rows(struct arena *a, const struct db_rows *rows, struct cluster_program **out, size_t *n, struct err *e)
{
	*n = db_count(rows);
	*out = arena_alloc(a, (*n + 1) * sizeof **out);
	if (*out == NULL)
		return err_set(e, ERR_MEMORY, "programs");
	for (size_t i = 0; i < *n; i++)
		(*out)[i] = (struct cluster_program){
			.server = db_value(rows, i, 0), .program = db_value(rows, i, 1), .version = db_value(rows, i, 2),
			.pid = db_int(rows, i, 3, 0), .started = db_int(rows, i, 4, 0), .age = db_int(rows, i, 5, 0),
			.card_format = (int)db_int(rows, i, 6, 0), .card_written = (int)db_int(rows, i, 7, 0),
			.journal_format = (int)db_int(rows, i, 8, 0), .journal_written = (int)db_int(rows, i, 9, 0),
			.config_format = (int)db_int(rows, i, 10, 0), .revision = db_int(rows, i, 11, 0),
			.refused = db_int(rows, i, 12, 0), .problem = db_value(rows, i, 13),
			.signatures_sha1 = db_int(rows, i, 14, -1), .signatures_sha2 = db_int(rows, i, 15, -1),
		};
	return 0;
}

int
cluster_programs(struct db *d, struct arena *a, struct cluster_program **out, size_t *n, struct err *e)
{
	const struct slice p[] = { counts(a) };
	struct db_rows *rows;

	return db_query(d, a, read_sql, p, 1, &rows, e) < 0 ? -1 : take_rows(a, rows, out, n, e);
}

int
programs_read(struct db_tx *tx, struct arena *a, struct cluster_program **out, size_t *n, struct err *e)
{
	const struct slice p[] = { counts(a) };
	struct db_rows *rows;

	return db_tx_query(tx, a, read_sql, p, 1, &rows, e) < 0 ? -1 : take_rows(a, rows, out, n, e);
}

int
programs_kept(struct db_tx *tx, struct db *d, struct arena *a, struct cluster_kept **out, size_t *n, struct err *e)
{
	static const char sql[] = "SELECT format, greatest(extract(epoch FROM now() - until)::bigint, 0) FROM card_format_kept "
	    "WHERE until > now() - make_interval(secs => $1::integer) ORDER BY format";
	const struct slice p[] = { counts(a) };
	struct db_rows *rows;

	if ((tx != NULL ? db_tx_query(tx, a, sql, p, 1, &rows, e) : db_query(d, a, sql, p, 1, &rows, e)) < 0)
		return -1;
	*n = db_count(rows);
	*out = arena_alloc(a, (*n + 1) * sizeof **out);
	if (*out == NULL)
		return err_set(e, ERR_MEMORY, "formats");
	for (size_t i = 0; i < *n; i++)
		(*out)[i] = (struct cluster_kept){ (int)db_int(rows, i, 0, 0), db_int(rows, i, 1, 0) };
	return 0;
}

/* NULL when it does not say. */
static struct slice
number_or_null(struct arena *a, int64_t n)
{
	return n < 0 ? (struct slice){ NULL, 0 } : arena_printf(a, "%" PRId64, n);
}

/* What was written under our name up to now stays in the cache for as long as a card lives. */
static int
note_kept(struct db_tx *tx, struct arena *a, const struct cluster_program *self, struct err *e)
{
	const struct slice p[] = { self->server, self->program, arena_printf(a, "%d", self->card_written) };

	return db_tx_query(tx, a, "INSERT INTO card_format_kept (format, until) SELECT card_written, now() FROM member_program "
	    "WHERE server = $1 AND program = $2 AND card_written <> $3::integer "
	    "ON CONFLICT (format) DO UPDATE SET until = excluded.until", p, 3, NULL, e);
}

int
programs_put(struct db_tx *tx, struct arena *a, const struct cluster_program *self, struct err *e)
{
	const struct slice p[] = {
		self->server, self->program, self->version, arena_printf(a, "%" PRId64, self->pid),
		arena_printf(a, "%" PRId64, self->started), arena_printf(a, "%d", self->card_format),
		arena_printf(a, "%d", self->card_written), arena_printf(a, "%d", self->journal_format),
		arena_printf(a, "%d", self->journal_written), arena_printf(a, "%d", self->config_format),
		arena_printf(a, "%" PRId64, self->revision), arena_printf(a, "%" PRId64, self->refused), self->problem,
		number_or_null(a, self->signatures_sha1), number_or_null(a, self->signatures_sha2),
	};

	if (note_kept(tx, a, self, e) < 0)
		return -1;
	return db_tx_query(tx, a, "INSERT INTO member_program (server, program, version, pid, started, card_format, "
	    "card_written, journal_format, journal_written, config_format, revision, refused, problem, signatures_sha1, signatures_sha2) VALUES ($1, $2, $3, "
	    "$4::integer, to_timestamp($5::bigint), $6::integer, $7::integer, $8::integer, $9::integer, $10::integer, "
	    "$11::bigint, $12::bigint, $13, $14::bigint, $15::bigint) ON CONFLICT (server, program) DO UPDATE SET version = excluded.version, "
	    "pid = excluded.pid, started = excluded.started, seen = excluded.seen, card_format = excluded.card_format, "
	    "card_written = excluded.card_written, journal_format = excluded.journal_format, "
	    "journal_written = excluded.journal_written, config_format = excluded.config_format, "
	    "revision = excluded.revision, refused = excluded.refused, problem = excluded.problem, "
	    "signatures_sha1 = excluded.signatures_sha1, signatures_sha2 = excluded.signatures_sha2",
	    p, sizeof p / sizeof *p, NULL, e);
}

int
programs_touch(struct db *d, struct arena *a, const struct cluster_program *self, bool *counted, struct err *e)
{
	const struct slice p[] = {
		self->server, self->program, counts(a), arena_printf(a, "%" PRId64, self->revision),
		arena_printf(a, "%" PRId64, self->refused), self->problem, arena_printf(a, "%" PRId64, self->pid),
		number_or_null(a, self->signatures_sha1), number_or_null(a, self->signatures_sha2),
	};
	struct db_rows *rows;

	/* another pid: a second program of the same name, or one that took our place; each then says again what it is */
	if (db_query(d, a, "UPDATE member_program SET seen = now(), revision = $4::bigint, refused = $5::bigint, "
	    "problem = $6, signatures_sha1 = $8::bigint, signatures_sha2 = $9::bigint WHERE server = $1 AND program = $2 AND pid = $7::integer AND "
	    "seen > now() - make_interval(secs => $3::integer) RETURNING 1", p, sizeof p / sizeof *p, &rows, e) < 0)
		return -1;
	*counted = db_count(rows) == 1;
	return 0;
}

int
cluster_forget(struct db *d, struct arena *a, struct slice server, struct err *e)
{
	const struct slice p[] = { server, arena_printf(a, "%d", CLUSTER_UP) };
	struct db_rows *rows;

	if (db_query(d, a, "WITH up AS (SELECT server FROM member WHERE server = $1 AND "
	    "seen > now() - make_interval(secs => $2::integer) UNION ALL SELECT server FROM member_program "
	    "WHERE server = $1 AND seen > now() - make_interval(secs => $2::integer)), "
	    "a AS (DELETE FROM member WHERE server = $1 AND NOT EXISTS (SELECT FROM up) RETURNING 1), "
	    "b AS (DELETE FROM member_program WHERE server = $1 AND NOT EXISTS (SELECT FROM up) RETURNING card_written, seen), "
	    "c AS (INSERT INTO card_format_kept (format, until) SELECT card_written, max(seen) FROM b GROUP BY card_written "
	    "ON CONFLICT (format) DO UPDATE SET until = greatest(card_format_kept.until, excluded.until)) "
	    "SELECT (SELECT count(*) FROM up), (SELECT count(*) FROM a) + (SELECT count(*) FROM b)", p, 2, &rows, e) < 0)
		return -1;
	if (db_int(rows, 0, 0, 0) > 0)
		return err_set(e, ERR_CONFLICT, "%.*s is up: it was seen within a minute", SLICE_FMT(server));
	return db_int(rows, 0, 1, 0) > 0 ? 0 : err_set(e, ERR_NOT_FOUND, "no server %.*s is known", SLICE_FMT(server));
}

/* ---- the copy: {"programs": [{"server": "gw1", "program": "card-1", "card": [2, 1], "journal": [2, 1], "config": 1}],
 * "kept": [1]} */

static void
put_text(struct buf *b, struct slice text)
{
	json_t *s = json_stringn_nocheck(text.p, text.n);
	char *quoted = s == NULL ? NULL : json_dumps(s, JSON_ENCODE_ANY);

	if (quoted == NULL)
		b->failed = true;
	else
		buf_puts(b, quoted);
	free(quoted);
	json_decref(s);
}

void
programs_copy(struct buf *b, const struct programs_known *k)
{
	const struct cluster_program *all = k->programs;

	buf_puts(b, "{\"programs\": [");
	for (size_t i = 0; i < k->n; i++) {
		buf_puts(b, i == 0 ? "\n{\"server\": " : ",\n{\"server\": ");
		put_text(b, all[i].server);
		buf_puts(b, ", \"program\": ");
		put_text(b, all[i].program);
		buf_printf(b, ", \"card\": [%d, %d], \"journal\": [%d, %d], \"config\": %d}", all[i].card_format,
		    all[i].card_written, all[i].journal_format, all[i].journal_written, all[i].config_format);
	}
	buf_puts(b, "\n], \"kept\": [");
	for (size_t i = 0; i < k->nkept; i++)
		buf_printf(b, i == 0 ? "%d" : ", %d", k->kept[i].format);
	buf_puts(b, "]}\n");
}

static int
take_one(json_t *o, struct arena *a, struct cluster_program *p)
{
	const char *server, *program;

	*p = (struct cluster_program){ .age = -1, .signatures_sha1 = -1, .signatures_sha2 = -1 };
	if (json_unpack(o, "{s:s, s:s, s:[ii], s:[ii], s:i}", "server", &server, "program", &program, "card",
	    &p->card_format, &p->card_written, "journal", &p->journal_format, &p->journal_written, "config",
	    &p->config_format) < 0)
		return -1;
	p->server = arena_dup(a, slice_of(server));
	p->program = arena_dup(a, slice_of(program));
	return p->server.p == NULL || p->program.p == NULL ? -1 : 0;
}

static int
take_copy(json_t *whole, struct arena *a, struct programs_known *out)
{
	json_t *list = json_object_get(whole, "programs"), *kept = json_object_get(whole, "kept");

	*out = (struct programs_known){ .n = json_array_size(list), .nkept = json_array_size(kept) };
	out->programs = arena_alloc(a, (out->n + 1) * sizeof *out->programs);
	out->kept = arena_alloc(a, (out->nkept + 1) * sizeof *out->kept);
	if (out->programs == NULL || out->kept == NULL || !json_is_array(list) || !json_is_array(kept))
		return -1;
	for (size_t i = 0; i < out->n; i++)
		if (take_one(json_array_get(list, i), a, &out->programs[i]) < 0)
			return -1;
	for (size_t i = 0; i < out->nkept; i++)
		out->kept[i] = (struct cluster_kept){ (int)json_integer_value(json_array_get(kept, i)), -1 };
	return 0;
}

static int
copy_path(const char *state, char out[PATH_MAX], struct err *e)
{
	return snprintf(out, PATH_MAX, "%s/" COPY_NAME, state) < PATH_MAX ? 0 :
	    err_set(e, ERR_CONFIG, "the state folder's path is too long");
}

int
programs_read_copy(const char *state, struct arena *a, struct programs_known *out, struct err *e)
{
	char path[PATH_MAX];

	if (copy_path(state, path, e) < 0)
		return -1;
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_CONFIG, "%s: %s", path, strerror(errno));
	json_t *whole = json_loadf(f, JSON_REJECT_DUPLICATES, NULL);
	fclose(f);
	int done = take_copy(whole, a, out);
	json_decref(whole);
	return done == 0 ? 0 : err_set(e, ERR_CONFIG, "%s is no list of programs", path);
}

int
programs_write_copy(const char *state, struct slice copy, struct err *e)
{
	char path[PATH_MAX];

	return copy_path(state, path, e) < 0 ? -1 : file_replace(path, copy, e);
}
