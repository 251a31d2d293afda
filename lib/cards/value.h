/* value: cards, orders and what browsers do with them, as the bytes that the cache keeps. */
#ifndef CARDS_VALUE_H
#define CARDS_VALUE_H

#include "cards.h"

/* stamp: milliseconds UTC when it was put into the cache, for logouts that name a user and not a card.
 * format: a number of formats.h; what a format has no room for is left out. The bytes live in the arena; absent: no memory,
 * or too big for the cache. */
struct slice value_of_card(struct arena *a, const struct card *card, int64_t stamp, int format);
struct slice value_of_order(struct arena *a, const struct cards_order *order, int64_t stamp, int format);
struct slice value_of_link(struct arena *a, const struct cards_link *link, int format);
struct slice value_of_page(struct arena *a, const struct cards_page *page, int format);

/* Cards that were kept for a user before the one that is kept now, as long as they live. */
#define CARDS_OLDER_MOST 32
struct cards_older {
	struct { struct slice id; int64_t not_after; } cards[CARDS_OLDER_MOST];
	size_t n;
};
struct slice value_of_older(struct arena *a, const struct cards_older *older, int format);

/* False for anything that is not exactly what is written above in one of the two formats that are read. The result points
 * into the bytes. */
bool value_read_card(struct slice bytes, struct card *card, int64_t *stamp);
bool value_read_order(struct slice bytes, struct cards_order *order, int64_t *stamp);
bool value_read_link(struct slice bytes, struct cards_link *link);
bool value_read_older(struct slice bytes, struct cards_older *older);
bool value_read_page(struct slice bytes, struct cards_page *page);

#endif
