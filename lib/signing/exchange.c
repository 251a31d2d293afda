/* A card that the STS gives for a bootstrap token. Nobody orders or signs it here, and so it is kept under the NameID that
 * the STS wrote: the client gets the card without its signature and sends it back in later calls (interface.md 3.7).
 * The certificate behind the token is not known to us; until the card ends only logout takes it away. */
#include "signing.h"

#include "clock.h"

static int
keep(const struct signing *s, struct arena *a, const struct cards_user *u, const struct idcard *got, struct err *e)
{
	const struct card card = {
		.xml = got->xml, .id = got->id, .system = got->system, .user = got->name_id,
		.not_before = got->not_before, .not_after = got->not_after,
		.kept = clock_now(), .signer_known = false,
	};

	return cards_keep(s->cards, a, u, &card, e);
}

int
signing_exchange(const struct signing *s, const struct conf *c, struct arena *a, const struct conf_organisation *o,
    struct slice message, const struct sts_claims *claims, struct cards_user *u, struct idcard **card, struct err *e)
{
	if (sts_exchange_bst(s->sts, c, a, o, message, claims, card, e) < 0)
		return -1;
	*u = (struct cards_user){ .organisation = o->id, .user = (*card)->name_id };
	if (o->session_ids && signing_begin_session(a, u, e) < 0)
		return -1;
	return keep(s, a, u, *card, e);
}
