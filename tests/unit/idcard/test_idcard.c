/* Reading, building and judging cards. The real cards of tests/data/dsig are the measure of what must be
 * accepted; the tables are what must not. */
#include "idcard.h"
#include "xml.h"

#include "unit.h"

#include "clock.h"
#include "conv.h"

#include <openssl/rsa.h>
#include <openssl/x509.h>

#define NOW INT64_C(1715673600)	/* 2024-05-14 08:00 UTC */
#define REAL_STS "tests/data/dsig/sts-card.xml"
#define REAL_CLIENT "tests/data/dsig/client-card.xml"
#define HELD "tests/data/idcard/held-unsigned.xml"

static struct idcard *
read_card(struct arena *a, struct slice xml)
{
	struct err e = { 0 };
	struct idcard *c;

	assert_ok(idcard_read(a, xml, &c, &e), &e);
	return c;
}

static X509 *
signer_of_real_cards(struct arena *a)
{
	struct err e = { 0 };
	X509 *cert;

	assert_ok(pki_read_der(a, unit_file(a, "tests/data/dsig/client-signer.der"), &cert, &e), &e);
	return cert;
}

static int
read_request(struct arena *a, struct slice text, struct idcard **out, struct err *e)
{
	xmlDoc *doc;

	assert_ok(xml_parse(a, text, &xml_document_limits, &doc, e), e);
	xmlNode *at = xmlDocGetRootElement(doc);
	if (xml_is(at, NS_SOAP, "Envelope"))
		at = xml_child(xml_child(xml_child(at, NS_SOAP, "Header", 0), NS_WSSE, "Security", 0), NS_SAML,
		    "Assertion", 0);
	assert_non_null(at);
	return idcard_read_request(a, at, out, e);
}

/* ---- strict reading */

static void
real_cards_follow_every_rule(void **state)
{
	struct slice xml = unit_file(*state, REAL_STS);
	struct idcard *c = read_card(*state, xml);

	assert_true(slice_eq(c->xml, slice_trim(xml)));
	assert_slice("TEST1-NSP-STS", c->issuer);
	assert_slice("medcom:other", c->name_id_format);
	assert_true(slice_starts(c->name_id, S("SubjectDN={CN=Lars Larsen + ")));
	assert_slice("j6AycAqUjwqPB2SIehdgew==", c->id);
	assert_slice("1.0.1", c->version);
	assert_slice("user", c->type);
	assert_int_equal(c->level, 4);
	assert_slice("fWnwGlZ+b73DMkNIb2I7rzx5YJ8=", c->cert_hash);
	assert_slice("0501792275", c->cpr);
	assert_slice("Lars", c->given_name);
	assert_slice("Larsen", c->surname);
	assert_slice("min.email@adatatest.com", c->email);
	assert_slice("7170", c->role);
	assert_slice("Overtester", c->occupation);
	assert_slice("J0184", c->authorization);
	assert_slice("SOSITEST", c->system);
	assert_slice("20921897", c->care_provider);
	assert_slice("medcom:cvrnumber", c->care_provider_format);
	assert_slice("TRIFORK A/S", c->care_provider_name);
	assert_true(c->is_signed);
	assert_int_equal(c->not_after - c->not_before, 86400);
	assert_int_equal(c->issued, c->not_before);
	assert_null(c->user_name.p);

	c = read_card(*state, unit_file(*state, REAL_CLIENT));
	assert_slice("TheSOSILibrary", c->issuer);
	assert_null(c->authorization.p);
	assert_false(read_card(*state, unit_file(*state, HELD))->is_signed);
}

#define ATTR(name, value) "<saml:Attribute Name=\"" name "\"><saml:AttributeValue>" value \
	"</saml:AttributeValue></saml:Attribute>"
#define CVR_ATTR "<saml:Attribute Name=\"medcom:CareProviderID\" NameFormat=\"medcom:cvrnumber\">"
#define CONFIRMATION "<saml:SubjectConfirmation><saml:ConfirmationMethod>" \
	"urn:oasis:names:tc:SAML:2.0:cm:holder-of-key</saml:ConfirmationMethod>" \
	"<saml:SubjectConfirmationData><ds:KeyInfo><ds:KeyName>OCESSignature</ds:KeyName></ds:KeyInfo>" \
	"</saml:SubjectConfirmationData></saml:SubjectConfirmation>"

struct change {
	const char *from, *to;
};

