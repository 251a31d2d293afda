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

/* describe.c: a GET or HEAD, which asks what the service is. */
bool ops_is_question(const struct req *r);
void ops_describe(struct req *r);

#endif
