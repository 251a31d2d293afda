/* Handles per endpoint.
 *
 * A handle carries all options that do not change from call to call, and with its private multi handle at most one
 * kept connection. Idle handles of an endpoint are a stack: the warmest is used first, and those that load no longer
 * needs age at the bottom until they are dropped. Names and TLS sessions are shared by all handles (under
 * locks; libcurl supports that), connections are not (it does not). */
#include "pool.h"

#include "clock.h"
#include "must.h"
#include "uri.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 64
#define IDLE_MS 60000		/* a handle unused for so long is dropped */
#define SWEEP_MS 10000
/* A kept connection older than this is not used: many servers close after 5 seconds, and a request that crosses
 * their FIN is lost without being known to be. */
#define KEPT_SECONDS 3L

struct endpoint {
	struct endpoint *next;
	char *key;
	struct handle *idle;
	unsigned nidle;
};

struct http {
	unsigned max_idle;
	pthread_mutex_t lock;
	struct endpoint *endpoints[BUCKETS];	/* only ever added to: addresses come from the configuration */
	int64_t swept;
	CURLSH *share;
	pthread_mutex_t share_locks[CURL_LOCK_DATA_LAST];
};

static void
init_library(void)
{
	signal(SIGPIPE, SIG_IGN);	/* TLS libraries write to connections that the peer has closed */
	must(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
}

static void
lock_shared(CURL *easy, curl_lock_data data, curl_lock_access access, void *ctx)
{
	(void)easy;
	(void)access;
	pthread_mutex_lock(&((struct http *)ctx)->share_locks[data]);
}

static void
unlock_shared(CURL *easy, curl_lock_data data, void *ctx)
{
	(void)easy;
	pthread_mutex_unlock(&((struct http *)ctx)->share_locks[data]);
}

struct http *
http_new(unsigned max_idle)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, init_library);
	struct http *h = calloc(1, sizeof *h);
	if (h == NULL)
		return NULL;
	h->max_idle = max_idle;
	pthread_mutex_init(&h->lock, NULL);
	for (size_t i = 0; i < CURL_LOCK_DATA_LAST; i++)
		pthread_mutex_init(&h->share_locks[i], NULL);
	h->share = curl_share_init();
	if (h->share == NULL) {
		free(h);
		return NULL;
	}
	curl_share_setopt(h->share, CURLSHOPT_LOCKFUNC, lock_shared);
	curl_share_setopt(h->share, CURLSHOPT_UNLOCKFUNC, unlock_shared);
	curl_share_setopt(h->share, CURLSHOPT_USERDATA, h);
	curl_share_setopt(h->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
	curl_share_setopt(h->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
	return h;
}

static void
handle_free(struct handle *handle)
{
	if (handle->easy != NULL)
		curl_easy_cleanup(handle->easy);
	if (handle->multi != NULL)
		curl_multi_cleanup(handle->multi);
	free(handle->url);
	free(handle);
}

static void
free_stack(struct handle *stack)
{
	for (struct handle *below; stack != NULL; stack = below) {
		below = stack->below;
		handle_free(stack);
	}
}

void
http_free(struct http *h)
{
	if (h == NULL)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct endpoint *p = h->endpoints[i], *next; p != NULL; p = next) {
			next = p->next;
			free_stack(p->idle);
			free(p->key);
			free(p);
		}
	curl_share_cleanup(h->share);
	free(h);
}

/* ---- a new handle */

static void
set_long(CURL *easy, CURLoption option, long value)
{
	must(curl_easy_setopt(easy, option, value) == CURLE_OK);
}

/* -1: out of memory; nothing else can fail here. */
static int
set_text(CURL *easy, CURLoption option, const char *value)
{
	return curl_easy_setopt(easy, option, value) == CURLE_OK ? 0 : -1;
}

