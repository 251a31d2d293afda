/* formats: what servers share carries a format number, so that servers of two versions work side by side (mission 5.3).
 * A build reads its own format and the one before it, and writes the one before until every member of the cluster reads
 * its own (cluster.h). Only .c files include this one: those are compiled again for the builds of the format
 * before and the format after (make formats), which the tests of rolling upgrades need. */
#ifndef BASE_FORMATS_H
#define BASE_FORMATS_H

#include <stdbool.h>

#ifndef FORMAT_STEP
#define FORMAT_STEP 0
#endif

/* 1; 2: a card says by which client its user signed in.
 * The form of the seal around it (lib/cache/seal.c) has a number of its own, which only a change of the seal moves. */
#define FORMAT_CARD (2 + FORMAT_STEP)
/* 1; 2: an event says by which client the user of its card signed in. */
#define FORMAT_JOURNAL (2 + FORMAT_STEP)
/* The configuration document. */
#define FORMAT_CONFIG 1

static inline int
format_before(int own)
{
	return own > 1 ? own - 1 : own;
}

static inline bool
format_is_read(int own, int given)
{
	return given >= format_before(own) && given <= own;
}

#endif
