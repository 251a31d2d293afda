/* place: which nodes a name belongs on (rendezvous hashing): every server computes the same, and a lost node moves
 * only its own names. */
#ifndef CACHE_PLACE_H
#define CACHE_PLACE_H

#include <stddef.h>
#include <stdint.h>

/* What a node is known by. */
uint64_t place_identity(const char *host, uint16_t port);
/* Indexes of the n nodes, the one that the name belongs on first. */
void place_order(const uint64_t *identities, size_t n, const uint8_t hash[32], uint8_t *order);

#endif
