/* What is encrypted for us: by xmlsec1 and openssl (tests/data/encrypted/make). */
#include "dsig.h"

#include "conv.h"
#include "unit.h"

#include <openssl/pem.h>

#define DATA "tests/data/encrypted/"
#define XENC "http://www.w3.org/2001/04/xmlenc#"

static EVP_PKEY *own, *old;
static struct err e;

static EVP_PKEY *
load_key(const char *path)
{
	FILE *f = fopen(path, "r");
	EVP_PKEY *key = f == NULL ? NULL : PEM_read_PrivateKey(f, NULL, NULL, NULL);

	assert_non_null(key);
	fclose(f);
	return key;
}

static struct slice
file(struct arena *a, const char *name)
{
	return unit_file(a, arena_printf(a, DATA "%s", name).p);
}

static int
read_it(struct arena *a, struct slice answer, struct dsig_encrypted *x)
{
	xmlDoc *doc;

	err_clear(&e);
	assert_ok(xml_parse(a, answer, &xml_document_limits, &doc, &e), &e);
	return dsig_encrypted_read(a, xml_child(xmlDocGetRootElement(doc), NS_SAML, "EncryptedAssertion", 0), x, &e);
}

static int
open_it(struct arena *a, struct slice answer, EVP_PKEY *const *keys, size_t n, struct slice *out)
{
	struct dsig_encrypted x;

	*out = (struct slice){ NULL, 0 };
	return read_it(a, answer, &x) < 0 ? -1 : dsig_decrypt(a, &x, keys, n, out, &e);
}

/* Those who encrypt write some letters in another way first. */
static struct slice
canonical(struct arena *a, struct slice xml)
{
	struct slice out = { NULL, 0 };
	xmlDoc *doc;

	if (xml_parse(a, xml, &xml_document_limits, &doc, &e) == 0)
		assert_ok(xml_canonical(a, xmlDocGetRootElement(doc), XML_C14N_EXCLUSIVE, NULL, &out, &e), &e);
	return out;
}

static void
what_others_have_encrypted_for_us_is_read(void **state)
{
	static const struct { const char *name; bool malleable; } rows[] = {
		{ "gcm128.xml", false }, { "gcm256.xml", false }, { "cbc128.xml", true }, { "cbc256.xml", true },
		{ "beside.xml", false }, { "oaep-sha256.xml", false }, { "oaep-mixed.xml", false },
	};
	struct arena *a = *state;
	struct slice wanted = canonical(a, file(a, "assertion.xml")), got;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct slice answer = file(a, rows[i].name);
		struct dsig_encrypted x;
		if (open_it(a, answer, &own, 1, &got) < 0 || !slice_eq(canonical(a, got), wanted))
			fail_msg("%s: %s: %.*s", rows[i].name, e.detail, SLICE_FMT(got));
		assert_ok(read_it(a, answer, &x), &e);
		assert_int_equal(x.malleable, rows[i].malleable);
	}
}

static void
either_of_two_keys_will_do_in_either_order(void **state)
{
	static const char *const names[] = { "gcm256.xml", "cbc256.xml", "old.xml", "old-cbc.xml" };
	struct arena *a = *state;
	EVP_PKEY *const keys[] = { own, old, own };
	struct slice got;

	for (size_t i = 0; i < 4; i++) {
		for (size_t first = 0; first < 2; first++) {
			assert_ok(open_it(a, file(a, names[i]), keys + first, 2, &got), &e);
			assert_true(slice_starts(got, S("<saml:Assertion ")));
		}
	}
}

/* ---- the form */

