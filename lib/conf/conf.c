/* From a document to struct conf. shape.c has seen to names and values; here are the rules that
 * concern several of them, and the certificates. */
#include "shape.h"

#include "conf.h"
#include "conv.h"
#include "held.h"
#include "uri.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#define CONF_CAP (64 << 20)

struct build {
	struct arena *a;
	struct problems *p;
	struct conf *c;
};

static void *
room(struct build *b, size_t n, size_t size)
{
	void *p = arena_alloc(b->a, n > 0 ? n * size : 1);

	if (p == NULL)
		b->p->no_memory = true;
	return p;
}

/* ---- values of a document that has its shape */

static struct slice
text(struct build *b, json_t *o, const char *name)
{
	json_t *value = json_object_get(o, name);

	if (!json_is_string(value))
		return (struct slice){ NULL, 0 };
	struct slice s = arena_dup(b->a, (struct slice){ json_string_value(value), json_string_length(value) });
	if (s.p == NULL)
		b->p->no_memory = true;
	return s;
}

static const char *
cstr(struct build *b, json_t *o, const char *name)
{
	return text(b, o, name).p;	/* arena_dup ends it with a NUL */
}

static int64_t
number(json_t *o, const char *name)
{
	return json_integer_value(json_object_get(o, name));
}

static unsigned
ms(json_t *o, const char *name)
{
	return (unsigned)number(o, name);
}

static bool
flag(json_t *o, const char *name)
{
	return json_is_true(json_object_get(o, name));
}

static struct slice
item(json_t *list, size_t i)
{
	json_t *one = json_array_get(list, i);

	return (struct slice){ json_string_value(one), json_string_length(one) };
}

/* A list of strings; NULL when there is no memory. */
static struct slice *
texts(struct build *b, json_t *o, const char *name, size_t *n)
{
	json_t *list = json_object_get(o, name);
	struct slice *out = room(b, json_array_size(list), sizeof *out);

	*n = 0;
	for (size_t i = 0; out != NULL && i < json_array_size(list); i++) {
		out[i] = arena_dup(b->a, item(list, i));
		if (out[i].p == NULL)
			b->p->no_memory = true;
		*n = i + 1;
	}
	return out;
}

static const char *const *
cstrs(struct build *b, json_t *o, const char *name, size_t *n)
{
	struct slice *list = texts(b, o, name, n);
	const char **out = room(b, *n, sizeof *out);

	for (size_t i = 0; out != NULL && i < *n; i++)
		out[i] = list[i].p;
	return out;
}

static struct conf_address *
addresses(struct build *b, json_t *o, const char *name, size_t *n)
{
	json_t *list = json_object_get(o, name);
	struct conf_address *out = room(b, json_array_size(list), sizeof *out);

	*n = 0;
	for (size_t i = 0; out != NULL && i < json_array_size(list); i++)
		if (conf_address_parse(item(list, i), &out[i]) == 0)
			*n = i + 1;
	return out;
}

/* ---- certificates */

/* Exactly one, and nothing behind it that could be taken for a second. */
static bool
is_certificate(struct slice pem)
{
	BIO *bio = BIO_new_mem_buf(pem.p, (int)pem.n);
	X509 *first = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, NULL, NULL);
	X509 *second = first == NULL ? NULL : PEM_read_bio_X509(bio, NULL, NULL, NULL);
	bool one = first != NULL && second == NULL;

	X509_free(first);
	X509_free(second);
	BIO_free(bio);
	ERR_clear_error();
	return one;
}

static const struct slice *
certificates(struct build *b, const struct at *up, json_t *o, const char *name, size_t *n)
{
	struct slice *out = texts(b, o, name, n);

	for (size_t i = 0; i < *n; i++) {
		const struct at list = { up, name, 0 }, here = { &list, NULL, i };
		if (!is_certificate(out[i]))
			problem(b->p, &here, "must be one certificate in PEM form");
	}
	return out;
}

/* ---- the parts */

