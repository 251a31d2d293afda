/* uri: absolute http and https addresses, read strictly. Used to judge what an administrator
 * lists; what a client sends is only ever compared with it octet by octet. */
#ifndef BASE_URI_H
#define BASE_URI_H

#include "slice.h"

#include <stdint.h>

struct uri {
	bool tls;
	struct slice host;	/* as written; an IPv6 address without its brackets */
	uint16_t port;		/* the scheme's own when none is written */
	struct slice path;	/* from the first '/', with the query; "" when there is none */
};

/* -1 for anything but scheme://host[:port][/path[?query]] in printable ASCII: no userinfo, no
 * fragment, no white space, no control character. */
int uri_parse(struct slice text, struct uri *out);
/* Percent-decodes a query value ('+' is a space) into out (size bytes, NUL added);
 * -1 for a broken escape, a NUL byte or too little room. */
int uri_unescape(struct slice text, char *out, size_t size, size_t *n);

#endif
