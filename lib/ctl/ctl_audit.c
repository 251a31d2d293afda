/* The events of the audit trail: search, follow, export. What is shown was sent by strangers: nothing of it reaches the terminal
 * that could steer it. */
#include "ctl.h"

#include "audit.h"
#include "clock.h"
#include "conv.h"

#include <getopt.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SEARCH_MOST 100
#define TAIL_MOST 10
#define MOST 10000
#define PAGE_ARENA ((size_t)256 << 20)
#define POLL_MS 1000
#define EXPORT_STATEMENT_MS (3600 * 1000)

/* ---- what is asked for */

struct asked {
	struct audit_query q;
	bool follow;
};

/* A point in time: as DGWS writes it, a date, a date and "hh:mm", or "90s", "15m", "8h", "7d": so long ago. */
static int
read_time(struct ctl *c, const char *text, int64_t *ms)
{
	static const struct { char unit; int64_t seconds; } units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
	static const char *const rest[] = { "", "T00:00:00", ":00" };
	struct slice s = slice_of(text);
	int64_t t, n;

	for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
		if (clock_parse(arena_printf(c->a, "%s%s", text, rest[i]), &t) == 0) {
			*ms = t * 1000;
			return 0;
		}
	for (size_t i = 0; i < sizeof units / sizeof *units; i++)
		if (s.n > 1 && s.p[s.n - 1] == units[i].unit &&
		    conv_number((struct slice){ s.p, s.n - 1 }, 100000000, &n) == 0) {
			*ms = clock_now_ms() - n * units[i].seconds * 1000;
			return 0;
		}
	return -1;
}

static bool
is_one_of(const char *text, const char *const *words)
{
	while (*words != NULL && strcmp(*words, text) != 0)
		words++;
	return *words != NULL;
}

/* One option. NULL, or what is wrong with it. */
static const char *
take(struct ctl *c, struct asked *k, int option, const char *value)
{
	static const char *const statuses[] = { "open", "ok", "refused", "failed", "unknown", NULL };
	static const char *const kinds[] = { "proxy", "service", "browser", "admin", NULL };
	const struct { int option; struct slice *to; } texts[] = {
		{ 'u', &k->q.user }, { 'c', &k->q.client }, { 's', &k->q.service }, { 'S', &k->q.status }, { 'k', &k->q.kind },
		{ 'r', &k->q.request_id }, { 'C', &k->q.card_id }, { 'a', &k->q.address },
	};
	int64_t most;

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (texts[i].option == option)
			*texts[i].to = slice_of(value);
	switch (option) {
	case 'S':
		return is_one_of(value, statuses) ? NULL : "--status is open, ok, refused, failed or unknown";
	case 'k':
		return is_one_of(value, kinds) ? NULL : "--kind is proxy, service, browser or admin";
	case 'F':
	case 'T':
		return read_time(c, value, option == 'F' ? &k->q.from_ms : &k->q.to_ms) == 0 ? NULL :
		    "a time is 2026-05-14T10:00:00Z, 2026-05-14T10:00 or 2026-05-14 (Danish time), or 15m, 8h, 7d (ago)";
	case 'n':
		if (conv_number(slice_of(value), MOST, &most) < 0 || most == 0)
			return "--most wants a number from 1 to 10000";
		k->q.most = (unsigned)most;
		return NULL;
	case 'f':
		k->follow = true;
		return NULL;
	default:
		return option == '?' ? "an option is not known here, or lacks its value" : NULL;
	}
}

static enum ctl_exit
options(struct ctl *c, int argc, char **argv, const char *shorts, struct asked *k)
{
	static const struct option known[] = {
		{ "user", required_argument, NULL, 'u' }, { "client", required_argument, NULL, 'c' },
		{ "service", required_argument, NULL, 's' }, { "status", required_argument, NULL, 'S' },
		{ "kind", required_argument, NULL, 'k' }, { "request", required_argument, NULL, 'r' },
		{ "card", required_argument, NULL, 'C' }, { "address", required_argument, NULL, 'a' },
		{ "from", required_argument, NULL, 'F' }, { "to", required_argument, NULL, 'T' },
		{ "most", required_argument, NULL, 'n' }, { NULL, 0, NULL, 0 },
	};

	optind = 0;
	opterr = 0;
	for (int o; (o = getopt_long(argc, argv, shorts, known, NULL)) != -1;) {
		const char *wrong = take(c, k, o, optarg);
		if (wrong != NULL)
			return ctl_misused(c, argv[0], "%s", wrong);
	}
	return optind == argc ? CTL_OK : ctl_misused(c, argv[0], "no operand is wanted");
}

/* ---- how it is shown */

/* Bytes of a character at p that would turn the direction of what follows, or break the line: U+200E, U+200F,
 * U+2028 to U+202E, U+2066 to U+2069. */
static size_t
turns_text(const unsigned char *p, size_t n)
{
	if (n < 3 || p[0] != 0xe2)
		return 0;
	bool bad = (p[1] == 0x80 && (p[2] == 0x8e || p[2] == 0x8f || (p[2] >= 0xa8 && p[2] <= 0xae))) ||
	    (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9);
	return bad ? 3 : 0;
}

