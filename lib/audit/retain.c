/* What need not be kept any more is dropped by month (schema/003). Any server may do it; who holds the advisory
 * lock does, and the others find it done. The event stands in a journal before anything is dropped, and its outcome
 * behind it, as for everything that is done. */
#include "audit.h"

#include "clock.h"
#include "log.h"

#include <inttypes.h>

#define ARENA (1024 * 1024)

struct part {
	const char *dir, *server;
	struct slice name, months;
	struct arena *a;
	struct audit *journal;		/* NULL until there is something to drop */
	struct audit_event event;
	uint64_t records, events, broken;
	struct slice ledger;
};

/* true: this part is ours to drop. */
static bool
is_ours(struct part *p, struct db_tx *tx, struct err *e)
{
	static const char take[] = "SELECT pg_try_advisory_xact_lock(hashtextextended('sosigw audit drop', 0))";
	static const char look[] = "SELECT FROM audit_old($1::integer) AS part WHERE part = $2";
	const struct slice params[] = { p->months, p->name };
	struct db_rows *rows;

	if (db_tx_query(tx, p->a, take, NULL, 0, &rows, e) < 0 || !slice_is(db_value(rows, 0, 0), "t"))
		return false;
	return db_tx_query(tx, p->a, look, params, 2, &rows, e) == 0 && db_count(rows) == 1;
}

static int
announce(struct part *p, struct err *e)
{
	p->journal = audit_open(p->dir, p->server, "housekeeper", true, e);
	if (p->journal == NULL)
		return -1;
	int64_t now = clock_now_ms();
	p->event = (struct audit_event){ .kind = AUDIT_ADMIN, .status = AUDIT_OPEN, .time_ms = now,
		.request_id = arena_printf(p->a, "drop-%s-%" PRId64, p->name.p, now), .system = S("housekeeper"),
		.operation = arena_printf(p->a, "drop audit %s", p->name.p) };
	return audit_write(p->journal, &p->event, e);
}

static int
drop(void *ctx, struct db_tx *tx, struct err *e)
{
	struct part *p = ctx;
	const struct slice params[] = { p->name, p->months, slice_of(p->server) };
	struct db_rows *rows;

	if (!is_ours(p, tx, e))
		return e->kind == ERR_NONE ? 0 : -1;
	if (announce(p, e) < 0 || db_tx_query(tx, p->a, "SELECT records, events, broken, encode(ledger, 'hex') "
	    "FROM audit_drop($1, $2::integer, $3)", params, 3, &rows, e) < 0)
		return -1;
	p->records = (uint64_t)db_int(rows, 0, 0, 0);
	p->events = (uint64_t)db_int(rows, 0, 1, 0);
	p->broken = (uint64_t)db_int(rows, 0, 2, 0);
	p->ledger = db_value(rows, 0, 3);
	return 0;
}

/* The outcome goes behind the announcement; a COMMIT with unknown outcome is said to have failed, and the table says
 * how it is. */
static int
conclude(struct part *p, int rc, struct err *e)
{
	if (p->journal == NULL)
		return rc;
	p->event.status = rc == 0 ? AUDIT_OK : AUDIT_FAILED;
	if (rc < 0)
		p->event.reason = slice_of(err_name(e->kind));
	else
		p->event.operation = arena_printf(p->a, "drop audit %s: %" PRIu64 " events", p->name.p, p->events);
	p->event.duration_ms = clock_now_ms() - p->event.time_ms;
	if (audit_write(p->journal, &p->event, e) < 0)
		rc = -1;
	audit_close(p->journal);
	return rc;
}

static void
tell(const struct part *p)
{
	/* the technical log is a witness of its own, as for journals */
	log_msg(LOG_INFO, "audit-dropped", "%s: %" PRIu64 " records of %" PRIu64 " events, ledger %s", p->name.p, p->records,
	    p->events, p->ledger.p);
	if (p->broken > 0)
		log_msg(LOG_ERROR, "audit-dropped", "%s: %" PRIu64 " of its records did not fit the chain", p->name.p, p->broken);
}

static int
drop_part(const char *dir, const char *server, struct db *d, struct slice name, unsigned months,
    struct audit_retained *out, struct err *e)
{
	struct part p = { .dir = dir, .server = server, .name = name, .a = arena_new(ARENA) };

	if (p.a == NULL)
		return err_set(e, ERR_MEMORY, "dropping %s", name.p);
	p.months = arena_printf(p.a, "%u", months);
	int rc = conclude(&p, db_transaction(d, drop, &p, e), e);
	if (rc == 0 && p.journal != NULL) {
		tell(&p);
		out->parts++;
		out->records += p.records;
		out->events += p.events;
	}
	arena_free(p.a);
	return rc;
}

int
audit_retain(const char *dir, const char *server, struct db *d, unsigned months, struct audit_retained *out, struct err *e)
{
	struct arena *a = arena_new(ARENA);
	struct db_rows *rows;

	*out = (struct audit_retained){ 0 };
	if (a == NULL)
		return err_set(e, ERR_MEMORY, "retention");
	struct slice number = arena_printf(a, "%u", months);
	int rc = months == 0 ? 0 : db_query(d, a, "SELECT audit_old($1::integer)", &number, 1, &rows, e);
	for (size_t i = 0; months > 0 && rc == 0 && i < db_count(rows); i++)
		rc = drop_part(dir, server, d, db_value(rows, i, 0), months, out, e);
	arena_free(a);
	return rc;
}
