/* Lists of revoked certificates: fetched, kept, and made one file of. */
#include "unit.h"

#include "pki/ca.h"

#include "clock.h"
#include "crl.h"
#include "log.h"
#include "server.h"

#include <dirent.h>
#include <ftw.h>
#include <sys/stat.h>

struct world {
	char dir[64];
	struct arena *a;
	struct err e;
	struct server server;
	struct http *http;
	struct crls *crls;
	struct pki_revoked *revoked;
	struct conf conf;
	struct slice roots[2];
	const char *urls[3];
	X509 *certs[4];
	size_t ncerts;
};

static struct ca cas[2];

static int
make_cas(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		cas[i].key = EVP_RSA_gen(2048);
		cas[i].cert = ca_issue(NULL, &(struct ca_order){ .cn = i == 0 ? "CA 1" : "CA 2", .is_ca = true,
		    .key = cas[i].key });
	}
	return 0;
}

static int
free_cas(void **state)
{
	(void)state;
	ca_free(&cas[0]);
	ca_free(&cas[1]);
	return 0;
}

static const char *
path(struct world *w, const char *name)
{
	return arena_printf(w->a, "%s/%s", w->dir, name).p;
}

/* One configuration with both CAs and two lists. */
static int
set_up(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	strcpy(w->dir, "/tmp/sosigw-crl-XXXXXX");
	w->a = arena_new(16 << 20);
	if (mkdtemp(w->dir) == NULL)
		return -1;
	server_start(&w->server);
	w->http = http_new(1);
	w->crls = crl_new(w->dir, w->http);
	w->revoked = pki_revoked_open(path(w, "revoked.bin"));
	w->roots[0] = ca_pem(w->a, cas[0].cert);
	w->roots[1] = ca_pem(w->a, cas[1].cert);
	w->urls[0] = arena_printf(w->a, "%s/one", w->server.base).p;
	w->urls[1] = arena_printf(w->a, "%s/two", w->server.base).p;
	w->urls[2] = arena_printf(w->a, "%s/three", w->server.base).p;
	w->conf.trust = (struct conf_trust){ .roots = w->roots, .nroots = 2, .crl_urls = w->urls, .ncrl_urls = 2,
		.crl_refresh = 3600 };
	*state = w;
	return 0;
}

static int
remove_one(const char *at, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(at);
}

static int
tear_down(void **state)
{
	struct world *w = *state;

	server_stop(&w->server);
	pki_revoked_close(w->revoked);
	crl_free(w->crls);
	http_free(w->http);
	for (size_t i = 0; i < w->ncerts; i++)
		X509_free(w->certs[i]);
	nftw(w->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	arena_free(w->a);
	free(w);
	return 0;
}

/* The list of a CA as bytes: `first` is revoked; issued so many seconds after CA_NOW. */
static struct slice
list_of(struct world *w, int ca, long first, long later)
{
	X509_CRL *crl = ca_list(&cas[ca], first, 1);
	ASN1_TIME *time = ASN1_TIME_set(NULL, (time_t)(CA_NOW + later));

	X509_CRL_set1_lastUpdate(crl, time);
	ASN1_TIME_free(time);
	assert_true(X509_CRL_sign(crl, cas[ca].key, EVP_sha256()) > 0);
	struct slice der = ca_list_der(w->a, crl);
	X509_CRL_free(crl);
	return der;
}

/* ERR_NONE, or why a certificate of that CA with that number is refused. */
static enum err_kind
judged(struct world *w, int ca, long number)
{
	struct err e = { 0 };
	X509 *cert = ca_issue(&cas[ca], &(struct ca_order){ .cn = "user", .number = number, .key = cas[ca].key });

	/* a new file is noticed within a moment */
	pki_revoked_close(w->revoked);
	w->revoked = pki_revoked_open(path(w, "revoked.bin"));
	pki_revoked_check(w->revoked, cert, CA_NOW, 3600, &e);
	X509_free(cert);
	return e.kind;
}

/* A round in which everything is due, as after a restart. */
static int
fresh_round(struct world *w)
{
	int64_t wait;

	crl_free(w->crls);
	w->crls = crl_new(w->dir, w->http);
	err_clear(&w->e);
	return crl_refresh(w->crls, &w->conf, &wait, &w->e);
}

static void
lists_are_fetched_and_judge_certificates(void **state)
{
	struct world *w = *state;
	int64_t wait;

	server_set(&w->server, 0, (struct page){ "/one", 200, list_of(w, 0, 5, 0), NULL, 0, 0 });
	server_set(&w->server, 1, (struct page){ "/two", 200, list_of(w, 1, 7, 0), NULL, 0, 0 });
	assert_ok(crl_refresh(w->crls, &w->conf, &wait, &w->e), &w->e);
	assert_int_equal(judged(w, 0, 5), ERR_CERT_REVOKED);
	assert_int_equal(judged(w, 0, 7), ERR_NONE);
	assert_int_equal(judged(w, 1, 7), ERR_CERT_REVOKED);
	assert_true(wait > 0);
	/* nothing is due: nobody is asked */
	assert_ok(crl_refresh(w->crls, &w->conf, &wait, &w->e), &w->e);
	assert_int_equal(server_page(&w->server, 0).asked, 1);
}

static void
a_list_that_cannot_be_had_goes_on_counting(void **state)
{
	struct world *w = *state;
	static const struct { const char *note; int status; const char *body; } rows[] = {
		{ "gone", 404, "" }, { "error", 500, "" }, { "a page", 200, "<html>maintenance</html>" }, { "nothing", 200, "" },
		{ "elsewhere", 302, "" },
	};

	server_set(&w->server, 0, (struct page){ "/one", 200, list_of(w, 0, 5, 0), NULL, 0, 0 });
	server_set(&w->server, 1, (struct page){ "/two", 200, list_of(w, 1, 7, 0), NULL, 0, 0 });
	assert_ok(fresh_round(w), &w->e);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		server_set(&w->server, 0, (struct page){ "/one", rows[i].status, slice_of(rows[i].body), NULL, 0, 0 });
		server_set(&w->server, 1, (struct page){ "/two", 200, list_of(w, 1, 8, (long)i + 1), NULL, 0, 0 });
		if (fresh_round(w) == 0)
			fail_msg("%s: not told", rows[i].note);
		if (judged(w, 0, 5) != ERR_CERT_REVOKED || judged(w, 1, 8) != ERR_CERT_REVOKED || judged(w, 0, 6) != ERR_NONE)
			fail_msg("%s: a list was lost", rows[i].note);
	}
}

