/* idcard: the SOSI ID card (DGWS 1.0 and 1.0.1): read, check rule by rule, build. */
#ifndef IDCARD_IDCARD_H
#define IDCARD_IDCARD_H

#include "arena.h"
#include "dsig.h"
#include "err.h"
#include "pki.h"

#include <libxml/tree.h>
#include <stdint.h>

struct idcard {
	struct slice xml;		/* the assertion this was read from, canonical: exclusive from a request, else as given */
	struct slice issuer;
	struct slice name_id, name_id_format;
	struct slice id;		/* sosi:IDCardID */
	struct slice version;		/* "1.0" or "1.0.1" */
	struct slice type;		/* "user" or "system" */
	int level;			/* 1 to 4; 0 when absent */
	struct slice cert_hash;		/* base64; absent when not there */
	struct slice cpr, given_name, surname, email, role, occupation, authorization;	/* UserLog */
	struct slice system, care_provider, care_provider_format, care_provider_name;	/* SystemLog */
	struct slice user_name, password;	/* level 2 */
	int64_t issued, not_before, not_after;	/* seconds UTC; 0 when absent or unreadable in a request */
	bool is_signed;			/* has a ds:Signature; says nothing of its worth */
};

/* The card of a request (interface.md 1.4): old times, repeated ids, missing SubjectConfirmation and
 * unknown attributes are fine. Refused: no or empty NameID (ERR_NO_NAME_ID), two of what comes once,
 * nested assertions, unreadable structure (ERR_CARD_FORM). node: the saml:Assertion element. */
int idcard_read_request(struct arena *a, const xmlNode *node, struct idcard **out, struct err *e);
/* A card that must be right: every rule of the DGWS table, known elements only (attributes with an
 * unknown Name are allowed). xml: a self-contained assertion. ERR_CARD_FORM. */
int idcard_read(struct arena *a, struct slice xml, struct idcard **out, struct err *e);
/* Valid at `now` with `skew` seconds of tolerance at the beginning only, not longer than 24 h 10 min.
 * ERR_CARD_EXPIRED, ERR_CARD_FORM. */
int idcard_check_time(const struct idcard *c, int64_t now, int64_t skew, struct err *e);

/* Enough data to make a new card? ERR_CARD_DATA with err_say naming every missing field. The rule is
 * in docs/interface.md: IDCardType, AuthenticationLevel 3 (system) or 1, 4 (user; level 1 is raised to
 * 4), system name, care provider id, format and name; for users given name, surname and role. CPR may be
 * left out (the STS fills it in). */
int idcard_check_order(const struct idcard *c, struct err *e);

struct idcard_new {
	const struct idcard *from;	/* whose user and system data it carries */
	struct slice issuer;		/* xs:NCName */
	int64_t now;			/* valid from now - 5 min, for 24 h */
};
/* A new unsigned card, level 4 for users, 3 for systems: fresh IDCardID, data copied, canonical
 * form (ready for dsig_prepare). NameID: medcom:other and its text when the request's format is that, or
 * no CPR is known; else medcom:cprnumber and the CPR; for systems the care provider (idcard.md 1.2). */
int idcard_build(struct arena *a, const struct idcard_new *n, struct idcard **out, struct err *e);

/* What the STS answered is the card that was asked for: same level, type, version, system, care provider,
 * given name and surname; same CPR when one was asked with; role and authorisation the same or filled in
 * where the order left them out; NameID names `signer` or is the one asked for. ERR_STS_CARD. */
int idcard_check_answer(struct arena *a, const struct idcard *asked, const struct idcard *got, X509 *signer, struct err *e);
/* May this certificate sign this card? Level 4 wants an employee certificate, level 3 an organisation
 * or function certificate (ERR_CERT_KIND); its CVR must be the card's care provider when that is a
 * medcom:cvrnumber, unless check_cvr is false (ERR_CERT_OTHER). */
int idcard_check_signer(const struct idcard *c, const struct pki_identity *who, bool check_cvr, struct err *e);

#endif
