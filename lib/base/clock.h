/* clock: wall time for cards and certificates, monotonic time for waiting. Tests set the wall. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "arena.h"

#include <stdint.h>
#include <time.h>

/* Seconds since 1970, UTC. */
int64_t clock_now(void);
/* Milliseconds since 1970, UTC. */
int64_t clock_now_ms(void);
/* Milliseconds that never step back. */
int64_t clock_mono_ms(void);
/* Test hook: the wall clock stands at t from now on; 0 lets it run again. */
void clock_set(int64_t t);

/* "2024-05-14T08:00:00Z" (DGWS 1.0.1: UTC, whole seconds). */
struct slice clock_iso(struct arena *a, int64_t t);
/* xs:dateTime of DGWS: with Z (1.0.1), with an offset, or without zone (DGWS 1.0: Danish local
 * time). Fractions of a second are accepted and dropped. Strict: anything else is -1. */
int clock_parse(struct slice text, int64_t *t);
/* The parts of Danish local time, for people; whatever zone the process has. */
void clock_danish(int64_t t, struct tm *out);

#endif
