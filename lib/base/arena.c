/* Blocks of growing size in a list; deferred clean-ups and secrets are a list of their own,
 * kept in the arena itself. */
#include "arena.h"

#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_BLOCK 8192

struct block {
	struct block *next;
	size_t size, used;
	alignas(max_align_t) char data[];
};

struct deferred {
	struct deferred *next;
	void (*fn)(void *);
	void *p;
	size_t wipe;	/* bytes of a secret at p, or 0 */
};

struct arena {
	struct block *blocks;	/* newest first; the last one is kept by arena_reset */
	struct deferred *deferred;
	size_t cap, used;
};

static _Thread_local unsigned long fail_at;

void
arena_fail_at(unsigned long n)
{
	fail_at = n;
}

static bool
made_to_fail(void)
{
	return fail_at != 0 && --fail_at == 0;
}

struct arena *
arena_new(size_t cap)
{
	struct arena *a = calloc(1, sizeof *a);

	if (a != NULL)
		a->cap = cap;
	return a;
}

static void
run_deferred(struct arena *a)
{
	while (a->deferred != NULL) {
		struct deferred *d = a->deferred;
		a->deferred = d->next;
		if (d->wipe != 0)
			OPENSSL_cleanse(d->p, d->wipe);
		else
			d->fn(d->p);
	}
}

void
arena_free(struct arena *a)
{
	if (a == NULL)
		return;
	run_deferred(a);
	for (struct block *b = a->blocks, *next; b != NULL; b = next) {
		next = b->next;
		free(b);
	}
	free(a);
}

void
arena_reset(struct arena *a)
{
	run_deferred(a);
	while (a->blocks != NULL && a->blocks->next != NULL) {
		struct block *b = a->blocks;
		a->blocks = b->next;
		free(b);
	}
	if (a->blocks != NULL)
		a->blocks->used = 0;
	a->used = 0;
}

static struct block *
add_block(struct arena *a, size_t n)
{
	size_t size = a->blocks == NULL ? FIRST_BLOCK : a->blocks->size * 2;

	if (size > (1u << 20))
		size = 1u << 20;
	if (size < n)
		size = n;
	struct block *b = malloc(sizeof *b + size);
	if (b == NULL)
		return NULL;
	b->size = size;
	b->used = 0;
	b->next = a->blocks;
	a->blocks = b;
	return b;
}

void *
arena_alloc(struct arena *a, size_t n)
{
	size_t need = (n + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);

	if (need < n || need > a->cap - a->used || made_to_fail())
		return NULL;
	struct block *b = a->blocks;
	if (b == NULL || b->size - b->used < need)
		b = add_block(a, need);
	if (b == NULL)
		return NULL;
	void *p = b->data + b->used;
	b->used += need;
	a->used += need;
	return memset(p, 0, n);
}

static int
defer(struct arena *a, void (*fn)(void *), void *p, size_t wipe)
{
	struct deferred *d = arena_alloc(a, sizeof *d);

	if (d == NULL)
		return -1;
	*d = (struct deferred){ a->deferred, fn, p, wipe };
	a->deferred = d;
	return 0;
}

int
arena_defer(struct arena *a, void (*fn)(void *), void *p)
{
	if (defer(a, fn, p, 0) == 0)
		return 0;
	fn(p);
	return -1;
}

void *
arena_secret(struct arena *a, size_t n)
{
	void *p = arena_alloc(a, n);

	return p == NULL || n == 0 || defer(a, NULL, p, n) == 0 ? p : NULL;
}

struct slice
arena_dup(struct arena *a, struct slice s)
{
	if (s.p == NULL)
		return s;
	char *p = arena_alloc(a, s.n + 1);
	if (p == NULL)
		return (struct slice){ NULL, 0 };
	memcpy(p, s.p, s.n);
	return (struct slice){ p, s.n };
}

char *
arena_cstr(struct arena *a, struct slice s)
{
	/* arena_dup's copy is ours to hand out as writable */
	return (char *)(uintptr_t)arena_dup(a, s).p;
}

struct slice
arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap, again;
	char first[256];	/* most fit, and need not be written twice */

	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(first, sizeof first, fmt, ap);
	va_end(ap);
	char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
	if (p != NULL && (size_t)n < sizeof first)
		memcpy(p, first, (size_t)n + 1);
	else if (p != NULL)
		vsnprintf(p, (size_t)n + 1, fmt, again);
	va_end(again);
	return p == NULL ? (struct slice){ NULL, 0 } : (struct slice){ p, (size_t)n };
}

size_t
arena_used(const struct arena *a)
{
	return a->used;
}
