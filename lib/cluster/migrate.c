/* Migrations: NNN-what.sql in a folder, run in order, each in one transaction together with its row in
 * schema_version. Two who migrate at once meet in the advisory lock: the second finds the row. */
#include "cluster.h"

#include "buf.h"
#include "conv.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FILE_MAX (4 << 20)
#define FILES_MAX 999
#define MIGRATE_CAP (64 << 20)

struct step {
	int64_t version;
	struct slice name, sql, sha256;
};
struct plan {
	struct arena *a;
	struct step *steps;
	size_t n;
	char *room;		/* FILE_MAX bytes for the file being read */
	void (*report)(void *ctx, const char *line);
	void *ctx;
};

static void tell(const struct plan *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
tell(const struct plan *p, const char *fmt, ...)
{
	char line[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	if (p->report != NULL)
		p->report(p->ctx, line);
}

/* ---- the folder */

/* Three digits, a dash, .sql: its number; 0 for any other file, a name with a quote among them. */
static int64_t
number_of(const char *name)
{
	struct slice s = slice_of(name);
	int64_t n;

	if (s.n < sizeof "000-x.sql" - 1 || s.p[3] != '-' || !slice_is(slice_from(s, s.n - 4), ".sql") ||
	    slice_find(s, S("'")) >= 0 ||
	    conv_number((struct slice){ s.p, 3 }, FILES_MAX, &n) < 0)
		return 0;
	return n;
}

static int
read_step(struct plan *p, const char *dir, const char *name, struct err *e)
{
	struct step *s = &p->steps[number_of(name) - 1];
	char *path = arena_cstr(p->a, arena_printf(p->a, "%s/%s", dir, name));
	uint8_t hash[32];

	if (path == NULL)
		return err_set(e, ERR_MEMORY, "schema files");
	if (s->version != 0)
		return err_set(e, ERR_CONFIG, "%s and %.*s have the same number", name, SLICE_FMT(s->name));
	FILE *f = fopen(path, "re");
	if (f == NULL)
		return err_set(e, ERR_CONFIG, "%s: %s", path, strerror(errno));
	size_t n = fread(p->room, 1, FILE_MAX, f);
	bool bad = ferror(f) || n == FILE_MAX;
	fclose(f);
	if (bad)
		return err_set(e, ERR_CONFIG, "%s cannot be read or is too large", path);
	*s = (struct step){ .version = number_of(name), .name = arena_dup(p->a, slice_of(name)),
		.sql = arena_dup(p->a, (struct slice){ p->room, n }) };
	conv_sha256(s->sql, hash);
	s->sha256 = conv_hex(p->a, (struct slice){ (const char *)hash, sizeof hash });
	return s->name.p == NULL || s->sql.p == NULL || s->sha256.p == NULL ?
	    err_set(e, ERR_MEMORY, "schema files") : 0;
}

static int
read_folder(struct plan *p, const char *dir, struct err *e)
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	int done = 0;

	if (d == NULL)
		return err_set(e, ERR_CONFIG, "schema folder %s: %s", dir, strerror(errno));
	while (done == 0 && (entry = readdir(d)) != NULL) {
		int64_t n = number_of(entry->d_name);
		if (n == 0)
			continue;
		done = read_step(p, dir, entry->d_name, e);
		if ((size_t)n > p->n)
			p->n = (size_t)n;
	}
	closedir(d);
	for (size_t i = 0; done == 0 && i < p->n; i++)
		if (p->steps[i].version == 0)
			done = err_set(e, ERR_CONFIG, "schema folder %s: number %03zu is missing", dir, i + 1);
	if (done == 0 && p->n == 0)
		done = err_set(e, ERR_CONFIG, "schema folder %s holds no NNN-what.sql", dir);
	return done;
}

/* ---- the database */

/* The version the database has; warns of applied files that have changed since. */
static int
applied(struct db *d, const struct plan *p, size_t *version, struct err *e)
{
	struct db_rows *rows;

	*version = 0;
	if (db_query(d, p->a, "SELECT to_regclass('schema_version')", NULL, 0, &rows, e) < 0)
		return -1;
	if (db_value(rows, 0, 0).p == NULL)
		return 0;
	if (db_query(d, p->a, "SELECT version, sha256 FROM schema_version ORDER BY version", NULL, 0, &rows, e) < 0)
		return -1;
	for (size_t i = 0; i < db_count(rows); i++) {
		*version = (size_t)db_int(rows, i, 0, 0);
		if (*version >= 1 && *version <= p->n &&
		    !slice_eq(p->steps[*version - 1].sha256, db_value(rows, i, 1)))
			tell(p, "note: %.*s is not as it was when it was applied",
			    SLICE_FMT(p->steps[*version - 1].name));
	}
	if (*version > p->n)
		return err_set(e, ERR_CONFIG, "the database has schema version %zu, this program brings %zu: "
		    "use the newer program", *version, p->n);
	return 0;
}

static bool
has_version(struct db *d, const struct plan *p, int64_t version)
{
	struct slice number = arena_printf(p->a, "%lld", (long long)version);
	struct db_rows *rows;
	struct err e = { 0 };

	return db_query(d, p->a, "SELECT 1 FROM schema_version WHERE version = $1::int", &number, 1, &rows, &e) == 0 &&
	    db_count(rows) == 1;
}

static void
write_script(struct buf *b, const struct step *s)
{
	/* the lock's number is "sosigw" in ASCII: nobody else's */
	buf_printf(b, "BEGIN; SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock(126943972878199);\n"
	    "DO $guard$ BEGIN IF to_regclass('schema_version') IS NOT NULL THEN\n"
	    "IF EXISTS (SELECT FROM schema_version WHERE version = %lld) THEN\n"
	    "RAISE unique_violation; END IF; END IF; END $guard$;\n", (long long)s->version);
	buf_put(b, s->sql);
	buf_printf(b, "\n;INSERT INTO schema_version (version, name, sha256) VALUES (%lld, '%.*s', '%.*s');"
	    "COMMIT;", (long long)s->version, SLICE_FMT(s->name), SLICE_FMT(s->sha256));
}

static int
apply(struct db *d, const struct plan *p, const struct step *s, struct err *e)
{
	struct err why = { 0 };
	struct buf b;

	buf_init(&b, FILE_MAX + 4096);
	write_script(&b, s);
	int done = b.failed ? err_set(&why, ERR_MEMORY, "migration") : db_script(d, buf_slice(&b), &why);
	buf_free(&b);
	if (done == 0) {
		tell(p, "applied %.*s", SLICE_FMT(s->name));
		return 0;
	}
	if (why.kind == ERR_CONFLICT && has_version(d, p, s->version)) {
		tell(p, "%.*s: somebody else has applied it meanwhile", SLICE_FMT(s->name));
		return 0;
	}
	return err_set(e, why.kind, "%.*s: %s; nothing of it was kept", SLICE_FMT(s->name), why.detail);
}

static int
run(struct db *d, const char *dir, bool dry_run, struct plan *p, struct err *e)
{
	size_t version;

	if (read_folder(p, dir, e) < 0 || applied(d, p, &version, e) < 0)
		return -1;
	if (version == p->n)
		tell(p, "the schema is up to date (version %zu)", version);
	for (size_t i = version; i < p->n; i++) {
		if (dry_run)
			tell(p, "would apply %.*s", SLICE_FMT(p->steps[i].name));
		else if (apply(d, p, &p->steps[i], e) < 0)
			return -1;
	}
	return 0;
}

int
cluster_migrate(struct db *d, const char *dir, bool dry_run, void (*report)(void *ctx, const char *line), void *ctx, struct err *e)
{
	struct arena *a = arena_new(MIGRATE_CAP);
	struct step *steps = a == NULL ? NULL : arena_alloc(a, FILES_MAX * sizeof *steps);
	char *room = a == NULL ? NULL : arena_alloc(a, FILE_MAX);
	struct plan p = { .a = a, .steps = steps, .room = room, .report = report, .ctx = ctx };
	int done = steps == NULL || room == NULL ? err_set(e, ERR_MEMORY, "migration") : run(d, dir, dry_run, &p, e);

	arena_free(a);
	return done;
}
