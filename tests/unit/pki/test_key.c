/* Keys that the gateway keeps, in every form they may lie in, and every way in which they may not be there. */
#include "ca.h"

#include <openssl/pkcs12.h>
#include <openssl/provider.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MODULE "/usr/lib/softhsm/libsofthsm2.so"
#define PIN "12;3 4"

static struct ca mine, other, ec;
static char dir[] = "/tmp/sosigw-key-XXXXXX";

struct world {
	struct arena *a;
	struct pki_keys *keys;
	struct err e;
	EVP_PKEY *key;
	X509 *cert;
};

/* ---- files */

static const char *
path(struct world *w, const char *name)
{
	return arena_printf(w->a, "%s/%s", dir, name).p;
}

static void
put(struct world *w, const char *name, struct slice bytes, mode_t mode)
{
	const char *to = path(w, name), *new = path(w, "new");
	int fd = open(new, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes.p, bytes.n), (ssize_t)bytes.n);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
	assert_int_equal(rename(new, to), 0);
}

static struct slice
take(struct world *w, BIO *bio)
{
	char *p;
	long n = BIO_get_mem_data(bio, &p);
	struct slice out = arena_dup(w->a, (struct slice){ p, (size_t)n });

	BIO_free(bio);
	return out;
}

/* password NULL: not encrypted. */
static struct slice
pem_of(struct world *w, EVP_PKEY *key, const char *password)
{
	BIO *bio = BIO_new(BIO_s_mem());

	assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, key, password == NULL ? NULL : EVP_aes_128_cbc(), password,
	    password == NULL ? 0 : (int)strlen(password), NULL, NULL), 1);
	return take(w, bio);
}

/* cert NULL: a key alone. old: with ciphers that only old programs use. */
static struct slice
p12_of(struct world *w, EVP_PKEY *key, X509 *cert, const char *password, int cipher)
{
	BIO *bio = BIO_new(BIO_s_mem());
	PKCS12 *p12 = PKCS12_create(password, "name", key, cert, NULL, cipher, cipher, 0, 0, 0);

	assert_non_null(p12);
	assert_int_equal(i2d_PKCS12_bio(bio, p12), 1);
	PKCS12_free(p12);
	return take(w, bio);
}

/* ---- around the tests */

static int
set_up(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	w->a = arena_new(8 << 20);
	w->keys = pki_keys_new();
	assert_non_null(w->keys);
	put(w, "cert.pem", ca_pem(w->a, mine.cert), 0644);
	put(w, "other.pem", ca_pem(w->a, other.cert), 0644);
	put(w, "ec.pem", ca_pem(w->a, ec.cert), 0644);
	put(w, "key.pem", pem_of(w, mine.key, NULL), 0600);
	put(w, "locked.pem", pem_of(w, mine.key, "secret"), 0640);
	put(w, "ec.key", pem_of(w, ec.key, NULL), 0600);
	put(w, "open.key", pem_of(w, mine.key, NULL), 0604);
	put(w, "group.key", pem_of(w, mine.key, NULL), 0660);
	put(w, "all.p12", p12_of(w, mine.key, mine.cert, "secret", 0), 0600);
	put(w, "key.p12", p12_of(w, mine.key, NULL, "secret", 0), 0600);
	put(w, "cert.p12", p12_of(w, NULL, mine.cert, "secret", 0), 0600);
	put(w, "bare.p12", p12_of(w, mine.key, mine.cert, NULL, -1), 0600);
	put(w, "password", S("secret\n"), 0600);
	put(w, "password.crlf", S("secret\r\nmore\n"), 0600);
	put(w, "wrong", S("other\n"), 0600);
	put(w, "empty", S("\n"), 0600);
	put(w, "open", S("secret\n"), 0644);
	put(w, "garbage", S("-----BEGIN GARBAGE-----\n"), 0600);
	*state = w;
	return 0;
}

static int
tear_down(void **state)
{
	struct world *w = *state;

	arena_free(w->a);
	pki_keys_free(w->keys);
	free(w);
	return 0;
}

static int
get(struct world *w, const struct pki_key_source *from)
{
	return pki_keys_get(w->keys, w->a, from, &w->key, &w->cert, &w->e);
}

