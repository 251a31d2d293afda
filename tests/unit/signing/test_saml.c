/* What an identity provider answers. The answers were signed by xmlsec1 (tests/data/signing/make). */
#include "saml.h"

#include "buf.h"
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

struct row { const char *note, *cert, *issuer, *audience, *acs, *request; int64_t now; const char *why; int64_t skew; };
static const struct row good = { "good", "leaf.pem", "https://idp.example.dk", "https://gw.example.dk/saml",
	"https://gw.example.dk/sosigw/sign/acs", "_1", NOW, NULL, 0 };

static int
read_by(struct arena *a, struct slice xml, const struct row *r, struct saml_login *out)
{
	const struct slice certs[] = { file(a, "root.pem"), file(a, r->cert) };
	const struct conf_idp idp = { .issuer = slice_of(r->issuer), .audience = slice_of(r->audience), .certificates = certs,
		.ncertificates = 2 };
	const struct saml_wanted w = { .idps = &idp, .nidps = 1, .acs = slice_of(r->acs), .request = slice_of(r->request), .now = r->now,
		.skew = r->skew };

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
	assert_slice("<saml:EncryptedAssertion xmlns=\"urn:e\" xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\"></saml:EncryptedAssertion>", got.token);
	/* without one it is the token itself, with its signature */
	assert_ok(read_by(a, file(a, "saml-no-token.xml"), &good, &got), &e);
	assert_true(slice_starts(got.token, S("<saml:Assertion ")) && slice_find(got.token, S("<ds:SignatureValue>")) > 0);
}

static void
an_answer_for_others_or_of_another_time_is_refused(void **state)
{
	static const struct row rows[] = {
		{ "another key", "issuing.pem", "https://idp.example.dk", "https://gw.example.dk/saml", "https://gw.example.dk/sosigw/sign/acs", "_1", NOW, "signed by nobody", 0 },
		{ "another issuer", "leaf.pem", "https://idp2.example.dk", "https://gw.example.dk/saml", "https://gw.example.dk/sosigw/sign/acs", "_1", NOW, "Issuer", 0 },
		{ "another audience", "leaf.pem", "https://idp.example.dk", "https://gw.example.dk", "https://gw.example.dk/sosigw/sign/acs", "_1", NOW, "Audience", 0 },
		{ "another address", "leaf.pem", "https://idp.example.dk", "https://gw.example.dk/saml", "https://gw2.example.dk/sosigw/sign/acs", "_1", NOW, "Destination", 0 },
		{ "another request", "leaf.pem", "https://idp.example.dk", "https://gw.example.dk/saml", "https://gw.example.dk/sosigw/sign/acs", "_2", NOW, "InResponseTo", 0 },
		{ "too late", "leaf.pem", "https://idp.example.dk", "https://gw.example.dk/saml", "https://gw.example.dk/sosigw/sign/acs", "_1", NOW + 361, "now", 0 },
		{ "too early", "leaf.pem", "https://idp.example.dk", "https://gw.example.dk/saml", "https://gw.example.dk/sosigw/sign/acs", "_1", NOW - 361, "not valid now", 0 },
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

/* The answer begins 300 s before NOW and ends 300 s after it. */
static void
clocks_may_differ_by_what_is_configured_and_no_second_more(void **state)
{
	static const struct { int64_t at, skew; bool good; } rows[] = {
		{ -300, 0, true }, { -301, 0, false }, { 299, 0, true }, { 300, 0, false },
		{ -330, 30, true }, { -331, 30, false }, { 329, 30, true }, { 330, 30, false },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct row r = good;
		struct saml_login got;
		r.now = NOW + rows[i].at;
		r.skew = rows[i].skew;
		if ((read_by(*state, file(*state, "saml-oio3.xml"), &r, &got) == 0) != rows[i].good)
			fail_msg("row %zu: %s", i, e.detail);
	}
}

/* ---- prefix lists */

#define LIST(attributes) "<ec:InclusiveNamespaces xmlns:ec=\"http://www.w3.org/2001/10/xml-exc-c14n#\" " attributes "/>"

static void
a_prefix_list_is_taken_and_what_it_names_is_signed(void **state)
{
	static const char *const names[] = { "saml-listed.xml", "saml-listed-default.xml", "saml-listed-empty.xml" };
	struct arena *a = *state;
	struct saml_login got;

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct slice xml = file(a, names[i]);
		assert_ok(read_by(a, xml, &good, &got), &e);
		assert_slice("0501792275", got.cpr);
		/* the token is good by itself, away from what declared its prefixes */
		ptrdiff_t at = slice_find(xml, S("<saml:Assertion "));
		struct slice alone = arena_printf(a, "%.*s%.*s</samlp:Response>", (int)at, xml.p, SLICE_FMT(got.token));
		alone = unit_edited(a, alone, " xmlns=\"urn:default\"", "");
		alone = unit_edited(a, alone, " xmlns:xs=\"http://www.w3.org/2001/XMLSchema\"", "");
		assert_ok(read_by(a, alone, &good, &got), &e);
	}
	/* another meaning for a prefix that is named; for one that is not, it is nobody's business */
	static const struct { const char *file, *from, *to, *why; } rows[] = {
		{ "saml-listed.xml", "/XMLSchema\"", "/Other\"", "signed by nobody" },
		{ "saml-listed-default.xml", "/XMLSchema\"", "/Other\"", "digest" },
		{ "saml-listed-default.xml", "urn:default", "urn:other", "signed by nobody" },
		{ "saml-listed-empty.xml", "/XMLSchema\"", "/Other\"", NULL },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		err_clear(&e);
		int rc = read_by(a, unit_edited(a, file(a, rows[i].file), rows[i].from, rows[i].to), &good, &got);
		if (rows[i].why == NULL ? rc < 0 : rc == 0 || strstr(e.detail, rows[i].why) == NULL)
			fail_msg("row %zu: %s", i, e.detail);
	}
}

/* n prefixes and a space behind each. */
static const char *
many(struct arena *a, size_t n)
{
	struct buf *b = arena_alloc(a, sizeof *b);

	buf_init(b, 1 << 16);
	assert_int_equal(buf_defer(b, a), 0);
	for (size_t i = 0; i < n; i++)
		buf_printf(b, "p%zu ", i);
	buf_putc(b, '\0');
	return buf_slice(b).p;
}

/* Each in both places: in SignedInfo's own canonicalization, and in that of what is signed. */
static void
a_prefix_list_that_is_none_is_refused_for_its_form(void **state)
{
	struct arena *a = *state;
	const char *thousand = arena_printf(a, LIST("PrefixList=\"%s\""), many(a, 1000)).p;
	const char *one_too_many = arena_printf(a, LIST("PrefixList=\"%s\""), many(a, 33)).p, *most =
	    arena_printf(a, LIST("PrefixList=\"%s\""), many(a, 32)).p;
	const struct { const char *to, *why; } rows[] = {
		{ most, "signed by nobody" }, { LIST("PrefixList=\"xs xsi\""), "signed by nobody" }, { "", "signed by nobody" },
		{ thousand, "form" }, { one_too_many, "form" }, { LIST(""), "form" }, { LIST("PrefixList=\"xs\" x=\"y\""), "form" },
		{ LIST("Prefixes=\"xs\""), "form" }, { LIST("ec:PrefixList=\"xs\""), "form" },
		{ LIST("PrefixList=\"xs\"") LIST("PrefixList=\"xs\""), "form" }, { LIST("PrefixList=\"xs\"") "xs", "form" },
		{ LIST("PrefixList=\"#all\""), "form" }, { LIST("PrefixList=\"xs:\""), "form" }, { LIST("PrefixList=\"&#9;xs\""), "form" },
		{ "<InclusiveNamespaces PrefixList=\"xs\"/>", "form" }, { "<ds:InclusiveNamespaces PrefixList=\"xs\"/>", "form" },
		{ "<ec:InclusiveNamespaces xmlns:ec=\"http://www.w3.org/2001/10/xml-exc-c14n#\" PrefixList=\"xs\">xs</ec:InclusiveNamespaces>", "form" },
		{ "<ec:InclusiveNamespaces xmlns:ec=\"http://www.w3.org/2001/10/xml-exc-c14n#WithComments\" PrefixList=\"xs\"/>", "form" },
	};
	const struct { const char *from; } places[] = { { LIST("PrefixList=\"xs\"") }, { LIST("PrefixList=\"xsd xs xsi\"") } };

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		for (size_t p = 0; p < 2; p++) {
			struct saml_login got;
			err_clear(&e);
			if (read_by(a, unit_edited(a, file(a, "saml-listed.xml"), places[p].from, rows[i].to), &good, &got) == 0 ||
			    strstr(e.detail, rows[i].why) == NULL)
				fail_msg("row %zu in place %zu: %s: %s", i, p, err_name(e.kind), e.detail);
		}
	}
}

