/* Keys that the gateway keeps: from files or a token, into memory, where they stay. Loading takes milliseconds and a
 * token's sessions are few, so it is done once for every source; each use looks only whether the files are still those
 * that were read.
 *
 * A token, or the disk of a file, may hang. So a key is loaded by one thread, with no lock held but the token's own
 * when it is in one; those who want the same wait for a while, all others go on. */
#include "pki.h"

#include "conv.h"
#include "token.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_MAX_BYTES (64 << 10)
#define LOAD_CAP (1 << 20)
#define KEPT 256	/* more than that, and the one not used for longest goes */
#define FILES 3		/* that a source may have: certificate, key, password */
#define WAIT_MS 5000	/* for another thread's loading, and for the token */

/* A file as it was when it was read. */
struct stamp {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec changed;
};

/* What came of loading: a key and its certificate, or neither and why not. */
struct loaded {
	struct stamp stamps[FILES];
	bool refused;		/* the token has refused the PIN; key is NULL */
	EVP_PKEY *key;
	X509 *cert;
};

struct kept {
	bool used;
	uint8_t id[32];		/* of the source */
	struct loaded loaded;
	bool loading;		/* by some thread, just now */
	unsigned waiting;
	unsigned long round;	/* counts the loadings, so that who waits knows its own */
	struct err failed;	/* of the last one */
	unsigned long last;	/* when it was used, in uses */
};

struct pki_keys {
	pthread_mutex_t lock;	/* of what follows; never held while anything is read */
	pthread_cond_t change;
	int64_t patience;	/* milliseconds */
	bool in_token;		/* somebody has taken the token; to whom alone belongs: */
	struct token *token;	/* NULL until the first key of one */
	unsigned long uses;
	struct kept kept[KEPT];
};

/* ---- files */

/* Into memory that is wiped when the arena ends. */
static int
read_all(struct arena *a, int fd, const char *path, struct slice *out, struct err *e)
{
	char *p = arena_secret(a, FILE_MAX_BYTES + 1);
	size_t n = 0;
	ssize_t got = 1;

	if (p == NULL)
		return err_set(e, ERR_MEMORY, "%s", path);
	while (got > 0 && n <= FILE_MAX_BYTES) {
		got = read(fd, p + n, FILE_MAX_BYTES + 1 - n);
		if (got < 0 && errno == EINTR)
			got = 1;
		else if (got > 0)
			n += (size_t)got;
	}
	if (got < 0)
		return err_set(e, ERR_SYSTEM_KEY, "%s: %s", path, strerror(errno));
	if (n > FILE_MAX_BYTES)
		return err_set(e, ERR_SYSTEM_KEY, "%s is larger than %d bytes", path, FILE_MAX_BYTES);
	*out = (struct slice){ p, n };
	return 0;
}

static int
check_mode(const struct stat *st, const char *path, bool secret, struct err *e)
{
	if (!S_ISREG(st->st_mode))
		return err_set(e, ERR_SYSTEM_KEY, "%s is not a file", path);
	if (secret && (st->st_mode & (S_IRWXO | S_IWGRP)) != 0)
		return err_set(e, ERR_SYSTEM_KEY, "%s is open to others: mode %03o, at most 640 is allowed", path,
		    (unsigned)st->st_mode & 0777);
	return 0;
}