static void
a_card_that_breaks_a_rule_is_refused(void **state)
{
	static const struct change rows[] = {
		{ "id=\"IDCard\"", "id=\"Other\"" }, { " id=\"IDCard\"", "" }, { " id=\"IDCard\"", " ID=\"IDCard\"" },
		{ "Version=\"2.0\"", "Version=\"1.1\"" }, { " Version=\"2.0\"", "" },
		{ "Version=\"2.0\"", "Version=\"2.0\" Extra=\"\"" },
		{ "IssueInstant=\"2024-05-14T07:55:00Z\"", "" },
		{ "IssueInstant=\"2024-05-14T07:55:00Z\"", "IssueInstant=\"yesterday\"" },
		{ "<saml:Issuer>SOSI-GW</saml:Issuer>", "" },
		{ "<saml:Issuer>SOSI-GW</saml:Issuer>", "<saml:Issuer> </saml:Issuer>" },
		{ "<saml:Issuer>SOSI-GW</saml:Issuer>", "<saml:Issuer>a</saml:Issuer><saml:Issuer>b</saml:Issuer>" },
		{ "<saml:Issuer>SOSI-GW</saml:Issuer>", "<Issuer>SOSI-GW</Issuer>" },
		{ "<saml:Issuer>", "<saml:Issuer><saml:Advice/>" }, { "<saml:Issuer>", "text<saml:Issuer>" },
		{ ">1802602810</saml:NameID>", "></saml:NameID>" },
		{ "<saml:NameID Format=\"medcom:cprnumber\">1802602810</saml:NameID>", "" },
		{ " Format=\"medcom:cprnumber\"", "" }, { "\"medcom:cprnumber\"", "\"medcom:passport\"" },
		{ "</saml:NameID>", "</saml:NameID><saml:NameID Format=\"medcom:other\">x</saml:NameID>" },
		{ CONFIRMATION, "" }, { CONFIRMATION, CONFIRMATION CONFIRMATION },
		{ "cm:holder-of-key", "cm:bearer" }, { "<ds:KeyName>OCESSignature", "<ds:KeyName>Other" },
		{ "<ds:KeyInfo><ds:KeyName>OCESSignature</ds:KeyName></ds:KeyInfo>", "" },
		{ "<ds:KeyInfo>", "<ds:KeyInfo><ds:KeyValue/>" },
		{ "<ds:KeyName>OCESSignature</ds:KeyName></ds:KeyInfo>", "<ds:KeyName>OCESSignature</ds:KeyName>"
		    "</ds:KeyInfo><wsse:UsernameToken xmlns:wsse=\"" NS_WSSE "\"><wsse:Username>u</wsse:Username>"
		    "<wsse:Password>p</wsse:Password></wsse:UsernameToken>" },
		{ "NotBefore=\"2024-05-14T07:55:00Z\" ", "" }, { "NotOnOrAfter=\"2024-05-15T07:55:00Z\"", "" },
		{ "NotBefore=\"2024-05-14T07:55:00Z\"", "NotBefore=\"2024-05-14 07:55:00\"" },
		{ "NotOnOrAfter=\"2024-05-15T07:55:00Z\"", "NotOnOrAfter=\"\"" },
		{ "NotOnOrAfter=\"2024-05-15T07:55:00Z\"", "NotOnOrAfter=\"2024-05-14T07:55:00Z\"" },
		{ "</saml:Conditions>", "<saml:OneTimeUse/></saml:Conditions>" },
		{ "</saml:Conditions>", "</saml:Conditions><saml:Conditions NotBefore=\"2024-05-14T07:55:00Z\" "
		    "NotOnOrAfter=\"2024-05-15T07:55:00Z\"/>" },
		{ "</saml:Conditions>", "</saml:Conditions><saml:Advice/>" },
		{ "</saml:Conditions>", "</saml:Conditions><saml:Assertion/>" },
		{ "id=\"IDCardData\"", "id=\"UserLog\"" }, { " id=\"IDCardData\"", "" },
		{ "id=\"UserLog\"", "id=\"SystemLog\"" },
		{ "<saml:AttributeStatement id=\"SystemLog\">", "<saml:AttributeStatement id=\"Other\">"
		    ATTR("x", "y") "</saml:AttributeStatement><saml:AttributeStatement id=\"SystemLog\">" },
		{ ATTR("sosi:IDCardID", "c2a0c9a4-1f1a-4e0e-9a8d-3b7b2f6a9d02"), "" },
		{ "c2a0c9a4-1f1a-4e0e-9a8d-3b7b2f6a9d02", "" },
		{ ATTR("sosi:IDCardType", "user"), ATTR("sosi:IDCardType", "user") ATTR("sosi:IDCardType", "user") },
		{ ATTR("sosi:IDCardType", "user"), ATTR("sosi:IDCardType", "admin") },
		{ ATTR("sosi:IDCardType", "user"), ATTR("sosi:IDCardType", "system") },
		{ ATTR("sosi:IDCardVersion", "1.0.1"), ATTR("sosi:IDCardVersion", "1.1") },
		{ ATTR("sosi:AuthenticationLevel", "4"), "" },
		{ ATTR("sosi:AuthenticationLevel", "4"), ATTR("sosi:AuthenticationLevel", "5") },
		{ ATTR("sosi:AuthenticationLevel", "4"), ATTR("sosi:AuthenticationLevel", "04") },
		{ ATTR("sosi:AuthenticationLevel", "4"), ATTR("sosi:AuthenticationLevel", "1") },
		{ ATTR("sosi:AuthenticationLevel", "4"), ATTR("sosi:AuthenticationLevel", "2") },
		{ ATTR("sosi:AuthenticationLevel", "4"),
		    ATTR("sosi:AuthenticationLevel", "4") ATTR("sosi:AuthenticationLevel", "3") },
		{ ATTR("sosi:AuthenticationLevel", "4"), "<saml:Attribute Name=\"sosi:AuthenticationLevel\">"
		    "<saml:AttributeValue>4</saml:AttributeValue><saml:AttributeValue>3</saml:AttributeValue>"
		    "</saml:Attribute>" },
		{ ATTR("sosi:AuthenticationLevel", "4"), "<saml:Attribute Name=\"sosi:AuthenticationLevel\"/>" },
		{ ATTR("medcom:UserGivenName", "Stine"), "" }, { ATTR("medcom:UserSurName", "Svendsen"), "" },
		{ ATTR("medcom:UserRole", "l\xC3\xA6ge"), "" }, { "l\xC3\xA6ge", "" },
		{ ATTR("medcom:UserRole", "l\xC3\xA6ge"),
		    ATTR("medcom:UserRole", "l\xC3\xA6ge") ATTR("medcom:UserRole", "sygeplejerske") },
		{ "<saml:AttributeValue>l\xC3\xA6ge", "<saml:AttributeValue><b/>l\xC3\xA6ge" },
		{ "<saml:AttributeValue>l\xC3\xA6ge", "<saml:AttributeValue x=\"\">l\xC3\xA6ge" },
		{ ATTR("medcom:UserCivilRegistrationNumber", "1802602810"),
		    ATTR("medcom:UserCivilRegistrationNumber", "180260281") },
		{ ATTR("medcom:UserCivilRegistrationNumber", "1802602810"),
		    ATTR("medcom:UserCivilRegistrationNumber", "180260-2810") },
		{ ATTR("medcom:UserCivilRegistrationNumber", "1802602810"),
		    ATTR("medcom:UserCivilRegistrationNumber", "") },
		{ ATTR("medcom:ITSystemName", "Sygdom.dk"), "" },
		{ ATTR("medcom:CareProviderName", "Statens Serum Institut"), "" },
		{ " NameFormat=\"medcom:cvrnumber\"", "" }, { "\"medcom:cvrnumber\"", "\"medcom:sor\"" },
		{ CVR_ATTR "<saml:AttributeValue>30808460", CVR_ATTR "<saml:AttributeValue>" },
		{ "Name=\"medcom:ITSystemName\"", "Name=\"medcom:ITSystemName\" NameFormat=\"medcom:other\"" },
		{ "Name=\"medcom:ITSystemName\"", "Name=\"medcom:ITSystemName\" FriendlyName=\"x\"" },
		{ ATTR("medcom:ITSystemName", "Sygdom.dk"),
		    ATTR("medcom:ITSystemName", "Sygdom.dk") ATTR("sosi:OCESCertHash", "AAAA") },
		{ "<saml:AttributeStatement id=\"IDCardData\">", "<saml:AttributeStatement id=\"IDCardData\">"
		    ATTR("medcom:UserOccupation", "x") },
		{ "</saml:Assertion>", "<ds:Signature/><ds:Signature/></saml:Assertion>" },
		{ "</saml:Assertion>", "<ds:Object/></saml:Assertion>" },
		{ "</saml:Assertion>", "<!-- x --></saml:Assertion>" },
		{ "<saml:Assertion", "<!DOCTYPE x><saml:Assertion" }, { "</saml:Assertion>", "" },
	};
	struct slice good = unit_file(*state, HELD);
	struct idcard *c;
	struct err e = { 0 };

	assert_ok(idcard_read(*state, good, &c, &e), &e);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		err_clear(&e);
		int rc = idcard_read(*state, unit_edited(*state, good, rows[i].from, rows[i].to), &c, &e);
		if (rc == 0 || e.kind != ERR_CARD_FORM)
			fail_msg("%s -> %s: %s %s", rows[i].from, rows[i].to, err_name(e.kind), e.detail);
	}
	assert_err(ERR_CARD_FORM, idcard_read(*state, S("<a/>"), &c, &e), &e);
}

