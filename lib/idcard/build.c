/* A new card, from what the request's card says about user and system. The form is Seal's (attribute
 * order: docs/interface.md); it is made canonical and read again by the strict rules, so that what we
 * have signed is what we would accept. */
#include "idcard_private.h"

#include "buf.h"
#include "clock.h"
#include "rand.h"

#define MOST (256 * 1024)
#define HOURS_24 86400
#define MINUTES_5 300	/* before now: DGWS's whole allowance for clocks that differ */

static void
put_attribute(struct buf *b, const char *name, struct slice format, struct slice value)
{
	/* absent or empty: left out, as DGWS leaves out what is not known */
	if (!idcard_has(value))
		return;
	buf_printf(b, "<saml:Attribute Name=\"%s\"", name);
	if (format.p != NULL)
		xml_put_attr(b, "NameFormat", format);
	buf_puts(b, "><saml:AttributeValue>");
	xml_put_text(b, value);
	buf_puts(b, "</saml:AttributeValue></saml:Attribute>");
}

static const struct slice none;

/* Who the card is about. medcom:other is kept as the client says it; a CPR is a CPR number; the STS
 * rewrites both. */
static void
name_of(const struct idcard *from, bool user, struct slice *format, struct slice *text)
{
	*format = S(FORMAT_CPR);
	*text = from->cpr;
	if (!user) {
		*format = from->care_provider_format;
		*text = from->care_provider;
	} else if (slice_is(from->name_id_format, FORMAT_CPR) && !idcard_has(from->cpr) &&
	    idcard_is_cpr(from->name_id)) {
		*text = from->name_id;
	} else if (slice_is(from->name_id_format, FORMAT_OTHER) || !idcard_has(from->cpr)) {
		*format = S(FORMAT_OTHER);
		*text = from->name_id;
	}
}

static void
put_subject(struct buf *b, const struct idcard *from, bool user)
{
	struct slice format, text;

	name_of(from, user, &format, &text);
	buf_puts(b, "<saml:Subject><saml:NameID");
	xml_put_attr(b, "Format", format);
	buf_puts(b, ">");
	xml_put_text(b, text);
	buf_puts(b, "</saml:NameID><saml:SubjectConfirmation><saml:ConfirmationMethod>" HOLDER_OF_KEY
	    "</saml:ConfirmationMethod><saml:SubjectConfirmationData><ds:KeyInfo xmlns:ds=\"" NS_DS "\">"
	    "<ds:KeyName>" SIGNATURE_ID "</ds:KeyName></ds:KeyInfo></saml:SubjectConfirmationData>"
	    "</saml:SubjectConfirmation></saml:Subject>");
}

static void
put_card_data(struct buf *b, struct slice id, bool user)
{
	buf_puts(b, "<saml:AttributeStatement id=\"IDCardData\">");
	put_attribute(b, "sosi:IDCardID", none, id);
	put_attribute(b, "sosi:IDCardVersion", none, S("1.0.1"));
	put_attribute(b, "sosi:IDCardType", none, user ? S("user") : S("system"));
	put_attribute(b, "sosi:AuthenticationLevel", none, user ? S("4") : S("3"));
	buf_puts(b, "</saml:AttributeStatement>");
}

static void
put_user(struct buf *b, const struct idcard *from)
{
	buf_puts(b, "<saml:AttributeStatement id=\"UserLog\">");
	put_attribute(b, "medcom:UserCivilRegistrationNumber", none, from->cpr);
	put_attribute(b, "medcom:UserGivenName", none, from->given_name);
	put_attribute(b, "medcom:UserSurName", none, from->surname);
	put_attribute(b, "medcom:UserEmailAddress", none, from->email);
	put_attribute(b, "medcom:UserRole", none, from->role);
	put_attribute(b, "medcom:UserAuthorizationCode", none, from->authorization);
	put_attribute(b, "medcom:UserOccupation", none, from->occupation);
	buf_puts(b, "</saml:AttributeStatement>");
}

static void
put_system(struct buf *b, const struct idcard *from)
{
	buf_puts(b, "<saml:AttributeStatement id=\"SystemLog\">");
	put_attribute(b, "medcom:ITSystemName", none, from->system);
	put_attribute(b, "medcom:CareProviderID", from->care_provider_format, from->care_provider);
	put_attribute(b, "medcom:CareProviderName", none, from->care_provider_name);
	buf_puts(b, "</saml:AttributeStatement>");
}

static void
put_card(struct arena *a, struct buf *b, const struct idcard_new *n)
{
	bool user = slice_is(n->from->type, "user");
	struct slice start = clock_iso(a, n->now - MINUTES_5), end = clock_iso(a, n->now - MINUTES_5 + HOURS_24);

	buf_puts(b, "<saml:Assertion xmlns:saml=\"" NS_SAML "\"");
	xml_put_attr(b, "IssueInstant", start);
	buf_puts(b, " Version=\"2.0\" id=\"IDCard\"><saml:Issuer>");
	xml_put_text(b, n->issuer);
	buf_puts(b, "</saml:Issuer>");
	put_subject(b, n->from, user);
	buf_puts(b, "<saml:Conditions");
	xml_put_attr(b, "NotBefore", start);
	xml_put_attr(b, "NotOnOrAfter", end);
	buf_puts(b, "/>");
	put_card_data(b, rand_uuid(a), user);
	if (user)
		put_user(b, n->from);
	put_system(b, n->from);
	buf_puts(b, "</saml:Assertion>");
}

int
idcard_build(struct arena *a, const struct idcard_new *n, struct idcard **out, struct err *e)
{
	struct buf b;

	if (idcard_check_order(n->from, e) < 0)
		return -1;
	buf_init(&b, MOST);
	put_card(a, &b, n);
	int rc = b.failed ? err_set(e, ERR_MEMORY, "new card") : idcard_read(a, buf_slice(&b), out, e);
	buf_free(&b);
	return rc;
}
