/* resolve: the addresses of a name, within a time. Inside db only. */
#ifndef DB_RESOLVE_H
#define DB_RESOLVE_H

#include "err.h"

#include <stdint.h>

#define RESOLVE_MOST 8
struct resolved {
	size_t n;
	char addresses[RESOLVE_MOST][64];	/* numeric, in the order to try them */
};
/* deadline: clock_mono_ms. ERR_DATABASE. */
int resolve(const char *host, int64_t deadline, struct resolved *out, struct err *e);

#endif