/* The ids of a list, each once. */
static void
check_ids(struct build *b, const char *name, json_t *list)
{
	json_t *seen = json_object();

	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *id = json_string_value(json_object_get(json_array_get(list, i), "id"));
		const struct at up = { NULL, name, 0 }, row = { &up, NULL, i }, here = { &row, "id", 0 };
		if (json_object_get(seen, id) != NULL)
			problem(b->p, &here, "\"%s\" is there twice", id);
		if (json_object_set_new(seen, id, json_true()) < 0)
			b->p->no_memory = true;
	}
	json_decref(seen);
}

/* Two keys for any system are two for the same one; slice_eq says that absent equals nothing. */
static bool
same_system(struct slice a, struct slice b)
{
	return a.p == NULL ? b.p == NULL : slice_eq(a, b);
}

static void
check_key(struct build *b, const struct at *at, const struct conf_system_key *k)
{
	const struct at certificate = { at, "certificate_file", 0 };

	if ((k->key_file != NULL) + (k->pkcs12_file != NULL) + (k->pkcs11 != NULL) != 1)
		problem(b->p, at, "needs exactly one of key_file, pkcs12_file and pkcs11");
	if (k->certificate_file == NULL && k->pkcs12_file == NULL)
		problem(b->p, &certificate, "is missing: only a pkcs12_file holds the certificate itself");
}

static void
check_system_key(struct build *b, const struct at *at, const struct conf_system_key *all, size_t i)
{
	const struct conf_system_key *k = &all[i];
	const struct at system = { at, "system", 0 };

	check_key(b, at, k);
	for (size_t j = 0; j < i; j++)
		if (same_system(all[j].system, k->system))
			problem(b->p, &system, "is that of system_keys[%zu] too", j);
}

static struct conf_system_key
read_key(struct build *b, json_t *k)
{
	return (struct conf_system_key){
		.system = text(b, k, "system"), .certificate_file = cstr(b, k, "certificate_file"),
		.key_file = cstr(b, k, "key_file"), .pkcs12_file = cstr(b, k, "pkcs12_file"),
		.pkcs11 = cstr(b, k, "pkcs11"), .password_file = cstr(b, k, "password_file"),
	};
}

static const struct conf_system_key *
read_system_keys(struct build *b, const struct at *organisation, json_t *o, size_t *n)
{
	json_t *list = json_object_get(o, "system_keys");
	struct conf_system_key *out = room(b, json_array_size(list), sizeof *out);

	*n = 0;
	for (size_t i = 0; out != NULL && i < json_array_size(list); i++) {
		json_t *k = json_array_get(list, i);
		const struct at up = { organisation, "system_keys", 0 }, at = { &up, NULL, i };
		out[i] = read_key(b, k);
		check_system_key(b, &at, out, i);
		*n = i + 1;
	}
	return out;
}

/* The entry's own key when it names none. */
static void
read_decryption_keys(struct build *b, const struct at *idp, json_t *p, struct conf_idp *out)
{
	json_t *list = json_object_get(p, "decryption_keys");
	struct conf_system_key *keys = room(b, json_array_size(list), sizeof *keys);
	const struct at at = { idp, "decryption_keys", 0 };

	out->decryption_keys = &out->key;
	out->ndecryption_keys = 1;
	if (json_array_size(list) == 0 || keys == NULL)
		return;
	if (json_array_size(list) > CONF_DECRYPTION_KEYS_MOST)
		problem(b->p, &at, "has more than two: the one that counts and, while it is replaced, the other");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const struct at row = { &at, NULL, i };
		keys[i] = read_key(b, json_array_get(list, i));
		check_key(b, &row, &keys[i]);
	}
	out->decryption_keys = keys;
	out->ndecryption_keys = json_array_size(list);
}

