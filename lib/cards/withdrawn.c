/* The way of a withdrawal: into memory, into revoked_card, whose NOTIFY brings it to every process at once, and into the
 * file of the server it happened on, before the caller is answered. The housekeepers of the other servers append it to theirs
 * when they are notified. What the database could not be told is marked so in the file; the housekeeper tells it as soon as
 * it can. NOTIFY may be missed: the table is read when the connection comes up again, and every POLL_MS. */
#include "withdrawn.h"

#include "clock.h"
#include "kept.h"
#include "log.h"
#include "revoked.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	POLL_MS = 2 * 1000,
	PAGE = 5000,		/* rows of revoked_card read at once */
	PAGE_BYTES = 16 << 20,
	LONGEST_S = 25 * 3600,	/* no card lives longer */
	CLEAN_MS = 3600 * 1000,
	UNTOLD_MAX = 100000,
};
#define CHANNEL "sosigw_revoked"

struct untold { char *id; int64_t expires, when; };

struct withdrawn {
	struct db *db, *writer;
	char *file;
	bool keeps;
	struct revoked *list;
	struct db_listener *listener;
	atomic_bool any_user;
	_Atomic int64_t reported;	/* when a failure of the file was last logged (monotonic) */
	/* of the thread that loads */
	bool load_failed;
	char last[64];			/* the newest `revoked` that was read, as text; "" before the first */
	/* of the thread that tends */
	struct kept_place place;
	struct untold *untold;
	size_t nuntold;
	struct revoked *told;		/* of the file's lines, since it was last rewritten; NULL: none */
	int64_t cleaned;		/* monotonic; 0: never */
};

static bool
is_user(struct slice id)
{
	return slice_starts(id, S("user:"));
}

static void
refuse(struct withdrawn *w, struct slice id, int64_t expires, int64_t when)
{
	revoked_put(w->list, id, expires, when);
	if (is_user(id))
		atomic_store(&w->any_user, true);
}

/* The file is the second line: without it the list is as good as the database. */
static void
append(struct withdrawn *w, const struct kept_line *line)
{
	struct err e = { 0 };
	int64_t now = clock_mono_ms(), last = atomic_load(&w->reported);

	if (w->file == NULL || kept_append(w->file, line, &e) == 0)
		return;
	if ((last == 0 || now - last >= 60000) && atomic_compare_exchange_strong(&w->reported, &last, now))
		log_err(LOG_WARN, "withdrawn-file", (struct slice){ NULL, 0 }, &e);
}

/* What the database says. */
static void
learn(struct withdrawn *w, struct slice id, int64_t expires, int64_t when)
{
	int64_t known;
	bool new = !revoked_has(w->list, id, &known) || (is_user(id) && known < when);

	refuse(w, id, expires, when);
	if (new && w->keeps)
		append(w, &(struct kept_line){ id, expires, when, true });
}

/* ---- reading the table */

/* One page behind ($1, $2), beginning $3 earlier since a transaction may become visible later than another that
 * began after it. */
static const char load_sql[] =
    "SELECT card_id, ceil(extract(epoch FROM expires))::bigint, (extract(epoch FROM revoked) * 1000)::bigint, "
    "revoked::text FROM revoked_card WHERE expires > now() AND "
    "(revoked, card_id) > ($1::timestamptz - $3::interval, $2) ORDER BY revoked, card_id LIMIT 5000";

static int
load_page(struct withdrawn *w, struct arena *a, struct slice *behind, size_t *rows, struct err *e)
{
	struct db_rows *r;

	if (db_query(w->db, a, load_sql, behind, 3, &r, e) < 0)
		return -1;
	*rows = db_count(r);
	for (size_t i = 0; i < *rows; i++)
		learn(w, db_value(r, i, 0), db_int(r, i, 1, 0), db_int(r, i, 2, 0));
	if (*rows > 0) {
		behind[0] = db_value(r, *rows - 1, 3);
		behind[1] = db_value(r, *rows - 1, 0);
		snprintf(w->last, sizeof w->last, "%.*s", SLICE_FMT(behind[0]));
	}
	behind[2] = S("0");
	return 0;
}

static int
load_all(struct withdrawn *w, struct err *e)
{
	char last[sizeof w->last];
	size_t rows = PAGE;

	memcpy(last, w->last, sizeof last);
	struct slice behind[3] = { slice_of(last[0] == '\0' ? "-infinity" : last), S(""), S("5 minutes") };
	struct arena *a = arena_new(PAGE_BYTES), *spare = arena_new(PAGE_BYTES);
	int r = a == NULL || spare == NULL ? err_set(e, ERR_MEMORY, "revoked cards") : 0;
	while (r == 0 && rows == PAGE) {
		/* the other arena still holds where this page begins */
		struct arena *page = a;
		arena_reset(page);
		r = load_page(w, page, behind, &rows, e);
		a = spare;
		spare = page;
	}
	arena_free(a);
	arena_free(spare);
	return r;
}

