/* What the files of proxy share. */
#ifndef PROXY_PRIVATE_H
#define PROXY_PRIVATE_H

#include "proxy.h"

struct proxy {
	struct edge *edge;
	struct signing signing;
	struct sts *sts;
};

/* One call on its way. */
struct flow {
	struct proxy *proxy;
	struct edge_call call;
	const struct soap_head *head;
	const struct conf_service *service;
	struct soap_parts *parts;	/* of a multipart; else NULL */
	struct buf in;		/* what has been read: preamble of a multipart, head, first bytes behind it */
	size_t root;		/* where the envelope begins in it; 0 when it is not multipart */
	struct slice card;	/* what takes the place of the request's card; absent: the request's own stays */
	struct buf out;		/* what is sent first */
	struct soap_watch *watch;	/* for a service set to check_body; else NULL */
	struct slice login;	/* content of soap:Header of the refusal: implicit login; or absent */
};

/* choose.c: by level and signature, which card goes on (interface.md 3.3, design 4.4). */
int proxy_choose_card(struct flow *f);
/* body.c: what follows the head, as req_read. The parts of a multipart, and all of it for a service set to check_body, are
 * watched on the way; what is wrong ends as an error before the endpoint has seen a complete message. */
int proxy_watch_body(struct flow *f);
ssize_t proxy_read_body(struct flow *f, void *out, size_t n, struct err *e);
/* forward.c: sends f->out and the rest of the body, streams the answer back. */
int proxy_forward(struct flow *f);

#endif
