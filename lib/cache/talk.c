#include "talk.h"

#include "clock.h"
#include "conv.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- connecting */

static int
connect_to(const struct sockaddr *address, socklen_t size, unsigned timeout_ms)
{
	int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int failed = 0, on = 1;

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
	if (connect(fd, address, size) < 0) {
		struct pollfd p = { fd, POLLOUT, 0 };
		socklen_t len = sizeof failed;
		if (errno != EINPROGRESS || poll(&p, 1, (int)timeout_ms) != 1 ||
		    getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &len) < 0 || failed != 0) {
			close(fd);
			return -1;
		}
	}
	return fd;
}

static int
connect_unix(const char *path, unsigned timeout_ms)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof address.sun_path)
		return -1;
	memcpy(address.sun_path, path, strlen(path) + 1);
	return connect_to((const struct sockaddr *)&address, sizeof address, timeout_ms);
}

static int
connect_tcp(const char *host, uint16_t port, unsigned timeout_ms)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *list;
	char service[8];
	int fd = -1;

	snprintf(service, sizeof service, "%u", (unsigned)port);
	if (getaddrinfo(host, service, &hints, &list) != 0)
		return -1;
	for (const struct addrinfo *i = list; i != NULL && fd < 0; i = i->ai_next)
		fd = connect_to(i->ai_addr, i->ai_addrlen, timeout_ms);
	freeaddrinfo(list);
	return fd;
}

int
talk_connect(const char *host, uint16_t port, unsigned timeout_ms)
{
	return host[0] == '/' ? connect_unix(host, timeout_ms) : connect_tcp(host, port, timeout_ms);
}

bool
talk_open(struct talk *t, const char *host, uint16_t port, unsigned timeout_ms)
{
	t->fd = talk_connect(host, port, timeout_ms);
	t->timeout_ms = timeout_ms;
	t->at = t->end = 0;
	return t->fd >= 0;
}

void
talk_close(struct talk *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}

/* ---- sending and reading */

static bool
give_up(struct talk *t)
{
	talk_close(t);
	return false;
}

static bool
ready(const struct talk *t, short events)
{
	struct pollfd p = { t->fd, events, 0 };
	int n;

	do
		n = poll(&p, 1, (int)t->timeout_ms);
	while (n < 0 && errno == EINTR);
	return n == 1;
}

bool
talk_send(struct talk *t, struct slice text)
{
	while (text.n > 0) {
		ssize_t sent = t->fd < 0 || !ready(t, POLLOUT) ? -1 : send(t->fd, text.p, text.n, MSG_NOSIGNAL);
		if (sent < 0)
			return give_up(t);
		text = slice_from(text, (size_t)sent);
	}
	return t->fd >= 0;
}

static bool
read_more(struct talk *t)
{
	memmove(t->in, t->in + t->at, t->end - t->at);
	t->end -= t->at;
	t->at = 0;
	if (t->fd < 0 || t->end == sizeof t->in || !ready(t, POLLIN))
		return give_up(t);
	ssize_t got = recv(t->fd, t->in + t->end, sizeof t->in - t->end, 0);
	if (got <= 0)
		return give_up(t);
	t->end += (size_t)got;
	return true;
}

bool
talk_line(struct talk *t, struct slice *line)
{
	const char *stop;

	while ((stop = memchr(t->in + t->at, '\n', t->end - t->at)) == NULL)
		if (!read_more(t))
			return false;
	*line = (struct slice){ t->in + t->at, (size_t)(stop - t->in) - t->at };
	t->at += line->n + 1;
	*line = slice_trim(*line);
	return true;
}

bool
talk_ask(struct talk *t, struct slice text, struct slice *line)
{
	return talk_send(t, text) && talk_line(t, line);
}

/* ---- what is asked */

bool
talk_stats(struct talk *t, struct talk_stats *out)
{
	int64_t crawling = 0;
	const struct { struct slice name; int64_t *to; } wanted[] = {
		{ S("STAT time "), &out->time }, { S("STAT uptime "), &out->uptime }, { S("STAT pid "), &out->pid },
		{ S("STAT curr_items "), &out->items }, { S("STAT evictions "), &out->evictions },
		{ S("STAT lru_crawler_running "), &crawling },
	};
	struct slice line;

	*out = (struct talk_stats){ .time = 0 };
	for (bool more = talk_ask(t, S("stats\r\n"), &line); more; more = talk_line(t, &line)) {
		if (slice_is(line, "END")) {
			out->crawling = crawling != 0;
			return true;
		}
		for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
			if (slice_skip(&line, wanted[i].name) && conv_number(line, INT64_MAX, wanted[i].to) < 0)
				return give_up(t);
	}
	return false;
}

bool
talk_get(struct talk *t, const char *key, char *out, size_t size)
{
	char text[300];
	struct slice line;

	snprintf(text, sizeof text, "get %s\r\n", key);
	out[0] = '\0';
	if (!talk_ask(t, slice_of(text), &line))
		return false;
	if (slice_is(line, "END"))
		return true;
	if (!slice_starts(line, S("VALUE ")) || !talk_line(t, &line))
		return give_up(t);
	snprintf(out, size, "%.*s", SLICE_FMT(line));
	return talk_line(t, &line) && slice_is(line, "END") ? true : give_up(t);
}

bool
talk_store(struct talk *t, const char *verb, const char *key, const char *value, unsigned ttl, bool *stored)
{
	char text[600];
	struct slice line;

	snprintf(text, sizeof text, "%s %s 0 %u %zu\r\n%s\r\n", verb, key, ttl, strlen(value), value);
	if (!talk_ask(t, slice_of(text), &line))
		return false;
	*stored = slice_is(line, "STORED");
	return *stored || slice_is(line, "NOT_STORED") ? true : give_up(t);
}
