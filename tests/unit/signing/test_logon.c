/* The log-on form. Signed forms were made, and found good, by xmlsec1 (tests/data/signing/make): also those that we
 * refuse, so that it is the rule that refuses them and not a broken signature. */
#include "logon.h"

#include "clock.h"
#include "conv.h"
#include "unit.h"
#include "xml.h"

#include <openssl/pem.h>
#include <unistd.h>

#define DATA "tests/data/signing/"
#define NOW INT64_C(1715673600)		/* 2024-05-14 08:00 UTC */

static struct err e;
static struct slice root, issuing;
static char lists[2][64];	/* an empty one, and one that names the leaf */
static struct pki_revoked *revoked[2];
static const struct signing_logon ours = { { "nonce-1", 7 }, { "gw.example.dk", 13 } };

int
http_fetch(struct http *h, struct arena *a, const struct http_call *call, size_t cap, struct http_small *out, struct err *why)
{
	(void)h, (void)a, (void)call, (void)cap, (void)out;
	return err_set(why, ERR_ENDPOINT_UNREACHABLE, "nobody there");
}

static struct slice
file(struct arena *a, const char *name)
{
	char path[200];

	snprintf(path, sizeof path, DATA "%s", name);
	return unit_file(a, path);
}

static struct conf
conf(void)
{
	return (struct conf){ .trust = { .roots = &root, .nroots = 1, .intermediates = &issuing, .nintermediates = 1,
	    .crl_grace = 3600, .check_revocation = true } };
}

static int
read_by(struct arena *a, const struct conf *c, struct pki_revoked *list, struct slice text, const struct signing_logon *wanted,
    struct pki_identity *who)
{
	const struct signing s = { .revoked = list };

	*who = (struct pki_identity){ .oces = 0 };
	return signing_logon_read(&s, c, a, text, wanted, who, &e);
}

static int
read_form(struct arena *a, struct slice text, const struct signing_logon *wanted, struct pki_identity *who)
{
	const struct conf c = conf();

	return read_by(a, &c, revoked[0], text, wanted, who);
}

/* ---- what is taken */

static void
a_form_of_each_kind_says_who_logs_on(void **state)
{
	struct arena *a = *state;
	static const char *const names[] = { "logon-sha1.xml", "logon-sha256.xml", "logon-exclusive.xml" };

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct slice raw = file(a, names[i]);
		const struct slice texts[] = { raw, conv_base64(a, raw) };
		for (size_t t = 0; t < 2; t++) {
			struct pki_identity who;
			assert_ok(read_form(a, texts[t], &ours, &who), &e);
			assert_int_equal(who.kind, PKI_EMPLOYEE);
			assert_slice("0c2f16a3-6b29-4f1e-9b1c-6f2f7b0e0a11", who.uuid);
			assert_slice("20921897", who.cvr);
			assert_slice("\xC3\x85se Jensen", who.common_name);
		}
	}
}

/* ---- what is not */

