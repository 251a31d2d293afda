/* List, responder and policy together: who is asked, and what comes of it. The responder is a function here. */
#include "pki/ca.h"

#include "clock.h"
#include "log.h"
#include "signing_private.h"

#include <openssl/ocsp.h>
#include <unistd.h>

#define HOUR 3600
#define RESPONDER "http://ocsp.example/oces"

enum says { NOT_CONFIGURED, GOOD, REVOKED, UNKNOWN, GARBAGE, STATUS_500, UNREACHABLE };

static struct ca issuer;
static X509 *user, *listed;	/* numbers 1 and 2 */
static char dir[] = "/tmp/sosigw-test-revocation-XXXXXX";
static struct pki_revoked *list, *no_list;
static struct conf_ocsp entries[2];

/* ---- the responder */

static struct {
	enum says says;
	int asked;
	struct http_call call;
	size_t cap;
} responder;

static struct slice
ocsp_answer(struct arena *a, int status)
{
	ASN1_TIME *from = ASN1_TIME_set(NULL, (time_t)clock_now()), *to = ASN1_TIME_set(NULL, (time_t)clock_now() + HOUR);
	ASN1_GENERALIZEDTIME *f = ASN1_TIME_to_generalizedtime(from, NULL), *t = ASN1_TIME_to_generalizedtime(to, NULL);
	OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), user, issuer.cert);
	OCSP_BASICRESP *basic = OCSP_BASICRESP_new();

	assert_non_null(OCSP_basic_add1_status(basic, id, status, 0, f, f, t));
	assert_int_equal(OCSP_basic_sign(basic, issuer.cert, issuer.key, EVP_sha256(), NULL, 0), 1);
	OCSP_RESPONSE *whole = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
	int n = i2d_OCSP_RESPONSE(whole, NULL);
	unsigned char *out = arena_alloc(a, (size_t)n), *p = out;
	assert_int_equal(i2d_OCSP_RESPONSE(whole, &p), n);
	OCSP_RESPONSE_free(whole);
	OCSP_BASICRESP_free(basic);
	OCSP_CERTID_free(id);
	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
	ASN1_GENERALIZEDTIME_free(f);
	ASN1_GENERALIZEDTIME_free(t);
	return (struct slice){ (char *)out, (size_t)n };
}

int
http_fetch(struct http *h, struct arena *a, const struct http_call *call, size_t cap, struct http_small *out, struct err *e)
{
	(void)h;
	responder.asked++;
	responder.call = *call;
	responder.cap = cap;
	*out = (struct http_small){ .status = 200 };
	switch (responder.says) {
	case GOOD:
		out->body = ocsp_answer(a, V_OCSP_CERTSTATUS_GOOD);
		return 0;
	case REVOKED:
		out->body = ocsp_answer(a, V_OCSP_CERTSTATUS_REVOKED);
		return 0;
	case UNKNOWN:
		out->body = ocsp_answer(a, V_OCSP_CERTSTATUS_UNKNOWN);
		return 0;
	case GARBAGE:
		out->body = S("<html>");
		return 0;
	case STATUS_500:
		out->status = 500;
		out->body = ocsp_answer(a, V_OCSP_CERTSTATUS_REVOKED);
		return 0;
	default:
		return err_set(e, ERR_ENDPOINT_UNREACHABLE, "nobody there");
	}
}

/* ---- around the tests */

static const char *
path(const char *name)
{
	static char out[200];

	snprintf(out, sizeof out, "%s/%s", dir, name);
	return out;
}

