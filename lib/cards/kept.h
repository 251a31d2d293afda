/* kept: the file in which a server keeps what was withdrawn, for the time in which the database is away. Workers append to
 * it, the housekeeper rewrites it now and then. */
#ifndef CARDS_KEPT_H
#define CARDS_KEPT_H

#include "arena.h"
#include "err.h"

#include <stdint.h>
#include <sys/types.h>

struct kept_line {
	struct slice id;
	int64_t expires, when;	/* seconds, milliseconds UTC */
	bool told;		/* the database knows it */
};
/* In one write, so that a process that dies leaves a whole line or none that counts. */
int kept_append(const char *path, const struct kept_line *line, struct err *e);

/* Where somebody has read up to. Zeroed: nothing yet. */
struct kept_place { ino_t file; off_t at; };
/* Every line behind the place, which moves on; from the beginning when the file is another one. Lines that are damaged are
 * left out. Without a file there are none. */
int kept_read(const char *path, struct kept_place *place, void (*each)(void *ctx, const struct kept_line *line), void *ctx, struct err *e);

/* Rewrites the file with the lines for which keep says so (it may change `told`), and what was appended meanwhile. One
 * process may do it. */
int kept_rewrite(const char *path, bool (*keep)(void *ctx, struct kept_line *line), void *ctx, struct err *e);

#endif
