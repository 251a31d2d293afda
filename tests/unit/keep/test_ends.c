/* What is nearly too late: seen, told in the log when it is time, and shown whole. */
#include "unit.h"

#include "pki/ca.h"

#include "clock.h"
#include "ends.h"
#include "log.h"
#include "server.h"

#include <ftw.h>

#define GRACE 7200

static char log_path[] = "/tmp/sosigw-ends-log-XXXXXX";
static struct ca ca;

struct world {
	char dir[64];
	struct arena *a;
	struct err e;
	struct server server;
	struct http *http;
	struct crls *crls;
	struct conf conf;
	struct conf_service services[2];
	struct slice root, sts;
	const char *urls[2];
	int64_t next;		/* of the list that is there */
	long read;		/* of the log */
};

static void
write_file(const char *path, struct slice bytes)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes.p, 1, bytes.n, f), bytes.n);
	fclose(f);
}

static struct slice
certificate(struct world *w, const char *name, int64_t days)
{
	X509 *cert = ca_issue(&ca, &(struct ca_order){ .cn = name, .number = 7, .key = ca.key, .to = days * CA_DAY });
	struct slice pem = ca_pem(w->a, cert);

	X509_free(cert);
	return pem;
}

static void
prepare_list(struct world *w)
{
	X509_CRL *crl = ca_list(&ca, 5, 1);
	int64_t updated, wait;

	assert_int_equal(pki_crl_times(crl, &updated, &w->next), 0);
	server_set(&w->server, 0, (struct page){ "/one", 200, ca_list_der(w->a, crl), NULL, 0, 0 });
	X509_CRL_free(crl);
	assert_int_equal(crl_refresh(w->crls, &w->conf, &wait, &w->e), -1);	/* there is no second one */
}

