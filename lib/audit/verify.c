/* Goes through the central table as a stranger would: in one snapshot, journal by journal, nothing taken for
 * granted but SHA-256. What the database computed itself when the records came in is computed again here, from
 * the payloads; audit_differences then compares the searchable events with the records.
 *
 * Where records are no longer kept (schema/003) a row of audit_cut stands in their place, with the chain hash that the
 * next record goes on from; those rows are held together by the ledger of audit_dropped. */
#include "audit.h"

#include "conv.h"
#include "record.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ARENA (256u * 1024 * 1024)
#define PAGE "1000"

/* Rows of a cursor, one after another. */
struct stream {
	const char *fetch;
	struct arena *a;		/* of the page */
	struct db_rows *rows;
	size_t next, n;
	bool over;
};
struct journal {
	int64_t id;
	uint64_t sequence;
	struct slice name, server, program, ledger, hash, closed;
	int64_t torn, damaged;
};
struct verify {
	void (*report)(void *ctx, const char *line);
	void *ctx;
	uint64_t events, broken;
	struct db_tx *tx;
	EVP_MD_CTX *md;
	struct arena *a;		/* of the journal being looked at */
	struct stream journals, records;
	uint8_t ledger[32];		/* of the journal before */
	int64_t last_id;
};

static void report(struct verify *v, bool broken, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void
report(struct verify *v, bool broken, const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	v->broken += broken;
	v->report(v->ctx, line);
}

/* The row that comes next: 1 with its number in *row, 0 at the end, -1. It stays until stream_pass. */
static int
stream_peek(struct verify *v, struct stream *s, size_t *row, struct err *e)
{
	if (s->next == s->n && !s->over) {
		arena_reset(s->a);
		if (db_tx_query(v->tx, s->a, s->fetch, NULL, 0, &s->rows, e) < 0)
			return -1;
		s->next = 0;
		s->n = db_count(s->rows);
		s->over = s->n == 0;
	}
	*row = s->next;
	return !s->over;
}

static void
stream_pass(struct stream *s)
{
	s->next++;
}

/* ---- one record */

struct link {
	bool known;		/* hash is that of the record before */
	uint64_t number;
	uint8_t hash[RECORD_HASH];
	enum record_type type;
	bool cut;		/* it is no longer kept: its type is not known */
};

static void
check_writer(struct verify *v, const struct journal *j, const struct record *r)
{
	struct slice server, program;

	if (!record_writer(v->records.a, r->payload, &server, &program) || !slice_eq(server, j->server) ||
	    !slice_eq(program, j->program))
		report(v, true, "journal %s record %" PRIu64 ": another server or program than the journal's", j->name.p,
		    r->number);
}

static void
check_record(struct verify *v, const struct journal *j, size_t row, struct link *last)
{
	const struct db_rows *rows = v->records.rows;
	uint64_t sequence = (uint64_t)db_int(rows, row, 1, 0);
	/* of the page, not of the journal: a journal may have millions */
	struct slice hash = conv_unhex(v->records.a, db_value(rows, row, 3));
	struct record r = { .payload = db_value(rows, row, 4) };
	uint8_t want[RECORD_HASH];

	if (sequence != last->number + 1) {
		if (sequence > last->number + 1)
			report(v, true, "journal %s: records %" PRIu64 " to %" PRIu64 " are missing", j->name.p,
			    last->number + 1, sequence - 1);
		else
			report(v, true, "journal %s: record %" PRIu64 " is there twice", j->name.p, sequence);
		last->known = false;
	}
	record_chain(v->md, last->hash, r.payload, want);
	bool whole = record_payload(&r) && r.number == sequence && r.time_ms == db_int(rows, row, 2, -1) &&
	    hash.n == RECORD_HASH && (!last->known || memcmp(want, hash.p, RECORD_HASH) == 0);
	if (!whole)
		report(v, true, "journal %s: record %" PRIu64 " is not what was written", j->name.p, sequence);
	else if (r.type == RECORD_BEGIN)
		check_writer(v, j, &r);
	last->known = hash.n == RECORD_HASH;
	if (last->known)
		memcpy(last->hash, hash.p, RECORD_HASH);
	last->number = sequence;
	last->type = r.type;
	last->cut = false;
}

/* ---- one journal */

/* In place of records that are no longer kept. */
static void
check_cut(struct verify *v, const struct journal *j, size_t row, struct link *last)
{
	const struct db_rows *rows = v->records.rows;
	uint64_t first = (uint64_t)db_int(rows, row, 1, 0), end = (uint64_t)db_int(rows, row, 5, 0);
	struct slice hash = conv_unhex(v->records.a, db_value(rows, row, 3));

	if (first > last->number + 1)
		report(v, true, "journal %s: records %" PRIu64 " to %" PRIu64 " are missing", j->name.p, last->number + 1, first - 1);
	else if (first <= last->number)
		report(v, true, "journal %s: record %" PRIu64 " was dropped, and is there", j->name.p, first);
	*last = (struct link){ .known = hash.n == RECORD_HASH, .number = end, .type = RECORD_OTHER, .cut = true };
	if (last->known)
		memcpy(last->hash, hash.p, RECORD_HASH);
}

/* The next records, as long as they are of journal `id` (or of one before it: nobody's). */
static int
check_records(struct verify *v, const struct journal *j, struct link *last, struct err *e)
{
	size_t row;
	int more;

	while ((more = stream_peek(v, &v->records, &row, e)) > 0) {
		int64_t of = db_int(v->records.rows, row, 0, 0);
		if (of > j->id)
			break;
		if (of < j->id)
			report(v, true, "record %" PRId64 " of journal number %" PRId64 ", which is not listed",
			    db_int(v->records.rows, row, 1, 0), of);
		else if (db_value(v->records.rows, row, 5).p != NULL)
			check_cut(v, j, row, last);
		else
			check_record(v, j, row, last);
		stream_pass(&v->records);
	}
	return more < 0 ? -1 : 0;
}

static void
check_ledger(struct verify *v, const struct journal *j)
{
	EVP_MD_CTX *md = v->md;
	struct slice text = arena_printf(v->a, "%s\n%s\n%s", j->name.p, j->server.p, j->program.p);

	record_chain(md, v->ledger, text, v->ledger);
	if (j->id != v->last_id + 1)
		report(v, true, "journals number %" PRId64 " to %" PRId64 " are missing", v->last_id + 1, j->id - 1);
	else if (j->ledger.n != 32 || memcmp(j->ledger.p, v->ledger, 32) != 0)
		report(v, true, "journal %s, number %" PRId64 ": its entry in the list of journals was changed", j->name.p, j->id);
	if (j->ledger.n == 32)
		memcpy(v->ledger, j->ledger.p, 32);
	v->last_id = j->id;
}

static void
check_end(struct verify *v, const struct journal *j, const struct link *last)
{
	if (last->number < j->sequence)
		report(v, true, "journal %s: records %" PRIu64 " to %" PRIu64 ", its last, are missing", j->name.p,
		    last->number + 1, j->sequence);
	else if (last->number > j->sequence || j->hash.n != RECORD_HASH ||
	    memcmp(last->hash, j->hash.p, RECORD_HASH) != 0)
		report(v, true, "journal %s: its last record is not the last that arrived", j->name.p);
	if (slice_is(j->closed, "clean") && last->type != RECORD_END && !last->cut)
		report(v, true, "journal %s: said to have ended cleanly, but its end is missing", j->name.p);
	if (slice_is(j->closed, "died"))
		report(v, false, "note: journal %s: its process ended without closing it, after record %" PRIu64, j->name.p,
		    j->sequence);
	if (j->torn > 0)
		report(v, false, "note: journal %s: %" PRId64 " unfinished last records were cut", j->name.p, j->torn);
	if (j->damaged > 0)
		report(v, true, "journal %s: was damaged in %" PRId64 " places before it arrived", j->name.p, j->damaged);
}

static int
check_events(struct verify *v, const struct journal *j, struct err *e)
{
	struct slice id = arena_printf(v->a, "%" PRId64, j->id);
	struct db_rows *rows;

	if (db_tx_query(v->tx, v->a, "SELECT sequence, difference FROM audit_differences($1)", &id, 1, &rows, e) < 0)
		return -1;
	for (size_t i = 0; i < db_count(rows); i++)
		report(v, true, "journal %s record %" PRId64 ": %s", j->name.p, db_int(rows, i, 0, 0), db_value(rows, i, 1).p);
	return 0;
}

static int
check_journal(struct verify *v, const struct journal *j, struct err *e)
{
	struct link last = { .known = true, .type = RECORD_OTHER };

	check_ledger(v, j);
	if (check_records(v, j, &last, e) < 0)
		return -1;
	check_end(v, j, &last);
	return check_events(v, j, e);
}

static struct journal
read_journal(struct verify *v, size_t row)
{
	const struct db_rows *rows = v->journals.rows;

	return (struct journal){
		.id = db_int(rows, row, 0, 0), .name = db_value(rows, row, 1), .server = db_value(rows, row, 2),
		.program = db_value(rows, row, 3), .ledger = conv_unhex(v->a, db_value(rows, row, 4)),
		.sequence = (uint64_t)db_int(rows, row, 5, 0), .hash = conv_unhex(v->a, db_value(rows, row, 6)),
		.closed = db_value(rows, row, 7), .torn = db_int(rows, row, 8, 0), .damaged = db_int(rows, row, 9, 0),
	};
}

/* ---- what is no longer kept */

struct dropped {
	int64_t id, time_ms, records, events, broken;
	struct slice part, server, time, ledger;
};

/* SHA-256 over the cuts as schema/003 tells, in hex. */
static int
cuts_of(struct verify *v, int64_t id, struct slice *hex, struct err *e)
{
	struct slice param = arena_printf(v->a, "%" PRId64, id);
	uint8_t hash[EVP_MAX_MD_SIZE];
	struct db_rows *rows;

	if (db_tx_query(v->tx, v->a, "SELECT concat_ws(' ', journal, first, last, encode(hash, 'hex')) FROM audit_cut "
	    "WHERE dropped = $1::bigint ORDER BY journal, first", &param, 1, &rows, e) < 0)
		return -1;
	if (EVP_DigestInit_ex(v->md, EVP_sha256(), NULL) != 1)
		return err_set(e, ERR_MEMORY, "SHA-256");
	for (size_t i = 0; i < db_count(rows); i++) {
		struct slice line = db_value(rows, i, 0);
		if ((i > 0 && EVP_DigestUpdate(v->md, "\n", 1) != 1) || EVP_DigestUpdate(v->md, line.p, line.n) != 1)
			return err_set(e, ERR_MEMORY, "SHA-256");
	}
	if (EVP_DigestFinal_ex(v->md, hash, NULL) != 1)
		return err_set(e, ERR_MEMORY, "SHA-256");
	*hex = conv_hex(v->a, (struct slice){ (const char *)hash, 32 });
	return 0;
}

static int
check_dropped(struct verify *v, const struct dropped *d, int64_t last_id, uint8_t ledger[32], struct err *e)
{
	struct slice cuts;

	if (cuts_of(v, d->id, &cuts, e) < 0)
		return -1;
	struct slice text = arena_printf(v->a, "%" PRId64 "\n%s\n%s\n%" PRId64 "\n%" PRId64 "\n%" PRId64 "\n%" PRId64 "\n%s",
	    d->id, d->part.p, d->server.p, d->time_ms, d->records, d->events, d->broken, cuts.p);
	record_chain(v->md, ledger, text, ledger);
	if (d->id != last_id + 1)
		report(v, true, "entries %" PRId64 " to %" PRId64 " of the list of what was dropped are missing", last_id + 1, d->id - 1);
	else if (d->ledger.n != 32 || memcmp(d->ledger.p, ledger, 32) != 0)
		report(v, true, "%s: what is said of the records that were dropped was changed", d->part.p);
	if (d->ledger.n == 32)
		memcpy(ledger, d->ledger.p, 32);
	report(v, false, "note: %s: %" PRId64 " records of %" PRId64 " events were dropped at %s by %s", d->part.p, d->records,
	    d->events, d->time.p, d->server.p);
	if (d->broken > 0)
		report(v, true, "%s: %" PRId64 " records were not what was written when they were dropped", d->part.p, d->broken);
	return 0;
}

static int
check_all_dropped(struct verify *v, struct err *e)
{
	uint8_t ledger[32] = { 0 };
	int64_t last_id = 0;
	struct db_rows *rows, *strays;
	struct arena *a = v->journals.a;	/* its cursor is not read yet */

	if (db_tx_query(v->tx, a, "SELECT id, part, server, (extract(epoch FROM dropped) * 1000)::bigint, records, events, broken, "
	    "encode(ledger, 'hex'), to_char(dropped AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM audit_dropped ORDER BY id",
	    NULL, 0, &rows, e) < 0 ||
	    db_tx_query(v->tx, a, "SELECT DISTINCT dropped FROM audit_cut WHERE dropped NOT IN (SELECT id FROM audit_dropped)",
	    NULL, 0, &strays, e) < 0)
		return -1;
	for (size_t i = 0; i < db_count(rows); i++) {
		arena_reset(v->a);
		struct dropped d = { .id = db_int(rows, i, 0, 0), .part = db_value(rows, i, 1), .server = db_value(rows, i, 2),
			.time_ms = db_int(rows, i, 3, 0), .records = db_int(rows, i, 4, 0), .events = db_int(rows, i, 5, 0),
			.broken = db_int(rows, i, 6, 0), .ledger = conv_unhex(v->a, db_value(rows, i, 7)), .time = db_value(rows, i, 8) };
		if (check_dropped(v, &d, last_id, ledger, e) < 0)
			return -1;
		last_id = d.id;
	}
	for (size_t i = 0; i < db_count(strays); i++)
		report(v, true, "records were cut out by entry %" PRId64 " of the list of what was dropped, which is not there",
		    db_int(strays, i, 0, 0));
	return 0;
}

/* ---- all of it */

static int
check_strays(struct verify *v, struct err *e)
{
	const struct journal beyond = { .id = INT64_MAX };
	struct link none = { .known = false };
	struct db_rows *rows;

	arena_reset(v->a);
	if (check_records(v, &beyond, &none, e) < 0 ||
	    db_tx_query(v->tx, v->a, "SELECT DISTINCT e.journal FROM audit_event e WHERE NOT EXISTS "
	    "(SELECT FROM audit_journal j WHERE j.id = e.journal) ORDER BY 1", NULL, 0, &rows, e) < 0)
		return -1;
	for (size_t i = 0; i < db_count(rows); i++)
		report(v, true, "events of journal number %" PRId64 ", which is not listed", db_int(rows, i, 0, 0));
	if (db_tx_query(v->tx, v->a, "SELECT count(*) FROM audit_event", NULL, 0, &rows, e) < 0)
		return -1;
	v->events = (uint64_t)db_int(rows, 0, 0, 0);
	return 0;
}

static int
begin(struct verify *v, struct err *e)
{
	static const char *const statements[] = {
		"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
		"DECLARE journals NO SCROLL CURSOR FOR SELECT id, name, server, program, encode(ledger, 'hex'), sequence, "
		"encode(hash, 'hex'), closed, torn, damaged FROM audit_journal ORDER BY id",
		"DECLARE records NO SCROLL CURSOR FOR SELECT journal, sequence, (extract(epoch FROM time) * 1000)::bigint, "
		"encode(hash, 'hex'), payload, NULL::bigint FROM audit_record UNION ALL SELECT journal, first, NULL, "
		"encode(hash, 'hex'), NULL, last FROM audit_cut ORDER BY 1, 2",
	};

	for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
		if (db_tx_query(v->tx, v->a, statements[i], NULL, 0, NULL, e) < 0)
			return -1;
	return 0;
}

static int
verify_all(void *ctx, struct db_tx *tx, struct err *e)
{
	struct verify *v = ctx;
	size_t row;
	int more;

	v->tx = tx;
	if (begin(v, e) < 0 || check_all_dropped(v, e) < 0)
		return -1;
	while ((more = stream_peek(v, &v->journals, &row, e)) > 0) {
		arena_reset(v->a);
		struct journal j = read_journal(v, row);
		if (check_journal(v, &j, e) < 0)
			return -1;
		stream_pass(&v->journals);
	}
	return more < 0 ? -1 : check_strays(v, e);
}

int
audit_verify(struct db *d, void (*fn)(void *ctx, const char *line), void *ctx, uint64_t *events, uint64_t *broken, struct err *e)
{
	struct verify v = { .report = fn, .ctx = ctx, .md = EVP_MD_CTX_new(), .a = arena_new(ARENA),
		.journals = { .fetch = "FETCH " PAGE " FROM journals", .a = arena_new(ARENA) },
		.records = { .fetch = "FETCH " PAGE " FROM records", .a = arena_new(ARENA) } };
	int rc = -1;

	if (v.md == NULL || v.a == NULL || v.journals.a == NULL || v.records.a == NULL ||
	    EVP_DigestInit_ex(v.md, EVP_sha256(), NULL) != 1)
		err_set(e, ERR_MEMORY, "verify");
	else
		rc = db_transaction(d, verify_all, &v, e);
	*events = v.events;
	*broken = v.broken;
	arena_free(v.records.a);
	arena_free(v.journals.a);
	arena_free(v.a);
	EVP_MD_CTX_free(v.md);
	return rc;
}
