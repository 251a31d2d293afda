/* The configuration: export, check, diff, import, log, rollback, edit. */
#include "ctl.h"

#include "cluster.h"
#include "conv.h"
#include "edit.h"
#include "formats.h"

#include <getopt.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DOCUMENT_MAX (16 << 20)
#define PROBLEMS_CAP (1 << 20)
#define LOG_MOST 1000

struct publishing {
	const char *comment, *author;
	int64_t base;		/* -1: the newest */
};

/* Options of the commands that publish. CTL_OK or what to return. */
static enum ctl_exit
options(struct ctl *c, int argc, char **argv, int operands, struct publishing *p)
{
	static const struct option known[] = {
		{ "comment", required_argument, NULL, 'c' }, { "author", required_argument, NULL, 'a' },
		{ "base", required_argument, NULL, 'b' }, { NULL, 0, NULL, 0 },
	};
	int o;

	*p = (struct publishing){ .base = -1 };
	optind = 0;
	opterr = 0;
	while ((o = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (o == 'c')
			p->comment = optarg;
		else if (o == 'a')
			p->author = optarg;
		else if (o != 'b' || conv_number(slice_of(optarg), INT64_MAX - 1, &p->base) < 0)
			return ctl_misused(c, argv[0], "%s", o == 'b' ? "--base wants a number" : "an option is not known here");
	}
	if (argc - optind != operands)
		return ctl_misused(c, argv[0], operands == 0 ? "no operand is wanted" : "one operand is wanted");
	return CTL_OK;
}

static int
revision_number(struct ctl *c, const char *text, int64_t *out)
{
	if (conv_number(slice_of(text), INT64_MAX - 1, out) == 0 && *out > 0)
		return 0;
	ctl_complain(c, "\"%s\" is no revision number; `sosigwctl config log` lists them", text);
	return -1;
}

static struct slice
author(struct ctl *c, const struct publishing *p)
{
	const char *sudo = getenv("SUDO_USER");
	const struct passwd *pw = getpwuid(getuid());

	if (p->author != NULL)
		return slice_of(p->author);
	if (sudo != NULL && *sudo != '\0')
		return slice_of(sudo);
	return pw != NULL ? slice_of(pw->pw_name) : arena_printf(c->a, "uid %u", (unsigned)getuid());
}

/* The normal form, in the arena's time. Absent when it has none. */
static struct slice
normal(struct ctl *c, struct slice json)
{
	struct err e = { 0 };
	struct buf b;

	buf_init(&b, DOCUMENT_MAX);
	struct slice out = { NULL, 0 };
	if (conf_normal(json, &b, &e) == 0)
		out = arena_dup(c->a, buf_slice(&b));
	buf_free(&b);
	return out;
}

/* Problems as lines "FILE: path: what", or as JSON. */
static void
show_problems(struct ctl *c, const char *name, struct slice lines)
{
	struct slice line;

	while (slice_next(&lines, '\n', &line) && line.n > 0) {
		fprintf(c->errs, "%s: ", name);
		ctl_put_text(c->errs, line);
		fputc('\n', c->errs);
	}
}

static void
problems_as_json(struct ctl *c, struct slice lines)
{
	struct slice line;
	const char *between = "";

	fprintf(c->out, "{\"good\": %s, \"problems\": [", lines.n == 0 ? "true" : "false");
	while (slice_next(&lines, '\n', &line) && line.n > 0) {
		fputs(between, c->out);
		ctl_put_json(c->out, line);
		between = ", ";
	}
	fputs("]}\n", c->out);
}

/* -1: it has problems, and they were shown. */
static int
check(struct ctl *c, const char *name, struct slice json, struct conf **out)
{
	struct err e = { 0 };
	struct buf problems;

	buf_init(&problems, PROBLEMS_CAP);
	int done = conf_parse(json, 0, out, &problems, &e);
	if (done < 0 && problems.n > 0)
		show_problems(c, name, buf_slice(&problems));
	else if (done < 0)
		ctl_failed(c, name, &e);
	buf_free(&problems);
	return done;
}

/* The newest revision; id 0 and an empty document when there is none. */
static int
newest(struct ctl *c, struct conf_revision *out)
{
	struct db *d = ctl_db(c);
	struct err e = { 0 };

	if (d == NULL)
		return -1;
	if (conf_load(d, c->a, 0, out, &e) == 0)
		return 0;
	if (e.kind != ERR_NOT_FOUND) {
		ctl_failed(c, "reading the configuration", &e);
		return -1;
	}
	*out = (struct conf_revision){ .document = S("") };
	return 0;
}

static int
load(struct ctl *c, int64_t id, struct conf_revision *out)
{
	struct db *d = ctl_db(c);
	struct err e = { 0 };

	if (d == NULL)
		return -1;
	if (conf_load(d, c->a, id, out, &e) == 0)
		return 0;
	ctl_failed(c, "reading the configuration", &e);
	return -1;
}

/* What a stored document says in this version's normal form; as it stands when it has none. */
static struct slice
stored_normal(struct ctl *c, const struct conf_revision *r)
{
	struct slice n = normal(c, r->document);

	return n.p != NULL ? n : r->document;
}

static const char *
label(struct ctl *c, const struct conf_revision *r)
{
	const char *text = arena_printf(c->a, "revision %" PRId64, r->id).p;

	return text == NULL ? "revision" : text;
}

/* ---- publishing */

/* Another revision is newest: what it changed. */
static enum ctl_exit
conflict(struct ctl *c, int64_t base)
{
	struct conf_revision old = { .document = S("") }, now;

	if ((base > 0 && load(c, base, &old) < 0) || newest(c, &now) < 0)
		return CTL_CONFLICT;
	fprintf(c->errs, "sosigwctl: the edit started from revision %" PRId64 ", but revision %" PRId64 " by ", base, now.id);
	ctl_put_text(c->errs, now.author);
	fputs(" is the newest. Nothing was published. What has changed in between:\n", c->errs);
	edit_diff(c, label(c, &old), stored_normal(c, &old), label(c, &now), stored_normal(c, &now));
	return CTL_CONFLICT;
}

static void
say_published(struct ctl *c, int64_t revision, bool published)
{
	if (c->json)
		fprintf(c->out, "{\"revision\": %" PRId64 ", \"published\": %s}\n", revision, published ? "true" : "false");
	else
		fprintf(c->out, published ? "revision %" PRId64 " is published\n" :
		    "revision %" PRId64 " says the same; nothing was published\n", revision);
}

/* Who would not take a document of this version's format (mission 5.3). NULL: everybody would, or nobody can tell. */
static const struct cluster_program *
who_cannot_read(struct ctl *c)
{
	struct cluster_program *all;
	struct err ignored = { 0 };
	size_t n;

	if (cluster_programs(c->db, c->a, &all, &n, &ignored) < 0)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (all[i].config_format < FORMAT_CONFIG)
			return &all[i];
	return NULL;
}

static enum ctl_exit
publish(struct ctl *c, const char *name, struct slice json, const struct publishing *p)
{
	struct conf_revision now;
	struct conf *checked;
	struct err e = { 0 };
	int64_t revision;

	if (check(c, name, json, &checked) < 0)
		return ctl_complain(c, "nothing was published");
	conf_free(checked);
	struct slice wanted = normal(c, json);
	if (wanted.p == NULL || newest(c, &now) < 0)
		return CTL_FAILED;
	if (now.id > 0 && slice_eq(wanted, now.document)) {
		say_published(c, now.id, false);
		return CTL_OK;
	}
	const struct cluster_program *old = who_cannot_read(c);
	if (old != NULL)
		return ctl_complain(c, "%.*s (%.*s) reads configuration formats up to %d, and this would be %d: publish with its "
		    "version, upgrade it, or `sosigwctl cluster forget` it. Nothing was published", SLICE_FMT(old->server),
		    SLICE_FMT(old->program), old->config_format, FORMAT_CONFIG);
	int64_t base = p->base >= 0 ? p->base : now.id;
	struct slice comment = p->comment == NULL ? S("") : slice_of(p->comment);
	if (conf_publish(c->db, json, base, author(c, p), comment, &revision, NULL, &e) == 0) {
		say_published(c, revision, true);
		return CTL_OK;
	}
	return e.kind == ERR_CONFLICT ? conflict(c, base) : ctl_failed(c, "publishing", &e);
}

enum ctl_exit
ctl_config_import(struct ctl *c, int argc, char **argv)
{
	struct publishing p;
	struct slice json;
	enum ctl_exit code = options(c, argc, argv, 1, &p);

	if (code != CTL_OK)
		return code;
	return ctl_read(c, argv[optind], &json) < 0 ? CTL_FAILED : publish(c, argv[optind], json, &p);
}

enum ctl_exit
ctl_config_rollback(struct ctl *c, int argc, char **argv)
{
	struct publishing p;
	struct conf_revision old;
	int64_t id;
	enum ctl_exit code = options(c, argc, argv, 1, &p);

	if (code != CTL_OK)
		return code;
	if (revision_number(c, argv[optind], &id) < 0 || load(c, id, &old) < 0)
		return CTL_FAILED;
	if (p.comment == NULL)
		p.comment = arena_printf(c->a, "rollback to revision %" PRId64, id).p;
	return publish(c, label(c, &old), old.document, &p);
}

/* ---- editing */

static bool
again(struct ctl *c)
{
	char answer[16];

	fputs("Edit again? [Y/n] ", c->errs);
	fflush(c->errs);
	return fgets(answer, sizeof answer, c->in) != NULL && answer[0] != 'n' && answer[0] != 'N';
}

/* Until the file holds a good document (0) or the user gives up (-1). */
static int
edit_until_good(struct ctl *c, const char *path, struct slice *json)
{
	struct conf *checked;

	do {
		if (edit_open(c, path) < 0 || ctl_read(c, path, json) < 0)
			return -1;
		if (check(c, "your edit", *json, &checked) == 0) {
			conf_free(checked);
			return 0;
		}
	} while (again(c));
	return -1;
}

static bool
is_unchanged(struct ctl *c, const char *path, struct slice start)
{
	struct slice now;

	return ctl_read(c, path, &now) == 0 && slice_eq(now, start);
}

enum ctl_exit
ctl_config_edit(struct ctl *c, int argc, char **argv)
{
	struct publishing p;
	struct conf_revision now;
	struct slice json, start;
	enum ctl_exit code = options(c, argc, argv, 0, &p);

	if (code != CTL_OK)
		return code;
	if (p.base >= 0)
		return ctl_misused(c, argv[0], "the base is the revision that you are shown");
	if (newest(c, &now) < 0)
		return CTL_FAILED;
	start = now.id > 0 ? stored_normal(c, &now) : normal(c, S("{\"format\": 1}"));
	const char *path = edit_file(c, start);
	if (path == NULL)
		return CTL_FAILED;
	p.base = now.id;
	code = CTL_FAILED;
	if (edit_until_good(c, path, &json) == 0)
		code = publish(c, "your edit", json, &p);
	if (code == CTL_OK || is_unchanged(c, path, start)) {
		edit_forget(path);
		return code;
	}
	ctl_complain(c, "your edit is kept in %s; to go on: sosigwctl config import %s --base N, with N the revision "
	    "whose changes it takes into account (it started from %" PRId64 ")", path, path, now.id);
	return code;
}

/* ---- looking */

enum ctl_exit
ctl_config_export(struct ctl *c, int argc, char **argv)
{
	struct conf_revision r;
	int64_t id = 0;

	if (argc > 2)
		return ctl_misused(c, argv[0], "one revision at most");
	if ((argc == 2 && revision_number(c, argv[1], &id) < 0) || load(c, id, &r) < 0)
		return CTL_FAILED;
	struct slice document = stored_normal(c, &r);
	fwrite(document.p, 1, document.n, c->out);
	return CTL_OK;
}

enum ctl_exit
ctl_config_check(struct ctl *c, int argc, char **argv)
{
	struct slice json;
	struct conf *good;
	struct err e = { 0 };
	struct buf problems;

	if (argc != 2)
		return ctl_misused(c, argv[0], "one file is wanted");
	if (ctl_read(c, argv[1], &json) < 0)
		return CTL_FAILED;
	if (c->json) {
		buf_init(&problems, PROBLEMS_CAP);
		int done = conf_parse(json, 0, &good, &problems, &e);
		problems_as_json(c, buf_slice(&problems));
		buf_free(&problems);
		if (done == 0)
			conf_free(good);
		return done == 0 ? CTL_OK : CTL_FAILED;
	}
	if (check(c, argv[1], json, &good) < 0)
		return CTL_FAILED;
	fprintf(c->out, "%s is good: %zu organisations, %zu clients, %zu services\n", argv[1], good->norganisations,
	    good->nclients, good->nservices);
	conf_free(good);
	return CTL_OK;
}

enum ctl_exit
ctl_config_diff(struct ctl *c, int argc, char **argv)
{
	struct conf_revision now;
	struct slice json;
	struct err e = { 0 };

	if (argc != 2)
		return ctl_misused(c, argv[0], "one file is wanted");
	if (ctl_read(c, argv[1], &json) < 0 || newest(c, &now) < 0)
		return CTL_FAILED;
	struct slice wanted = normal(c, json);
	if (wanted.p == NULL) {
		struct buf ignored;
		buf_init(&ignored, DOCUMENT_MAX);
		conf_normal(json, &ignored, &e);
		buf_free(&ignored);
		return ctl_failed(c, argv[1], &e);
	}
	int different = edit_diff(c, label(c, &now), stored_normal(c, &now), argv[1], wanted);
	return different < 0 ? CTL_FAILED : different > 0 ? CTL_CONFLICT : CTL_OK;
}

/* How a revision fares in the programs that are up. */
struct fate {
	size_t used, refused;
	struct slice problem;
};

static struct fate
fate_of(int64_t revision, const struct cluster_program *all, size_t n)
{
	struct fate f = { 0 };

	for (size_t i = 0; i < n; i++) {
		bool up = all[i].age < CLUSTER_UP;
		f.used += up && all[i].revision == revision;
		if (!up || all[i].refused != revision)
			continue;
		f.refused++;
		f.problem = all[i].problem;
	}
	return f;
}

static void
put_revision(struct ctl *c, const struct conf_revision *r, const struct fate *f, bool first)
{
	if (!c->json) {
		fprintf(c->out, "%8" PRId64 "  %.*s  ", r->id, SLICE_FMT(r->created));
		ctl_put_text(c->out, r->author);
		fputs("  ", c->out);
		ctl_put_text(c->out, r->comment);
		if (f->used > 0)
			fprintf(c->out, "  [used by %zu]", f->used);
		if (f->refused > 0) {
			fprintf(c->out, "  [NOT USED by %zu: ", f->refused);
			ctl_put_text(c->out, f->problem);
			fputc(']', c->out);
		}
		fputc('\n', c->out);
		return;
	}
	fprintf(c->out, "%s{\"revision\": %" PRId64 ", \"created\": ", first ? "" : ",\n ", r->id);
	ctl_put_json(c->out, r->created);
	fputs(", \"author\": ", c->out);
	ctl_put_json(c->out, r->author);
	fputs(", \"comment\": ", c->out);
	ctl_put_json(c->out, r->comment);
	fprintf(c->out, ", \"used_by\": %zu, \"refused_by\": %zu, \"problem\": ", f->used, f->refused);
	ctl_put_json(c->out, f->problem);
	fputc('}', c->out);
}

enum ctl_exit
ctl_config_log(struct ctl *c, int argc, char **argv)
{
	static const struct option known[] = { { "most", required_argument, NULL, 'm' }, { NULL, 0, NULL, 0 } };
	struct conf_revision *list;
	struct cluster_program *programs;
	struct err e = { 0 }, ignored = { 0 };
	int64_t most = 20;
	size_t n, nprograms;
	int o;

	optind = 0;
	opterr = 0;
	while ((o = getopt_long(argc, argv, "", known, NULL)) != -1)
		if (o != 'm' || conv_number(slice_of(optarg), LOG_MOST, &most) < 0 || most == 0)
			return ctl_misused(c, argv[0], "--most wants a number from 1 to %d", LOG_MOST);
	if (optind != argc)
		return ctl_misused(c, argv[0], "no operand is wanted");
	if (ctl_db(c) == NULL)
		return CTL_FAILED;
	if (conf_history(c->db, c->a, (unsigned)most, &list, &n, &e) < 0)
		return ctl_failed(c, "reading the revisions", &e);
	fputs(c->json ? "[" : "", c->out);
	if (cluster_programs(c->db, c->a, &programs, &nprograms, &ignored) < 0)
		nprograms = 0;		/* the history is told all the same */
	for (size_t i = 0; i < n; i++) {
		const struct fate f = fate_of(list[i].id, programs, nprograms);
		put_revision(c, &list[i], &f, i == 0);
	}
	fputs(c->json ? "]\n" : n == 0 ? "no configuration has been published yet\n" : "", c->out);
	return CTL_OK;
}