static const struct conf_idp *
read_idps(struct build *b, const struct at *organisation, json_t *o, size_t *n)
{
	json_t *list = json_object_get(o, "identity_providers");
	struct conf_idp *out = room(b, json_array_size(list), sizeof *out);

	*n = 0;
	for (size_t i = 0; out != NULL && i < json_array_size(list); i++) {
		json_t *p = json_array_get(list, i);
		const struct at up = { organisation, "identity_providers", 0 }, at = { &up, NULL, i };
		const struct at certs = { &at, "certificates", 0 }, issuer = { &at, "issuer", 0 };
		out[i] = (struct conf_idp){
			.name = text(b, p, "name"), .url = text(b, p, "url"), .issuer = text(b, p, "issuer"),
			.audience = text(b, p, "audience"), .key = read_key(b, p),
		};
		out[i].certificates = certificates(b, &at, p, "certificates", &out[i].ncertificates);
		if (out[i].ncertificates == 0)
			problem(b->p, &certs, "is empty: without one no answer can be believed");
		check_key(b, &at, &out[i].key);
		read_decryption_keys(b, &at, p, &out[i]);
		for (size_t j = 0; j < i; j++)
			if (slice_eq(out[j].issuer, out[i].issuer))
				problem(b->p, &issuer, "is that of identity_providers[%zu] too", j);
		*n = i + 1;
	}
	return out;
}

static void
read_organisations(struct build *b, json_t *list)
{
	struct conf_organisation *out = room(b, json_array_size(list), sizeof *out);

	for (size_t i = 0; out != NULL && i < json_array_size(list); i++) {
		json_t *o = json_array_get(list, i);
		const struct at up = { NULL, "organisations", 0 }, at = { &up, NULL, i };
		out[i] = (struct conf_organisation){
			.id = text(b, o, "id"), .name = text(b, o, "name"), .cvr = text(b, o, "cvr"),
			.pass_signed = flag(o, "pass_signed_cards"),
			.withhold_signature = flag(o, "withhold_signature"),
			.signature_hash = slice_is(text(b, o, "signature_hash"), "sha256") ? CONF_SHA256 : CONF_SHA1,
			.session_ids = flag(o, "session_ids"),
			.check_cvr = flag(o, "check_cvr"),
		};
		out[i].system_keys = read_system_keys(b, &at, o, &out[i].nsystem_keys);
		out[i].idps = read_idps(b, &at, o, &out[i].nidps);
		b->c->norganisations = i + 1;
	}
	b->c->organisations = out;
	check_ids(b, "organisations", list);
}

static const struct conf_organisation *
find_organisation(const struct conf *c, struct slice id)
{
	for (size_t i = 0; i < c->norganisations; i++)
		if (slice_eq(c->organisations[i].id, id))
			return &c->organisations[i];
	return NULL;
}

static const uint8_t (*
read_secrets(struct build *b, json_t *o, size_t *n))[32]
{
	json_t *list = json_object_get(o, "secrets");
	uint8_t (*out)[32] = room(b, json_array_size(list), sizeof *out);

	*n = 0;
	for (size_t i = 0; out != NULL && i < json_array_size(list); i++) {
		struct slice bytes = conv_unhex(b->a, slice_from(item(list, i), sizeof "sha256:" - 1));
		if (bytes.n != sizeof *out)
			b->p->no_memory = true;
		else
			memcpy(out[i], bytes.p, sizeof *out);
		*n = i + 1;
	}
	return (const uint8_t (*)[32])out;
}

/* What each way of showing who one is needs, and what would never be looked at. */
static void
check_evidence(struct build *b, const struct at *at, const struct conf_client *k)
{
	const struct at auth = { at, "auth", 0 };

	if (k->auth == CONF_AUTH_SECRET && (k->nsecrets < 1 || k->nsecrets > 2))
		problem(b->p, &auth, "\"secret\" needs one secret, or two while one is replaced");
	if (k->auth != CONF_AUTH_SECRET && k->nsecrets > 0)
		problem(b->p, &auth, "secrets are used with \"secret\" only; remove them or change auth");
	if (k->auth != CONF_AUTH_CERTIFICATE && k->naddresses == 0)
		problem(b->p, &auth, "\"%s\" needs at least one address or range",
		    k->auth == CONF_AUTH_SECRET ? "secret" : "address");
	if (k->auth == CONF_AUTH_CERTIFICATE && k->certificate.p == NULL)
		problem(b->p, &auth, "\"certificate\" needs the fingerprint of one");
	if (k->auth != CONF_AUTH_CERTIFICATE && k->certificate.p != NULL)
		problem(b->p, &auth, "a certificate is used with \"certificate\" only; remove it or change auth");
}

