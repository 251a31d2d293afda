/* Revocation lists, and the file made of them. Time is given; only the once-a-second look at the file
 * waits, by asking until it has happened. */
#include "ca.h"

#include "clock.h"
#include "log.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#define DATA "tests/data/pki/"

static struct ca root, other, stranger;
static char dir[] = "/tmp/pki-XXXXXX";
static struct pki_trust *trusted;

static const char *
path_of(struct arena *a, const char *name)
{
	return arena_printf(a, "%s/%s", dir, name).p;
}

static X509 *
user(const struct ca *issuer, long number)
{
	return ca_issue(issuer, &(struct ca_order){ .cn = "user", .key = issuer->key, .number = number });
}

/* A file of one list of n numbers from first on, for each issuer that is given. */
static void
write_file(const char *path, const struct ca *const *issuers, size_t nissuers, long first, long n)
{
	struct pki_revoked_writer *w = pki_revoked_writer_new(path);
	struct err e = { 0 };

	assert_non_null(w);
	for (size_t i = 0; i < nissuers; i++) {
		X509_CRL *crl = ca_list(issuers[i], first, n);
		assert_ok(pki_revoked_add(w, crl, &e), &e);
		X509_CRL_free(crl);
	}
	assert_ok(pki_revoked_finish(w, &e), &e);
}

static void
what_is_listed_is_revoked_and_nothing_else(void **state)
{
	const char *path = path_of(*state, "listed");
	const struct ca *issuers[] = { &root, &other };
	write_file(path, issuers, 2, 1000, 500);
	struct pki_revoked *r = pki_revoked_open(path);
	struct err e = { 0 };

	for (long n = 990; n < 1510; n += 3) {
		for (size_t i = 0; i < 2; i++) {
			X509 *cert = user(issuers[i], n);
			struct pki_cert_key key;
			bool listed = n >= 1000 && n < 1500;
			pki_cert_key(cert, &key);
			assert_int_equal(pki_revoked_has(r, &key), listed);
			if (listed)
				assert_err(ERR_CERT_REVOKED, pki_revoked_check(r, cert, CA_NOW, 0, &e), &e);
			else
				assert_ok(pki_revoked_check(r, cert, CA_NOW, 0, &e), &e);
			X509_free(cert);
		}
	}
	X509 *cert = user(&stranger, 1);
	assert_err(ERR_CERT_UNCHECKED, pki_revoked_check(r, cert, CA_NOW, 0, &e), &e);
	X509_free(cert);
	/* a key that could not be made */
	assert_true(pki_revoked_has(r, &(struct pki_cert_key){ { 0 } }));
	pki_revoked_close(r);
}

/* Of what a kept card holds: its signer, and whoever issued the signer's certificate. */
static void
a_signer_is_revoked_with_its_certificate_or_its_ca(void **state)
{
	static const struct { const char *note; long of_root, of_other; bool revoked, without_ca; } rows[] = {
		{ "nothing listed", 500, 500, false, false }, { "the certificate", 500, 7, true, true },
		{ "the CA", 40, 500, true, false }, { "both", 40, 7, true, true },
		/* the other's numbers */
		{ "numbers of others", 7, 40, false, false },
	};
	const struct ca *issuers[] = { &root, &other };
	X509 *above = ca_issue(&root, &(struct ca_order){ .cn = "issuing", .number = 40, .key = other.key, .is_ca = true });
	X509 *cert = user(&other, 7);
	struct pki_signer with, alone, of_root, nobody = { { 0 } };

	pki_signer(cert, above, &with);
	pki_signer(cert, NULL, &alone);
	pki_signer(cert, other.cert, &of_root);
	/* a root names nobody above it */
	assert_memory_equal(&of_root, &alone, sizeof alone);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *path = path_of(*state, rows[i].note);
		struct pki_revoked_writer *w = pki_revoked_writer_new(path);
		struct err e = { 0 };
		for (size_t k = 0; k < 2; k++) {
			X509_CRL *crl = ca_list(issuers[k], k == 0 ? rows[i].of_root : rows[i].of_other, 1);
			assert_ok(pki_revoked_add(w, crl, &e), &e);
			X509_CRL_free(crl);
		}
		assert_ok(pki_revoked_finish(w, &e), &e);
		struct pki_revoked *r = pki_revoked_open(path);
		if (pki_revoked_has_signer(r, &with) != rows[i].revoked || pki_revoked_has_signer(r, &alone) != rows[i].without_ca)
			fail_msg("%s", rows[i].note);
		/* one that could not be made */
		assert_true(pki_revoked_has_signer(r, &nobody));
		pki_revoked_close(r);
	}
	X509_free(cert);
	X509_free(above);
}

