/* The last good copy of a list stays in the state folder and counts until a newer one that is signed by a trusted
 * CA has come, so that a list that cannot be had does not take its revoked certificates off the whole. What it is worth by
 * then is judged by its own nextUpdate, by whoever reads revoked.bin. */
#include "crl.h"

#include "clock.h"
#include "conv.h"
#include "log.h"
#include "pki.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIST_MAX (256u << 20)
#define ARENA_MAX (600u << 20)
#define RETRY_MS 15000
#define NAME_MAX_BYTES 4200

/* What is known of one URL. */
struct list {
	struct list *next;
	char *url;
	char etag[256], modified[64];
	int64_t due;		/* clock_mono_ms */
	bool failed;		/* the last attempt; said once */
};

struct crl {
	const char *state;
	struct list *lists;
	bool written;		/* revoked.bin, by this process */
};

struct crl *
crl_new(const char *state)
{
	struct crl *c = calloc(1, sizeof *c);

	if (c != NULL)
		c->state = state;
	return c;
}

void
crl_free(struct crl *c)
{
	if (c == NULL)
		return;
	for (struct list *l = c->lists, *next; l != NULL; l = next) {
		next = l->next;
		free(l->url);
		free(l);
	}
	free(c);
}

static struct list *
find(struct crl *c, const char *url)
{
	for (struct list *l = c->lists; l != NULL; l = l->next)
		if (strcmp(l->url, url) == 0)
			return l;
	struct list *l = calloc(1, sizeof *l);
	char *copy = strdup(url);
	if (l == NULL || copy == NULL) {
		free(l);
		free(copy);
		return NULL;
	}
	*l = (struct list){ .next = c->lists, .url = copy };
	c->lists = l;
	return l;
}

/* ---- the copy of a list in the state folder */

static void
copy_name(const struct crl *c, const char *url, const char *suffix, char out[NAME_MAX_BYTES])
{
	uint8_t hash[32];
	char hex[33];

	conv_sha256(slice_of(url), hash);
	for (int i = 0; i < 16; i++)
		snprintf(hex + 2 * i, 3, "%02x", hash[i]);
	snprintf(out, NAME_MAX_BYTES, "%s/crl-%s.der%s", c->state, hex, suffix);
}