static void
read_clients(struct build *b, json_t *list)
{
	struct conf_client *out = room(b, json_array_size(list), sizeof *out);

	for (size_t i = 0; out != NULL && i < json_array_size(list); i++) {
		json_t *o = json_array_get(list, i);
		const struct at up = { NULL, "clients", 0 }, at = { &up, NULL, i }, ref = { &at, "organisation", 0 };
		struct conf_client *k = &out[i];
		struct slice auth = text(b, o, "auth"), organisation = text(b, o, "organisation");

		*k = (struct conf_client){
			.id = text(b, o, "id"), .name = text(b, o, "name"),
			.organisation = find_organisation(b->c, organisation),
			.auth = slice_is(auth, "secret") ? CONF_AUTH_SECRET :
			    slice_is(auth, "address") ? CONF_AUTH_ADDRESS : CONF_AUTH_CERTIFICATE,
			.certificate = text(b, o, "certificate"),
			.withhold_signature = flag(o, "withhold_signature"),
		};
		k->addresses = addresses(b, o, "addresses", &k->naddresses);
		k->secrets = read_secrets(b, o, &k->nsecrets);
		if (k->organisation == NULL)
			problem(b->p, &ref, "no organisation \"%.*s\"", SLICE_FMT(organisation));
		check_evidence(b, &at, k);
		b->c->nclients = i + 1;
	}
	b->c->clients = out;
	check_ids(b, "clients", list);
}

/* Evidence that fits two clients would identify nobody: the same secret, fingerprint, or range of
 * clients that show nothing but their address. */
static bool
look_alike(const struct conf_client *x, const struct conf_client *y)
{
	for (size_t i = 0; i < x->nsecrets; i++)
		for (size_t j = 0; j < y->nsecrets; j++)
			if (memcmp(x->secrets[i], y->secrets[j], sizeof x->secrets[i]) == 0)
				return true;
	if (slice_eq(x->certificate, y->certificate))
		return true;
	if (x->auth != CONF_AUTH_ADDRESS || y->auth != CONF_AUTH_ADDRESS)
		return false;
	for (size_t i = 0; i < x->naddresses; i++)
		for (size_t j = 0; j < y->naddresses; j++)
			if (x->addresses[i].bits == y->addresses[j].bits &&
			    conf_address_has(&x->addresses[i], &y->addresses[j]))
				return true;
	return false;
}

static void
check_clients_differ(struct build *b)
{
	const struct at up = { NULL, "clients", 0 };

	for (size_t i = 0; i < b->c->nclients; i++) {
		const struct at here = { &up, NULL, i };
		for (size_t j = 0; j < i; j++)
			if (look_alike(&b->c->clients[i], &b->c->clients[j]))
				problem(b->p, &here, "has a secret, certificate or address range that clients[%zu] has too: "
				    "neither could be told from the other", j);
	}
}

/* Apache gives up on a worker from which nothing has come for so long, and answers itself, without a fault that says what
 * was sent; a little is left for the rest of the call. */
static void
check_waits(struct build *b, const struct at *at, const struct conf_service *s, int64_t apache_seconds)
{
	const struct at answer = { at, "answer_ms", 0 }, idle = { at, "idle_ms", 0 };
	int64_t most = 1000 * apache_seconds - 5000;

	if ((int64_t)s->connect_ms + s->answer_ms > most)
		problem(b->p, &answer, "and connect_ms together must be 5000 below limits.apache_timeout_seconds");
	if (s->idle_ms > most)
		problem(b->p, &idle, "must be 5000 below limits.apache_timeout_seconds");
}