static void
a_list_counts_until_its_grace_ends(void **state)
{
	const char *path = path_of(*state, "grace");
	const struct ca *issuers[] = { &root };
	write_file(path, issuers, 1, 1000, 1);
	struct pki_revoked *r = pki_revoked_open(path);
	X509 *good = user(&root, 1), *bad = user(&root, 1000);
	struct err e = { 0 };
	int64_t next = CA_NOW + CA_DAY;

	assert_ok(pki_revoked_check(r, good, next, 0, &e), &e);
	assert_err(ERR_CERT_UNCHECKED, pki_revoked_check(r, good, next + 1, 0, &e), &e);
	assert_ok(pki_revoked_check(r, good, next + 3600, 3600, &e), &e);
	assert_err(ERR_CERT_UNCHECKED, pki_revoked_check(r, good, next + 3601, 3600, &e), &e);
	assert_err(ERR_CERT_REVOKED, pki_revoked_check(r, bad, next + 99999, 0, &e), &e);
	X509_free(good);
	X509_free(bad);
	pki_revoked_close(r);
}

static void
without_a_file_nothing_is_checked(void **state)
{
	static const char *const contents[] = { NULL, "", "x", "junk that is long enough to be a head of a file "
		"but is none, whatever one may think of it at first sight, and so on" };
	X509 *cert = user(&root, 1);
	struct pki_cert_key key;
	struct err e = { 0 };

	pki_cert_key(cert, &key);
	for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
		const char *path = path_of(*state, "none");
		unlink(path);
		if (contents[i] != NULL) {
			FILE *f = fopen(path, "wb");
			assert_non_null(f);
			fputs(contents[i], f);
			fclose(f);
		}
		struct pki_revoked *r = pki_revoked_open(path);
		assert_non_null(r);
		assert_err(ERR_CERT_UNCHECKED, pki_revoked_check(r, cert, CA_NOW, 1 << 30, &e), &e);
		assert_false(pki_revoked_has(r, &key));
		pki_revoked_close(r);
	}
	X509_free(cert);
	pki_revoked_close(NULL);
}

static void
a_damaged_file_is_not_used(void **state)
{
	const char *path = path_of(*state, "damaged"), *copy = path_of(*state, "copy");
	const struct ca *issuers[] = { &root };
	write_file(path, issuers, 1, 1000, 4);
	struct slice good = unit_file(*state, path);
	X509 *cert = user(&root, 1);
	struct err e = { 0 };

	for (size_t i = 0; i <= good.n; i++) {
		FILE *f = fopen(copy, "wb");
		assert_non_null(f);
		fwrite(good.p, 1, i, f);
		if (i < good.n && i % 2 == 0) {	/* cut there, or one byte changed there */
			fputc(good.p[i] ^ 1, f);
			fwrite(good.p + i + 1, 1, good.n - i - 1, f);
		}
		fclose(f);
		struct pki_revoked *r = pki_revoked_open(copy);
		if (i == good.n)
			assert_ok(pki_revoked_check(r, cert, CA_NOW, 0, &e), &e);
		else
			assert_err(ERR_CERT_UNCHECKED, pki_revoked_check(r, cert, CA_NOW, 0, &e), &e);
		pki_revoked_close(r);
	}
	X509_free(cert);
}