/* What came back is our key, it signs, and the certificate is ours. */
static void
assert_ours(struct world *w)
{
	unsigned char value[512];
	size_t n = sizeof value;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	assert_int_equal(X509_cmp(w->cert, mine.cert), 0);
	assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, "SHA1", NULL, NULL, w->key, NULL), 1);
	assert_int_equal(EVP_DigestSign(ctx, value, &n, (const unsigned char *)"x", 1), 1);
	EVP_MD_CTX_reset(ctx);
	assert_int_equal(EVP_DigestVerifyInit_ex(ctx, NULL, "SHA1", NULL, NULL, mine.key, NULL), 1);
	assert_int_equal(EVP_DigestVerify(ctx, value, n, (const unsigned char *)"x", 1), 1);
	EVP_MD_CTX_free(ctx);
}

/* Names in the folder of the test; NULL: no such file is named. */
struct files { const char *certificate, *key, *p12, *password; };

static struct pki_key_source
source_of(struct world *w, const struct files *f)
{
	return (struct pki_key_source){
		.certificate_file = f->certificate == NULL ? NULL : path(w, f->certificate),
		.key_file = f->key == NULL ? NULL : path(w, f->key),
		.pkcs12_file = f->p12 == NULL ? NULL : path(w, f->p12),
		.password_file = f->password == NULL ? NULL : path(w, f->password),
	};
}

/* ---- the tests */

static void
a_key_is_read_from_every_form_of_file(void **state)
{
	struct world *w = *state;
	static const struct files rows[] = {
		{ "cert.pem", "key.pem", NULL, NULL },
		{ "cert.pem", "key.pem", NULL, "password" },
		{ "cert.pem", "locked.pem", NULL, "password" },
		{ "cert.pem", "locked.pem", NULL, "password.crlf" },
		{ NULL, NULL, "all.p12", "password" },
		{ "cert.pem", NULL, "all.p12", "password" },
		{ "cert.pem", NULL, "key.p12", "password" },
		{ NULL, NULL, "bare.p12", NULL },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct pki_key_source from = source_of(w, &rows[i]);
		assert_ok(get(w, &from), &w->e);
		assert_ours(w);
	}
}

