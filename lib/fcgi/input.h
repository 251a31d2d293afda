/* input: what the web server sends on one connection: the head of a request, then its body as a stream. */
#ifndef FCGI_INPUT_H
#define FCGI_INPUT_H

#include "slice.h"

#include <stdint.h>
#include <sys/types.h>

/* The longest head (BEGIN_REQUEST and parameters with their record headers) that is read. */
#define HEAD_MAX 65536

struct input {
	int fd;
	size_t at, end;			/* bytes in buf not yet looked at */
	size_t most;			/* that are received at once */
	unsigned id;			/* of the request */
	size_t content, padding;	/* left of the present STDIN record */
	bool ended;			/* the end of the body was seen */
	bool exact;			/* receive nothing that is not asked for */
	bool silent;			/* broken, because nothing came for too long */
	const char *broken;		/* why nothing more can be read */
	uint8_t buf[HEAD_MAX];
};

/* Looks at the first n bytes of a request. > 0: the length of its head up to the last record header, and all is
 * in order; 0: more bytes are needed; -1: not a request that we serve. */
ssize_t head_check(const uint8_t *p, size_t n);

/* Begins with the next request on fd: waits until its head is there. Absent, with in->broken set, when none
 * came that we serve; an empty reason means that the peer just closed.
 * stale: records of the former request's body are passed over first; absent without a reason when
 * nothing stands behind them yet. */
struct slice input_head(struct input *in, int fd, unsigned ms, bool stale);
/* Body bytes; 0 at its end; -1 with in->broken set. Waits at most ms for the first. */
ssize_t input_read(struct input *in, void *out, size_t n, int ms);
/* The end of the body was read, and nothing stands behind it. */
bool input_is_clean(const struct input *in);
/* Reads on to the end of the present record, and not further, so that a later input_head with stale can begin there.
 * -1 when that is not possible. */
int input_settle(struct input *in, int ms);

#endif