static void
a_false_answer_is_refused_for_what_is_false(void **state)
{
	static const struct { const char *from, *to, *why; } rows[] = {
		{ "&#xC5;se", "Ase", "digest" },
		{ "0501792275", "0501792276", "digest" },
		{ "<ds:DigestValue>", "<ds:DigestValue>A", "signed by nobody" },
		{ "<ds:SignatureValue>", "<ds:SignatureValue>AAAA", "signed by nobody" },
		{ "URI=\"#_a\"", "URI=\"#_r\"", "reference" },
		{ "URI=\"#_a\"", "URI=\"\"", "reference" },
		{ "#enveloped-signature", "#base64", "form" },
		{ "#enveloped-signature\"/>", "#enveloped-signature\">" LIST("PrefixList=\"xs\"") "</ds:Transform>", "form" },
		{ "#rsa-sha256\"/>", "#rsa-sha256\"><x xmlns=\"urn:x\"/></ds:SignatureMethod>", "form" },
		{ "#sha256\"/>", "#sha256\"><x xmlns=\"urn:x\"/></ds:DigestMethod>", "form" },
		{ "<ds:DigestValue>", "<ds:DigestValue><!-- -->", "form" },
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
	assert_non_null(strstr(e.detail, "SignatureMethod"));
	assert_int_equal(read_by(a, file(a, "saml-sha1-digest.xml"), &good, &got), -1);
	assert_non_null(strstr(e.detail, "DigestMethod"));
	assert_int_equal(read_by(a, S(""), &good, &got), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_ARENA_TEST(a_signed_answer_gives_its_bootstrap_token),
		UNIT_ARENA_TEST(an_answer_for_others_or_of_another_time_is_refused),
		UNIT_ARENA_TEST(clocks_may_differ_by_what_is_configured_and_no_second_more),
		UNIT_ARENA_TEST(a_prefix_list_is_taken_and_what_it_names_is_signed),
		UNIT_ARENA_TEST(a_prefix_list_that_is_none_is_refused_for_its_form),
		UNIT_ARENA_TEST(a_false_answer_is_refused_for_what_is_false),
	};

	xml_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
