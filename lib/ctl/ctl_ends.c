/* How old a server's lists of revoked certificates are and when the certificates that it uses end, from what its housekeeper
 * has told (schema/009). What another version tells that we do not know is left out. */
#include "ctl.h"

#include "clock.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

#define DAY 86400
#define LAST_DAYS 30

static json_int_t
number(const json_t *o, const char *name)
{
	return json_integer_value(json_object_get(o, name));	/* 0 for null */
}

static struct slice
text(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	return slice_of(s == NULL ? "" : s);
}

/* A certificate that ended an hour ago has not 0 days left. */
static int64_t
days_left(int64_t ends)
{
	int64_t left = ends - clock_now();

	return left >= 0 ? left / DAY : -((DAY - 1 - left) / DAY);
}

/* ---- in words */

static void
put_list(FILE *f, const json_t *list)
{
	int64_t updated = number(list, "updated"), late = clock_now() - number(list, "next");

	fputs("    list ", f);
	ctl_put_text(f, text(list, "url"));
	if (updated == 0) {
		fputs(" IS NOT THERE\n", f);
		return;
	}
	fputs(" is ", f);
	ctl_put_age(f, clock_now() - updated);
	fputs(" old", f);
	if (late > 0) {
		fputs(", OVERDUE for ", f);
		ctl_put_age(f, late);
	}
	fputc('\n', f);
}

static void
put_certificate(FILE *f, const json_t *cert, json_int_t count, size_t i)
{
	int64_t ends = number(cert, "ends"), left = days_left(ends);

	/* those that end first come first */
	if (ends != 0 && left >= LAST_DAYS && i > 0)
		return;
	if (i == 0)
		fprintf(f, "    certificates: %" JSON_INTEGER_FORMAT "; the first to end:\n", count);
	fputs("        ", f);
	ctl_put_text(f, text(cert, "use"));
	if (ends == 0) {
		fputs(" CANNOT BE READ\n", f);
		return;
	}
	fputs(" (", f);
	ctl_put_text(f, text(cert, "subject"));
	if (left < 0)
		fprintf(f, ") HAS ENDED %" PRId64 " days ago\n", -left);
	else
		fprintf(f, ")%s %" PRId64 " days left\n", left < LAST_DAYS ? " ENDS:" : "", left);
}

void
ctl_put_ends(struct ctl *c, struct slice ends)
{
	json_t *whole = ends.p == NULL ? NULL : json_loadb(ends.p, ends.n, 0, NULL);
	const json_t *lists = json_object_get(whole, "lists"), *certificates = json_object_get(whole, "certificates");

	for (size_t i = 0; i < json_array_size(lists); i++)
		put_list(c->out, json_array_get(lists, i));
	for (size_t i = 0; i < json_array_size(certificates); i++)
		put_certificate(c->out, json_array_get(certificates, i), number(whole, "count"), i);
	json_decref(whole);
}

/* ---- as JSON */

static void
put_array(FILE *f, const char *name, const json_t *array)
{
	char *dumped = json_is_array(array) ? json_dumps(array, 0) : NULL;

	fprintf(f, ", \"%s\": %s", name, dumped == NULL ? "null" : dumped);
	free(dumped);
}

void
ctl_put_ends_json(struct ctl *c, struct slice ends)
{
	json_t *whole = ends.p == NULL ? NULL : json_loadb(ends.p, ends.n, 0, NULL);
	const json_t *lists = json_object_get(whole, "lists"), *certificates = json_object_get(whole, "certificates");
	int64_t now = clock_now();

	for (size_t i = 0; i < json_array_size(lists); i++) {
		json_t *one = json_array_get(lists, i);
		int64_t updated = number(one, "updated"), late = now - number(one, "next");
		json_object_set_new(one, "age_seconds", updated == 0 ? json_null() : json_integer(now - updated));
		json_object_set_new(one, "overdue_seconds", updated == 0 ? json_null() : json_integer(late > 0 ? late : 0));
	}
	for (size_t i = 0; i < json_array_size(certificates); i++) {
		json_t *one = json_array_get(certificates, i);
		int64_t end = number(one, "ends");
		json_object_set_new(one, "days_left", end == 0 ? json_null() : json_integer(days_left(end)));
	}
	put_array(c->out, "revocation_lists", lists);
	put_array(c->out, "certificates", certificates);
	if (whole == NULL)
		fputs(", \"certificates_count\": null", c->out);
	else
		fprintf(c->out, ", \"certificates_count\": %" JSON_INTEGER_FORMAT, number(whole, "count"));
	json_decref(whole);
}