static int
set_tls(CURL *easy, const struct http_tls *tls)
{
	set_long(easy, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
	set_long(easy, CURLOPT_SSL_VERIFYPEER, 1);
	set_long(easy, CURLOPT_SSL_VERIFYHOST, 2);
	set_long(easy, CURLOPT_CA_CACHE_TIMEOUT, 300);		/* a new CA file takes effect within minutes */
	if (tls->ca_file != NULL &&
	    (set_text(easy, CURLOPT_CAINFO, tls->ca_file) < 0 ||
	    set_text(easy, CURLOPT_CAPATH, NULL) < 0))	/* else the system's CAs would be trusted as well */
		return -1;
	if (tls->cert_file != NULL && set_text(easy, CURLOPT_SSLCERT, tls->cert_file) < 0)
		return -1;
	return tls->key_file == NULL ? 0 : set_text(easy, CURLOPT_SSLKEY, tls->key_file);
}

static int
set_fixed(struct handle *handle, const struct http *h, const struct http_tls *tls)
{
	CURL *easy = handle->easy;

	set_long(easy, CURLOPT_NOSIGNAL, 1);
	set_long(easy, CURLOPT_FOLLOWLOCATION, 0);
	set_long(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
	set_long(easy, CURLOPT_HTTP09_ALLOWED, 0);
	set_long(easy, CURLOPT_PATH_AS_IS, 1);		/* the listed address, octet for octet */
	set_long(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1);
	set_long(easy, CURLOPT_NETRC, CURL_NETRC_IGNORED);
	set_long(easy, CURLOPT_TCP_NODELAY, 1);
	set_long(easy, CURLOPT_MAXAGE_CONN, KEPT_SECONDS);
	set_long(easy, CURLOPT_BUFFERSIZE, 65536);
	/* a name server that does not answer must not hold us beyond connect_ms */
	set_long(easy, CURLOPT_QUICK_EXIT, 1);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, handle->error);
	curl_easy_setopt(easy, CURLOPT_SHARE, h->share);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, http_on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, handle);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, http_on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, handle);
	curl_easy_setopt(easy, CURLOPT_READFUNCTION, http_on_source);
	curl_easy_setopt(easy, CURLOPT_READDATA, handle);
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, http_on_request);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, handle);
	/* no proxy, whatever the environment says */
	if (set_text(easy, CURLOPT_PROXY, "") < 0 || set_text(easy, CURLOPT_NOPROXY, "*") < 0 ||
	    set_text(easy, CURLOPT_PROTOCOLS_STR, "http,https") < 0)
		return -1;
	return set_tls(easy, tls);
}

static struct handle *
handle_new(const struct http *h, const struct http_tls *tls)
{
	struct handle *handle = calloc(1, sizeof *handle);

	if (handle == NULL)
		return NULL;
	handle->socket = CURL_SOCKET_BAD;
	handle->easy = curl_easy_init();
	handle->multi = curl_multi_init();
	if (handle->easy == NULL || handle->multi == NULL || set_fixed(handle, h, tls) < 0) {
		handle_free(handle);
		return NULL;
	}
	curl_multi_setopt(handle->multi, CURLMOPT_MAXCONNECTS, 1L);
	return handle;
}

/* ---- endpoints; under the lock */

static struct slice
endpoint_key(struct arena *a, const struct http_call *call, struct err *e)
{
	struct uri uri;

	if (uri_parse(slice_of(call->url), &uri) < 0) {
		err_set(e, ERR_CONFIG, "\"%s\" is not an http or https address", call->url);
		return (struct slice){ NULL, 0 };
	}
	const struct http_tls *t = &call->tls;
	struct slice key = arena_printf(a, "%d %.*s %u\n%s\n%s\n%s", uri.tls, SLICE_FMT(uri.host), uri.port,
	    t->ca_file == NULL ? "" : t->ca_file, t->cert_file == NULL ? "" : t->cert_file,
	    t->key_file == NULL ? "" : t->key_file);
	if (key.p == NULL)
		err_set(e, ERR_MEMORY, "endpoint");
	return key;
}

