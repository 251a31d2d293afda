#include "crl.h"

#include "clock.h"
#include "conv.h"
#include "file.h"
#include "log.h"
#include "pki.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIST_BYTES (64 * 1024 * 1024)
#define ARENA ((size_t)6 * LIST_BYTES)		/* one list, as it is fetched and read */
#define RETRY_MS 60000
#define LEAST_REFRESH_MS 10000
#define NAME 72					/* "crl-", 64 hex digits, NUL */

/* One address. */
struct list {
	char name[NAME];
	const char *url;		/* of the configuration in hand */
	int64_t due;			/* monotonic */
	int64_t updated, next;		/* struct crl_state */
};
struct crls {
	const char *state;
	struct http *http;
	struct list *list;		/* of the configuration in hand */
	size_t n;
	uint8_t trust[32];		/* of the configuration that revoked.bin was made of */
	bool written;			/* revoked.bin, by this process */
};
/* One round. */
struct round {
	struct crls *l;
	const struct conf *c;
	struct pki_trust *trust;
	struct arena *a;		/* of one list */
	bool changed;
};

struct crls *
crl_new(const char *state, struct http *http)
{
	struct crls *l = calloc(1, sizeof *l);

	if (l != NULL)
		*l = (struct crls){ .state = state, .http = http };
	return l;
}

void
crl_free(struct crls *l)
{
	if (l != NULL)
		free(l->list);
	free(l);
}

/* ---- files */

static void
file_path(char out[PATH_MAX], const struct crls *l, const char *name, const char *end)
{
	snprintf(out, PATH_MAX, "%s/%s%s", l->state, name, end);
}

/* Absent when it is not there, or too large to be one of ours. */
static struct slice
read_file(struct arena *a, const char *path)
{
	struct slice none = { NULL, 0 };
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return none;
	char *p = fstat(fd, &st) < 0 || st.st_size > LIST_BYTES ? NULL : arena_alloc(a, (size_t)st.st_size + 1);
	size_t n = 0;
	ssize_t got = 1;
	while (p != NULL && got > 0 && n < (size_t)st.st_size) {
		got = read(fd, p + n, (size_t)st.st_size - n);
		n += got > 0 ? (size_t)got : 0;
	}
	close(fd);
	return p != NULL && n == (size_t)st.st_size ? (struct slice){ p, n } : none;
}

static X509_CRL *
read_kept(struct round *r, const struct list *one)
{
	char path[PATH_MAX];
	struct err ignored = { 0 };
	X509_CRL *crl = NULL;

	file_path(path, r->l, one->name, ".crl");
	struct slice bytes = read_file(r->a, path);
	if (bytes.p == NULL || pki_read_crl(r->a, r->trust, bytes, &crl, &ignored) < 0)
		return NULL;
	return crl;
}

/* ---- fetching */

/* The tags of the list that is kept, to ask whether there is another. */
static size_t
condition(struct round *r, const struct list *one, struct http_header out[2])
{
	static const char *const names[] = { "If-None-Match", "If-Modified-Since" };
	char path[PATH_MAX];
	size_t n = 0;

	file_path(path, r->l, one->name, ".tag");
	struct slice text = read_file(r->a, path), line;
	for (size_t i = 0; i < 2 && slice_next(&text, '\n', &line); i++)
		if (line.n > 0)
			out[n++] = (struct http_header){ names[i], line };
	return n;
}

static void
keep_tags(struct round *r, const struct list *one, const struct http_small *got)
{
	char path[PATH_MAX];
	struct err e = { 0 };
	struct slice text = arena_printf(r->a, "%.*s\n%.*s\n", SLICE_FMT(got->etag), SLICE_FMT(got->last_modified));

	file_path(path, r->l, one->name, ".tag");
	if (text.p == NULL || file_replace(path, text, &e) < 0)
		unlink(path);	/* without tags the whole list comes next time */
}

/* A list older than the one kept is an old copy from somewhere, or an attack: it would forget revocations. */
static bool
is_older(const X509_CRL *fresh, const X509_CRL *kept)
{
	int days, seconds;

	return kept != NULL && ASN1_TIME_diff(&days, &seconds, X509_CRL_get0_lastUpdate(kept),
	    X509_CRL_get0_lastUpdate(fresh)) == 1 && (days < 0 || seconds < 0);
}

static int
take(struct round *r, const struct list *one, const struct http_small *got, const X509_CRL *kept, struct err *e)
{
	char path[PATH_MAX];
	X509_CRL *fresh;

	if (pki_read_crl(r->a, r->trust, got->body, &fresh, e) < 0)
		return -1;
	if (is_older(fresh, kept))
		return err_set(e, ERR_INVALID, "an older list than the one kept");
	file_path(path, r->l, one->name, ".crl");
	if (file_replace(path, got->body, e) < 0)
		return -1;
	keep_tags(r, one, got);
	r->changed = true;
	return 0;
}

