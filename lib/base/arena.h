/* arena: the memory of one request (or one job); freed all at once, with a cap. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "slice.h"

struct arena;

/* cap: the most bytes it will ever hand out. NULL when memory ends. */
struct arena *arena_new(size_t cap);
/* Runs what was deferred, last first, wipes secrets, frees. NULL is allowed. */
void arena_free(struct arena *a);
/* As arena_free, but the arena can be used again and keeps its first block. */
void arena_reset(struct arena *a);

/* Zeroed, aligned for any object. NULL when the cap or memory is reached. */
void *arena_alloc(struct arena *a, size_t n);
/* Like arena_alloc, wiped when the arena ends. */
void *arena_secret(struct arena *a, size_t n);
/* A copy with a NUL behind it; .p == NULL on failure or when s is absent. */
struct slice arena_dup(struct arena *a, struct slice s);
/* A NUL-terminated copy; NULL on failure or when s is absent. */
char *arena_cstr(struct arena *a, struct slice s);
/* Formatted text; .p == NULL on failure. */
struct slice arena_printf(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* fn(p) runs when the arena ends. When that cannot be noted, fn(p) runs at once and -1 is
 * returned, so the caller never leaks. */
int arena_defer(struct arena *a, void (*fn)(void *), void *p);
size_t arena_used(const struct arena *a);

/* Test hook: the n-th allocation from now fails (counted over all arenas of the thread);
 * 0 turns it off. */
void arena_fail_at(unsigned long n);

#endif
