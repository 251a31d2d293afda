/* A real memcached of the test's own, on a unix socket in a temporary folder or a free loopback port. Include after
 * unit.h.
 *
 *	struct memcached *m = memcached_start(MEMCACHED_UNIX);	or MEMCACHED_TCP
 *	.host = m->host, .port = m->port
 *	memcached_kill(m); memcached_restart(m);	empty, at the same address
 *	memcached_replace(m);	a unix socket: another, empty, takes over without a moment of nobody listening
 *	memcached_freeze(m); memcached_thaw(m);		SIGSTOP and SIGCONT
 *	memcached_end(m);
 *
 * It ends with the thread that started it, whatever happens to that. */
#ifndef MEMCACHED_H
#define MEMCACHED_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum memcached_kind { MEMCACHED_UNIX, MEMCACHED_TCP };
struct memcached {
	char host[64];		/* address, or path of the socket */
	char dir[32];
	uint16_t port;		/* 0: a unix socket */
	pid_t pid;		/* 0: not running */
};

static inline uint16_t
memcached_free_port(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof in;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&in, size) == 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &size), 0);
	close(fd);
	return ntohs(in.sin_port);
}

/* A connection of one's own; -1 when nobody listens. */
static inline int
memcached_connect(const struct memcached *m)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons(m->port) };
	int fd = socket(m->port == 0 ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(un.sun_path, sizeof un.sun_path, "%s", m->host);
	int r = m->port == 0 ? connect(fd, (struct sockaddr *)&un, sizeof un) :
	    connect(fd, (struct sockaddr *)&in, sizeof in);
	if (r == 0)
		return fd;
	close(fd);
	return -1;
}

static inline void
memcached_exec(const struct memcached *m)
{
	char port[8];
	int null = open("/dev/null", O_RDWR);

	snprintf(port, sizeof port, "%u", (unsigned)m->port);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(null, 1);
	dup2(null, 2);
	if (m->port == 0)
		execlp("memcached", "memcached", "-u", "root", "-t", "2", "-m", "64", "-s", m->host,
		    (char *)NULL);
	else
		execlp("memcached", "memcached", "-u", "root", "-t", "2", "-m", "64", "-l", m->host,
		    "-p", port, "-U", "0", (char *)NULL);
	_exit(127);
}

/* Starts it, empty, and waits until it takes connections. */
static inline void
memcached_restart(struct memcached *m)
{
	assert_int_equal(m->pid, 0);
	m->pid = fork();
	assert_true(m->pid >= 0);
	if (m->pid == 0)
		memcached_exec(m);
	for (int i = 0; i < 2000; i++) {
		int fd = memcached_connect(m);
		if (fd >= 0) {
			close(fd);
			return;
		}
		if (waitpid(m->pid, NULL, WNOHANG) != 0)
			break;
		usleep(2000);
	}
	fail_msg("memcached does not start at %s:%u", m->host, (unsigned)m->port);
}

static inline struct memcached *
memcached_start(enum memcached_kind kind)
{
	struct memcached *m = calloc(1, sizeof *m);

	assert_non_null(m);
	snprintf(m->dir, sizeof m->dir, "/tmp/sosigw-mc-XXXXXX");
	assert_non_null(mkdtemp(m->dir));
	if (kind == MEMCACHED_TCP) {
		m->port = memcached_free_port();
		snprintf(m->host, sizeof m->host, "127.0.0.1");
	} else {
		snprintf(m->host, sizeof m->host, "%s/s", m->dir);
	}
	memcached_restart(m);
	return m;
}

static inline void
memcached_kill(struct memcached *m)
{
	kill(m->pid, SIGKILL);
	waitpid(m->pid, NULL, 0);
	m->pid = 0;
}

static inline void
memcached_freeze(struct memcached *m)
{
	kill(m->pid, SIGSTOP);
	waitpid(m->pid, NULL, WUNTRACED);
}

static inline void
memcached_thaw(struct memcached *m)
{
	kill(m->pid, SIGCONT);
}

