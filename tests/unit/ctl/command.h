/* sosigwctl run as from a shell, on a PostgreSQL of the test's own. */
#ifndef CTL_TEST_COMMAND_H
#define CTL_TEST_COMMAND_H

#include "unit.h"

#include "pg.h"

#include "ctl.h"
#include "db.h"
#include "log.h"

static struct test_pg *pg;
static char dir[] = "/tmp/sosigw-ctl-XXXXXX";	/* holds sosigw.conf */

struct world {
	struct arena *a;
	struct db *db;		/* for a test that wants it */
	const char *in;
	char *out, *errs;	/* what the last command said */
	size_t nout, nerrs;
};

static inline struct world *
world_new(void)
{
	struct world *w = calloc(1, sizeof *w);

	w->a = arena_new(16 << 20);
	w->in = "";
	return w;
}

static inline int
world_free(void **state)
{
	struct world *w = *state;

	free(w->out);
	free(w->errs);
	db_free(w->db);
	arena_free(w->a);
	free(w);
	return 0;
}

static inline const char *
path(struct world *w, const char *name)
{
	return arena_printf(w->a, "%s/%s", dir, name).p;
}

/* Runs sosigwctl with these words, NULL at the end. */
static inline int
run(struct world *w, const char *first, ...)
{
	char *argv[20] = { arena_cstr(w->a, S("sosigwctl")), arena_cstr(w->a, S("--config")),
		arena_cstr(w->a, slice_of(path(w, "sosigw.conf"))) };
	int argc = 3;
	va_list ap;

	va_start(ap, first);
	for (const char *word = first; word != NULL; word = va_arg(ap, const char *))
		argv[argc++] = arena_cstr(w->a, slice_of(word));
	va_end(ap);
	free(w->out);
	free(w->errs);
	w->out = w->errs = NULL;
	FILE *in = fmemopen(arena_cstr(w->a, slice_of(w->in)), strlen(w->in), "r");
	FILE *out = open_memstream(&w->out, &w->nout), *errs = open_memstream(&w->errs, &w->nerrs);
	int code = (int)ctl_run(argc, argv, in, out, errs);
	fclose(in);
	fclose(out);
	fclose(errs);
	return code;
}

#define assert_said(text, part) do { \
	if (strstr((text), (part)) == NULL) \
		fail_msg("\"%s\" is not in: %s", (part), (text)); \
} while (0)
#define assert_exit(wanted, call) do { \
	int code_ = (call); \
	if (code_ != (wanted)) \
		fail_msg("exit %d, wanted %d: %s%s", code_, (wanted), w->out, w->errs); \
} while (0)

/* For main, before the tests and after them. */
static inline void
prepare(void)
{
	struct err e = { 0 };
	char config[80];

	log_open("/dev/null", "test", LOG_ERROR, &e);
	pg = pg_start();
	if (mkdtemp(dir) == NULL)
		abort();
	snprintf(config, sizeof config, "%s/sosigw.conf", dir);
	FILE *f = fopen(config, "w");
	fprintf(f, "[database]\nconninfo = %s\n[cache]\nnodes = 127.0.0.1:1\n", pg_conninfo(pg));
	fclose(f);
}

static inline int
clean(void **state)
{
	(void)state;
	pg_remove(dir);
	return 0;
}

#endif
