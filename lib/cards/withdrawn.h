/* withdrawn: what may not be used any more: cards, and everything of a user up to a moment. One list for all servers: in the
 * database, which tells every process, in memory, and in a file of this server for when the database is away. */
#ifndef CARDS_WITHDRAWN_H
#define CARDS_WITHDRAWN_H

#include "db.h"

struct withdrawn;
struct withdrawn_conf {
	struct db *db;			/* NULL: without a database */
	const struct db_conf *listen;	/* for NOTIFY, and for writing, which waits WITHDRAWN_WAIT_MS at most; may be NULL */
	const char *file;		/* NULL: none */
	bool keeps;			/* the one process of this server that brings file and database together */
};
#define WITHDRAWN_WAIT_MS 500
/* The file and the database are read before it returns, as far as they can be. NULL with e filled. */
struct withdrawn *withdrawn_new(const struct withdrawn_conf *conf, struct err *e);
void withdrawn_free(struct withdrawn *w);

/* id: of a card, or "user:..." for all that a user had up to then. From the return on it is refused here, and known to this
 * server after a restart; 0: also in the database, for everybody. ERR_DATABASE: it goes there later. */
int withdrawn_put(struct withdrawn *w, struct arena *a, struct slice id, int64_t expires, struct err *e);
/* *when: of the withdrawal, milliseconds UTC; set on true only. */
bool withdrawn_has(struct withdrawn *w, struct slice id, int64_t *when);
/* Some user is in it, which is seldom. */
bool withdrawn_any_user(const struct withdrawn *w);

/* For the process that keeps: once a second; what is behind or not told yet goes its way, what is old goes. */
int withdrawn_tend(struct withdrawn *w, struct err *e);

#endif
