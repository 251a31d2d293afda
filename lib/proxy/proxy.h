/* proxy: a SOAP request in, the user's card into its head, on to the endpoint, the answer back; the body
 * is streamed, never parsed, never held (design 4). */
#ifndef PROXY_PROXY_H
#define PROXY_PROXY_H

#include "edge.h"
#include "signing.h"

struct proxy;
struct proxy *proxy_new(struct edge *w, struct err *e);
void proxy_free(struct proxy *p);
/* An fcgi_handler; ctx is the struct proxy. */
void proxy_handle(void *ctx, struct req *r);

#endif
