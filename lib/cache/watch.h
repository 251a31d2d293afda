/* watch: one thread that notices when nodes go, come back or restart. */
#ifndef CACHE_WATCH_H
#define CACHE_WATCH_H

#include "err.h"
#include "node.h"

#define WATCH_BACK_MS 2000	/* a node that answers again is noticed within this, and its timeouts */

struct watch;
struct watch *watch_new(struct node *nodes, size_t n, struct err *e);
/* Waits until the thread has ended. NULL is allowed. */
void watch_free(struct watch *w);

#endif
