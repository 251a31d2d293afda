/* Two threads: audit is shipped on its own, so that a revocation list that comes slowly never delays it; the
 * thread of keep_run does the rest. Each sleeps on a semaphore, which a signal handler may post. */
#include "keep.h"

#include "arena.h"
#include "audit.h"
#include "clock.h"
#include "cluster.h"
#include "crl.h"
#include "log.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define SHIP_MS 500
#define BEAT_MS 5000
#define ARENA_MAX (1u << 20)

struct keep {
	const struct conf_file *file;
	struct conf_live *live;
	struct db *db;
	struct http *http;
	struct crl *crl;
	int64_t started;
	sem_t wake, wake_ship;
	atomic_bool stopping, config_changed;
	bool beat_failed, ship_failed;
	pthread_t ship_thread;
};

static void
on_change(void *ctx, const struct conf *c)
{
	struct keep *k = ctx;

	(void)c;
	atomic_store(&k->config_changed, true);
	sem_post(&k->wake);
}

static int
open_all(struct keep *k, struct err *e)
{
	const struct db_conf db = { .conninfo = k->file->database, .connections = 3, .connect_ms = 3000,
		.statement_ms = 30000, .wait_ms = 5000 };

	k->db = db_new(&db);
	k->http = http_new(2);
	k->crl = crl_new(k->file->state);
	if (k->db == NULL || k->http == NULL || k->crl == NULL)
		return err_set(e, ERR_MEMORY, "housekeeper");
	k->live = conf_live_start(k->file, true, e);
	if (k->live == NULL)
		return -1;
	conf_live_on_change(k->live, on_change, k);
	return 0;
}

struct keep *
keep_new(const struct conf_file *file, struct err *e)
{
	struct keep *k = calloc(1, sizeof *k);

	if (k == NULL) {
		err_set(e, ERR_MEMORY, "housekeeper");
		return NULL;
	}
	k->file = file;
	k->started = clock_now();
	sem_init(&k->wake, 0, 0);
	sem_init(&k->wake_ship, 0, 0);
	if (open_all(k, e) < 0) {
		keep_free(k);
		return NULL;
	}
	return k;
}

void
keep_free(struct keep *k)
{
	if (k == NULL)
		return;
	if (k->live != NULL)
		conf_live_stop(k->live);
	crl_free(k->crl);
	http_free(k->http);
	if (k->db != NULL)
		db_free(k->db);
	sem_destroy(&k->wake);
	sem_destroy(&k->wake_ship);
	free(k);
}

void
keep_stop(struct keep *k)
{
	atomic_store(&k->stopping, true);
	sem_post(&k->wake);
	sem_post(&k->wake_ship);
}

static void
sleep_ms(sem_t *wake, int64_t ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += ms % 1000 * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	sem_clockwait(wake, CLOCK_MONOTONIC, &until);
}

/* A failure is said when it begins and when it is over, not every time. */
static void
note(bool *failed, const char *event, int rc, const struct err *e)
{
	if (rc < 0 && !*failed)
		log_err(LOG_WARN, event, (struct slice){ NULL, 0 }, e);
	else if (rc == 0 && *failed)
		log_msg(LOG_INFO, event, "works again");
	*failed = rc < 0;
}

/* ---- audit */

static bool
ship(struct keep *k)
{
	struct err e = { .kind = ERR_NONE };
	struct audit_shipped shipped = { .more = false };

	int rc = audit_ship(k->file->journal, k->file->server, k->db, &shipped, &e);
	note(&k->ship_failed, "ship", rc, &e);
	return rc == 0 && shipped.more;
}

static void *
ship_loop(void *ctx)
{
	struct keep *k = ctx;

	while (!atomic_load(&k->stopping))
		if (!ship(k))
			sleep_ms(&k->wake_ship, SHIP_MS);
	ship(k);
	return NULL;
}

/* ---- heartbeat */

static int64_t
revision(struct keep *k)
{
	const struct conf *c = conf_hold(k->live);
	int64_t r = c == NULL ? 0 : c->revision;

	if (c != NULL)
		conf_release(k->live, c);
	return r;
}

static void
beat(struct keep *k)
{
	struct err e = { .kind = ERR_NONE };
	struct cluster_member self = {
		.server = slice_of(k->file->server), .zone = slice_of(k->file->zone), .version = S(SOSIGW_VERSION),
		.started = k->started, .seen = clock_now(), .revision = revision(k),
		.card_format = CLUSTER_CARD_FORMAT, .journal_format = CLUSTER_JOURNAL_FORMAT,
		.config_format = CLUSTER_CONFIG_FORMAT,
	};
	struct arena *a = arena_new(ARENA_MAX);

	if (getloadavg(&self.load, 1) < 1)
		self.load = 0;
	int rc = a == NULL ? err_set(&e, ERR_MEMORY, "heartbeat") : cluster_beat(k->db, a, &self, &e);
	note(&k->beat_failed, "heartbeat", rc, &e);
	arena_free(a);
}

/* ---- revocation lists */

static int64_t
refresh(struct keep *k)
{
	bool changed = atomic_exchange(&k->config_changed, false);
	const struct conf *c = conf_hold(k->live);

	if (c == NULL)
		return BEAT_MS;		/* the first revision wakes us */
	int64_t next = crl_refresh(k->crl, k->http, c, changed);
	conf_release(k->live, c);
	return next;
}

void
keep_run(struct keep *k)
{
	int64_t next_beat = 0, next_list = 0;

	if (pthread_create(&k->ship_thread, NULL, ship_loop, k) != 0) {
		log_msg(LOG_ERROR, "start", "no thread for the audit");
		return;
	}
	while (!atomic_load(&k->stopping)) {
		int64_t now = clock_mono_ms();
		if (now >= next_beat) {
			beat(k);
			next_beat = now + BEAT_MS;
		}
		if (now >= next_list || atomic_load(&k->config_changed))
			next_list = clock_mono_ms() + refresh(k);
		now = clock_mono_ms();
		int64_t next = next_beat < next_list ? next_beat : next_list;
		sleep_ms(&k->wake, next > now ? next - now : 0);
	}
	pthread_join(k->ship_thread, NULL);
}