static void
what_cannot_be_used_is_refused_with_its_reason(void **state)
{
	struct world *w = *state;
	static const struct { struct files files; const char *why; } rows[] = {
		{ { "cert.pem", "none.pem", NULL, NULL }, "none.pem: No such file" },
		{ { "none.pem", "key.pem", NULL, NULL }, "none.pem: No such file" },
		{ { "cert.pem", "key.pem", NULL, "none" }, "none: No such file" },
		{ { NULL, NULL, "none.p12", NULL }, "none.p12: No such file" },
		{ { "cert.pem", "open.key", NULL, NULL }, "open.key is open to others: mode 604, at most 640" },
		{ { "cert.pem", "group.key", NULL, NULL }, "group.key is open to others: mode 660, at most 640" },
		{ { "cert.pem", "locked.pem", NULL, "open" }, "open is open to others: mode 644, at most 640" },
		{ { "cert.pem", ".", NULL, NULL }, "is not a file" },
		{ { "cert.pem", "locked.pem", NULL, NULL }, "locked.pem: no private key, or its password is another: " },
		{ { "cert.pem", "locked.pem", NULL, "wrong" }, "locked.pem: no private key, or its password is another: " },
		{ { "cert.pem", "locked.pem", NULL, "empty" }, "empty holds no password in its first line" },
		{ { "cert.pem", "garbage", NULL, NULL }, "garbage: no private key" },
		{ { "cert.pem", "cert.pem", NULL, NULL }, "cert.pem is open to others" },
		{ { "garbage", "key.pem", NULL, NULL }, "garbage: no certificate" },
		{ { "other.pem", "key.pem", NULL, NULL }, "key.pem: not the key of the certificate in " },
		{ { "other.pem", NULL, "all.p12", "password" }, "all.p12: not the key of the certificate in " },
		{ { "ec.pem", "ec.key", NULL, NULL }, "ec.key: not an RSA key" },
		{ { NULL, NULL, "all.p12", "wrong" }, "all.p12: no PKCS#12, or its password is another: mac verify failure" },
		{ { NULL, NULL, "all.p12", NULL }, "all.p12: no PKCS#12, or its password is another: mac verify failure" },
		{ { NULL, NULL, "garbage", NULL }, "garbage: no PKCS#12" },
		{ { NULL, NULL, "key.p12", "password" }, "no certificate of the key" },
		{ { NULL, NULL, "cert.p12", "password" }, "cert.p12 holds no private key" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct pki_key_source from = source_of(w, &rows[i].files);
		assert_err(ERR_SYSTEM_KEY, get(w, &from), &w->e);
		if (slice_find(slice_of(w->e.detail), slice_of(rows[i].why)) < 0)
			fail_msg("row %zu: %s, wanted %s", i, w->e.detail, rows[i].why);
		if (rows[i].files.password != NULL && slice_find(slice_of(w->e.detail), S("secret")) >= 0)
			fail_msg("row %zu tells the password: %s", i, w->e.detail);
	}
}

static void
an_old_pkcs12_is_refused_with_advice(void **state)
{
	struct world *w = *state;
	OSSL_PROVIDER *old = OSSL_PROVIDER_load(NULL, "legacy"), *usual = OSSL_PROVIDER_load(NULL, "default");

	assert_non_null(old);
	put(w, "old.p12", p12_of(w, mine.key, mine.cert, "secret", NID_pbe_WithSHA1And40BitRC2_CBC), 0600);
	OSSL_PROVIDER_unload(old);
	const struct pki_key_source from = { .pkcs12_file = path(w, "old.p12"), .password_file = path(w, "password") };
	assert_err(ERR_SYSTEM_KEY, get(w, &from), &w->e);
	assert_non_null(strstr(w->e.detail, "openssl pkcs12 -legacy"));
	OSSL_PROVIDER_unload(usual);
}

static void
a_fifo_does_not_hold_anybody_up(void **state)
{
	struct world *w = *state;
	const struct pki_key_source from = { .certificate_file = path(w, "cert.pem"), .key_file = path(w, "fifo") };

	assert_int_equal(mkfifo(from.key_file, 0600), 0);
	assert_err(ERR_SYSTEM_KEY, get(w, &from), &w->e);
	unlink(from.key_file);
}

static void
a_key_is_loaded_once_and_again_when_a_file_changes(void **state)
{
	struct world *w = *state;
	const struct pki_key_source from = { .certificate_file = path(w, "cert.pem"), .key_file = path(w, "key.pem"),
		.password_file = path(w, "password") };

	assert_ok(get(w, &from), &w->e);
	EVP_PKEY *first = w->key;
	assert_ok(get(w, &from), &w->e);
	assert_ptr_equal(w->key, first);

	put(w, "key.pem", pem_of(w, other.key, NULL), 0600);
	assert_err(ERR_SYSTEM_KEY, get(w, &from), &w->e);
	put(w, "cert.pem", ca_pem(w->a, other.cert), 0644);
	assert_ok(get(w, &from), &w->e);
	assert_int_equal(X509_cmp(w->cert, other.cert), 0);
	assert_ptr_not_equal(w->key, first);
	/* the arena still holds the first one */
	assert_int_equal(EVP_PKEY_get_bits(first), 2048);

	first = w->key;
	put(w, "password", S("new\n"), 0600);
	assert_ok(get(w, &from), &w->e);
	assert_ptr_not_equal(w->key, first);
	unlink(path(w, "key.pem"));
	assert_err(ERR_SYSTEM_KEY, get(w, &from), &w->e);
}

static void
a_forgotten_key_is_loaded_anew(void **state)
{
	struct world *w = *state;
	const struct pki_key_source from = { .pkcs12_file = path(w, "all.p12"), .password_file = path(w, "password") };

	assert_ok(get(w, &from), &w->e);
	EVP_PKEY *first = w->key;
	pki_keys_forget(w->keys, &from);
	assert_ok(get(w, &from), &w->e);
	assert_ptr_not_equal(w->key, first);
}

static void
of_very_many_keys_the_latest_stay(void **state)
{
	struct world *w = *state;
	struct pki_key_source from = { .certificate_file = path(w, "cert.pem"), .key_file = path(w, "key.pem") };
	const struct pki_key_source last = { .certificate_file = from.certificate_file, .key_file = path(w, "last.pem") };

	put(w, "last.pem", pem_of(w, mine.key, NULL), 0600);
	assert_ok(get(w, &last), &w->e);
	EVP_PKEY *kept = w->key;
	for (int i = 0; i < 600; i++) {
		char name[32];
		snprintf(name, sizeof name, "p%d", i);
		put(w, name, S("secret"), 0600);
		from.password_file = path(w, name);
		assert_ok(get(w, &from), &w->e);
		assert_ok(get(w, &last), &w->e);
		assert_ptr_equal(w->key, kept);
		unlink(from.password_file);
	}
}

static void *
load_often(void *arg)
{
	struct world *w = arg;
	const struct pki_key_source from = { .certificate_file = path(w, "cert.pem"), .key_file = path(w, "key.pem") };

	for (int i = 0; i < 30; i++) {
		assert_ok(get(w, &from), &w->e);
		assert_ours(w);
		if (i % 10 == 9)
			pki_keys_forget(w->keys, &from);
	}
	return NULL;
}

static void
threads_may_share_it(void **state)
{
	struct world *w = *state, each[4];
	pthread_t t[4];

	for (int i = 0; i < 4; i++) {
		each[i] = *w;
		each[i].a = arena_new(8 << 20);
		assert_int_equal(pthread_create(&t[i], NULL, load_often, &each[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
		arena_free(each[i].a);
	}
}

/* ---- a token */

static void
run(const char *const *argv)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);
		dup2(null, 1);
		dup2(null, 2);
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0)
		fail_msg("%s %s: status %d (is softhsm2 installed?)", argv[0], argv[1], status);
}

/* A token of our own, called ours, with our key under the name k. */
static void
make_token(struct world *w)
{
	struct slice conf = arena_printf(w->a, "directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n", dir);

	mkdir(path(w, "tokens"), 0700);
	put(w, "softhsm2.conf", conf, 0600);
	put(w, "pin", S(PIN "\n"), 0600);
	setenv("SOFTHSM2_CONF", path(w, "softhsm2.conf"), 1);
	setenv("PKCS11_MODULE_PATH", MODULE, 1);
	const char *const init[] = { "softhsm2-util", "--init-token", "--free", "--label", "ours", "--pin", PIN,
		"--so-pin", "87654321", NULL };
	const char *const import[] = { "softhsm2-util", "--import", path(w, "key.pem"), "--token", "ours", "--label", "k",
		"--id", "01", "--pin", PIN, NULL };
	run(init);
	run(import);
}

static void
a_refused_pin_is_not_tried_again(void **state)
{
	struct world *w = *state;
	const struct pki_key_source from = { .certificate_file = path(w, "cert.pem"), .pkcs11 = "pkcs11:token=ours;object=k",
		.password_file = path(w, "pin") };

	make_token(w);
	put(w, "pin", S("wrong\n"), 0600);
	assert_err(ERR_SYSTEM_KEY, get(w, &from), &w->e);
	assert_err(ERR_SYSTEM_KEY, get(w, &from), &w->e);
	assert_non_null(strstr(w->e.detail, "not tried again before that file changes"));
	put(w, "pin", S(PIN "\n"), 0600);
	assert_ok(get(w, &from), &w->e);
	assert_ours(w);
}

static void
a_token_keeps_the_key_and_signs_with_it(void **state)
{
	struct world *w = *state;
	struct pki_key_source from = { .certificate_file = path(w, "cert.pem"), .pkcs11 = "pkcs11:token=ours;object=k",
		.password_file = path(w, "pin") };

	assert_ok(get(w, &from), &w->e);
	assert_ours(w);
	EVP_PKEY *first = w->key;
	assert_ok(get(w, &from), &w->e);
	assert_ptr_equal(w->key, first);

	from.certificate_file = path(w, "other.pem");
	assert_err(ERR_SYSTEM_KEY, get(w, &from), &w->e);
	assert_non_null(strstr(w->e.detail, "not the key of the certificate"));
	from.certificate_file = path(w, "cert.pem");
	from.pkcs11 = "pkcs11:token=ours;object=nothing";
	assert_err(ERR_SYSTEM_KEY, get(w, &from), &w->e);
	assert_null(strstr(w->e.detail, PIN));
	from.pkcs11 = "pkcs11:token=nobody;object=k";
	assert_err(ERR_SYSTEM_KEY, get(w, &from), &w->e);
}

/* As a worker: this program, started anew in the folder's name, when the gate opens. */
static pid_t
start_worker(int gate[2])
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;
	int null = open("/dev/null", O_RDWR);
	dup2(gate[0], 0);
	dup2(null, 2);
	close(gate[1]);
	execl("/proc/self/exe", "test_key", dir, (char *)NULL);
	_exit(127);
}

