/* buf: bytes that grow up to a cap; the first failure sticks, so that a writer checks once. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "arena.h"

struct buf {
	char *p;
	size_t n, size, cap;
	bool failed;
};

/* Nothing is allocated yet. cap: the most it may hold. */
void buf_init(struct buf *b, size_t cap);
void buf_free(struct buf *b);
/* Empties it, keeps memory, forgets a failure. */
void buf_clear(struct buf *b);
void buf_put(struct buf *b, struct slice s);
void buf_puts(struct buf *b, const char *s);
void buf_putc(struct buf *b, char c);
/* Says what the character at the start of `rest` takes, in bytes; *instead, NULL before: what is written in its place. */
typedef size_t buf_escape(struct slice rest, const char **instead);
void buf_put_escaped(struct buf *b, struct slice s, buf_escape *escape);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Room for n more bytes to be written in place at b->p + b->n; NULL on failure. The caller adds
 * what it wrote to b->n. */
char *buf_room(struct buf *b, size_t n);
/* A view of the content, valid until the next write; absent when b has failed. */
struct slice buf_slice(const struct buf *b);
/* The buffer is freed when the arena ends; the struct itself must live that long (put it into the arena). */
int buf_defer(struct buf *b, struct arena *a);

#endif
