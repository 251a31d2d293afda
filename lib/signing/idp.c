/* A user who logs in at an identity provider of the organisation's instead of signing: the provider's bootstrap token is
 * exchanged for a card at the STS, by a request that the organisation's own key signs, and the card becomes that of the order
 * if it is for the person whom the order names. */
#include "signing_private.h"

#include "clock.h"
#include "conv.h"
#include "log.h"
#include "saml.h"

/* Not the answer's token itself, which is for this browser alone: the provider sees this. */
static struct slice
request_id(struct arena *a, struct slice answer)
{
	const struct slice parts[] = { answer };
	uint8_t hash[32];

	conv_hmac(S("id of an AuthnRequest"), parts, 1, hash);
	struct slice hex = conv_hex(a, (struct slice){ (const char *)hash, 20 });
	return hex.p == NULL ? hex : arena_printf(a, "_%.*s", SLICE_FMT(hex));
}

static struct slice
our_address(const struct conf *c, struct arena *a)
{
	return arena_printf(a, "%.*s/sosigw/sign/acs", SLICE_FMT(c->browser_base));
}

static int
take_key(const struct signing *s, struct arena *a, const struct conf_idp *idp, EVP_PKEY **key, X509 **cert, struct err *e)
{
	const struct pki_key_source from = signing_key_source(&idp->key);

	if (pki_keys_get(signing_keys(s), a, &from, key, cert, e) < 0)
		return -1;
	return from.pkcs11 == NULL ? 0 : pki_keys_take_token(signing_keys(s), e);
}

static void
give_key(const struct signing *s, const struct conf_idp *idp)
{
	if (idp->key.pkcs11 != NULL)
		pki_keys_give_token(signing_keys(s));
}

/* ---- what is encrypted for us */

/* Those that can be had. One file that is broken does not keep out who has another's certificate; it stands in the log. */
static int
load_decryption_keys(const struct signing *s, struct arena *a, const struct conf_idp *idp, EVP_PKEY *keys[CONF_DECRYPTION_KEYS_MOST],
    size_t *n, bool *in_token, struct err *e)
{
	struct err failed = { .kind = ERR_NONE };
	X509 *cert;

	*n = 0;
	*in_token = false;
	for (size_t i = 0; i < idp->ndecryption_keys; i++) {
		const struct pki_key_source from = signing_key_source(&idp->decryption_keys[i]);
		err_clear(&failed);
		if (pki_keys_get(signing_keys(s), a, &from, &keys[*n], &cert, &failed) < 0) {
			log_err(LOG_WARN, "decryption-key", (struct slice){ NULL, 0 }, &failed);
			continue;
		}
		*in_token = *in_token || from.pkcs11 != NULL;
		++*n;
	}
	return *n > 0 ? 0 : err_set(e, failed.kind, "%s", failed.detail);
}

/* ctx of decrypt. */
struct opener {
	const struct signing *signing;
	const struct conf_idp *used;	/* whose keys were; NULL: nobody's */
};

/* For saml_read. */
static int
decrypt(void *ctx, struct arena *a, const struct conf_idp *idp, const struct dsig_encrypted *x, struct slice *octets, struct err *e)
{
	struct opener *o = ctx;
	EVP_PKEY *keys[CONF_DECRYPTION_KEYS_MOST];
	bool in_token;
	size_t n;

	if (load_decryption_keys(o->signing, a, idp, keys, &n, &in_token, e) < 0 ||
	    (in_token && pki_keys_take_token(signing_keys(o->signing), e) < 0))
		return -1;
	o->used = idp;
	int rc = dsig_decrypt(a, x, keys, n, octets, e);
	if (in_token)
		pki_keys_give_token(signing_keys(o->signing));
	return rc;
}

/* The answer could not be used: a token's session may have ended, so it is opened anew the next time. Whatever the reason was, or
 * the time that the next answer takes would tell it. */
static void
forget_tokens(const struct opener *o)
{
	for (size_t i = 0; o->used != NULL && i < o->used->ndecryption_keys; i++) {
		const struct pki_key_source from = signing_key_source(&o->used->decryption_keys[i]);
		if (from.pkcs11 != NULL)
			pki_keys_forget(signing_keys(o->signing), &from);
	}
}

static int
read_login(const struct signing *s, const struct conf *c, struct arena *a, const struct conf_organisation *o, struct slice posted,
    struct slice answer, struct saml_login *login, struct err *e)
{
	struct opener opener = { .signing = s };
	const struct saml_wanted wanted = { .idps = o->idps, .nidps = o->nidps, .acs = our_address(c, a),
		.request = request_id(a, answer), .now = clock_now(), .skew = c->clock_skew, .decrypt = decrypt, .ctx = &opener };

	if (saml_read(a, posted, &wanted, login, e) == 0)
		return 0;
	forget_tokens(&opener);
	return -1;
}