static int
set_up_all(void **state)
{
	struct err e = { 0 };

	issuer.key = EVP_RSA_gen(2048);
	issuer.cert = ca_issue(NULL, &(struct ca_order){ .cn = "Issuer", .key = issuer.key, .to = 365 * CA_DAY, .is_ca = true });
	user = ca_issue(&issuer, &(struct ca_order){ .cn = "User", .number = 1, .key = issuer.key });
	listed = ca_issue(&issuer, &(struct ca_order){ .cn = "Listed", .number = 2, .key = issuer.key });
	if (mkdtemp(dir) == NULL)
		return 1;
	struct pki_revoked_writer *w = pki_revoked_writer_new(path("revoked.bin"));
	X509_CRL *crl = ca_list(&issuer, 2, 1);		/* until CA_NOW + CA_DAY */
	assert_ok(pki_revoked_add(w, crl, &e), &e);
	assert_ok(pki_revoked_finish(w, &e), &e);
	X509_CRL_free(crl);
	list = pki_revoked_open(path("revoked.bin"));
	no_list = pki_revoked_open(path("nothing"));
	memset(entries[0].issuer, 7, sizeof entries[0].issuer);
	entries[0].url = "http://ocsp.example/other";
	pki_fingerprint(issuer.cert, entries[1].issuer);
	entries[1].url = RESPONDER;
	assert_ok(log_open(path("log"), "test", LOG_INFO, &e), &e);
	*state = arena_new(16 << 20);
	return 0;
}

static int
tear_down_all(void **state)
{
	unlink(path("revoked.bin"));
	unlink(path("log"));
	rmdir(dir);
	pki_revoked_close(list);
	pki_revoked_close(no_list);
	X509_free(user);
	X509_free(listed);
	ca_free(&issuer);
	arena_free(*state);
	clock_set(0);
	return 0;
}

struct row {
	const char *note;
	X509 *const *cert;
	struct pki_revoked *const *list;
	int64_t now;			/* behind CA_NOW */
	enum says says;
	int64_t accept;			/* policy */
	enum err_kind want;
	int asked;
};

static int
check(struct arena *a, const struct row *r, struct err *e)
{
	const struct signing s = { .revoked = *r->list };
	const struct conf c = { .trust = {
		.check_revocation = true, .crl_grace = HOUR, .unchecked_accept = r->accept, .ocsp = entries,
		.nocsp = r->says == NOT_CONFIGURED ? 1 : 2,	/* another CA's responder is always there */
	} };

	clock_set(CA_NOW + r->now);
	responder.says = r->says;
	responder.asked = 0;
	const struct pki_chain chain = { .certs = { *r->cert, issuer.cert }, .n = 2 };
	return signing_check_revocation(&s, &c, a, &chain, e);
}