static void
read_services(struct build *b, json_t *list, int64_t apache_seconds)
{
	struct conf_service *out = room(b, json_array_size(list), sizeof *out);

	for (size_t i = 0; out != NULL && i < json_array_size(list); i++) {
		json_t *o = json_array_get(list, i);
		const struct at up = { NULL, "services", 0 }, at = { &up, NULL, i };
		const struct at url = { &at, "url", 0 }, key = { &at, "key_file", 0 };
		struct conf_service *s = &out[i];

		*s = (struct conf_service){
			.id = text(b, o, "id"), .name = text(b, o, "name"), .url = text(b, o, "url"),
			.strip_wsa = flag(o, "strip_wsa"), .check_body = flag(o, "check_body"),
			.connect_ms = ms(o, "connect_ms"), .answer_ms = ms(o, "answer_ms"),
			.idle_ms = ms(o, "idle_ms"), .total_ms = ms(o, "total_ms"),
			.max_card_age = 60 * number(o, "max_card_age_minutes"),
			.ca_file = cstr(b, o, "ca_file"), .cert_file = cstr(b, o, "cert_file"),
			.key_file = cstr(b, o, "key_file"),
		};
		s->url_z = s->url.p;
		check_waits(b, &at, s, apache_seconds);
		if ((s->cert_file == NULL) != (s->key_file == NULL))
			problem(b->p, &key, "cert_file and key_file go together");
		for (size_t j = 0; j < i; j++)
			if (slice_eq(out[j].url, s->url))
				problem(b->p, &url, "is the URL of services[%zu] too", j);
		b->c->nservices = i + 1;
	}
	b->c->services = out;
	check_ids(b, "services", list);
}

static void
read_sts(struct build *b, json_t *o)
{
	const struct at at = { NULL, "sts", 0 };
	struct conf_sts *s = &b->c->sts;

	s->urls = cstrs(b, o, "urls", &s->nurls);
	s->bst_urls = cstrs(b, o, "bst_urls", &s->nbst_urls);
	s->certificates = certificates(b, &at, o, "certificates", &s->ncertificates);
	s->connect_ms = ms(o, "connect_ms");
	s->answer_ms = ms(o, "answer_ms");
	s->refuse_sha1 = flag(o, "refuse_sha1");
	s->ca_file = cstr(b, o, "ca_file");
}

/* Whether one of the certificates has that fingerprint. */
static bool
has_fingerprint(const struct slice *pems, size_t n, const uint8_t wanted[32])
{
	bool found = false;

	for (size_t i = 0; !found && i < n; i++) {
		BIO *bio = BIO_new_mem_buf(pems[i].p, (int)pems[i].n);
		X509 *cert = bio == NULL ? NULL : PEM_read_bio_X509(bio, NULL, NULL, NULL);
		uint8_t hash[EVP_MAX_MD_SIZE];
		found = cert != NULL && X509_digest(cert, EVP_sha256(), hash, NULL) == 1 &&
		    memcmp(hash, wanted, 32) == 0;
		X509_free(cert);
		BIO_free(bio);
	}
	ERR_clear_error();
	return found;
}

static void
check_ocsp(struct build *b, const struct at *at, const struct conf_ocsp *all, size_t i)
{
	const struct conf_trust *t = &b->c->trust;
	const struct at issuer = { at, "issuer", 0 };

	/* misspelt, it would never be asked, and nobody would know */
	if (!has_fingerprint(t->roots, t->nroots, all[i].issuer) &&
	    !has_fingerprint(t->intermediates, t->nintermediates, all[i].issuer))
		problem(b->p, &issuer, "is the fingerprint of no certificate in roots and intermediates");
	for (size_t j = 0; j < i; j++)
		if (memcmp(all[j].issuer, all[i].issuer, sizeof all[j].issuer) == 0)
			problem(b->p, &issuer, "is that of ocsp_urls[%zu] too", j);
}

static const struct conf_ocsp *
read_ocsp(struct build *b, const struct at *trust, json_t *list, size_t *n)
{
	struct conf_ocsp *out = room(b, json_array_size(list), sizeof *out);

	*n = 0;
	for (size_t i = 0; out != NULL && i < json_array_size(list); i++) {
		json_t *o = json_array_get(list, i);
		const struct at up = { trust, "ocsp_urls", 0 }, at = { &up, NULL, i };
		struct slice issuer = conv_unhex(b->a, text(b, o, "issuer"));
		if (issuer.n == sizeof out[i].issuer)
			memcpy(out[i].issuer, issuer.p, issuer.n);
		else
			b->p->no_memory = true;
		out[i].url = cstr(b, o, "url");
		check_ocsp(b, &at, out, i);
		*n = i + 1;
	}
	return out;
}