int
signing_idp_metadata(const struct signing *s, const struct conf *c, struct arena *a, const struct conf_idp *idp, struct slice *xml,
    struct err *e)
{
	const struct pki_key_source own = signing_key_source(&idp->key), decryption = signing_key_source(&idp->decryption_keys[0]);
	X509 *signing, *encryption;
	EVP_PKEY *key;

	if (c->browser_base.p == NULL)
		return err_set(e, ERR_CONFIG, "no browser_base");
	if (pki_keys_get(signing_keys(s), a, &own, &key, &signing, e) < 0 || pki_keys_get(signing_keys(s), a, &decryption, &key, &encryption, e) < 0)
		return -1;
	return saml_metadata(a, idp, our_address(c, a), signing, encryption, xml, e);
}

int
signing_idp_address(const struct signing *s, const struct conf *c, struct arena *a, const struct conf_idp *idp,
    struct slice answer, struct slice relay, struct slice *address, struct err *e)
{
	EVP_PKEY *key;
	X509 *cert;

	if (c->browser_base.p == NULL)
		return err_set(e, ERR_CONFIG, "no browser_base");
	if (take_key(s, a, idp, &key, &cert, e) < 0)
		return -1;
	int rc = saml_request_address(a, idp, request_id(a, answer), our_address(c, a), relay, key, address, e);
	give_key(s, idp);
	return rc;
}

/* Whom the order names by number; absent: by name alone. */
static struct slice
person_of(const struct idcard *ordered)
{
	if (ordered->cpr.n > 0)
		return ordered->cpr;
	return slice_is(ordered->name_id_format, "medcom:cprnumber") ? ordered->name_id : (struct slice){ NULL, 0 };
}

static bool
is_same(struct slice a, struct slice b)
{
	return a.n == 0 && b.n == 0 ? true : slice_eq(a, b);
}

static int
check_person(const struct idcard *ordered, const struct idcard *got, struct err *e)
{
	struct slice person = person_of(ordered);

	if (person.p != NULL ? !slice_eq(person, got->cpr) :
	    !is_same(ordered->given_name, got->given_name) || !is_same(ordered->surname, got->surname))
		return err_set(e, ERR_IDP_OTHER, "the card is for somebody else than the order");
	if (slice_is(ordered->care_provider_format, "medcom:cvrnumber") &&
	    (!slice_is(got->care_provider_format, "medcom:cvrnumber") || !slice_eq(ordered->care_provider, got->care_provider)))
		return err_set(e, ERR_IDP_OTHER, "the card is for another care provider than the order");
	return 0;
}

/* NameID is left to the STS: the card is found by the order's own. */
static struct sts_claims
claims_of(const struct idcard *ordered)
{
	return (struct sts_claims){
		.system = ordered->system, .role = ordered->role.n > 0 ? ordered->role : (struct slice){ NULL, 0 },
		.authorization = ordered->authorization.n > 0 ? ordered->authorization : (struct slice){ NULL, 0 },
	};
}

static int
exchange(const struct signing *s, const struct conf *c, struct arena *a, const struct conf_organisation *o,
    const struct saml_login *login, const struct idcard *ordered, struct pki_signer *who, struct idcard **got, struct err *e)
{
	struct sts_claims claims = claims_of(ordered);
	struct slice message = { NULL, 0 };
	EVP_PKEY *key;
	X509 *cert;

	if (take_key(s, a, login->idp, &key, &cert, e) < 0)
		return -1;
	int rc = sts_make_bst(a, login->token, &claims, key, cert, &message, e);
	give_key(s, login->idp);
	if (rc < 0 || signing_check_certificate(s, c, a, cert, who, e) < 0)
		return -1;
	return sts_exchange_bst(s->sts, c, a, o, message, &claims, got, e);
}

int
signing_idp_complete(const struct signing *s, const struct conf *c, struct arena *a, const struct conf_organisation *o,
    const struct cards_user *u, struct slice posted, struct slice answer, struct slice *id, struct err *e)
{
	struct idcard *ordered, *got;
	struct cards_order *order;
	struct saml_login login;
	struct pki_signer who;

	if (cards_pending(s->cards, a, u, &order, e) < 0 || idcard_read(a, order->xml, &ordered, e) < 0 ||
	    read_login(s, c, a, o, posted, answer, &login, e) < 0)
		return -1;
	/* before the STS is asked, when the provider itself says that it is somebody else */
	if (login.cpr.n > 0 && person_of(ordered).p != NULL && !slice_eq(login.cpr, person_of(ordered)))
		return err_set(e, ERR_IDP_OTHER, "somebody else has logged in");
	if (exchange(s, c, a, o, &login, ordered, &who, &got, e) < 0 || check_person(ordered, got, e) < 0)
		return -1;
	int rc = signing_look_again(s, a, u, order, id, e);
	if (rc != 0)
		return rc < 0 ? -1 : 0;
	*id = got->id;
	return signing_keep(s, a, o, u, order, got, &who, e);
}
