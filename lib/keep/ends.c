/* Certificates are those of the configuration document and of the files that it names, as far as they are in clear: what is
 * in a PKCS#12 file needs its password, and the housekeeper has no business with keys. */
#include "ends.h"

#include "clock.h"
#include "log.h"
#include "pki.h"

#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOUR_MS (3600 * 1000)
#define DAY_MS (24 * HOUR_MS)
#define DAY 86400
#define LAST_DAYS 30
#define MOST 2000	/* certificates that are looked at */
#define TOLD 100	/* and told of */
#define FILE_MAX (1 << 20)
#define PEM_END "-----END CERTIFICATE-----"

struct ends {
	int64_t told_lists, told_certificates;	/* monotonic; 0: there is nothing to tell */
};

struct ends *
ends_new(void)
{
	return calloc(1, sizeof(struct ends));
}

void
ends_free(struct ends *e)
{
	free(e);
}

/* ---- certificates */

struct used {
	char use[160];		/* its place in the configuration document */
	struct slice subject;
	int64_t ends;		/* 0: it cannot be read */
};
struct look {
	struct arena *a;
	struct used *all;
	size_t n;
};

static struct slice
name_of(struct arena *a, X509 *cert)
{
	const X509_NAME *name = X509_get_subject_name(cert);
	int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
	unsigned char *utf8 = NULL;
	int n = at < 0 ? -1 : ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));

	if (n < 0)
		return S("");
	struct slice out = arena_dup(a, (struct slice){ (char *)utf8, (size_t)n });
	OPENSSL_free(utf8);
	return out;
}

/* pem absent: a file that cannot be read. */
static void
add(struct look *l, struct slice pem, const char *fmt, size_t i, const char *what, size_t k)
{
	struct err unread = { 0 };
	X509 *cert = NULL;

	if (l->n == MOST)
		return;
	struct used *u = &l->all[l->n++];
	*u = (struct used){ .subject = S("") };
	snprintf(u->use, sizeof u->use, fmt, i, what, k);
	if (pem.p == NULL || pki_read_pem(l->a, pem, &cert, &unread) < 0)
		return;
	u->subject = name_of(l->a, cert);
	u->ends = pki_cert_end(cert);
}

static struct slice
read_file(struct arena *a, const char *path)
{
	struct stat st;
	struct slice none = { NULL, 0 };
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return none;
	char *p = fstat(fd, &st) == 0 && st.st_size <= FILE_MAX ? arena_alloc(a, (size_t)st.st_size + 1) : NULL;
	ssize_t n = p == NULL ? -1 : read(fd, p, (size_t)st.st_size);
	close(fd);
	return n < 0 ? none : (struct slice){ p, (size_t)n };
}

/* Behind it may be those of its issuers. */
static struct slice
first_of(struct slice pem)
{
	ptrdiff_t end = slice_find(pem, S(PEM_END));

	return end < 0 ? pem : (struct slice){ pem.p, (size_t)end + sizeof PEM_END - 1 };
}

static void
add_file(struct look *l, const char *path, const char *fmt, size_t i, const char *what, size_t k)
{
	if (path != NULL)
		add(l, first_of(read_file(l->a, path)), fmt, i, what, k);
}

static void
add_organisation(struct look *l, const struct conf_organisation *o, size_t i)
{
	for (size_t k = 0; k < o->nsystem_keys; k++)
		add_file(l, o->system_keys[k].certificate_file, "organisations[%zu].%s[%zu].certificate_file", i, "system_keys", k);
	for (size_t k = 0; k < o->nidps; k++) {
		add_file(l, o->idps[k].key.certificate_file, "organisations[%zu].%s[%zu].certificate_file", i, "identity_providers", k);
		for (size_t n = 0; n < o->idps[k].ncertificates; n++)
			add(l, o->idps[k].certificates[n], "organisations[%zu].%s[%zu].certificates", i, "identity_providers", k);
	}
}

static void
add_list(struct look *l, const struct slice *pems, size_t n, const char *name)
{
	char fmt[80];

	snprintf(fmt, sizeof fmt, "%s[%%zu]", name);
	for (size_t i = 0; i < n; i++)
		add(l, pems[i], fmt, i, "", 0);
}

static void
add_all(struct look *l, const struct conf *c)
{
	add_list(l, c->sts.certificates, c->sts.ncertificates, "sts.certificates");
	add_list(l, c->trust.roots, c->trust.nroots, "trust.roots");
	add_list(l, c->trust.intermediates, c->trust.nintermediates, "trust.intermediates");
	for (size_t i = 0; i < c->norganisations; i++)
		add_organisation(l, &c->organisations[i], i);
	for (size_t i = 0; i < c->nservices; i++)
		add_file(l, c->services[i].cert_file, "services[%zu].%s", i, "cert_file", 0);
}