static void
read_trust(struct build *b, json_t *o)
{
	const struct at at = { NULL, "trust", 0 };
	struct conf_trust *t = &b->c->trust;

	t->roots = certificates(b, &at, o, "roots", &t->nroots);
	t->intermediates = certificates(b, &at, o, "intermediates", &t->nintermediates);
	t->crl_urls = cstrs(b, o, "crl_urls", &t->ncrl_urls);
	t->crl_refresh = 60 * number(o, "crl_refresh_minutes");
	t->crl_grace = 60 * number(o, "crl_grace_minutes");
	t->ocsp = read_ocsp(b, &at, json_object_get(o, "ocsp_urls"), &t->nocsp);
	if (slice_is(text(b, o, "when_unchecked"), "accept"))
		t->unchecked_accept = 60 * number(o, "unchecked_accept_minutes");
	t->check_revocation = flag(o, "check_revocation");
}

static void
read_document(struct build *b, json_t *o)
{
	struct conf *c = b->c;
	json_t *times = json_object_get(o, "times"), *limits = json_object_get(o, "limits");

	read_organisations(b, json_object_get(o, "organisations"));
	read_clients(b, json_object_get(o, "clients"));
	check_clients_differ(b);
	read_services(b, json_object_get(o, "services"), number(limits, "apache_timeout_seconds"));
	read_sts(b, json_object_get(o, "sts"));
	read_trust(b, json_object_get(o, "trust"));
	c->front_proxies = addresses(b, o, "front_proxies", &c->nfront_proxies);
	c->browser_base = text(b, o, "browser_base");
	c->issuer = text(b, o, "issuer");
	c->pending_ttl = number(times, "pending_card_seconds");
	c->url_open = number(times, "signing_url_seconds");
	c->url_answer = number(times, "answer_url_seconds");
	c->url_answer_most = number(times, "answer_url_max_seconds");
	c->browser_remember = flag(o, "browser_remember_key_file");
	c->expiry_margin = number(times, "expiry_margin_seconds");
	c->clock_skew = number(times, "clock_skew_seconds");
	c->max_message = number(limits, "card_message_bytes");
	c->retention_months = (unsigned)number(json_object_get(o, "audit"), "retention_months");
	c->danish = slice_is(text(b, o, "language"), "da");
}

static int
build(json_t *document, int64_t revision, struct conf **out, struct problems *p, struct err *e)
{
	struct arena *a = arena_new(CONF_CAP);
	struct held *h = a == NULL ? NULL : arena_alloc(a, sizeof *h);

	if (h == NULL) {
		arena_free(a);
		return err_set(e, ERR_MEMORY, "configuration");
	}
	h->a = a;
	atomic_init(&h->refs, 1);
	h->conf.revision = revision;
	read_document(&(struct build){ a, p, &h->conf }, document);
	if (problems_verdict(p, e) < 0) {
		arena_free(a);
		return -1;
	}
	*out = &h->conf;
	return 0;
}

int
conf_parse(struct slice json, int64_t revision, struct conf **out, struct buf *problems, struct err *e)
{
	struct problems p = { .out = problems };
	json_t *document = shape_read(json, &p);
	int done = problems_verdict(&p, e);

	if (done == 0)
		done = build(document, revision, out, &p, e);
	json_decref(document);
	return done;
}

void
conf_free(struct conf *c)
{
	if (c != NULL)
		arena_free(held_of(c)->a);
}

int
conf_normal(struct slice json, struct buf *out, struct err *e)
{
	struct problems p = { .out = NULL };
	json_t *document = shape_read(json, &p);
	int done = problems_verdict(&p, e);

	if (done == 0)
		shape_write(document, out, &p);
	if (done == 0 && (p.no_memory || out->failed))
		done = err_set(e, ERR_MEMORY, "configuration document");
	json_decref(document);
	return done;
}
