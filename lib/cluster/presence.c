/* One program among the others. What it writes changes only under the lock, in a transaction that also says so in its row:
 * whoever begins meanwhile either is seen by us, and we stay with the older format, or sees that we write the newer.
 * An ordinary heartbeat needs no lock. */
#include "programs.h"

#include "clock.h"
#include "formats.h"
#include "log.h"
#include "thread.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BEAT_MS 5000
#define LOOK_MS 500		/* how soon a change of the configuration is told */
#define ARENA_CAP (4 << 20)
#define COPY_MAX (1 << 20)

struct cluster_presence {
	struct cluster_presence_conf conf;
	char program[128];
	struct cluster_program self;	/* its texts live as long as we; problem points into state */
	struct conf_live_state state;
	bool placed;			/* our row counts, and nobody was in the way when it was written */
	bool failing;
	struct buf copy;		/* as it stands in the file */

	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping, ended;
};

/* ---- taking a place */

struct taking {
	struct cluster_presence *p;
	struct arena *a;
	struct cluster_program self;
};

static int
lock_members(struct db_tx *tx, struct arena *a, struct err *e)
{
	/* somebody who is cut off while he holds the lock must not hold up the others */
	return db_tx_query(tx, a, "SELECT set_config('lock_timeout', '2s', true), "
	    "set_config('idle_in_transaction_session_timeout', '5s', true)", NULL, 0, NULL, e) < 0 ||
	    db_tx_query(tx, a, "SELECT pg_advisory_xact_lock(hashtextextended('" PROGRAMS_LOCK "', 0))", NULL, 0,
	    NULL, e) < 0 ? -1 : 0;
}

static int
take_place(void *ctx, struct db_tx *tx, struct err *e)
{
	struct taking *t = ctx;
	struct programs_known k;

	if (lock_members(tx, t->a, e) < 0 || programs_read(tx, t->a, &k.programs, &k.n, e) < 0 ||
	    programs_kept(tx, NULL, t->a, &k.kept, &k.nkept, e) < 0)
		return -1;
	if (!t->p->placed && (formats_check(&t->self, k.programs, k.n, e) < 0 ||
	    formats_check_kept(&t->self, k.kept, k.nkept, e) < 0))
		return -1;
	formats_choose(&t->self, k.programs, k.n);
	return programs_put(tx, t->a, &t->self, e);
}

static void
write_formats(struct cluster_presence *p, const struct cluster_program *chosen)
{
	if (chosen->card_written == p->self.card_written && chosen->journal_written == p->self.journal_written)
		return;
	p->self.card_written = chosen->card_written;
	p->self.journal_written = chosen->journal_written;
	log_msg(LOG_INFO, "formats", "reads card formats to %d and journal formats to %d, writes %d and %d",
	    p->self.card_format, p->self.journal_format, p->self.card_written, p->self.journal_written);
	if (p->conf.on_formats != NULL)
		p->conf.on_formats(p->conf.ctx, p->self.card_written, p->self.journal_written);
}

static int
place(struct cluster_presence *p, struct arena *a, struct err *e)
{
	struct taking t = { p, a, p->self };

	if (db_transaction(p->conf.db, take_place, &t, e) < 0)
		return -1;
	p->placed = true;
	write_formats(p, &t.self);
	return 0;
}

/* Without the database: the others are as they were last known, and nothing newer is written than they wrote. */
static int
place_by_copy(struct cluster_presence *p, struct arena *a, struct err *e)
{
	struct cluster_program chosen = p->self;
	struct programs_known k;
	int card = format_before(FORMAT_CARD), journal = format_before(FORMAT_JOURNAL);
	struct err why = { 0 };

	if (programs_read_copy(p->conf.file->state, a, &k, &why) < 0) {
		k = (struct programs_known){ 0 };
		if (why.kind != ERR_NOT_FOUND)
			log_err(LOG_WARN, "members", (struct slice){ NULL, 0 }, &why);
	}
	if (formats_check(&p->self, k.programs, k.n, e) < 0 || formats_check_kept(&p->self, k.kept, k.nkept, e) < 0)
		return -1;
	formats_choose(&chosen, k.programs, k.n);
	for (size_t i = 0; i < k.n; i++) {
		card = k.programs[i].card_written > card ? k.programs[i].card_written : card;
		journal = k.programs[i].journal_written > journal ? k.programs[i].journal_written : journal;
	}
	chosen.card_written = card < chosen.card_written ? card : chosen.card_written;
	chosen.journal_written = journal < chosen.journal_written ? journal : chosen.journal_written;
	write_formats(p, &chosen);
	return 0;
}

/* ---- the heartbeat */

static void
note_state(struct cluster_presence *p)
{
	if (p->conf.live != NULL)
		conf_live_state(p->conf.live, &p->state);
	p->self.revision = p->state.revision;
	p->self.refused = p->state.refused;
	p->self.problem = slice_of(p->state.problem);
	if (p->conf.on_beat != NULL)
		p->conf.on_beat(p->conf.ctx, &p->self);
}

static void
keep_copy(struct cluster_presence *p, const struct programs_known *k)
{
	struct err e = { 0 };
	struct buf now;

	buf_init(&now, COPY_MAX);
	programs_copy(&now, k);
	if (!now.failed && !slice_eq(buf_slice(&now), buf_slice(&p->copy)) &&
	    programs_write_copy(p->conf.file->state, buf_slice(&now), &e) == 0) {
		buf_free(&p->copy);
		p->copy = now;
		return;
	}
	buf_free(&now);
	if (e.kind != ERR_NONE)
		log_err(LOG_WARN, "members", (struct slice){ NULL, 0 }, &e);
}