static void
what_dgws_leaves_open_is_accepted(void **state)
{
	static const struct change rows[] = {
		{ "<saml:Issuer>", "\n  <saml:Issuer>" },
		{ "\"medcom:cprnumber\"", "\"medcom:other\"" },
		{ ATTR("medcom:UserCivilRegistrationNumber", "1802602810"), "" },
		{ ATTR("medcom:UserEmailAddress", "stineSvendsen@example.com"), "" },
		{ ATTR("medcom:UserAuthorizationCode", "ZXCVB"), "" },
		{ ATTR("sosi:IDCardVersion", "1.0.1"), ATTR("sosi:IDCardVersion", "1.0") },
		{ ATTR("sosi:IDCardType", "user"), ATTR("sosi:IDCardType", "user") ATTR("sosi:OCESCertHash", "AAAA") },
		{ ATTR("medcom:UserRole", "l\xC3\xA6ge"), ATTR("medcom:UserRole", "l\xC3\xA6ge")
		    ATTR("medcom:UserEducationCode", "7170") },
		{ "2024-05-15T07:55:00Z", "2024-05-15T09:55:00+02:00" },
		{ "2024-05-15T07:55:00Z", "2024-05-15T07:55:00.123Z" },
		{ "\"medcom:cvrnumber\"", "\"medcom:skscode\"" },
		{ "</saml:Assertion>", "<ds:Signature/></saml:Assertion>" },
	};
	struct slice good = unit_file(*state, HELD);

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		read_card(*state, unit_edited(*state, good, rows[i].from, rows[i].to));
}

/* ---- requests */

static void
real_requests_are_read(void **state)
{
	struct err e = { 0 };
	struct idcard *c;

	assert_ok(read_request(*state, unit_file(*state, "tests/data/fmk/logout.xml"), &c, &e), &e);
	assert_slice("##USERNAME##", c->name_id);
	assert_slice("medcom:other", c->name_id_format);
	assert_int_equal(c->level, 1);
	assert_true(c->not_after > 0 && c->not_after < NOW);
	assert_ok(read_request(*state, unit_file(*state, "tests/data/fmk/dump_patient.xml"), &c, &e), &e);
	assert_ok(read_request(*state, unit_file(*state, REAL_CLIENT), &c, &e), &e);
	assert_true(c->is_signed);
	assert_true(slice_eq(c->xml, slice_trim(unit_file(*state, REAL_CLIENT))));
}

