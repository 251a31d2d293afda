/* The rules of mission 5.3, as one program sees the others. N is its own format of a kind; it reads N - 1 and N and
 * writes one of them. Another at M, which writes W, can work beside it when
 *	M >= N - 1	it reads what we write at first,
 *	M <= N + 1	we read what it writes at least,
 *	N - 1 <= W <= N	we read what it writes now.
 * Our own predecessor counts in this as the others do: what it wrote is in the cache and in the journals. */
#include "cluster.h"

#include "formats.h"

#include <inttypes.h>
#include <stdio.h>

/* One kind of what is shared. written 0: what is kept is not written by programs. */
struct kind { const char *name; int own, theirs, written; };

static bool
is_own_row(const struct cluster_program *self, const struct cluster_program *other)
{
	return slice_eq(self->server, other->server) && slice_eq(self->program, other->program);
}

static const char *
ago(const struct cluster_program *p, char *out, size_t size)
{
	if (p->age < 0)
		snprintf(out, size, "the database is away");
	else
		snprintf(out, size, "seen %" PRId64 " s ago", p->age);
	return out;
}

static int
refuse(const struct cluster_program *other, const struct kind *k, struct err *e)
{
	bool older = k->theirs < k->own;
	char when[40], what[80], wait[40] = "";

	if (k->theirs >= format_before(k->own) && k->theirs <= k->own + 1)
		snprintf(what, sizeof what, "writes %s format %d", k->name, k->written);
	else
		snprintf(what, sizeof what, "reads %s formats up to %d", k->name, k->theirs);
	if (other->age >= 0)
		snprintf(wait, sizeof wait, " (or wait %.1f h)", (double)(CLUSTER_COUNTS - other->age) / 3600);
	return err_set(e, ERR_CONFIG, "%.40s (%.30s, %s) %s, this program reads %d to %d: use %s; if it is gone for good: "
	    "sosigwctl cluster forget %.40s%s", other->server.p, other->program.p, ago(other, when, sizeof when), what,
	    format_before(k->own), k->own, older ? "a version in between first" : "a newer version", other->server.p, wait);
}

static bool
fits(const struct kind *k)
{
	return k->theirs >= format_before(k->own) && k->theirs <= k->own + 1 &&
	    (k->written == 0 || format_is_read(k->own, k->written));
}

int
formats_check(const struct cluster_program *self, const struct cluster_program *all, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		const struct kind kinds[] = {
			{ "card", self->card_format, all[i].card_format, all[i].card_written },
			{ "journal", self->journal_format, all[i].journal_format, all[i].journal_written },
			{ "configuration", self->config_format, all[i].config_format, 0 },
		};
		for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
			if (!fits(&kinds[k]))
				return refuse(&all[i], &kinds[k], e);
	}
	return 0;
}

int
formats_check_kept(const struct cluster_program *self, const struct cluster_kept *kept, size_t n, struct err *e)
{
	char wait[60] = "";

	for (size_t i = 0; i < n; i++) {
		if (format_is_read(self->card_format, kept[i].format))
			continue;
		if (kept[i].ago >= 0)
			snprintf(wait, sizeof wait, ", which takes %.1f h", (double)(CLUSTER_COUNTS - kept[i].ago) / 3600);
		return err_set(e, ERR_CONFIG, "cards of format %d may still be in use, this program reads %d to %d: use a version "
		    "in between until they have ended%s", kept[i].format, format_before(self->card_format), self->card_format,
		    wait);
	}
	return 0;
}

void
formats_choose(struct cluster_program *self, const struct cluster_program *all, size_t n)
{
	self->card_written = self->card_format;
	self->journal_written = self->journal_format;
	for (size_t i = 0; i < n; i++) {
		if (is_own_row(self, &all[i]))
			continue;	/* what it read matters no more */
		if (all[i].card_format < self->card_format)
			self->card_written = format_before(self->card_format);
		if (all[i].journal_format < self->journal_format)
			self->journal_written = format_before(self->journal_format);
	}
}