static int
beat_with(struct cluster_presence *p, struct arena *a, struct err *e)
{
	struct cluster_program chosen = p->self;
	struct programs_known k;
	bool counted = false;

	if (p->placed && programs_touch(p->conf.db, a, &p->self, &counted, e) < 0)
		return -1;
	p->placed = counted;
	if (!p->placed && place(p, a, e) < 0)
		return -1;
	if (cluster_programs(p->conf.db, a, &k.programs, &k.n, e) < 0 ||
	    programs_kept(NULL, p->conf.db, a, &k.kept, &k.nkept, e) < 0)
		return -1;
	formats_choose(&chosen, k.programs, k.n);
	if ((chosen.card_written != p->self.card_written || chosen.journal_written != p->self.journal_written) &&
	    place(p, a, e) < 0)
		return -1;
	if (p->conf.keeps_copy)
		keep_copy(p, &k);
	return 0;
}

static int
beat(struct cluster_presence *p, struct err *e)
{
	struct arena *a = arena_new(ARENA_CAP);
	int rc = a == NULL ? err_set(e, ERR_MEMORY, "members") : beat_with(p, a, e);

	arena_free(a);
	return rc;
}

static void
tell(struct cluster_presence *p, int rc, const struct err *e)
{
	if (rc < 0 && !p->failing)
		log_err(LOG_WARN, "members", (struct slice){ NULL, 0 }, e);
	if (rc == 0 && p->failing)
		log_msg(LOG_INFO, "members", "the heartbeat is seen again");
	p->failing = rc < 0;
}

/* false: all stops. */
static bool
rest(struct cluster_presence *p, int64_t ms)
{
	int64_t end = clock_mono_ms() + ms;
	struct timespec until = { end / 1000, end % 1000 * 1000000 };
	int rc = 0;

	pthread_mutex_lock(&p->lock);
	while (!p->stopping && rc == 0)
		rc = pthread_cond_timedwait(&p->wake, &p->lock, &until);
	bool go_on = !p->stopping;
	pthread_mutex_unlock(&p->lock);
	return go_on;
}

/* Until the next heartbeat is due or the configuration is another. */
static bool
rest_until_due(struct cluster_presence *p)
{
	int64_t due = clock_mono_ms() + BEAT_MS;
	struct conf_live_state now = p->state;

	while (rest(p, LOOK_MS)) {
		if (p->conf.live != NULL)
			conf_live_state(p->conf.live, &now);
		if (clock_mono_ms() >= due || now.revision != p->state.revision || now.refused != p->state.refused)
			return true;
	}
	return false;
}

static void *
run(void *arg)
{
	struct cluster_presence *p = arg;

	do {
		struct err e = { 0 };
		note_state(p);
		int rc = beat(p, &e);
		if (rc < 0 && e.kind == ERR_CONFIG) {
			log_err(LOG_ERROR, "members", (struct slice){ NULL, 0 }, &e);
			kill(getpid(), SIGTERM);
			break;
		}
		tell(p, rc, &e);
	} while (rest_until_due(p));
	pthread_mutex_lock(&p->lock);
	p->ended = true;
	pthread_cond_broadcast(&p->wake);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* ---- life */

static void
release(struct cluster_presence *p)
{
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	buf_free(&p->copy);
	free(p);
}

static int
begin(struct cluster_presence *p, struct err *e)
{
	struct arena *a = arena_new(ARENA_CAP);
	struct err why = { 0 };
	int rc = 0;

	if (a == NULL)
		return err_set(e, ERR_MEMORY, "members");
	note_state(p);
	if (place(p, a, &why) < 0) {
		tell(p, -1, &why);
		rc = why.kind == ERR_CONFIG ? err_set(e, why.kind, "%s", why.detail) : place_by_copy(p, a, e);
	}
	arena_free(a);
	return rc;
}

struct cluster_presence *
cluster_appear(const struct cluster_presence_conf *conf, struct err *e)
{
	struct cluster_presence *p = calloc(1, sizeof *p);
	pthread_condattr_t attr;

	if (p == NULL) {
		err_set(e, ERR_MEMORY, "members");
		return NULL;
	}
	p->conf = *conf;
	snprintf(p->program, sizeof p->program, "%s", conf->program);
	p->self = (struct cluster_program){
		.server = slice_of(conf->file->server), .program = slice_of(p->program), .version = S(SOSIGW_VERSION),
		.pid = getpid(), .started = clock_now(), .card_format = FORMAT_CARD, .journal_format = FORMAT_JOURNAL,
		.config_format = FORMAT_CONFIG, .signatures_sha1 = -1, .signatures_sha2 = -1,
	};
	buf_init(&p->copy, COPY_MAX);
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&p->wake, &attr);
	pthread_condattr_destroy(&attr);
	if (begin(p, e) == 0 && thread_start(&p->thread, NULL, run, p) == 0)
		return p;
	err_set(e, ERR_MEMORY, "members");	/* when nothing else was said */
	release(p);
	return NULL;
}

bool
cluster_vanish(struct cluster_presence *p, int64_t wait_ms)
{
	int64_t end = clock_mono_ms() + wait_ms;
	struct timespec until = { end / 1000, end % 1000 * 1000000 };

	if (p == NULL)
		return true;
	pthread_mutex_lock(&p->lock);
	p->stopping = true;
	pthread_cond_broadcast(&p->wake);
	int rc = 0;
	while (!p->ended && rc == 0)
		rc = pthread_cond_timedwait(&p->wake, &p->lock, &until);
	bool ended = p->ended;
	pthread_mutex_unlock(&p->lock);
	if (!ended)
		return false;
	pthread_join(p->thread, NULL);
	release(p);
	return true;
}
