/* Members by their heartbeat. Times are the database's: what `seen` is compared with comes from the
 * same clock, so servers whose clocks differ do not look dead. */
#include "cluster.h"

#include <inttypes.h>
#include <stdlib.h>

int
cluster_beat(struct db *d, struct arena *a, const struct cluster_member *self, struct err *e)
{
	/* a server that has not been seen for a month is gone for good; its name may have been a container's */
	static const char sql[] = "WITH gone AS (DELETE FROM member WHERE seen < now() - interval '30 days'"
	    " AND server <> $1)"
	    " INSERT INTO member (server, zone, version, started, seen, revision, load, card_format,"
	    " journal_format, config_format, journal_bytes, journal_disk, journal_level, ends)"
	    " VALUES ($1, $2, $3, to_timestamp($4::bigint), now(), $5::bigint, $6::float8, $7::int, $8::int, $9::int,"
	    " $10::bigint, $11::int, $12, $13::jsonb)"
	    " ON CONFLICT (server) DO UPDATE SET zone = excluded.zone, version = excluded.version,"
	    " started = excluded.started, seen = excluded.seen, revision = excluded.revision,"
	    " load = excluded.load, card_format = excluded.card_format,"
	    " journal_format = excluded.journal_format, config_format = excluded.config_format,"
	    " journal_bytes = excluded.journal_bytes, journal_disk = excluded.journal_disk, journal_level = excluded.journal_level,"
	    " ends = excluded.ends";
	const bool says = self->journal_level.p != NULL;
	const struct slice silent = { NULL, 0 };
	const struct slice p[] = {
		self->server, self->zone, self->version,
		arena_printf(a, "%" PRId64, self->started), arena_printf(a, "%" PRId64, self->revision),
		arena_printf(a, "%.2f", self->load), arena_printf(a, "%d", self->card_format),
		arena_printf(a, "%d", self->journal_format), arena_printf(a, "%d", self->config_format),
		says ? arena_printf(a, "%" PRId64, self->journal_bytes) : silent,
		says ? arena_printf(a, "%d", self->journal_disk) : silent, self->journal_level, self->ends,
	};

	return db_query(d, a, sql, p, sizeof p / sizeof *p, NULL, e);
}

static void
read_member(struct arena *a, const struct db_rows *rows, size_t i, struct cluster_member *out)
{
	const char *load = arena_cstr(a, db_value(rows, i, 6));

	*out = (struct cluster_member){
		.server = db_value(rows, i, 0), .zone = db_value(rows, i, 1), .version = db_value(rows, i, 2),
		.started = db_int(rows, i, 3, 0), .seen = db_int(rows, i, 4, 0), .revision = db_int(rows, i, 5, 0),
		.load = load == NULL ? 0 : strtod(load, NULL),
		.card_format = (int)db_int(rows, i, 7, 0), .journal_format = (int)db_int(rows, i, 8, 0),
		.config_format = (int)db_int(rows, i, 9, 0), .journal_bytes = db_int(rows, i, 10, -1),
		.journal_disk = (int)db_int(rows, i, 11, 0), .journal_level = db_value(rows, i, 12),
		.ends = db_value(rows, i, 13),
	};
}

int
cluster_members(struct db *d, struct arena *a, int64_t within, struct cluster_member **out, size_t *n, struct err *e)
{
	struct db_rows *rows;
	struct slice p[] = { arena_printf(a, "%" PRId64, within) };

	if (db_query(d, a, "SELECT server, zone, version, extract(epoch FROM started)::bigint,"
	    " floor(extract(epoch FROM seen))::bigint, revision, load, card_format, journal_format, config_format,"
	    " journal_bytes, journal_disk, journal_level, ends FROM member WHERE seen >= now() - make_interval(secs => $1::bigint) ORDER BY server", p, 1,
	    &rows, e) < 0)
		return -1;
	*n = db_count(rows);
	*out = arena_alloc(a, (*n + 1) * sizeof **out);
	if (*out == NULL)
		return err_set(e, ERR_MEMORY, "members");
	for (size_t i = 0; i < *n; i++)
		read_member(a, rows, i, &(*out)[i]);
	return 0;
}
