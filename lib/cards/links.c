/* Four kinds of values, each of them written by one who alone may:
 *
 * - link: by every answer that hands the link out, which all write the same but for the time;
 * - page: with `add` by who opens the link, so that one of many does; after that by who has taken its answer;
 * - answer: with `add` by who takes it, and never changed;
 * - until: how long the answer was put off, by the browser that has it. Apart from the page, since a page that is read,
 *   changed and written back could undo what the answer's taker wrote meanwhile.
 *
 * A link that was opened cannot be opened again, and a user who closed the page would have to wait for the order's end.
 * So each page holds the link that follows it: whoever asks for the order's link goes on from page to page and comes
 * to the one that nobody has opened, the same one for everybody who asks. */
#include "cards_private.h"

#include "clock.h"
#include "conv.h"
#include "rand.h"
#include "value.h"

#define TOKEN_BYTES 32
#define OPENED_MOST 64		/* links of one order; whoever opened so many waits for the order's end */
#define TOLD_AFTER 600		/* seconds after the order's end that a latecomer is still told what it was */

static struct cache_name
name_of(struct slice kind, struct slice token)
{
	return (struct cache_name){ kind, S(""), token };
}

static int64_t
ttl_until(int64_t expires)
{
	int64_t left = expires + TOLD_AFTER - clock_now();

	return left < 1 ? 1 : left > CACHE_TTL_MAX ? CACHE_TTL_MAX : left;
}

static int
fetch_page(struct cards *c, struct arena *a, struct slice link, struct cards_page **out, struct err *e)
{
	struct cache_name name = name_of(S("page"), link);
	struct cards_page *page = arena_alloc(a, sizeof *page);
	struct slice bytes;

	*out = NULL;
	if (page == NULL)
		return err_set(e, ERR_MEMORY, "a page");
	if (cache_get(cards_cache(c), a, &name, &bytes, e) < 0)
		return -1;
	if (bytes.p != NULL && value_read_page(bytes, page))
		*out = page;
	return 0;
}

/* The first of the order's links that nobody has opened. */
static int
find_unopened(struct cards *c, struct arena *a, struct slice first, struct slice *token, struct err *e)
{
	struct cards_page *page;

	*token = first;
	for (int i = 0; i < OPENED_MOST; i++) {
		if (fetch_page(c, a, *token, &page, e) < 0)
			return -1;
		if (page == NULL)
			return 0;
		*token = page->next;
	}
	return 0;
}

int
cards_link(struct cards *c, struct arena *a, const struct cards_user *u, const struct cards_order *order,
    struct slice system, int64_t seconds, struct slice *token, struct err *e)
{
	int64_t until = clock_now() + seconds;
	const struct cards_link link = {
		.organisation = u->organisation, .user = slice_trim(u->user), .order = order->token,
		.client = order->client, .name = order->user, .system = system, .ordered = order->ordered,
		.opens_until = until < order->expires ? until : order->expires, .expires = order->expires,
	};
	struct slice bytes = value_of_link(a, &link, cards_format(c));

	if (bytes.p == NULL)
		return err_set(e, ERR_MEMORY, "a link");
	if (find_unopened(c, a, order->token, token, e) < 0)
		return -1;
	struct cache_name name = name_of(S("link"), *token);
	return cache_set(cards_cache(c), &name, bytes, ttl_until(order->expires), e);
}

int
cards_link_find(struct cards *c, struct arena *a, struct slice token, struct cards_link **out, struct err *e)
{
	struct cache_name name = name_of(S("link"), token);
	struct slice bytes;

	*out = arena_alloc(a, sizeof **out);
	if (*out == NULL)
		return err_set(e, ERR_MEMORY, "a link");
	if (cache_get(cards_cache(c), a, &name, &bytes, e) < 0)
		return -1;
	if (bytes.p == NULL || !value_read_link(bytes, *out))
		return err_set(e, ERR_LINK_UNKNOWN, "no such link");
	return 0;
}

int
cards_page_open(struct cards *c, struct arena *a, struct slice link, struct cards_page *page, int64_t expires, struct err *e)
{
	struct cache_name name = name_of(S("page"), link);

	page->next = rand_token(a, TOKEN_BYTES);
	struct slice bytes = value_of_page(a, page, cards_format(c));
	if (page->next.p == NULL || bytes.p == NULL)
		return err_set(e, ERR_MEMORY, "a page");
	return cache_add(cards_cache(c), &name, bytes, ttl_until(expires), e);
}

int
cards_page_find(struct cards *c, struct arena *a, struct slice link, struct cards_page **out, struct err *e)
{
	struct slice bytes;
	int64_t until;

	if (fetch_page(c, a, link, out, e) < 0)
		return -1;
	if (*out == NULL)
		return 0;
	struct cache_name name = name_of(S("until"), (*out)->answer);
	if (cache_get(cards_cache(c), a, &name, &bytes, e) < 0)
		return -1;
	if (bytes.p != NULL && conv_number(bytes, INT64_MAX, &until) == 0)
		(*out)->until = until;
	return 0;
}

int
cards_page_renew(struct cards *c, struct arena *a, struct slice link, const struct cards_page *page, int64_t expires,
    struct err *e)
{
	struct cache_name name = name_of(S("page"), link);
	struct slice bytes = value_of_page(a, page, cards_format(c));

	if (bytes.p == NULL)
		return err_set(e, ERR_MEMORY, "a page");
	return cache_set(cards_cache(c), &name, bytes, ttl_until(expires), e);
}

int
cards_page_put_off(struct cards *c, struct arena *a, const struct cards_page *page, struct err *e)
{
	struct cache_name name = name_of(S("until"), page->answer);
	struct slice text = arena_printf(a, "%lld", (long long)page->until);

	if (text.p == NULL)
		return err_set(e, ERR_MEMORY, "a page");
	return cache_set(cards_cache(c), &name, text, ttl_until(page->most), e);
}

int
cards_answer_take(struct cards *c, const struct cards_page *page, enum cards_taken how, int64_t expires, struct err *e)
{
	struct cache_name name = name_of(S("answer"), page->answer);

	return cache_add(cards_cache(c), &name, how == CARDS_CANCELLED ? S("cancelled") : S("answered"), ttl_until(expires), e);
}

int
cards_answer_taken(struct cards *c, struct arena *a, const struct cards_page *page, enum cards_taken *how, struct err *e)
{
	struct cache_name name = name_of(S("answer"), page->answer);
	struct slice bytes;

	if (cache_get(cards_cache(c), a, &name, &bytes, e) < 0)
		return -1;
	*how = bytes.p == NULL ? CARDS_NOT_TAKEN : slice_is(bytes, "cancelled") ? CARDS_CANCELLED : CARDS_ANSWERED;
	return 0;
}
