/* What a browser posts: every form that is taken, and a table of those that are not. The answers were made by openssl
 * (tests/data/signing/make), the values of tests/data/dsig by the key of a real employee and the real STS. */
#include "answer.h"

#include "conv.h"
#include "unit.h"
#include "xml.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#define DATA "tests/data/signing/"

static struct err e;

static struct slice
file(struct arena *a, const char *name)
{
	char path[200];

	snprintf(path, sizeof path, DATA "%s", name);
	return unit_file(a, path);
}

static struct slice
certificate(struct arena *a, const char *name)
{
	struct slice pem = file(a, name), begin = S("-----BEGIN CERTIFICATE-----"), end = S("-----END");
	ptrdiff_t at = slice_find(pem, begin);
	struct slice text = slice_from(pem, (size_t)at + begin.n);

	text.n = (size_t)slice_find(text, end);
	return conv_unbase64(a, text);
}

/* Is value the signature of the key in that certificate over octets? Asked of OpenSSL, not of our code. */
static bool
verifies(const struct signing_answer *answer, const char *hash, struct slice octets)
{
	const unsigned char *p = (const unsigned char *)answer->certificate.p;
	X509 *cert = d2i_X509(NULL, &p, (long)answer->certificate.n);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	assert_non_null(cert);
	assert_int_equal(EVP_DigestVerifyInit_ex(ctx, NULL, hash, NULL, NULL, X509_get0_pubkey(cert), NULL), 1);
	bool good = EVP_DigestVerify(ctx, (const unsigned char *)answer->value.p, answer->value.n,
	    (const unsigned char *)octets.p, octets.n) == 1;
	EVP_MD_CTX_free(ctx);
	X509_free(cert);
	return good;
}

static struct slice
wrapped(struct arena *a, const char *ns, struct slice signature)
{
	return arena_printf(a, "<?xml version=\"1.0\" encoding=\"UTF-8\" ?>\n<openoces:signature xmlns:openoces=\"%s\" version=\"0.1\">"
	    "\n%.*s\n</openoces:signature>\n", ns, SLICE_FMT(signature));
}

/* ---- what is taken */

static void
each_form_of_the_answer_gives_value_and_signer(void **state)
{
	struct arena *a = *state;
	static const char *const hashes[] = { "sha1", "sha256" };

	for (size_t i = 0; i < 2; i++) {
		char name[64];
		snprintf(name, sizeof name, "answer-%s.xml", hashes[i]);
		struct slice bare = file(a, name);
		snprintf(name, sizeof name, "signed-info-%s.c14n", hashes[i]);
		struct slice info = file(a, name), lines = arena_printf(a, "\xEF\xBB\xBF%.*s\r\n", SLICE_FMT(bare));
		const struct slice forms[] = {
			bare, lines, conv_base64(a, bare), arena_printf(a, "\n %s\r\n", conv_base64(a, lines).p),
			wrapped(a, NS_OPENOCES03, bare), wrapped(a, NS_OPENOCES06, bare),
			conv_base64(a, wrapped(a, NS_OPENOCES06, bare)),
			unit_edited(a, bare, " Id=\"OCESSignature\"", " id=\"OCESSignature\""),
			unit_edited(a, bare, " Id=\"OCESSignature\"", ""),
			/* the same canonical form, written otherwise */
			unit_edited(a, bare, "<ds:SignedInfo xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">", "<ds:SignedInfo >"),
			unit_edited(a, bare, "></ds:CanonicalizationMethod>", "/>"),
		};
		for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
			struct signing_answer got;
			assert_ok(signing_answer_read(a, forms[f], info, &got, &e), &e);
			assert_true(slice_eq(got.certificate, certificate(a, "leaf.pem")));
			assert_true(verifies(&got, hashes[i], info));
		}
	}
}

static void
values_of_real_signers_are_taken(void **state)
{
	struct arena *a = *state;
	static const char *const who[] = { "client", "sts" };

	for (size_t i = 0; i < 2; i++) {
		struct slice parts[3];
		static const char *const files[] = { "signedinfo.c14n", "signature.bin", "signer.der" };
		for (size_t f = 0; f < 3; f++) {
			char path[200];
			snprintf(path, sizeof path, "tests/data/dsig/%s-%s", who[i], files[f]);
			parts[f] = unit_file(a, path);
		}
		struct slice text = arena_printf(a, "<ds:Signature xmlns:ds=\"" NS_DS "\" Id=\"OCESSignature\">%.*s"
		    "<ds:SignatureValue>%s</ds:SignatureValue><ds:KeyInfo><ds:X509Data><ds:X509Certificate>%s"
		    "</ds:X509Certificate></ds:X509Data></ds:KeyInfo></ds:Signature>", SLICE_FMT(parts[0]),
		    conv_base64(a, parts[1]).p, conv_base64(a, parts[2]).p);
		struct signing_answer got;
		assert_ok(signing_answer_read(a, text, parts[0], &got, &e), &e);
		assert_true(slice_eq(got.value, parts[1]));
		assert_true(slice_eq(got.certificate, parts[2]));
	}
}

