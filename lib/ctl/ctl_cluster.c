/* The servers and their programs, as the database knows them. The database judges who is up: our clock may differ from
 * the servers'. */
#include "ctl.h"

#include "clock.h"
#include "cluster.h"

#include <inttypes.h>
#include <string.h>

struct seen {
	struct cluster_member *members, *up;
	struct cluster_program *programs;
	size_t nmembers, nup, nprograms;
};

static bool
is_up(const struct seen *s, struct slice server)
{
	for (size_t i = 0; i < s->nup; i++)
		if (slice_eq(s->up[i].server, server))
			return true;
	return false;
}

static bool
is_member(const struct seen *s, struct slice server)
{
	for (size_t i = 0; i < s->nmembers; i++)
		if (slice_eq(s->members[i].server, server))
			return true;
	return false;
}

/* A server whose housekeeper has never run, or not for a day, is known by its programs. */
static int
add_members_of_programs(struct ctl *c, struct seen *s)
{
	struct cluster_member *all = arena_alloc(c->a, (s->nmembers + s->nprograms + 1) * sizeof *all);

	if (all == NULL)
		return -1;
	memcpy(all, s->members, s->nmembers * sizeof *all);
	s->members = all;
	for (size_t i = 0; i < s->nprograms; i++)
		if (!is_member(s, s->programs[i].server))
			all[s->nmembers++] = (struct cluster_member){ .server = s->programs[i].server,
				.version = s->programs[i].version };
	return 0;
}

void
ctl_put_age(FILE *f, int64_t seconds)
{
	static const struct { int64_t seconds; const char *unit; } units[] = { { 86400, "d" }, { 3600, "h" }, { 60, "min" } };

	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (seconds >= 2 * units[i].seconds) {
			fprintf(f, "%" PRId64 " %s", seconds / units[i].seconds, units[i].unit);
			return;
		}
	fprintf(f, "%" PRId64 " s", seconds < 0 ? 0 : seconds);
}

static int64_t
uptime(const struct cluster_member *m)
{
	return m->seen > m->started ? m->seen - m->started : 0;
}

/* ---- in words */

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
	ctl_put_text(c->out, m->server);
	fputs(" zone ", c->out);
	ctl_put_text(c->out, m->zone);
	if (m->seen == 0) {
		fputs(" AWAY, no housekeeper was seen within a day\n", c->out);
		return;
	}
	fprintf(c->out, " %s, seen ", up ? "up" : "AWAY");
	ctl_put_age(c->out, clock_now() - m->seen);
	fputs(" ago, version ", c->out);
	ctl_put_text(c->out, m->version);
	fprintf(c->out, ", configuration %" PRId64 ", load %.2f, formats card %d journal %d configuration %d, running for ",
	    m->revision, m->load, m->card_format, m->journal_format, m->config_format);
	ctl_put_age(c->out, uptime(m));
	put_journal(c, m);
	fputc('\n', c->out);
}

static void
put_program(struct ctl *c, const struct cluster_program *p)
{
	fputs("    ", c->out);
	ctl_put_text(c->out, p->program);
	fprintf(c->out, " %s, seen ", p->age < CLUSTER_UP ? "up" : "AWAY");
	ctl_put_age(c->out, p->age);
	fputs(" ago, version ", c->out);
	ctl_put_text(c->out, p->version);
	fprintf(c->out, ", configuration %" PRId64 ", reads card %d journal %d, writes card %d journal %d", p->revision,
	    p->card_format, p->journal_format, p->card_written, p->journal_written);
	if (p->signatures_sha1 >= 0)
		fprintf(c->out, ", card signatures %" PRId64 " SHA-1 %" PRId64 " SHA-2", p->signatures_sha1, p->signatures_sha2);
	fputc('\n', c->out);
	if (p->refused > 0) {
		fprintf(c->out, "        configuration %" PRId64 " is NOT USED: ", p->refused);
		ctl_put_text(c->out, p->problem);
		fputc('\n', c->out);
	}
}

static int
format_of(const struct cluster_program *p, bool card)
{
	return card ? p->card_format : p->journal_format;
}

/* Who keeps the others from writing the newest format that is known. */
static void
put_waiting(struct ctl *c, const struct seen *s, const char *kind, bool card)
{
	const struct cluster_program *newest = NULL, *oldest = NULL;

	for (size_t i = 0; i < s->nprograms; i++) {
		const struct cluster_program *p = &s->programs[i];
		newest = newest == NULL || format_of(p, card) > format_of(newest, card) ? p : newest;
		oldest = oldest == NULL || format_of(p, card) < format_of(oldest, card) ? p : oldest;
	}
	if (newest == NULL || format_of(newest, card) == format_of(oldest, card))
		return;
	fprintf(c->out, "%s format %d is not written yet: ", kind, format_of(newest, card));
	ctl_put_text(c->out, oldest->server);
	fputs(" (", c->out);
	ctl_put_text(c->out, oldest->program);
	fprintf(c->out, ") reads %d at most", format_of(oldest, card));
	if (oldest->age >= CLUSTER_UP) {
		fputs("; it is away and counts for another ", c->out);
		ctl_put_age(c->out, CLUSTER_COUNTS - oldest->age);
	}
	fputc('\n', c->out);
}

