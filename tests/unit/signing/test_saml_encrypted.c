/* What an identity provider answers, encrypted for us by xmlsec1 (tests/data/encrypted/make), and what we tell its administrator. */
#include "saml.h"

#include "buf.h"
#include "clock.h"
#include "conv.h"
#include "pki.h"
#include "unit.h"
#include "xml.h"

#include <openssl/pem.h>

#define DATA "tests/data/encrypted/"
#define NOW INT64_C(1715673600)		/* 2024-05-14 08:00 UTC */
#define UNDER_CBC "under AES-CBC: encrypted for another key, changed, or not an assertion that the provider has signed"

#define END "</xenc:CipherValue></xenc:CipherData></xenc:EncryptedData>"

static EVP_PKEY *keys[2];	/* own, old */
static struct err e;
static unsigned decrypted;	/* how often a key was used */
static const struct conf_idp *asked;	/* for whom */
static enum err_kind fails;

static struct slice
file(struct arena *a, const char *name)
{
	return unit_file(a, arena_printf(a, DATA "%s", name).p);
}

static int
decrypt(void *ctx, struct arena *a, const struct conf_idp *idp, const struct dsig_encrypted *x, struct slice *octets, struct err *err)
{
	assert_ptr_equal(ctx, keys);
	decrypted++;
	asked = idp;
	return fails != ERR_NONE ? err_set(err, fails, "no key") : dsig_decrypt(a, x, keys, 2, octets, err);
}

static int
read_for(struct arena *a, struct slice xml, const char *cert, struct saml_login *out)
{
	const struct slice certs[] = { file(a, cert) };
	const struct conf_idp idps[] = {
		{ .issuer = S("https://other.example.dk"), .audience = S("https://gw.example.dk/saml"), .certificates = certs, .ncertificates = 1 },
		{ .issuer = S("https://idp.example.dk"), .audience = S("https://gw.example.dk/saml"), .certificates = certs, .ncertificates = 1 },
	};
	const struct saml_wanted w = { .idps = idps, .nidps = 2, .acs = S("https://gw.example.dk/sosigw/sign/acs"), .request = S("_1"),
		.now = NOW, .decrypt = decrypt, .ctx = keys };

	err_clear(&e);
	decrypted = 0;
	asked = NULL;
	int rc = saml_read(a, conv_base64(a, xml), &w, out, &e);
	assert_true(rc < 0 || out->idp == &idps[1]);
	assert_true(asked == NULL || asked == &idps[0] || asked == &idps[1]);
	return rc;
}

static void
assert_refused(struct arena *a, const char *note, struct slice xml, const char *why, bool before_any_key)
{
	struct saml_login got;

	if (read_for(a, xml, "idp.pem", &got) == 0 || e.kind != ERR_IDP_ANSWER || strstr(e.detail, why) == NULL)
		fail_msg("%s: %s: %s, wanted %s", note, err_name(e.kind), e.detail, why);
	if (before_any_key && decrypted > 0)
		fail_msg("%s: a key was used", note);
	assert_null(got.token.p);
	assert_null(got.idp);
}

static void
an_encrypted_answer_gives_what_a_plain_one_does(void **state)
{
	static const char *const names[] = { "gcm128.xml", "gcm256.xml", "cbc128.xml", "cbc256.xml", "beside.xml", "oaep-sha256.xml",
		"oaep-mixed.xml", "old.xml", "old-cbc.xml" };
	struct arena *a = *state;

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct saml_login got;
		if (read_for(a, file(a, names[i]), "idp.pem", &got) < 0)
			fail_msg("%s: %s", names[i], e.detail);
		assert_slice("<saml:Assertion xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\" ID=\"t\"></saml:Assertion>", got.token);
		assert_slice("0501792275", got.cpr);
		assert_int_equal(decrypted, 1);
	}
}

#define PLAIN "<saml:Assertion ID=\"_a\"/>"
#define NO_KEY "<saml:EncryptedAssertion/>"

