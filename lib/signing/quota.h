/* quota: how many things each of a few names may have in a minute. */
#ifndef SIGNING_QUOTA_H
#define SIGNING_QUOTA_H

#include "slice.h"

#include <stdbool.h>

struct quota;
struct quota *quota_new(unsigned a_minute);	/* NULL: no memory */
void quota_free(struct quota *q);
/* One more for that name; false: not in this minute, also when memory ends. Every name is remembered until quota_free,
 * so names are of the configuration, never of requests. */
bool quota_take(struct quota *q, struct slice name);

#endif