static int
by_end(const void *x, const void *y)
{
	const struct used *a = x, *b = y;

	return a->ends < b->ends ? -1 : a->ends > b->ends;
}

/* ---- telling */

/* Is it time to tell, of something that there is? */
static bool
is_due(bool any, int64_t *told, int64_t every)
{
	int64_t now = clock_mono_ms();

	if (!any) {
		*told = 0;
		return false;
	}
	if (*told != 0 && now - *told < every)
		return false;
	*told = now;
	return true;
}

static bool
is_old(const struct conf *c, const struct crl_state *s)
{
	return s->next == 0 || clock_now() > s->next + c->trust.crl_grace / 2;
}

static void
tell_lists(struct ends *e, const struct conf *c, const struct crls *l)
{
	size_t old = 0;

	for (size_t i = 0; i < crl_count(l); i++) {
		struct crl_state s = crl_state(l, i);
		old += is_old(c, &s);
	}
	if (!is_due(old > 0, &e->told_lists, HOUR_MS))
		return;
	for (size_t i = 0; i < crl_count(l); i++) {
		struct crl_state s = crl_state(l, i);
		if (s.next != 0 && is_old(c, &s))
			log_msg(LOG_WARN, "crl-old", "%s: the list should have been replaced %" PRId64 " minutes ago; after %" PRId64
			    " certificates of its issuer are no longer accepted by it", s.url, (clock_now() - s.next) / 60,
			    c->trust.crl_grace / 60);
		else if (s.next == 0)
			log_msg(LOG_WARN, "crl-old", "%s: there is still no list of it", s.url);
	}
}

static bool
is_last(const struct used *u)
{
	return u->ends < clock_now() + LAST_DAYS * DAY;
}

/* Sorted: what ends first comes first. */
static void
tell_certificates(struct ends *e, const struct look *l)
{
	if (!is_due(l->n > 0 && is_last(&l->all[0]), &e->told_certificates, DAY_MS))
		return;
	for (size_t i = 0; i < l->n && i < TOLD && is_last(&l->all[i]); i++) {
		const struct used *u = &l->all[i];
		if (u->ends == 0)
			log_msg(LOG_WARN, "certificate-ends", "%s cannot be read", u->use);
		else
			log_msg(LOG_WARN, "certificate-ends", "%s (%.*s): %" PRId64 " days left", u->use, SLICE_FMT(u->subject),
			    (u->ends - clock_now()) / DAY);
	}
}

/* ---- as JSON; with no memory jansson gives NULL, and takes it everywhere */

static json_t *
time_or_null(int64_t t)
{
	return t == 0 ? json_null() : json_integer(t);
}

static json_t *
lists_as_json(const struct crls *l)
{
	json_t *out = json_array();

	for (size_t i = 0; i < crl_count(l); i++) {
		struct crl_state s = crl_state(l, i);
		json_array_append_new(out, json_pack("{s:s, s:o, s:o}", "url", s.url, "updated", time_or_null(s.updated), "next",
		    time_or_null(s.next)));
	}
	return out;
}

static json_t *
certificates_as_json(const struct look *l)
{
	json_t *out = json_array();

	for (size_t i = 0; i < l->n && i < TOLD; i++)
		json_array_append_new(out, json_pack("{s:s, s:s%, s:o}", "use", l->all[i].use, "subject", l->all[i].subject.p,
		    l->all[i].subject.n, "ends", time_or_null(l->all[i].ends)));
	return out;
}

static struct slice
as_json(struct arena *a, const struct look *look, const struct crls *l)
{
	json_t *whole = json_pack("{s:o, s:o, s:I}", "lists", lists_as_json(l), "certificates", certificates_as_json(look), "count",
	    (json_int_t)look->n);
	char *text = whole == NULL ? NULL : json_dumps(whole, JSON_COMPACT);
	struct slice out = arena_dup(a, slice_of(text));

	free(text);
	json_decref(whole);
	return out;
}

struct slice
ends_look(struct ends *e, struct arena *a, const struct conf *c, const struct crls *l)
{
	struct look look = { .a = a, .all = arena_alloc(a, MOST * sizeof *look.all) };

	if (look.all == NULL)
		return (struct slice){ NULL, 0 };
	add_all(&look, c);
	if (look.n > 0)
		qsort(look.all, look.n, sizeof *look.all, by_end);
	tell_lists(e, c, l);
	tell_certificates(e, &look);
	return as_json(a, &look, l);
}
