/* A scripted endpoint on loopback: one thread, one connection after the other, each given to the script. */
#ifndef SERVER_H
#define SERVER_H

#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

struct peer {			/* one connection, plain or TLS */
	int fd;
	SSL *ssl;
	struct server *server;
	int number;		/* 0 for the first connection */
};

struct server {
	int fd;
	pthread_t thread;
	char url[64];
	void (*script)(struct peer *p);
	SSL_CTX *tls;
	atomic_int connections, requests;	/* requests: seen whole */
	atomic_int heads;			/* request heads seen whole */
	atomic_bool quit;
	char head[65536];	/* of the last request */
	char body[1 << 20];	/* its first bytes */
	size_t body_n;		/* all of it */
};

static inline ssize_t
peer_read(struct peer *p, void *out, size_t n)
{
	return p->ssl != NULL ? SSL_read(p->ssl, out, (int)n) : recv(p->fd, out, n, 0);
}

static inline bool
peer_send(struct peer *p, const char *text, size_t n)
{
	if (p->ssl != NULL)
		return SSL_write(p->ssl, text, (int)n) == (int)n;
	for (size_t at = 0; at < n; ) {
		ssize_t k = send(p->fd, text + at, n - at, MSG_NOSIGNAL);
		if (k <= 0)
			return false;
		at += (size_t)k;
	}
	return true;
}

static inline bool
peer_say(struct peer *p, const char *text)
{
	return peer_send(p, text, strlen(text));
}

/* A line with its end; false at the end of the connection. */
static inline bool
peer_line(struct peer *p, char *line, size_t size)
{
	size_t n = 0;

	while (n + 1 < size && peer_read(p, line + n, 1) == 1)
		if (line[n++] == '\n') {
			line[n] = '\0';
			return true;
		}
	return false;
}

static inline bool
peer_body(struct peer *p, size_t n)
{
	struct server *s = p->server;
	char block[16384];

	while (n > 0) {
		ssize_t k = peer_read(p, block, n < sizeof block ? n : sizeof block);
		if (k <= 0)
			return false;
		if (s->body_n + (size_t)k < sizeof s->body)
			memcpy(s->body + s->body_n, block, (size_t)k);
		s->body_n += (size_t)k;
		n -= (size_t)k;
	}
	return true;
}

static inline bool
peer_head(struct peer *p)
{
	struct server *s = p->server;
	char line[8192];

	/* what came before stays to be looked at until the next request begins */
	for (bool first = true; first || strcmp(line, "\r\n") != 0; first = false) {
		if (!peer_line(p, line, sizeof line))
			return false;
		if (first) {
			s->head[0] = '\0';
			s->body_n = 0;
		}
		strncat(s->head, line, sizeof s->head - strlen(s->head) - 1);
	}
	s->heads++;
	return true;
}

/* Reads one request; true when it came whole. */
static inline bool
peer_request(struct peer *p)
{
	struct server *s = p->server;
	char line[64];

	if (!peer_head(p))
		return false;
	const char *length = strcasestr(s->head, "\r\nContent-Length: ");
	if (length != NULL && !peer_body(p, strtoull(length + 18, NULL, 10)))
		return false;
	if (strcasestr(s->head, "\r\nTransfer-Encoding: chunked") != NULL)
		for (size_t n = 1; n > 0; ) {
			if (!peer_line(p, line, sizeof line))
				return false;
			n = strtoull(line, NULL, 16);
			if (!peer_body(p, n) || !peer_line(p, line, sizeof line))
				return false;
		}
	s->requests++;
	return true;
}

/* Until the client has closed. */
static inline void
peer_wait_closed(struct peer *p)
{
	char block[4096];

	while (peer_read(p, block, sizeof block) > 0)
		;
}

static inline void
server_one(struct server *s, int fd)
{
	struct timeval t = { 20, 0 };
	struct peer p = { fd, NULL, s, s->connections++ };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
	if (s->tls != NULL) {
		p.ssl = SSL_new(s->tls);
		SSL_set_fd(p.ssl, fd);
	}
	if (p.ssl == NULL || SSL_accept(p.ssl) == 1)
		s->script(&p);
	if (p.ssl != NULL) {
		SSL_shutdown(p.ssl);
		SSL_free(p.ssl);
	}
	close(fd);
}

static inline void *
server_run(void *arg)
{
	struct server *s = arg;

	while (!s->quit) {
		int fd = accept(s->fd, NULL, NULL);
		if (fd < 0)
			break;
		if (s->quit)
			close(fd);
		else
			server_one(s, fd);
	}
	return NULL;
}

static inline struct server *
server_start(void (*script)(struct peer *p), SSL_CTX *tls)
{
	struct server *s = calloc(1, sizeof *s);
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof sa;

	s->fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&sa, sizeof sa), 0);
	assert_int_equal(listen(s->fd, 64), 0);
	getsockname(s->fd, (struct sockaddr *)&sa, &n);
	snprintf(s->url, sizeof s->url, "%s://127.0.0.1:%d/service?x=1", tls != NULL ? "https" : "http",
	    ntohs(sa.sin_port));
	s->script = script;
	s->tls = tls;
	assert_int_equal(pthread_create(&s->thread, NULL, server_run, s), 0);
	return s;
}

/* After the client's handles are freed: a script may wait for their connections to end. */
static inline void
server_stop(struct server *s)
{
	s->quit = true;
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
	free(s);
}

#endif
