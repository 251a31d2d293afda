/* Cards of systems, signed with a key that the gateway keeps for their organisation: made when the first call needs
 * one, and renewed by a call that finds little of its life left.
 *
 * Such a card lies in the cache under the system and its care provider (number, kind of number, name), which is all
 * that it says; the NameID of the request does not reach it. So a client that sends ever new ones causes no
 * exchanges, no user's name can ever stand for a system's card, and no client can put other words into the card that
 * the others use. Ever new care providers do cause exchanges, but only so many a minute.
 *
 * In a process one thread at a time makes a card; the others that need it wait and share what came of it, good or
 * bad. A failure holds for a moment, so that a dead STS does not tie up every thread of the worker. */
#include "signing_private.h"

#include "clock.h"
#include "conv.h"
#include "log.h"
#include "quota.h"
#include "turns.h"

#include <inttypes.h>
#include <stdlib.h>

#define RENEW_PART 10		/* renewed when less than a tenth of its life is left */
#define REST_MS 3000		/* after a failure to make one */
#define RENEW_REST_MS 60000	/* after a failure to renew one: the old one still serves */
#define WAIT_MORE_MS 2000	/* than the STS may take */
#define WAIT_OCSP_MS 4000
#define WAIT_MOST_MS 20000
#define NEW_A_MINUTE 60		/* new cards of one organisation; renewals are not counted */

struct signing_systems {
	struct pki_keys *keys;
	struct turns *turns;
	struct quota *made;		/* by organisation */
};

struct signing_systems *
signing_systems_new(void)
{
	struct signing_systems *s = calloc(1, sizeof *s);

	if (s == NULL)
		return NULL;
	s->keys = pki_keys_new();
	s->turns = turns_new();
	s->made = quota_new(NEW_A_MINUTE);
	if (s->keys == NULL || s->turns == NULL || s->made == NULL) {
		signing_systems_free(s);
		return NULL;
	}
	return s;
}

void
signing_systems_free(struct signing_systems *s)
{
	if (s == NULL)
		return;
	pki_keys_free(s->keys);
	turns_free(s->turns);
	quota_free(s->made);
	free(s);
}

struct pki_keys *
signing_keys(const struct signing *s)
{
	return s->systems->keys;
}

/* ---- which key, which card */

const struct conf_system_key *
signing_system_key(const struct conf_organisation *o, struct slice type, int level, struct slice system)
{
	const struct conf_system_key *any = NULL;

	if (!slice_is(type, "system") || (level != 1 && level != 3) || system.n == 0)
		return NULL;
	for (size_t i = 0; i < o->nsystem_keys; i++) {
		if (slice_eq(o->system_keys[i].system, system))
			return &o->system_keys[i];
		if (o->system_keys[i].system.p == NULL)
			any = &o->system_keys[i];
	}
	return any;
}

/* All that the card says of whose it is. 0x1f cannot be in an XML text, so this is nobody's NameID and no other
 * system's name. */
static int
slot_of(struct arena *a, const struct signing_system *w, struct cards_user *out, struct err *e)
{
	*out = (struct cards_user){
		.organisation = w->organisation->id,
		.user = arena_printf(a, "\x1f%.*s\x1f%.*s\x1f%.*s\x1f%.*s", SLICE_FMT(w->system),
		    SLICE_FMT(w->care_provider), SLICE_FMT(w->care_provider_format), SLICE_FMT(w->care_provider_name)),
	};
	return out->user.p != NULL ? 0 : err_set(e, ERR_MEMORY, "a system's card");
}

int
signing_system_forget(const struct signing *s, struct arena *a, const struct signing_system *w, struct slice *id,
    struct err *e)
{
	struct cards_user slot;

	return slot_of(a, w, &slot, e) < 0 ? -1 :
	    cards_forget(s->cards, a, &slot, id, e);
}

int
signing_keep_for_system(const struct signing *s, struct arena *a, const struct conf_organisation *o,
    const struct idcard *made, const struct card *card, struct err *e)
{
	const struct signing_system w = { .organisation = o, .system = made->system, .care_provider = made->care_provider,
		.care_provider_format = made->care_provider_format, .care_provider_name = made->care_provider_name };
	struct card of_system = *card;
	struct cards_user slot;

	if (signing_system_key(o, made->type, made->level, made->system) == NULL)
		return 0;
	of_system.user = (struct slice){ NULL, 0 };	/* whoever calls is the user */
	return slot_of(a, &w, &slot, e) < 0 ? -1 :
	    cards_keep(s->cards, a, &slot, &of_system, e);
}

/* ---- making one */

/* One call's business. */
struct making {
	const struct signing *s;
	const struct conf *conf;
	struct arena *a;
	const struct signing_system *wanted;
	struct cards_user slot;
	uint8_t turn[32];
};

