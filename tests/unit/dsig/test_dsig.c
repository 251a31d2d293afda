/* Real cards, and cards we make, also judged by others: the xmlsec1 and openssl command lines. */
#include "keys.h"

#include "conv.h"

#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#define DATA "tests/data/dsig/"

static struct signer ours, stranger;

static X509 *
certificate(struct arena *a, const char *path)
{
	struct slice der = unit_file(a, path);
	const unsigned char *p = (const unsigned char *)der.p;
	X509 *cert = d2i_X509(NULL, &p, (long)der.n);

	assert_non_null(cert);
	return cert;
}

static int
verify_with(struct arena *a, struct slice card, X509 *cert, struct dsig_verified *out, struct err *e)
{
	struct dsig_policy policy = { .keys = &cert, .nkeys = 1 };

	return dsig_verify(a, card, &policy, out, e);
}

static void
real_cards_verify(void **state)
{
	static const char *const who[] = { "client", "sts" };

	for (size_t i = 0; i < 2; i++) {
		struct err e = { 0 };
		struct dsig_verified got;
		struct slice card = unit_file(*state, arena_printf(*state, DATA "%s-card.xml", who[i]).p);
		X509 *cert = certificate(*state, arena_printf(*state, DATA "%s-signer.der", who[i]).p);

		assert_ok(verify_with(*state, card, cert, &got, &e), &e);
		assert_ptr_equal(got.signer, cert);
		assert_int_equal(got.hash, DSIG_SHA1);
		assert_true(slice_eq(got.card, slice_trim(card)));

		X509 *keys[] = { ours.cert, cert };
		struct dsig_policy two = { .keys = keys, .nkeys = 2 };
		assert_ok(dsig_verify(*state, card, &two, &got, &e), &e);
		assert_ptr_equal(got.signer, cert);

		assert_err(ERR_SIGNATURE, verify_with(*state, card, ours.cert, &got, &e), &e);
		two.refuse_sha1 = true;
		assert_err(ERR_SIGNATURE, dsig_verify(*state, card, &two, &got, &e), &e);
		assert_null(got.card.p);
		X509_free(cert);
	}
}

static void
real_octets_to_sign_are_made_again(void **state)
{
	static const char *const who[] = { "client", "sts" };

	for (size_t i = 0; i < 2; i++) {
		struct err e = { 0 };
		struct slice got, out;
		struct slice card = unit_file(*state,
		    arena_printf(*state, DATA "%s-card-without-signature.c14n", who[i]).p);
		struct slice want = unit_file(*state,
		    arena_printf(*state, DATA "%s-signedinfo.c14n", who[i]).p);
		struct slice value = unit_file(*state, arena_printf(*state, DATA "%s-signature.bin", who[i]).p);
		X509 *cert = certificate(*state, arena_printf(*state, DATA "%s-signer.der", who[i]).p);

		assert_ok(dsig_prepare(*state, card, DSIG_SHA1, &got, &e), &e);
		assert_int_equal(got.n, 677);
		assert_true(slice_eq(got, want));
		/* and the signature that was made then still completes the card */
		assert_ok(dsig_attach(*state, card, got, value, &(struct dsig_policy){ .keys = &cert, .nkeys = 1 }, &out, &e), &e);
		assert_true(slice_eq(out,
		    slice_trim(unit_file(*state, arena_printf(*state, DATA "%s-card.xml", who[i]).p))));
		X509_free(cert);
	}
}

static void
a_card_signed_here_verifies_with_its_key_alone(void **state)
{
	for (int hash = DSIG_SHA1; hash <= DSIG_SHA512; hash++) {
		struct err e = { 0 };
		struct slice card;
		struct dsig_verified got;

		assert_ok(dsig_sign(*state, S(CARD), hash, ours.key, ours.cert, &card, &e), &e);
		assert_ok(verify_with(*state, card, ours.cert, &got, &e), &e);
		assert_int_equal(got.hash, hash);
		assert_true(slice_eq(got.card, card));
		assert_err(ERR_SIGNATURE, verify_with(*state, card, stranger.cert, &got, &e), &e);
		assert_err(ERR_SIGNATURE, verify_with(*state, card, NULL, &got, &e), &e);

		struct dsig_policy none = { .keys = NULL, .nkeys = 0 };
		assert_err(ERR_SIGNATURE, dsig_verify(*state, card, &none, &got, &e), &e);
		struct dsig_policy modern = { .keys = &ours.cert, .nkeys = 1, .refuse_sha1 = true };
		assert_int_equal(dsig_verify(*state, card, &modern, &got, &e), hash == DSIG_SHA1 ? -1 : 0);
	}
}

