#include "web.h"

#include "conv.h"
#include "uri.h"

static int
decode(struct arena *a, struct slice text, struct slice *out, struct err *e)
{
	char *p = arena_alloc(a, text.n + 1);
	size_t n;

	if (p == NULL)
		return err_set(e, ERR_MEMORY, "form");
	if (uri_unescape(text, p, text.n + 1, &n) < 0 || !conv_is_utf8((struct slice){ p, n }))
		return err_set(e, ERR_FORM, "a field cannot be read");
	*out = (struct slice){ p, n };
	return 0;
}

static int
add(struct web_form *f, struct web_field field, struct err *e)
{
	for (size_t i = 0; i < f->n; i++)
		if (slice_eq(f->fields[i].name, field.name))
			return err_set(e, ERR_FORM, "the field \"%.*s\" twice", SLICE_FMT(field.name));
	if (f->n == WEB_FIELDS_MAX)
		return err_set(e, ERR_FORM, "more than %d fields", WEB_FIELDS_MAX);
	f->fields[f->n++] = field;
	return 0;
}

int
web_form_parse(struct arena *a, struct slice text, struct web_form *out, struct err *e)
{
	struct slice piece, name;

	out->n = 0;
	while (slice_next(&text, '&', &piece)) {
		struct web_field field;
		if (piece.n == 0)
			continue;
		slice_next(&piece, '=', &name);
		if (decode(a, name, &field.name, e) < 0 ||
		    decode(a, piece.p == NULL ? S("") : piece, &field.value, e) < 0 || add(out, field, e) < 0)
			return -1;
	}
	return 0;
}

struct slice
web_form_value(const struct web_form *f, const char *name)
{
	for (size_t i = 0; i < f->n; i++)
		if (slice_is(f->fields[i].name, name))
			return f->fields[i].value;
	return (struct slice){ NULL, 0 };
}

int
web_form_read(struct req *r, size_t most, struct web_form *out, struct err *e)
{
	struct slice type = req_param(r, "CONTENT_TYPE"), essence = { NULL, 0 }, body;

	out->n = 0;
	if (req_read_all(r, most, &body, e) < 0)
		return -1;
	slice_next(&type, ';', &essence);
	if (!slice_is_nocase(slice_trim(essence), "application/x-www-form-urlencoded"))
		return err_set(e, ERR_FORM, "content type \"%.*s\"", SLICE_FMT(essence));
	return web_form_parse(req_arena(r), body, out, e);
}
