/* revoked: what may not be used any more: ids of cards, in memory, asked at every use by many threads. */
#ifndef CARDS_REVOKED_H
#define CARDS_REVOKED_H

#include "slice.h"

#include <stdint.h>

struct revoked;
struct revoked *revoked_new(void);	/* NULL: no memory */
void revoked_free(struct revoked *r);
/* Kept until `expires` (seconds UTC). when: of the revocation, milliseconds UTC; of two the later one stands. */
void revoked_put(struct revoked *r, struct slice id, int64_t expires, int64_t when);
/* *when is set on true only. */
bool revoked_has(struct revoked *r, struct slice id, int64_t *when);
void revoked_purge(struct revoked *r, int64_t now);
size_t revoked_count(struct revoked *r);

#endif
