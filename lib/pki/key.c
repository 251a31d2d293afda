/* Keys that the gateway keeps: from files or a token, into memory, where they stay. Loading takes milliseconds and a
 * token's sessions are few, so it is done once for every source; each use looks only whether the files are still those
 * that were read. */
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
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX_BYTES (64 << 10)
#define LOAD_CAP (1 << 20)
#define KEPT 256	/* more than that, and the one not used for longest goes */
#define FILES 3		/* that a source may have: certificate, key, password */

/* A file as it was when it was read. */
struct stamp {
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec changed;
};

struct kept {
	bool used;
	uint8_t id[32];		/* of the source */
	struct stamp stamps[FILES];
	bool refused;		/* the token has refused the PIN; key is NULL */
	EVP_PKEY *key;
	X509 *cert;
	unsigned long last;	/* when it was used, in uses */
};

struct pki_keys {
	pthread_mutex_t lock;
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
load_pem(struct kept *k, struct arena *a, const char *path, struct slice password, struct err *e)
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
load_pkcs12(struct kept *k, struct arena *a, const char *path, struct slice password, struct err *e)
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
load_token(struct pki_keys *keys, struct kept *k, const char *uri, struct slice pin, struct err *e)
{
	if (keys->token == NULL)
		keys->token = token_open(e);
	return keys->token == NULL ? -1 : token_load(keys->token, uri, pin, &k->key, &k->refused, e);
}

static int
load_certificate(struct kept *k, struct arena *a, const char *path, struct err *e)
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
check_pair(const struct kept *k, const struct pki_key_source *from, struct err *e)
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
load_from(struct pki_keys *keys, struct kept *k, struct arena *a, const struct pki_key_source *from, struct err *e)
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
drop(struct kept *k)
{
	EVP_PKEY_free(k->key);
	X509_free(k->cert);
	*k = (struct kept){ .used = false };
}

static void
id_of(const struct pki_key_source *from, uint8_t id[32])
{
	const struct slice parts[] = { slice_of(from->certificate_file), slice_of(from->key_file),
		slice_of(from->pkcs12_file), slice_of(from->pkcs11), slice_of(from->password_file) };

	conv_hmac(S("source of a key"), parts, sizeof parts / sizeof *parts, id);
}

/* The one of that source, or the place where it is to be. */
static struct kept *
find(struct pki_keys *keys, const uint8_t id[32])
{
	struct kept *oldest = &keys->kept[0];

	for (size_t i = 0; i < KEPT; i++) {
		struct kept *k = &keys->kept[i];
		if (k->used && memcmp(k->id, id, sizeof k->id) == 0)
			return k;
		if (oldest->used && (!k->used || k->last < oldest->last))
			oldest = k;
	}
	drop(oldest);
	memcpy(oldest->id, id, sizeof oldest->id);
	return oldest;
}

/* 0: k holds the key. What failed is not kept, except that a PIN was refused: tokens lock after a few. */
static int
load(struct pki_keys *keys, struct kept *k, const struct pki_key_source *from, struct err *e)
{
	struct arena *a = arena_new(LOAD_CAP);
	struct kept fresh = { .used = true };

	if (a == NULL)
		return err_set(e, ERR_MEMORY, "key");
	memcpy(fresh.id, k->id, sizeof fresh.id);
	take_stamps(from, fresh.stamps);	/* before reading: what changes meanwhile is read again */
	int rc = load_from(keys, &fresh, a, from, e);
	arena_free(a);
	drop(k);
	if (rc == 0 || fresh.refused)
		*k = fresh;
	else
		drop(&fresh);
	return rc;
}

static struct kept *
current(struct pki_keys *keys, const struct pki_key_source *from, struct err *e)
{
	struct stamp now[FILES];
	uint8_t id[32];

	id_of(from, id);
	struct kept *k = find(keys, id);
	take_stamps(from, now);
	if (!k->used || !same_stamps(k->stamps, now)) {
		if (load(keys, k, from, e) < 0)
			return NULL;
	} else if (k->refused) {
		err_set(e, ERR_SYSTEM_KEY, "%s: the token has refused the PIN of %s; it is not tried again before that file "
		    "changes", from->pkcs11, from->password_file == NULL ? "(no file)" : from->password_file);
		return NULL;
	}
	k->last = ++keys->uses;
	return k;
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
lend(struct arena *a, struct kept *k, EVP_PKEY **key, X509 **cert, struct err *e)
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
	pthread_mutex_lock(&keys->lock);
	struct kept *k = current(keys, from, e);
	int rc = k == NULL ? -1 : lend(a, k, key, cert, e);
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
			drop(&keys->kept[i]);
	pthread_mutex_unlock(&keys->lock);
}

struct pki_keys *
pki_keys_new(void)
{
	struct pki_keys *keys = calloc(1, sizeof *keys);

	if (keys != NULL)
		pthread_mutex_init(&keys->lock, NULL);
	return keys;
}

void
pki_keys_free(struct pki_keys *keys)
{
	if (keys == NULL)
		return;
	for (size_t i = 0; i < KEPT; i++)
		drop(&keys->kept[i]);
	token_close(keys->token);
	pthread_mutex_destroy(&keys->lock);
	free(keys);
}