static int
write_all(int fd, struct slice bytes)
{
	while (bytes.n > 0) {
		ssize_t n = write(fd, bytes.p, bytes.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		bytes = slice_from(bytes, (size_t)n);
	}
	return fsync(fd);
}

static int
save_copy(const struct crl *c, const char *url, struct slice bytes, struct err *e)
{
	char name[NAME_MAX_BYTES], new[NAME_MAX_BYTES];

	copy_name(c, url, "", name);
	copy_name(c, url, ".new", new);
	int fd = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return err_set(e, ERR_INVALID, "%s: %s", new, strerror(errno));
	int rc = write_all(fd, bytes);
	close(fd);
	if (rc < 0 || rename(new, name) < 0)
		return err_set(e, ERR_INVALID, "%s: %s", name, strerror(errno));
	return 0;
}

static struct slice
read_copy(const struct crl *c, struct arena *a, const char *url)
{
	struct slice bytes = { NULL, 0 };
	char name[NAME_MAX_BYTES];
	struct stat st;

	copy_name(c, url, "", name);
	int fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return bytes;
	if (fstat(fd, &st) == 0 && st.st_size > 0 && st.st_size <= LIST_MAX) {
		char *p = arena_alloc(a, (size_t)st.st_size);
		if (p != NULL && read(fd, p, (size_t)st.st_size) == st.st_size)
			bytes = (struct slice){ p, (size_t)st.st_size };
	}
	close(fd);
	return bytes;
}

/* ---- fetching */

static void
remember(struct slice value, char *out, size_t size)
{
	/* a validator that does not fit would be another one */
	snprintf(out, size, "%.*s", value.n < size ? (int)value.n : 0, value.p == NULL ? "" : value.p);
}

/* 1: there is a new list; 0: the one we have is still the newest. */
static int
fetch(struct crl *c, struct list *l, struct http *h, struct pki_trust *trust, struct arena *a, struct err *e)
{
	struct http_header headers[2];
	struct http_call call = { .url = l->url, .headers = headers, .connect_ms = 3000, .answer_ms = 10000,
		.idle_ms = 10000, .total_ms = 120000 };
	struct http_small answer;
	X509_CRL *list;

	bool have = read_copy(c, a, l->url).p != NULL;
	if (have && l->etag[0] != '\0')
		headers[call.nheaders++] = (struct http_header){ "If-None-Match", slice_of(l->etag) };
	if (have && l->modified[0] != '\0')
		headers[call.nheaders++] = (struct http_header){ "If-Modified-Since", slice_of(l->modified) };
	if (http_fetch(h, a, &call, LIST_MAX, &answer, e) < 0)
		return -1;
	if (answer.status == 304 && have)
		return 0;
	if (answer.status != 200)
		return err_set(e, ERR_INVALID, "%s: HTTP status %d", l->url, answer.status);
	if (pki_read_crl(a, trust, answer.body, &list, e) < 0 || save_copy(c, l->url, answer.body, e) < 0)
		return -1;
	remember(answer.etag, l->etag, sizeof l->etag);
	remember(answer.last_modified, l->modified, sizeof l->modified);
	return 1;
}

/* Whether the list is another one now. */
static bool
refresh_one(struct crl *c, struct list *l, struct http *h, const struct conf *conf, struct pki_trust *trust)
{
	struct arena *a = arena_new(ARENA_MAX);
	struct err e = { .kind = ERR_NONE };
	int rc = a == NULL ? err_set(&e, ERR_MEMORY, "revocation list") : fetch(c, l, h, trust, a, &e);
	int64_t pause = conf->trust.crl_refresh * 1000;

	if (rc < 0 && !l->failed)
		log_err(LOG_WARN, "crl", slice_of(l->url), &e);
	else if (rc >= 0 && l->failed)
		log_msg(LOG_INFO, "crl", "%s can be had again", l->url);
	l->failed = rc < 0;
	l->due = clock_mono_ms() + (l->failed && pause > RETRY_MS ? RETRY_MS : pause);
	arena_free(a);
	return rc > 0;
}

/* ---- the file for everybody */

static int
add_copy(const struct crl *c, struct pki_revoked_writer *w, const char *url, struct pki_trust *trust, struct err *e)
{
	struct arena *a = arena_new(ARENA_MAX);
	X509_CRL *list;
	int rc = 0;

	if (a == NULL)
		return err_set(e, ERR_MEMORY, "revocation list");
	struct slice bytes = read_copy(c, a, url);
	/* a copy whose CA is no longer trusted counts as not there */
	struct err untrusted = { .kind = ERR_NONE };
	if (bytes.p != NULL && pki_read_crl(a, trust, bytes, &list, &untrusted) == 0)
		rc = pki_revoked_add(w, list, e);
	arena_free(a);
	return rc;
}

static int
write_revoked(struct crl *c, const struct conf *conf, struct pki_trust *trust, struct err *e)
{
	char path[NAME_MAX_BYTES];

	snprintf(path, sizeof path, "%s/revoked.bin", c->state);
	struct pki_revoked_writer *w = pki_revoked_writer_new(path);
	if (w == NULL)
		return err_set(e, ERR_MEMORY, "%s", path);
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < conf->trust.ncrl_urls; i++)
		rc = add_copy(c, w, conf->trust.crl_urls[i], trust, e);
	if (rc == 0)
		return pki_revoked_finish(w, e);
	pki_revoked_abandon(w);
	return -1;
}

static int64_t
next_due(struct crl *c, const struct conf *conf)
{
	int64_t now = clock_mono_ms(), next = now + conf->trust.crl_refresh * 1000;

	for (size_t i = 0; i < conf->trust.ncrl_urls; i++) {
		struct list *l = find(c, conf->trust.crl_urls[i]);
		if (l != NULL && l->due < next)
			next = l->due;
	}
	return next > now ? next - now : 0;
}

int64_t
crl_refresh(struct crl *c, struct http *h, const struct conf *conf, bool all)
{
	const struct conf_trust *t = &conf->trust;
	struct err e = { .kind = ERR_NONE };
	bool changed = all || !c->written;

	struct pki_trust *trust = pki_trust_new(t->roots, t->nroots, t->intermediates, t->nintermediates, &e);
	if (trust == NULL) {
		log_err(LOG_ERROR, "crl", (struct slice){ NULL, 0 }, &e);
		return RETRY_MS;
	}
	for (size_t i = 0; i < t->ncrl_urls; i++) {
		struct list *l = find(c, t->crl_urls[i]);
		if (l != NULL && (all || l->due <= clock_mono_ms()) && refresh_one(c, l, h, conf, trust))
			changed = true;
	}
	if (changed) {
		c->written = write_revoked(c, conf, trust, &e) == 0;
		if (!c->written)
			log_err(LOG_ERROR, "crl", (struct slice){ NULL, 0 }, &e);
	}
	pki_trust_free(trust);
	return c->written ? next_due(c, conf) : RETRY_MS;
}