static void
a_list_of_somebody_else_or_an_older_one_is_not_taken(void **state)
{
	struct world *w = *state;
	struct ca stranger = { .key = EVP_RSA_gen(2048) };

	stranger.cert = ca_issue(NULL, &(struct ca_order){ .cn = "CA 1", .is_ca = true, .key = stranger.key });
	server_set(&w->server, 0, (struct page){ "/one", 200, list_of(w, 0, 5, 0), NULL, 0, 0 });
	server_set(&w->server, 1, (struct page){ "/two", 200, list_of(w, 1, 7, 0), NULL, 0, 0 });
	assert_ok(fresh_round(w), &w->e);
	X509_CRL *forged = ca_list(&stranger, 99, 1);
	server_set(&w->server, 0, (struct page){ "/one", 200, ca_list_der(w->a, forged), NULL, 0, 0 });
	X509_CRL_free(forged);
	ca_free(&stranger);
	assert_int_equal(fresh_round(w), -1);
	assert_int_equal(judged(w, 0, 5), ERR_CERT_REVOKED);
	assert_int_equal(judged(w, 0, 99), ERR_NONE);
	/* really signed, but from before number 5 was revoked */
	server_set(&w->server, 0, (struct page){ "/one", 200, list_of(w, 0, 6, -3600), NULL, 0, 0 });
	assert_int_equal(fresh_round(w), -1);
	assert_int_equal(judged(w, 0, 5), ERR_CERT_REVOKED);
	server_set(&w->server, 0, (struct page){ "/one", 200, list_of(w, 0, 6, 60), NULL, 0, 0 });
	assert_ok(fresh_round(w), &w->e);
	assert_int_equal(judged(w, 0, 5), ERR_NONE);
	assert_int_equal(judged(w, 0, 6), ERR_CERT_REVOKED);
}

static void
a_list_that_has_not_changed_is_not_sent_again(void **state)
{
	struct world *w = *state;

	w->conf.trust.ncrl_urls = 1;
	server_set(&w->server, 0, (struct page){ "/one", 200, list_of(w, 0, 5, 0), "\"v1\"", 0, 0 });
	assert_ok(fresh_round(w), &w->e);
	assert_ok(fresh_round(w), &w->e);	/* also after a restart */
	assert_int_equal(server_page(&w->server, 0).unchanged, 1);
	assert_int_equal(judged(w, 0, 5), ERR_CERT_REVOKED);
}

/* 304 would leave us without a list when the kept one is not there, or of no use any more. */
static void
a_kept_list_that_is_of_no_use_is_fetched_whole(void **state)
{
	struct world *w = *state;

	w->conf.trust.ncrl_urls = 1;
	server_set(&w->server, 0, (struct page){ "/one", 200, list_of(w, 0, 5, 0), "\"v1\"", 0, 0 });
	assert_ok(fresh_round(w), &w->e);
	DIR *d = opendir(w->dir);
	for (const struct dirent *f; (f = readdir(d)) != NULL;)
		if (strstr(f->d_name, ".crl") != NULL) {
			FILE *out = fopen(path(w, f->d_name), "w");
			fputs("half a li", out);
			fclose(out);
		}
	closedir(d);
	assert_ok(fresh_round(w), &w->e);
	assert_int_equal(server_page(&w->server, 0).unchanged, 0);
	assert_int_equal(judged(w, 0, 5), ERR_CERT_REVOKED);
}

