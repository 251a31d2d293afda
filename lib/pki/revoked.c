/* Reading the file of revoked certificates. It is mapped; a card in use is looked up in it at every call,
 * so that is a binary search under a read lock and nothing else. At most once a second one of the callers
 * looks whether there is a new file; the others go on with the old one meanwhile. A file that is gone or
 * broken leaves the old one in place: its lists grow too old by themselves (pki_revoked_check). */
#include "revoked.h"

#include "clock.h"
#include "conv.h"
#include "log.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_EVERY_MS 1000
#define HALF (sizeof(struct pki_cert_key) / 2)

struct map {
	void *base;
	size_t size;
	const struct revoked_list *lists;
	const struct pki_cert_key *keys;
	size_t nlists, nkeys;
};

struct pki_revoked {
	char *path;
	pthread_rwlock_t lock;		/* of map */
	struct map map;
	atomic_int_least64_t look_at;	/* monotonic ms; who moves it on does the looking */
	pthread_mutex_t looking;	/* of what follows */
	struct stat seen;		/* the file that was last tried */
	bool complained;
};

/* ---- keys */

void
revoked_issuer(const X509_NAME *name, uint8_t out[32])
{
	const unsigned char *der;
	size_t n;

	memset(out, 0, 32);
	if (X509_NAME_get0_der(name, &der, &n) == 1)
		conv_sha256((struct slice){ (const char *)der, n }, out);
}

bool
revoked_key(const X509_NAME *issuer, const ASN1_INTEGER *serial, struct pki_cert_key *out)
{
	unsigned char hash[EVP_MAX_MD_SIZE], *number = NULL;
	const unsigned char *name;
	size_t n;
	int len = i2d_ASN1_INTEGER(serial, &number);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool done = len > 0 && ctx != NULL && X509_NAME_get0_der(issuer, &name, &n) == 1 &&
	    EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 && EVP_DigestUpdate(ctx, name, n) == 1 &&
	    EVP_DigestUpdate(ctx, number, (size_t)len) == 1 && EVP_DigestFinal_ex(ctx, hash, NULL) == 1;

	memset(out, 0, sizeof *out);
	if (done)
		memcpy(out->id, hash, sizeof out->id);
	EVP_MD_CTX_free(ctx);
	OPENSSL_free(number);
	return done;
}

void
pki_cert_key(X509 *cert, struct pki_cert_key *out)
{
	(void)revoked_key(X509_get_issuer_name(cert), X509_get0_serialNumber(cert), out);
}

void
pki_signer(X509 *cert, X509 *issuer, struct pki_signer *out)
{
	struct pki_cert_key above = { { 0 } }, own;

	if (issuer != NULL && X509_NAME_cmp(X509_get_subject_name(issuer), X509_get_issuer_name(issuer)) != 0)
		pki_cert_key(issuer, &above);
	pki_cert_key(cert, &own);
	memcpy(out->id, above.id, HALF);
	memcpy(out->id + HALF, own.id, HALF);
}

/* ---- the file */

static bool
fits(const struct revoked_head *head, size_t size)
{
	size_t rest = size - sizeof *head;

	return head->magic == REVOKED_MAGIC && head->lists <= rest / sizeof(struct revoked_list) &&
	    head->keys <= rest / sizeof(struct pki_cert_key) &&
	    head->lists * sizeof(struct revoked_list) + head->keys * sizeof(struct pki_cert_key) == rest;
}

static bool
read_map(struct map *m)
{
	const struct revoked_head *head = m->base;
	uint8_t check[32];

	if (m->size < sizeof *head || !fits(head, m->size))
		return false;
	conv_sha256((struct slice){ (const char *)(head + 1), m->size - sizeof *head }, check);
	if (memcmp(check, head->check, sizeof check) != 0)
		return false;
	m->lists = (const struct revoked_list *)(head + 1);
	m->nlists = head->lists;
	m->keys = (const struct pki_cert_key *)(m->lists + m->nlists);
	m->nkeys = head->keys;
	return true;
}

enum opened { OPENED, BROKEN, UNREADABLE };

static enum opened
open_map(const char *path, struct stat *seen, struct map *m)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return UNREADABLE;
	*m = (struct map){ .base = MAP_FAILED };
	if (fstat(fd, seen) == 0 && seen->st_size > 0) {
		m->size = (size_t)seen->st_size;
		m->base = mmap(NULL, m->size, PROT_READ, MAP_SHARED, fd, 0);
	}
	close(fd);
	if (m->base == MAP_FAILED)
		return m->size > 0 ? UNREADABLE : BROKEN;
	if (read_map(m))
		return OPENED;
	munmap(m->base, m->size);
	return BROKEN;
}

static bool
same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	    a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static void
exchange(struct pki_revoked *r, const struct map *fresh)
{
	pthread_rwlock_wrlock(&r->lock);
	struct map old = r->map;
	r->map = *fresh;
	pthread_rwlock_unlock(&r->lock);
	if (old.base != NULL)
		munmap(old.base, old.size);
}

static void
look(struct pki_revoked *r)
{
	struct stat now;
	struct map fresh;

	if (stat(r->path, &now) < 0 || same_file(&now, &r->seen))
		return;
	enum opened opened = open_map(r->path, &now, &fresh);
	if (opened == OPENED)
		exchange(r, &fresh);
	else if (!r->complained)
		log_msg(LOG_WARN, "revocation-file", "%s cannot be used; the previous one stays", r->path);
	r->complained = opened != OPENED;
	/* a broken file stays broken until it is another; one that could not be read is tried again */
	if (opened != UNREADABLE)
		r->seen = now;
}