static void
wait_for(struct pki_revoked *r, const struct pki_cert_key *key, bool listed)
{
	int64_t start = clock_mono_ms();

	while (pki_revoked_has(r, key) != listed)
		if (clock_mono_ms() - start > 10000)
			fail_msg("the new file was not noticed");
}

static void
a_new_file_is_noticed_and_a_broken_one_changes_nothing(void **state)
{
	const char *path = path_of(*state, "new");
	const struct ca *issuers[] = { &root };
	X509 *cert = user(&root, 7), *later = user(&root, 8);
	struct pki_cert_key key, other_key;
	struct pki_revoked *r = pki_revoked_open(path);

	pki_cert_key(cert, &key);
	pki_cert_key(later, &other_key);
	assert_false(pki_revoked_has(r, &key));
	write_file(path, issuers, 1, 7, 1);
	wait_for(r, &key, true);

	const char *broken = path_of(*state, "broken");
	FILE *f = fopen(broken, "wb");
	fputs("broken", f);
	fclose(f);
	assert_int_equal(rename(broken, path), 0);
	int64_t start = clock_mono_ms();
	while (clock_mono_ms() - start < 1100)
		assert_true(pki_revoked_has(r, &key));
	unlink(path);
	assert_true(pki_revoked_has(r, &key));

	write_file(path, issuers, 1, 8, 1);
	wait_for(r, &other_key, true);
	assert_false(pki_revoked_has(r, &key));
	X509_free(cert);
	X509_free(later);
	pki_revoked_close(r);
}

/* Threads that ask while the file is exchanged always get an answer from one whole file: number 5 is in
 * all of them, number 6 in none. */
struct asker {
	struct pki_revoked *r;
	struct pki_cert_key in, out;
	atomic_bool stop, wrong;
};

static void *
ask(void *ctx)
{
	struct asker *a = ctx;

	while (!atomic_load(&a->stop))
		if (!pki_revoked_has(a->r, &a->in) || pki_revoked_has(a->r, &a->out))
			atomic_store(&a->wrong, true);
	return NULL;
}

static void
threads_share_it_while_it_is_exchanged(void **state)
{
	const char *path = path_of(*state, "threads");
	const struct ca *issuers[] = { &root, &other };
	struct asker asker = { 0 };
	pthread_t threads[4];
	X509 *in = user(&root, 5), *out = user(&root, 6);

	write_file(path, issuers, 1, 5, 1);
	pki_cert_key(in, &asker.in);
	pki_cert_key(out, &asker.out);
	asker.r = pki_revoked_open(path);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ask, &asker), 0);
	for (int64_t start = clock_mono_ms(), n = 0; clock_mono_ms() - start < 2200; n++)
		write_file(path, issuers, 1 + n % 2, 5, 1);
	atomic_store(&asker.stop, true);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_false(atomic_load(&asker.wrong));
	pki_revoked_close(asker.r);
	X509_free(in);
	X509_free(out);
}

