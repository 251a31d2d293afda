/* The live configuration. One thread (the listener's) looks at the database whenever something may
 * have changed, checks a new revision and swaps the pointer; requests hold what they started with.
 * Taking hold needs the lock, because between reading the pointer and counting up the last user
 * could let go; letting go needs none. */
#include "conf.h"

#include "held.h"
#include "log.h"
#include "snapshot.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POLL_MS 1000	/* a change must be in force within 2 s, also when no notification came */
#define LOOK_CAP (32 << 20)

struct revision_name {
	int64_t id;		/* 0: none */
	char created[64];
};

struct conf_live {
	pthread_mutex_t lock;
	struct held *current;
	void (*on_change)(void *ctx, const struct conf *c);
	void *on_change_ctx;
	struct conf_live_state state;

	/* of the watching thread alone */
	struct db *db;
	const struct conf_file *file;
	bool write_snapshot, snapshot_due;
	struct revision_name used, refused;
	struct db_listener *listener;
};

static struct conf_live *
live_new(void)
{
	struct conf_live *l = calloc(1, sizeof *l);

	if (l != NULL)
		pthread_mutex_init(&l->lock, NULL);
	return l;
}

const struct conf *
conf_hold(struct conf_live *l)
{
	pthread_mutex_lock(&l->lock);
	struct held *h = l->current;
	if (h != NULL)
		atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
	pthread_mutex_unlock(&l->lock);
	return h == NULL ? NULL : &h->conf;
}

void
conf_release(struct conf_live *l, const struct conf *c)
{
	(void)l;	/* it may be gone already */
	if (c != NULL && atomic_fetch_sub_explicit(&held_of(c)->refs, 1, memory_order_acq_rel) == 1)
		arena_free(held_of(c)->a);
}

/* Takes c over. */
static void
swap(struct conf_live *l, struct conf *c)
{
	pthread_mutex_lock(&l->lock);
	struct held *old = l->current;
	l->current = held_of(c);
	l->state.revision = c->revision;
	l->state.refused = 0;
	l->state.problem[0] = '\0';
	void (*fn)(void *, const struct conf *) = l->on_change;
	void *ctx = l->on_change_ctx;
	pthread_mutex_unlock(&l->lock);
	if (old != NULL)
		conf_release(l, &old->conf);
	if (fn != NULL) {
		const struct conf *now = conf_hold(l);
		fn(ctx, now);
		conf_release(l, now);
	}
}

struct conf_live *
conf_live_fixed(struct conf *c)
{
	struct conf_live *l = live_new();

	if (l != NULL)
		swap(l, c);
	return l;
}

void
conf_live_on_change(struct conf_live *l, void (*fn)(void *ctx, const struct conf *c), void *ctx)
{
	pthread_mutex_lock(&l->lock);
	l->on_change = fn;
	l->on_change_ctx = ctx;
	pthread_mutex_unlock(&l->lock);
}

void
conf_live_state(struct conf_live *l, struct conf_live_state *out)
{
	pthread_mutex_lock(&l->lock);
	*out = l->state;
	pthread_mutex_unlock(&l->lock);
}

/* ---- watching */

static bool
same(const struct revision_name *a, const struct revision_name *b)
{
	return a->id == b->id && strcmp(a->created, b->created) == 0;
}

static void
set_name(struct revision_name *name, int64_t id, struct slice created)
{
	name->id = id;
	snprintf(name->created, sizeof name->created, "%.*s", SLICE_FMT(created));
}

static void
note_database(struct conf_live *l, bool up)
{
	pthread_mutex_lock(&l->lock);
	l->state.database = up;
	pthread_mutex_unlock(&l->lock);
}

static void
note_refused(struct conf_live *l, int64_t revision, const struct err *e)
{
	log_msg(LOG_ERROR, "configuration-refused", "revision %" PRId64 " is not used, %" PRId64 " stays: %s",
	    revision, l->used.id, e->detail);
	pthread_mutex_lock(&l->lock);
	l->state.refused = revision;
	snprintf(l->state.problem, sizeof l->state.problem, "%s", e->detail);
	pthread_mutex_unlock(&l->lock);
}

static int
use(struct conf_live *l, const struct revision_name *name, struct slice document)
{
	struct conf *c;
	struct err e = { 0 };

	if (conf_parse(document, name->id, &c, NULL, &e) < 0) {
		note_refused(l, name->id, &e);
		l->refused = *name;
		return -1;
	}
	l->used = *name;
	l->refused = (struct revision_name){ 0 };
	log_msg(LOG_INFO, "configuration", "revision %" PRId64 " is in use", name->id);
	swap(l, c);
	return 0;
}