static void
a_request_is_read_leniently_but_never_in_two_ways(void **state)
{
	static const struct {
		const char *from, *to;
		enum err_kind want;
	} rows[] = {
		{ CONFIRMATION, "", ERR_NONE }, { "2024-05-15", "1024-05-15", ERR_NONE },
		{ "NotBefore=\"2024-05-14T07:55:00Z\" ", "", ERR_NONE }, { "</saml:Issuer>", "</saml:Issuer><x/>", ERR_NONE },
		{ ATTR("sosi:AuthenticationLevel", "4"), "", ERR_NONE },
		{ ATTR("sosi:AuthenticationLevel", "4"), ATTR("sosi:AuthenticationLevel", " 4\n"), ERR_NONE },
		{ ATTR("medcom:UserRole", "l\xC3\xA6ge"), ATTR("x", "y") ATTR("x", "y"), ERR_NONE },
		{ "<saml:AttributeStatement id=\"IDCardData\">", "<saml:AttributeStatement>", ERR_NONE },
		{ "<saml:Issuer>SOSI-GW</saml:Issuer>", "", ERR_NONE },
		{ ATTR("medcom:UserRole", "l\xC3\xA6ge"), "<saml:Attribute Name=\"medcom:UserRole\"/>", ERR_NONE },
		{ ">1802602810</saml:NameID>", "></saml:NameID>", ERR_NO_NAME_ID },
		{ ">1802602810</saml:NameID>", "> \n\t</saml:NameID>", ERR_NO_NAME_ID },
		{ "<saml:NameID Format=\"medcom:cprnumber\">1802602810</saml:NameID>", "", ERR_NO_NAME_ID },
		{ "<saml:NameID Format=\"medcom:cprnumber\">1802602810</saml:NameID>",
		    "<saml:EncryptedID>x</saml:EncryptedID>", ERR_NO_NAME_ID },
		{ "<saml:NameID Format=\"medcom:cprnumber\">1802602810</saml:NameID>",
		    "<x:NameID xmlns:x=\"u:x\">1802602810</x:NameID>", ERR_NO_NAME_ID },
		{ ">1802602810</saml:NameID>", "><b>1802602810</b></saml:NameID>", ERR_CARD_FORM },
		{ "</saml:NameID>", "</saml:NameID><saml:NameID>x</saml:NameID>", ERR_CARD_FORM },
		{ "<saml:Subject>", "<saml:Subject><saml:NameID>x</saml:NameID></saml:Subject><saml:Subject>",
		    ERR_CARD_FORM },
		{ "<saml:Conditions", "<saml:Advice><saml:Assertion/></saml:Advice><saml:Conditions", ERR_CARD_FORM },
		{ "<saml:Conditions", "<saml:Conditions/><saml:Conditions", ERR_CARD_FORM },
		{ "<saml:Issuer>", "<saml:Issuer/><saml:Issuer>", ERR_CARD_FORM },
		{ "</saml:Assertion>", "<ds:Signature/><ds:Signature/></saml:Assertion>", ERR_CARD_FORM },
		{ ATTR("sosi:AuthenticationLevel", "4"),
		    ATTR("sosi:AuthenticationLevel", "4") ATTR("sosi:AuthenticationLevel", "4"), ERR_CARD_FORM },
		{ ATTR("sosi:AuthenticationLevel", "4"), ATTR("sosi:AuthenticationLevel", "9"), ERR_CARD_FORM },
		{ ATTR("medcom:UserRole", "l\xC3\xA6ge"), "<saml:Attribute Name=\"medcom:UserRole\">"
		    "<saml:AttributeValue>a</saml:AttributeValue><saml:AttributeValue>b</saml:AttributeValue>"
		    "</saml:Attribute>", ERR_CARD_FORM },
		{ ATTR("medcom:UserRole", "l\xC3\xA6ge"), "<saml:Attribute Name=\"medcom:UserRole\">"
		    "<saml:AttributeValue><b/></saml:AttributeValue></saml:Attribute>", ERR_CARD_FORM },
		{ "<saml:Issuer>", "<saml:Issuer xmlns:x=\"relative\">", ERR_CARD_FORM },
	};
	struct slice good = unit_file(*state, HELD);

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct err e = { 0 };
		struct idcard *c;
		read_request(*state, unit_edited(*state, good, rows[i].from, rows[i].to), &c, &e);
		if (e.kind != rows[i].want)
			fail_msg("%s -> %s: %s %s", rows[i].from, rows[i].to, err_name(e.kind), e.detail);
	}
}

static void
the_user_is_the_whole_text_of_nameid(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{ " a ", "a" }, { "a<!-- x -->b", "ab" }, { "<![CDATA[a]]>b", "ab" }, { "a&amp;b", "a&b" },
		{ "\xC2\xA0" "a", "\xC2\xA0" "a" }, { "A", "A" }, { "a b", "a b" }, { "&#x20;a", "a" },
	};
	struct slice good = unit_file(*state, HELD);

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct err e = { 0 };
		struct idcard *c;
		struct slice to = arena_printf(*state, ">%s</saml:NameID>", rows[i].text);
		assert_ok(read_request(*state, unit_edited(*state, good, ">1802602810</saml:NameID>", to.p), &c, &e), &e);
		assert_slice(rows[i].want, c->name_id);
	}
}

/* ---- time */