/* The card of the request, as what is ordered: level 3 whatever it says. */
static int
read_asked(const struct making *m, struct idcard *asked, struct err *e)
{
	struct idcard *given;

	if (m->wanted->read(m->wanted->ctx, &given, e) < 0)
		return -1;
	*asked = *given;
	asked->level = 3;
	return idcard_check_order(asked, e);
}

struct pki_key_source
signing_key_source(const struct conf_system_key *k)
{
	return (struct pki_key_source){
		.certificate_file = k->certificate_file, .key_file = k->key_file, .pkcs12_file = k->pkcs12_file,
		.pkcs11 = k->pkcs11, .password_file = k->password_file,
	};
}

/* A token that hangs here holds up what else tokens sign, for a while, not what files do. */
static int
sign(const struct making *m, struct slice card, EVP_PKEY *key, X509 *cert, struct slice *out, struct err *e)
{
	const struct pki_key_source from = signing_key_source(m->wanted->key);
	struct signing_systems *systems = m->s->systems;
	const bool in_token = from.pkcs11 != NULL;

	if (in_token && pki_keys_take_token(systems->keys, e) < 0)
		return -1;
	int rc = dsig_sign(m->a, card, signing_hash(m->conf, m->wanted->organisation), key, cert, out, e);
	if (in_token)
		pki_keys_give_token(systems->keys);
	if (rc == 0)
		return 0;
	/* a token's session may have ended: it is opened anew */
	pki_keys_forget(systems->keys, &from);
	return -1;
}

/* Signed by the gateway's key, not yet by the STS. */
static int
make_signed(const struct making *m, const struct idcard *asked, X509 **cert, struct pki_signer *who, struct idcard **out,
    struct err *e)
{
	const struct idcard_new new = { .from = asked, .issuer = m->conf->issuer, .now = clock_now() };
	const struct pki_key_source from = signing_key_source(m->wanted->key);
	struct idcard *card;
	struct slice xml;
	EVP_PKEY *key;

	if (pki_keys_get(m->s->systems->keys, m->a, &from, &key, cert, e) < 0 ||
	    signing_check_certificate(m->s, m->conf, m->a, *cert, who, e) < 0 ||
	    idcard_build(m->a, &new, &card, e) < 0 ||
	    signing_check_signer(m->wanted->organisation, m->a, card, *cert, e) < 0 ||
	    sign(m, card->xml, key, *cert, &xml, e) < 0)
		return -1;
	return idcard_read(m->a, xml, out, e);
}

static int
keep(const struct making *m, const struct idcard *made, const struct pki_signer *who, struct err *e)
{
	struct card card = {
		.xml = made->xml, .id = made->id, .system = made->system, .not_before = made->not_before,
		.not_after = made->not_after, .kept = clock_now(), .signer = *who, .signer_known = true,
	};

	return cards_keep(m->s->cards, m->a, &m->slot, &card, e);
}

static int
make(const struct making *m, const struct idcard *asked, struct err *e)
{
	struct idcard *ours, *made;
	struct pki_signer who;
	X509 *cert;

	if (make_signed(m, asked, &cert, &who, &ours, e) < 0 ||
	    sts_sign_card(m->s->sts, m->conf, m->a, ours, cert, &made, e) < 0 ||
	    keep(m, made, &who, e) < 0)
		return -1;
	log_msg(LOG_INFO, "system-card", "signed with the gateway's key: organisation %.*s, system %.*s, care provider %.*s, "
	    "card %.*s, for %" PRId64 " s", SLICE_FMT(m->wanted->organisation->id), SLICE_FMT(made->system),
	    SLICE_FMT(made->care_provider), SLICE_FMT(made->id), made->not_after - clock_now());
	return 0;
}

/* ---- finding or making one */

static int
find(const struct making *m, struct card **out, struct err *e)
{
	return cards_get(m->s->cards, m->a, &m->slot, m->conf->expiry_margin, m->wanted->max_age, out, e);
}

static bool
is_for_want_of_a_card(enum err_kind kind)
{
	return kind == ERR_NO_CARD || kind == ERR_CARD_EXPIRED || kind == ERR_CARD_REVOKED;
}

/* What the client is told: nothing here is its user's to do. What it can mend itself, what the STS says and what
 * is the same for every call stay as they are. */
static int
as_system_error(const struct conf *c, const struct err *of, struct err *e)
{
	static const enum err_kind key[] = { ERR_SIGNATURE, ERR_CERTIFICATE, ERR_CERT_EXPIRED, ERR_CERT_NOT_YET,
		ERR_CERT_UNTRUSTED, ERR_CERT_REVOKED, ERR_CERT_UNCHECKED, ERR_CERT_OTHER, ERR_CVR_UNKNOWN, ERR_CERT_KIND };
	static const enum err_kind now[] = { ERR_STS_UNREACHABLE, ERR_STS_TIMEOUT, ERR_NO_CARD, ERR_CARD_EXPIRED,
		ERR_CARD_REVOKED, ERR_BUSY };

	for (size_t i = 0; i < sizeof key / sizeof *key; i++)
		if (of->kind == key[i]) {
			err_set(e, ERR_SYSTEM_KEY, "%s: %s", err_name(of->kind), of->detail);
			return err_say(e, "%s", err_text(of->kind, c->danish));
		}
	for (size_t i = 0; i < sizeof now / sizeof *now; i++)
		if (of->kind == now[i]) {
			err_set(e, ERR_SYSTEM_CARD, "%s: %s", err_name(of->kind), of->detail);
			return of->kind == ERR_BUSY ? err_say(e, "%s", of->said) : -1;
		}
	if (e->kind == ERR_NONE)
		*e = *of;
	return -1;
}

