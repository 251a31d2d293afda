/* OCSP answers made by `openssl ocsp`, which reads our requests: right ones, and every way to be wrong. */
#include "ca.h"

#include <openssl/ocsp.h>
#include <time.h>
#include <unistd.h>

#define YEARS (20 * 365 * CA_DAY)
#define HOUR 3600
#define USER 17
#define OTHER 18

static struct ca issuer, impostor;	/* the same name */
static X509 *user, *other;
static char dir[] = "/tmp/sosigw-test-ocsp-XXXXXX";
static int64_t now;

static char *
path(const char *name)
{
	static char out[4][200];
	static unsigned turn;
	char *p = out[turn++ % 4];

	snprintf(p, sizeof *out, "%s/%s", dir, name);
	return p;
}

static void
write_file(const char *name, const void *bytes, size_t n)
{
	FILE *f = fopen(path(name), "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

static void
write_text(const char *name, const char *text)
{
	write_file(name, text, strlen(text));
}

static void
write_pair(const char *name, X509 *cert, EVP_PKEY *key)
{
	char file[100];

	snprintf(file, sizeof file, "%s.pem", name);
	FILE *f = fopen(path(file), "w");
	assert_non_null(f);
	assert_int_equal(PEM_write_X509(f, cert), 1);
	assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
	assert_int_equal(fclose(f), 0);
}

/* Runs the openssl command line in `dir`. */
static void
openssl(const char *fmt, ...)
{
	char arguments[600], command[900];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(arguments, sizeof arguments, fmt, ap);
	va_end(ap);
	snprintf(command, sizeof command, "cd %s && openssl %s >log 2>&1", dir, arguments);
	if (system(command) != 0)
		fail_msg("openssl %s", arguments);
}

static struct ca
make_ca(const char *cn)
{
	struct ca ca = { .key = EVP_RSA_gen(2048) };

	ca.cert = ca_issue(NULL, &(struct ca_order){ .cn = cn, .key = ca.key, .to = YEARS, .is_ca = true });
	return ca;
}

static X509 *
issue(const struct ca *by, const char *cn, long number, EVP_PKEY *key, const char *extended_usage, int64_t to)
{
	return ca_issue(by, &(struct ca_order){ .cn = cn, .number = number, .key = key, .to = to,
		.extended_usage = extended_usage, .pss = extended_usage != NULL });
}

/* One that answers for the issuer: NAME.pem. */
static void
responder(const char *name, const struct ca *by, long number, const char *extended_usage, int64_t to, unsigned bits)
{
	EVP_PKEY *key = EVP_RSA_gen(bits);
	X509 *cert = issue(by, name, number, key, extended_usage, to);

	write_pair(name, cert, key);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static int
setup(void **state)
{
	EVP_PKEY *key = EVP_RSA_gen(2048);

	*state = arena_new(4 << 20);
	now = time(NULL);
	if (mkdtemp(dir) == NULL)
		return 1;
	issuer = make_ca("Issuer");
	impostor = make_ca("Issuer");
	user = issue(&issuer, "User", USER, key, NULL, YEARS);
	other = issue(&issuer, "Other", OTHER, key, NULL, YEARS);
	write_pair("issuer", issuer.cert, issuer.key);
	write_pair("impostor", impostor.cert, impostor.key);
	write_pair("user", user, key);
	write_pair("other", other, key);
	EVP_PKEY_free(key);
	responder("delegate", &issuer, 100, "OCSPSigning", YEARS, 2048);
	responder("no-usage", &issuer, 101, NULL, YEARS, 2048);
	responder("tls-server", &issuer, 102, "serverAuth", YEARS, 2048);
	responder("stranger", &impostor, 100, "OCSPSigning", YEARS, 2048);
	responder("small", &issuer, 104, "OCSPSigning", YEARS, 1024);
	/* until two days from now */
	responder("ending", &issuer, 103, "OCSPSigning", now - CA_NOW + 2 * CA_DAY, 2048);
	write_text("good", "V\t440101000000Z\t\t11\tunknown\t/CN=User\n");
	write_text("revoked", "R\t440101000000Z\t240501000000Z\t11\tunknown\t/CN=User\n");
	write_text("unknown", "");
	return 0;
}

static int
teardown(void **state)
{
	char command[100];

	snprintf(command, sizeof command, "rm -r %s", dir);
	ca_free(&issuer);
	ca_free(&impostor);
	X509_free(user);
	X509_free(other);
	arena_free(*state);
	return system(command);
}

static struct pki_ocsp
ask(struct arena *a, X509 *cert)
{
	struct pki_ocsp q = { .cert = cert, .issuer = issuer.cert, .skew = 30 };
	struct err e = { 0 };

	assert_ok(pki_ocsp_request(a, &q, &e), &e);
	write_file("request", q.request.p, q.request.n);
	return q;
}

static struct slice
answer(struct arena *a, const char *index, const char *signer, const char *options)
{
	openssl("ocsp -index %s -CA issuer.pem -rsigner %s.pem -reqin request -respout answer %s", index, signer, options);
	return unit_file(a, path("answer"));
}

static void
an_answer_counts_when_it_is_the_issuers_and_of_now(void **state)
{
	static const struct {
		const char *note, *index, *signer, *options;
		int64_t after;
		enum err_kind want;
	} rows[] = {
		{ "the issuer itself", "good", "issuer", "-ndays 1", 0, ERR_NONE },
		{ "revoked", "revoked", "issuer", "-ndays 1", 0, ERR_CERT_REVOKED },
		{ "unknown", "unknown", "issuer", "-ndays 1", 0, ERR_CERT_UNCHECKED },
		{ "a delegate", "good", "delegate", "-ndays 1", 0, ERR_NONE },
		{ "revoked, says a delegate", "revoked", "delegate", "-ndays 1", 0, ERR_CERT_REVOKED },
		{ "PSS", "good", "delegate", "-ndays 1 -rsigopt rsa_padding_mode:pss", 0, ERR_NONE },
		{ "PSS, SHA-512", "good", "issuer", "-ndays 1 -rmd sha512 -rsigopt rsa_padding_mode:pss", 0, ERR_NONE },
		{ "PSS, SHA-1", "good", "issuer", "-ndays 1 -rmd sha1 -rsigopt rsa_padding_mode:pss", 0,
		    ERR_CERT_UNCHECKED },
		{ "SHA-1", "good", "issuer", "-ndays 1 -rmd sha1", 0, ERR_CERT_UNCHECKED },
		{ "named by key", "good", "delegate", "-ndays 1 -resp_key_id", 0, ERR_NONE },
		{ "the issuer, not sending its certificate", "good", "issuer", "-ndays 1 -resp_no_certs", 0, ERR_NONE },
		{ "a delegate, not sending its certificate", "good", "delegate", "-ndays 1 -resp_no_certs", 0,
		    ERR_CERT_UNCHECKED },
		{ "signature broken", "good", "delegate", "-ndays 1 -badsig", 0, ERR_CERT_UNCHECKED },
		{ "revoked, signature broken", "revoked", "delegate", "-ndays 1 -badsig", 0, ERR_CERT_UNCHECKED },
		{ "a certificate that is not for this", "good", "no-usage", "-ndays 1", 0, ERR_CERT_UNCHECKED },
		{ "a key that is too small", "good", "small", "-ndays 1", 0, ERR_CERT_UNCHECKED },
		{ "a TLS server's", "good", "tls-server", "-ndays 1", 0, ERR_CERT_UNCHECKED },
		{ "the user himself", "good", "user", "-ndays 1", 0, ERR_CERT_UNCHECKED },
		{ "somebody of the issuer's name", "good", "impostor", "-ndays 1", 0, ERR_CERT_UNCHECKED },
		{ "his delegate", "good", "stranger", "-ndays 1", 0, ERR_CERT_UNCHECKED },
		{ "his delegate, with his CA", "good", "stranger", "-ndays 1 -rother impostor.pem", 0,
		    ERR_CERT_UNCHECKED },
		{ "delegate still good", "good", "ending", "-ndays 9", CA_DAY, ERR_NONE },
		{ "delegate has ended", "good", "ending", "-ndays 9", 3 * CA_DAY, ERR_CERT_UNCHECKED },
		{ "just before the next one", "good", "issuer", "-nmin 60", HOUR, ERR_NONE },
		{ "the next one is long due", "good", "issuer", "-nmin 60", HOUR + 600, ERR_CERT_UNCHECKED },
		{ "the next one is a moment late", "good", "issuer", "-nmin 60", HOUR + 15, ERR_NONE },
		{ "revoked, the next one is long due", "revoked", "issuer", "-nmin 60", HOUR + 600,
		    ERR_CERT_UNCHECKED },
		{ "no word of a next one", "good", "issuer", "", HOUR / 2, ERR_NONE },
		{ "no word of a next one, old", "good", "issuer", "", 2 * HOUR, ERR_CERT_UNCHECKED },
		{ "a clock a little ahead", "good", "issuer", "-ndays 1", -15, ERR_NONE },
		{ "a clock that is wrong", "good", "issuer", "-ndays 1", -60, ERR_CERT_UNCHECKED },
		{ "of the future", "good", "issuer", "-ndays 1", -900, ERR_CERT_UNCHECKED },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct pki_ocsp q = ask(*state, user);
		struct err e = { 0 };
		int64_t at = time(NULL) + rows[i].after;
		int rc = pki_ocsp_judge(*state, &q, NULL,
		    answer(*state, rows[i].index, rows[i].signer, rows[i].options), at, &e);
		if (e.kind != rows[i].want || rc != (e.kind == ERR_NONE ? 0 : -1))
			fail_msg("%s: %s %s", rows[i].note, err_name(e.kind), e.detail);
	}
}

static void
an_answer_without_nonce_is_taken_and_another_nonce_is_not(void **state)
{
	struct pki_ocsp first = ask(*state, user);
	struct err e = { 0 };

	struct slice to_first = answer(*state, "good", "delegate", "-ndays 1");
	struct pki_ocsp second = ask(*state, user);
	assert_false(slice_eq(first.request, second.request));
	assert_ok(pki_ocsp_judge(*state, &first, NULL, to_first, now, &e), &e);
	assert_err(ERR_CERT_UNCHECKED, pki_ocsp_judge(*state, &second, NULL, to_first, now, &e), &e);
	openssl("ocsp -issuer issuer.pem -cert user.pem -no_nonce -reqout request");
	assert_ok(pki_ocsp_judge(*state, &second, NULL, answer(*state, "good", "delegate", "-ndays 1"), now, &e), &e);
}

static void
an_answer_is_about_this_certificate_and_once(void **state)
{
	struct pki_ocsp q = ask(*state, user), of_other = { .cert = other, .issuer = issuer.cert, .request = q.request };
	struct err e = { 0 };
	struct slice about_user = answer(*state, "good", "issuer", "-ndays 1");

	assert_err(ERR_CERT_UNCHECKED, pki_ocsp_judge(*state, &of_other, NULL, about_user, now, &e), &e);
	openssl("ocsp -issuer issuer.pem -cert user.pem -cert other.pem -no_nonce -reqout request");
	assert_ok(pki_ocsp_judge(*state, &q, NULL, answer(*state, "good", "issuer", "-ndays 1"), now, &e), &e);
	openssl("ocsp -issuer issuer.pem -cert user.pem -cert user.pem -no_nonce -reqout request");
	assert_err(ERR_CERT_UNCHECKED,
	    pki_ocsp_judge(*state, &q, NULL, answer(*state, "good", "issuer", "-ndays 1"), now, &e), &e);
	/* an answer of one issuer says nothing of another's certificate with the same number */
	struct pki_ocsp of_impostor = { .cert = user, .issuer = impostor.cert, .request = q.request };
	assert_err(ERR_CERT_UNCHECKED, pki_ocsp_judge(*state, &of_impostor, NULL, about_user, now, &e), &e);
}

static void
a_responder_that_a_list_names_is_not_believed(void **state)
{
	struct pki_revoked_writer *w = pki_revoked_writer_new(path("revoked.bin"));
	struct pki_ocsp q = ask(*state, user);
	struct err e = { 0 };
	X509_CRL *list = ca_list(&issuer, 100, 1);

	assert_ok(pki_revoked_add(w, list, &e), &e);
	assert_ok(pki_revoked_finish(w, &e), &e);
	X509_CRL_free(list);
	struct pki_revoked *r = pki_revoked_open(path("revoked.bin"));
	struct slice by_delegate = answer(*state, "good", "delegate", "-ndays 1");
	assert_ok(pki_ocsp_judge(*state, &q, NULL, by_delegate, now, &e), &e);
	assert_err(ERR_CERT_UNCHECKED, pki_ocsp_judge(*state, &q, r, by_delegate, now, &e), &e);
	assert_ok(pki_ocsp_judge(*state, &q, r, answer(*state, "good", "issuer", "-ndays 1"), now, &e), &e);
	pki_revoked_close(r);
}

/* The answer with a critical extension that nobody knows, signed again by the issuer. */
static struct slice
with_extension(struct arena *a, struct slice der, bool in_single)
{
	const unsigned char *p = (const unsigned char *)der.p;
	OCSP_RESPONSE *whole = d2i_OCSP_RESPONSE(NULL, &p, (long)der.n);
	OCSP_BASICRESP *basic = OCSP_response_get1_basic(whole);
	ASN1_OBJECT *oid = OBJ_txt2obj("1.2.3.4", 1);
	ASN1_OCTET_STRING *data = ASN1_OCTET_STRING_new();
	X509_EXTENSION *ext = X509_EXTENSION_create_by_OBJ(NULL, oid, 1, data);

	assert_int_equal(in_single ? OCSP_SINGLERESP_add_ext(OCSP_resp_get0(basic, 0), ext, -1) :
	    OCSP_BASICRESP_add_ext(basic, ext, -1), 1);
	assert_int_equal(OCSP_basic_sign(basic, issuer.cert, issuer.key, EVP_sha256(), NULL, OCSP_NOTIME), 1);
	OCSP_RESPONSE *again = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
	int n = i2d_OCSP_RESPONSE(again, NULL);
	unsigned char *out = arena_alloc(a, (size_t)n), *q = out;
	assert_int_equal(i2d_OCSP_RESPONSE(again, &q), n);
	X509_EXTENSION_free(ext);
	ASN1_OCTET_STRING_free(data);
	ASN1_OBJECT_free(oid);
	OCSP_RESPONSE_free(again);
	OCSP_BASICRESP_free(basic);
	OCSP_RESPONSE_free(whole);
	return (struct slice){ (char *)out, (size_t)n };
}

static void
what_is_critical_and_unknown_makes_an_answer_useless(void **state)
{
	struct pki_ocsp q = ask(*state, user);
	struct slice good = answer(*state, "good", "issuer", "-ndays 1");
	struct err e = { 0 };

	for (int in_single = 0; in_single < 2; in_single++)
		assert_err(ERR_CERT_UNCHECKED,
		    pki_ocsp_judge(*state, &q, NULL, with_extension(*state, good, in_single), now, &e), &e);
	assert_non_null(strstr(e.detail, "critical"));
}

static void
what_is_no_answer_says_nothing(void **state)
{
	static const struct { const char *note; struct slice bytes; } rows[] = {
		{ "absent", { NULL, 0 } },
		{ "empty", { "", 0 } },
		{ "a page", { "<html>maintenance</html>", 24 } },
		{ "malformed request", { "\x30\x03\x0a\x01\x01", 5 } },
		{ "internal error", { "\x30\x03\x0a\x01\x02", 5 } },
		{ "try later", { "\x30\x03\x0a\x01\x03", 5 } },
		{ "unauthorized", { "\x30\x03\x0a\x01\x06", 5 } },
		{ "good, and nothing else", { "\x30\x03\x0a\x01\x00", 5 } },
	};
	struct pki_ocsp q = ask(*state, user);
	struct err e = { 0 };

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		err_clear(&e);
		if (pki_ocsp_judge(*state, &q, NULL, rows[i].bytes, now, &e) == 0 || e.kind != ERR_CERT_UNCHECKED)
			fail_msg("%s: %s", rows[i].note, err_name(e.kind));
	}
	struct slice whole = answer(*state, "good", "issuer", "-ndays 1");
	for (size_t n = 0; n < whole.n; n += 7) {
		struct arena *a = arena_new(1 << 20);
		assert_err(ERR_CERT_UNCHECKED, pki_ocsp_judge(a, &q, NULL, (struct slice){ whole.p, n }, now, &e), &e);
		arena_free(a);
	}
	struct slice more = arena_printf(*state, "%*s", (int)whole.n + 1, "");
	memcpy((char *)(uintptr_t)more.p, whole.p, whole.n);
	assert_err(ERR_CERT_UNCHECKED, pki_ocsp_judge(*state, &q, NULL, more, now, &e), &e);
}

static void
no_memory_is_not_a_good_certificate(void **state)
{
	struct pki_ocsp q = ask(*state, user);
	struct slice good = answer(*state, "good", "issuer", "-ndays 1");
	struct err e = { 0 };

	arena_fail_at(1);
	assert_int_equal(pki_ocsp_judge(*state, &q, NULL, good, now, &e), -1);
	assert_int_not_equal(e.kind, ERR_CERT_REVOKED);
	err_clear(&e);
	arena_fail_at(1);
	assert_err(ERR_MEMORY, pki_ocsp_request(*state, &q, &e), &e);
	arena_fail_at(0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_counts_when_it_is_the_issuers_and_of_now),
		cmocka_unit_test(an_answer_without_nonce_is_taken_and_another_nonce_is_not),
		cmocka_unit_test(an_answer_is_about_this_certificate_and_once),
		cmocka_unit_test(a_responder_that_a_list_names_is_not_believed),
		cmocka_unit_test(what_is_critical_and_unknown_makes_an_answer_useless),
		cmocka_unit_test(what_is_no_answer_says_nothing),
		cmocka_unit_test(no_memory_is_not_a_good_certificate),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
