/* ends: how old the lists of revoked certificates are, and when the certificates end that this server uses; told with its
 * heartbeat, and in the log while something can still be done. Inside keep only. */
#ifndef KEEP_ENDS_H
#define KEEP_ENDS_H

#include "conf.h"
#include "crl.h"

struct ends;
struct ends *ends_new(void);	/* NULL: no memory */
void ends_free(struct ends *e);
/* Looks at everything, says in the log what is nearly too late (a list older than half its grace: at first, then every
 * hour; a certificate in its last 30 days: every day), and gives the whole as JSON (schema/009), in the arena. Absent: no
 * memory. */
struct slice ends_look(struct ends *e, struct arena *a, const struct conf *c, const struct crls *l);

#endif