static void
the_order_of_wrapping_helps_nobody(void **state)
{
	static const struct { const char *file, *from, *to, *why; bool before_any_key; } rows[] = {
		{ "gcm128.xml", "<saml:EncryptedAssertion>", PLAIN "<saml:EncryptedAssertion>", "not one Assertion", true },
		{ "gcm128.xml", "</saml:EncryptedAssertion>", "</saml:EncryptedAssertion>" PLAIN, "not one Assertion", true },
		{ "gcm128.xml", "<saml:EncryptedAssertion>", NO_KEY "<saml:EncryptedAssertion>", "not one Assertion", true },
		{ "gcm128.xml", "</saml:EncryptedAssertion>", "</saml:EncryptedAssertion>" NO_KEY, "not one Assertion", true },
		{ "gcm128.xml", "<saml:EncryptedAssertion>", "<saml:EncryptedAssertion>" PLAIN, "form of EncryptedData", true },
		{ "gcm128.xml", "<saml:EncryptedAssertion>", "<saml:Assertion/><x><saml:EncryptedAssertion>", "", true },
		{ "rsa-1_5.xml", "<samlp:Status>", "<samlp:Status>", "have the provider use RSA-OAEP", true },
		{ "tripledes.xml", "<samlp:Status>", "<samlp:Status>", "AES-128 or AES-256", true },
		{ "nested.xml", "<samlp:Status>", "<samlp:Status>", "encrypted: not an Assertion", false },
		{ "doctype.xml", "<samlp:Status>", "<samlp:Status>", "", false },
		{ "two.xml", "<samlp:Status>", "<samlp:Status>", "", false },
		{ "unsigned.xml", "<samlp:Status>", "<samlp:Status>", "the assertion is not signed", false },
		{ "inner-attribute.xml", "<samlp:Status>", "<samlp:Status>", "EncryptedAttribute inside the assertion; have the provider", false },
		{ "inner-id.xml", "<samlp:Status>", "<samlp:Status>", "EncryptedID inside the assertion; have the provider", false },
		/* whose key it is the response must say, and what is inside must be of the same issuer */
		{ "gcm128.xml", "https://idp.example.dk</saml:Issuer>", "https://nobody.example.dk</saml:Issuer>", "Issuer of the Response", true },
		{ "gcm128.xml", "<saml:Issuer>https://idp.example.dk</saml:Issuer>", "", "Issuer of the Response", true },
		{ "gcm128.xml", "https://idp.example.dk</saml:Issuer>", "https://other.example.dk</saml:Issuer>", "Issuer", false },
		{ "gcm128.xml", "InResponseTo=\"_1\"", "InResponseTo=\"_2\"", "InResponseTo", true },
		{ "gcm128.xml", "status:Success", "status:Responder", "Status", true },
	};
	struct arena *a = *state;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_refused(a, arena_printf(a, "row %zu", i).p, unit_edited(a, file(a, rows[i].file), rows[i].from, rows[i].to), rows[i].why,
		    rows[i].before_any_key);
}

static void
a_plain_answer_needs_no_key_and_holds_nothing_encrypted(void **state)
{
	struct arena *a = *state;
	struct slice plain = file(a, "plain.xml");
	struct saml_login got;

	assert_ok(read_for(a, plain, "idp.pem", &got), &e);
	assert_int_equal(decrypted, 0);
	/* the plain road takes the issuer of the assertion, and needs none of the response */
	assert_ok(read_for(a, unit_edited(a, plain, "<saml:Issuer>https://idp.example.dk</saml:Issuer>", ""), "idp.pem", &got), &e);
	assert_refused(a, "inner", file(a, "plain-inner-attribute.xml"), "EncryptedAttribute inside the assertion", true);
}

/* ---- AES-CBC: what is wrong inside is told to nobody */

/* The octets of the content, with that one changed. */
static struct slice
changed(struct arena *a, struct slice answer, size_t at)
{
	ptrdiff_t to = slice_find(answer, S(END)), from = to;

	assert_true(to > 0);
	while (answer.p[from - 1] != '>')
		from--;
	struct slice octets = arena_dup(a, conv_unbase64(a, (struct slice){ answer.p + from, (size_t)(to - from) }));
	assert_true(at < octets.n);
	((char *)(uintptr_t)octets.p)[octets.n - 1 - at] ^= 0x10;
	return arena_printf(a, "%.*s%.*s%.*s", (int)from, answer.p, SLICE_FMT(conv_base64(a, octets)), SLICE_FMT(slice_from(answer, (size_t)to)));
}

