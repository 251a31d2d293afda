/* Migrations, and new secrets and keys. */
#include "ctl.h"

#include "access.h"
#include "cluster.h"
#include "rand.h"

#include <getopt.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <string.h>
#include <unistd.h>

/* Installed, and in a source tree when nothing is installed. */
#define SCHEMA_INSTALLED "/usr/share/sosigw/schema"
#define SCHEMA_IN_TREE "schema"

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