static void
a_card_is_valid_from_its_beginning_to_its_end(void **state)
{
	static const struct {
		int64_t from, to, now, skew;
		enum err_kind want;
	} rows[] = {
		{ NOW, NOW + 100, NOW, 0, ERR_NONE }, { NOW, NOW + 100, NOW + 99, 0, ERR_NONE },
		{ NOW, NOW + 100, NOW + 100, 0, ERR_CARD_EXPIRED }, { NOW, NOW + 100, NOW + 100, 30, ERR_CARD_EXPIRED },
		{ NOW, NOW + 100, NOW - 1, 0, ERR_CARD_EXPIRED }, { NOW, NOW + 100, NOW - 30, 30, ERR_NONE },
		{ NOW, NOW + 100, NOW - 31, 30, ERR_CARD_EXPIRED },
		{ NOW, NOW + 87000, NOW, 0, ERR_NONE }, { NOW, NOW + 87001, NOW, 0, ERR_CARD_FORM },
		{ NOW, NOW, NOW, 0, ERR_CARD_FORM }, { NOW + 1, NOW, NOW, 0, ERR_CARD_FORM },
		{ 0, NOW, NOW, 0, ERR_CARD_FORM }, { NOW, 0, NOW, 0, ERR_CARD_FORM }, { 0, 0, NOW, 0, ERR_CARD_FORM },
		{ -5, 5, 0, 0, ERR_CARD_FORM },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct idcard c = { .not_before = rows[i].from, .not_after = rows[i].to };
		struct err e = { 0 };
		idcard_check_time(&c, rows[i].now, rows[i].skew, &e);
		if (e.kind != rows[i].want)
			fail_msg("row %zu: %s", i, err_name(e.kind));
	}
}

/* ---- orders and new cards */

static struct idcard
order_of(struct arena *a)
{
	return *read_card(a, unit_file(a, HELD));
}

static void
an_order_says_everything_that_it_lacks(void **state)
{
	struct err e = { 0 };
	struct idcard c = order_of(*state);

	assert_ok(idcard_check_order(&c, &e), &e);
	c.level = 1;
	c.cpr = c.authorization = c.email = (struct slice){ 0 };
	assert_ok(idcard_check_order(&c, &e), &e);

	c = (struct idcard){ 0 };
	assert_err(ERR_CARD_DATA, idcard_check_order(&c, &e), &e);
	assert_string_equal(e.said, "sosi:IDCardType (user, system), sosi:AuthenticationLevel (user: 1, 4; system: 3), "
	    "medcom:ITSystemName, medcom:CareProviderID, medcom:CareProviderID/@NameFormat (medcom:cvrnumber, medcom:ynumber, ...), medcom:CareProviderName");
	c.type = S("user");
	c.level = 4;
	assert_err(ERR_CARD_DATA, idcard_check_order(&c, &e), &e);
	assert_string_equal(e.said, "medcom:UserGivenName, medcom:UserSurName, medcom:UserRole, medcom:ITSystemName, "
	    "medcom:CareProviderID, medcom:CareProviderID/@NameFormat (medcom:cvrnumber, medcom:ynumber, ...), medcom:CareProviderName");

	static const struct {
		const char *type;
		int level;
		bool good;
	} levels[] = {
		{ "user", 0, false }, { "user", 1, true }, { "user", 2, false }, { "user", 3, false }, { "user", 4, true },
		{ "system", 1, false }, { "system", 3, true }, { "system", 4, false }, { "User", 4, false },
	};
	for (size_t i = 0; i < sizeof levels / sizeof *levels; i++) {
		c = order_of(*state);
		c.type = slice_of(levels[i].type);
		c.level = levels[i].level;
		err_clear(&e);
		assert_int_equal(idcard_check_order(&c, &e), levels[i].good ? 0 : -1);
	}
	c = order_of(*state);
	c.cpr = S("180260-2810");
	assert_err(ERR_CARD_DATA, idcard_check_order(&c, &e), &e);
	c = order_of(*state);
	c.role = S("");
	assert_err(ERR_CARD_DATA, idcard_check_order(&c, &e), &e);
	c = order_of(*state);
	c.care_provider_format = S("medcom:nothing");
	assert_err(ERR_CARD_DATA, idcard_check_order(&c, &e), &e);
}

static struct idcard *
built(struct arena *a, const struct idcard *from)
{
	const struct idcard_new n = { .from = from, .issuer = S("SOSI-GW"), .now = NOW };
	struct err e = { 0 };
	struct idcard *c;

	assert_ok(idcard_build(a, &n, &c, &e), &e);
	return c;
}

static void
a_new_card_has_the_published_form(void **state)
{
	struct idcard from = order_of(*state), *c = built(*state, &from);
	/* the published example differs in IDCardID, and where it declares ds */
	struct slice want = unit_edited(*state, unit_file(*state, HELD), "c2a0c9a4-1f1a-4e0e-9a8d-3b7b2f6a9d02",
	    arena_printf(*state, "%.*s", SLICE_FMT(c->id)).p);

	want = unit_edited(*state, want, "xmlns:ds=\"" NS_DS "\" ", "");
	want = unit_edited(*state, want, "<ds:KeyInfo>", "<ds:KeyInfo xmlns:ds=\"" NS_DS "\">");
	assert_true(slice_eq(slice_trim(want), c->xml));
	assert_int_equal(c->level, 4);
	assert_false(c->is_signed);
	assert_int_equal(c->not_before, NOW - 300);
	assert_int_equal(c->not_after, NOW - 300 + 86400);
	struct err e = { 0 };
	struct slice info;
	assert_ok(dsig_prepare(*state, c->xml, DSIG_SHA1, &info, &e), &e);
	assert_int_equal(info.n, 677);
	assert_false(slice_eq(c->id, built(*state, &from)->id));
}

static void
a_new_card_is_what_the_order_says_and_no_more(void **state)
{
	struct idcard from = order_of(*state);
	from.level = 1;
	from.given_name = S("<Stine> & \"S\xC3\xB8n\" \r]]>");
	from.surname = S("'\xE2\x82\xAC'");
	from.email = S("");
	from.cert_hash = S("AAAA");
	from.version = S("1.0");
	struct idcard *c = built(*state, &from);

	assert_int_equal(c->level, 4);
	assert_true(slice_eq(c->given_name, slice_trim(from.given_name)));
	assert_true(slice_eq(c->surname, from.surname));
	assert_null(c->email.p);
	assert_null(c->cert_hash.p);
	assert_slice("1.0.1", c->version);
	/* canonical as it stands */
	struct idcard *again = read_card(*state, c->xml);
	assert_true(slice_eq(again->xml, c->xml));
}

