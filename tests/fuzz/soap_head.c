/* The head of a message from a stranger. First byte: the step in which it arrives; the rest: the message.
 * What must hold: the way of arriving changes nothing, offsets are those of tags, splicing nothing gives the
 * bytes back, and a head with another card in it says the same as before but for the card. */
#include "must.h"
#include "soap.h"

#include <stdint.h>
#include <string.h>

#define NEW "<n:Assertion xmlns:n='" NS_SAML "'><n:Subject><n:NameID>new</n:NameID></n:Subject></n:Assertion>"

static int
read_head(struct arena *a, struct slice in, size_t step, const struct soap_head **head, struct err *e)
{
	struct soap_reader *r = soap_reader_new(a, &xml_head_limits);
	int rc = 0;

	must(r != NULL);
	*head = soap_reader_head(r);
	for (size_t at = 0; at < in.n && rc == 0; at += step)
		rc = soap_reader_feed(r, (struct slice){ in.p + at, step < in.n - at ? step : in.n - at }, e);
	return rc != 0 ? rc : soap_reader_end(r, e);
}

static bool
same(struct slice a, struct slice b)
{
	return (a.p == NULL && b.p == NULL) || slice_eq(a, b);
}

static void
check_same_texts(const struct soap_head *a, const struct soap_head *b)
{
	must(same(a->to, b->to) && same(a->action, b->action) && same(a->message_id, b->message_id));
	must(same(a->envelope_prefix, b->envelope_prefix) && a->nwsa == b->nwsa && a->has_card == b->has_card);
}

static void
check_same(const struct soap_head *a, const struct soap_head *b)
{
	check_same_texts(a, b);
	must(same(a->name_id, b->name_id) && same(a->name_id_format, b->name_id_format));
	must(same(a->card_id, b->card_id) && same(a->system, b->system));
	must(a->end == b->end && a->card.start == b->card.start && a->card.end == b->card.end);
	must(a->level == b->level && a->card_signed == b->card_signed);
	must(memcmp(a->wsa, b->wsa, a->nwsa * sizeof *a->wsa) == 0);
}

static void
check_splice(struct arena *a, const struct soap_head *h, struct slice in)
{
	const struct soap_head *again;
	struct buf out;
	struct err e;

	err_clear(&e);
	buf_init(&out, 1 << 20);
	must(soap_splice(h, in, (struct slice){ NULL, 0 }, false, &out, &e) == 0);
	must(slice_eq(buf_slice(&out), (struct slice){ in.p, h->end }));
	buf_clear(&out);
	if (h->has_card) {
		xmlNode *card;
		must(soap_head_card(a, h, in, &card, &e) == 0);
		must(soap_splice(h, in, S(NEW), false, &out, &e) == 0);
		buf_put(&out, slice_from(in, h->end));
		/* the limit of bytes may be met now; nothing else may have become wrong */
		int rc = read_head(a, buf_slice(&out), SIZE_MAX, &again, &e);
		must(rc == 1 || e.kind == ERR_LIMIT);
		if (rc == 1) {
			must(slice_is(again->name_id, "new"));
			check_same_texts(h, again);
		}
	}
	buf_clear(&out);
	err_clear(&e);
	must(soap_splice(h, in, (struct slice){ NULL, 0 }, true, &out, &e) == 0);
	buf_put(&out, slice_from(in, h->end));
	must(read_head(a, buf_slice(&out), SIZE_MAX, &again, &e) == 1);
	must(again->nwsa == 0 && again->to.p == NULL && same(again->name_id, h->name_id));
	buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static bool begun;
	const struct soap_head *whole, *pieces;
	struct err e, f;

	if (!begun)
		xml_init();
	begun = true;
	if (n == 0)
		return 0;
	struct arena *a = arena_new(16 << 20);
	struct slice in = { (const char *)data + 1, n - 1 };
	err_clear(&e);
	err_clear(&f);
	int rc = read_head(a, in, SIZE_MAX, &whole, &e);
	must(rc == 1 || (rc == -1 && e.kind != ERR_NONE && e.kind != ERR_INTERNAL));
	must(read_head(a, in, data[0] == 0 ? 1 : data[0], &pieces, &f) == rc);
	if (rc == 1) {
		check_same(whole, pieces);
		check_splice(a, whole, in);
	}
	arena_free(a);
	return 0;
}
