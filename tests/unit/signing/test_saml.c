/* What an identity provider answers. The answers were signed by xmlsec1 (tests/data/signing/make). */
#include "saml.h"

#include "conv.h"
#include "unit.h"
#include "xml.h"

#define DATA "tests/data/signing/"
#define NOW INT64_C(1715673600)		/* 2024-05-14 08:00 UTC */

static struct err e;

static struct slice
file(struct arena *a, const char *name)
{
	char path[200];

	snprintf(path, sizeof path, DATA "%s", name);
	return unit_file(a, path);
}

struct row { const char *note, *cert, *issuer, *audience, *acs, *request; int64_t now; const char *why; };
static const struct row good = { "good", "leaf.pem", "https://idp.example.dk", "https://gw.example.dk/saml",
	"https://gw.example.dk/sosigw/sign/acs", "_1", NOW, NULL };

static int
read_by(struct arena *a, struct slice xml, const struct row *r, struct saml_login *out)
{
	const struct slice certs[] = { file(a, "root.pem"), file(a, r->cert) };
	const struct conf_idp idp = { .issuer = slice_of(r->issuer), .audience = slice_of(r->audience), .certificates = certs,
		.ncertificates = 2 };
	const struct saml_wanted w = { .idps = &idp, .nidps = 1, .acs = slice_of(r->acs), .request = slice_of(r->request), .now = r->now };

	err_clear(&e);
	return saml_read(a, conv_base64(a, xml), &w, out, &e);
}

static void
a_signed_answer_gives_its_bootstrap_token(void **state)
{
	struct arena *a = *state;
	struct saml_login got;

	assert_ok(read_by(a, file(a, "saml-oio3.xml"), &good, &got), &e);
	assert_slice("<saml:Assertion xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\" ID=\"t\"></saml:Assertion>", got.token);
	assert_slice("0501792275", got.cpr);
	assert_ok(read_by(a, file(a, "saml-oio2.xml"), &good, &got), &e);
	assert_slice("<saml:EncryptedAssertion xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\"></saml:EncryptedAssertion>", got.token);
	/* without one it is the token itself, with its signature */
	assert_ok(read_by(a, file(a, "saml-no-token.xml"), &good, &got), &e);
	assert_true(slice_starts(got.token, S("<saml:Assertion ")) && slice_find(got.token, S("<ds:SignatureValue>")) > 0);
}

static void
an_answer_for_others_or_of_another_time_is_refused(void **state)
{
	static const struct row rows[] = {
		{ "another key", "issuing.pem", "https://idp.example.dk", "https://gw.example.dk/saml", "https://gw.example.dk/sosigw/sign/acs", "_1", NOW, "signed by nobody" },
		{ "another issuer", "leaf.pem", "https://idp2.example.dk", "https://gw.example.dk/saml", "https://gw.example.dk/sosigw/sign/acs", "_1", NOW, "Issuer" },
		{ "another audience", "leaf.pem", "https://idp.example.dk", "https://gw.example.dk", "https://gw.example.dk/sosigw/sign/acs", "_1", NOW, "Audience" },
		{ "another address", "leaf.pem", "https://idp.example.dk", "https://gw.example.dk/saml", "https://gw2.example.dk/sosigw/sign/acs", "_1", NOW, "Destination" },
		{ "another request", "leaf.pem", "https://idp.example.dk", "https://gw.example.dk/saml", "https://gw.example.dk/sosigw/sign/acs", "_2", NOW, "InResponseTo" },
		{ "too late", "leaf.pem", "https://idp.example.dk", "https://gw.example.dk/saml", "https://gw.example.dk/sosigw/sign/acs", "_1", NOW + 361, "now" },
		{ "too early", "leaf.pem", "https://idp.example.dk", "https://gw.example.dk/saml", "https://gw.example.dk/sosigw/sign/acs", "_1", NOW - 361, "not valid now" },
	};
	struct arena *a = *state;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct saml_login got;
		if (read_by(a, file(a, "saml-oio3.xml"), &rows[i], &got) == 0 || e.kind != ERR_IDP_ANSWER ||
		    strstr(e.detail, rows[i].why) == NULL)
			fail_msg("%s: %s: %s", rows[i].note, err_name(e.kind), e.detail);
		assert_null(got.token.p);
	}
}

static void
a_false_answer_is_refused_for_what_is_false(void **state)
{
	static const struct { const char *from, *to, *why; } rows[] = {
		{ "&#xC5;se", "Ase", "digest" },
		{ "0501792275", "0501792276", "digest" },
		{ "<ds:DigestValue>", "<ds:DigestValue>A", "digest" },
		{ "<ds:SignatureValue>", "<ds:SignatureValue>AAAA", "signed by nobody" },
		{ "URI=\"#_a\"", "URI=\"#_r\"", "reference" },
		{ "URI=\"#_a\"", "URI=\"\"", "reference" },
		{ "#enveloped-signature", "#base64", "form" },
		{ "</ds:Reference>", "</ds:Reference><ds:Reference URI=\"#_r\"/>", "form" },
		{ "<saml:Subject>", "<ds:Signature xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"/><saml:Subject>", "more than one" },
		{ "<ds:SignedInfo>", "<ds:SignedInfo/><ds:SignedInfo>", "more than one" },
		{ "</samlp:Response>", "<saml:Assertion xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\"/></samlp:Response>", "not one" },
		{ "</samlp:Response>", "<saml:EncryptedAssertion xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\"/></samlp:Response>", "not one" },
		{ "status:Success", "status:Responder", "Status" },
		{ "<samlp:Response ", "<?x y?><samlp:Response ", "" },
		{ "<samlp:Status>", "<!-- --><samlp:Stat>", "" },
	};
	struct arena *a = *state;
	struct saml_login got;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (read_by(a, unit_edited(a, file(a, "saml-oio3.xml"), rows[i].from, rows[i].to), &good, &got) == 0 ||
		    e.kind != ERR_IDP_ANSWER || strstr(e.detail, rows[i].why) == NULL)
			fail_msg("row %zu: %s: %s", i, err_name(e.kind), e.detail);
	assert_int_equal(read_by(a, file(a, "saml-sha1.xml"), &good, &got), -1);
	assert_non_null(strstr(e.detail, "DigestMethod"));
	assert_int_equal(read_by(a, S(""), &good, &got), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_ARENA_TEST(a_signed_answer_gives_its_bootstrap_token),
		UNIT_ARENA_TEST(an_answer_for_others_or_of_another_time_is_refused),
		UNIT_ARENA_TEST(a_false_answer_is_refused_for_what_is_false),
	};

	xml_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