static int
set_up(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	strcpy(w->dir, "/tmp/sosigw-ends-XXXXXX");
	w->a = arena_new(64 << 20);
	if (mkdtemp(w->dir) == NULL)
		return -1;
	clock_set(CA_NOW);
	server_start(&w->server);
	w->http = http_new(1);
	w->crls = crl_new(w->dir, w->http);
	w->root = ca_pem(w->a, ca.cert);
	w->sts = certificate(w, "The STS \"1\"", 20);
	w->urls[0] = arena_printf(w->a, "%s/one", w->server.base).p;
	w->urls[1] = arena_printf(w->a, "%s/two", w->server.base).p;
	w->services[0].cert_file = arena_printf(w->a, "%s/client.pem", w->dir).p;
	w->services[1].cert_file = "/nonexistent/client.pem";
	struct slice client = certificate(w, "Client", 300);
	write_file(w->services[0].cert_file, arena_printf(w->a, "%.*s%.*s", SLICE_FMT(client), SLICE_FMT(w->root)));
	w->conf = (struct conf){
		.trust = { .roots = &w->root, .nroots = 1, .crl_urls = w->urls, .ncrl_urls = 2, .crl_refresh = 3600, .crl_grace = GRACE },
		.sts = { .certificates = &w->sts, .ncertificates = 1 }, .services = w->services, .nservices = 2,
	};
	prepare_list(w);
	w->read = (long)unit_file(w->a, log_path).n;
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

	clock_set(0);
	server_stop(&w->server);
	crl_free(w->crls);
	http_free(w->http);
	nftw(w->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	arena_free(w->a);
	free(w);
	return 0;
}

/* How often that stands in what came into the log since. */
static int
logged(struct world *w, const char *what)
{
	struct slice more = slice_from(unit_file(w->a, log_path), (size_t)w->read);
	int n = 0;

	for (ptrdiff_t at; (at = slice_find(more, slice_of(what))) >= 0; n++)
		more = slice_from(more, (size_t)at + 1);
	return n;
}

static void
everything_is_shown_with_its_times_and_what_ends_first_comes_first(void **state)
{
	struct world *w = *state;
	struct ends *ends = ends_new();
	struct slice json = ends_look(ends, w->a, &w->conf, w->crls);

	assert_true(slice_find(json, arena_printf(w->a, "{\"lists\":[{\"url\":\"%s\",\"updated\":%lld,\"next\":%lld},{\"url\":\"%s\","
	    "\"updated\":null,\"next\":null}],", w->urls[0], (long long)CA_NOW, (long long)w->next, w->urls[1])) == 0);
	assert_true(slice_find(json, arena_printf(w->a, "\"certificates\":[{\"use\":\"services[1].cert_file\",\"subject\":\"\",\"ends\":null},"
	    "{\"use\":\"sts.certificates[0]\",\"subject\":\"The STS \\\"1\\\"\",\"ends\":%lld},{\"use\":\"services[0].cert_file\","
	    "\"subject\":\"Client\",\"ends\":%lld},{\"use\":\"trust.roots[0]\",", (long long)(CA_NOW + 20 * CA_DAY),
	    (long long)(CA_NOW + 300 * CA_DAY))) > 0);
	assert_true(slice_find(json, S("}],\"count\":4}")) > 0);
	ends_free(ends);
}

static void
what_is_nearly_too_late_is_told_once_and_not_at_every_look(void **state)
{
	struct world *w = *state;
	struct ends *ends = ends_new();

	for (int i = 0; i < 3; i++) {
		ends_look(ends, w->a, &w->conf, w->crls);
		assert_int_equal(logged(w, "\"crl-old\""), 1);
		assert_int_equal(logged(w, "/two: there is still no list of it"), 1);
		assert_int_equal(logged(w, "\"certificate-ends\""), 2);
		assert_int_equal(logged(w, "services[1].cert_file cannot be read"), 1);
		assert_int_equal(logged(w, "sts.certificates[0] (The STS \\\"1\\\"): 20 days left"), 1);
	}
	ends_free(ends);
}

static void
a_list_is_old_when_half_its_grace_is_over(void **state)
{
	struct world *w = *state;
	static const struct { int64_t late; int told; } rows[] = { { -1, 0 }, { 0, 0 }, { GRACE / 2, 0 }, { GRACE / 2 + 1, 1 }, { GRACE + 60, 1 } };
	int told = 0;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct ends *ends = ends_new();
		clock_set(w->next + rows[i].late);
		ends_look(ends, w->a, &w->conf, w->crls);
		told += rows[i].told;
		if (logged(w, "/one: the list should have been replaced ") != told)
			fail_msg("%lld s late", (long long)rows[i].late);
		ends_free(ends);
	}
}

static void
what_is_well_is_not_told(void **state)
{
	struct world *w = *state;
	struct ends *ends = ends_new();
	struct slice json;

	w->conf.nservices = 1;
	w->conf.sts.ncertificates = 0;
	w->conf.trust.ncrl_urls = 1;
	assert_ok(crl_refresh(w->crls, &w->conf, &(int64_t){ 0 }, &(struct err){ 0 }), &w->e);
	w->read = (long)unit_file(w->a, log_path).n;
	json = ends_look(ends, w->a, &w->conf, w->crls);
	assert_true(slice_find(json, S("\"count\":2}")) > 0);
	assert_int_equal(logged(w, "\"warn\""), 0);
	ends_free(ends);
}

static int
make_ca(void **state)
{
	(void)state;
	ca.key = EVP_RSA_gen(2048);
	ca.cert = ca_issue(NULL, &(struct ca_order){ .cn = "CA", .is_ca = true, .key = ca.key, .to = 999 * CA_DAY });
	return 0;
}

static int
free_ca(void **state)
{
	(void)state;
	ca_free(&ca);
	return unlink(log_path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		T(everything_is_shown_with_its_times_and_what_ends_first_comes_first),
		T(what_is_nearly_too_late_is_told_once_and_not_at_every_look),
		T(a_list_is_old_when_half_its_grace_is_over),
		T(what_is_well_is_not_told),
	};
	struct err e = { 0 };
	int fd = mkstemp(log_path);

	if (fd < 0 || log_open(log_path, "test", LOG_INFO, &e) < 0)
		return 1;
	close(fd);
	return cmocka_run_group_tests(tests, make_ca, free_ca);
}