static int
fetch(struct round *r, const struct list *one, struct err *e)
{
	struct http_header headers[2];
	X509_CRL *kept = read_kept(r, one);
	struct http_call call = { .url = one->url, .headers = headers, .connect_ms = 5000, .answer_ms = 15000,
		.idle_ms = 15000, .total_ms = 120000 };
	struct http_small got;

	call.nheaders = kept == NULL ? 0 : condition(r, one, headers);
	if (http_fetch(r->l->http, r->a, &call, LIST_BYTES, &got, e) < 0)
		return -1;
	if (got.status == 304 && kept != NULL)
		return 0;
	if (got.status != 200)
		return err_set(e, ERR_ENDPOINT_ANSWER, "status %d", got.status);
	return take(r, one, &got, kept, e);
}

/* ---- which */

static void
name_list(char out[NAME], const char *url)
{
	uint8_t hash[32];

	conv_sha256(slice_of(url), hash);
	memcpy(out, "crl-", 4);
	for (size_t i = 0; i < sizeof hash; i++)
		snprintf(out + 4 + 2 * i, 3, "%02x", hash[i]);
}

static struct list *
find(struct crls *l, const char *name)
{
	for (size_t i = 0; i < l->n; i++)
		if (strcmp(l->list[i].name, name) == 0)
			return &l->list[i];
	return NULL;
}

/* The lists of this configuration, with what is remembered of each. */
static int
choose(struct crls *l, const struct conf_trust *t, struct err *e)
{
	struct list *fresh = calloc(t->ncrl_urls + 1, sizeof *fresh);
	size_t n = 0;

	if (fresh == NULL)
		return err_set(e, ERR_MEMORY, "lists");
	for (size_t i = 0; i < t->ncrl_urls; i++) {
		struct list *one = &fresh[n];
		name_list(one->name, t->crl_urls[i]);
		const struct list *known = find(l, one->name);
		if (known != NULL)
			*one = *known;
		one->url = t->crl_urls[i];
		bool twice = false;
		for (size_t k = 0; k < n; k++)
			twice |= strcmp(fresh[k].name, one->name) == 0;
		n += !twice;
	}
	free(l->list);
	l->list = fresh;
	l->n = n;
	return 0;
}

/* Whose lists count, and where they are: when this changes, all is looked at again. */
static void
hash_trust(const struct conf_trust *t, uint8_t out[32])
{
	struct slice parts[] = { { NULL, 0 }, { NULL, 0 } };

	conv_sha256(S("trust"), out);
	for (size_t i = 0; i < t->nroots + t->nintermediates + t->ncrl_urls; i++) {
		uint8_t before[32];
		memcpy(before, out, sizeof before);
		parts[0] = (struct slice){ (const char *)before, sizeof before };
		parts[1] = i < t->nroots ? t->roots[i] : i < t->nroots + t->nintermediates ?
		    t->intermediates[i - t->nroots] : slice_of(t->crl_urls[i - t->nroots - t->nintermediates]);
		conv_hmac(S("list of trust"), parts, 2, out);
	}
}

/* The next file in the state folder that belongs to an address that is no longer listed; name is the list's. */
static const char *
next_former(struct crls *l, DIR *d, char name[NAME])
{
	for (const struct dirent *f; (f = readdir(d)) != NULL;) {
		if (strncmp(f->d_name, "crl-", 4) != 0 || strlen(f->d_name) < NAME)
			continue;
		snprintf(name, NAME, "%.*s", 4 + 64, f->d_name);
		if (find(l, name) == NULL)
			return f->d_name;
	}
	return NULL;
}

static void
sweep(struct crls *l)
{
	DIR *d = opendir(l->state);
	char path[PATH_MAX], name[NAME];

	if (d == NULL)
		return;
	for (const char *file; (file = next_former(l, d, name)) != NULL;) {
		file_path(path, l, file, "");
		unlink(path);
	}
	closedir(d);
}

/* ---- revoked.bin */

/* While an address has not given its list yet, those of former addresses count on: otherwise a certificate that is
 * revoked would be good again until the new address answers, or for ever if it is misspelt. */