static void
the_responder_goes_before_the_list_and_the_policy_comes_last(void **state)
{
	enum { FRESH = HOUR, LATE = CA_DAY + HOUR / 2, OLD = CA_DAY + 2 * HOUR, ANCIENT = 3 * CA_DAY };
	static const struct row rows[] = {
		{ "list alone", &user, &list, FRESH, NOT_CONFIGURED, 0, ERR_NONE, 0 },
		{ "listed", &listed, &list, FRESH, NOT_CONFIGURED, 0, ERR_CERT_REVOKED, 0 },
		{ "listed by an old list", &listed, &list, ANCIENT, NOT_CONFIGURED, CA_DAY, ERR_CERT_REVOKED, 0 },
		{ "listed needs no responder", &listed, &list, FRESH, GOOD, 0, ERR_CERT_REVOKED, 0 },
		{ "list within its grace", &user, &list, LATE, NOT_CONFIGURED, 0, ERR_NONE, 0 },
		{ "list too old", &user, &list, OLD, NOT_CONFIGURED, 0, ERR_CERT_UNCHECKED, 0 },
		{ "no list", &user, &no_list, FRESH, NOT_CONFIGURED, 0, ERR_CERT_UNCHECKED, 0 },

		{ "good", &user, &list, FRESH, GOOD, 0, ERR_NONE, 1 },
		{ "good, no list", &user, &no_list, FRESH, GOOD, 0, ERR_NONE, 1 },
		{ "good, list too old", &user, &list, ANCIENT, GOOD, 0, ERR_NONE, 1 },
		{ "revoked before the list knows", &user, &list, FRESH, REVOKED, CA_DAY, ERR_CERT_REVOKED, 1 },
		{ "revoked, no list", &user, &no_list, FRESH, REVOKED, CA_DAY, ERR_CERT_REVOKED, 1 },

		{ "unknown: the list", &user, &list, FRESH, UNKNOWN, 0, ERR_NONE, 1 },
		{ "garbage: the list", &user, &list, FRESH, GARBAGE, 0, ERR_NONE, 1 },
		{ "status 500: the list", &user, &list, FRESH, STATUS_500, 0, ERR_NONE, 1 },
		{ "unreachable: the list", &user, &list, FRESH, UNREACHABLE, 0, ERR_NONE, 1 },
		{ "unknown, list too old", &user, &list, OLD, UNKNOWN, 0, ERR_CERT_UNCHECKED, 1 },
		{ "unreachable, list too old", &user, &list, OLD, UNREACHABLE, 0, ERR_CERT_UNCHECKED, 1 },
		{ "unreachable, no list", &user, &no_list, FRESH, UNREACHABLE, 0, ERR_CERT_UNCHECKED, 1 },

		{ "accepted for a day", &user, &list, OLD, NOT_CONFIGURED, CA_DAY, ERR_NONE, 0 },
		{ "accepted for a day, unreachable", &user, &list, OLD, UNREACHABLE, CA_DAY, ERR_NONE, 1 },
		{ "the day is over", &user, &list, ANCIENT, UNREACHABLE, CA_DAY, ERR_CERT_UNCHECKED, 1 },
		{ "never had a list", &user, &no_list, FRESH, UNREACHABLE, CA_DAY, ERR_CERT_UNCHECKED, 1 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct err e = { 0 };
		int rc = check(*state, &rows[i], &e);
		if (e.kind != rows[i].want || rc != (e.kind == ERR_NONE ? 0 : -1) || responder.asked != rows[i].asked)
			fail_msg("%s: %s %s, asked %d times", rows[i].note, err_name(e.kind), e.detail, responder.asked);
	}
}

/* A CA between: root - middle - leaf. The list of middle is always good. */
static void
a_ca_between_is_judged_as_far_as_the_administrator_has_provided_for_it(void **state)
{
	enum lists { NONE, NAMES_NOBODY, NAMES_IT, OLD };
	static const struct {
		const char *note;
		enum lists root_list;
		enum says says;
		int64_t accept;
		enum err_kind want;
		int asked;
	} rows[] = {
		{ "nothing of the root's is configured", NONE, NOT_CONFIGURED, 0, ERR_NONE, 0 },
		{ "the root's list names nobody", NAMES_NOBODY, NOT_CONFIGURED, 0, ERR_NONE, 0 },
		{ "the root's list names it", NAMES_IT, NOT_CONFIGURED, CA_DAY, ERR_CERT_REVOKED, 0 },
		{ "the root's list is too old", OLD, NOT_CONFIGURED, 0, ERR_CERT_UNCHECKED, 0 },
		{ "the root's list is too old, accepted", OLD, NOT_CONFIGURED, CA_DAY, ERR_NONE, 0 },
		{ "the responder says revoked", NAMES_NOBODY, REVOKED, CA_DAY, ERR_CERT_REVOKED, 1 },
		{ "the responder says revoked, no list", NONE, REVOKED, CA_DAY, ERR_CERT_REVOKED, 1 },
		{ "the responder says good, no list", NONE, GOOD, 0, ERR_NONE, 1 },
		{ "the responder is silent, the list good", NAMES_NOBODY, UNREACHABLE, 0, ERR_NONE, 1 },
		{ "the responder is silent, no list", NONE, UNREACHABLE, CA_DAY, ERR_CERT_UNCHECKED, 1 },
	};
	struct ca top = { issuer.key, issuer.cert }, middle = { .key = EVP_RSA_gen(2048) };
	X509 *above = ca_issue(&top, &(struct ca_order){ .cn = "Middle", .number = 1, .key = middle.key, .is_ca = true, .to = 99 * CA_DAY });
	middle.cert = above;
	X509 *leaf = ca_issue(&middle, &(struct ca_order){ .cn = "Leaf", .number = 7, .key = middle.key, .to = 99 * CA_DAY });
	X509 *own = user;
	ASN1_TIME *long_ago = ASN1_TIME_set(NULL, (time_t)CA_NOW - 3 * HOUR);
	const struct pki_chain chain = { .certs = { leaf, above, issuer.cert }, .n = 3 };

	user = above;	/* whom the responder speaks of */
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct err e = { 0 };
		const struct conf c = { .trust = { .check_revocation = true, .crl_grace = HOUR, .unchecked_accept = rows[i].accept,
			.ocsp = entries, .nocsp = rows[i].says == NOT_CONFIGURED ? 1 : 2 } };
		X509_CRL *of_middle = ca_list(&middle, 99, 1), *of_root = ca_list(&top, rows[i].root_list == NAMES_IT ? 1 : 99, 1);
		if (rows[i].root_list == OLD)
			X509_CRL_set1_nextUpdate(of_root, long_ago);
		struct pki_revoked_writer *w = pki_revoked_writer_new(path("chain.bin"));
		assert_ok(pki_revoked_add(w, of_middle, &e), &e);
		if (rows[i].root_list != NONE)
			assert_ok(pki_revoked_add(w, of_root, &e), &e);
		assert_ok(pki_revoked_finish(w, &e), &e);
		const struct signing s = { .revoked = pki_revoked_open(path("chain.bin")) };
		clock_set(CA_NOW + HOUR);
		responder.says = rows[i].says;
		responder.asked = 0;
		int rc = signing_check_revocation(&s, &c, *state, &chain, &e);
		if (e.kind != rows[i].want || rc != (e.kind == ERR_NONE ? 0 : -1) || responder.asked != rows[i].asked)
			fail_msg("%s: %s %s, asked %d times", rows[i].note, err_name(e.kind), e.detail, responder.asked);
		pki_revoked_close(s.revoked);
		X509_CRL_free(of_middle);
		X509_CRL_free(of_root);
	}
	unlink(path("chain.bin"));
	user = own;
	ASN1_TIME_free(long_ago);
	X509_free(leaf);
	ca_free(&middle);
}