static void
nameid_of_a_new_card_says_who_it_is_for(void **state)
{
	static const struct {
		const char *format, *name_id, *cpr, *want_format, *want;
	} rows[] = {
		{ "medcom:cprnumber", "1802602810", "1802602810", "medcom:cprnumber", "1802602810" },
		{ "medcom:cprnumber", "2203333571", "1802602810", "medcom:cprnumber", "1802602810" },
		{ "medcom:cprnumber", "2203333571", NULL, "medcom:cprnumber", "2203333571" },
		{ "medcom:cprnumber", "stine", NULL, "medcom:other", "stine" },
		{ "medcom:other", "stine", "1802602810", "medcom:other", "stine" },
		{ "medcom:other", "stine", NULL, "medcom:other", "stine" },
		{ "medcom:itsystemname", "stine", NULL, "medcom:other", "stine" },
		{ "medcom:itsystemname", "stine", "1802602810", "medcom:cprnumber", "1802602810" },
		{ NULL, "stine", NULL, "medcom:other", "stine" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct idcard from = order_of(*state);
		from.name_id_format = slice_of(rows[i].format);
		from.name_id = slice_of(rows[i].name_id);
		from.cpr = slice_of(rows[i].cpr);
		struct idcard *c = built(*state, &from);
		assert_slice(rows[i].want_format, c->name_id_format);
		assert_slice(rows[i].want, c->name_id);
		assert_int_equal(c->cpr.p != NULL, rows[i].cpr != NULL);
	}
	struct idcard from = order_of(*state);
	from.type = S("system");
	from.level = 3;
	struct idcard *c = built(*state, &from);
	assert_int_equal(c->level, 3);
	assert_slice("system", c->type);
	assert_slice("medcom:cvrnumber", c->name_id_format);
	assert_slice("30808460", c->name_id);
	assert_null(c->given_name.p);
}

static void
no_card_is_built_from_too_little(void **state)
{
	struct idcard from = order_of(*state), *c;
	struct idcard_new n = { .from = &from, .issuer = S(""), .now = NOW };
	struct err e = { 0 };

	assert_err(ERR_CARD_FORM, idcard_build(*state, &n, &c, &e), &e);
	n.issuer = S("SOSI-GW");
	from.role = (struct slice){ 0 };
	assert_err(ERR_CARD_DATA, idcard_build(*state, &n, &c, &e), &e);
	from.role = S("x");
	char *big = arena_alloc(*state, 300000);
	memset(big, 'x', 300000);
	from.surname = (struct slice){ big, 300000 };
	assert_err(ERR_MEMORY, idcard_build(*state, &n, &c, &e), &e);
}

/* ---- the answer of the STS */

/* What the STS makes of the order (idcard.md 3.2): the real card of 2020, and the order it may answer. */
static struct idcard
asked_for(struct arena *a)
{
	struct idcard c = *read_card(a, unit_file(a, REAL_STS));

	c.issuer = S("SOSI-GW");
	c.id = S("ours");
	c.name_id_format = S("medcom:cprnumber");
	c.name_id = c.cpr;
	c.cert_hash = S("fWnwGlZ+b73DMkNIb2I7rzx5YJ8=");
	c.is_signed = true;
	return c;
}

static void
what_the_sts_may_rewrite_is_accepted(void **state)
{
	struct idcard *got = read_card(*state, unit_file(*state, REAL_STS));
	struct idcard asked = asked_for(*state), other;
	X509 *signer = signer_of_real_cards(*state);
	struct err e = { 0 };

	assert_ok(idcard_check_answer(*state, &asked, got, signer, &e), &e);
	other = asked;	/* filled in */
	other.cpr = other.authorization = other.role = (struct slice){ 0 };
	assert_ok(idcard_check_answer(*state, &other, got, signer, &e), &e);
	other = asked;
	other.name_id_format = S("medcom:other");
	other.name_id = S("lars");
	assert_ok(idcard_check_answer(*state, &other, got, signer, &e), &e);
	other = *got;	/* the hash made by the STS */
	other.cert_hash = pki_cert_hash(*state, signer);
	asked.cert_hash = (struct slice){ 0 };
	assert_ok(idcard_check_answer(*state, &asked, &other, signer, &e), &e);
	other.cert_hash = (struct slice){ 0 };
	assert_ok(idcard_check_answer(*state, &asked, &other, signer, &e), &e);
	other = *got;	/* remarks left out, NameID kept */
	other.cert_hash = other.email = other.occupation = (struct slice){ 0 };
	other.name_id = asked.name_id;
	other.name_id_format = asked.name_id_format;
	assert_ok(idcard_check_answer(*state, &asked, &other, signer, &e), &e);
	assert_ok(idcard_check_answer(*state, &asked, &other, NULL, &e), &e);
}

#define NAMES "SubjectDN={CN=Lars Larsen + SERIALNUMBER=CVR:20921897-RID:52723247, " \
	"O=TRIFORK A/S // CVR:20921897, C=DK},IssuerDN={CN=TRUST2408 Systemtest XXII CA, O=TRUST2408, C=DK}," \
	"CertSerial={1537885084}"

static void
another_card_than_asked_for_is_refused(void **state)
{
	const struct {
		size_t field;
		const char *value, *why;
	} rows[] = {
		{ offsetof(struct idcard, type), "system", "another level" },
		{ offsetof(struct idcard, version), "1.0", "another level" },
		{ offsetof(struct idcard, cpr), "0101010101", "another person" },
		{ offsetof(struct idcard, cpr), NULL, "another person" },
		{ offsetof(struct idcard, given_name), "Lise", "another name" },
		{ offsetof(struct idcard, surname), "Hansen", "another name" },
		{ offsetof(struct idcard, surname), NULL, "another name" },
		{ offsetof(struct idcard, role), "5433", "another role" },
		{ offsetof(struct idcard, role), NULL, "another role" },
		{ offsetof(struct idcard, authorization), "KT2Z4", "another authorisation" },
		{ offsetof(struct idcard, authorization), NULL, "another authorisation" },
		{ offsetof(struct idcard, system), "Other", "another system" },
		{ offsetof(struct idcard, care_provider), "30808460", "another system" },
		{ offsetof(struct idcard, care_provider_format), "medcom:skscode", "another system" },
		{ offsetof(struct idcard, care_provider_name), "Other", "another system" },
		{ offsetof(struct idcard, email), "other@example.com", "another email" },
		{ offsetof(struct idcard, occupation), "Other", "another email" },
		{ offsetof(struct idcard, user_name), "u", "not signed" },
		{ offsetof(struct idcard, name_id), "SubjectDN={CN=Lise},IssuerDN={CN=X},CertSerial={1}", "NameID" },
		{ offsetof(struct idcard, name_id), "0501792275", "NameID" },
		{ offsetof(struct idcard, name_id), "", "NameID" },
		{ offsetof(struct idcard, name_id), NULL, "NameID" },
		{ offsetof(struct idcard, name_id_format), "medcom:skscode", "NameID" },
		{ offsetof(struct idcard, cert_hash), "dtQ+wH6fFBplFACXnKGWEnWs50o=", "OCESCertHash" },
	};
	struct idcard *real = read_card(*state, unit_file(*state, REAL_STS));
	struct idcard asked = asked_for(*state);
	X509 *signer = signer_of_real_cards(*state);
	struct err e = { 0 };

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct idcard got = *real;
		*(struct slice *)(void *)((char *)&got + rows[i].field) = slice_of(rows[i].value);
		assert_err(ERR_STS_CARD, idcard_check_answer(*state, &asked, &got, signer, &e), &e);
		if (strstr(e.detail, rows[i].why) == NULL)
			fail_msg("row %zu: %s", i, e.detail);
	}
	struct idcard got = *real;
	got.level = 3;
	assert_err(ERR_STS_CARD, idcard_check_answer(*state, &asked, &got, signer, &e), &e);
	got.level = asked.level = 1;
	assert_err(ERR_STS_CARD, idcard_check_answer(*state, &asked, &got, signer, &e), &e);
	asked.level = 4;
	got = *real;
	got.is_signed = false;
	assert_err(ERR_STS_CARD, idcard_check_answer(*state, &asked, &got, signer, &e), &e);
	assert_err(ERR_STS_CARD, idcard_check_answer(*state, &asked, real, NULL, &e), &e);
	/* the person named in NameID alone */
	asked.cpr = (struct slice){ 0 };
	asked.name_id = S("0101010101");
	assert_err(ERR_STS_CARD, idcard_check_answer(*state, &asked, real, signer, &e), &e);
}

