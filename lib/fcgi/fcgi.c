/* The dispatcher: connections and threads.
 *
 * One thread (that of fcgi_run) accepts, and watches connections on which nothing is asked; a connection that
 * becomes readable is given to a thread of a pool, the one that was busy last, as its caches and its
 * warm connections to endpoints are the freshest. That thread reads the request and serves it blocking. Without
 * this, each connection that Apache keeps would hold a thread (libfcgi's own accept loop does so).
 *
 * When all threads are busy, connections wait in a bounded queue. One that finds the queue full, or has waited
 * too long in it, goes to a second small pool, the reserve, whose handler only ever answers "busy". Why threads and
 * not the dispatcher: even a refusal needs the request read and an answer written, either of which can
 * block, and nothing may ever block the dispatcher. When the reserve cannot keep up either, connections
 * are closed unread: Apache then tries another worker, as nothing of the request has been read.
 *
 * A connection is in exactly one list, or in the hands of one thread. All lists are under one lock. Its
 * descriptor is registered once and armed for one event; who holds the connection need not fear another event.
 *
 * Stop: the listening socket is emptied and closed, running and waiting requests are served, and connections are closed
 * when nothing is asked on them. Apache notices when it begins its next request there, and takes another
 * worker; a request that it has begun it can only repeat without the body already sent. So
 * what has arrived is served, and a connection is shut for reading before the last look whether something has. */
#include "fcgi.h"

#include "clock.h"
#include "log.h"
#include "must.h"
#include "serve.h"
#include "thread.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 4096		/* connect to a unix socket never times out: room for all of Apache's threads */
#define STACK_BYTES (512 * 1024)
#define SEND_SECONDS 60		/* for a web server that does not take a byte of its answer */
#define STALE_MS 500		/* at stop: for a web server that still sends a body which was answered */
#define RESERVE_THREADS 2
#define RESERVE_QUEUE 512
#define ACCEPT_PAUSE_MS 50	/* when descriptors have run out */
#define TELL_MS 1000		/* at most one line of the log in this time for descriptors that have run out */
#define TICK_MS 1000

struct conn {
	struct conn *prev, *next;
	int fd;
	bool stale;		/* the rest of an answered body may come */
	int64_t since;		/* when it came into its list */
};

struct list {
	struct conn *first, *last;
};

struct thread {
	struct pool *pool;
	struct thread *below;	/* in the stack of idle threads */
	pthread_t id;
	sem_t wake;		/* no condition: its waiter takes the lock again, which costs a futex call more at each wake */
	struct conn *job;	/* given by who takes the thread from the stack; NULL: the end */
	struct req *req;
};

struct pool {
	struct fcgi *f;
	fcgi_handler *handle;
	struct serve_limits limits;
	struct thread *threads;
	unsigned nthreads, started;
	struct thread *idle;
	struct list waiting;
	unsigned max_waiting;
	atomic_uint nwaiting;
	atomic_uint busy;	/* threads with a job; written under the lock */
	atomic_uint_fast64_t served;
};

struct fcgi {
	struct fcgi_conf conf;
	int listen_fd, epoll_fd, wake_fd;
	pthread_mutex_t lock;
	struct list idle;
	struct pool pool, reserve;
	int64_t accept_again;	/* 0: accepting */
	int64_t shortage_told;	/* 0: never */
	bool stopping;		/* under lock */
	bool stuck;		/* threads outlived fcgi_run */
	atomic_bool stop;	/* set by fcgi_stop */
};

/* ---- lists; all under the lock */

static void
list_put(struct list *l, struct conn *c)
{
	c->prev = l->last;
	c->next = NULL;
	c->since = clock_mono_ms();
	*(l->last == NULL ? &l->first : &l->last->next) = c;
	l->last = c;
}

static void
list_take(struct list *l, struct conn *c)
{
	*(l->first == c ? &l->first : &c->prev->next) = c->next;
	*(l->last == c ? &l->last : &c->next->prev) = c->prev;
}

static void
conn_close(struct conn *c)
{
	close(c->fd);
	free(c);
}

static void
take_and_close(struct list *l, struct conn *c)
{
	list_take(l, c);
	conn_close(c);
}

static void
close_all(struct list *l)
{
	while (l->first != NULL)
		take_and_close(l, l->first);
}

/* ---- threads */

