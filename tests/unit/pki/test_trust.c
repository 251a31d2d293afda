/* Chains: the real OCES ones at a time when they held, and every way in which one can fail. */
#include "ca.h"

#define DATA "tests/data/pki/"

static struct ca root, middle, other_root, impostor;
static EVP_PKEY *leaf_key, *small_key, *ec_key;

static struct pki_trust *
trust(struct arena *a, X509 *root_cert, X509 *middle_cert)
{
	struct err e = { 0 };
	struct slice roots[] = { ca_pem(a, root_cert) }, middles[1];

	if (middle_cert != NULL)
		middles[0] = ca_pem(a, middle_cert);
	struct pki_trust *t = pki_trust_new(roots, 1, middles, middle_cert != NULL, &e);
	if (t == NULL)
		fail_msg("%s", e.detail);
	return t;
}

static X509 *
read_pem(struct arena *a, const char *path)
{
	struct err e = { 0 };
	X509 *cert;

	assert_ok(pki_read_pem(a, unit_file(a, path), &cert, &e), &e);
	return cert;
}

static void
real_chains_hold_at_their_time(void **state)
{
	static const struct {
		const char *root, *issuing, *leaf;
		int64_t now;
		enum err_kind want;
	} rows[] = {
		{ DATA "oces2-root.pem", DATA "oces2-issuing.pem", DATA "oces2-moces.pem", 1500000000, ERR_NONE },
		{ DATA "oces2-root.pem", DATA "oces2-issuing.pem", DATA "oces2-voces.pem", 1500000000, ERR_NONE },
		{ DATA "oces2-root.pem", DATA "oces2-issuing.pem", DATA "oces2-foces.pem", 1500000000, ERR_NONE },
		{ DATA "oces3-root.pem", DATA "oces3-issuing.pem", DATA "oces3-voces.pem", 1700000000, ERR_NONE },
		{ DATA "oces2-root.pem", DATA "oces2-issuing.pem", DATA "oces2-moces.pem", 1700000000,
		    ERR_CERT_EXPIRED },
		{ DATA "oces2-root.pem", DATA "oces2-issuing.pem", DATA "oces2-moces.pem", 1480000000,
		    ERR_CERT_NOT_YET },
		{ DATA "oces2-root.pem", DATA "oces2-issuing.pem", DATA "oces2-moces.pem", 1900000000,
		    ERR_CERT_UNTRUSTED },
		{ DATA "oces3-root.pem", DATA "oces2-issuing.pem", DATA "oces2-moces.pem", 1500000000,
		    ERR_CERT_UNTRUSTED },
		{ DATA "oces2-root.pem", DATA "oces3-issuing.pem", DATA "oces2-moces.pem", 1500000000,
		    ERR_CERT_UNTRUSTED },
		{ DATA "oces2-root.pem", DATA "oces2-issuing.pem", DATA "oces3-voces.pem", 1700000000,
		    ERR_CERT_UNTRUSTED },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct err e = { 0 };
		X509 *issuing = read_pem(*state, rows[i].issuing);
		struct pki_chain chain;
		struct pki_trust *t = trust(*state, read_pem(*state, rows[i].root), issuing);
		int rc = pki_check_chain(t, *state, read_pem(*state, rows[i].leaf), rows[i].now, &chain, &e);
		if (e.kind != rows[i].want)
			fail_msg("row %zu: %s %s", i, err_name(e.kind), e.detail);
		if (rc == 0)
			assert_int_equal(X509_cmp(chain.certs[1], issuing), 0);
		pki_trust_free(t);
	}
}

static void
what_makes_a_chain_fail_is_told_apart(void **state)
{
	const struct {
		const char *note;
		const struct ca *issuer;
		struct ca_order order;
		enum err_kind want;
	} rows[] = {
		{ "good", &middle, { .key = leaf_key }, ERR_NONE },
		{ "good, directly under the root", &root, { .key = leaf_key }, ERR_NONE },
		{ "good, PSS", &middle, { .key = leaf_key, .pss = true }, ERR_NONE },
		{ "good, no keyUsage", &middle, { .key = leaf_key, .key_usage = "" }, ERR_NONE },
		{ "good, nonRepudiation alone", &middle, { .key = leaf_key, .key_usage = "nonRepudiation" }, ERR_NONE },
		{ "expired", &middle, { .key = leaf_key, .to = -1 }, ERR_CERT_EXPIRED },
		{ "not yet", &middle, { .key = leaf_key, .from = 60 }, ERR_CERT_NOT_YET },
		{ "another root", &other_root, { .key = leaf_key }, ERR_CERT_UNTRUSTED },
		{ "another CA of the same name", &impostor, { .key = leaf_key }, ERR_CERT_UNTRUSTED },
		{ "self-signed", NULL, { .key = leaf_key }, ERR_CERT_UNTRUSTED },
		{ "1024 bits", &middle, { .key = small_key }, ERR_CERTIFICATE },
		{ "elliptic", &middle, { .key = ec_key }, ERR_CERTIFICATE },
		{ "a CA", &middle, { .key = leaf_key, .is_ca = true }, ERR_CERTIFICATE },
		{ "key for encryption", &middle, { .key = leaf_key, .key_usage = "keyEncipherment" }, ERR_CERTIFICATE },
		{ "unknown critical extension", &middle, { .key = leaf_key, .extra_oid = "1.2.3.4" }, ERR_CERTIFICATE },
		{ "signed with SHA-1", &middle, { .key = leaf_key, .md = EVP_sha1() }, ERR_CERTIFICATE },
	};
	struct pki_trust *t = trust(*state, root.cert, middle.cert);

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct ca_order order = rows[i].order;
		struct err e = { 0 };
		struct pki_chain chain;
		order.cn = "user";
		X509 *cert = ca_issue(rows[i].issuer, &order);
		pki_check_chain(t, *state, cert, CA_NOW, &chain, &e);
		if (e.kind != rows[i].want)
			fail_msg("%s: %s %s", rows[i].note, err_name(e.kind), e.detail);
		if (e.kind == ERR_NONE)
			assert_int_equal(X509_cmp(chain.certs[1], rows[i].issuer->cert), 0);
		X509_free(cert);
	}
	pki_trust_free(t);
}