static void
a_form_for_another_log_on_is_refused(void **state)
{
	static const struct {
		const char *note, *file;
		struct signing_logon wanted;
		const char *why;
	} rows[] = {
		{ "another challenge", "logon-sha256.xml", { { "nonce-2", 7 }, { "gw.example.dk", 13 } }, "challenge" },
		{ "the beginning of the challenge", "logon-sha256.xml", { { "nonce-", 6 }, { "gw.example.dk", 13 } }, "challenge" },
		{ "no challenge was given", "logon-sha256.xml", { { NULL, 0 }, { "gw.example.dk", 13 } }, "challenge" },
		{ "another host", "logon-sha256.xml", { { "nonce-1", 7 }, { "gw.example.com", 14 } }, "logonto" },
		{ "not to log on", "logon-action.xml", { { "nonce-1", 7 }, { "gw.example.dk", 13 } }, "action" },
		{ "two challenges, ours first", "logon-second-challenge.xml", { { "nonce-1", 7 }, { "gw.example.dk", 13 } }, "challenge twice" },
		{ "two challenges, ours second", "logon-second-challenge.xml", { { "nonce-2", 7 }, { "gw.example.dk", 13 } }, "challenge twice" },
		{ "it says more", "logon-unknown-property.xml", { { "nonce-1", 7 }, { "gw.example.dk", 13 } }, "signtext" },
		{ "a transform", "logon-transform.xml", { { "nonce-1", 7 }, { "gw.example.dk", 13 } }, "Reference: form" },
		{ "two references", "logon-two-references.xml", { { "nonce-1", 7 }, { "gw.example.dk", 13 } }, "SignedInfo: form" },
		{ "the whole document", "logon-whole-document.xml", { { "nonce-1", 7 }, { "gw.example.dk", 13 } }, "Reference: form" },
		{ "another algorithm", "logon-sha512.xml", { { "nonce-1", 7 }, { "gw.example.dk", 13 } }, "SignatureMethod" },
		{ "a card's signature", "answer-sha256.xml", { { "nonce-1", 7 }, { "gw.example.dk", 13 } }, "not a log-on form" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct pki_identity who;
		err_clear(&e);
		if (read_form(*state, file(*state, rows[i].file), &rows[i].wanted, &who) == 0 || e.kind != ERR_SIGNATURE ||
		    strstr(e.detail, rows[i].why) == NULL)
			fail_msg("%s: %s: %s", rows[i].note, err_name(e.kind), e.detail);
		assert_null(who.common_name.p);
	}
}

static void
a_form_that_was_changed_is_refused_for_what_was_changed(void **state)
{
#define PROPERTY "<ds:SignatureProperty Target=\"signature\">"
#define ACTION PROPERTY "<openoces:Name>action</openoces:Name><openoces:Value Encoding=\"xml\">logon</openoces:Value></ds:SignatureProperty>"
	static const struct {
		const char *from, *to, *why;
	} rows[] = {
		{ ">gw.example.dk<", ">gw.example.com<", "digest" },
		{ "bm9uY2UtMQ==", "bm9uY2UtMg==", "digest" },
		{ "<ds:DigestValue>", "<ds:DigestValue>A", "none of the certificates" },
		{ "#ToBeSigned", "#Other", "none of the certificates" },
		{ "REC-xml-c14n-20010315\"", "REC-xml-c14n-20010315#WithComments\"", "CanonicalizationMethod" },
		{ "<ds:SignedInfo ", "<ds:SignedInfo Id=\"ToBeSigned\" ", "SignedInfo: form" },
		{ "<ds:Reference ", "<ds:Reference Id=\"ToBeSigned\" ", "Reference: form" },
		{ "Id=\"OpensignSignature\"", "Id=\"ToBeSigned\"", "more than once" },
		{ "<ds:KeyInfo>", "<ds:KeyInfo Id=\"ToBeSigned\">", "more than once" },
		{ "Id=\"ToBeSigned\">", "Id=\"tobesigned\">", "Object: form" },
		{ "Id=\"ToBeSigned\">", "Id=\"ToBeSigned\" Encoding=\"x\">", "Object: form" },
		{ "Id=\"ToBeSigned\">", "xml:id=\"ToBeSigned\">", "Object: form" },
		{ "Id=\"ToBeSigned\">", "Id=\"ToBeSigned\">x", "Object: form" },
		{ "<ds:SignatureProperties>", "<ds:SignatureProperties Id=\"ToBeSigned\">", "Object: form" },
		{ "</ds:SignatureProperties>", "</ds:SignatureProperties><ds:SignatureProperties/>", "Object: form" },
		{ "</ds:SignatureProperties>", "<ds:Object/></ds:SignatureProperties>", "form of a property" },
		{ "</ds:SignatureProperties>", ACTION "</ds:SignatureProperties>", "action twice" },
		{ PROPERTY, "<ds:SignatureProperty Target=\"signature\" Id=\"x\">", "form of a property" },
		{ PROPERTY, PROPERTY "x", "form of a property" },
		{ "<openoces:Name>", "<openoces:Name><!-- -->", "form of a property" },
		{ "<openoces:Name>", "<openoces:Name x=\"y\">", "form of a property" },
		{ "<openoces:Name>challenge</openoces:Name>", "", "form of a property" },
		{ "<openoces:Name>challenge</openoces:Name>", "<Name xmlns=\"http://www.openoces.org/2003/10/signature#\">challenge</Name>", "form of a property" },
		{ "</openoces:Value>", "</openoces:Value><openoces:Value Encoding=\"xml\">x</openoces:Value>", "form of a property" },
		{ "bm9uY2UtMQ==", "<!-- -->bm9uY2UtMQ==", "value of challenge" },
		{ "bm9uY2UtMQ==", "bm9uY2UtMQ=", "value of challenge" },
		{ "Encoding=\"base64\"", "Encoding=\"hex\"", "value of challenge" },
		{ "VisibleToSigner=\"no\"", "VisibleToSigner=\"maybe\"", "value of challenge" },
		{ "VisibleToSigner=\"no\"", "x=\"no\"", "value of challenge" },
		{ "VisibleToSigner=\"no\"", "VisibleToSigner=\"no\" Id=\"ToBeSigned\"", "value of challenge" },
	};
	struct slice good = file(*state, "logon-sha256.xml");

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct pki_identity who;
		err_clear(&e);
		if (read_form(*state, unit_edited(*state, good, rows[i].from, rows[i].to), &ours, &who) == 0 ||
		    e.kind != ERR_SIGNATURE || strstr(e.detail, rows[i].why) == NULL)
			fail_msg("row %zu, %s: %s: %s", i, rows[i].to, err_name(e.kind), e.detail);
	}
}

