/* The head of a message with parts of it replaced, every other byte as it came. */
#include "soap.h"

/* Puts out what stands before the span, and `by` in its place; *at moves behind the span. */
static int
replace(struct buf *out, struct slice message, size_t *at, struct soap_span span, struct slice by,
    struct err *e)
{
	/* the spans were read in these very bytes; if not, nothing may leave */
	if (span.start < *at || span.end <= span.start || span.end > message.n || message.p[span.start] != '<' ||
	    message.p[span.end - 1] != '>')
		return err_set(e, ERR_INTERNAL, "no element at %zu-%zu", span.start, span.end);
	buf_put(out, (struct slice){ message.p + *at, span.start - *at });
	buf_put(out, by);
	*at = span.end;
	return 0;
}

int
soap_splice(const struct soap_head *h, struct slice message, struct slice card, bool strip_wsa,
    struct buf *out, struct err *e)
{
	bool card_due = card.p != NULL;
	size_t at = 0, n = strip_wsa ? h->nwsa : 0;

	if (h->end > message.n)
		return err_set(e, ERR_INTERNAL, "message shorter than its head");
	if (card_due && !h->has_card)
		return err_set(e, ERR_NO_CARD_IN_REQUEST, "no card to replace");
	message.n = h->end;
	for (size_t i = 0; i <= n; i++) {
		if (card_due && (i == n || h->card.start < h->wsa[i].start)) {
			if (replace(out, message, &at, h->card, card, e) < 0)
				return -1;
			card_due = false;
		}
		if (i < n && replace(out, message, &at, h->wsa[i], S(""), e) < 0)
			return -1;
	}
	buf_put(out, slice_from(message, at));
	return out->failed ? err_set(e, ERR_MEMORY, "spliced head") : 0;
}
