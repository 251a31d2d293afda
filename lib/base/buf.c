#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
buf_init(struct buf *b, size_t cap)
{
	*b = (struct buf){ .cap = cap };
}

void
buf_free(struct buf *b)
{
	free(b->p);
	*b = (struct buf){ .cap = b->cap };
}

void
buf_clear(struct buf *b)
{
	b->n = 0;
	b->failed = false;
}

char *
buf_room(struct buf *b, size_t n)
{
	if (b->failed || n > b->cap - b->n) {
		b->failed = true;
		return NULL;
	}
	if (b->p == NULL || n > b->size - b->n) {
		size_t size = b->size < 256 ? 256 : b->size;
		while (size < b->n + n)
			size *= 2;
		if (size > b->cap)
			size = b->cap > 0 ? b->cap : 1;
		char *p = realloc(b->p, size);
		if (p == NULL) {
			b->failed = true;
			return NULL;
		}
		b->p = p;
		b->size = size;
	}
	return b->p + b->n;
}

void
buf_put(struct buf *b, struct slice s)
{
	if (s.p == NULL || s.n == 0)
		return;
	char *room = buf_room(b, s.n);
	if (room != NULL) {
		memcpy(room, s.p, s.n);
		b->n += s.n;
	}
}

void
buf_puts(struct buf *b, const char *s)
{
	buf_put(b, slice_of(s));
}

void
buf_putc(struct buf *b, char c)
{
	buf_put(b, (struct slice){ &c, 1 });
}

void
buf_put_escaped(struct buf *b, struct slice s, buf_escape *escape)
{
	size_t plain = 0;	/* bytes that have been passed and can go out as they are */

	while (plain < s.n) {
		const char *instead = NULL;
		size_t n = escape(slice_from(s, plain), &instead);
		if (instead == NULL) {
			plain += n;
			continue;
		}
		buf_put(b, (struct slice){ s.p, plain });
		buf_puts(b, instead);
		s = slice_from(s, plain + n);
		plain = 0;
	}
	buf_put(b, s);
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;

	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	char *text = n < 0 ? NULL : malloc((size_t)n + 1);
	if (text == NULL) {
		b->failed = true;
	} else {
		vsnprintf(text, (size_t)n + 1, fmt, again);
		buf_put(b, (struct slice){ text, (size_t)n });
	}
	va_end(again);
	free(text);
}

struct slice
buf_slice(const struct buf *b)
{
	if (b->failed)
		return (struct slice){ NULL, 0 };
	return b->p == NULL ? S("") : (struct slice){ b->p, b->n };
}

static void
free_deferred(void *b)
{
	buf_free(b);
}

int
buf_defer(struct buf *b, struct arena *a)
{
	return arena_defer(a, free_deferred, b);
}