/* Quoted when it could be mistaken for what stands around it. */
static void
put_value(FILE *f, struct slice v)
{
	bool quoted = v.n == 0;

	for (size_t i = 0; i < v.n; i++)
		quoted |= v.p[i] == ' ' || v.p[i] == '"' || v.p[i] == '\\';
	fputs(quoted ? "\"" : "", f);
	for (size_t i = 0; i < v.n;) {
		const unsigned char *p = (const unsigned char *)v.p + i;
		size_t turns = turns_text(p, v.n - i);
		bool c1 = *p == 0xc2 && i + 1 < v.n && p[1] < 0xa0;
		if (*p == '"' || *p == '\\')
			fputc('\\', f);
		fputc(*p < 0x20 || *p == 0x7f || c1 || turns > 0 ? '?' : *p, f);
		i += turns > 0 ? turns : c1 ? 2 : 1;
	}
	fputs(quoted ? "\"" : "", f);
}

static void
put_named(FILE *f, const char *name, struct slice v)
{
	if (v.p == NULL)
		return;
	fprintf(f, " %s=", name);
	put_value(f, v);
}

/* In the time zone of whoever looks. */
static void
put_time(FILE *f, struct slice iso)
{
	char text[32];
	struct tm tm;
	int64_t t;

	if (clock_parse(iso, &t) < 0 || iso.n < 24 || localtime_r(&(time_t){ (time_t)t }, &tm) == NULL) {
		put_value(f, iso);
		return;
	}
	strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
	fprintf(f, "%s.%.3s", text, iso.p + iso.n - 4);
}

static void
put_line(FILE *f, const struct audit_row *r)
{
	put_time(f, r->time);
	fprintf(f, " %-7.*s %-7.*s", SLICE_FMT(r->kind), SLICE_FMT(r->status));
	put_named(f, "user", r->user);
	put_named(f, "client", r->client);
	put_named(f, "operation", r->operation);
	put_named(f, "service", r->service);
	/* of a refused call, where it was to go */
	if (r->service.p == NULL)
		put_named(f, "endpoint", r->endpoint);
	put_named(f, "reason", r->reason);
	put_named(f, "http", r->http_status);
	if (r->duration_ms.p != NULL)
		fprintf(f, " %.*s ms", SLICE_FMT(r->duration_ms));
	put_named(f, "address", r->address);
	put_named(f, "card", r->card_id);
	/* single sign-on: the user signed in elsewhere */
	if (!slice_eq(r->card_client, r->client))
		put_named(f, "signed-in-by", r->card_client);
	put_named(f, "request", r->request_id);
	put_named(f, "server", r->server);
	fputc('\n', f);
}

/* A row's values under the names that JSON and CSV give them. */
#define COLUMNS 21
struct column { const char *name; struct slice value; bool number; };

static void
columns(const struct audit_row *r, char id[24], struct column out[COLUMNS])
{
	snprintf(id, 24, "%" PRId64, r->id);
	const struct column all[COLUMNS] = {
		{ "id", slice_of(id), true }, { "time", r->time, false }, { "server", r->server, false }, { "kind", r->kind, false },
		{ "status", r->status, false }, { "request_id", r->request_id, false }, { "client", r->client, false },
		{ "organisation", r->organisation, false }, { "user", r->user, false }, { "system", r->system, false },
		{ "address", r->address, false }, { "operation", r->operation, false }, { "service", r->service, false },
		{ "endpoint", r->endpoint, false }, { "card_id", r->card_id, false }, { "card_client", r->card_client, false },
		{ "reason", r->reason, false },
		{ "http_status", r->http_status, true }, { "duration_ms", r->duration_ms, true }, { "bytes_in", r->bytes_in, true },
		{ "bytes_out", r->bytes_out, true },
	};
	memcpy(out, all, sizeof all);
}

static void
put_json(FILE *f, const struct audit_row *r)
{
	struct column c[COLUMNS];
	char id[24];

	columns(r, id, c);
	for (size_t i = 0; i < COLUMNS; i++) {
		fprintf(f, "%s\"%s\": ", i == 0 ? "{" : ", ", c[i].name);
		if (c[i].number && c[i].value.p != NULL)
			fwrite(c[i].value.p, 1, c[i].value.n, f);
		else
			ctl_put_json(f, c[i].value);
	}
	fputc('}', f);
}

/* RFC 4180. Absent is nothing, empty is "". A text that a spreadsheet would take for a formula begins with an apostrophe. */
static void
put_csv(FILE *f, const struct column *c)
{
	if (c->value.p == NULL)
		return;
	if (c->number) {
		fwrite(c->value.p, 1, c->value.n, f);
		return;
	}
	fputc('"', f);
	if (c->value.n > 0 && strchr("=+-@", c->value.p[0]) != NULL)
		fputc('\'', f);
	for (size_t i = 0; i < c->value.n; i++) {
		if (c->value.p[i] == '"')
			fputc('"', f);
		fputc(c->value.p[i], f);
	}
	fputc('"', f);
}

/* ---- audit search */