/* With a key for any system whoever is a client could have cards without end made, each an exchange and a place in
 * the cache for a day. */
static int
may_make(const struct making *m, struct err *e)
{
	const struct slice organisation = m->wanted->organisation->id;

	if (quota_take(m->s->systems->made, organisation))
		return 0;
	err_set(e, ERR_BUSY, "organisation %.*s has had %d new cards in this minute", SLICE_FMT(organisation), NEW_A_MINUTE);
	return err_say(e, "%s", m->conf->danish ? "Organisationen har fået for mange nye systemkort på kort tid." :
	    "The organisation has had too many new system cards in a short time.");
}

/* Our turn. Another process, or a thread before us, may have been faster. What was made is judged as what is found:
 * the STS may give a card that a service's demands or our own margin leave nothing of. */
static int
make_and_find(const struct making *m, const struct idcard *asked, struct card **out, struct err *e)
{
	struct err none = { .kind = ERR_NONE };

	if (find(m, out, &none) == 0)
		return 0;
	if (!is_for_want_of_a_card(none.kind))
		return err_set(e, none.kind, "%s", none.detail);
	return may_make(m, e) < 0 || make(m, asked, e) < 0 ? -1 : find(m, out, e);
}

static int64_t
patience(const struct conf *c)
{
	int64_t ms = (int64_t)sts_most_ms(&c->sts) + WAIT_MORE_MS + (c->trust.nocsp > 0 ? WAIT_OCSP_MS : 0);

	return ms < WAIT_MOST_MS ? ms : WAIT_MOST_MS;
}

static int
need(const struct making *m, struct card **out, struct err *e)
{
	struct turns *turns = m->s->systems->turns;
	struct idcard asked;
	int rc;

	/* before the turn: what this request lacks is its own mistake, not that of the others who wait */
	if (read_asked(m, &asked, e) < 0)
		return -1;
	switch (turns_take(turns, m->turn, patience(m->conf), REST_MS, e)) {
	case TURN_MINE:
		rc = make_and_find(m, &asked, out, e);
		turns_done(turns, m->turn, e);
		return rc;
	case TURN_MADE:
		return find(m, out, e);
	case TURN_FAILED:
		return -1;
	default:
		return err_set(e, ERR_BUSY, "another call has been making the card for %" PRId64 " ms", patience(m->conf));
	}
}

static bool
is_nearly_over(const struct card *card)
{
	return card->not_after - clock_now() < (card->not_after - card->not_before) / RENEW_PART;
}

/* One call renews it, the others go on with the old one meanwhile, and this one too when that fails. */
static void
renew(const struct making *m, struct card **card)
{
	struct turns *turns = m->s->systems->turns;
	struct err e = { .kind = ERR_NONE };
	struct idcard asked;
	struct card *now;

	if (read_asked(m, &asked, &(struct err){ .kind = ERR_NONE }) < 0 ||
	    turns_take(turns, m->turn, 0, RENEW_REST_MS, &e) != TURN_MINE)
		return;
	if (find(m, &now, &e) == 0 && (!is_nearly_over(now) || (make(m, &asked, &e) == 0 && find(m, &now, &e) == 0)))
		*card = now;
	if (e.kind != ERR_NONE)
		log_err(LOG_WARN, "system-card-renewal", (struct slice){ NULL, 0 }, &e);
	turns_done(turns, m->turn, &e);
}

static void
turn_of(struct making *m)
{
	const struct slice parts[] = { m->slot.organisation, m->slot.user };

	conv_hmac(S("system's card"), parts, 2, m->turn);
}

int
signing_system(const struct signing *s, const struct conf *c, struct arena *a, const struct signing_system *w,
    struct card **card, struct err *e)
{
	struct making m = { .s = s, .conf = c, .a = a, .wanted = w };
	struct err failed = { .kind = ERR_NONE };

	if (slot_of(a, w, &m.slot, e) < 0)
		return -1;
	turn_of(&m);
	if (find(&m, card, &failed) == 0) {
		if (is_nearly_over(*card))
			renew(&m, card);
		return 0;
	}
	if (is_for_want_of_a_card(failed.kind)) {
		err_clear(&failed);
		if (need(&m, card, &failed) == 0)
			return 0;
	}
	return as_system_error(c, &failed, e);
}