static size_t
bucket_of(struct slice key)
{
	uint32_t hash = 2166136261u;	/* FNV-1a */

	for (size_t i = 0; i < key.n; i++)
		hash = (hash ^ (unsigned char)key.p[i]) * 16777619u;
	return hash % BUCKETS;
}

/* NULL when memory ends. */
static struct endpoint *
find_endpoint(struct http *h, struct slice key)
{
	struct endpoint **bucket = &h->endpoints[bucket_of(key)];

	for (struct endpoint *p = *bucket; p != NULL; p = p->next)
		if (slice_is(key, p->key))
			return p;
	struct endpoint *p = calloc(1, sizeof *p);
	if (p == NULL || (p->key = strndup(key.p, key.n)) == NULL) {
		free(p);
		return NULL;
	}
	p->next = *bucket;
	return *bucket = p;
}

static void
drop_old(struct endpoint *p, int64_t now, struct handle **dropped)
{
	struct handle **at = &p->idle;
	unsigned kept = 0;

	while (*at != NULL && now - (*at)->since < IDLE_MS) {
		at = &(*at)->below;
		kept++;
	}
	/* the first that is too old, and all below it, which are older */
	struct handle *old = *at, **last = &old;
	*at = NULL;
	p->nidle = kept;
	while (*last != NULL)
		last = &(*last)->below;
	*last = *dropped;
	*dropped = old;
}

/* Now and then all endpoints are looked at, also those that are no longer called. */
static struct handle *
sweep(struct http *h, int64_t now)
{
	struct handle *dropped = NULL;

	if (now - h->swept < SWEEP_MS)
		return NULL;
	h->swept = now;
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct endpoint *p = h->endpoints[i]; p != NULL; p = p->next)
			drop_old(p, now, &dropped);
	return dropped;
}

static struct handle *
pop(struct http *h, struct endpoint *p)
{
	pthread_mutex_lock(&h->lock);
	struct handle *handle = p->idle;
	if (handle != NULL) {
		p->idle = handle->below;
		p->nidle--;
	}
	pthread_mutex_unlock(&h->lock);
	return handle;
}

/* Nothing is due on an idle connection, so whatever can be read there ends it: the peer's FIN, but also bytes, which
 * libcurl 7.88 would take for the answer to the next request. */
static bool
is_quiet(const struct handle *handle)
{
	struct pollfd p = { handle->socket, POLLIN | POLLRDHUP, 0 };

	return handle->socket == CURL_SOCKET_BAD || poll(&p, 1, 0) == 0;
}

struct handle *
pool_take(struct http *h, struct arena *a, const struct http_call *call, struct err *e)
{
	struct slice key = endpoint_key(a, call, e);
	struct handle *handle;

	if (key.p == NULL)
		return NULL;
	pthread_mutex_lock(&h->lock);
	struct handle *dropped = sweep(h, clock_mono_ms());
	struct endpoint *p = find_endpoint(h, key);
	pthread_mutex_unlock(&h->lock);
	free_stack(dropped);
	while (p != NULL && (handle = pop(h, p)) != NULL) {
		if (is_quiet(handle))
			return handle;
		handle_free(handle);
	}
	handle = p == NULL ? NULL : handle_new(h, &call->tls);
	if (handle == NULL)
		err_set(e, ERR_MEMORY, "curl");
	else
		handle->of = p;
	return handle;
}

void
pool_give(struct http *h, struct handle *handle, bool keep)
{
	struct endpoint *p = handle->of;

	if (keep) {
		handle->since = clock_mono_ms();
		pthread_mutex_lock(&h->lock);
		keep = p->nidle < h->max_idle;
		if (keep) {
			handle->below = p->idle;
			p->idle = handle;
			p->nidle++;
		}
		pthread_mutex_unlock(&h->lock);
	}
	if (!keep)
		handle_free(handle);
}
