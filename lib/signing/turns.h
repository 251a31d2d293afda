/* turns: of several threads that want the same thing made, one makes it and the others share what came of it. */
#ifndef SIGNING_TURNS_H
#define SIGNING_TURNS_H

#include "err.h"

#include <stdint.h>

struct turns;
struct turns *turns_new(void);	/* NULL: no memory */
void turns_free(struct turns *t);

enum turn {
	TURN_MINE,	/* make it, then turns_done in any case */
	TURN_MADE,	/* another has made it meanwhile */
	TURN_FAILED,	/* another has failed: e says why */
	TURN_BUSY,	/* another is at it, and longer than we wait; also when memory ends */
};
/* wait_ms: how long another's work may take; 0: do not wait. rest_ms: for so long after a failure nobody tries
 * again, everybody gets that failure. */
enum turn turns_take(struct turns *t, const uint8_t name[32], int64_t wait_ms, int64_t rest_ms, struct err *e);
/* failed: of kind ERR_NONE when it went well. */
void turns_done(struct turns *t, const uint8_t name[32], const struct err *failed);

#endif
