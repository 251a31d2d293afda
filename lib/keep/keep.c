/* Each task has a thread of its own: a list server that answers slowly or a database that hangs holds up
 * nobody else. A task that fails says so when it begins to, then once a minute, and when it works again. */
#include "keep.h"

#include "audit.h"
#include "cards.h"
#include "clock.h"
#include "cluster.h"
#include "crl.h"
#include "ends.h"
#include "formats.h"
#include "log.h"
#include "thread.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SHIP_MS 500
#define SHIP_MOST_MS 5000
#define BEAT_MS 5000
#define CARDS_MS 1000
#define TELL_MS 60000
#define RETAIN_MS (3600 * 1000)
#define WARN_MS (3600 * 1000)
#define TASKS 6
#define BEAT_ARENA (1 << 20)
#define ENDS_ARENA (64 << 20)	/* certificates of the document, and files of up to 1 MB */

struct task {
	struct keep *keep;
	const char *name;
	/* wait_ms: until the next time, as long as nothing wakes it */
	int (*run)(struct keep *k, int64_t *wait_ms, struct err *e);
	bool woken_by_conf, last_when_stopping;
	pthread_t thread;
	bool started, ended, failing;
	int64_t told;
};
struct keep {
	const struct conf_file *file;
	struct db *db;
	struct conf_live *live;
	struct http *http;
	struct crls *crls;
	struct ends *ends;		/* the refresher's own */
	struct cluster_presence *presence;
	struct cache *cache;		/* NULL: the key file or the list of nodes is no good */
	struct cache_restore *restore;
	struct withdrawn *withdrawn;
	int64_t started;
	int64_t ship_pause;		/* the shipping's own */
	atomic_bool disk_fills;		/* the journal's, beyond the level of the warning */
	int64_t warned;			/* monotonic, of a disk that fills; 0: there is room. The heartbeat's own */
	struct task tasks[TASKS];

	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping;
	unsigned changes;		/* of the configuration */
	char *ends_json;		/* for the heartbeat; NULL: not looked at yet */
};

/* ---- the tasks */

static int
ship(struct keep *k, int64_t *wait_ms, struct err *e)
{
	struct audit_shipped done;
	/* what has arrived must not be what stops the calls */
	const unsigned keep_s = k->disk_fills ? 0 : k->file->journal_keep_hours * 3600;
	int rc = audit_ship(k->file->journal, k->file->server, keep_s, k->db, &done, e);

	/* a database that is there and takes nothing (its disk is full) is not asked all the time; one that is away has its
	 * breaker, and is found again at once */
	bool refused = rc < 0 && done.events == 0 && db_is_up(k->db);
	k->ship_pause = !refused ? SHIP_MS : k->ship_pause < SHIP_MOST_MS / 2 ? 2 * k->ship_pause : SHIP_MOST_MS;
	*wait_ms = rc == 0 && done.more ? 0 : k->ship_pause;
	return rc;
}

/* How much of the journals waits, and how full their disk is. Said when it begins to matter, then every hour: workers
 * say for themselves when they stop. */
static void
look_at_journals(struct keep *k, struct cluster_member *self)
{
	const unsigned warn = k->file->journal_warn, stop = k->file->journal_stop;
	struct audit_waiting w;
	struct err e = { 0 };
	int64_t now = clock_mono_ms();

	if (audit_waiting(k->file->journal, &w, &e) < 0) {
		log_err(LOG_WARN, "journal-disk", (struct slice){ NULL, 0 }, &e);
		return;
	}
	self->journal_bytes = (int64_t)w.bytes;
	self->journal_disk = (int)w.used_percent;
	self->journal_level = w.used_percent >= stop ? S("stop") : w.used_percent >= warn ? S("warn") : S("ok");
	k->disk_fills = w.used_percent >= warn;
	if (w.used_percent < warn) {
		k->warned = 0;
	} else if (k->warned == 0 || now - k->warned >= WARN_MS) {
		log_msg(LOG_WARN, "journal-disk", "%s is %u %% full, of that %.1f MB of journals; at %u %% nothing more is forwarded",
		    k->file->journal, w.used_percent, (double)w.bytes / 1e6, stop);
		k->warned = now;
	}
}

