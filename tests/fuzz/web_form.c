/* What a browser posts, and its cookies: whatever the bytes, no name stands twice, every value is UTF-8 without NUL, and writing what was
 * read and reading that gives the same again. */
#include "conv.h"
#include "must.h"
#include "web.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
put_escaped(struct buf *b, struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		buf_printf(b, "%%%02x", (unsigned char)s.p[i]);
}

static void
check(struct arena *a, const struct web_form *f)
{
	struct web_form again;
	struct err e = { 0 };
	struct buf b;

	buf_init(&b, 4 << 20);
	for (size_t i = 0; i < f->n; i++) {
		const struct web_field *x = &f->fields[i];
		must(conv_is_utf8(x->name) && conv_is_utf8(x->value));
		must(memchr(x->name.p, '\0', x->name.n) == NULL && memchr(x->value.p, '\0', x->value.n) == NULL);
		for (size_t j = 0; j < i; j++)
			must(!slice_eq(f->fields[j].name, x->name));
		if (i > 0)
			buf_putc(&b, '&');
		put_escaped(&b, x->name);
		buf_putc(&b, '=');
		put_escaped(&b, x->value);
	}
	must(web_form_parse(a, buf_slice(&b), &again, &e) == 0 && again.n == f->n);
	for (size_t i = 0; i < f->n; i++)
		must(slice_eq(again.fields[i].name, f->fields[i].name) && slice_eq(again.fields[i].value, f->fields[i].value));
	buf_free(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = { (const char *)data, size };
	struct arena *a = arena_new(16 << 20);
	struct web_form f;
	struct err e = { 0 };

	must(a != NULL);
	if (size <= 64 << 10 && web_form_parse(a, in, &f, &e) == 0)
		check(a, &f);
	struct slice cookie = web_cookie(in, "__Host-sosigw-sign");
	must(cookie.p == NULL || (slice_find(cookie, S(";")) < 0 && slice_find(in, S("__Host-sosigw-sign=")) >= 0));
	arena_free(a);
	return 0;
}