static int
read_file(struct arena *a, const char *path, bool secret, struct slice *out, struct err *e)
{
	/* a FIFO must not hold the worker up */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		err_set(e, ERR_SYSTEM_KEY, "%s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	int rc = check_mode(&st, path, secret, e) < 0 || read_all(a, fd, path, out, e) < 0 ? -1 : 0;
	close(fd);
	return rc;
}

/* The first line of the file. Absent when there is no file. */
static int
read_password(struct arena *a, const char *path, struct slice *out, struct err *e)
{
	*out = (struct slice){ NULL, 0 };
	if (path == NULL)
		return 0;
	if (read_file(a, path, true, out, e) < 0)
		return -1;
	const char *end = memchr(out->p, '\n', out->n);
	if (end != NULL)
		out->n = (size_t)(end - out->p);
	if (out->n > 0 && out->p[out->n - 1] == '\r')
		out->n--;
	if (out->n == 0 || memchr(out->p, '\0', out->n) != NULL)
		return err_set(e, ERR_SYSTEM_KEY, "%s holds no password in its first line", path);
	return 0;
}

static void
take_stamp(const char *path, struct stamp *out)
{
	struct stat st;

	*out = (struct stamp){ 0 };
	if (path == NULL || stat(path, &st) < 0)
		return;
	*out = (struct stamp){ st.st_dev, st.st_ino, st.st_size, st.st_mtim };
}

static bool
same_stamp(const struct stamp *a, const struct stamp *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
	    a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

static void
take_stamps(const struct pki_key_source *from, struct stamp out[FILES])
{
	take_stamp(from->certificate_file, &out[0]);
	take_stamp(from->key_file != NULL ? from->key_file : from->pkcs12_file, &out[1]);
	take_stamp(from->password_file, &out[2]);
}

static bool
same_stamps(const struct stamp a[FILES], const struct stamp b[FILES])
{
	for (size_t i = 0; i < FILES; i++)
		if (!same_stamp(&a[i], &b[i]))
			return false;
	return true;
}

/* ---- waiting */

static struct timespec
in_ms(int64_t ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += ms % 1000 * 1000000;
	t.tv_sec += ms / 1000 + t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return t;
}

int
pki_keys_take_token(struct pki_keys *keys, struct err *e)
{
	const struct timespec end = in_ms(keys->patience);
	int rc = 0;

	pthread_mutex_lock(&keys->lock);
	while (keys->in_token && rc == 0)
		rc = pthread_cond_timedwait(&keys->change, &keys->lock, &end);
	const bool busy = keys->in_token;
	keys->in_token = true;
	pthread_mutex_unlock(&keys->lock);
	return busy ? err_set(e, ERR_SYSTEM_KEY, "the token has been busy for %" PRId64 " ms", keys->patience) : 0;
}

void
pki_keys_give_token(struct pki_keys *keys)
{
	pthread_mutex_lock(&keys->lock);
	keys->in_token = false;
	pthread_cond_broadcast(&keys->change);
	pthread_mutex_unlock(&keys->lock);
}

void
pki_keys_patience(struct pki_keys *keys, int64_t ms)
{
	keys->patience = ms;
}

/* ---- what is in them */

/* Why OpenSSL would not: its first error, in words that name no secret. */
static int
cannot_read(const char *path, const char *what, struct err *e)
{
	unsigned long code = ERR_peek_error();
	const char *why = ERR_reason_error_string(code);
	bool unsupported = why != NULL && strcmp(why, "unsupported") == 0;

	err_set(e, ERR_SYSTEM_KEY, "%s: %s: %s%s", path, what, why == NULL ? "unknown reason" : why,
	    unsupported ? " (an old algorithm? openssl pkcs12 -legacy can write it anew)" : "");
	ERR_clear_error();
	return -1;
}

static int
give_password(char *out, int size, int writing, void *ctx)
{
	const struct slice *password = ctx;

	(void)writing;
	if (password->p == NULL || password->n > (size_t)size)
		return -1;
	memcpy(out, password->p, password->n);
	return (int)password->n;
}

static int
load_pem(struct loaded *k, struct arena *a, const char *path, struct slice password, struct err *e)
{
	struct slice text = { NULL, 0 };

	if (read_file(a, path, true, &text, e) < 0)
		return -1;
	BIO *bio = BIO_new_mem_buf(text.p, (int)text.n);
	k->key = bio == NULL ? NULL : PEM_read_bio_PrivateKey(bio, NULL, give_password, &password);
	BIO_free(bio);
	return k->key != NULL ? 0 : cannot_read(path, "no private key, or its password is another", e);
}

static int
load_pkcs12(struct loaded *k, struct arena *a, const char *path, struct slice password, struct err *e)
{
	struct slice bytes = { NULL, 0 };
	char *secret = arena_secret(a, password.n + 1);

	if (secret == NULL)
		return err_set(e, ERR_MEMORY, "password");
	if (password.p != NULL)
		memcpy(secret, password.p, password.n);
	if (read_file(a, path, true, &bytes, e) < 0)
		return -1;
	const unsigned char *p = (const unsigned char *)bytes.p;
	PKCS12 *p12 = d2i_PKCS12(NULL, &p, (long)bytes.n);
	bool read = p12 != NULL &&
	    PKCS12_parse(p12, password.p == NULL ? NULL : secret, &k->key, &k->cert, NULL) == 1;
	PKCS12_free(p12);
	if (!read)
		return cannot_read(path, "no PKCS#12, or its password is another", e);
	return k->key != NULL ? 0 : err_set(e, ERR_SYSTEM_KEY, "%s holds no private key", path);
}

static int
load_token(struct pki_keys *keys, struct loaded *k, const char *uri, struct slice pin, struct err *e)
{
	if (pki_keys_take_token(keys, e) < 0)
		return -1;
	if (keys->token == NULL)
		keys->token = token_open(e);
	int rc = keys->token == NULL ? -1 : token_load(keys->token, uri, pin, &k->key, &k->refused, e);
	pki_keys_give_token(keys);
	return rc;
}

static int
load_certificate(struct loaded *k, struct arena *a, const char *path, struct err *e)
{
	char none[] = "";	/* a pass phrase to try, so that nobody is asked for one */
	struct slice text = { NULL, 0 };

	if (path == NULL)
		return k->cert != NULL ? 0 : err_set(e, ERR_SYSTEM_KEY, "the PKCS#12 file holds no certificate of the key");
	if (read_file(a, path, false, &text, e) < 0)
		return -1;
	X509_free(k->cert);
	BIO *bio = BIO_new_mem_buf(text.p, (int)text.n);
	k->cert = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, NULL, none);
	BIO_free(bio);
	return k->cert != NULL ? 0 : cannot_read(path, "no certificate", e);
}

static int
check_pair(const struct loaded *k, const struct pki_key_source *from, struct err *e)
{
	const char *key = from->key_file != NULL ? from->key_file :
	    from->pkcs12_file != NULL ? from->pkcs12_file : from->pkcs11;

	if (EVP_PKEY_get_base_id(k->key) != EVP_PKEY_RSA)
		return err_set(e, ERR_SYSTEM_KEY, "%s: not an RSA key", key);
	if (X509_check_private_key(k->cert, k->key) == 1)
		return 0;
	ERR_clear_error();
	return err_set(e, ERR_SYSTEM_KEY, "%s: not the key of the certificate%s%s", key,
	    from->certificate_file == NULL ? "" : " in ", from->certificate_file == NULL ? "" : from->certificate_file);
}

static int
load_from(struct pki_keys *keys, struct loaded *k, struct arena *a, const struct pki_key_source *from, struct err *e)
{
	struct slice password = { NULL, 0 };

	if (read_password(a, from->password_file, &password, e) < 0)
		return -1;
	int rc = from->key_file != NULL ? load_pem(k, a, from->key_file, password, e) :
	    from->pkcs12_file != NULL ? load_pkcs12(k, a, from->pkcs12_file, password, e) :
	    load_token(keys, k, from->pkcs11, password, e);
	if (rc < 0 || load_certificate(k, a, from->certificate_file, e) < 0)
		return -1;
	return check_pair(k, from, e);
}

/* ---- what is kept */

static void
drop(struct loaded *l)
{
	EVP_PKEY_free(l->key);
	X509_free(l->cert);
	*l = (struct loaded){ .refused = false };
}

static void
id_of(const struct pki_key_source *from, uint8_t id[32])
{
	const struct slice parts[] = { slice_of(from->certificate_file), slice_of(from->key_file),
		slice_of(from->pkcs12_file), slice_of(from->pkcs11), slice_of(from->password_file) };

	conv_hmac(S("source of a key"), parts, sizeof parts / sizeof *parts, id);
}

/* The one of that source, else where it is to be; NULL: all places are taken by what is being loaded. */
static struct kept *
find(struct pki_keys *keys, const uint8_t id[32])
{
	struct kept *oldest = NULL;

	for (size_t i = 0; i < KEPT; i++) {
		struct kept *k = &keys->kept[i];
		if (k->used && memcmp(k->id, id, sizeof k->id) == 0)
			return k;
		if (!k->loading && k->waiting == 0 && (oldest == NULL || (oldest->used && (!k->used || k->last < oldest->last))))
			oldest = k;
	}
	if (oldest == NULL)
		return NULL;
	drop(&oldest->loaded);
	oldest->used = true;
	memcpy(oldest->id, id, sizeof oldest->id);
	return oldest;
}

static int
load(struct pki_keys *keys, struct loaded *out, const struct pki_key_source *from, struct err *e)
{
	struct arena *a = arena_new(LOAD_CAP);

	if (a == NULL)
		return err_set(e, ERR_MEMORY, "key");
	int rc = load_from(keys, out, a, from, e);
	arena_free(a);
	return rc;
}

/* By this thread; without the lock meanwhile. What failed is not kept, except that a PIN was refused: tokens lock after a
 * few. stamps: from before reading, so that what changes meanwhile is read again. */
static int
make(struct pki_keys *keys, struct kept *k, const struct pki_key_source *from, const struct stamp stamps[FILES],
    struct err *e)
{
	struct loaded fresh = { .refused = false };

	memcpy(fresh.stamps, stamps, sizeof fresh.stamps);
	err_clear(&k->failed);
	k->loading = true;
	pthread_mutex_unlock(&keys->lock);
	struct err why = { .kind = ERR_NONE };
	int rc = load(keys, &fresh, from, &why);
	if (rc < 0 && !fresh.refused)
		drop(&fresh);
	pthread_mutex_lock(&keys->lock);
	k->loading = false;
	k->round++;
	k->failed = why;
	drop(&k->loaded);
	k->loaded = fresh;
	pthread_cond_broadcast(&keys->change);
	return rc == 0 ? 0 : err_set(e, why.kind, "%s", why.detail);
}

/* Another is loading it: when that fails, it has failed for us too. */
static int
wait_for(struct pki_keys *keys, const struct kept *k, const struct timespec *end, struct err *e)
{
	const unsigned long round = k->round;
	int rc = 0;

	while (k->round == round && rc == 0)
		rc = pthread_cond_timedwait(&keys->change, &keys->lock, end);
	if (k->round == round)
		return err_set(e, ERR_SYSTEM_KEY, "another call has been loading the key for %" PRId64 " ms",
		    keys->patience);
	return k->failed.kind == ERR_NONE ? 0 : err_set(e, k->failed.kind, "%s", k->failed.detail);
}

static int
wait_until_loaded(struct pki_keys *keys, struct kept *k, struct err *e)
{
	const struct timespec end = in_ms(keys->patience);
	int rc = 0;

	k->waiting++;
	while (k->loading && rc == 0)
		rc = wait_for(keys, k, &end, e);
	k->waiting--;
	return rc;
}

static int
current(struct pki_keys *keys, const struct pki_key_source *from, const uint8_t id[32], const struct stamp now[FILES],
    struct kept **out, struct err *e)
{
	struct kept *k = *out = find(keys, id);

	if (k == NULL)
		return err_set(e, ERR_BUSY, "%d keys are being loaded", KEPT);
	k->last = ++keys->uses;
	if (wait_until_loaded(keys, k, e) < 0)
		return -1;
	if (!same_stamps(k->loaded.stamps, now) || (k->loaded.key == NULL && !k->loaded.refused))
		return make(keys, k, from, now, e);
	return k->loaded.key != NULL ? 0 :
	    err_set(e, ERR_SYSTEM_KEY, "%s: the token has refused the PIN of %s; it is not tried again before that file "
	    "changes", from->pkcs11, from->password_file == NULL ? "(no file)" : from->password_file);
}

static void
free_key(void *key)
{
	EVP_PKEY_free(key);
}

static void
free_cert(void *cert)
{
	X509_free(cert);
}

/* References of the caller's own, since the next one may load anew. */
static int
lend(struct arena *a, const struct loaded *k, EVP_PKEY **key, X509 **cert, struct err *e)
{
	if (EVP_PKEY_up_ref(k->key) != 1 || arena_defer(a, free_key, k->key) < 0 ||
	    X509_up_ref(k->cert) != 1 || arena_defer(a, free_cert, k->cert) < 0)
		return err_set(e, ERR_MEMORY, "key");
	*key = k->key;
	*cert = k->cert;
	return 0;
}

int
pki_keys_get(struct pki_keys *keys, struct arena *a, const struct pki_key_source *from, EVP_PKEY **key, X509 **cert,
    struct err *e)
{
	struct stamp now[FILES];
	struct kept *k;
	uint8_t id[32];

	id_of(from, id);
	take_stamps(from, now);
	pthread_mutex_lock(&keys->lock);
	int rc = current(keys, from, id, now, &k, e) < 0 ? -1 : lend(a, &k->loaded, key, cert, e);
	pthread_mutex_unlock(&keys->lock);
	return rc;
}

void
pki_keys_forget(struct pki_keys *keys, const struct pki_key_source *from)
{
	uint8_t id[32];

	id_of(from, id);
	pthread_mutex_lock(&keys->lock);
	for (size_t i = 0; i < KEPT; i++)
		if (keys->kept[i].used && memcmp(keys->kept[i].id, id, sizeof id) == 0)
			drop(&keys->kept[i].loaded);
	pthread_mutex_unlock(&keys->lock);
}

struct pki_keys *
pki_keys_new(void)
{
	struct pki_keys *keys = calloc(1, sizeof *keys);
	pthread_condattr_t attr;

	if (keys == NULL)
		return NULL;
	keys->patience = WAIT_MS;
	pthread_mutex_init(&keys->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&keys->change, &attr);
	pthread_condattr_destroy(&attr);
	return keys;
}

void
pki_keys_free(struct pki_keys *keys)
{
	if (keys == NULL)
		return;
	for (size_t i = 0; i < KEPT; i++)
		drop(&keys->kept[i].loaded);
	token_close(keys->token);
	pthread_cond_destroy(&keys->change);
	pthread_mutex_destroy(&keys->lock);
	free(keys);
}