static void
under_cbc_all_that_is_wrong_inside_is_one_refusal(void **state)
{
	struct arena *a = *state;
	struct slice cbc = file(a, "cbc128.xml");
	struct saml_login got;

	/* from its end: the padding, and what is before it: no XML, another text, another digest */
	for (size_t i = 0; i < 2240; i += i < 36 ? 1 : 131) {
		const int64_t began = clock_mono_ms();
		assert_refused(a, "changed", changed(a, cbc, i), UNDER_CBC, false);
		assert_true(clock_mono_ms() - began >= 49);
	}
	assert_refused(a, "not signed", file(a, "unsigned-cbc.xml"), UNDER_CBC, false);
	assert_refused(a, "nothing", file(a, "empty-cbc.xml"), UNDER_CBC, false);
	assert_refused(a, "GCM as CBC", unit_edited(a, file(a, "gcm128.xml"), "2009/xmlenc11#aes128-gcm", "2001/04/xmlenc#aes128-cbc"), UNDER_CBC, false);
	/* signed by another than is known; under GCM it is told */
	assert_int_equal(read_for(a, cbc, "own.pem", &got), -1);
	assert_non_null(strstr(e.detail, UNDER_CBC));
	assert_int_equal(read_for(a, file(a, "gcm128.xml"), "own.pem", &got), -1);
	assert_non_null(strstr(e.detail, "signed by nobody"));
	/* what the provider has signed is nobody else's choice, and what is wrong with it is told */
	assert_refused(a, "signed", file(a, "inner-id-cbc.xml"), "EncryptedID inside the assertion", false);
	assert_refused(a, "before it is decrypted", unit_edited(a, cbc, "InResponseTo=\"_1\"", "InResponseTo=\"_3\""), "InResponseTo", true);
}

static void
a_changed_gcm_answer_is_refused_without_the_wait_for_a_reason_of_its_own(void **state)
{
	struct arena *a = *state;

	for (size_t i = 0; i < 2240; i += 131)
		assert_refused(a, "changed", changed(a, file(a, "gcm128.xml"), i), "not for a key of ours, or changed", false);
}

static void
a_key_that_cannot_be_had_is_no_fault_of_the_answer(void **state)
{
	static const char *const names[] = { "gcm128.xml", "cbc128.xml" };
	struct arena *a = *state;
	struct saml_login got;

	for (size_t i = 0; i < 2; i++) {
		fails = ERR_SYSTEM_KEY;
		int rc = read_for(a, file(a, names[i]), "idp.pem", &got);
		fails = ERR_NONE;
		assert_int_equal(rc, -1);
		assert_int_equal(e.kind, ERR_SYSTEM_KEY);
	}
}

/* ---- as much as an answer may be, and more */

static void
a_huge_ciphertext_is_refused(void **state)
{
	static const size_t sizes[] = { 100u << 10, 180u << 10, 1u << 20, 8u << 20 };
	struct arena *a = *state;
	struct slice answer = file(a, "gcm128.xml");

	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct buf *b = arena_alloc(a, sizeof *b);
		buf_init(b, 16u << 20);
		assert_int_equal(buf_defer(b, a), 0);
		for (size_t n = 0; n < sizes[i]; n++)
			buf_putc(b, 'A');
		buf_putc(b, '\0');
		struct slice huge = unit_edited(a, answer, END, arena_printf(a, "%s%s", buf_slice(b).p, END).p);
		assert_refused(a, "huge", huge, sizes[i] > 190u << 10 ? "too long" : "", sizes[i] > 190u << 10);
	}
}

/* ---- metadata */

static X509 *
certificate(struct arena *a, const char *name)
{
	X509 *cert = NULL;

	assert_ok(pki_read_pem(a, file(a, name), &cert, &e), &e);
	return cert;
}

static struct slice
certificate_in(struct arena *a, const xmlNode *descriptor)
{
	const xmlNode *info = xml_child(descriptor, NS_DS, "KeyInfo", 0);

	return conv_unbase64(a, xml_text(a, dsig_child(dsig_child(info, "X509Data"), "X509Certificate")));
}