static void
wake_dispatcher(struct fcgi *f)
{
	uint64_t one = 1;
	ssize_t n = write(f->wake_fd, &one, sizeof one);

	(void)n;	/* full means that it will wake anyhow */
}

static bool
has_bytes(const struct conn *c)
{
	char byte;

	return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

/* At stop: whether a connection must stay a while. A request that has come, or begun to come, is served; on a unix
 * socket nothing more can come after this, as the web server's next write fails. A stale one waits
 * until the web server has seen its answer. */
static bool
is_wanted_still(const struct conn *c)
{
	if (c->stale || has_bytes(c))
		return true;
	shutdown(c->fd, SHUT_RD);
	return has_bytes(c);
}

/* A connection whose request is over. */
static void
settle(struct fcgi *f, struct conn *c, enum serve_end end)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, .data.ptr = c };

	c->stale = end == SERVE_STALE;
	if (end == SERVE_CLOSE || (f->stopping && !is_wanted_still(c))) {
		conn_close(c);
	} else {
		list_put(&f->idle, c);
		if (epoll_ctl(f->epoll_fd, EPOLL_CTL_MOD, c->fd, &ev) < 0)
			take_and_close(&f->idle, c);
	}
	if (f->stopping)
		wake_dispatcher(f);
}

static void
sleep_until_woken(struct thread *t)
{
	while (sem_wait(&t->wake) < 0 && errno == EINTR)
		;
}

/* The next connection for this thread: from the queue, else what the dispatcher brings; NULL at the end.
 * Comes with the lock and gives it back. */
static struct conn *
next_job(struct thread *t)
{
	struct pool *p = t->pool;
	struct conn *c = p->waiting.first;

	if (c != NULL) {
		list_take(&p->waiting, c);
		p->nwaiting--;
		p->busy++;
		pthread_mutex_unlock(&p->f->lock);
		return c;
	}
	t->job = NULL;
	t->below = p->idle;
	p->idle = t;
	pthread_mutex_unlock(&p->f->lock);
	sleep_until_woken(t);
	return t->job;
}

static void *
run_thread(void *arg)
{
	struct thread *t = arg;
	struct pool *p = t->pool;
	struct fcgi *f = p->f;

	pthread_mutex_lock(&f->lock);
	for (struct conn *c; (c = next_job(t)) != NULL; ) {
		enum serve_end end = req_serve(t->req, c->fd, c->stale, &p->limits, p->handle, f->conf.ctx);
		pthread_mutex_lock(&f->lock);
		p->busy--;
		p->served += req_was_served(t->req);
		settle(f, c, end);
	}
	return NULL;
}

/* False when its queue is full. */
static bool
offer(struct pool *p, struct conn *c)
{
	struct thread *t = p->idle;

	if (t != NULL) {
		p->idle = t->below;
		t->job = c;
		p->busy++;
		sem_post(&t->wake);
		return true;
	}
	if (p->nwaiting >= p->max_waiting)
		return false;
	list_put(&p->waiting, c);
	p->nwaiting++;
	return true;
}

static void
refuse(struct fcgi *f, struct conn *c)
{
	if (!offer(&f->reserve, c))
		conn_close(c);
}

static int
pool_init(struct pool *p, struct fcgi *f, unsigned nthreads)
{
	p->f = f;
	p->nthreads = nthreads;
	p->threads = calloc(nthreads, sizeof *p->threads);
	if (p->threads == NULL)
		return -1;
	for (unsigned i = 0; i < nthreads; i++) {
		struct thread *t = &p->threads[i];
		t->pool = p;
		sem_init(&t->wake, 0, 0);
		t->req = req_new(f->conf.arena_cap);
		if (t->req == NULL)
			return -1;
	}
	return 0;
}

static void
pool_free(struct pool *p)
{
	for (unsigned i = 0; p->threads != NULL && i < p->nthreads; i++)
		req_free(p->threads[i].req);
	free(p->threads);
}

static int
pool_start(struct pool *p, struct err *e)
{
	pthread_attr_t attr;
	int rc = 0;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	for (; p->started < p->nthreads && rc == 0; p->started += rc == 0)
		rc = thread_start(&p->threads[p->started].id, &attr, run_thread, &p->threads[p->started]);
	pthread_attr_destroy(&attr);
	return rc == 0 ? 0 : err_set(e, ERR_INTERNAL, "thread %u: %s", p->started, strerror(rc));
}

