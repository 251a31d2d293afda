/* Judging a card: its time, whether it is enough to order one, whether the STS answered with the card that
 * was asked for, and who may sign it. One function per rule; the tables below are the checklists. */
#include "idcard_private.h"

#include "buf.h"
#include "conv.h"

#include <openssl/asn1.h>
#include <openssl/bn.h>
#include <openssl/objects.h>

/* ---- time */

/* The STS gives 24 hours; ten minutes for those who count from their own clock. */
#define LONGEST (24 * 3600 + 600)

int
idcard_check_time(const struct idcard *c, int64_t now, int64_t skew, struct err *e)
{
	if (c->not_before <= 0 || c->not_after <= c->not_before)
		return err_set(e, ERR_CARD_FORM, "Conditions without a time");
	if (c->not_after - c->not_before > LONGEST)
		return err_set(e, ERR_CARD_FORM, "valid for %lld s", (long long)(c->not_after - c->not_before));
	/* clocks that run ahead of ours make cards that begin in the future; no clock makes one last longer */
	if (now + skew < c->not_before)
		return err_set(e, ERR_CARD_EXPIRED, "begins in %lld s", (long long)(c->not_before - now));
	if (now >= c->not_after)
		return err_set(e, ERR_CARD_EXPIRED, "ended %lld s ago", (long long)(now - c->not_after));
	return 0;
}

/* ---- an order */

static bool
is_user(const struct idcard *c)
{
	return slice_is(c->type, "user");
}

static bool
has_type(const struct idcard *c)
{
	return is_user(c) || slice_is(c->type, "system");
}

static bool
has_level(const struct idcard *c)
{
	return is_user(c) ? c->level == 1 || c->level == 4 : c->level == 3;
}

static bool
has_system(const struct idcard *c)
{
	return idcard_has(c->system);
}

static bool
has_care_provider(const struct idcard *c)
{
	return idcard_has(c->care_provider);
}

static bool
has_care_provider_format(const struct idcard *c)
{
	return idcard_is_format(c->care_provider_format);
}

static bool
has_care_provider_name(const struct idcard *c)
{
	return idcard_has(c->care_provider_name);
}

static bool
has_given_name(const struct idcard *c)
{
	return !is_user(c) || idcard_has(c->given_name);
}

static bool
has_surname(const struct idcard *c)
{
	return !is_user(c) || idcard_has(c->surname);
}

static bool
has_role(const struct idcard *c)
{
	return !is_user(c) || idcard_has(c->role);
}

/* May be left out, but not be something else. */
static bool
has_no_bad_cpr(const struct idcard *c)
{
	return !is_user(c) || !idcard_has(c->cpr) || idcard_is_cpr(c->cpr);
}

int
idcard_check_order(const struct idcard *c, struct err *e)
{
	static const struct {
		bool (*good)(const struct idcard *);
		const char *name;
	} rules[] = {
		{ has_type, "sosi:IDCardType (user, system)" },
		{ has_level, "sosi:AuthenticationLevel (user: 1, 4; system: 3)" },
		{ has_given_name, "medcom:UserGivenName" },
		{ has_surname, "medcom:UserSurName" },
		{ has_role, "medcom:UserRole" },
		{ has_no_bad_cpr, "medcom:UserCivilRegistrationNumber (ddmmyynnnn)" },
		{ has_system, "medcom:ITSystemName" },
		{ has_care_provider, "medcom:CareProviderID" },
		{ has_care_provider_format, "medcom:CareProviderID/@NameFormat (medcom:cvrnumber, medcom:ynumber, ...)" },
		{ has_care_provider_name, "medcom:CareProviderName" },
	};
	struct buf missing;

	buf_init(&missing, 1024);
	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
		if (rules[i].good(c))
			continue;
		buf_puts(&missing, missing.n == 0 ? "" : ", ");
		buf_puts(&missing, rules[i].name);
	}
	int rc = missing.n == 0 && !missing.failed ? 0 :
	    err_set(e, ERR_CARD_DATA, "%.*s", SLICE_FMT(buf_slice(&missing)));
	if (rc < 0)
		err_say(e, "%.*s", SLICE_FMT(buf_slice(&missing)));
	buf_free(&missing);
	return rc;
}

