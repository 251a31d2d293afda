/* The card worker: the card operations of the service contract. */
#include "ops.h"

static void *
start(struct edge *w, struct err *e)
{
	return ops_new(w, e);
}

static void
stop(void *app)
{
	ops_free(app);
}

int
main(int argc, char **argv)
{
	static const struct edge_program program = {
		.name = "card", .kind = AUDIT_SERVICE, .start = start, .handle = ops_handle, .stop = stop,
	};

	return edge_main(&program, argc, argv);
}
