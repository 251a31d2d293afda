/* ops: the card operations of the service contract: order a card, sign it, get it, log out. */
#ifndef OPS_OPS_H
#define OPS_OPS_H

#include "edge.h"
#include "signing.h"

struct ops;
struct ops *ops_new(struct edge *w, struct err *e);
void ops_free(struct ops *o);
/* What cards get their signatures with: for the signing page, which lives no longer than o. */
const struct signing *ops_signing(const struct ops *o);
/* An fcgi_handler; ctx is the struct ops. */
void ops_handle(void *ctx, struct req *r);
/* The worker is too busy: a fault at once. */
void ops_refuse_busy(struct ops *o, struct req *r);

#endif