static void
a_signature_that_does_not_fit_is_not_attached(void **state)
{
	struct err e = { 0 };
	struct slice info, other, out = { 0 }, card;
	char zero[256] = { 0 };

	assert_ok(dsig_prepare(*state, S(CARD), DSIG_SHA1, &info, &e), &e);
	assert_ok(dsig_prepare(*state, unit_edited(*state, S(CARD), "1802602810", "1802602811"), DSIG_SHA1,
	    &other, &e), &e);
	assert_ok(dsig_sign(*state, S(CARD), DSIG_SHA1, ours.key, ours.cert, &card, &e), &e);
	ptrdiff_t at = slice_find(card, S("<ds:SignatureValue>"));
	struct slice rest = slice_from(card, (size_t)at + 19);
	rest.n = (size_t)slice_find(rest, S("<"));
	struct slice value = conv_unbase64(*state, rest);
	assert_int_equal(value.n, 256);

	struct dsig_policy signer = { .keys = &ours.cert, .nkeys = 1 };
	assert_ok(dsig_attach(*state, S(CARD), info, value, &signer, &out, &e), &e);
	assert_true(slice_eq(out, card));
	signer.refuse_sha1 = true;
	assert_err(ERR_SIGNATURE, dsig_attach(*state, S(CARD), info, value, &signer, &out, &e), &e);
	const struct {
		struct slice card, info, value;
		X509 *cert;
	} bad[] = {
		{ S(CARD), info, value, stranger.cert },
		{ S(CARD), info, { zero, 256 }, ours.cert },
		{ S(CARD), info, { "", 0 }, ours.cert },
		{ S(CARD), info, { NULL, 0 }, ours.cert },
		{ S(CARD), info, { value.p, 255 }, ours.cert },
		{ S(CARD), other, value, ours.cert },
		{ S(CARD), { "", 0 }, value, ours.cert },
		{ unit_edited(*state, S(CARD), "1802602810", "1802602811"), info, value, ours.cert },
		{ card, info, value, ours.cert },
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		X509 *cert = bad[i].cert;
		assert_err(ERR_SIGNATURE, dsig_attach(*state, bad[i].card, bad[i].info, bad[i].value,
		    &(struct dsig_policy){ .keys = &cert, .nkeys = 1 }, &out, &e), &e);
	}
}

static void
signatures_that_are_found_good_are_counted_by_their_hash(void **state)
{
	static struct dsig_counts counts;
	struct err e = { 0 };
	struct slice card;
	struct dsig_verified got;

	dsig_count_in(&counts);
	for (int hash = DSIG_SHA1; hash <= DSIG_SHA512; hash++) {
		assert_ok(dsig_sign(*state, S(CARD), hash, ours.key, ours.cert, &card, &e), &e);
		assert_ok(verify_with(*state, card, ours.cert, &got, &e), &e);
		assert_err(ERR_SIGNATURE, verify_with(*state, card, stranger.cert, &got, &e), &e);
	}
	/* signing verifies, too */
	assert_int_equal(atomic_load(&counts.sha1), 2);
	assert_int_equal(atomic_load(&counts.sha2), 6);
	dsig_count_in(NULL);
}

static void
only_an_unsigned_card_is_prepared(void **state)
{
	struct err e = { 0 };
	struct slice info, card;

	assert_ok(dsig_sign(*state, S(CARD), DSIG_SHA256, ours.key, ours.cert, &card, &e), &e);
	assert_err(ERR_SIGNATURE, dsig_prepare(*state, card, DSIG_SHA1, &info, &e), &e);
	assert_err(ERR_SIGNATURE, dsig_prepare(*state, unit_edited(*state, S(CARD), "IDCard", "Other"),
	    DSIG_SHA1, &info, &e), &e);
	assert_err(ERR_SIGNATURE, dsig_prepare(*state, S("<a id='IDCard'/>"), DSIG_SHA1, &info, &e), &e);
	assert_err(ERR_XML, dsig_prepare(*state, S("<a"), DSIG_SHA1, &info, &e), &e);
	assert_err(ERR_DOCTYPE, dsig_prepare(*state, S("<!DOCTYPE a>" CARD), DSIG_SHA1, &info, &e), &e);
}

static void
the_claimed_certificate_is_what_the_card_shows(void **state)
{
	struct slice sts = unit_file(*state, DATA "sts-card.xml");

	assert_true(slice_eq(dsig_claimed_certificate(*state, sts), unit_file(*state, DATA "sts-signer.der")));
	assert_null(dsig_claimed_certificate(*state, S(CARD)).p);
	assert_null(dsig_claimed_certificate(*state, S("<a")).p);
	assert_null(dsig_claimed_certificate(*state,
	    unit_edited(*state, sts, "<ds:X509Certificate>", "<ds:X509Certificate>!")).p);
	assert_null(dsig_claimed_certificate(*state,
	    unit_edited(*state, sts, "<ds:X509Certificate>", "<ds:X509Certificate/><ds:X509Certificate>")).p);
}

/* ---- independent judges */

static const char *
file_with(struct arena *a, const char *dir, const char *name, struct slice content)
{
	const char *path = arena_printf(a, "%s/%s", dir, name).p;
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(content.p, 1, content.n, f), content.n);
	assert_int_equal(fclose(f), 0);
	return path;
}

static int
shell(struct arena *a, const char *dir, const char *command)
{
	return system(arena_printf(a, "cd %s && { %s; } >out 2>&1", dir, command).p);
}