static void
the_responder_is_asked_as_configured_and_for_a_short_time(void **state)
{
	static const struct row row = { "", &user, &list, HOUR, GOOD, 0, ERR_NONE, 1 };
	struct err e = { 0 };

	assert_ok(check(*state, &row, &e), &e);
	assert_string_equal(responder.call.url, RESPONDER);
	assert_string_equal(responder.call.headers[0].name, "Content-Type");
	assert_slice("application/ocsp-request", responder.call.headers[0].value);
	assert_true(responder.call.body.n > 50 && responder.call.body.n == (size_t)responder.call.length);
	assert_true(responder.call.connect_ms <= 2000 && responder.call.total_ms > 0 && responder.call.total_ms <= 4000);
	assert_true(responder.cap <= 64 << 10);
}

static unsigned
lines_with(struct arena *a, const char *what)
{
	struct slice log = unit_file(a, path("log")), line;
	unsigned n = 0;

	while (slice_next(&log, '\n', &line))
		n += slice_find(line, slice_of(what)) >= 0;
	return n;
}

static void
each_certificate_accepted_unchecked_leaves_a_line(void **state)
{
	static const struct row accepted = { "", &user, &list, CA_DAY + 2 * HOUR, UNREACHABLE, CA_DAY, ERR_NONE, 1 };
	static const struct row checked = { "", &user, &list, CA_DAY + 2 * HOUR, GOOD, CA_DAY, ERR_NONE, 1 };
	struct err e = { 0 };
	unsigned before = lines_with(*state, "\"unchecked\""), ocsp = lines_with(*state, RESPONDER);

	assert_ok(check(*state, &accepted, &e), &e);
	assert_ok(check(*state, &accepted, &e), &e);
	assert_ok(check(*state, &checked, &e), &e);
	assert_int_equal(lines_with(*state, "\"unchecked\"") - before, 2);
	assert_int_equal(lines_with(*state, RESPONDER) - ocsp, 2);
	assert_int_equal(lines_with(*state, "CN=User"), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_responder_goes_before_the_list_and_the_policy_comes_last),
		cmocka_unit_test(a_ca_between_is_judged_as_far_as_the_administrator_has_provided_for_it),
		cmocka_unit_test(the_responder_is_asked_as_configured_and_for_a_short_time),
		cmocka_unit_test(each_certificate_accepted_unchecked_leaves_a_line),
	};
	return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