static void
the_signer_is_found_among_eight_certificates(void **state)
{
	struct arena *a = *state;
	struct slice bare = file(a, "answer-sha256.xml"), info = file(a, "signed-info-sha256.c14n");
	struct slice other = conv_base64(a, certificate(a, "root.pem"));
	struct buf more;
	struct signing_answer got;

	buf_init(&more, 64 << 10);
	for (size_t n = 2; n < 8; n++)
		buf_printf(&more, "<ds:X509Certificate>%s</ds:X509Certificate>", other.p);
	struct slice head = arena_printf(a, "<ds:X509Data>%.*s", SLICE_FMT(buf_slice(&more)));
	assert_ok(signing_answer_read(a, unit_edited(a, bare, "<ds:X509Data>", head.p), info, &got, &e), &e);
	assert_true(slice_eq(got.certificate, certificate(a, "leaf.pem")));

	head = arena_printf(a, "%s<ds:X509Certificate>%s</ds:X509Certificate>", head.p, other.p);
	assert_err(ERR_LIMIT, signing_answer_read(a, unit_edited(a, bare, "<ds:X509Data>", head.p), info, &got, &e), &e);
	buf_free(&more);
}

/* ---- what is not */

static void
an_answer_of_another_form_is_refused(void **state)
{
	static const struct {
		const char *note, *from, *to;
		enum err_kind why;
	} rows[] = {
		{ "one octet of SignedInfo", "#IDCard", "#IDcard", ERR_SIGNATURE },
		{ "white space in SignedInfo", "<ds:Reference", " <ds:Reference", ERR_SIGNATURE },
		{ "another prefix of SignedInfo's namespace", "<ds:SignedInfo xmlns:ds=", "<ds:SignedInfo xmlns:x=\"urn:x\" x:y=\"1\" xmlns:ds=", ERR_SIGNATURE },
		{ "two SignedInfo, a second behind", "</ds:SignedInfo>", "</ds:SignedInfo><ds:SignedInfo/>", ERR_SIGNATURE },
		{ "two SignedInfo, another before", "<ds:SignedInfo ", "<ds:SignedInfo/><ds:SignedInfo ", ERR_SIGNATURE },
		{ "two SignatureValue", "</ds:SignatureValue>", "</ds:SignatureValue><ds:SignatureValue>AAAA</ds:SignatureValue>", ERR_SIGNATURE },
		{ "two KeyInfo", "<ds:KeyInfo>", "<ds:KeyInfo/><ds:KeyInfo>", ERR_SIGNATURE },
		{ "an Object", "</ds:KeyInfo>", "</ds:KeyInfo><ds:Object Id=\"IDCard\">x</ds:Object>", ERR_SIGNATURE },
		{ "two Objects", "</ds:KeyInfo>", "</ds:KeyInfo><ds:Object/><ds:Object/>", ERR_SIGNATURE },
		{ "a foreign element", "</ds:KeyInfo>", "</ds:KeyInfo><x xmlns=\"urn:x\"/>", ERR_SIGNATURE },
		{ "text between", "</ds:SignedInfo>", "</ds:SignedInfo>x", ERR_SIGNATURE },
		{ "a comment between", "</ds:SignedInfo>", "</ds:SignedInfo><!-- -->", ERR_SIGNATURE },
		{ "a comment in the value", "<ds:SignatureValue>", "<ds:SignatureValue><!-- -->", ERR_SIGNATURE },
		{ "an element in the value", "<ds:SignatureValue>", "<ds:SignatureValue><b/>", ERR_SIGNATURE },
		{ "an attribute of the value", "<ds:SignatureValue>", "<ds:SignatureValue Id=\"v\">", ERR_SIGNATURE },
		{ "a value that is not base64", "<ds:SignatureValue>", "<ds:SignatureValue>*", ERR_SIGNATURE },
		{ "a value too long", "<ds:SignatureValue>", "<ds:SignatureValue>AAAA", ERR_SIGNATURE },
		{ "a comment in a certificate", "<ds:X509Certificate>", "<ds:X509Certificate><!-- -->", ERR_SIGNATURE },
		{ "a certificate that is none", "<ds:X509Certificate>", "<ds:X509Certificate>AAAA", ERR_CERTIFICATE },
		{ "an empty certificate", "<ds:X509Certificate>", "<ds:X509Certificate/><ds:X509Certificate>", ERR_CERTIFICATE },
		{ "KeyValue beside", "<ds:KeyInfo>", "<ds:KeyInfo><ds:KeyValue><ds:RSAKeyValue/></ds:KeyValue>", ERR_SIGNATURE },
		{ "RetrievalMethod", "<ds:KeyInfo>", "<ds:KeyInfo><ds:RetrievalMethod URI=\"http://e.example/\"/>", ERR_SIGNATURE },
		{ "KeyName", "<ds:KeyInfo>", "<ds:KeyInfo><ds:KeyName>x</ds:KeyName>", ERR_SIGNATURE },
		{ "a name in X509Data", "<ds:X509Data>", "<ds:X509Data><ds:X509SubjectName>x</ds:X509SubjectName>", ERR_SIGNATURE },
		{ "attributes of the signature", " Id=\"OCESSignature\"", " Id=\"OCESSignature\" id=\"IDCard\"", ERR_SIGNATURE },
		{ "another attribute of the signature", " Id=\"OCESSignature\"", " xml:base=\"http://e.example/\"", ERR_SIGNATURE },
		{ "another root", "<ds:Signature ", "<ds:Signed ", ERR_XML },
		{ "another namespace", "xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\" Id", "xmlns:ds=\"urn:x\" Id", ERR_SIGNATURE },
		{ "a processing instruction", "<ds:SignedInfo ", "<?x y?><ds:SignedInfo ", ERR_PROCESSING_INSTRUCTION },
		{ "a DOCTYPE", "<ds:Signature ", "<!DOCTYPE x [<!ENTITY y \"z\">]><ds:Signature ", ERR_DOCTYPE },
		{ "an entity", "<ds:SignatureValue>", "<ds:SignatureValue>&x;", ERR_XML },
		{ "another encoding", "<ds:Signature ", "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><ds:Signature ", ERR_ENCODING },
		{ "no value", "SignatureValue", "Signature-Value", ERR_XML },
		{ "cut off", "</ds:Signature>", "", ERR_XML },
		{ "something behind", "</ds:Signature>", "</ds:Signature><x/>", ERR_XML },
		{ "an unbound prefix", "<ds:KeyInfo>", "<ds:KeyInfo><x:y/>", ERR_XML },
		{ "nested deep", "<ds:KeyInfo>", "<ds:KeyInfo><a><a><a><a><a><a><a/></a></a></a></a></a></a>", ERR_LIMIT },
	};
	struct arena *a = *state;
	struct slice good = file(a, "answer-sha256.xml"), info = file(a, "signed-info-sha256.c14n");

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct slice bad = unit_edited(a, good, rows[i].from, rows[i].to);
		const struct slice forms[] = { bad, conv_base64(a, bad) };
		for (size_t f = 0; f < 2; f++) {
			struct signing_answer got;
			err_clear(&e);
			if (signing_answer_read(a, forms[f], info, &got, &e) == 0 || e.kind != rows[i].why)
				fail_msg("%s: %s, wanted %s: %s", rows[i].note, err_name(e.kind), err_name(rows[i].why), e.detail);
			assert_null(got.value.p);
			assert_null(got.certificate.p);
		}
	}
}