/* ---- the answer of the STS */

struct answer {
	const struct idcard *asked, *got;
	X509 *signer;
	struct arena *a;
};

/* Equal, where not to be there is a value as well: both left out is the same. */
static bool
same(struct slice a, struct slice b)
{
	return !idcard_has(a) && !idcard_has(b) ? true : slice_eq(a, b);
}

/* Kept when it was asked for; what the order left out the STS may fill in. */
static bool
kept(struct slice asked, struct slice got)
{
	return !idcard_has(asked) || slice_eq(asked, got);
}

static bool
same_kind(const struct answer *w)
{
	return w->got->level == w->asked->level && w->got->level >= 3 &&
	    slice_eq(w->got->type, w->asked->type) && slice_eq(w->got->version, w->asked->version);
}

static bool
same_system(const struct answer *w)
{
	return slice_eq(w->got->system, w->asked->system) &&
	    slice_eq(w->got->care_provider, w->asked->care_provider) &&
	    slice_eq(w->got->care_provider_format, w->asked->care_provider_format) &&
	    slice_eq(w->got->care_provider_name, w->asked->care_provider_name);
}

static bool
same_name(const struct answer *w)
{
	return same(w->got->given_name, w->asked->given_name) && same(w->got->surname, w->asked->surname);
}

/* The card of another person, validly signed, is the worst that can come. An order without a CPR number
 * of its own may have one in NameID. */
static bool
same_person(const struct answer *w)
{
	const struct idcard *asked = w->asked;

	if (!idcard_has(asked->cpr) && slice_is(asked->type, "user") && slice_is(asked->name_id_format, FORMAT_CPR))
		return kept(asked->name_id, w->got->cpr);
	return kept(asked->cpr, w->got->cpr);
}

/* The same person in another role has other rights. */
static bool
same_role(const struct answer *w)
{
	return kept(w->asked->role, w->got->role);
}

static bool
same_authorization(const struct answer *w)
{
	return kept(w->asked->authorization, w->got->authorization);
}

/* For people to read, so the STS may leave them out; but not be replaced by another's. */
static bool
same_remarks(const struct answer *w)
{
	return (!idcard_has(w->got->email) || kept(w->asked->email, w->got->email)) &&
	    (!idcard_has(w->got->occupation) || kept(w->asked->occupation, w->got->occupation));
}

static struct slice
serial_number_of(struct arena *a, X509 *cert)
{
	const X509_NAME *name = X509_get_subject_name(cert);
	int at = X509_NAME_get_index_by_NID(name, NID_serialNumber, -1);
	unsigned char *utf8 = NULL;
	int n = at < 0 ? -1 :
	    ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));

	if (n < 0)
		return (struct slice){ 0 };
	struct slice out = arena_dup(a, (struct slice){ (char *)utf8, (size_t)n });
	OPENSSL_free(utf8);
	return out;
}

static struct slice
cert_serial_of(struct arena *a, X509 *cert)
{
	BIGNUM *n = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
	char *decimal = n == NULL ? NULL : BN_bn2dec(n);
	struct slice out = { 0 };

	if (decimal != NULL)
		out = arena_printf(a, "},CertSerial={%s}", decimal);
	OPENSSL_free(decimal);
	BN_free(n);
	return out;
}

/* "SubjectDN={.. serialNumber ..},IssuerDN={..},CertSerial={..}": the certificate's own numbers at their
 * places. How the STS writes the other parts of an OCES3 name is not known, so they are not compared. */