static void
a_form_that_is_not_expected_is_refused(void **state)
{
	static const struct { const char *file, *from, *to, *why; } rows[] = {
		{ "rsa-1_5.xml", "<xenc:EncryptedData", "<xenc:EncryptedData", "rsa-1_5 is not taken; have the provider use RSA-OAEP" },
		{ "tripledes.xml", "<xenc:EncryptedData", "<xenc:EncryptedData", "AES" },
		{ "gcm128.xml", "#aes128-gcm", "#aes192-gcm", "AES" },
		{ "gcm128.xml", "#aes128-gcm\"/>", "#aes128-gcm\"><xenc:KeySize>128</xenc:KeySize></xenc:EncryptionMethod>", "AES" },
		{ "gcm128.xml", XENC "rsa-oaep-mgf1p", "http://www.w3.org/2009/xmlenc11#rsa-kem", "not RSA-OAEP" },
		{ "gcm128.xml", XENC "rsa-oaep-mgf1p", XENC "kw-aes128", "not RSA-OAEP" },
		{ "gcm128.xml", "#rsa-oaep-mgf1p\"/>", "#rsa-oaep-mgf1p\"><xenc:OAEPparams>AA==</xenc:OAEPparams></xenc:EncryptionMethod>", "form of the key's" },
		{ "gcm128.xml", "#rsa-oaep-mgf1p\"/>", "#rsa-oaep-mgf1p\">x</xenc:EncryptionMethod>", "form of the key's" },
		{ "oaep-sha256.xml", "xmlenc11#rsa-oaep", "xmlenc11#rsa-oaep\" x=\"", "form of the key's" },
		{ "oaep-sha256.xml", "http://www.w3.org/2009/xmlenc11#rsa-oaep", XENC "rsa-oaep-mgf1p", "form of the key's" },
		{ "oaep-sha256.xml", "<ds:DigestMethod Algorithm=\"" XENC "sha256\"/>", "<ds:DigestMethod Algorithm=\"" XENC "sha512\"/>", "digest" },
		{ "oaep-sha256.xml", "<ds:DigestMethod Algorithm=\"" XENC "sha256\"/>", "<ds:DigestMethod Algorithm=\"" XENC "md5\"/>", "digest" },
		{ "oaep-sha256.xml", "<ds:DigestMethod", "<ds:DigestMethod Algorithm=\"" XENC "sha256\"/><ds:DigestMethod", "form of the key's" },
		{ "oaep-sha256.xml", "#mgf1sha256", "#mgf1sha512", "mask" },
		/* one key, where it is expected */
		{ "gcm128.xml", "<ds:KeyInfo xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">",
		    "<ds:KeyInfo xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"><xenc:EncryptedKey/>", "not one EncryptedKey" },
		{ "gcm128.xml", "</xenc:EncryptedData>", "</xenc:EncryptedData><xenc:EncryptedKey xmlns:xenc=\"" XENC "\"/>", "not one EncryptedKey" },
		{ "beside.xml", "</saml:EncryptedAssertion>", "<xenc:EncryptedKey xmlns:xenc=\"" XENC "\"/></saml:EncryptedAssertion>", "more than one" },
		{ "beside.xml", "<ds:RetrievalMethod", "<xenc:EncryptedKey/><ds:RetrievalMethod", "not one EncryptedKey" },
		{ "beside.xml", "URI=\"#_key\"", "URI=\"#_other\"", "not one EncryptedKey" },
		{ "beside.xml", "URI=\"#_key\"", "URI=\"https://other.example.dk/key#_key\"", "not one EncryptedKey" },
		{ "beside.xml", "URI=\"#_key\"", "URI=\"\"", "not one EncryptedKey" },
		{ "beside.xml", "#EncryptedKey\"/>", "#EncryptedKey\"><ds:Transforms/></ds:RetrievalMethod>", "not one EncryptedKey" },
		{ "beside.xml", "#EncryptedKey\"/>", "#EncryptedData\"/>", "not one EncryptedKey" },
		{ "beside.xml", "<ds:RetrievalMethod", "<ds:RetrievalMethod URI=\"#_key\"/><ds:RetrievalMethod", "not one EncryptedKey" },
		{ "gcm128.xml", "<xenc:EncryptedKey Id=\"_key\">", "<ds:RetrievalMethod URI=\"#_key\"/><xenc:EncryptedKey Id=\"_key\">", "not one EncryptedKey" },
		{ "beside.xml", "URI=\"#_data\"", "URI=\"#_other\"", "something else" },
		{ "beside.xml", "<xenc:DataReference URI=\"#_data\"/>", "<xenc:DataReference URI=\"#_data\"/><xenc:DataReference URI=\"#_data\"/>", "something else" },
		{ "beside.xml", "<xenc:DataReference", "<xenc:KeyReference", "something else" },
		/* one datum, and nothing but what is expected */
		{ "gcm128.xml", "<xenc:EncryptedData ", "<xenc:EncryptedData xmlns:xenc=\"" XENC "\"/><xenc:EncryptedData ", "form of EncryptedData" },
		{ "gcm128.xml", "</xenc:EncryptedData>", "</xenc:EncryptedData>x", "form of EncryptedData" },
		{ "gcm128.xml", "</xenc:EncryptedData>", "<xenc:EncryptionProperties/></xenc:EncryptedData>", "form of EncryptedData" },
		{ "gcm128.xml", "xmlenc#Element", "xmlenc#Content", "no element" },
		{ "gcm128.xml", "<xenc:CipherValue>", "<xenc:CipherReference URI=\"https://other.example.dk/\"/><xenc:CipherValue>", "the key's CipherData" },
		{ "gcm128.xml", "<xenc:CipherValue>", "<xenc:CipherValue><!-- -->", "the key's CipherData" },
		{ "gcm128.xml", "<xenc:CipherValue>", "<xenc:CipherValue>*", "the key's CipherData" },
		{ "gcm128.xml", "</xenc:CipherValue></xenc:CipherData></xenc:EncryptedData>", "</xenc:CipherValue><x/></xenc:CipherData></xenc:EncryptedData>", "CipherData" },
	};
	struct arena *a = *state;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct slice answer = unit_edited(a, file(a, rows[i].file), rows[i].from, rows[i].to);
		struct dsig_encrypted x;
		if (read_it(a, answer, &x) == 0 || e.kind != ERR_INVALID || strstr(e.detail, rows[i].why) == NULL)
			fail_msg("row %zu: %s: %s", i, err_name(e.kind), e.detail);
	}
}

