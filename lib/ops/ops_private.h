/* What the files of ops share. */
#ifndef OPS_PRIVATE_H
#define OPS_PRIVATE_H

#include "ops.h"

struct ops {
	struct edge *edge;
	struct signing signing;
	struct sts *sts;
};

/* One operation being served. */
struct op {
	struct ops *ops;
	struct edge_call call;
	struct slice bytes;	/* the message as it came */
	struct soap_message message;
	struct cards_user user;
	struct slice header;	/* of the answer, as markup; or absent */
	struct slice body;	/* of the answer, as markup; absent: an empty answer, HTTP 202 */
};

/* operations.c: one function per operation; each fills op->body, or op->call.err and returns -1. */
int ops_order(struct op *op);
int ops_sign(struct op *op);
int ops_get(struct op *op);
int ops_logout(struct op *op);
int ops_logout_with_response(struct op *op);

/* Markup that lives as long as the call; takes b over. */
int ops_keep_markup(struct op *op, struct buf *b, struct slice *out);
/* A card without its ds:Signature. */
int ops_without_signature(struct op *op, struct slice *xml);

/* bst.c: the operation that is not of the gateway's own contract but of WS-Trust */
int ops_create_from_bst(struct op *op);

/* describe.c: a GET or HEAD, which asks what the service is. */
bool ops_is_question(const struct req *r);
void ops_describe(struct ops *o, struct req *r);

#endif