/* When nobody has a job any more. A thread that is not yet asleep finds this when it would be. */
static void
pool_end(struct pool *p)
{
	for (unsigned i = 0; i < p->started; i++)
		sem_post(&p->threads[i].wake);
	for (unsigned i = 0; i < p->started; i++)
		pthread_join(p->threads[i].id, NULL);
	p->started = 0;
}

static void
end_threads(struct fcgi *f)
{
	pool_end(&f->pool);
	pool_end(&f->reserve);
}

/* ---- the dispatcher */

static void
add_conn(struct fcgi *f, int fd)
{
	struct timeval t = { SEND_SECONDS, 0 };
	int one = 1;
	struct conn *c = calloc(1, sizeof *c);

	if (c == NULL) {
		close(fd);
		return;
	}
	c->fd = fd;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);	/* no effect on a unix socket */
	struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, .data.ptr = c };
	pthread_mutex_lock(&f->lock);
	list_put(&f->idle, c);
	if (epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		take_and_close(&f->idle, c);
	pthread_mutex_unlock(&f->lock);
}

static void
watch_listener(struct fcgi *f, bool on)
{
	struct epoll_event ev = { .events = on ? EPOLLIN : 0, .data.ptr = NULL };

	epoll_ctl(f->epoll_fd, EPOLL_CTL_MOD, f->listen_fd, &ev);
	f->accept_again = on ? 0 : clock_mono_ms() + ACCEPT_PAUSE_MS;
}

static void
tell_shortage(struct fcgi *f, int why)
{
	int64_t now = clock_mono_ms();

	if (f->shortage_told != 0 && now - f->shortage_told < TELL_MS)
		return;
	f->shortage_told = now;
	log_msg(LOG_ERROR, "accept", "%s; idle connections are closed for those that ask", strerror(why));
}

static void
accept_all(struct fcgi *f)
{
	for (;;) {
		int fd = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0) {
			add_conn(f, fd);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			tell_shortage(f, errno);
			watch_listener(f, false);
			return;
		} else if (errno == EAGAIN || errno == EWOULDBLOCK) {
			return;
		}
	}
}

/* Something came on an idle connection: a request, or its end. Only behind an end must be looked whether there is something
 * before it. */
static void
ready(struct fcgi *f, struct conn *c, uint32_t events)
{
	list_take(&f->idle, c);
	if (events != EPOLLIN && !has_bytes(c))
		conn_close(c);
	else if (!offer(&f->pool, c))
		refuse(f, c);
}

static void
handle_event(struct fcgi *f, const struct epoll_event *ev)
{
	void *what = ev->data.ptr;

	if (what == NULL) {
		if (!f->stopping)
			accept_all(f);
		return;
	}
	if (what == f) {
		uint64_t n;
		ssize_t got = read(f->wake_fd, &n, sizeof n);
		(void)got;
		return;
	}
	pthread_mutex_lock(&f->lock);
	ready(f, what, ev->events);
	pthread_mutex_unlock(&f->lock);
}

/* Descriptors have run out: a connection on which nothing is asked gives way to one that wants to ask. The web server
 * sees that before it uses it again. Not while events are handled: one of them may be this connection's. */
static bool
make_room(struct fcgi *f)
{
	pthread_mutex_lock(&f->lock);
	struct conn *c = f->idle.first;
	while (c != NULL && has_bytes(c))
		c = c->next;
	if (c != NULL)
		take_and_close(&f->idle, c);
	pthread_mutex_unlock(&f->lock);
	return c != NULL;
}

/* What has waited long enough. Each list is in the order of arrival, so only its first matters. */
static void
expire(struct fcgi *f, int64_t now)
{
	pthread_mutex_lock(&f->lock);
	for (struct conn *c; (c = f->pool.waiting.first) != NULL && now - c->since >= f->conf.queue_ms; ) {
		list_take(&f->pool.waiting, c);
		f->pool.nwaiting--;
		refuse(f, c);
	}
	for (struct conn *c; f->stopping && (c = f->idle.first) != NULL && now - c->since >= STALE_MS; )
		take_and_close(&f->idle, c);
	pthread_mutex_unlock(&f->lock);
	if (f->accept_again != 0 && (make_room(f) || now >= f->accept_again))
		watch_listener(f, true);
}