static void
an_answer_wrapped_in_another_way_is_refused(void **state)
{
	struct arena *a = *state;
	struct slice good = file(a, "answer-sha256.xml"), info = file(a, "signed-info-sha256.c14n");
	struct slice around = wrapped(a, NS_OPENOCES06, good);
	const struct slice rows[] = {
		wrapped(a, "http://www.openoces.org/2009/01/signature#", good),
		wrapped(a, NS_OPENOCES06, around),
		wrapped(a, NS_OPENOCES06, arena_printf(a, "%.*s%.*s", SLICE_FMT(good), SLICE_FMT(good))),
		wrapped(a, NS_OPENOCES06, S("")),
		wrapped(a, NS_OPENOCES06, arena_printf(a, "x%.*s", SLICE_FMT(good))),
		unit_edited(a, around, " version=\"0.1\"", " version=\"0.1\" Id=\"IDCard\""),
		unit_edited(a, around, "signature xmlns:openoces", "signatur\xC3\xA9 xmlns:openoces"),
		arena_printf(a, "<ds:Signature xmlns:ds=\"" NS_DS "\"><ds:Object>%.*s</ds:Object></ds:Signature>", SLICE_FMT(good)),
		conv_base64(a, conv_base64(a, good)),
		S(""), S(" "), S("<"), S("not base64!"), S("AAAA"),
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct signing_answer got;
		if (signing_answer_read(a, rows[i], info, &got, &e) == 0)
			fail_msg("row %zu: %.*s", i, SLICE_FMT(rows[i]));
	}
	struct signing_answer got;
	assert_err(ERR_LIMIT, signing_answer_read(a, (struct slice){ NULL, 0 }, info, &got, &e), &e);
}

