/* What the files of cards share. */
#ifndef CARDS_PRIVATE_H
#define CARDS_PRIVATE_H

#include "cards.h"

/* Where cards, orders and links are kept. */
struct cache *cards_cache(struct cards *c);
/* The format that is written now. */
int cards_format(struct cards *c);

#endif
