/* snapshot: the last good revision in a file of this host, so that it starts without the database.
 * Inside conf only. */
#ifndef CONF_SNAPSHOT_H
#define CONF_SNAPSHOT_H

#include "arena.h"
#include "err.h"

#include <stdint.h>

/* A revision is told from another by number and time: after the database was restored from a backup
 * a number may come again. */
struct snapshot {
	int64_t revision;
	struct slice created, document;
};
/* ERR_NOT_FOUND when there is no file, ERR_CONFIG when it cannot be read. */
int snapshot_read(const char *state, struct arena *a, struct snapshot *out, struct err *e);
/* Whole or not at all: written beside, synced, renamed. document is in normal form. */
int snapshot_write(const char *state, const struct snapshot *s, struct err *e);

#endif
