/* One byte of format, one of kind, then the fields in the order of the functions below: numbers as 8 bytes, the rest
 * as 4 bytes of length and the bytes, big-endian; the length of what is absent is all ones. A change of fields needs a
 * new format (formats.h), so that servers of two versions can run side by side (design.md 8).
 *
 * The reader is written as the writer: it remembers the first failure, so each field is one call. */
#include "value.h"

#include "buf.h"
#include "formats.h"

#include <string.h>

enum { CARD = 'c', ORDER = 'o', LINK = 'l', PAGE = 'p', OLDER = 'e' };
#define ABSENT UINT32_C(0xffffffff)

static void
put_number(struct buf *b, uint64_t v, int bytes)
{
	for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8)
		buf_putc(b, (char)(uint8_t)(v >> shift));
}

static void
put_time(struct buf *b, int64_t t)
{
	put_number(b, (uint64_t)t, 8);
}

static void
put_slice(struct buf *b, struct slice s)
{
	put_number(b, s.p == NULL ? ABSENT : s.n, 4);
	if (s.p != NULL)
		buf_put(b, s);
}

/* NULL: no memory. The buffer and its bytes go with the arena. */
static struct buf *
start_value(struct arena *a, int format, char kind)
{
	struct buf *b = arena_alloc(a, sizeof *b);

	if (b == NULL)
		return NULL;
	buf_init(b, CACHE_VALUE_MAX);
	if (buf_defer(b, a) < 0)
		return NULL;
	buf_putc(b, (char)format);
	buf_putc(b, kind);
	return b;
}

struct slice
value_of_card(struct arena *a, const struct card *card, int64_t stamp, int format)
{
	struct buf *b = start_value(a, format, CARD);

	if (b == NULL)
		return (struct slice){ NULL, 0 };
	put_time(b, stamp);
	put_time(b, card->not_before);
	put_time(b, card->not_after);
	put_time(b, card->kept);
	put_slice(b, card->id);
	put_slice(b, card->system);
	put_slice(b, card->user);
	put_slice(b, card->signer_known ?
	    (struct slice){ (const char *)card->signer.id, sizeof card->signer.id } : (struct slice){ NULL, 0 });
	put_slice(b, card->xml);
	if (format >= 2)
		put_slice(b, card->client);
	return buf_slice(b);
}

struct slice
value_of_order(struct arena *a, const struct cards_order *order, int64_t stamp, int format)
{
	struct buf *b = start_value(a, format, ORDER);

	if (b == NULL)
		return (struct slice){ NULL, 0 };
	put_time(b, stamp);
	put_time(b, order->ordered);
	put_time(b, order->expires);
	put_slice(b, order->client);
	put_slice(b, order->user);
	put_slice(b, order->token);
	put_slice(b, order->signed_info);
	put_slice(b, order->xml);
	return buf_slice(b);
}

struct slice
value_of_link(struct arena *a, const struct cards_link *link, int format)
{
	struct buf *b = start_value(a, format, LINK);

	if (b == NULL)
		return (struct slice){ NULL, 0 };
	put_time(b, link->ordered);
	put_time(b, link->opens_until);
	put_time(b, link->expires);
	put_slice(b, link->organisation);
	put_slice(b, link->user);
	put_slice(b, link->order);
	put_slice(b, link->client);
	put_slice(b, link->name);
	put_slice(b, link->system);
	return buf_slice(b);
}

struct slice
value_of_page(struct arena *a, const struct cards_page *page, int format)
{
	struct buf *b = start_value(a, format, PAGE);

	if (b == NULL)
		return (struct slice){ NULL, 0 };
	put_time(b, page->until);
	put_time(b, page->most);
	put_slice(b, page->browser);
	put_slice(b, page->answer);
	put_slice(b, page->next);
	return buf_slice(b);
}

struct slice
value_of_older(struct arena *a, const struct cards_older *older, int format)
{
	struct buf *b = start_value(a, format, OLDER);

	if (b == NULL)
		return (struct slice){ NULL, 0 };
	for (size_t i = 0; i < older->n; i++) {
		put_time(b, older->cards[i].not_after);
		put_slice(b, older->cards[i].id);
	}
	return buf_slice(b);
}