static void
load(struct withdrawn *w)
{
	struct err e = { 0 };

	revoked_purge(w->list, clock_now());
	bool failed = load_all(w, &e) < 0;
	if (failed && !w->load_failed)
		log_err(LOG_WARN, "revoked-cards", (struct slice){ NULL, 0 }, &e);
	w->load_failed = failed;
}

/* The row tells the times; without it they are guessed on the safe side. A card does not wait for that: only its end
 * counts, and it is certain. What a user signs after his logout must not be taken for older, so there the row is asked
 * first. */
static void
load_one(struct withdrawn *w, struct slice id)
{
	struct arena *a = arena_new(64 << 10);
	struct err e = { 0 };
	struct db_rows *r;
	int64_t expires = clock_now() + LONGEST_S, when = clock_now_ms();

	if (is_user(id) && a != NULL && db_query(w->db, a, "SELECT ceil(extract(epoch FROM expires))::bigint, "
	    "(extract(epoch FROM revoked) * 1000)::bigint FROM revoked_card WHERE card_id = $1",
	    &id, 1, &r, &e) == 0 && db_count(r) == 1) {
		expires = db_int(r, 0, 0, expires);
		when = db_int(r, 0, 1, when);
	}
	learn(w, id, expires, when);
	arena_free(a);
}

static void
on_notify(void *ctx, const char *channel, const char *payload)
{
	struct withdrawn *w = ctx;

	if (channel == NULL)
		load(w);
	else if (strcmp(channel, CHANNEL) == 0 && payload != NULL && payload[0] != '\0')
		load_one(w, slice_of(payload));
}

/* ---- writing it */

/* when 0: now. An old time would be behind what others have read up to. */
static int
tell(struct db *d, struct arena *a, struct slice id, int64_t expires, int64_t when, struct err *e)
{
	struct slice params[] = { id, arena_printf(a, "%lld", (long long)expires),
		when == 0 ? (struct slice){ NULL, 0 } : arena_printf(a, "%lld", (long long)when) };

	return db_query(d, a, "WITH r AS (INSERT INTO revoked_card (card_id, expires, revoked) "
	    "VALUES ($1, to_timestamp($2::bigint), coalesce(to_timestamp($3::bigint / 1000.0), now())) "
	    "ON CONFLICT (card_id) DO UPDATE SET revoked = greatest(revoked_card.revoked, excluded.revoked), "
	    "expires = greatest(revoked_card.expires, excluded.expires) RETURNING card_id) "
	    "SELECT pg_notify('" CHANNEL "', card_id) FROM r", params, 3, NULL, e);
}

int
withdrawn_put(struct withdrawn *w, struct arena *a, struct slice id, int64_t expires, struct err *e)
{
	struct kept_line line = { id, expires, clock_now_ms(), false };

	refuse(w, id, expires, line.when);
	line.told = w->writer != NULL && tell(w->writer, a, id, expires, 0, e) == 0;
	append(w, &line);
	if (line.told)
		return 0;
	return w->writer != NULL ? -1 : err_set(e, ERR_DATABASE, "no database");
}

bool
withdrawn_has(struct withdrawn *w, struct slice id, int64_t *when)
{
	return revoked_has(w->list, id, when);
}

bool
withdrawn_any_user(const struct withdrawn *w)
{
	return atomic_load(&w->any_user);
}

/* ---- the file */

static void
from_file(void *ctx, const struct kept_line *line)
{
	struct withdrawn *w = ctx;

	if (line->expires <= clock_now())
		return;
	refuse(w, line->id, line->expires, line->when);
	if (!w->keeps || line->told || w->nuntold == UNTOLD_MAX)
		return;
	if (w->untold == NULL)
		w->untold = calloc(UNTOLD_MAX, sizeof *w->untold);
	char *id = w->untold == NULL ? NULL : strndup(line->id.p, line->id.n);
	if (id != NULL)
		w->untold[w->nuntold++] = (struct untold){ id, line->expires, line->when };
}

static int
tell_untold(struct withdrawn *w, struct err *e)
{
	struct arena *a = arena_new(64 << 10);
	int done = a == NULL ? err_set(e, ERR_MEMORY, "withdrawn cards") : 0;

	while (done == 0 && w->nuntold > 0) {
		struct untold *u = &w->untold[w->nuntold - 1];
		struct slice id = slice_of(u->id);
		arena_reset(a);
		done = tell(w->writer, a, id, u->expires, is_user(id) ? u->when : 0, e);
		if (done < 0)
			break;
		if (w->told == NULL)
			w->told = revoked_new();
		if (w->told != NULL)
			revoked_put(w->told, id, u->expires, u->when);
		free(u->id);
		w->nuntold--;
	}
	arena_free(a);
	return done;
}