static void
a_part_that_is_missing_is_named_as_missing(void **state)
{
	struct arena *a = *state;
	struct slice good = file(a, "answer-sha256.xml"), info = file(a, "signed-info-sha256.c14n");
	size_t value = (size_t)slice_find(good, S("<ds:SignatureValue>")), key = (size_t)slice_find(good, S("<ds:KeyInfo>"));
	const struct slice rows[] = {
		arena_printf(a, "%.*s%s", (int)value, good.p, good.p + key),
		arena_printf(a, "%.*s</ds:Signature>", (int)key, good.p),
		arena_printf(a, "%.*s<ds:KeyInfo/></ds:Signature>", (int)key, good.p),
		arena_printf(a, "%.*s<ds:KeyInfo><ds:X509Data/></ds:KeyInfo></ds:Signature>", (int)key, good.p),
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct signing_answer got;
		assert_err(ERR_NO_SIGNING_INFO, signing_answer_read(a, rows[i], info, &got, &e), &e);
	}
}

static void
a_signature_over_something_else_is_refused(void **state)
{
	struct arena *a = *state;
	struct slice good = file(a, "answer-sha256.xml"), info = file(a, "signed-info-sha256.c14n");
	struct signing_answer got;

	/* SignedInfo of another order */
	assert_err(ERR_SIGNATURE, signing_answer_read(a, good, file(a, "signed-info-sha1.c14n"), &got, &e), &e);
	/* the order's SignedInfo, the value of another */
	struct slice other = file(a, "answer-sha1.xml");
	size_t begin = (size_t)slice_find(good, S("</ds:SignedInfo>")), from = (size_t)slice_find(other, S("</ds:SignedInfo>"));
	struct slice mixed = arena_printf(a, "%.*s%s", (int)begin, good.p, other.p + from);
	assert_err(ERR_SIGNATURE, signing_answer_read(a, mixed, info, &got, &e), &e);
	/* the certificate of somebody else alone */
	struct slice leaf = conv_base64(a, certificate(a, "leaf.pem")), root = conv_base64(a, certificate(a, "root.pem"));
	assert_err(ERR_SIGNATURE, signing_answer_read(a, unit_edited(a, good, leaf.p, root.p), info, &got, &e), &e);
	/* nobody orders a card with another algorithm; should it be, it is not taken either */
	struct slice sha512 = unit_edited(a, info, "rsa-sha256", "rsa-sha512");
	assert_err(ERR_SIGNATURE, signing_answer_read(a, unit_edited(a, good, "rsa-sha256", "rsa-sha512"), sha512, &got, &e), &e);
}

static void
two_megabytes_are_refused_before_they_are_read(void **state)
{
	struct arena *a = *state;
	char *big = malloc(2 << 20);
	struct signing_answer got;

	assert_non_null(big);
	memset(big, 'A', 2 << 20);
	size_t used = arena_used(a);
	assert_err(ERR_LIMIT, signing_answer_read(a, (struct slice){ big, 2 << 20 }, S("x"), &got, &e), &e);
	assert_int_equal(arena_used(a), used);
	big[0] = '<';
	assert_err(ERR_LIMIT, signing_answer_read(a, (struct slice){ big, 2 << 20 }, S("x"), &got, &e), &e);
	assert_int_equal(arena_used(a), used);
	free(big);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_ARENA_TEST(each_form_of_the_answer_gives_value_and_signer),
		UNIT_ARENA_TEST(values_of_real_signers_are_taken),
		UNIT_ARENA_TEST(the_signer_is_found_among_eight_certificates),
		UNIT_ARENA_TEST(an_answer_of_another_form_is_refused),
		UNIT_ARENA_TEST(an_answer_wrapped_in_another_way_is_refused),
		UNIT_ARENA_TEST(a_part_that_is_missing_is_named_as_missing),
		UNIT_ARENA_TEST(a_signature_over_something_else_is_refused),
		UNIT_ARENA_TEST(two_megabytes_are_refused_before_they_are_read),
	};

	xml_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
