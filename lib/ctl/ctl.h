/* ctl: the administrator's command line. ctl.def lists the commands; each is one function. */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include "arena.h"
#include "buf.h"
#include "conf.h"
#include "db.h"
#include "err.h"

#include <stdio.h>

enum ctl_exit { CTL_OK = 0, CTL_FAILED = 1, CTL_USAGE = 2, CTL_CONFLICT = 3 };

/* What a command gets. Everything in it lives until the command has returned. */
struct ctl {
	const char *config;	/* path of the static file */
	bool json;		/* --json was given: listings are JSON */
	FILE *out, *errs, *in;
	struct arena *a;
	struct conf_file *file;	/* see ctl_file */
	struct db *db;		/* see ctl_db */
};

/* argv[0] is the command's own name ("config export"), the rest its options and operands: fit for
 * getopt_long after optind = 0. --json, --config and --help are taken out before. */
struct ctl_command {
	const char *name;	/* one or two words */
	const char *args;	/* as in a synopsis: "FILE [--base N]" */
	const char *help;	/* one line */
	enum ctl_exit (*fn)(struct ctl *c, int argc, char **argv);
};

#define COMMAND(name, fn, args, help) enum ctl_exit fn(struct ctl *c, int argc, char **argv);
#include "ctl.def"
#undef COMMAND

/* The whole program: argv as main got it. */
enum ctl_exit ctl_run(int argc, char **argv, FILE *in, FILE *out, FILE *errs);

/* The static file and the database it names, opened when first asked for. NULL: said why on errs,
 * the command returns CTL_FAILED. */
const struct conf_file *ctl_file(struct ctl *c);
struct db *ctl_db(struct ctl *c);
/* Another connection, whose statements may take so long; freed by the caller. NULL: said why. */
struct db *ctl_patient_db(struct ctl *c, unsigned statement_ms);
/* "sosigwctl: ..." on errs. Return what the command returns. */
enum ctl_exit ctl_complain(struct ctl *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
enum ctl_exit ctl_misused(struct ctl *c, const char *command, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* What e says, behind what was being done; CTL_CONFLICT for ERR_CONFLICT, else CTL_FAILED. */
enum ctl_exit ctl_failed(struct ctl *c, const char *doing, const struct err *e);
/* A whole file, or standard input for "-". -1: said why. */
int ctl_read(struct ctl *c, const char *path, struct slice *out);
/* A string in JSON, with its quotes; absent is null. */
void ctl_put_json(FILE *f, struct slice text);

/* Text for a terminal: control characters, which could steer it, become '?'. Absent is "-". */
void ctl_put_text(FILE *f, struct slice text);

/* "3 h", "12 s": in the unit that fits. */
void ctl_put_age(FILE *f, int64_t seconds);

/* ctl_ends.c: of struct cluster_member. In words: lines, one for each list, and for the certificates that are to end; as JSON:
 * members of an object. */
void ctl_put_ends(struct ctl *c, struct slice ends);
void ctl_put_ends_json(struct ctl *c, struct slice ends);

#endif