struct reader { struct slice rest; int format; bool failed; };

static struct slice
take(struct reader *r, size_t n)
{
	struct slice none = { NULL, 0 };

	if (r->failed || r->rest.n < n) {
		r->failed = true;
		return none;
	}
	struct slice got = { r->rest.p, n };
	r->rest = (struct slice){ r->rest.p + n, r->rest.n - n };
	return got;
}

static uint64_t
take_number(struct reader *r, size_t bytes)
{
	struct slice s = take(r, bytes);
	uint64_t v = 0;

	for (size_t i = 0; i < s.n; i++)
		v = v << 8 | (uint8_t)s.p[i];
	return v;
}

static int64_t
take_time(struct reader *r)
{
	return (int64_t)take_number(r, 8);
}

static struct slice
take_slice(struct reader *r)
{
	uint64_t n = take_number(r, 4);

	return n == ABSENT ? (struct slice){ NULL, 0 } : take(r, n);
}

static struct reader
start(struct slice bytes, char kind)
{
	struct reader r = { .rest = bytes, .failed = bytes.p == NULL };

	r.format = (int)take_number(&r, 1);
	if (!format_is_read(FORMAT_CARD, r.format) || take_number(&r, 1) != (uint8_t)kind)
		r.failed = true;
	return r;
}

static bool
at_end(const struct reader *r)
{
	return !r->failed && r->rest.n == 0;
}

bool
value_read_card(struct slice bytes, struct card *card, int64_t *stamp)
{
	struct reader r = start(bytes, CARD);

	*stamp = take_time(&r);
	card->not_before = take_time(&r);
	card->not_after = take_time(&r);
	card->kept = take_time(&r);
	card->id = take_slice(&r);
	card->system = take_slice(&r);
	card->user = take_slice(&r);
	struct slice signer = take_slice(&r);
	card->xml = take_slice(&r);
	card->client = r.format >= 2 ? take_slice(&r) : (struct slice){ NULL, 0 };
	card->signer_known = signer.p != NULL;
	if (card->signer_known && signer.n != sizeof card->signer.id)
		return false;
	if (card->signer_known)
		memcpy(card->signer.id, signer.p, signer.n);
	return at_end(&r) && card->id.p != NULL && card->xml.p != NULL;
}

bool
value_read_order(struct slice bytes, struct cards_order *order, int64_t *stamp)
{
	struct reader r = start(bytes, ORDER);

	*stamp = take_time(&r);
	order->ordered = take_time(&r);
	order->expires = take_time(&r);
	order->client = take_slice(&r);
	order->user = take_slice(&r);
	order->token = take_slice(&r);
	order->signed_info = take_slice(&r);
	order->xml = take_slice(&r);
	return at_end(&r) && order->xml.p != NULL;
}

bool
value_read_link(struct slice bytes, struct cards_link *link)
{
	struct reader r = start(bytes, LINK);

	link->ordered = take_time(&r);
	link->opens_until = take_time(&r);
	link->expires = take_time(&r);
	link->organisation = take_slice(&r);
	link->user = take_slice(&r);
	link->order = take_slice(&r);
	link->client = take_slice(&r);
	link->name = take_slice(&r);
	link->system = take_slice(&r);
	return at_end(&r) && link->organisation.p != NULL && link->user.p != NULL && link->order.p != NULL;
}

bool
value_read_page(struct slice bytes, struct cards_page *page)
{
	struct reader r = start(bytes, PAGE);

	page->until = take_time(&r);
	page->most = take_time(&r);
	page->browser = take_slice(&r);
	page->answer = take_slice(&r);
	page->next = take_slice(&r);
	return at_end(&r) && page->browser.p != NULL && page->answer.p != NULL && page->next.p != NULL;
}

bool
value_read_older(struct slice bytes, struct cards_older *older)
{
	struct reader r = start(bytes, OLDER);

	for (older->n = 0; !r.failed && r.rest.n > 0; older->n++) {
		if (older->n == CARDS_OLDER_MOST)
			return false;
		older->cards[older->n].not_after = take_time(&r);
		older->cards[older->n].id = take_slice(&r);
		if (older->cards[older->n].id.p == NULL)
			return false;
	}
	return at_end(&r);
}