static struct slice
ends_told(struct keep *k, struct arena *a)
{
	pthread_mutex_lock(&k->lock);
	struct slice told = arena_dup(a, slice_of(k->ends_json));
	pthread_mutex_unlock(&k->lock);
	return told;
}

static int
beat(struct keep *k, int64_t *wait_ms, struct err *e)
{
	const struct conf *c = conf_hold(k->live);
	double load = 0;

	*wait_ms = BEAT_MS;
	getloadavg(&load, 1);
	struct cluster_member self = { .server = slice_of(k->file->server), .zone = slice_of(k->file->zone),
		.version = S(SOSIGW_VERSION), .started = k->started, .revision = c == NULL ? 0 : c->revision, .load = load,
		.card_format = FORMAT_CARD, .journal_format = FORMAT_JOURNAL,
		.config_format = FORMAT_CONFIG };
	if (c != NULL)
		conf_release(k->live, c);
	look_at_journals(k, &self);
	struct arena *a = arena_new(BEAT_ARENA);
	if (a != NULL)
		self.ends = ends_told(k, a);
	int rc = a == NULL ? err_set(e, ERR_MEMORY, "heartbeat") : cluster_beat(k->db, a, &self, e);
	arena_free(a);
	return rc;
}

static void
look_at_ends(struct keep *k, const struct conf *c)
{
	struct arena *a = arena_new(ENDS_ARENA);
	struct slice found = a == NULL ? (struct slice){ NULL, 0 } : ends_look(k->ends, a, c, k->crls);
	char *text = found.p == NULL ? NULL : strndup(found.p, found.n);

	arena_free(a);
	if (text == NULL)
		return;	/* what was told before is better than nothing */
	pthread_mutex_lock(&k->lock);
	free(k->ends_json);
	k->ends_json = text;
	pthread_mutex_unlock(&k->lock);
}

static int
refresh_lists(struct keep *k, int64_t *wait_ms, struct err *e)
{
	const struct conf *c = conf_hold(k->live);

	*wait_ms = TELL_MS;
	if (c == NULL)
		return 0;	/* woken when there is one */
	int rc = crl_refresh(k->crls, c, wait_ms, e);
	look_at_ends(k, c);
	conf_release(k->live, c);
	return rc;
}

/* On a connection of its own: a month of records is read before it is dropped, and that takes its time. */
static int
drop_old_months(struct keep *k, int64_t *wait_ms, struct err *e)
{
	const struct conf *c = conf_hold(k->live);
	const unsigned months = c == NULL ? 0 : c->retention_months;
	struct audit_retained done;

	*wait_ms = RETAIN_MS;
	if (c != NULL)
		conf_release(k->live, c);
	if (months == 0)
		return 0;
	struct db *db = db_new(&(struct db_conf){ .conninfo = k->file->database, .connections = 1, .connect_ms = 5000,
	    .statement_ms = RETAIN_MS, .wait_ms = 5000 });
	if (db == NULL)
		return err_set(e, ERR_MEMORY, "retention");
	int rc = audit_retain(k->file->journal, k->file->server, db, months, &done, e);
	db_free(db);
	return rc;
}

static bool
goes_on(void *ctx)
{
	struct keep *k = ctx;

	pthread_mutex_lock(&k->lock);
	bool stopping = k->stopping;
	pthread_mutex_unlock(&k->lock);
	return !stopping;
}

static int
restore(struct keep *k, int64_t *wait_ms, struct err *e)
{
	*wait_ms = CARDS_MS;
	return k->restore == NULL ? 0 : cache_restore_run(k->restore, goes_on, k, e);
}

