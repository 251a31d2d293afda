/* The cluster, migrations, and new secrets and keys. */
#include "ctl.h"

#include "access.h"
#include "clock.h"
#include "cluster.h"
#include "conv.h"
#include "rand.h"

#include <getopt.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <string.h>
#include <unistd.h>

#define SHOWN_WITHIN 86400
#define UP_WITHIN 60		/* several heartbeats */

/* Installed, and in a source tree when nothing is installed. */
#define SCHEMA_INSTALLED "/usr/share/sosigw/schema"
#define SCHEMA_IN_TREE "schema"

static bool
is_among(struct slice server, const struct cluster_member *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (slice_eq(list[i].server, server))
			return true;
	return false;
}

static void
put_journal(struct ctl *c, const struct cluster_member *m)
{
	if (m->journal_level.p == NULL)
		return;
	fprintf(c->out, ", journals %.1f MB on a disk that is %d %% full", (double)m->journal_bytes / 1e6, m->journal_disk);
	if (slice_is(m->journal_level, "warn"))
		fputs(": NEARLY FULL", c->out);
	else if (slice_is(m->journal_level, "stop"))
		fputs(": FULL, NOTHING IS FORWARDED", c->out);
}

static void
put_member(struct ctl *c, const struct cluster_member *m, bool up)
{
	int64_t ago = clock_now() - m->seen;

	ctl_put_text(c->out, m->server);
	fputs(" zone ", c->out);
	ctl_put_text(c->out, m->zone);
	fprintf(c->out, " %s, seen %" PRId64 " s ago, version ", up ? "up" : "AWAY", ago < 0 ? 0 : ago);
	ctl_put_text(c->out, m->version);
	fprintf(c->out, ", configuration %" PRId64 ", load %.2f, formats card %d journal %d configuration %d",
	    m->revision, m->load, m->card_format, m->journal_format, m->config_format);
	put_journal(c, m);
	fputc('\n', c->out);
}

static void
member_as_json(struct ctl *c, const struct cluster_member *m, bool up, bool first)
{
	fputs(first ? "{\"server\": " : ",\n {\"server\": ", c->out);
	ctl_put_json(c->out, m->server);
	fputs(", \"zone\": ", c->out);
	ctl_put_json(c->out, m->zone);
	fputs(", \"version\": ", c->out);
	ctl_put_json(c->out, m->version);
	fprintf(c->out, ", \"up\": %s, \"started\": %" PRId64 ", \"seen\": %" PRId64 ", \"revision\": %" PRId64
	    ", \"load\": %.2f, \"card_format\": %d, \"journal_format\": %d, \"config_format\": %d, "
	    "\"journal_bytes\": ",
	    up ? "true" : "false", m->started, m->seen, m->revision, m->load, m->card_format, m->journal_format,
	    m->config_format);
	if (m->journal_level.p == NULL)
		fputs("null, \"journal_disk_percent\": null", c->out);
	else
		fprintf(c->out, "%" PRId64 ", \"journal_disk_percent\": %d", m->journal_bytes, m->journal_disk);
	fputs(", \"journal_level\": ", c->out);
	ctl_put_json(c->out, m->journal_level);
	fputc('}', c->out);
}

enum ctl_exit
ctl_cluster(struct ctl *c, int argc, char **argv)
{
	struct cluster_member *all, *up;
	size_t nall, nup;
	struct err e = { 0 };

	if (argc != 1)
		return ctl_misused(c, argv[0], "no operand is wanted");
	if (ctl_db(c) == NULL)
		return CTL_FAILED;
	/* the database judges who is up: our clock may differ from the servers' */
	if (cluster_members(c->db, c->a, SHOWN_WITHIN, &all, &nall, &e) < 0 ||
	    cluster_members(c->db, c->a, UP_WITHIN, &up, &nup, &e) < 0)
		return ctl_failed(c, "reading the members", &e);
	fputs(c->json ? "[" : nall == 0 ? "no server has shown itself within a day\n" : "", c->out);
	for (size_t i = 0; i < nall; i++) {
		bool is_up = is_among(all[i].server, up, nup);
		if (c->json)
			member_as_json(c, &all[i], is_up, i == 0);
		else
			put_member(c, &all[i], is_up);
	}
	fputs(c->json ? "]\n" : "", c->out);
	return CTL_OK;
}

static void
report(void *ctx, const char *line)
{
	struct ctl *c = ctx;

	fprintf(c->out, "%s\n", line);
	fflush(c->out);
}

enum ctl_exit
ctl_migrate(struct ctl *c, int argc, char **argv)
{
	static const struct option known[] = { { "dry-run", no_argument, NULL, 'n' },
		{ "schema", required_argument, NULL, 's' }, { NULL, 0, NULL, 0 } };
	const char *schema = access(SCHEMA_INSTALLED, X_OK) == 0 ? SCHEMA_INSTALLED : SCHEMA_IN_TREE;
	bool dry_run = false;
	struct err e = { 0 };
	int o;

	optind = 0;
	opterr = 0;
	while ((o = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (o == 'n')
			dry_run = true;
		else if (o == 's')
			schema = optarg;
		else
			return ctl_misused(c, argv[0], "an option is not known here");
	}
	if (optind != argc)
		return ctl_misused(c, argv[0], "no operand is wanted");
	if (ctl_db(c) == NULL)
		return CTL_FAILED;
	return cluster_migrate(c->db, schema, dry_run, report, c, &e) == 0 ? CTL_OK : ctl_failed(c, "migrating", &e);
}

enum ctl_exit
ctl_secret_new(struct ctl *c, int argc, char **argv)
{
	struct slice secret, stored;

	if (argc != 1)
		return ctl_misused(c, argv[0], "no operand is wanted");
	if (access_new_secret(c->a, &secret, &stored) < 0)
		return ctl_complain(c, "out of memory");
	fprintf(c->out, c->json ? "{\"secret\": \"%.*s\", \"stored\": \"%.*s\"}\n" :
	    "secret  %.*s\nstored  %.*s\n", SLICE_FMT(secret), SLICE_FMT(stored));
	if (!c->json)
		fputs("Give the first to the client, put the second into its \"secrets\". The first is kept nowhere.\n", c->out);
	return CTL_OK;
}

enum ctl_exit
ctl_keys_new(struct ctl *c, int argc, char **argv)
{
	char *bytes = arena_secret(c->a, 36);

	if (argc != 1)
		return ctl_misused(c, argv[0], "no operand is wanted");
	if (bytes == NULL)
		return ctl_complain(c, "out of memory");
	rand_bytes(bytes, 36);
	for (size_t i = 0; i < 36; i++)
		fprintf(c->out, i == 4 ? " %02x" : "%02x", (unsigned char)bytes[i]);
	fputc('\n', c->out);
	return CTL_OK;
}