static void
nameid_may_be_written_in_another_way_but_not_name_another(void **state)
{
	static const struct {
		const char *name_id;
		bool good;
	} rows[] = {
		{ NAMES, true },
		{ "SubjectDN={C=DK,O=x,OID.2.5.4.5=CVR:20921897-RID:52723247},IssuerDN={x},CertSerial={1537885084}", true },
		{ "SubjectDN={SERIALNUMBER=CVR:20921897-RID:52723247 + CN=x},IssuerDN={},CertSerial={1537885084}", true },
		{ "SubjectDN={CN=Lars Larsen},IssuerDN={x},CertSerial={1537885084}", false },
		{ "SubjectDN={S=CVR:20921897-RID:52723247},IssuerDN={x},CertSerial={1537885085}", false },
		{ "SubjectDN={S=CVR:20921897-RID:52723247},IssuerDN={x},CertSerial={537885084}", false },
		{ "SubjectDN={S=CVR:20921897-RID:527232470},IssuerDN={x},CertSerial={1537885084}", false },
		{ "SubjectDN={S=xCVR:20921897-RID:52723247},IssuerDN={x},CertSerial={1537885084}", false },
		{ "SubjectDN={x},IssuerDN={S=CVR:20921897-RID:52723247},CertSerial={1537885084}", false },
		{ "S=CVR:20921897-RID:52723247},IssuerDN={x},CertSerial={1537885084}", false },
		{ "SubjectDN={S=CVR:20921897-RID:52723247},CertSerial={1537885084}", false },
		{ "SubjectDN={S=CVR:20921897-RID:52723247},IssuerDN={x},CertSerial={1537885084} ", false },
	};
	struct idcard got = *read_card(*state, unit_file(*state, REAL_STS)), asked = asked_for(*state);
	X509 *signer = signer_of_real_cards(*state);

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct err e = { 0 };
		got.name_id = slice_of(rows[i].name_id);
		if ((idcard_check_answer(*state, &asked, &got, signer, &e) == 0) != rows[i].good)
			fail_msg("%s: %s", rows[i].name_id, e.detail);
	}
}

/* ---- the signer */

