#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name, *code, *da, *en;
} kinds[ERR_KINDS] = {
	{ "NONE", "", "", "" },
#define E(name, code, da, en) { #name, code, da, en },
#include "err.def"
#undef E
};

int
err_set_at(struct err *e, enum err_kind kind, const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	if (e->kind != ERR_NONE)
		return -1;
	e->kind = kind;
	e->file = file;
	e->line = line;
	va_start(ap, fmt);
	vsnprintf(e->detail, sizeof e->detail, fmt, ap);
	va_end(ap);
	return -1;
}

/* A text that was cut in the middle of a UTF-8 character loses that character. */
static void
drop_half_character(char *s)
{
	size_t n = strlen(s), i = n;

	while (i > 0 && ((unsigned char)s[i - 1] & 0xC0) == 0x80)
		i--;
	if (i == 0)
		return;
	unsigned char lead = (unsigned char)s[i - 1];
	size_t want = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
	if (n - (i - 1) < want)
		s[i - 1] = '\0';
}

int
err_say(struct err *e, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e->said, sizeof e->said, fmt, ap);
	va_end(ap);
	drop_half_character(e->said);
	for (char *c = e->said; *c != '\0'; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = ' ';
	return -1;
}

void
err_clear(struct err *e)
{
	*e = (struct err){ .kind = ERR_NONE };
}

const char *
err_name(enum err_kind kind)
{
	return kinds[kind].name;
}

const char *
err_code(enum err_kind kind)
{
	return kinds[kind].code;
}

const char *
err_text(enum err_kind kind, bool danish)
{
	return danish ? kinds[kind].da : kinds[kind].en;
}