static int
be_a_worker(const char *folder)
{
	struct world w = { .a = arena_new(8 << 20), .keys = pki_keys_new() };
	struct pki_key_source from = { .pkcs11 = "pkcs11:token=ours;object=k" };
	char none;

	strcpy(dir, folder);
	from.certificate_file = path(&w, "cert.pem");
	from.password_file = path(&w, "pin");
	(void)!read(0, &none, 1);
	int rc = get(&w, &from);
	arena_free(w.a);
	pki_keys_free(w.keys);
	return rc == 0 ? 0 : 1;
}

/* SoftHSM writes the token anew at each login: whoever opens it at that moment does not see it. */
static void
workers_that_start_together_all_find_their_token(void **state)
{
	enum { WORKERS = 6, ROUNDS = 3 };

	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		int gate[2], failed = 0, status;
		assert_int_equal(pipe(gate), 0);
		for (int i = 0; i < WORKERS; i++)
			start_worker(gate);
		usleep(50000);	/* so that they are at the gate */
		close(gate[0]);
		close(gate[1]);		/* all go */
		for (int i = 0; i < WORKERS; i++) {
			assert_true(wait(&status) > 0);
			failed += status != 0;
		}
		assert_int_equal(failed, 0);
	}
}

struct caller {
	struct world w;
	const struct pki_key_source *from;
	int rc;
	pthread_t thread;
};

