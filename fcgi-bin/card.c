/* The card worker: the card operations of the service contract, and the pages on which a browser signs. */
#include "ops.h"
#include "sign.h"

#include <stdlib.h>

struct app {
	struct ops *ops;
	struct sign *sign;
};

static void
stop(void *ctx)
{
	struct app *app = ctx;

	sign_free(app->sign);
	if (app->ops != NULL)
		ops_free(app->ops);
	free(app);
}

static void *
start(struct edge *w, struct err *e)
{
	struct app *app = calloc(1, sizeof *app);

	if (app == NULL) {
		err_set(e, ERR_MEMORY, "card worker");
		return NULL;
	}
	app->ops = ops_new(w, e);
	if (app->ops != NULL)
		app->sign = sign_new(w, ops_signing(app->ops), e);
	if (app->sign != NULL)
		return app;
	stop(app);
	return NULL;
}

static void
handle(void *ctx, struct req *r)
{
	struct app *app = ctx;

	if (sign_serves(r))
		sign_handle(app->sign, r);
	else
		ops_handle(app->ops, r);
}

static void
refuse(void *ctx, struct req *r)
{
	struct app *app = ctx;

	if (sign_serves(r))
		sign_refuse_busy(app->sign, r);
	else
		ops_refuse_busy(app->ops, r);
}

int
main(int argc, char **argv)
{
	static const struct edge_program program = {
		.name = "card", .kind = AUDIT_SERVICE, .start = start, .handle = handle, .refuse = refuse, .stop = stop,
	};

	return edge_main(&program, argc, argv);
}
