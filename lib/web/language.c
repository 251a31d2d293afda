#include "web.h"

/* The q of "q=0.8" in thousandths; 1000 when there is none. */
static int
quality(struct slice parameters)
{
	struct slice p;
	int q = 0, unit = 1000;

	while (slice_next(&parameters, ';', &p)) {
		p = slice_trim(p);
		if (!slice_starts(p, S("q=")))
			continue;
		for (size_t i = 2; i < p.n && unit > 0; i++) {
			if (p.p[i] < '0' || p.p[i] > '9')
				continue;
			q += (p.p[i] - '0') * unit;
			unit /= 10;
		}
		return q;
	}
	return 1000;
}

static bool
is_language(struct slice tag, const char *name)
{
	struct slice primary = { NULL, 0 };

	slice_next(&tag, '-', &primary);
	return slice_is_nocase(primary, name);
}

bool
web_is_danish(struct slice query, struct slice accept_language, bool otherwise)
{
	int danish = 0, english = 0;
	struct slice item, tag;

	while (slice_next(&query, '&', &item)) {
		if (slice_is(item, "lang=da") || slice_is(item, "lang=en"))
			return slice_is(item, "lang=da");
	}
	while (slice_next(&accept_language, ',', &item)) {
		slice_next(&item, ';', &tag);
		tag = slice_trim(tag);
		int q = quality(item);
		if (is_language(tag, "da") && q > danish)
			danish = q;
		else if (is_language(tag, "en") && q > english)
			english = q;
	}
	return danish == english ? otherwise : danish > english;
}