static void
keep(struct conf_live *l, const struct revision_name *name, struct slice document)
{
	struct snapshot s = { name->id, slice_of(name->created), document };
	struct err e = { 0 };
	bool failed_before = l->snapshot_due;

	l->snapshot_due = snapshot_write(l->file->state, &s, &e) < 0;
	if (l->snapshot_due && !failed_before)
		log_err(LOG_ERROR, "snapshot", (struct slice){ NULL, 0 }, &e);
}

/* Name of the newest revision: 0, -1, or ERR_NOT_FOUND's -1 when there is none. */
static int
newest(struct conf_live *l, struct arena *a, struct revision_name *out, struct err *e)
{
	struct db_rows *rows;

	if (db_query(l->db, a, "SELECT id, created::text FROM config_revision ORDER BY id DESC LIMIT 1", NULL, 0,
	    &rows, e) < 0)
		return -1;
	if (db_count(rows) == 0)
		return err_set(e, ERR_NOT_FOUND, "no configuration has been published yet");
	set_name(out, db_int(rows, 0, 0, 0), db_value(rows, 0, 1));
	return 0;
}

static void
look_with(struct conf_live *l, struct arena *a)
{
	struct revision_name name;
	struct conf_revision r;
	struct err e = { 0 };
	bool asked = newest(l, a, &name, &e) == 0;

	note_database(l, asked || e.kind == ERR_NOT_FOUND);
	if (!asked)
		return;
	bool fresh = !same(&name, &l->used) && !same(&name, &l->refused);
	bool write_now = l->write_snapshot && l->snapshot_due && same(&name, &l->used);
	if (!fresh && !write_now)
		return;
	if (conf_load(l->db, a, name.id, &r, &e) < 0)
		return;		/* the next look tries again */
	if (fresh && use(l, &name, r.document) < 0)
		return;
	if (l->write_snapshot)
		keep(l, &name, r.document);
}

static void
look(struct conf_live *l)
{
	struct arena *a = arena_new(LOOK_CAP);

	if (a != NULL)
		look_with(l, a);
	arena_free(a);
}

static void
on_notify(void *ctx, const char *channel, const char *payload)
{
	(void)channel;
	(void)payload;
	look(ctx);
}

static void
start_from_snapshot(struct conf_live *l)
{
	struct arena *a = arena_new(LOOK_CAP);
	struct snapshot s;
	struct revision_name name;
	struct err e = { 0 };

	if (a == NULL)
		return;
	if (snapshot_read(l->file->state, a, &s, &e) == 0) {
		set_name(&name, s.revision, s.created);
		use(l, &name, s.document);
	} else if (e.kind != ERR_NOT_FOUND) {
		log_err(LOG_ERROR, "snapshot", (struct slice){ NULL, 0 }, &e);
	}
	l->snapshot_due = l->used.id == 0;
	l->refused = (struct revision_name){ 0 };	/* a spoilt file says nothing of the database's revision */
	arena_free(a);
}

struct conf_live *
conf_live_start(const struct conf_file *file, bool write_snapshot, struct err *e)
{
	static const char *const channels[] = { "sosigw_config" };
	const struct db_conf conf = { .conninfo = file->database, .connections = 1, .connect_ms = 2000,
		.statement_ms = 5000, .wait_ms = 1000 };
	struct conf_live *l = live_new();

	if (l == NULL || (l->db = db_new(&conf)) == NULL) {
		conf_live_stop(l);
		err_set(e, ERR_MEMORY, "live configuration");
		return NULL;
	}
	l->file = file;
	l->write_snapshot = write_snapshot;
	start_from_snapshot(l);
	look(l);	/* so that, with the database there, the first request sees the newest */
	l->listener = db_listen(&conf, channels, 1, POLL_MS, on_notify, l, e);
	if (l->listener == NULL) {
		conf_live_stop(l);
		return NULL;
	}
	return l;
}

void
conf_live_stop(struct conf_live *l)
{
	if (l == NULL)
		return;
	db_listen_stop(l->listener);
	db_free(l->db);
	if (l->current != NULL)
		conf_release(l, &l->current->conf);
	pthread_mutex_destroy(&l->lock);
	free(l);
}