static size_t
add_former(struct round *r, struct pki_revoked_writer *w)
{
	DIR *d = opendir(r->l->state);
	struct list former = { .url = NULL };
	size_t added = 0;

	if (d == NULL)
		return 0;
	for (const char *file; (file = next_former(r->l, d, former.name)) != NULL;) {
		struct err ignored = { 0 };
		if (strcmp(file + strlen(former.name), ".crl") != 0)
			continue;
		arena_reset(r->a);
		X509_CRL *crl = read_kept(r, &former);
		added += crl != NULL && pki_revoked_add(w, crl, &ignored) == 0;
	}
	closedir(d);
	return added;
}

/* Of all that is kept and verifies; one that does not is no reason to forget the others. */
static int
write_revoked(struct round *r, struct err *e)
{
	char path[PATH_MAX];

	file_path(path, r->l, "revoked", ".bin");
	struct pki_revoked_writer *w = pki_revoked_writer_new(path);
	if (w == NULL)
		return err_set(e, ERR_MEMORY, "%s", path);
	size_t added = 0;
	for (size_t i = 0; i < r->l->n; i++) {
		struct err why = { 0 };
		arena_reset(r->a);
		X509_CRL *crl = read_kept(r, &r->l->list[i]);
		struct list *one = &r->l->list[i];
		one->updated = one->next = 0;
		if (crl != NULL && pki_revoked_add(w, crl, &why) == 0 && pki_crl_times(crl, &one->updated, &one->next) == 0)
			added++;
		else
			log_msg(LOG_WARN, "crl-missing", "%s: no list of it is kept that counts; certificates of its issuer "
			    "are refused. %s", r->l->list[i].url, why.detail);
	}
	size_t former = added < r->l->n ? add_former(r, w) : 0;
	if (pki_revoked_finish(w, e) < 0)
		return -1;
	log_msg(LOG_INFO, "crl-written", "%s: %zu of %zu lists, and %zu of former addresses", path, added, r->l->n, former);
	if (added == r->l->n)
		sweep(r->l);
	return 0;
}

/* ---- a round */

static int64_t
refresh_ms(const struct conf *c)
{
	return c->trust.crl_refresh * 1000 > LEAST_REFRESH_MS ? c->trust.crl_refresh * 1000 : LEAST_REFRESH_MS;
}

static int
fetch_due(struct round *r, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; i < r->l->n; i++) {
		struct list *one = &r->l->list[i];
		struct err why = { 0 };
		if (one->due > clock_mono_ms())
			continue;
		arena_reset(r->a);
		int got = fetch(r, one, &why);
		int64_t wait = refresh_ms(r->c);
		one->due = clock_mono_ms() + (got < 0 && wait > RETRY_MS ? RETRY_MS : wait);
		if (got < 0)
			rc = err_set(e, why.kind, "%s: %s", one->url, why.detail);
	}
	return rc;
}

static int
run_round(struct round *r, struct err *e)
{
	struct crls *l = r->l;
	uint8_t trust[32];

	hash_trust(&r->c->trust, trust);
	bool other = !l->written || memcmp(trust, l->trust, sizeof trust) != 0;
	if (choose(l, &r->c->trust, e) < 0)
		return -1;
	for (size_t i = 0; other && i < l->n; i++)
		l->list[i].due = 0;
	/* what is kept counts at once; a slow server must not delay it */
	if (other && write_revoked(r, e) < 0)
		return -1;
	memcpy(l->trust, trust, sizeof trust);
	l->written = true;
	int rc = fetch_due(r, e);
	if (r->changed && write_revoked(r, e) < 0) {
		l->written = false;
		rc = -1;
	}
	return rc;
}

static int64_t
next_due(const struct crls *l)
{
	int64_t next = clock_mono_ms() + RETRY_MS, now = clock_mono_ms();

	for (size_t i = 0; i < l->n; i++)
		if (l->list[i].due < next)
			next = l->list[i].due;
	return next > now ? next - now : 0;
}

size_t
crl_count(const struct crls *l)
{
	return l->n;
}

struct crl_state
crl_state(const struct crls *l, size_t i)
{
	return (struct crl_state){ l->list[i].url, l->list[i].updated, l->list[i].next };
}

int
crl_refresh(struct crls *l, const struct conf *c, int64_t *wait_ms, struct err *e)
{
	struct round r = { .l = l, .c = c, .a = arena_new(ARENA) };
	int rc = -1;

	*wait_ms = RETRY_MS;
	if (r.a == NULL)
		return err_set(e, ERR_MEMORY, "lists");
	r.trust = pki_trust_new(c->trust.roots, c->trust.nroots, c->trust.intermediates, c->trust.nintermediates, e);
	if (r.trust != NULL) {
		rc = run_round(&r, e);
		if (l->written)
			*wait_ms = next_due(l);
	}
	arena_free(r.a);
	pki_trust_free(r.trust);
	return rc;
}