static void
a_user_is_no_issuer(void **state)
{
	struct ca user = { leaf_key, ca_issue(&middle, &(struct ca_order){ .cn = "user", .key = leaf_key }) };
	X509 *forged = ca_issue(&user, &(struct ca_order){ .cn = "forged", .key = leaf_key });
	struct pki_chain chain;
	struct pki_trust *t = trust(*state, root.cert, middle.cert);
	struct err e = { 0 };

	assert_err(ERR_CERT_UNTRUSTED, pki_check_chain(t, *state, forged, CA_NOW, &chain, &e), &e);
	pki_trust_free(t);
	/* nor may it be configured as one */
	struct slice pem = ca_pem(*state, user.cert), good = ca_pem(*state, root.cert);
	assert_null(pki_trust_new(&good, 1, &pem, 1, &e));
	X509_free(user.cert);
	X509_free(forged);
}

static void
a_chain_needs_its_middle_and_a_time(void **state)
{
	X509 *cert = ca_issue(&middle, &(struct ca_order){ .cn = "user", .key = leaf_key });
	struct pki_chain chain;
	struct pki_trust *t = trust(*state, root.cert, NULL);
	struct err e = { 0 };

	assert_err(ERR_CERT_UNTRUSTED, pki_check_chain(t, *state, cert, CA_NOW, &chain, &e), &e);
	pki_trust_free(t);
	t = trust(*state, root.cert, middle.cert);
	assert_err(ERR_INTERNAL, pki_check_chain(t, *state, cert, 0, &chain, &e), &e);
	assert_ok(pki_check_chain(t, *state, cert, CA_NOW, &chain, &e), &e);
	pki_trust_free(t);
	X509_free(cert);
}

static void
trust_is_made_of_certificates(void **state)
{
	struct slice both = arena_printf(*state, "%s%s", ca_pem(*state, root.cert).p,
	    ca_pem(*state, other_root.cert).p);
	struct slice junk = S("junk"), none = { NULL, 0 };
	struct err e = { 0 };

	struct pki_trust *t = pki_trust_new(&both, 1, NULL, 0, &e);
	assert_non_null(t);
	X509 *cert = ca_issue(&other_root, &(struct ca_order){ .cn = "user", .key = leaf_key });
	struct pki_chain chain;
	assert_ok(pki_check_chain(t, *state, cert, CA_NOW, &chain, &e), &e);
	pki_trust_free(t);
	X509_free(cert);

	assert_null(pki_trust_new(&junk, 1, NULL, 0, &e));
	assert_int_equal(e.kind, ERR_CERTIFICATE);
	assert_null(pki_trust_new(&none, 1, NULL, 0, &e));
	assert_null(pki_trust_new(&both, 1, &junk, 1, &e));
	pki_trust_free(NULL);
}

static struct ca
ca_new(const struct ca *issuer, const char *cn)
{
	struct ca ca = { .key = EVP_RSA_gen(2048) };

	ca.cert = ca_issue(issuer, &(struct ca_order){ .cn = cn, .is_ca = true, .key = ca.key,
		.from = -30 * CA_DAY, .to = 30 * CA_DAY });
	return ca;
}

static int
group_setup(void **state)
{
	(void)state;
	root = ca_new(NULL, "root");
	middle = ca_new(&root, "middle");
	other_root = ca_new(NULL, "other root");
	impostor = ca_new(&other_root, "middle");
	leaf_key = EVP_RSA_gen(2048);
	small_key = EVP_RSA_gen(1024);
	ec_key = EVP_EC_gen("P-256");
	return 0;
}

static int
group_teardown(void **state)
{
	struct ca *all[] = { &root, &middle, &other_root, &impostor };

	(void)state;
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		ca_free(all[i]);
	EVP_PKEY_free(leaf_key);
	EVP_PKEY_free(small_key);
	EVP_PKEY_free(ec_key);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_ARENA_TEST(real_chains_hold_at_their_time),
		UNIT_ARENA_TEST(what_makes_a_chain_fail_is_told_apart),
		UNIT_ARENA_TEST(a_user_is_no_issuer),
		UNIT_ARENA_TEST(a_chain_needs_its_middle_and_a_time),
		UNIT_ARENA_TEST(trust_is_made_of_certificates),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