/* ---- what is changed */

#define VALUE "<xenc:CipherValue>"

/* The octets of the n-th CipherValue. */
static struct slice
value(struct arena *a, struct slice answer, unsigned n, ptrdiff_t *from, ptrdiff_t *to)
{
	*from = 0;
	for (unsigned i = 0; i <= n; i++)
		*from += slice_find(slice_from(answer, (size_t)*from), S(VALUE)) + (ptrdiff_t)sizeof VALUE - 1;
	*to = *from + slice_find(slice_from(answer, (size_t)*from), S("<"));
	return conv_unbase64(a, (struct slice){ answer.p + *from, (size_t)(*to - *from) });
}

/* With that octet of it changed, and only so many of them. */
static struct slice
changed(struct arena *a, struct slice answer, unsigned n, size_t at, uint8_t by, size_t length)
{
	ptrdiff_t from, to;
	struct slice octets = arena_dup(a, value(a, answer, n, &from, &to));

	assert_true(octets.n > 0);
	if (at < octets.n)
		((char *)(uintptr_t)octets.p)[at] ^= (char)by;
	if (length < octets.n)
		octets.n = length;
	return arena_printf(a, "%.*s%.*s%.*s", (int)from, answer.p, SLICE_FMT(conv_base64(a, octets)),
	    SLICE_FMT(slice_from(answer, (size_t)to)));
}

static void
assert_one_failure(struct arena *a, const char *note, size_t i, struct slice answer, EVP_PKEY *key)
{
	struct slice got;

	if (open_it(a, answer, &key, 1, &got) == 0 || e.kind != ERR_INVALID || strcmp(e.detail, "encrypted: not for a key of ours, or changed") != 0)
		fail_msg("%s, %zu: %s: %s", note, i, err_name(e.kind), e.detail);
	assert_null(got.p);
}