struct keeping { struct revoked *seen, *told; };

static bool
keep_line(void *ctx, struct kept_line *line)
{
	struct keeping *k = ctx;
	int64_t when;

	if (line->expires <= clock_now() || (revoked_has(k->seen, line->id, &when) && when >= line->when))
		return false;
	revoked_put(k->seen, line->id, line->expires, line->when);
	if (k->told != NULL && revoked_has(k->told, line->id, &when) && when >= line->when)
		line->told = true;
	return true;
}

/* Only when nothing is left to tell, since it is read again from its beginning. */
static int
rewrite(struct withdrawn *w, struct err *e)
{
	struct keeping k = { revoked_new(), w->told };

	if (k.seen == NULL)
		return err_set(e, ERR_MEMORY, "withdrawn cards");
	int done = kept_rewrite(w->file, keep_line, &k, e);
	revoked_free(k.seen);
	if (done == 0 && w->told != NULL) {
		revoked_free(w->told);
		w->told = NULL;
	}
	return done;
}

static int
clean_table(struct withdrawn *w, struct err *e)
{
	struct arena *a = arena_new(4096);
	int done = a == NULL ? err_set(e, ERR_MEMORY, "withdrawn cards") :
	    db_query(w->db, a, "DELETE FROM revoked_card WHERE expires < now() - interval '1 hour'", NULL, 0, NULL, e);

	arena_free(a);
	return done;
}

static int
clean(struct withdrawn *w, struct err *e)
{
	int64_t now = clock_mono_ms();
	bool due = w->cleaned == 0 || now - w->cleaned >= CLEAN_MS;

	if ((due || w->told != NULL) && w->file != NULL && w->nuntold == 0 && rewrite(w, e) < 0)
		return -1;
	if (!due || w->db == NULL)
		return 0;
	if (clean_table(w, e) < 0)
		return -1;
	w->cleaned = now;
	return 0;
}

int
withdrawn_tend(struct withdrawn *w, struct err *e)
{
	if (w->file != NULL && kept_read(w->file, &w->place, from_file, w, e) < 0)
		return -1;
	if (w->writer != NULL && tell_untold(w, e) < 0)
		return -1;
	return clean(w, e);
}

/* ---- life */

static int
open_all(struct withdrawn *w, const struct withdrawn_conf *conf, struct err *e)
{
	static const char *const channels[] = { CHANNEL };
	struct err unread = { 0 };

	w->list = revoked_new();
	w->file = conf->file == NULL ? NULL : strdup(conf->file);
	if (w->list == NULL || (conf->file != NULL && w->file == NULL))
		return err_set(e, ERR_MEMORY, "withdrawn cards");
	if (w->file != NULL && kept_read(w->file, &w->place, from_file, w, &unread) < 0)
		log_err(LOG_WARN, "withdrawn-file", (struct slice){ NULL, 0 }, &unread);
	if (w->db == NULL)
		return 0;
	load(w);	/* here and not only by the listener: before the first card is used */
	w->writer = w->db;
	if (conf->listen == NULL)
		return 0;
	struct db_conf quick = *conf->listen;
	quick.connect_ms = quick.statement_ms = quick.wait_ms = WITHDRAWN_WAIT_MS;
	w->writer = db_new(&quick);
	w->listener = w->writer == NULL ? NULL : db_listen(conf->listen, channels, 1, POLL_MS, on_notify, w, e);
	return w->listener != NULL ? 0 : w->writer != NULL ? -1 : err_set(e, ERR_MEMORY, "withdrawn cards");
}

struct withdrawn *
withdrawn_new(const struct withdrawn_conf *conf, struct err *e)
{
	struct withdrawn *w = calloc(1, sizeof *w);

	if (w == NULL) {
		err_set(e, ERR_MEMORY, "withdrawn cards");
		return NULL;
	}
	w->db = conf->db;
	w->keeps = conf->keeps;
	if (open_all(w, conf, e) == 0)
		return w;
	withdrawn_free(w);
	return NULL;
}

void
withdrawn_free(struct withdrawn *w)
{
	if (w == NULL)
		return;
	if (w->listener != NULL)
		db_listen_stop(w->listener);
	if (w->writer != w->db)
		db_free(w->writer);
	for (size_t i = 0; i < w->nuntold; i++)
		free(w->untold[i].id);
	free(w->untold);
	revoked_free(w->told);
	revoked_free(w->list);
	free(w->file);
	free(w);
}
