/* The audit trail as a whole: whether it is what was written, and bringing in what a dead server still had. */
#include "ctl.h"

#include "audit.h"

#include <inttypes.h>

#define VERIFY_STATEMENT_MS (6 * 3600 * 1000)

/* ---- audit verify */

struct findings { struct ctl *c; bool any; };

static void
put_finding(void *ctx, const char *line)
{
	struct findings *f = ctx;

	if (f->c->json) {
		fputs(f->any ? ",\n " : "", f->c->out);
		ctl_put_json(f->c->out, slice_of(line));
	} else {
		ctl_put_text(f->c->out, slice_of(line));
		fputc('\n', f->c->out);
	}
	f->any = true;
}

enum ctl_exit
ctl_audit_verify(struct ctl *c, int argc, char **argv)
{
	struct findings f = { .c = c };
	struct err e = { 0 };
	uint64_t events, broken;

	if (argc > 1)
		return ctl_misused(c, argv[0], "no operand is wanted");
	/* one statement looks at a whole journal: it may take its time */
	struct db *db = ctl_patient_db(c, VERIFY_STATEMENT_MS);
	if (db == NULL)
		return CTL_FAILED;
	fputs(c->json ? "{\"findings\": [" : "", c->out);
	int rc = audit_verify(db, put_finding, &f, &events, &broken, &e);
	db_free(db);
	if (c->json)
		fprintf(c->out, "], \"complete\": %s, \"events\": %" PRIu64 ", \"broken\": %" PRIu64 "}\n",
		    rc == 0 ? "true" : "false", events, broken);
	else if (rc == 0)
		fprintf(c->out, "%" PRIu64 " events, %" PRIu64 " breaks%s\n", events, broken,
		    broken == 0 ? ": nothing was removed or changed" : "");
	if (rc < 0)
		return ctl_failed(c, "verifying the audit trail", &e);
	return broken == 0 ? CTL_OK : CTL_FAILED;
}

/* ---- audit ship */

/* Until nothing is left to send. */
static int
ship(struct ctl *c, const char *dir, struct audit_shipped *sum, struct err *e)
{
	struct audit_shipped once = { .more = true };

	while (once.more) {
		if (audit_ship(dir, c->file->server, 0, c->db, &once, e) < 0)
			return -1;
		sum->events += once.events;
		sum->files += once.files;
	}
	return 0;
}

enum ctl_exit
ctl_audit_ship(struct ctl *c, int argc, char **argv)
{
	struct audit_shipped sum = { 0 };
	struct audit_waiting left = { 0 };
	struct err e = { 0 };

	if (argc != 2 || argv[1][0] == '-')
		return ctl_misused(c, argv[0], "the folder of journals is wanted");
	if (ctl_db(c) == NULL)
		return CTL_FAILED;
	/* what has arrived has arrived, whatever happens to the rest */
	int rc = ship(c, argv[1], &sum, &e);
	if (rc == 0)
		rc = audit_waiting(argv[1], &left, &e);
	if (c->json)
		fprintf(c->out, "{\"events\": %" PRIu64 ", \"files\": %" PRIu64 ", \"left\": %" PRIu64 "}\n", sum.events, sum.files,
		    left.files);
	else
		fprintf(c->out, "%" PRIu64 " events sent, %" PRIu64 " files removed\n", sum.events, sum.files);
	if (rc < 0)
		return ctl_failed(c, "sending the journals", &e);
	if (left.files > 0)
		fprintf(c->errs, "sosigwctl: %" PRIu64 " files stay: their processes still write them\n", left.files);
	return CTL_OK;
}