static int
until(int64_t when, int64_t now, int so_far)
{
	int64_t left = when - now;

	return left < 0 ? 0 : left < so_far ? (int)left : so_far;
}

static int
next_timeout(struct fcgi *f, int64_t now)
{
	int ms = f->stopping ? STALE_MS / 5 : TICK_MS;

	pthread_mutex_lock(&f->lock);
	if (f->pool.waiting.first != NULL)
		ms = until(f->pool.waiting.first->since + f->conf.queue_ms, now, ms);
	pthread_mutex_unlock(&f->lock);
	return f->accept_again == 0 ? ms : until(f->accept_again, now, ms);
}

/* The number of events there were. */
static int
turn(struct fcgi *f, int most_ms)
{
	struct epoll_event ev[64];
	int64_t now = clock_mono_ms();
	int ms = next_timeout(f, now);

	int n = epoll_wait(f->epoll_fd, ev, sizeof ev / sizeof *ev, ms < most_ms ? ms : most_ms);
	for (int i = 0; i < n; i++)
		handle_event(f, &ev[i]);
	expire(f, clock_mono_ms());
	return n;
}

static void
close_listener(struct fcgi *f)
{
	if (f->listen_fd >= 0)
		close(f->listen_fd);
	f->listen_fd = -1;
}

/* Nothing new after this. What has been asked already is still served. */
static void
begin_stop(struct fcgi *f)
{
	accept_all(f);		/* those in the backlog would otherwise be reset with their request in them */
	f->accept_again = 0;
	close_listener(f);
	pthread_mutex_lock(&f->lock);
	f->stopping = true;
	pthread_mutex_unlock(&f->lock);
	/* requests that lie there already go the usual way; bounded, as an old body can bring events for long */
	for (int i = 0; i < 1000 && turn(f, 0) > 0; i++)
		;
	pthread_mutex_lock(&f->lock);
	for (struct conn *c = f->idle.first, *after; c != NULL; c = after) {
		after = c->next;
		if (!is_wanted_still(c))	/* else its event comes */
			take_and_close(&f->idle, c);
	}
	pthread_mutex_unlock(&f->lock);
}

static bool
is_at_rest(const struct pool *p)
{
	return p->busy == 0 && p->waiting.first == NULL;
}

static bool
is_done(struct fcgi *f)
{
	pthread_mutex_lock(&f->lock);
	bool done = is_at_rest(&f->pool) && is_at_rest(&f->reserve) && f->idle.first == NULL;
	pthread_mutex_unlock(&f->lock);
	return done;
}

static int
drain_all(struct fcgi *f, unsigned drain_ms, struct err *e)
{
	int64_t end = clock_mono_ms() + drain_ms;

	while (!is_done(f) && clock_mono_ms() < end)
		turn(f, until(end, clock_mono_ms(), TICK_MS));
	pthread_mutex_lock(&f->lock);
	close_all(&f->idle);
	close_all(&f->pool.waiting);
	close_all(&f->reserve.waiting);
	f->pool.nwaiting = f->reserve.nwaiting = 0;
	pthread_mutex_unlock(&f->lock);
	if (is_done(f))
		return 0;
	f->stuck = true;
	return err_set(e, ERR_BUSY, "%u requests still run after %u ms", f->pool.busy + f->reserve.busy, drain_ms);
}

int
fcgi_run(struct fcgi *f, unsigned drain_ms, struct err *e)
{
	must(f->listen_fd >= 0);
	if (pool_start(&f->pool, e) < 0 || pool_start(&f->reserve, e) < 0) {
		end_threads(f);
		return -1;
	}
	while (!atomic_load(&f->stop))
		turn(f, TICK_MS);
	begin_stop(f);
	if (drain_all(f, drain_ms, e) < 0)
		return -1;
	end_threads(f);
	return 0;
}

void
fcgi_stop(struct fcgi *f)
{
	int saved = errno;

	atomic_store(&f->stop, true);
	wake_dispatcher(f);
	errno = saved;
}

void
fcgi_stats(const struct fcgi *f, struct fcgi_stats *out)
{
	*out = (struct fcgi_stats){
		.served = atomic_load(&f->pool.served), .refused = atomic_load(&f->reserve.served),
		.busy = atomic_load(&f->pool.busy), .waiting = atomic_load(&f->pool.nwaiting),
		.threads = f->conf.threads,
	};
}

/* ---- listening */

