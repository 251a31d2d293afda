/* rand: unguessable values from the system's generator. */
#ifndef BASE_RAND_H
#define BASE_RAND_H

#include "arena.h"

void rand_bytes(void *out, size_t n);
/* n random bytes as URL-safe base64 (16 bytes give 22 characters). */
struct slice rand_token(struct arena *a, size_t n);
/* Whether it has the form of one of n bytes. */
bool rand_is_token(struct slice s, size_t n);
/* A version 4 UUID, lower case. */
struct slice rand_uuid(struct arena *a);

#endif
