/* ops: the card operations of the service contract: order a card, sign it, get it, log out. */
#ifndef OPS_OPS_H
#define OPS_OPS_H

#include "edge.h"
#include "signing.h"

struct ops;
struct ops *ops_new(struct edge *w, struct err *e);
void ops_free(struct ops *o);
/* An fcgi_handler; ctx is the struct ops. */
void ops_handle(void *ctx, struct req *r);

#endif