static int
tend_list(struct keep *k, int64_t *wait_ms, struct err *e)
{
	*wait_ms = CARDS_MS;
	return cards_list_tend(k->withdrawn, e);
}

/* ---- running them */

static void
tell(struct task *t, int rc, const struct err *e)
{
	int64_t now = clock_mono_ms();

	if (rc == 0 && t->failing)
		log_msg(LOG_INFO, "task-works", "%s works again", t->name);
	if (rc < 0 && (!t->failing || now - t->told >= TELL_MS)) {
		log_err(LOG_ERROR, t->name, (struct slice){ NULL, 0 }, e);
		t->told = now;
	}
	t->failing = rc < 0;
}

static void
run_once(struct task *t, int64_t *wait_ms)
{
	struct err e = { 0 };

	tell(t, t->run(t->keep, wait_ms, &e), &e);
}

/* Until the time is over, something has changed that the task must know of, or all stops. */
static bool
rest(struct task *t, int64_t wait_ms, unsigned *seen)
{
	struct keep *k = t->keep;
	int64_t end = clock_mono_ms() + wait_ms;
	struct timespec until = { end / 1000, end % 1000 * 1000000 };
	int rc = 0;

	pthread_mutex_lock(&k->lock);
	while (!k->stopping && rc == 0 && !(t->woken_by_conf && k->changes != *seen))
		rc = pthread_cond_timedwait(&k->wake, &k->lock, &until);
	*seen = k->changes;
	bool go_on = !k->stopping;
	pthread_mutex_unlock(&k->lock);
	return go_on;
}

static void *
run_task(void *arg)
{
	struct task *t = arg;
	unsigned seen = 0;
	int64_t wait_ms;

	do
		run_once(t, &wait_ms);
	while (rest(t, wait_ms, &seen));
	if (t->last_when_stopping)
		run_once(t, &wait_ms);
	pthread_mutex_lock(&t->keep->lock);
	t->ended = true;
	pthread_cond_broadcast(&t->keep->wake);
	pthread_mutex_unlock(&t->keep->lock);
	return NULL;
}

static void
on_change(void *ctx, const struct conf *c)
{
	struct keep *k = ctx;
	(void)c;

	pthread_mutex_lock(&k->lock);
	k->changes++;
	pthread_cond_broadcast(&k->wake);
	pthread_mutex_unlock(&k->lock);
}

static int
start_tasks(struct keep *k, struct err *e)
{
	const struct task tasks[TASKS] = {
		{ .name = "audit-ship", .run = ship, .last_when_stopping = true },
		{ .name = "heartbeat", .run = beat, .woken_by_conf = true },	/* its revision is another */
		{ .name = "crl-refresh", .run = refresh_lists, .woken_by_conf = true },
		{ .name = "audit-retention", .run = drop_old_months, .woken_by_conf = true },
		{ .name = "cache-restore", .run = restore },
		{ .name = "withdrawn-cards", .run = tend_list },
	};

	for (size_t i = 0; i < TASKS; i++) {
		struct task *t = &k->tasks[i];
		*t = tasks[i];
		t->keep = k;
		if (thread_start(&t->thread, NULL, run_task, t) != 0)
			return err_set(e, ERR_MEMORY, "thread for %s", t->name);
		t->started = true;
	}
	return 0;
}

/* Without it the other tasks still have their work to do. */
static void
open_cache(struct keep *k)
{
	struct err e = { 0 };

	k->cache = cards_open_cache(k->file, &e);
	if (k->cache != NULL)
		k->restore = cache_restore_new(k->cache, k->file->server, &e);
	if (k->restore == NULL)
		log_err(LOG_ERROR, "cache-restore", (struct slice){ NULL, 0 }, &e);
}