static void *
call(void *arg)
{
	struct caller *c = arg;

	c->rc = get(&c->w, c->from);
	return NULL;
}

static void
a_token_that_hangs_holds_up_nothing_else_and_that_for_a_while(void **state)
{
	struct world *w = *state;
	const struct pki_key_source in_token = { .certificate_file = path(w, "cert.pem"),
		.pkcs11 = "pkcs11:token=ours;object=k", .password_file = path(w, "pin") };
	const struct pki_key_source in_file = { .certificate_file = path(w, "cert.pem"), .key_file = path(w, "key.pem") };
	struct caller callers[3];

	pki_keys_patience(w->keys, 300);
	assert_ok(pki_keys_take_token(w->keys, &w->e), &w->e);
	for (size_t i = 0; i < 3; i++) {
		callers[i] = (struct caller){ .w = *w, .from = &in_token };
		callers[i].w.a = arena_new(8 << 20);
		err_clear(&callers[i].w.e);
		assert_int_equal(pthread_create(&callers[i].thread, NULL, call, &callers[i]), 0);
	}
	assert_ok(get(w, &in_file), &w->e);
	assert_ours(w);
	for (size_t i = 0; i < 3; i++) {
		pthread_join(callers[i].thread, NULL);
		assert_int_equal(callers[i].rc, -1);
		assert_int_equal(callers[i].w.e.kind, ERR_SYSTEM_KEY);
		arena_free(callers[i].w.a);
	}
	assert_err(ERR_SYSTEM_KEY, pki_keys_take_token(w->keys, &w->e), &w->e);
	pki_keys_give_token(w->keys);
	pki_keys_patience(w->keys, 60000);
	assert_ok(get(w, &in_token), &w->e);
	assert_ours(w);
}

/* ---- all */

static void
make(struct ca *ca, EVP_PKEY *key)
{
	ca->key = key;
	ca->cert = ca_issue(NULL, &(struct ca_order){ .cn = "System", .serial_number = "CVR:12345678-UID:12345678", .key = key });
}

static int
set_up_all(void **state)
{
	(void)state;
	assert_non_null(mkdtemp(dir));
	make(&mine, EVP_RSA_gen(2048));
	make(&other, EVP_RSA_gen(2048));
	make(&ec, EVP_EC_gen("P-256"));
	return 0;
}

static int
tear_down_all(void **state)
{
	const char *const rm[] = { "rm", "-rf", dir, NULL };

	(void)state;
	ca_free(&mine);
	ca_free(&other);
	ca_free(&ec);
	run(rm);
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc > 1)
		return be_a_worker(argv[1]);

	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		T(a_key_is_read_from_every_form_of_file),
		T(what_cannot_be_used_is_refused_with_its_reason),
		T(an_old_pkcs12_is_refused_with_advice),
		T(a_fifo_does_not_hold_anybody_up),
		T(a_key_is_loaded_once_and_again_when_a_file_changes),
		T(a_forgotten_key_is_loaded_anew),
		T(of_very_many_keys_the_latest_stay),
		T(threads_may_share_it),
		T(a_refused_pin_is_not_tried_again),
		T(a_token_keeps_the_key_and_signs_with_it),
		T(workers_that_start_together_all_find_their_token),
		T(a_token_that_hangs_holds_up_nothing_else_and_that_for_a_while),
	};
	return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
