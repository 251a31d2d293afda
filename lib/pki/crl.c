/* Certificate revocation lists: reading one, and the file made of all of them. */
#include "revoked.h"

#include "conv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- reading */

static X509_CRL *
parse(struct slice bytes)
{
	const unsigned char *p = (const unsigned char *)bytes.p;
	X509_CRL *crl;

	if (bytes.p == NULL || bytes.n > INT_MAX)
		return NULL;
	if (slice_starts(slice_trim(bytes), S("-----BEGIN"))) {
		char none[] = "";	/* a pass phrase to try, so that nobody is asked for one */
		BIO *bio = BIO_new_mem_buf(bytes.p, (int)bytes.n);
		crl = bio == NULL ? NULL : PEM_read_bio_X509_CRL(bio, NULL, NULL, none);
		BIO_free(bio);
		return crl;
	}
	crl = d2i_X509_CRL(NULL, &p, (long)bytes.n);
	if (crl != NULL && p != (const unsigned char *)bytes.p + bytes.n) {
		X509_CRL_free(crl);
		return NULL;
	}
	return crl;
}

/* OCES publishes, beside the whole list, partial ones that are named by a directory name; a list of some
 * reasons or of others' certificates is no whole list either. */
static bool
is_whole(const ISSUING_DIST_POINT *idp)
{
	if (idp->onlyuser > 0 || idp->onlyCA > 0 || idp->onlyattr > 0 || idp->indirectCRL > 0 ||
	    idp->onlysomereasons != NULL)
		return false;
	if (idp->distpoint == NULL)
		return true;
	if (idp->distpoint->type != 0)
		return false;
	for (int i = 0; i < sk_GENERAL_NAME_num(idp->distpoint->name.fullname); i++)
		if (sk_GENERAL_NAME_value(idp->distpoint->name.fullname, i)->type != GEN_URI)
			return false;
	return true;
}

static int
check_extensions(X509_CRL *crl, struct err *e)
{
	int found = -1;
	ISSUING_DIST_POINT *idp = X509_CRL_get_ext_d2i(crl, NID_issuing_distribution_point, &found, NULL);
	bool whole = idp == NULL ? found == -1 : is_whole(idp);

	ISSUING_DIST_POINT_free(idp);
	if (!whole)
		return err_set(e, ERR_INVALID, "list is partial or indirect");
	if (X509_CRL_get_ext_by_NID(crl, NID_delta_crl, -1) >= 0)
		return err_set(e, ERR_INVALID, "list is a delta");
	for (int at = -1; (at = X509_CRL_get_ext_by_critical(crl, 1, at)) >= 0;)
		if (OBJ_obj2nid(X509_EXTENSION_get_object(X509_CRL_get_ext(crl, at))) !=
		    NID_issuing_distribution_point)
			return err_set(e, ERR_INVALID, "list has an unknown critical extension");
	return 0;
}

static void
free_crl(void *crl)
{
	X509_CRL_free(crl);
}

int
pki_read_crl(struct arena *a, struct pki_trust *t, struct slice bytes, X509_CRL **out, struct err *e)
{
	X509_CRL *crl = parse(bytes);

	ERR_clear_error();
	if (crl == NULL)
		return err_set(e, ERR_INVALID, "not a revocation list");
	if (arena_defer(a, free_crl, crl) < 0)
		return err_set(e, ERR_MEMORY, "revocation list");
	if (check_extensions(crl, e) < 0)
		return -1;
	if (X509_CRL_get0_lastUpdate(crl) == NULL || X509_CRL_get0_nextUpdate(crl) == NULL)
		return err_set(e, ERR_INVALID, "list does not say when the next one comes");
	if (pki_trust_issuer_of_crl(t, crl) == NULL)
		return err_set(e, ERR_INVALID, "list is not signed by a trusted CA");
	*out = crl;
	return 0;
}

static int
seconds(const ASN1_TIME *time, int64_t *out)
{
	ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
	int days, rest, ok = epoch != NULL && time != NULL && ASN1_TIME_diff(&days, &rest, epoch, time) == 1;

	ASN1_TIME_free(epoch);
	if (ok)
		*out = (int64_t)days * 86400 + rest;
	return ok ? 0 : -1;
}

int
pki_crl_times(const X509_CRL *crl, int64_t *this_update, int64_t *next_update)
{
	return seconds(X509_CRL_get0_lastUpdate(crl), this_update) < 0 ||
	    seconds(X509_CRL_get0_nextUpdate(crl), next_update) < 0 ? -1 : 0;
}

int64_t
pki_cert_end(const X509 *cert)
{
	int64_t end = 0;

	return seconds(X509_get0_notAfter(cert), &end) < 0 ? 0 : end;
}

/* ---- the file */

struct pki_revoked_writer {
	char *path;
	struct revoked_list *lists;
	struct pki_cert_key *keys;
	size_t nlists, nkeys;
};