static bool
names_numbers_of(struct arena *a, struct slice text, X509 *signer)
{
	struct slice who = serial_number_of(a, signer), number = cert_serial_of(a, signer);
	ptrdiff_t end = slice_find(text, S("},IssuerDN={"));

	if (!idcard_has(who) || number.p == NULL || !slice_starts(text, S("SubjectDN={")) || end < 0 ||
	    text.n < number.n || !slice_eq(slice_from(text, text.n - number.n), number))
		return false;
	struct slice subject = { text.p, (size_t)end };
	ptrdiff_t at = slice_find(subject, who);
	if (at <= 0 || subject.p[at - 1] != '=')
		return false;
	struct slice behind = slice_from(subject, (size_t)at + who.n);
	return behind.n == 0 || behind.p[0] == ',' || behind.p[0] == ' ';
}

/* The STS writes the signer's certificate where the order named the user (idcard.md 3.2). */
static bool
names_who_signed(const struct answer *w)
{
	if (slice_eq(w->got->name_id, w->asked->name_id) &&
	    slice_eq(w->got->name_id_format, w->asked->name_id_format))
		return true;
	if (w->signer == NULL || !slice_is(w->got->name_id_format, FORMAT_OTHER))
		return false;
	return slice_eq(w->got->name_id, pki_names(w->a, w->signer)) ||
	    names_numbers_of(w->a, w->got->name_id, w->signer);
}

static struct slice
sha256_of(struct arena *a, X509 *cert)
{
	uint8_t hash[32];

	pki_fingerprint(cert, hash);
	return conv_base64(a, (struct slice){ (const char *)hash, sizeof hash });
}

/* Kept when it was given, else of the signer's certificate. */
static bool
hash_of_who_signed(const struct answer *w)
{
	if (!idcard_has(w->got->cert_hash) || slice_eq(w->got->cert_hash, w->asked->cert_hash))
		return true;
	return !idcard_has(w->asked->cert_hash) && w->signer != NULL &&
	    (slice_eq(w->got->cert_hash, pki_cert_hash(w->a, w->signer)) ||
	    slice_eq(w->got->cert_hash, sha256_of(w->a, w->signer)));
}

static bool
is_signed(const struct answer *w)
{
	return w->got->is_signed && w->got->user_name.p == NULL && w->got->password.p == NULL;
}

int
idcard_check_answer(struct arena *a, const struct idcard *asked, const struct idcard *got, X509 *signer,
    struct err *e)
{
	static const struct {
		bool (*good)(const struct answer *);
		const char *name;
	} rules[] = {
		{ is_signed, "not signed" },
		{ same_kind, "another level, type or version" },
		{ same_person, "another person" },
		{ same_name, "another name" },
		{ same_role, "another role" },
		{ same_authorization, "another authorisation" },
		{ same_system, "another system or care provider" },
		{ same_remarks, "another email address or occupation" },
		{ names_who_signed, "NameID names somebody else" },
		{ hash_of_who_signed, "OCESCertHash of another certificate" },
	};
	const struct answer w = { asked, got, signer, a };

	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
		if (!rules[i].good(&w))
			return err_set(e, ERR_STS_CARD, "the STS answered with another card: %s", rules[i].name);
	return 0;
}

/* ---- the signer */

static bool
may_sign(const struct idcard *c, enum pki_kind kind)
{
	return c->level == 4 ? kind == PKI_EMPLOYEE :
	    c->level == 3 && (kind == PKI_ORGANISATION || kind == PKI_FUNCTION);
}

int
idcard_check_signer(const struct idcard *c, const struct pki_identity *who, bool check_cvr, struct err *e)
{
	if (!may_sign(c, who->kind))
		return err_set(e, ERR_CERT_KIND, "certificate of kind %d for level %d", (int)who->kind, c->level);
	if (check_cvr && slice_is(c->care_provider_format, FORMAT_CVR) && !slice_eq(c->care_provider, who->cvr))
		return err_set(e, ERR_CERT_OTHER, "care provider %.*s, certificate of %.*s",
		    SLICE_FMT(c->care_provider), SLICE_FMT(who->cvr));
	return 0;
}