static void
metadata_says_what_a_provider_must_know(void **state)
{
	const struct conf_idp idp = { .issuer = S("https://idp.example.dk"), .audience = S("https://gw.example.dk/saml?a=1&b=\"2\"") };
	struct arena *a = *state;
	X509 *own = certificate(a, "own.pem"), *old = certificate(a, "old.pem");
	struct slice xml;
	xmlDoc *doc;

	assert_ok(saml_metadata(a, &idp, S("https://gw.example.dk/sosigw/sign/acs"), own, old, &xml, &e), &e);
	assert_ok(xml_parse(a, xml, &xml_document_limits, &doc, &e), &e);
	const xmlNode *root = xmlDocGetRootElement(doc), *sp = xml_child(root, NS_MD, "SPSSODescriptor", 0);
	assert_true(xml_is(root, NS_MD, "EntityDescriptor"));
	assert_slice("https://gw.example.dk/saml?a=1&b=\"2\"", xml_attr(a, root, "entityID"));
	assert_slice(NS_SAMLP, xml_attr(a, sp, "protocolSupportEnumeration"));
	const xmlNode *signing = xml_child(sp, NS_MD, "KeyDescriptor", 0), *encryption = xml_child(sp, NS_MD, "KeyDescriptor", 1);
	assert_slice("signing", xml_attr(a, signing, "use"));
	assert_true(slice_eq(certificate_in(a, signing), pki_der(a, own)));
	assert_slice("encryption", xml_attr(a, encryption, "use"));
	assert_true(slice_eq(certificate_in(a, encryption), pki_der(a, old)));
	const xmlNode *acs = xml_child(sp, NS_MD, "AssertionConsumerService", 0);
	assert_slice("urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST", xml_attr(a, acs, "Binding"));
	assert_slice("https://gw.example.dk/sosigw/sign/acs", xml_attr(a, acs, "Location"));
}

/* What is offered there is taken, under either road. */
static void
every_method_that_metadata_offers_is_taken(void **state)
{
	static const char *const contents[] = { "gcm128.xml", "gcm256.xml", "cbc128.xml", "cbc256.xml", "oaep-sha256.xml" };
	const struct conf_idp idp = { .audience = S("a") };
	struct arena *a = *state;
	unsigned found = 0, offered = 0;
	struct slice xml;
	xmlDoc *doc;

	assert_ok(saml_metadata(a, &idp, S("b"), certificate(a, "own.pem"), certificate(a, "own.pem"), &xml, &e), &e);
	assert_ok(xml_parse(a, xml, &xml_document_limits, &doc, &e), &e);
	const xmlNode *sp = xml_child(xmlDocGetRootElement(doc), NS_MD, "SPSSODescriptor", 0), *to = xml_child(sp, NS_MD, "KeyDescriptor", 1);
	for (const xmlNode *at = xml_first(to); at != NULL; at = xml_next(at)) {
		if (!xml_is(at, NS_MD, "EncryptionMethod"))
			continue;
		offered++;
		struct slice named = arena_printf(a, "EncryptionMethod Algorithm=\"%.*s\"", SLICE_FMT(xml_attr(a, at, "Algorithm")));
		for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
			if (slice_find(file(a, contents[i]), named) >= 0) {
				found++;
				break;
			}
		}
	}
	assert_int_equal(offered, 6);
	assert_int_equal(found, 6);
}

static EVP_PKEY *
load_key(const char *path)
{
	FILE *f = fopen(path, "r");
	EVP_PKEY *key = f == NULL ? NULL : PEM_read_PrivateKey(f, NULL, NULL, NULL);

	assert_non_null(key);
	fclose(f);
	return key;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_ARENA_TEST(an_encrypted_answer_gives_what_a_plain_one_does),
		UNIT_ARENA_TEST(the_order_of_wrapping_helps_nobody),
		UNIT_ARENA_TEST(a_plain_answer_needs_no_key_and_holds_nothing_encrypted),
		UNIT_ARENA_TEST(under_cbc_all_that_is_wrong_inside_is_one_refusal),
		UNIT_ARENA_TEST(a_changed_gcm_answer_is_refused_without_the_wait_for_a_reason_of_its_own),
		UNIT_ARENA_TEST(a_key_that_cannot_be_had_is_no_fault_of_the_answer),
		UNIT_ARENA_TEST(a_huge_ciphertext_is_refused),
		UNIT_ARENA_TEST(metadata_says_what_a_provider_must_know),
		UNIT_ARENA_TEST(every_method_that_metadata_offers_is_taken),
	};

	xml_init();
	keys[0] = load_key(DATA "own.key");
	keys[1] = load_key(DATA "old.key");
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	EVP_PKEY_free(keys[0]);
	EVP_PKEY_free(keys[1]);
	return failed;
}