static void
in_words(struct ctl *c, const struct seen *s)
{
	if (s->nmembers == 0)
		fputs("no server has shown itself within a day\n", c->out);
	for (size_t i = 0; i < s->nmembers; i++) {
		put_member(c, &s->members[i], is_up(s, s->members[i].server));
		for (size_t k = 0; k < s->nprograms; k++)
			if (slice_eq(s->programs[k].server, s->members[i].server))
				put_program(c, &s->programs[k]);
		ctl_put_ends(c, s->members[i].ends);
	}
	put_waiting(c, s, "card", true);
	put_waiting(c, s, "journal", false);
}

/* ---- as JSON */

/* -1: nobody has said. */
static void
put_number(FILE *f, const char *name, int64_t n)
{
	if (n < 0)
		fprintf(f, ", \"%s\": null", name);
	else
		fprintf(f, ", \"%s\": %" PRId64, name, n);
}

static void
program_as_json(struct ctl *c, const struct cluster_program *p, bool first)
{
	fputs(first ? "\n  {\"program\": " : ",\n  {\"program\": ", c->out);
	ctl_put_json(c->out, p->program);
	fputs(", \"version\": ", c->out);
	ctl_put_json(c->out, p->version);
	fprintf(c->out, ", \"up\": %s, \"pid\": %" PRId64 ", \"started\": %" PRId64 ", \"seen_ago\": %" PRId64 ", \"revision\": %"
	    PRId64 ", \"refused\": %" PRId64 ", \"problem\": ", p->age < CLUSTER_UP ? "true" : "false", p->pid, p->started,
	    p->age, p->revision, p->refused);
	ctl_put_json(c->out, p->problem);
	fprintf(c->out, ", \"card_format\": %d, \"card_written\": %d, \"journal_format\": %d, \"journal_written\": %d, "
	    "\"config_format\": %d", p->card_format, p->card_written, p->journal_format, p->journal_written,
	    p->config_format);
	put_number(c->out, "signatures_sha1", p->signatures_sha1);
	put_number(c->out, "signatures_sha2", p->signatures_sha2);
	fputs("}", c->out);
}

static void
journal_as_json(struct ctl *c, const struct cluster_member *m)
{
	fputs(", \"journal_bytes\": ", c->out);
	if (m->journal_level.p == NULL)
		fputs("null, \"journal_disk_percent\": null", c->out);
	else
		fprintf(c->out, "%" PRId64 ", \"journal_disk_percent\": %d", m->journal_bytes, m->journal_disk);
	fputs(", \"journal_level\": ", c->out);
	ctl_put_json(c->out, m->journal_level);
}

static void
member_as_json(struct ctl *c, const struct seen *s, const struct cluster_member *m, bool first)
{
	bool none = true;

	fputs(first ? "{\"server\": " : ",\n {\"server\": ", c->out);
	ctl_put_json(c->out, m->server);
	fputs(", \"zone\": ", c->out);
	ctl_put_json(c->out, m->zone);
	fputs(", \"version\": ", c->out);
	ctl_put_json(c->out, m->version);
	fprintf(c->out, ", \"up\": %s, \"started\": %" PRId64 ", \"seen\": %" PRId64 ", \"revision\": %" PRId64
	    ", \"load\": %.2f, \"card_format\": %d, \"journal_format\": %d, \"config_format\": %d, \"uptime\": %" PRId64
	    ", \"programs\": [", is_up(s, m->server) ? "true" : "false", m->started, m->seen, m->revision, m->load,
	    m->card_format, m->journal_format, m->config_format, uptime(m));
	for (size_t i = 0; i < s->nprograms; i++)
		if (slice_eq(s->programs[i].server, m->server)) {
			program_as_json(c, &s->programs[i], none);
			none = false;
		}
	fputs("]", c->out);
	journal_as_json(c, m);
	ctl_put_ends_json(c, m->ends);
	fputs("}", c->out);
}

static void
as_json(struct ctl *c, const struct seen *s)
{
	fputs("[", c->out);
	for (size_t i = 0; i < s->nmembers; i++)
		member_as_json(c, s, &s->members[i], i == 0);
	fputs("]\n", c->out);
}

/* ---- the commands */

enum ctl_exit
ctl_cluster(struct ctl *c, int argc, char **argv)
{
	struct err e = { 0 };
	struct seen s;

	if (argc != 1)
		return ctl_misused(c, argv[0], "no operand is wanted");
	if (ctl_db(c) == NULL)
		return CTL_FAILED;
	if (cluster_members(c->db, c->a, CLUSTER_COUNTS, &s.members, &s.nmembers, &e) < 0 ||
	    cluster_members(c->db, c->a, CLUSTER_UP, &s.up, &s.nup, &e) < 0 ||
	    cluster_programs(c->db, c->a, &s.programs, &s.nprograms, &e) < 0)
		return ctl_failed(c, "reading the members", &e);
	if (add_members_of_programs(c, &s) < 0)
		return ctl_complain(c, "out of memory");
	(c->json ? as_json : in_words)(c, &s);
	return CTL_OK;
}

enum ctl_exit
ctl_cluster_forget(struct ctl *c, int argc, char **argv)
{
	struct err e = { 0 };

	if (argc != 2)
		return ctl_misused(c, argv[0], "one server is wanted");
	if (ctl_db(c) == NULL)
		return CTL_FAILED;
	if (cluster_forget(c->db, c->a, slice_of(argv[1]), &e) < 0)
		return ctl_failed(c, "forgetting a server", &e);
	if (c->json)
		fputs("{\"forgotten\": true}\n", c->out);
	else
		fprintf(c->out, "%s is forgotten\n", argv[1]);
	return CTL_OK;
}