enum ctl_exit
ctl_audit_search(struct ctl *c, int argc, char **argv)
{
	struct asked k = { .q.most = SEARCH_MOST };
	struct audit_row *rows;
	struct err e = { 0 };
	size_t n;

	enum ctl_exit wrong = options(c, argc, argv, "", &k);
	if (wrong != CTL_OK)
		return wrong;
	if (ctl_db(c) == NULL)
		return CTL_FAILED;
	if (audit_search(c->db, c->a, &k.q, &rows, &n, &e) < 0)
		return ctl_failed(c, "searching the audit trail", &e);
	fputs(c->json ? "[" : "", c->out);
	for (size_t i = 0; i < n; i++) {
		if (!c->json) {
			put_line(c->out, &rows[i]);
			continue;
		}
		fputs(i == 0 ? "" : ",\n ", c->out);
		put_json(c->out, &rows[i]);
	}
	fputs(c->json ? "]\n" : "", c->out);
	if (n == k.q.most)
		fprintf(c->errs, "sosigwctl: the newest %u are shown; there may be more (--most, --to)\n", k.q.most);
	return CTL_OK;
}

/* ---- audit tail */

/* Shows what the query finds, oldest first; *last is the newest change that was shown. */
static int
show_next(struct ctl *c, struct audit_query *q, size_t *n, struct err *e)
{
	struct arena *a = arena_new(PAGE_ARENA);
	struct audit_row *rows;
	int64_t last = q->after_id;

	if (a == NULL || audit_search(c->db, a, q, &rows, n, e) < 0) {
		arena_free(a);
		return a == NULL ? err_set(e, ERR_MEMORY, "audit") : -1;
	}
	for (size_t i = 0; i < *n; i++) {
		const struct audit_row *r = &rows[q->after_id > 0 ? i : *n - 1 - i];
		if (c->json) {
			put_json(c->out, r);
			fputc('\n', c->out);
		} else {
			put_line(c->out, r);
		}
		last = r->id > last ? r->id : last;
	}
	q->after_id = last;
	arena_free(a);
	return fflush(c->out) == 0 ? 0 : err_set(e, ERR_INVALID, "nobody reads this any more");
}

/* Until it is interrupted or nobody reads. A database that goes away comes back. */
static enum ctl_exit
follow(struct ctl *c, struct audit_query *q)
{
	bool away = false;

	for (;;) {
		struct err e = { 0 };
		size_t n = 0;
		if (show_next(c, q, &n, &e) < 0) {
			if (e.kind != ERR_DATABASE)
				return ctl_failed(c, "following the audit trail", &e);
			if (!away)
				ctl_failed(c, "following the audit trail", &e);
			away = true;
		} else {
			away = false;
		}
		if (n < q->most)
			usleep(POLL_MS * 1000);
	}
}

enum ctl_exit
ctl_audit_tail(struct ctl *c, int argc, char **argv)
{
	struct asked k = { .q.most = TAIL_MOST };
	struct err e = { 0 };
	size_t n;

	enum ctl_exit wrong = options(c, argc, argv, "f", &k);
	if (wrong != CTL_OK)
		return wrong;
	if (ctl_db(c) == NULL)
		return CTL_FAILED;
	if (show_next(c, &k.q, &n, &e) < 0)
		return ctl_failed(c, "reading the audit trail", &e);
	k.q.most = MOST;
	return k.follow ? follow(c, &k.q) : CTL_OK;
}

/* ---- audit export */

static void
put_csv_names(FILE *f)
{
	static const struct audit_row none = { .id = 0 };
	struct column c[COLUMNS];
	char id[24];

	columns(&none, id, c);
	for (size_t i = 0; i < COLUMNS; i++)
		fprintf(f, "%s%s", c[i].name, i + 1 < COLUMNS ? "," : "\r\n");
}

static int
put_exported(void *ctx, const struct audit_row *r, struct err *e)
{
	const struct ctl *c = ctx;
	struct column all[COLUMNS];
	char id[24];

	if (c->json) {
		put_json(c->out, r);
		fputc('\n', c->out);
	} else {
		columns(r, id, all);
		for (size_t i = 0; i < COLUMNS; i++) {
			put_csv(c->out, &all[i]);
			fputs(i + 1 < COLUMNS ? "," : "\r\n", c->out);
		}
	}
	return ferror(c->out) ? err_set(e, ERR_INVALID, "the output could not be written") : 0;
}

enum ctl_exit
ctl_audit_export(struct ctl *c, int argc, char **argv)
{
	struct asked k = { .q.most = 0 };
	struct err e = { 0 };

	enum ctl_exit wrong = options(c, argc, argv, "", &k);
	if (wrong != CTL_OK)
		return wrong;
	struct db *db = ctl_patient_db(c, EXPORT_STATEMENT_MS);
	if (db == NULL)
		return CTL_FAILED;
	if (!c->json)
		put_csv_names(c->out);
	int rc = audit_export(db, &k.q, put_exported, c, &e);
	db_free(db);
	return rc < 0 ? ctl_failed(c, "exporting the audit trail", &e) : CTL_OK;
}
