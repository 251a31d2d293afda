/* sign: the pages on which a user signs an order in the browser. */
#ifndef SIGN_SIGN_H
#define SIGN_SIGN_H

#include "edge.h"
#include "signing.h"

struct sign;
/* s must live as long. NULL with e filled. */
struct sign *sign_new(struct edge *w, const struct signing *s, struct err *e);
void sign_free(struct sign *s);
/* Whether the request is for these pages: /sosigw/sign/... and /sosigw/csp. */
bool sign_serves(const struct req *r);
/* fcgi_handlers; ctx is the struct sign. */
void sign_handle(void *ctx, struct req *r);
void sign_refuse_busy(void *ctx, struct req *r);

#endif
