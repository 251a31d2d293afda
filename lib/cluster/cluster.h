/* cluster: the members of the whole, seen by their heartbeat in the database. */
#ifndef CLUSTER_CLUSTER_H
#define CLUSTER_CLUSTER_H

#include "arena.h"
#include "db.h"
#include "err.h"

#include <stdint.h>

/* Formats of shared data that this build reads and writes (mission 5.3). */
#define CLUSTER_CARD_FORMAT 1
#define CLUSTER_JOURNAL_FORMAT 1
#define CLUSTER_CONFIG_FORMAT 1

struct cluster_member {
	struct slice server, zone, version;
	int64_t started, seen;		/* seconds UTC */
	int64_t revision;		/* of the configuration in use */
	double load;			/* one minute load average */
	int card_format, journal_format, config_format;
};
/* Writes this server's heartbeat. */
int cluster_beat(struct db *d, struct arena *a, const struct cluster_member *self, struct err *e);
/* Everybody seen within `within` seconds. */
int cluster_members(struct db *d, struct arena *a, int64_t within, struct cluster_member **out, size_t *n, struct err *e);

/* Brings the schema up to this version: numbered files of `dir`, under a lock; dry_run only tells. */
int cluster_migrate(struct db *d, const char *dir, bool dry_run, void (*report)(void *ctx, const char *line), void *ctx, struct err *e);

#endif
