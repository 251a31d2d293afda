/* cluster: the members of the whole, seen by their heartbeat in the database, and what each reads and writes. */
#ifndef CLUSTER_CLUSTER_H
#define CLUSTER_CLUSTER_H

#include "arena.h"
#include "conf.h"
#include "db.h"
#include "err.h"

#include <stdint.h>

/* ---- servers: a row each, by its housekeeper */

struct cluster_member {
	struct slice server, zone, version;
	int64_t started, seen;		/* seconds UTC */
	int64_t revision;		/* of the configuration in use */
	double load;			/* one minute load average */
	int card_format, journal_format, config_format;		/* the newest that it reads */
	int64_t journal_bytes;		/* of audit journals on its disk; -1: it does not say */
	int journal_disk;		/* percent of that disk that are used */
	struct slice journal_level;	/* "ok"; "warn"; "stop": it forwards nothing; absent: it does not say */
	struct slice ends;		/* JSON, schema/009: how old its revocation lists are, when its certificates end; absent: it does not say */
};
/* Writes this server's heartbeat. */
int cluster_beat(struct db *d, struct arena *a, const struct cluster_member *self, struct err *e);
/* Everybody seen within `within` seconds. */
int cluster_members(struct db *d, struct arena *a, int64_t within, struct cluster_member **out, size_t *n, struct err *e);

/* ---- programs: a row for every worker and housekeeper, by itself (mission 5.3)
 *
 * A program reads the formats of formats.h and the ones before them. It writes the one before until every other program
 * reads its own; and it refuses to start beside one that could not read what it writes, or writes what it could not
 * read, or while there may be cards that it could not read. Who has not been seen for CLUSTER_COUNTS seconds counts no
 * more: no card lives longer. */

#define CLUSTER_UP 60			/* seconds: several heartbeats */
#define CLUSTER_COUNTS (25 * 3600)	/* CACHE_TTL_MAX */

struct cluster_program {
	struct slice server, program, version;
	int64_t pid, started;		/* seconds UTC */
	int64_t age;			/* seconds since it was seen; -1: known from the local copy alone */
	int card_format, card_written, journal_format, journal_written, config_format;
	int64_t revision, refused;	/* as in struct conf_live_state */
	struct slice problem;
	int64_t signatures_sha1, signatures_sha2;	/* of cards, found good since it started; -1: it does not say */
};
/* Those that count, by server and program. */
int cluster_programs(struct db *d, struct arena *a, struct cluster_program **out, size_t *n, struct err *e);
/* Removes a server that is gone, so that nobody waits for it. ERR_NOT_FOUND; ERR_CONFLICT when something of it is up. */
int cluster_forget(struct db *d, struct arena *a, struct slice server, struct err *e);

/* A format of cards that is written no more. */
struct cluster_kept {
	int format;
	int64_t ago;			/* seconds since it was written; -1: known from the local copy alone */
};

/* Inside cluster: the rules. Both pass over the row of the program itself where it speaks for its predecessor alone. */
/* ERR_CONFIG, saying who is in the way and what can be done, when self cannot work beside one of them. */
int formats_check(const struct cluster_program *self, const struct cluster_program *all, size_t n, struct err *e);
/* The same of cards that may still be in the cache. */
int formats_check_kept(const struct cluster_program *self, const struct cluster_kept *kept, size_t n, struct err *e);
/* Fills in self's card_written and journal_written. */
void formats_choose(struct cluster_program *self, const struct cluster_program *all, size_t n);

struct cluster_presence;
struct cluster_presence_conf {
	struct db *db;
	struct conf_live *live;		/* whose state is told; may be NULL in tests */
	const struct conf_file *file;
	const char *program;		/* told from others of its server: "proxy-1" */
	bool keeps_copy;		/* the housekeeper: file->state/members.json is its to write */
	/* What to write from now on; called before cluster_appear returns, then on a thread of its own. May be NULL. */
	void (*on_formats)(void *ctx, int card, int journal);
	/* Called before each heartbeat: fills in what the program has counted. May be NULL. */
	void (*on_beat)(void *ctx, struct cluster_program *self);
	void *ctx;
};
/* Takes a place among the programs, and keeps it with a heartbeat every 5 s and at every change of the configuration.
 * NULL with ERR_CONFIG when it must not start beside the others.
 *
 * With the database away the local copy of what was last known decides; nothing newer is then written than what the
 * whole wrote. Without a copy either (then there is no configuration either) the oldest is written. As soon as the
 * database answers the place is taken after all; a program that should not have started says so and ends (SIGTERM to itself). */
struct cluster_presence *cluster_appear(const struct cluster_presence_conf *conf, struct err *e);
/* Ends the heartbeat and frees; the row stays, since the server may be back with the same program. false: after so long it
 * still waits for the database, and nothing was freed. NULL is allowed. */
bool cluster_vanish(struct cluster_presence *p, int64_t wait_ms);

/* ---- the schema */

/* Brings the schema up to this version: numbered files of `dir`, under a lock; dry_run only tells. */
int cluster_migrate(struct db *d, const char *dir, bool dry_run, void (*report)(void *ctx, const char *line), void *ctx, struct err *e);

#endif