/* Everything that tasks need; what is missing is missing for good. */
static int
open_all(struct keep *k, struct err *e)
{
	/* short waits: a task that waits for the database does nothing else, and a stop waits for it */
	const struct db_conf conf = { .conninfo = k->file->database, .connections = 4, .connect_ms = 2000,
		.statement_ms = 15000, .wait_ms = 2000 };

	k->db = db_new(&conf);
	k->http = http_new(1);
	k->crls = crl_new(k->file->state, k->http);
	k->ends = ends_new();
	if (k->db == NULL || k->http == NULL || k->crls == NULL || k->ends == NULL)
		return err_set(e, ERR_MEMORY, "housekeeper");
	open_cache(k);
	k->withdrawn = cards_list_new(k->file, k->db, &conf, e);
	if (k->withdrawn == NULL)
		return -1;
	k->live = conf_live_start(k->file, true, e);
	if (k->live == NULL)
		return -1;
	conf_live_on_change(k->live, on_change, k);
	const struct cluster_presence_conf presence = { .db = k->db, .live = k->live, .file = k->file,
		.program = "housekeeper", .keeps_copy = true };
	k->presence = cluster_appear(&presence, e);
	return k->presence == NULL ? -1 : 0;
}

static void
free_all(struct keep *k)
{
	if (k->live != NULL)
		conf_live_stop(k->live);
	cards_list_free(k->withdrawn);
	cache_restore_free(k->restore);
	cache_free(k->cache);
	crl_free(k->crls);
	ends_free(k->ends);
	free(k->ends_json);
	http_free(k->http);
	db_free(k->db);
	pthread_cond_destroy(&k->wake);
	pthread_mutex_destroy(&k->lock);
	free(k);
}

struct keep *
keep_start(const struct conf_file *file, struct err *e)
{
	struct keep *k = calloc(1, sizeof *k);
	pthread_condattr_t attr;

	if (k == NULL) {
		err_set(e, ERR_MEMORY, "housekeeper");
		return NULL;
	}
	k->file = file;
	k->started = clock_now();
	k->ship_pause = SHIP_MS;
	pthread_mutex_init(&k->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&k->wake, &attr);
	pthread_condattr_destroy(&attr);
	if (open_all(k, e) == 0 && start_tasks(k, e) == 0)
		return k;
	if (k->presence != NULL)
		keep_stop(k);
	else
		free_all(k);
	return NULL;
}

/* The lock is held. */
static const struct task *
still_running(const struct keep *k)
{
	for (size_t i = 0; i < TASKS; i++)
		if (k->tasks[i].started && !k->tasks[i].ended)
			return &k->tasks[i];
	return NULL;
}

/* true: all have ended by the deadline. */
static bool
wait_for_tasks(struct keep *k, int64_t deadline)
{
	struct timespec until = { deadline / 1000, deadline % 1000 * 1000000 };
	const struct task *last;
	int rc = 0;

	while ((last = still_running(k)) != NULL && rc == 0)
		rc = pthread_cond_timedwait(&k->wake, &k->lock, &until);
	if (last != NULL)
		log_msg(LOG_WARN, "stop", "%s still waits for somebody", last->name);
	return last == NULL;
}

static bool
end_presence(struct keep *k, int64_t wait_ms)
{
	if (!cluster_vanish(k->presence, wait_ms > 0 ? wait_ms : 0)) {
		log_msg(LOG_WARN, "stop", "the heartbeat still waits for somebody");
		return false;
	}
	k->presence = NULL;
	return true;
}

bool
keep_stop(struct keep *k)
{
	int64_t deadline = clock_mono_ms() + KEEP_STOP_MS;

	pthread_mutex_lock(&k->lock);
	k->stopping = true;
	pthread_cond_broadcast(&k->wake);
	bool ended = wait_for_tasks(k, deadline);
	pthread_mutex_unlock(&k->lock);
	if (!ended || !end_presence(k, deadline - clock_mono_ms()))
		return false;
	for (size_t i = 0; i < TASKS; i++)
		if (k->tasks[i].started)
			pthread_join(k->tasks[i].thread, NULL);
	free_all(k);
	return true;
}