static void
whatever_was_changed_fails_in_one_way(void **state)
{
	struct arena *a = *state;
	struct slice gcm = file(a, "gcm128.xml"), cbc = file(a, "cbc128.xml"), got;
	ptrdiff_t from, to;
	const size_t n = value(a, gcm, 1, &from, &to).n, blocks = value(a, cbc, 1, &from, &to).n;

	/* the wrapped key: another's, changed, cut, or wrapped for other octets than it says */
	assert_one_failure(a, "another key", 0, gcm, old);
	for (size_t i = 0; i < 256; i += 17)
		assert_one_failure(a, "wrapped key", i, changed(a, gcm, 0, i, 1, SIZE_MAX), own);
	for (size_t i = 0; i < 256; i += 51)
		assert_one_failure(a, "wrapped key cut", i, changed(a, gcm, 0, SIZE_MAX, 0, i), own);
	assert_one_failure(a, "length of the key", 0, unit_edited(a, gcm, "#aes128-gcm", "#aes256-gcm"), own);
	assert_one_failure(a, "key and more", 0, file(a, "key-too-long.xml"), own);
	/* nobody can guess the key that takes the place of one that did not fit */
	assert_one_failure(a, "zeros", 0, file(a, "key-of-zeros.xml"), own);
	assert_one_failure(a, "OAEP", 0, unit_edited(a, file(a, "oaep-sha256.xml"), "#mgf1sha256", "#mgf1sha1"), own);
	/* the content: every octet counts under GCM */
	for (size_t i = 0; i < n; i += i < 32 || i > n - 32 ? 1 : 97)
		assert_one_failure(a, "content", i, changed(a, gcm, 1, i, 0x80, SIZE_MAX), own);
	for (size_t i = n - 20; i < n; i++)
		assert_one_failure(a, "content cut", i, changed(a, gcm, 1, SIZE_MAX, 0, i), own);
	assert_one_failure(a, "tag alone", 0, changed(a, gcm, 1, SIZE_MAX, 0, 29), own);
	/* under CBC the padding and the blocks do; the rest is the caller's to judge */
	unsigned good = 0;
	for (unsigned by = 0; by < 256; by++)	/* the last octet takes every value, and 1 to 16 are padding */
		good += open_it(a, changed(a, cbc, 1, blocks - 17, (uint8_t)by, SIZE_MAX), &own, 1, &got) == 0;
	assert_int_equal(good, 16);
	assert_one_failure(a, "padding", 0, changed(a, cbc, 1, blocks - 17, 0x40, SIZE_MAX), own);
	assert_one_failure(a, "half a block", 0, changed(a, cbc, 1, SIZE_MAX, 0, blocks - 8), own);
	assert_int_equal(open_it(a, changed(a, cbc, 1, 20, 1, SIZE_MAX), &own, 1, &got), 0);
	assert_int_equal(open_it(a, gcm, &own, 0, &got), -1);
}

static void
content_that_is_nothing_or_too_short_is_refused(void **state)
{
	static const size_t lengths[] = { 0, 1, 12, 15, 16, 17, 28 };
	struct arena *a = *state;
	struct slice got;

	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		assert_err(ERR_INVALID, open_it(a, changed(a, file(a, "gcm128.xml"), 1, SIZE_MAX, 0, lengths[i]), &own, 1, &got), &e);
		assert_err(ERR_INVALID, open_it(a, changed(a, file(a, "cbc128.xml"), 1, SIZE_MAX, 0, lengths[i]), &own, 1, &got), &e);
	}
	/* encrypted nothing is nothing: one block of padding */
	assert_ok(open_it(a, file(a, "empty-cbc.xml"), &own, 1, &got), &e);
	assert_int_equal(got.n, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_ARENA_TEST(what_others_have_encrypted_for_us_is_read),
		UNIT_ARENA_TEST(either_of_two_keys_will_do_in_either_order),
		UNIT_ARENA_TEST(a_form_that_is_not_expected_is_refused),
		UNIT_ARENA_TEST(whatever_was_changed_fails_in_one_way),
		UNIT_ARENA_TEST(content_that_is_nothing_or_too_short_is_refused),
	};

	xml_init();
	own = load_key(DATA "own.key");
	old = load_key(DATA "old.key");
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	EVP_PKEY_free(own);
	EVP_PKEY_free(old);
	return failed;
}