static void
sha1_is_refused_when_the_switch_says_so(void **state)
{
	struct arena *a = *state;
	struct conf c = conf();
	struct pki_identity who;

	c.sts.refuse_sha1 = true;
	assert_ok(read_by(a, &c, revoked[0], file(a, "logon-sha256.xml"), &ours, &who), &e);
	assert_err(ERR_SIGNATURE, read_by(a, &c, revoked[0], file(a, "logon-sha1.xml"), &ours, &who), &e);
}

static void
a_certificate_that_may_not_sign_a_card_does_not_log_on(void **state)
{
	struct arena *a = *state;
	struct slice good = file(a, "logon-sha256.xml");
	struct conf c = conf();
	struct pki_identity who;

	assert_err(ERR_CERT_REVOKED, read_by(a, &c, revoked[1], good, &ours, &who), &e);
	assert_null(who.common_name.p);
	struct pki_revoked *none = pki_revoked_open("/nonexistent");
	assert_err(ERR_CERT_UNCHECKED, read_by(a, &c, none, good, &ours, &who), &e);
	pki_revoked_close(none);
	assert_err(ERR_CERT_KIND, read_form(a, file(a, "logon-function.xml"), &ours, &who), &e);
	c.trust.nintermediates = 0;
	assert_err(ERR_CERT_UNTRUSTED, read_by(a, &c, revoked[0], good, &ours, &who), &e);
	clock_set(INT64_C(1988150400));	/* 2033-01-01 */
	assert_err(ERR_CERT_EXPIRED, read_form(a, good, &ours, &who), &e);
	clock_set(INT64_C(1705276800));	/* 2024-01-15 */
	assert_err(ERR_CERT_NOT_YET, read_form(a, good, &ours, &who), &e);
	clock_set(NOW);
}

/* ---- around the tests */

static struct pki_revoked *
list_of(struct arena *a, char *path, const char *crl_file)
{
	int fd = mkstemp(strcpy(path, "/tmp/sosigw-test-logon-XXXXXX"));
	struct slice pem = file(a, crl_file);
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	X509_CRL *crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL);
	struct pki_revoked_writer *w = pki_revoked_writer_new(path);

	assert_true(fd >= 0);
	close(fd);
	assert_non_null(crl);
	assert_ok(pki_revoked_add(w, crl, &e), &e);
	assert_ok(pki_revoked_finish(w, &e), &e);
	X509_CRL_free(crl);
	BIO_free(bio);
	return pki_revoked_open(path);
}

static int
set_up_all(void **state)
{
	struct arena *a = arena_new(16 << 20);

	xml_init();
	clock_set(NOW);
	root = file(a, "root.pem");
	issuing = file(a, "issuing.pem");
	revoked[0] = list_of(a, lists[0], "crl-empty.pem");
	revoked[1] = list_of(a, lists[1], "crl-leaf.pem");
	*state = a;
	return 0;
}

static int
tear_down_all(void **state)
{
	for (size_t i = 0; i < 2; i++) {
		pki_revoked_close(revoked[i]);
		unlink(lists[i]);
	}
	arena_free(*state);
	clock_set(0);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_ARENA_TEST(a_form_of_each_kind_says_who_logs_on),
		UNIT_ARENA_TEST(a_form_for_another_log_on_is_refused),
		UNIT_ARENA_TEST(a_form_that_was_changed_is_refused_for_what_was_changed),
		UNIT_ARENA_TEST(sha1_is_refused_when_the_switch_says_so),
		UNIT_ARENA_TEST(a_certificate_that_may_not_sign_a_card_does_not_log_on),
	};
	return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
