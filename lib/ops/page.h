/* page: what somebody sees who opens the service's address in a browser. */
#ifndef OPS_PAGE_H
#define OPS_PAGE_H

#include "conf.h"
#include "html.h"

struct page_operation {
	const char *name, *action, *ns, *element, *what;
	struct html_url example;	/* where on the page */
	bool orders, signs, by_token;	/* how its example differs from the others' */
};
struct page_field {
	const char *name, *user, *system;	/* of the card; whether it must be there */
};
struct page_schema {
	struct html_url link;
	struct slice name;
};
struct page_fault {
	const char *code, *when;
	const struct slice *texts;	/* every faultstring with this code */
	size_t ntexts;
};
struct page_limits {
	size_t head_kb, depth, attributes, value_kb, elements;
};
struct page {
	bool danish;
	struct slice address, proxy;	/* absolute, as the caller wrote them */
	struct page_operation *operations;
	size_t noperations;
	struct page_field *fields;
	size_t nfields;
	struct page_schema *schemas;
	size_t nschemas;
	struct page_fault *faults;
	size_t nfaults;
	struct page_limits limits;
	struct slice message_kb;	/* most bytes of a card operation; absent when there is no configuration */
};

/* Scheme, host and port as the caller wrote them. The Host header is repeated only when it is nothing but a host and a port;
 * else the web server's own name is, which may come from the same header and is judged alike. */
struct slice page_base(struct arena *a, bool tls, struct slice host, struct slice server_name, struct slice server_port);
/* All but the addresses, the schemas and what the configuration says. ERR_MEMORY. */
int page_fill(struct page *p, struct arena *a, struct err *e);
/* page.html */
void page_write(struct buf *b, const struct page *p);

#endif
