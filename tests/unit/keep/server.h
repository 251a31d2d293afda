/* A web server for tests: one thread, one answer per connection, what it answers is set by the test. Include after
 * unit.h. */
#ifndef SERVER_H
#define SERVER_H

#include "slice.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAGES 4

struct page {
	const char *path;
	int status;			/* 0: accepts and never answers */
	struct slice body;
	const char *etag;		/* answered with 304 when it is asked for */
	unsigned asked, unchanged;	/* how often, and with 304 */
};
struct server {
	int fd;
	pthread_t thread;
	pthread_mutex_t lock;
	bool stop;
	char base[64];			/* "http://127.0.0.1:port" */
	struct page pages[PAGES];
	int silent[64];			/* connections that are left hanging */
	unsigned nsilent;
};

static inline void
server_answer(struct server *s, int fd, const char *request)
{
	char head[512];
	struct slice body = { NULL, 0 };
	int status = 404;
	const char *etag = NULL;

	for (size_t i = 0; i < PAGES && s->pages[i].path != NULL; i++) {
		struct page *p = &s->pages[i];
		if (strncmp(request + 4, p->path, strlen(p->path)) != 0 || request[4 + strlen(p->path)] != ' ')
			continue;
		p->asked++;
		if (p->status == 0) {
			s->silent[s->nsilent++ % 64] = fd;
			return;
		}
		status = p->status;
		body = p->body;
		etag = p->etag;
		if (etag != NULL && strstr(request, "If-None-Match") != NULL && strstr(request, etag) != NULL) {
			p->unchanged++;
			status = 304;
			body.n = 0;
		}
	}
	int n = snprintf(head, sizeof head, "HTTP/1.1 %d X\r\n%s%s%sContent-Length: %zu\r\nConnection: close\r\n\r\n", status,
	    etag == NULL ? "" : "ETag: ", etag == NULL ? "" : etag, etag == NULL ? "" : "\r\n", body.n);
	if (status == 304)
		n = snprintf(head, sizeof head, "HTTP/1.1 304 X\r\nConnection: close\r\n\r\n");
	if (send(fd, head, (size_t)n, MSG_NOSIGNAL) == n)
		send(fd, body.p, body.n, MSG_NOSIGNAL);
	close(fd);
}

static inline void *
server_run(void *arg)
{
	struct server *s = arg;

	for (;;) {
		char request[4096];
		size_t n = 0;
		int fd = accept(s->fd, NULL, NULL);
		if (fd < 0)
			return NULL;
		ssize_t got = 1;
		while (got > 0 && n < sizeof request - 1) {
			got = recv(fd, request + n, sizeof request - 1 - n, 0);
			n += got > 0 ? (size_t)got : 0;
			request[n] = '\0';
			if (strstr(request, "\r\n\r\n") != NULL)
				break;
		}
		pthread_mutex_lock(&s->lock);
		bool stop = s->stop;
		if (stop)
			close(fd);
		else
			server_answer(s, fd, request);
		pthread_mutex_unlock(&s->lock);
		if (stop)
			return NULL;
	}
}

static inline void
server_start(struct server *s)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof at;

	memset(s, 0, sizeof *s);
	pthread_mutex_init(&s->lock, NULL);
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(listen(s->fd, 16), 0);
	assert_int_equal(getsockname(s->fd, (struct sockaddr *)&at, &n), 0);
	snprintf(s->base, sizeof s->base, "http://127.0.0.1:%u", ntohs(at.sin_port));
	assert_int_equal(pthread_create(&s->thread, NULL, server_run, s), 0);
}

static inline void
server_set(struct server *s, size_t i, struct page page)
{
	pthread_mutex_lock(&s->lock);
	s->pages[i] = page;
	pthread_mutex_unlock(&s->lock);
}

static inline struct page
server_page(struct server *s, size_t i)
{
	pthread_mutex_lock(&s->lock);
	struct page page = s->pages[i];
	pthread_mutex_unlock(&s->lock);
	return page;
}

static inline void
server_stop(struct server *s)
{
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_mutex_unlock(&s->lock);
	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
	for (unsigned i = 0; i < s->nsilent && i < 64; i++)
		close(s->silent[i]);
	pthread_mutex_destroy(&s->lock);
}

#endif