static void
lists_are_read_when_a_trusted_ca_signed_them(void **state)
{
	struct err e = { 0 };
	X509_CRL *crl = ca_list(&root, 1, 3), *got;
	struct slice der = ca_list_der(*state, crl);

	assert_ok(pki_read_crl(*state, trusted, der, &got, &e), &e);
	assert_int_equal(X509_cmp(pki_trust_issuer_of_crl(trusted, got), root.cert), 0);
	BIO *bio = BIO_new(BIO_s_mem());
	PEM_write_bio_X509_CRL(bio, crl);
	char *pem;
	long n = BIO_get_mem_data(bio, &pem);
	assert_ok(pki_read_crl(*state, trusted, (struct slice){ pem, (size_t)n }, &got, &e), &e);
	BIO_free(bio);
	X509_CRL_free(crl);

	crl = ca_list(&stranger, 1, 3);
	assert_err(ERR_INVALID, pki_read_crl(*state, trusted, ca_list_der(*state, crl), &got, &e), &e);
	assert_null(pki_trust_issuer_of_crl(trusted, crl));
	/* the name of a trusted CA, the signature of another */
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(root.cert));
	X509_CRL_sign(crl, stranger.key, EVP_sha256());
	assert_err(ERR_INVALID, pki_read_crl(*state, trusted, ca_list_der(*state, crl), &got, &e), &e);
	X509_CRL_free(crl);

	assert_err(ERR_INVALID, pki_read_crl(*state, trusted, (struct slice){ der.p, der.n - 1 }, &got, &e), &e);
	assert_err(ERR_INVALID, pki_read_crl(*state, trusted, S(""), &got, &e), &e);
	assert_err(ERR_INVALID, pki_read_crl(*state, trusted, S("<html>"), &got, &e), &e);
	assert_err(ERR_INVALID, pki_read_crl(*state, trusted, S("-----BEGIN X509 CRL-----\n"), &got, &e), &e);
	assert_err(ERR_INVALID, pki_read_crl(*state, trusted, (struct slice){ NULL, 0 }, &got, &e), &e);
}

static void
only_whole_lists_are_read(void **state)
{
	static const struct {
		int nid;
		const char *value;
		int want;
	} rows[] = {
		{ NID_issuing_distribution_point, "critical,fullname:URI:http://ca.example/list.crl", 0 },
		{ NID_crl_number, NULL, 0 },
		{ NID_issuing_distribution_point, "critical,indirectCRL:TRUE", -1 },
		{ NID_issuing_distribution_point, "critical,onlyuser:TRUE", -1 },
		{ NID_issuing_distribution_point, "critical,onlyCA:TRUE", -1 },
		{ NID_issuing_distribution_point, "critical,onlyAA:TRUE", -1 },
		{ NID_issuing_distribution_point, "critical,onlysomereasons:keyCompromise", -1 },
		{ NID_delta_crl, NULL, -1 },
		{ NID_ext_key_usage, "critical,OCSPSigning", -1 },
		{ NID_ext_key_usage, "OCSPSigning", 0 },
	};
	ASN1_INTEGER *seven = ASN1_INTEGER_new();
	struct err e = { 0 };
	X509_CRL *got;

	ASN1_INTEGER_set(seven, 7);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		X509_CRL *crl = ca_list(&root, 1, 3);
		ca_list_extension(crl, &root, rows[i].value == NULL ? X509V3_EXT_i2d(rows[i].nid, 0, seven) :
		    X509V3_EXT_conf_nid(NULL, NULL, rows[i].nid, rows[i].value));
		err_clear(&e);
		if (pki_read_crl(*state, trusted, ca_list_der(*state, crl), &got, &e) != rows[i].want)
			fail_msg("%s: %s", OBJ_nid2sn(rows[i].nid), e.detail);
		X509_CRL_free(crl);
	}
	ASN1_INTEGER_free(seven);
	/* a real one, with a directory name: part 1478 of the list of the first OCES CA */
	struct slice pem = unit_file(*state, DATA "oces1-root.pem");
	struct pki_trust *oces1 = pki_trust_new(&pem, 1, NULL, 0, &e);
	assert_non_null(oces1);
	assert_err(ERR_INVALID, pki_read_crl(*state, oces1, unit_file(*state, DATA "oces1-partial.crl"), &got, &e),
	    &e);
	assert_string_equal(e.detail, "list is partial or indirect");
	pki_trust_free(oces1);
}

