/* Who is at the other end of an https address, and who we are to it. */
#include "server.h"

#include "http.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

struct id {
	X509 *cert;
	EVP_PKEY *key;
	char cert_file[96], key_file[96];
};

static struct {
	char dir[64];
	struct id ca, other_ca, server, client, expired;
	atomic_int resumed;
	struct http *http;
	struct arena *a;
} w;

static void
extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(ext);
	X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
}

static void
save(struct id *id, const char *name)
{
	snprintf(id->cert_file, sizeof id->cert_file, "%s/%s.crt", w.dir, name);
	snprintf(id->key_file, sizeof id->key_file, "%s/%s.key", w.dir, name);
	FILE *f = fopen(id->cert_file, "w");
	assert_non_null(f);
	PEM_write_X509(f, id->cert);
	fclose(f);
	f = fopen(id->key_file, "w");
	assert_non_null(f);
	PEM_write_PrivateKey(f, id->key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
}

/* by NULL: a CA; ends: seconds from now. */
static void
issue(struct id *id, const char *name, const struct id *by, const char *san, long ends)
{
	static long serial = 1;

	id->key = EVP_EC_gen("P-256");
	id->cert = X509_new();
	X509_set_version(id->cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(id->cert), serial++);
	X509_gmtime_adj(X509_getm_notBefore(id->cert), -86400);
	X509_gmtime_adj(X509_getm_notAfter(id->cert), ends);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(id->cert), "CN", MBSTRING_ASC,
	    (const unsigned char *)name, -1, -1, 0);
	X509_set_pubkey(id->cert, id->key);
	X509 *issuer = by == NULL ? id->cert : by->cert;
	X509_set_issuer_name(id->cert, X509_get_subject_name(issuer));
	extend(id->cert, issuer, NID_basic_constraints, by == NULL ? "critical,CA:TRUE" : "CA:FALSE");
	if (san != NULL)
		extend(id->cert, issuer, NID_subject_alt_name, san);
	assert_true(X509_sign(id->cert, by == NULL ? id->key : by->key, EVP_sha256()) > 0);
	save(id, name);
}

static void
forget(struct id *id)
{
	unlink(id->cert_file);
	unlink(id->key_file);
	X509_free(id->cert);
	EVP_PKEY_free(id->key);
}

static int
group_start(void **state)
{
	(void)state;
	snprintf(w.dir, sizeof w.dir, "/tmp/tls-XXXXXX");
	assert_non_null(mkdtemp(w.dir));
	issue(&w.ca, "ca", NULL, NULL, 86400);
	issue(&w.other_ca, "other-ca", NULL, NULL, 86400);
	issue(&w.server, "server", &w.ca, "IP:127.0.0.1", 86400);
	issue(&w.client, "client", &w.ca, NULL, 86400);
	issue(&w.expired, "expired", &w.ca, "IP:127.0.0.1", -3600);
	return 0;
}

static int
group_end(void **state)
{
	(void)state;
	forget(&w.ca);
	forget(&w.other_ca);
	forget(&w.server);
	forget(&w.client);
	forget(&w.expired);
	return rmdir(w.dir);
}

static int
setup(void **state)
{
	(void)state;
	w.http = http_new(4);
	w.a = arena_new(1 << 20);
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	http_free(w.http);
	arena_free(w.a);
	return 0;
}

static SSL_CTX *
context(const struct id *id, int max_version, const struct id *client_ca)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	SSL_CTX_use_certificate(ctx, id->cert);
	SSL_CTX_use_PrivateKey(ctx, id->key);
	SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
	SSL_CTX_set_max_proto_version(ctx, max_version);
	SSL_CTX_set_security_level(ctx, 0);
	SSL_CTX_set_session_id_context(ctx, (const unsigned char *)"x", 1);
	if (client_ca != NULL) {
		SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
		X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), client_ca->cert);
	}
	return ctx;
}