static void
look_now_and_then(struct pki_revoked *r)
{
	int64_t now = clock_mono_ms(), at = atomic_load_explicit(&r->look_at, memory_order_relaxed);

	if (now < at || !atomic_compare_exchange_strong(&r->look_at, &at, now + LOOK_EVERY_MS))
		return;
	/* a look that takes longer than a second is not joined by a second one */
	if (pthread_mutex_trylock(&r->looking) != 0)
		return;
	look(r);
	pthread_mutex_unlock(&r->looking);
}

/* ---- looking up */

struct pki_revoked *
pki_revoked_open(const char *path)
{
	struct pki_revoked *r = calloc(1, sizeof *r);
	pthread_rwlockattr_t attr;

	if (r == NULL || (r->path = strdup(path)) == NULL) {
		free(r);
		return NULL;
	}
	pthread_rwlockattr_init(&attr);
	/* readers come all the time: without this the new map might never get in */
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&r->lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	pthread_mutex_init(&r->looking, NULL);
	look(r);
	atomic_store(&r->look_at, clock_mono_ms() + LOOK_EVERY_MS);
	return r;
}

void
pki_revoked_close(struct pki_revoked *r)
{
	if (r == NULL)
		return;
	if (r->map.base != NULL)
		munmap(r->map.base, r->map.size);
	pthread_rwlock_destroy(&r->lock);
	pthread_mutex_destroy(&r->looking);
	free(r->path);
	free(r);
}

static int
by_key(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct pki_cert_key));
}

static int
by_issuer(const void *a, const void *b)
{
	return memcmp(a, b, sizeof((struct revoked_list *)NULL)->issuer);
}

static bool
listed(const struct map *m, const struct pki_cert_key *key)
{
	return m->nkeys > 0 && bsearch(key, m->keys, m->nkeys, sizeof *key, by_key) != NULL;
}

bool
pki_revoked_has(struct pki_revoked *r, const struct pki_cert_key *key)
{
	static const struct pki_cert_key unknown;

	if (by_key(key, &unknown) == 0)
		return true;	/* nobody can say that it is not */
	look_now_and_then(r);
	pthread_rwlock_rdlock(&r->lock);
	bool found = listed(&r->map, key);
	pthread_rwlock_unlock(&r->lock);
	return found;
}

static int
by_half(const void *half, const void *key)
{
	return memcmp(half, key, HALF);
}

static bool
half_listed(const struct map *m, const uint8_t *half)
{
	return m->nkeys > 0 && bsearch(half, m->keys, m->nkeys, sizeof *m->keys, by_half) != NULL;
}

bool
pki_revoked_has_signer(struct pki_revoked *r, const struct pki_signer *s)
{
	static const uint8_t unknown[HALF];
	const uint8_t *above = s->id, *own = s->id + HALF;

	if (memcmp(own, unknown, HALF) == 0)
		return true;	/* nobody can say that it is not */
	look_now_and_then(r);
	pthread_rwlock_rdlock(&r->lock);
	bool found = half_listed(&r->map, own) || (memcmp(above, unknown, HALF) != 0 && half_listed(&r->map, above));
	pthread_rwlock_unlock(&r->lock);
	return found;
}

static const struct revoked_list *
list_for(const struct map *m, X509 *cert)
{
	struct revoked_list issuer = { .this_update = 0 };

	revoked_issuer(X509_get_issuer_name(cert), issuer.issuer);
	return m->nlists == 0 ? NULL : bsearch(&issuer, m->lists, m->nlists, sizeof issuer, by_issuer);
}

bool
pki_revoked_has_list_for(struct pki_revoked *r, X509 *cert)
{
	look_now_and_then(r);
	pthread_rwlock_rdlock(&r->lock);
	bool has = list_for(&r->map, cert) != NULL;
	pthread_rwlock_unlock(&r->lock);
	return has;
}

static int
judge(const struct map *m, X509 *cert, int64_t now, int64_t grace, struct err *e)
{
	struct pki_cert_key key;

	if (!revoked_key(X509_get_issuer_name(cert), X509_get0_serialNumber(cert), &key))
		return err_set(e, ERR_MEMORY, "revocation check");
	if (listed(m, &key))
		return err_set(e, ERR_CERT_REVOKED, "on its issuer's list");
	const struct revoked_list *list = list_for(m, cert);
	if (list == NULL)
		return err_set(e, ERR_CERT_UNCHECKED, "no list of its issuer");
	if (list->next_update < now - grace)
		return err_set(e, ERR_CERT_UNCHECKED, "list should have been replaced %lld s ago",
		    (long long)(now - list->next_update));
	return 0;
}

int
pki_revoked_check(struct pki_revoked *r, X509 *cert, int64_t now, int64_t grace, struct err *e)
{
	/* a signing is rare and worth the newest list */
	pthread_mutex_lock(&r->looking);
	look(r);
	pthread_mutex_unlock(&r->looking);
	pthread_rwlock_rdlock(&r->lock);
	int rc = judge(&r->map, cert, now, grace, e);
	pthread_rwlock_unlock(&r->lock);
	return rc;
}