static void
two_lists_of_one_issuer_are_as_old_as_the_older(void **state)
{
	const char *path = path_of(*state, "two");
	struct pki_revoked_writer *w = pki_revoked_writer_new(path);
	struct err e = { 0 };
	ASN1_TIME *late = ASN1_TIME_set(NULL, (time_t)(CA_NOW + 9 * CA_DAY));
	X509_CRL *first = ca_list(&root, 1, 1), *second = ca_list(&root, 2, 1);

	X509_CRL_set1_nextUpdate(second, late);
	assert_ok(pki_revoked_add(w, second, &e), &e);
	assert_ok(pki_revoked_add(w, first, &e), &e);
	assert_ok(pki_revoked_finish(w, &e), &e);
	struct pki_revoked *r = pki_revoked_open(path);
	X509 *one = user(&root, 1), *two = user(&root, 2), *three = user(&root, 3);
	assert_err(ERR_CERT_REVOKED, pki_revoked_check(r, one, CA_NOW, 0, &e), &e);
	assert_err(ERR_CERT_REVOKED, pki_revoked_check(r, two, CA_NOW, 0, &e), &e);
	assert_ok(pki_revoked_check(r, three, CA_NOW, 0, &e), &e);
	assert_err(ERR_CERT_UNCHECKED, pki_revoked_check(r, three, CA_NOW + 2 * CA_DAY, 0, &e), &e);
	pki_revoked_close(r);
	X509_free(one);
	X509_free(two);
	X509_free(three);
	X509_CRL_free(first);
	X509_CRL_free(second);
	ASN1_TIME_free(late);
}

static void
a_file_that_cannot_be_written_is_an_error(void **state)
{
	struct err e = { 0 };

	assert_err(ERR_INTERNAL, pki_revoked_finish(
	    pki_revoked_writer_new(path_of(*state, "no/such/folder")), &e), &e);
}

static int
group_setup(void **state)
{
	struct ca *all[] = { &root, &other, &stranger };
	static const char *const names[] = { "root", "other", "stranger" };
	struct arena *a = arena_new(1 << 20);
	struct err e = { 0 };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		all[i]->key = EVP_RSA_gen(2048);
		all[i]->cert = ca_issue(NULL, &(struct ca_order){ .cn = names[i], .is_ca = true, .key = all[i]->key });
	}
	struct slice pems[] = { ca_pem(a, root.cert), ca_pem(a, other.cert) };
	trusted = pki_trust_new(pems, 2, NULL, 0, &e);
	arena_free(a);
	/* broken files are the point here, and not worth a line each */
	return log_open(NULL, "test", LOG_ERROR, &e) < 0 || trusted == NULL || mkdtemp(dir) == NULL ? -1 : 0;
}

static int
group_teardown(void **state)
{
	struct ca *all[] = { &root, &other, &stranger };
	static const char *const names[] = { "listed", "grace", "none", "damaged", "copy", "new", "threads", "two" };
	char path[64];

	(void)state;
	for (size_t i = 0; i < 3; i++)
		ca_free(all[i]);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		unlink(path);
	}
	pki_trust_free(trusted);
	return rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_ARENA_TEST(what_is_listed_is_revoked_and_nothing_else),
		UNIT_ARENA_TEST(a_signer_is_revoked_with_its_certificate_or_its_ca),
		UNIT_ARENA_TEST(a_list_counts_until_its_grace_ends),
		UNIT_ARENA_TEST(without_a_file_nothing_is_checked),
		UNIT_ARENA_TEST(a_damaged_file_is_not_used),
		UNIT_ARENA_TEST(a_new_file_is_noticed_and_a_broken_one_changes_nothing),
		UNIT_ARENA_TEST(threads_share_it_while_it_is_exchanged),
		UNIT_ARENA_TEST(lists_are_read_when_a_trusted_ca_signed_them),
		UNIT_ARENA_TEST(only_whole_lists_are_read),
		UNIT_ARENA_TEST(two_lists_of_one_issuer_are_as_old_as_the_older),
		UNIT_ARENA_TEST(a_file_that_cannot_be_written_is_an_error),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
