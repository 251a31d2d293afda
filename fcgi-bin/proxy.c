/* The proxy worker: SOAP requests in, with the user's card on to their endpoints. */
#include "proxy.h"

static void *
start(struct edge *w, struct err *e)
{
	return proxy_new(w, e);
}

static void
stop(void *app)
{
	proxy_free(app);
}

int
main(int argc, char **argv)
{
	static const struct edge_program program = {
		.name = "proxy", .kind = AUDIT_PROXY, .start = start, .handle = proxy_handle, .stop = stop,
	};

	return edge_main(&program, argc, argv);
}