struct pki_revoked_writer *
pki_revoked_writer_new(const char *path)
{
	struct pki_revoked_writer *w = calloc(1, sizeof *w);

	if (w != NULL && (w->path = strdup(path)) == NULL) {
		free(w);
		return NULL;
	}
	return w;
}

void
pki_revoked_abandon(struct pki_revoked_writer *w)
{
	free(w->lists);
	free(w->keys);
	free(w->path);
	free(w);
}

/* Two lists of one name (a CA with two keys) count as one, as old as the older. */
static int
add_list(struct pki_revoked_writer *w, const struct revoked_list *list)
{
	for (size_t i = 0; i < w->nlists; i++) {
		struct revoked_list *old = &w->lists[i];
		if (memcmp(old->issuer, list->issuer, sizeof old->issuer) != 0)
			continue;
		if (list->this_update < old->this_update)
			old->this_update = list->this_update;
		if (list->next_update < old->next_update)
			old->next_update = list->next_update;
		return 0;
	}
	struct revoked_list *more = realloc(w->lists, (w->nlists + 1) * sizeof *more);
	if (more == NULL)
		return -1;
	w->lists = more;
	w->lists[w->nlists++] = *list;
	return 0;
}

int
pki_revoked_add(struct pki_revoked_writer *w, X509_CRL *crl, struct err *e)
{
	const X509_NAME *issuer = X509_CRL_get_issuer(crl);
	STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(crl);
	size_t n = entries == NULL ? 0 : (size_t)sk_X509_REVOKED_num(entries);
	struct revoked_list list;

	if (pki_crl_times(crl, &list.this_update, &list.next_update) < 0)
		return err_set(e, ERR_INVALID, "list without its times");
	revoked_issuer(issuer, list.issuer);
	struct pki_cert_key *more = realloc(w->keys, (w->nkeys + n + 1) * sizeof *more);
	if (more == NULL)
		return err_set(e, ERR_MEMORY, "revocation file");
	w->keys = more;
	if (add_list(w, &list) < 0)
		return err_set(e, ERR_MEMORY, "revocation file");
	for (size_t i = 0; i < n; i++)
		if (!revoked_key(issuer, X509_REVOKED_get0_serialNumber(
		    sk_X509_REVOKED_value(entries, (int)i)), &w->keys[w->nkeys++]))
			return err_set(e, ERR_MEMORY, "revocation file");
	return 0;
}

static int
by_issuer(const void *a, const void *b)
{
	return memcmp(a, b, sizeof((struct revoked_list *)NULL)->issuer);
}

static int
by_key(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct pki_cert_key));
}

static bool
check_sum(const struct pki_revoked_writer *w, uint8_t out[32])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool done = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 &&
	    EVP_DigestUpdate(ctx, w->lists, w->nlists * sizeof *w->lists) == 1 &&
	    EVP_DigestUpdate(ctx, w->keys, w->nkeys * sizeof *w->keys) == 1 &&
	    EVP_DigestFinal_ex(ctx, out, NULL) == 1;

	EVP_MD_CTX_free(ctx);
	return done;
}

static bool
write_all(int fd, const void *bytes, size_t n)
{
	for (const char *p = bytes; n > 0;) {
		ssize_t done = write(fd, p, n);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return false;
		p += done;
		n -= (size_t)done;
	}
	return true;
}

static bool
write_file(const struct pki_revoked_writer *w, const char *path)
{
	struct revoked_head head = { REVOKED_MAGIC, w->nlists, w->nkeys, { 0 } };
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);

	if (fd < 0)
		return false;
	bool done = check_sum(w, head.check) && write_all(fd, &head, sizeof head) &&
	    write_all(fd, w->lists, w->nlists * sizeof *w->lists) &&
	    write_all(fd, w->keys, w->nkeys * sizeof *w->keys) && fsync(fd) == 0;
	return close(fd) == 0 && done;
}

/* The rename is lost in a power cut unless the folder is written, too. */
static void
sync_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX];

	snprintf(folder, sizeof folder, "%.*s", slash == NULL ? 1 : (int)(slash - path) + 1,
	    slash == NULL ? "." : path);
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)fsync(fd);
	close(fd);
}

static int
replace(struct pki_revoked_writer *w, struct err *e)
{
	char fresh[PATH_MAX];

	if (w->nlists > 0)
		qsort(w->lists, w->nlists, sizeof *w->lists, by_issuer);
	if (w->nkeys > 0)
		qsort(w->keys, w->nkeys, sizeof *w->keys, by_key);
	if (snprintf(fresh, sizeof fresh, "%s.%ld", w->path, (long)getpid()) >= (int)sizeof fresh)
		return err_set(e, ERR_INTERNAL, "path too long");
	if (!write_file(w, fresh) || rename(fresh, w->path) < 0) {
		err_set(e, ERR_INTERNAL, "%s: %s", w->path, strerror(errno));
		unlink(fresh);
		return -1;
	}
	sync_folder(w->path);
	return 0;
}

int
pki_revoked_finish(struct pki_revoked_writer *w, struct err *e)
{
	int rc = replace(w, e);

	pki_revoked_abandon(w);
	return rc;
}
