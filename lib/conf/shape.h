/* shape: what a configuration document may hold, as one table, and its normal form. Inside conf only. */
#ifndef CONF_SHAPE_H
#define CONF_SHAPE_H

#include "buf.h"
#include "err.h"

#include <jansson.h>

/* A place in the document, for its path in messages. */
struct at {
	const struct at *up;
	const char *name;	/* of a member; NULL: an item of a list */
	size_t index;
};
/* Problems are gathered, one line each with their path, up to a limit. */
struct problems {
	struct buf *out;	/* may be NULL */
	size_t n;
	char first[200];
	bool no_memory;
};
void problem(struct problems *p, const struct at *at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* -1 when there is any, with the number and the first in e. */
int problems_verdict(const struct problems *p, struct err *e);

/* The document with every member in its place, defaults filled in and each value of its kind: what
 * the table asks for needs no further check. NULL: no JSON, or no memory (see p). Otherwise it is
 * complete, but to be used only when there is no problem. The caller calls json_decref. */
json_t *shape_read(struct slice json, struct problems *p);
/* Writes a normal document. */
void shape_write(json_t *document, struct buf *out, struct problems *p);

#endif
