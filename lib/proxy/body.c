#include "proxy_private.h"

int
proxy_watch_body(struct flow *f)
{
	struct edge_call *c = &f->call;

	if (f->parts != NULL && soap_parts_feed(f->parts, buf_slice(&f->in), &c->err) < 0)
		return -1;
	if (!f->service->check_body)
		return 0;
	/* where the root part of a multipart ends is not looked for */
	if (f->parts != NULL) {
		err_set(&c->err, ERR_CONTENT_TYPE, "multipart for a service set to check_body");
		return err_say(&c->err, "%s", c->conf->danish ? "Denne service tager kun imod text/xml." : "This service takes text/xml only.");
	}
	f->watch = soap_watch_new(c->arena);
	if (f->watch == NULL)
		return err_set(&c->err, ERR_MEMORY, "body check");
	return soap_watch_feed(f->watch, buf_slice(&f->in), &c->err);
}

ssize_t
proxy_read_body(struct flow *f, void *out, size_t n, struct err *e)
{
	ssize_t got = req_read(f->call.req, out, n, e);

	if (got < 0)
		return -1;
	struct slice bytes = { out, (size_t)got };
	if (f->parts != NULL && soap_parts_feed(f->parts, bytes, e) < 0)
		return -1;
	if (f->watch == NULL)
		return got;
	int rc = got == 0 ? soap_watch_end(f->watch, e) : soap_watch_feed(f->watch, bytes, e);
	return rc < 0 ? -1 : got;
}