static inline void
memcached_end(struct memcached *m)
{
	if (m->pid != 0)
		memcached_kill(m);
	unlink(m->host);
	rmdir(m->dir);
	free(m);
}

/* ---- its content, seen past the library under test */

/* Sends a request in the text protocol and reads an answer that ends with `end`; its size. */
static inline size_t
memcached_talk(const struct memcached *m, struct slice request, const char *end, char *answer, size_t size)
{
	int fd = memcached_connect(m);
	size_t n = 0, tail = strlen(end);

	assert_true(fd >= 0);
	for (size_t sent = 0; sent < request.n;) {
		ssize_t w = send(fd, request.p + sent, request.n - sent, MSG_NOSIGNAL);
		assert_true(w > 0);
		sent += (size_t)w;
	}
	while (n < tail || memcmp(answer + n - tail, end, tail) != 0) {
		assert_true(n < size);
		ssize_t r = recv(fd, answer + n, size - n, 0);
		assert_true(r > 0);
		n += (size_t)r;
	}
	close(fd);
	return n;
}

/* One figure of `stats`. */
static inline long
memcached_stat(const struct memcached *m, const char *name)
{
	char answer[16384], line[80];
	size_t n = memcached_talk(m, S("stats\r\n"), "END\r\n", answer, sizeof answer - 1);

	answer[n] = '\0';
	snprintf(line, sizeof line, "STAT %s ", name);
	char *at = strstr(answer, line);
	assert_non_null(at);
	return atol(at + strlen(line));
}

static inline long
memcached_items(const struct memcached *m)
{
	return memcached_stat(m, "curr_items");
}

/* The bytes under a key, in the arena; absent when there are none. */
static inline struct slice
memcached_read(const struct memcached *m, struct arena *a, const char *key)
{
	const size_t size = 1100000;
	char *answer = arena_alloc(a, size);
	struct slice request = arena_printf(a, "get %s\r\n", key);
	unsigned long bytes;

	assert_non_null(answer);
	size_t n = memcached_talk(m, request, "END\r\n", answer, size - 1);
	char *line = memchr(answer, '\n', n);
	if (sscanf(answer, "VALUE %*s %*u %lu", &bytes) != 1)
		return (struct slice){ NULL, 0 };
	return (struct slice){ line + 1, bytes };
}

static inline void
memcached_write(const struct memcached *m, struct arena *a, const char *key, struct slice bytes)
{
	struct slice head = arena_printf(a, "set %s 0 0 %zu\r\n", key, bytes.n);
	char *request = arena_alloc(a, head.n + bytes.n + 2), answer[64];

	assert_non_null(request);
	memcpy(request, head.p, head.n);
	if (bytes.n > 0)
		memcpy(request + head.n, bytes.p, bytes.n);
	memcpy(request + head.n + bytes.n, "\r\n", 2);
	memcached_talk(m, (struct slice){ request, head.n + bytes.n + 2 }, "STORED\r\n", answer, sizeof answer);
}

/* Up to max keys in the arena; how many there are. */
static inline size_t
memcached_keys(const struct memcached *m, struct arena *a, char **keys, size_t max)
{
	const size_t size = 1 << 20;
	char *answer = arena_alloc(a, size), *at = answer;
	size_t found = 0;

	assert_non_null(answer);
	answer[memcached_talk(m, S("lru_crawler metadump all\r\n"), "END\r\n", answer, size - 1)] = '\0';
	while ((at = strstr(at, "key=")) != NULL) {
		at += 4;
		if (found < max)
			keys[found] = arena_cstr(a, (struct slice){ at, strcspn(at, " ") });
		found++;
	}
	return found;
}

static inline void
memcached_replace(struct memcached *m)
{
	struct memcached next = *m;

	assert_int_equal(m->port, 0);
	next.pid = 0;
	snprintf(next.host, sizeof next.host, "%s/n", m->dir);
	memcached_restart(&next);
	assert_int_equal(rename(next.host, m->host), 0);
	memcached_kill(m);
	m->pid = next.pid;
}

#endif