static void
others_accept_what_we_sign(void **state)
{
	static const char *const names[] = { "sha1", "sha256", "sha384", "sha512" };
	char dir[] = "/tmp/dsig-XXXXXX";
	assert_non_null(mkdtemp(dir));
	BIO *pem = BIO_new_file(arena_printf(*state, "%s/cert.pem", dir).p, "w");
	assert_int_equal(PEM_write_bio_X509(pem, ours.cert), 1);
	BIO_free(pem);

	for (int hash = DSIG_SHA1; hash <= DSIG_SHA512; hash++) {
		struct err e = { 0 };
		struct slice card, info;
		assert_ok(dsig_sign(*state, S(CARD), hash, ours.key, ours.cert, &card, &e), &e);
		assert_ok(dsig_prepare(*state, S(CARD), hash, &info, &e), &e);
		struct slice value = slice_from(card,
		    (size_t)slice_find(card, S("<ds:SignatureValue>")) + strlen("<ds:SignatureValue>"));
		value.n = (size_t)slice_find(value, S("<"));
		file_with(*state, dir, "card.xml", card);
		file_with(*state, dir, "changed.xml", unit_edited(*state, card, "1802602810", "1802602811"));
		file_with(*state, dir, "info", info);
		file_with(*state, dir, "value", conv_unbase64(*state, value));
		const char *verify = "xmlsec1 --verify --id-attr:id " NS_SAML ":Assertion "
		    "--pubkey-cert-pem cert.pem";
		assert_int_equal(shell(*state, dir, arena_printf(*state, "%s card.xml", verify).p), 0);
		assert_int_not_equal(shell(*state, dir, arena_printf(*state, "%s changed.xml", verify).p), 0);
		assert_int_equal(shell(*state, dir, arena_printf(*state,
		    "openssl x509 -in cert.pem -pubkey -noout >key.pem && "
		    "openssl dgst -%s -verify key.pem -signature value info", names[hash]).p), 0);
	}
	assert_int_equal(shell(*state, dir, arena_printf(*state, "rm -r %s", dir).p), 0);
}

/* ---- */

static void *
verify_often(void *ctx)
{
	const struct slice *card = ctx;
	size_t good = 0;

	for (int i = 0; i < 20; i++) {
		struct arena *a = arena_new(1 << 22);
		struct dsig_verified got;
		struct err e = { 0 };
		X509 *keys[] = { stranger.cert, ours.cert };
		struct dsig_policy policy = { .keys = keys, .nkeys = 2 };
		good += dsig_verify(a, *card, &policy, &got, &e) == 0 && got.signer == ours.cert;
		arena_free(a);
	}
	return (void *)(uintptr_t)good;
}

static void
threads_verify_side_by_side(void **state)
{
	struct err e = { 0 };
	struct slice card;
	pthread_t threads[4];

	assert_ok(dsig_sign(*state, S(CARD), DSIG_SHA1, ours.key, ours.cert, &card, &e), &e);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, verify_often, &card), 0);
	for (size_t i = 0; i < 4; i++) {
		void *good;
		pthread_join(threads[i], &good);
		assert_int_equal((uintptr_t)good, 20);
	}
}

static void
memory_that_ends_never_makes_a_card_good_or_bad(void **state)
{
	struct err e = { 0 };
	struct slice card;
	struct dsig_verified got;
	bool done = false;

	assert_ok(dsig_sign(*state, S(CARD), DSIG_SHA1, ours.key, ours.cert, &card, &e), &e);
	for (unsigned long n = 1; !done; n++) {
		struct arena *a = arena_new(1 << 22);
		assert_non_null(a);
		err_clear(&e);
		arena_fail_at(n);
		int rc = verify_with(a, card, ours.cert, &got, &e);
		arena_fail_at(0);
		done = rc == 0;
		if (rc < 0)
			assert_null(got.card.p);
		assert_true(n < 100);
		arena_free(a);
	}
}

static int
group_setup(void **state)
{
	struct err e = { 0 };

	(void)state;
	xml_init();
	ours = signer_of(EVP_RSA_gen(2048));
	stranger = signer_of(EVP_RSA_gen(2048));
	return dsig_init(&e);
}

static int
group_teardown(void **state)
{
	(void)state;
	signer_free(&ours);
	signer_free(&stranger);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_ARENA_TEST(real_cards_verify),
		UNIT_ARENA_TEST(real_octets_to_sign_are_made_again),
		UNIT_ARENA_TEST(a_card_signed_here_verifies_with_its_key_alone),
		UNIT_ARENA_TEST(a_signature_that_does_not_fit_is_not_attached),
		UNIT_ARENA_TEST(signatures_that_are_found_good_are_counted_by_their_hash),
		UNIT_ARENA_TEST(only_an_unsigned_card_is_prepared),
		UNIT_ARENA_TEST(the_claimed_certificate_is_what_the_card_shows),
		UNIT_ARENA_TEST(others_accept_what_we_sign),
		UNIT_ARENA_TEST(threads_verify_side_by_side),
		UNIT_ARENA_TEST(memory_that_ends_never_makes_a_card_good_or_bad),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
