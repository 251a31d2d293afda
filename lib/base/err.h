/* err: how a function says why it failed. Functions return 0 or -1 and fill the caller's struct
 * err; the first failure is kept. err.def lists every kind with its fault code and public text. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "slice.h"

enum err_kind {
	ERR_NONE,
#define E(name, code, da, en) ERR_##name,
#include "err.def"
#undef E
	ERR_KINDS
};

struct err {
	enum err_kind kind;	/* ERR_NONE: nothing has failed */
	int line;
	const char *file;
	char detail[256];	/* for our log only */
	char said[512];		/* told to the caller behind the kind's text; see err_say */
};

/* Always -1, so that `return err_set(...)` reads well. Keeps the first failure. */
#define err_set(e, kind, ...) err_minus(err_set_at((e), (kind), __FILE__, __LINE__, __VA_ARGS__))
int err_set_at(struct err *e, enum err_kind kind, const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* Adds what the sender may know and can act on: a name of what is missing, the STS's own words.
 * Cut at the buffer, control characters replaced. Returns -1. */
int err_say(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void err_clear(struct err *e);
/* For err_set: with the -1 in sight, compilers and analysers know that who goes on had no failure. */
static inline int
err_minus(int minus)
{
	(void)minus;
	return -1;
}

/* "NO_CARD": for log, audit reason and tests. */
const char *err_name(enum err_kind kind);
/* The published fault code, one of the eight of the service contract. */
const char *err_code(enum err_kind kind);
/* The public text; danish or else english. */
const char *err_text(enum err_kind kind, bool danish);

#endif