static void
only_the_right_kind_of_certificate_may_sign(void **state)
{
	static const struct {
		int level;
		enum pki_kind kind;
		const char *format, *care_provider, *cvr;
		bool check_cvr;
		enum err_kind want;
	} rows[] = {
		{ 4, PKI_EMPLOYEE, "medcom:cvrnumber", "12345678", "12345678", true, ERR_NONE },
		{ 3, PKI_ORGANISATION, "medcom:cvrnumber", "12345678", "12345678", true, ERR_NONE },
		{ 3, PKI_FUNCTION, "medcom:cvrnumber", "12345678", "12345678", true, ERR_NONE },
		{ 4, PKI_EMPLOYEE, "medcom:skscode", "1234", "12345678", true, ERR_NONE },
		{ 4, PKI_EMPLOYEE, "medcom:cvrnumber", "87654321", "12345678", false, ERR_NONE },
		{ 4, PKI_EMPLOYEE, "medcom:cvrnumber", "87654321", "12345678", true, ERR_CERT_OTHER },
		{ 3, PKI_FUNCTION, "medcom:cvrnumber", "87654321", "12345678", true, ERR_CERT_OTHER },
		{ 4, PKI_EMPLOYEE, "medcom:cvrnumber", "12345678", NULL, true, ERR_CERT_OTHER },
		{ 4, PKI_ORGANISATION, "medcom:cvrnumber", "12345678", "12345678", true, ERR_CERT_KIND },
		{ 4, PKI_FUNCTION, "medcom:cvrnumber", "12345678", "12345678", true, ERR_CERT_KIND },
		{ 4, PKI_PERSON, "medcom:cvrnumber", "12345678", NULL, false, ERR_CERT_KIND },
		{ 3, PKI_EMPLOYEE, "medcom:cvrnumber", "12345678", "12345678", true, ERR_CERT_KIND },
		{ 3, PKI_PERSON, "medcom:cvrnumber", "12345678", NULL, false, ERR_CERT_KIND },
		{ 1, PKI_EMPLOYEE, "medcom:cvrnumber", "12345678", "12345678", false, ERR_CERT_KIND },
		{ 0, PKI_EMPLOYEE, "medcom:cvrnumber", "12345678", "12345678", false, ERR_CERT_KIND },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct idcard c = { .level = rows[i].level, .care_provider = slice_of(rows[i].care_provider),
			.care_provider_format = slice_of(rows[i].format) };
		struct pki_identity who = { .kind = rows[i].kind, .cvr = slice_of(rows[i].cvr) };
		struct err e = { 0 };
		idcard_check_signer(&c, &who, rows[i].check_cvr, &e);
		if (e.kind != rows[i].want)
			fail_msg("row %zu: %s", i, err_name(e.kind));
	}
}

/* ---- the whole way */

static void
an_order_is_built_signed_and_read_again(void **state)
{
	struct idcard from = order_of(*state), *c = built(*state, &from), *back;
	EVP_PKEY *key = EVP_RSA_gen(2048);
	X509 *cert = X509_new();
	struct err e = { 0 };
	struct slice xml;

	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_set_pubkey(cert, key);
	X509_gmtime_adj(X509_getm_notBefore(cert), 0);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
	assert_ok(dsig_sign(*state, c->xml, DSIG_SHA1, key, cert, &xml, &e), &e);
	back = read_card(*state, xml);
	assert_true(back->is_signed);
	assert_true(slice_eq(back->xml, xml));
	assert_true(slice_eq(back->id, c->id));
	assert_ok(idcard_check_time(back, NOW, 0, &e), &e);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static void
memory_that_ends_is_no_verdict(void **state)
{
	struct slice xml = unit_file(*state, REAL_STS);
	bool done = false;

	for (unsigned long n = 1; !done; n++) {
		struct arena *a = arena_new(1 << 20);
		struct err e = { 0 };
		struct idcard *c = NULL;
		assert_non_null(a);
		arena_fail_at(n);
		done = idcard_read(a, xml, &c, &e) == 0;
		arena_fail_at(0);
		if (done)
			assert_slice("Lars", c->given_name);
		assert_true(n < 200);
		arena_free(a);
	}
}

static int
group_setup(void **state)
{
	struct err e = { 0 };

	(void)state;
	xml_init();
	return dsig_init(&e);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_ARENA_TEST(real_cards_follow_every_rule),
		UNIT_ARENA_TEST(a_card_that_breaks_a_rule_is_refused),
		UNIT_ARENA_TEST(what_dgws_leaves_open_is_accepted),
		UNIT_ARENA_TEST(real_requests_are_read),
		UNIT_ARENA_TEST(a_request_is_read_leniently_but_never_in_two_ways),
		UNIT_ARENA_TEST(the_user_is_the_whole_text_of_nameid),
		UNIT_ARENA_TEST(a_card_is_valid_from_its_beginning_to_its_end),
		UNIT_ARENA_TEST(an_order_says_everything_that_it_lacks),
		UNIT_ARENA_TEST(a_new_card_has_the_published_form),
		UNIT_ARENA_TEST(a_new_card_is_what_the_order_says_and_no_more),
		UNIT_ARENA_TEST(nameid_of_a_new_card_says_who_it_is_for),
		UNIT_ARENA_TEST(no_card_is_built_from_too_little),
		UNIT_ARENA_TEST(what_the_sts_may_rewrite_is_accepted),
		UNIT_ARENA_TEST(another_card_than_asked_for_is_refused),
		UNIT_ARENA_TEST(nameid_may_be_written_in_another_way_but_not_name_another),
		UNIT_ARENA_TEST(only_the_right_kind_of_certificate_may_sign),
		UNIT_ARENA_TEST(an_order_is_built_signed_and_read_again),
		UNIT_ARENA_TEST(memory_that_ends_is_no_verdict),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