static void
answer_and_close(struct peer *p)
{
	if (p->ssl != NULL)
		w.resumed += SSL_session_reused(p->ssl);
	if (peer_request(p))
		peer_say(p, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
}

static void
answer_all(struct peer *p)
{
	while (peer_request(p))
		peer_say(p, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

static int
call(const char *url, struct http_tls tls, bool *connected, struct err *e)
{
	struct http_call c = { .url = url, .body = S("<Envelope/>"), .tls = tls, .connect_ms = 10000 };
	struct http_result r;

	err_clear(e);
	int rc = http_do(w.http, w.a, &c, &r, e);
	*connected = r.connected;
	return rc;
}

static void
server_is_verified_before_anything_is_sent(void **state)
{
	(void)state;
	const struct {
		const char *note;
		const struct id *server;
		int max_version;
		const char *ca_file, *host;
		enum err_kind want;
	} rows[] = {
		{ "right", &w.server, TLS1_3_VERSION, w.ca.cert_file, "127.0.0.1", ERR_NONE },
		{ "TLS 1.2", &w.server, TLS1_2_VERSION, w.ca.cert_file, "127.0.0.1", ERR_NONE },
		{ "TLS 1.1", &w.server, TLS1_1_VERSION, w.ca.cert_file, "127.0.0.1", ERR_ENDPOINT_TLS },
		{ "another CA", &w.server, TLS1_3_VERSION, w.other_ca.cert_file, "127.0.0.1", ERR_ENDPOINT_TLS },
		{ "the system's CAs", &w.server, TLS1_3_VERSION, NULL, "127.0.0.1", ERR_ENDPOINT_TLS },
		{ "another name", &w.server, TLS1_3_VERSION, w.ca.cert_file, "localhost", ERR_ENDPOINT_TLS },
		{ "no name", &w.client, TLS1_3_VERSION, w.ca.cert_file, "127.0.0.1", ERR_ENDPOINT_TLS },
		{ "expired", &w.expired, TLS1_3_VERSION, w.ca.cert_file, "127.0.0.1", ERR_ENDPOINT_TLS },
		{ "no CA file", &w.server, TLS1_3_VERSION, "/nonexistent", "127.0.0.1", ERR_ENDPOINT_TLS },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		SSL_CTX *ctx = context(rows[i].server, rows[i].max_version, NULL);
		struct server *s = server_start(answer_and_close, ctx);
		struct err e;
		bool connected;
		char url[80];
		snprintf(url, sizeof url, "https://%s:%s", rows[i].host, strrchr(s->url, ':') + 1);
		int rc = call(url, (struct http_tls){ .ca_file = rows[i].ca_file }, &connected, &e);
		if (e.kind != rows[i].want || rc != (rows[i].want == ERR_NONE ? 0 : -1))
			fail_msg("%s: %s %s", rows[i].note, err_name(e.kind), e.detail);
		assert_int_equal(connected, rc == 0);
		server_stop(s);
		assert_true(rc == 0 || rows[i].want != ERR_NONE);
		SSL_CTX_free(ctx);
	}
}

static void
client_certificate_is_shown_and_not_mixed_up(void **state)
{
	(void)state;
	SSL_CTX *ctx = context(&w.server, TLS1_3_VERSION, &w.ca);
	struct server *s = server_start(answer_and_close, ctx);
	struct err e;
	bool connected;
	const struct http_tls with = { w.ca.cert_file, w.client.cert_file, w.client.key_file };
	const struct http_tls without = { .ca_file = w.ca.cert_file };
	const struct http_tls wrong_key = { w.ca.cert_file, w.client.cert_file, w.server.key_file };

	for (int i = 0; i < 2; i++) {
		assert_ok(call(s->url, with, &connected, &e), &e);
		/* neither a warm connection nor a TLS session of the one may serve the other */
		assert_int_equal(call(s->url, without, &connected, &e), -1);
		assert_err(ERR_ENDPOINT_TLS, call(s->url, wrong_key, &connected, &e), &e);
	}
	assert_int_equal(s->requests, 2);
	server_stop(s);
	SSL_CTX_free(ctx);
}

static void
warm_connections_and_sessions_are_used_again(void **state)
{
	(void)state;
	SSL_CTX *ctx = context(&w.server, TLS1_3_VERSION, NULL);
	const struct http_tls tls = { .ca_file = w.ca.cert_file };
	struct err e;
	bool connected;

	struct server *s = server_start(answer_all, ctx);
	for (int i = 0; i < 5; i++)
		assert_ok(call(s->url, tls, &connected, &e), &e);
	assert_int_equal(s->connections, 1);
	http_free(w.http);
	w.http = http_new(0);	/* each call has a handle of its own */
	server_stop(s);
	s = server_start(answer_and_close, ctx);
	w.resumed = 0;
	for (int i = 0; i < 5; i++)
		assert_ok(call(s->url, tls, &connected, &e), &e);
	assert_int_equal(s->connections, 5);
	assert_int_equal(w.resumed, 4);
	server_stop(s);
	SSL_CTX_free(ctx);
}

static void
answer_unasked(struct peer *p)
{
	char c;

	if (peer_read(p, &c, 1) == 1)
		peer_say(p, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
}

static void
plain_server_at_an_https_address_is_a_tls_failure(void **state)
{
	(void)state;
	struct server *s = server_start(answer_unasked, NULL);
	struct err e;
	bool connected;
	char url[80];

	snprintf(url, sizeof url, "https%s", s->url + 4);
	assert_err(ERR_ENDPOINT_TLS, call(url, (struct http_tls){ .ca_file = w.ca.cert_file }, &connected, &e), &e);
	assert_false(connected);
	server_stop(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
		T(server_is_verified_before_anything_is_sent),
		T(client_certificate_is_shown_and_not_mixed_up),
		T(warm_connections_and_sessions_are_used_again),
		T(plain_server_at_an_https_address_is_a_tls_failure),
	};
	return cmocka_run_group_tests_name("tls", tests, group_start, group_end);
}
