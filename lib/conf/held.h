/* held: a struct conf with what keeps it alive. Inside conf only. */
#ifndef CONF_HELD_H
#define CONF_HELD_H

#include "conf.h"

#include <stdatomic.h>

struct held {
	struct conf conf;	/* first: what callers see */
	struct arena *a;	/* everything lies in it, this too */
	atomic_uint refs;	/* of a live configuration: users, and one while it is the current one */
};

static inline struct held *
held_of(const struct conf *c)
{
	return (struct held *)(uintptr_t)c;
}

#endif
