/* The watcher keeps a connection of its own to every node. When it breaks, the node was restarted or is gone: its
 * content may be lost, which no request would notice on a key whose first copy is elsewhere. Once a second it asks
 * for the version, so that a node that hangs is mostly found here and not by a request. A node that is down is tried
 * after 500 ms, then at doubled intervals up to 2 s, by this one thread: requests never pay for a probe. */
#include "watch.h"

#include "clock.h"
#include "log.h"
#include "must.h"
#include "talk.h"
#include "thread.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ASK_EVERY_MS = 1000, WAIT_FIRST_MS = 500 };

struct watched {
	struct node *node;
	int fd;			/* -1: not connected */
	int64_t due;		/* when to look again */
	unsigned wait;		/* the last wait while it is down; 0: it is up */
};

struct watch {
	pthread_t thread;
	int wake;
	atomic_bool stop;
	size_t n;
	struct watched nodes[];
};

/* Does it answer in time? Also shows that the other end is memcached and not a stopped process's backlog. */
static bool
answers(int fd, unsigned timeout_ms)
{
	static const char question[] = "version\r\n", start[] = "VERSION ";
	char answer[128];
	size_t got = 0;
	int64_t end = clock_mono_ms() + timeout_ms;

	if (send(fd, question, sizeof question - 1, MSG_NOSIGNAL) != sizeof question - 1)
		return false;
	do {
		struct pollfd p = { fd, POLLIN, 0 };
		int64_t left = end - clock_mono_ms();
		if (left <= 0 || got == sizeof answer || poll(&p, 1, (int)left) != 1)
			return false;
		ssize_t r = recv(fd, answer + got, sizeof answer - got, 0);
		if (r <= 0)
			return false;
		got += (size_t)r;
	} while (answer[got - 1] != '\n');
	return got > sizeof start && memcmp(answer, start, sizeof start - 1) == 0;
}

static void
drop(struct watched *w)
{
	if (w->fd >= 0)
		close(w->fd);
	w->fd = -1;
}

static void
went_down(struct watched *w, int64_t now)
{
	drop(w);
	if (atomic_exchange(&w->node->up, false)) {
		node_lost(w->node);
		log_msg(LOG_WARN, "cache-node-down", "%s:%u does not answer", w->node->host,
		    (unsigned)w->node->port);
	}
	w->wait = w->wait == 0 ? WAIT_FIRST_MS : 2 * w->wait;
	if (w->wait > WATCH_BACK_MS)
		w->wait = WATCH_BACK_MS;
	w->due = now + w->wait;
	node_trim(w->node);
}

static void
look(struct watched *w)
{
	struct node *n = w->node;
	bool was_connected = w->fd >= 0;

	if (!was_connected)
		w->fd = talk_connect(n->host, n->port, n->timeout_ms);
	if (w->fd < 0 || !answers(w->fd, n->timeout_ms)) {
		went_down(w, clock_mono_ms());
		return;
	}
	w->wait = 0;
	w->due = clock_mono_ms() + ASK_EVERY_MS;
	if (!was_connected)
		node_lost(n);	/* whatever it holds was not seen being written */
	if (!atomic_load(&n->up)) {
		log_msg(LOG_INFO, "cache-node-up", "%s:%u answers again", n->host, (unsigned)n->port);
		atomic_store(&n->up, true);
	}
}

/* readable: nothing was asked, so it is the end of the connection: a restart, when another can be made at once. */
static void
visit(struct watched *w, bool readable)
{
	if (atomic_exchange(&w->node->failed, false)) {
		went_down(w, clock_mono_ms());
		return;
	}
	if (readable) {
		drop(w);
		w->due = 0;
	}
	if (clock_mono_ms() >= w->due)
		look(w);
}

static int
wait_for_events(struct watch *w, struct pollfd *fds)
{
	int64_t next = INT64_MAX, now = clock_mono_ms();

	fds[w->n] = (struct pollfd){ w->wake, POLLIN, 0 };
	for (size_t i = 0; i < w->n; i++) {
		fds[i] = (struct pollfd){ w->nodes[i].fd, POLLIN, 0 };	/* poll skips -1 */
		if (w->nodes[i].due < next)
			next = w->nodes[i].due;
	}
	return poll(fds, w->n + 1, next <= now ? 0 : (int)(next - now));
}

static void *
run(void *arg)
{
	struct watch *w = arg;
	struct pollfd *fds = calloc(w->n + 1, sizeof *fds);
	uint64_t count;

	must(fds != NULL);
	while (!atomic_load(&w->stop)) {
		if (wait_for_events(w, fds) < 0)
			continue;
		if (fds[w->n].revents != 0 && read(w->wake, &count, sizeof count) < 0)
			must(errno == EAGAIN);
		for (size_t i = 0; i < w->n && !atomic_load(&w->stop); i++)
			visit(&w->nodes[i], fds[i].revents != 0);
	}
	for (size_t i = 0; i < w->n; i++)
		drop(&w->nodes[i]);
	free(fds);
	return NULL;
}

struct watch *
watch_new(struct node *nodes, size_t n, struct err *e)
{
	struct watch *w = calloc(1, sizeof *w + n * sizeof *w->nodes);

	if (w == NULL) {
		err_set(e, ERR_MEMORY, "watcher of cache nodes");
		return NULL;
	}
	w->n = n;
	w->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	for (size_t i = 0; i < n; i++) {
		w->nodes[i] = (struct watched){ .node = &nodes[i], .fd = -1 };
		nodes[i].wake = w->wake;
	}
	if (w->wake < 0 || thread_start(&w->thread, NULL, run, w) != 0) {
		err_set(e, ERR_INTERNAL, "watcher of cache nodes: %s", strerror(errno));
		if (w->wake >= 0)
			close(w->wake);
		free(w);
		return NULL;
	}
	return w;
}

void
watch_free(struct watch *w)
{
	uint64_t one = 1;

	if (w == NULL)
		return;
	atomic_store(&w->stop, true);
	must(write(w->wake, &one, sizeof one) == sizeof one);
	pthread_join(w->thread, NULL);
	close(w->wake);
	free(w);
}
