/* keep: everything periodic of one host: audit on to the database, revocation lists, heartbeat, the
 * configuration's snapshot. Each on its own: one that fails does not hold up the others. */
#ifndef KEEP_KEEP_H
#define KEEP_KEEP_H

#include "conf.h"

struct keep;
/* Works with the database and every list away. */
struct keep *keep_new(const struct conf_file *file, struct err *e);
/* Until keep_stop; then ships the audit once more and returns. */
void keep_run(struct keep *k);
/* May be called from a signal handler. */
void keep_stop(struct keep *k);
void keep_free(struct keep *k);

#endif