static size_t
kept_files(struct world *w)
{
	size_t n = 0;
	DIR *d = opendir(w->dir);

	for (const struct dirent *f; (f = readdir(d)) != NULL;)
		n += strncmp(f->d_name, "crl-", 4) == 0;
	closedir(d);
	return n;
}

static void
another_configuration_counts_at_once(void **state)
{
	struct world *w = *state;
	int64_t wait;

	server_set(&w->server, 0, (struct page){ "/one", 200, list_of(w, 0, 5, 0), NULL, 0, 0 });
	server_set(&w->server, 1, (struct page){ "/two", 200, list_of(w, 1, 7, 0), NULL, 0, 0 });
	assert_ok(crl_refresh(w->crls, &w->conf, &wait, &w->e), &w->e);
	assert_int_equal(kept_files(w), 4);
	/* an address less: its list is forgotten, and its file removed */
	w->conf.trust.ncrl_urls = 1;
	assert_ok(crl_refresh(w->crls, &w->conf, &wait, &w->e), &w->e);
	assert_int_equal(judged(w, 1, 7), ERR_CERT_UNCHECKED);
	assert_int_equal(judged(w, 0, 5), ERR_CERT_REVOKED);
	assert_int_equal(kept_files(w), 2);
	/* a CA less: what it signed no longer counts */
	w->conf.trust.roots = &w->roots[1];
	w->conf.trust.nroots = 1;
	assert_int_equal(crl_refresh(w->crls, &w->conf, &wait, &w->e), -1);
	assert_int_equal(judged(w, 0, 5), ERR_CERT_UNCHECKED);
	/* and back, without waiting for the next refresh; the same address twice is one list */
	w->conf.trust.roots = w->roots;
	w->conf.trust.nroots = 2;
	w->conf.trust.ncrl_urls = 2;
	w->urls[1] = w->urls[0];
	assert_ok(crl_refresh(w->crls, &w->conf, &wait, &w->e), &w->e);
	assert_int_equal(judged(w, 0, 5), ERR_CERT_REVOKED);
}

static void
former_addresses_count_until_the_new_ones_have_answered(void **state)
{
	struct world *w = *state;
	int64_t wait;

	server_set(&w->server, 0, (struct page){ "/one", 200, list_of(w, 0, 5, 0), NULL, 0, 0 });
	server_set(&w->server, 1, (struct page){ "/two", 500, S(""), NULL, 0, 0 });
	w->conf.trust.ncrl_urls = 1;
	assert_ok(crl_refresh(w->crls, &w->conf, &wait, &w->e), &w->e);
	/* the list moves to another address, which does not answer yet */
	const char *urls[] = { w->urls[1] };
	w->conf.trust.crl_urls = urls;
	assert_int_equal(crl_refresh(w->crls, &w->conf, &wait, &w->e), -1);
	assert_int_equal(judged(w, 0, 5), ERR_CERT_REVOKED);
	/* and now it does, with a list that no longer names the certificate */
	server_set(&w->server, 1, (struct page){ "/two", 200, list_of(w, 0, 6, 1), NULL, 0, 0 });
	err_clear(&w->e);
	assert_ok(fresh_round(w), &w->e);
	assert_int_equal(judged(w, 0, 5), ERR_NONE);
	assert_int_equal(kept_files(w), 2);
	w->conf.trust.crl_urls = (const char *const *)w->urls;
}

static void
a_kept_list_counts_before_a_server_has_answered(void **state)
{
	struct world *w = *state;

	w->conf.trust.ncrl_urls = 1;
	server_set(&w->server, 0, (struct page){ "/one", 200, list_of(w, 0, 5, 0), NULL, 0, 0 });
	assert_ok(fresh_round(w), &w->e);
	assert_int_equal(unlink(path(w, "revoked.bin")), 0);
	server_set(&w->server, 0, (struct page){ "/one", 500, S(""), NULL, 0, 0 });
	assert_int_equal(fresh_round(w), -1);
	assert_int_equal(judged(w, 0, 5), ERR_CERT_REVOKED);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		T(lists_are_fetched_and_judge_certificates),
		T(a_list_that_cannot_be_had_goes_on_counting),
		T(a_list_of_somebody_else_or_an_older_one_is_not_taken),
		T(a_list_that_has_not_changed_is_not_sent_again),
		T(a_kept_list_that_is_of_no_use_is_fetched_whole),
		T(another_configuration_counts_at_once),
		T(former_addresses_count_until_the_new_ones_have_answered),
		T(a_kept_list_counts_before_a_server_has_answered),
	};
	struct err e = { 0 };

	log_open("/dev/null", "test", LOG_ERROR, &e);
	return cmocka_run_group_tests(tests, make_cas, free_cas);
}
