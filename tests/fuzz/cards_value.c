/* The kept form of cards, orders, links and pages: whatever is read is written again as the same bytes. */
#include "value.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice bytes = { (const char *)data, size };
	struct arena *a = arena_new(4 << 20);
	struct card card;
	struct cards_order order;
	struct cards_link link;
	struct cards_page page;
	struct cards_older older;
	int64_t stamp;

	if (value_read_card(bytes, &card, &stamp) && !slice_eq(value_of_card(a, &card, stamp, data[0]), bytes))
		abort();
	if (value_read_order(bytes, &order, &stamp) && !slice_eq(value_of_order(a, &order, stamp, data[0]), bytes))
		abort();
	if (value_read_link(bytes, &link) && !slice_eq(value_of_link(a, &link, data[0]), bytes))
		abort();
	if (value_read_page(bytes, &page) && !slice_eq(value_of_page(a, &page, data[0]), bytes))
		abort();
	if (value_read_older(bytes, &older) && !slice_eq(value_of_older(a, &older, data[0]), bytes))
		abort();
	arena_free(a);
	return 0;
}