/* Bound beside and renamed over: there is no moment at which a connect finds nothing, and the file of a
 * worker that was killed is no obstacle. */
static int
listen_unix(const char *path, struct err *e)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct stat st;

	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
		return err_set(e, ERR_CONFIG, "%s is there and is not a socket", path);
	if (snprintf(sa.sun_path, sizeof sa.sun_path, "%s.new", path) >= (int)sizeof sa.sun_path)
		return err_set(e, ERR_CONFIG, "%s is too long for a socket", path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(e, ERR_CONFIG, "socket: %s", strerror(errno));
	unlink(sa.sun_path);
	if (bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 || listen(fd, BACKLOG) < 0 ||
	    rename(sa.sun_path, path) < 0) {
		err_set(e, ERR_CONFIG, "listen on %s: %s", path, strerror(errno));
		close(fd);
		return -1;
	}
	return fd;
}

static int
bind_one(const struct addrinfo *ai)
{
	int one = 1;
	int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	int saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

/* "127.0.0.1:9000" or "[::1]:9000" */
static int
listen_tcp(const char *text, struct err *e)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *found;
	const char *colon = strrchr(text, ':');
	char host[256];

	if (colon == NULL || colon == text || (size_t)(colon - text) >= sizeof host)
		return err_set(e, ERR_CONFIG, "%s is neither a path nor host:port", text);
	bool bracket = text[0] == '[' && colon[-1] == ']';
	snprintf(host, sizeof host, "%.*s", (int)(colon - text) - 2 * bracket, text + bracket);
	int rc = getaddrinfo(host, colon + 1, &hints, &found);
	if (rc != 0)
		return err_set(e, ERR_CONFIG, "%s: %s", text, gai_strerror(rc));
	int fd = bind_one(found);
	if (fd < 0)
		err_set(e, ERR_CONFIG, "listen on %s: %s", text, strerror(errno));
	freeaddrinfo(found);
	return fd;
}

static int
watch(struct fcgi *f, int fd, void *what)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = what };

	return epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

static int
open_all(struct fcgi *f, struct err *e)
{
	const char *where = f->conf.listen;

	f->listen_fd = strchr(where, '/') != NULL ? listen_unix(where, e) : listen_tcp(where, e);
	if (f->listen_fd < 0)
		return -1;
	f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	f->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (f->epoll_fd < 0 || f->wake_fd < 0 || watch(f, f->listen_fd, NULL) < 0 || watch(f, f->wake_fd, f) < 0)
		return err_set(e, ERR_INTERNAL, "epoll: %s", strerror(errno));
	if (pool_init(&f->pool, f, f->conf.threads) < 0 || pool_init(&f->reserve, f, RESERVE_THREADS) < 0)
		return err_set(e, ERR_MEMORY, "threads");
	return 0;
}

struct fcgi *
fcgi_new(const struct fcgi_conf *conf, struct err *e)
{
	must(conf->threads > 0 && conf->handle != NULL && conf->refuse != NULL);
	req_init();
	struct fcgi *f = calloc(1, sizeof *f);
	if (f == NULL) {
		err_set(e, ERR_MEMORY, "fcgi");
		return NULL;
	}
	f->conf = *conf;
	f->listen_fd = f->epoll_fd = f->wake_fd = -1;
	pthread_mutex_init(&f->lock, NULL);
	f->pool.handle = conf->handle;
	f->pool.max_waiting = conf->queue;
	f->pool.limits = (struct serve_limits){ .head_ms = 5000, .drain_ms = 1000, .drain_bytes = 16 * 1024 };
	/* a refusal is prompt or not at all */
	f->reserve.handle = conf->refuse;
	f->reserve.max_waiting = RESERVE_QUEUE;
	f->reserve.limits = (struct serve_limits){ .head_ms = 100, .drain_ms = 50, .drain_bytes = 16 * 1024 };
	if (open_all(f, e) < 0) {
		fcgi_free(f);
		return NULL;
	}
	return f;
}

void
fcgi_free(struct fcgi *f)
{
	if (f == NULL || f->stuck)	/* its threads still use it */
		return;
	close_listener(f);
	if (f->epoll_fd >= 0)
		close(f->epoll_fd);
	if (f->wake_fd >= 0)
		close(f->wake_fd);
	pool_free(&f->pool);
	pool_free(&f->reserve);
	free(f);
}
