#include "peer.h"
#include "descriptors.h"

#include "fcgi.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>

struct worker {
	char dir[64], path[96];
	struct fcgi *f;
	pthread_t thread;
	struct fcgi_conf conf;
	unsigned drain_ms;
	int rc;
	struct err e;
	sem_t entered, leave;	/* of /wait */
	atomic_int handled;
	char ids[2][32];	/* the last two request ids */
	struct err read_error;
};

static const struct req_header text[] = { { "Content-Type", { "text/plain", 10 } } };

static void
say(struct req *r, struct slice s)
{
	struct err e = { 0 };

	assert_int_equal(req_answer(r, 200, text, 1, &e), 0);
	assert_int_equal(req_write(r, s, &e), 0);
}

/* Answers with what it read. */
static void
echo(struct worker *w, struct req *r)
{
	static char body[1 << 20];
	size_t n = 0;
	ssize_t k;

	w->read_error = (struct err){ 0 };
	while ((k = req_read(r, body + n, sizeof body - n, &w->read_error)) > 0)
		n += (size_t)k;
	if (k < 0) {
		struct err again = { 0 };
		assert_int_equal(req_read(r, body, 1, &again), -1);
		assert_int_equal(again.kind, ERR_BODY_CUT);
		say(r, S("cut"));
	} else {
		assert_int_equal(req_bytes_in(r), n);
		say(r, (struct slice){ body, n });
		assert_int_equal(req_bytes_out(r), n);
	}
}

static void
handle(void *ctx, struct req *r)
{
	struct worker *w = ctx;
	struct slice what = req_param(r, "SCRIPT_NAME");
	struct err e = { 0 };

	memcpy(w->ids[0], w->ids[1], sizeof w->ids[0]);
	snprintf(w->ids[1], sizeof w->ids[1], "%.*s", SLICE_FMT(req_id(r)));
	if (slice_is(what, "/echo")) {
		echo(w, r);
	} else if (slice_is(what, "/all")) {	/* of four bytes at most */
		struct slice body = { NULL, 0 };
		w->read_error = (struct err){ 0 };
		say(r, req_read_all(r, 4, &body, &w->read_error) == 0 ? body : S("refused"));
	} else if (slice_is(what, "/wait")) {
		sem_post(&w->entered);
		sem_wait(&w->leave);
		say(r, S("waited"));
	} else if (slice_is(what, "/first")) {	/* answers at the first bytes */
		char c[100];
		ssize_t n = req_read(r, c, sizeof c, &e);
		say(r, (struct slice){ c, (size_t)n });
		req_flush(r, &e);
	} else if (slice_is(what, "/cut")) {
		say(r, S("half"));
		req_cut(r);
	} else if (slice_is(what, "/early")) {
		say(r, S("early"));
	} else if (slice_is(what, "/big")) {
		static const char block[10000];
		assert_int_equal(req_answer(r, 200, text, 1, &e), 0);
		for (int i = 0; i < 100000 && req_write(r, (struct slice){ block, sizeof block }, &e) == 0; i++)
			;
		w->read_error = e;
	} else if (slice_is(what, "/param")) {
		struct slice v = req_param(r, "X");
		say(r, v.p == NULL ? S("absent") : v);
	}
	w->handled++;
}

static void
refuse(void *ctx, struct req *r)
{
	(void)ctx;
	say(r, S("busy"));
}

static void *
run(void *arg)
{
	struct worker *w = arg;

	w->rc = fcgi_run(w->f, w->drain_ms, &w->e);
	return NULL;
}

static struct worker *
start_with(unsigned threads, unsigned queue, unsigned queue_ms, unsigned drain_ms)
{
	struct worker *w = calloc(1, sizeof *w);

	snprintf(w->dir, sizeof w->dir, "/tmp/fcgi-XXXXXX");
	assert_non_null(mkdtemp(w->dir));
	snprintf(w->path, sizeof w->path, "%s/w.sock", w->dir);
	w->conf = (struct fcgi_conf){ .listen = w->path, .threads = threads, .queue = queue, .queue_ms = queue_ms,
		.arena_cap = 1 << 20, .handle = handle, .refuse = refuse, .ctx = w };
	w->drain_ms = drain_ms;
	sem_init(&w->entered, 0, 0);
	sem_init(&w->leave, 0, 0);
	w->f = fcgi_new(&w->conf, &w->e);
	if (w->f == NULL)
		fail_msg("%s", w->e.detail);
	assert_int_equal(pthread_create(&w->thread, NULL, run, w), 0);
	return w;
}

static void
stop(struct worker *w)
{
	fcgi_stop(w->f);
	pthread_join(w->thread, NULL);
	if (w->rc != 0)
		fail_msg("fcgi_run: %s", w->e.detail);
	fcgi_free(w->f);
	unlink(w->path);
	rmdir(w->dir);
	free(w);
}

static int
start(void **state)
{
	*state = start_with(4, 4, 20000, 20000);
	return 0;
}

static int
end(void **state)
{
	stop(*state);
	return 0;
}

#define assert_answer(wanted, a) do { \
	const struct answer *a_ = (a); \
	const char *body_ = strstr(a_->text, "\r\n\r\n"); \
	if (body_ == NULL || !a_->ended || !a_->complete || strcmp(body_ + 4, (wanted)) != 0) \
		fail_msg("\"%s\" (%s), wanted \"%s\"", a_->text, a_->ended ? "ended" : "cut", (wanted)); \
} while (0)

/* Also what the private fields of FCGX_Request are trusted to do: were the connection not taken from ipcFd, or
 * closed in spite of keepConnection, nothing here would work. */
static void
requests_follow_each_other_on_one_connection(void **state)
{
	struct worker *w = *state;
	int fd = dial(w->path);

	assert_answer("one", ask_on(fd, true, PARAMS_OF("SCRIPT_NAME=/echo", "CONTENT_LENGTH=3"), "one"));
	assert_answer("", ask_on(fd, true, PARAMS_OF("SCRIPT_NAME=/echo"), ""));
	assert_answer("early", ask_on(fd, true, PARAMS_OF("SCRIPT_NAME=/early", "CONTENT_LENGTH=4"), "body"));
	assert_answer("v", ask_on(fd, true, PARAMS_OF("SCRIPT_NAME=/param", "X=v"), ""));
	assert_answer("", ask_on(fd, true, PARAMS_OF("SCRIPT_NAME=/param", "X="), ""));
	assert_answer("absent", ask_on(fd, true, PARAMS_OF("SCRIPT_NAME=/param"), ""));
	assert_int_equal(w->handled, 6);
	close(dial(w->path));		/* a visit without a request does not count */
	struct fcgi_stats stats;
	do	/* counted just after the answer */
		fcgi_stats(w->f, &stats);
	while (stats.served < 6);
	assert_int_equal(stats.served, 6);
	assert_int_equal(strlen(w->ids[0]), 22);
	assert_int_equal(strlen(w->ids[1]), 22);
	assert_string_not_equal(w->ids[0], w->ids[1]);
	close(fd);
}

static void
status_and_headers_come_first(void **state)
{
	struct worker *w = *state;
	int fd = dial(w->path);

	const struct answer *a = ask_on(fd, false, PARAMS_OF("SCRIPT_NAME=/early"), "");
	assert_string_equal(a->text, "Status: 200\r\nContent-Type: text/plain\r\n\r\nearly");
	assert_true(is_closed(fd));	/* FCGI_KEEP_CONN was not set */
	close(fd);
}

static void
more_connections_than_threads_starve_nobody(void **state)
{
	struct worker *w = *state;
	int fd[20];

	for (int i = 0; i < 20; i++)
		fd[i] = dial(w->path);
	for (int round = 0; round < 3; round++)
		for (int i = 0; i < 20; i++)
			assert_answer("x", ask_on(fd[i], true, PARAMS_OF("SCRIPT_NAME=/echo"), "x"));
	for (int i = 0; i < 20; i++)
		close(fd[i]);
}

/* The web server keeps a connection for each of its threads: they could hold all descriptors and ask nothing. */
static void
without_a_free_descriptor_the_longest_idle_connection_makes_room(void **state)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct worker *w = *state;
	struct descriptors d;
	int idle[3], fresh = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(sa.sun_path, sizeof sa.sun_path, "%s", w->path);
	for (int i = 0; i < 3; i++) {
		idle[i] = dial(w->path);
		assert_answer("x", ask_on(idle[i], true, PARAMS_OF("SCRIPT_NAME=/echo"), "x"));
	}
	descriptors_exhaust(&d);
	int rc = connect(fresh, (struct sockaddr *)&sa, sizeof sa);
	bool makes_room = is_closed(idle[0]);
	descriptors_release(&d);
	assert_int_equal(rc, 0);
	assert_true(makes_room);
	assert_answer("new", ask_on(fresh, true, PARAMS_OF("SCRIPT_NAME=/echo"), "new"));
	/* a second one may have gone: it takes a free descriptor to learn that nobody else waits */
	assert_answer("x", ask_on(idle[2], true, PARAMS_OF("SCRIPT_NAME=/echo"), "x"));
	for (int i = 0; i < 3; i++)
		close(idle[i]);
	close(fresh);
}

static void
body_must_have_its_announced_length(void **state)
{
	static const struct { const char *length, *body, *want; enum err_kind kind; } rows[] = {
		{ "CONTENT_LENGTH=4", "four", "four", ERR_NONE },
		{ "CONTENT_LENGTH=0004", "four", "four", ERR_NONE },
		{ "CONTENT_LENGTH=", "four", "four", ERR_NONE },	/* chunked */
		{ "X=", "four", "four", ERR_NONE },
		{ "CONTENT_LENGTH=0", "", "", ERR_NONE },
		{ "CONTENT_LENGTH=5", "four", "cut", ERR_MESSAGE_LOST },
		{ "CONTENT_LENGTH=3", "four", "cut", ERR_BODY_CUT },
		{ "CONTENT_LENGTH=0", "four", "cut", ERR_BODY_CUT },
		{ "CONTENT_LENGTH=4", "", "cut", ERR_MESSAGE_LOST },	/* what a balancer's replay looks like */
		{ "CONTENT_LENGTH=9223372036854775807", "four", "cut", ERR_MESSAGE_LOST },
	};
	struct worker *w = *state;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int fd = dial(w->path);
		assert_answer(rows[i].want, ask_on(fd, true,
		    PARAMS_OF("SCRIPT_NAME=/echo", rows[i].length), rows[i].body));
		assert_int_equal(w->read_error.kind, rows[i].kind);
		close(fd);
	}
}

static void
a_whole_body_is_read_up_to_its_limit(void **state)
{
	static const struct { const char *length, *body, *want; enum err_kind kind; } rows[] = {
		{ "CONTENT_LENGTH=4", "four", "four", ERR_NONE },
		{ "X=", "four", "four", ERR_NONE },
		{ "X=", "", "", ERR_NONE },
		{ "CONTENT_LENGTH=5", "fives", "refused", ERR_BODY_TOO_BIG },
		{ "X=", "fives", "refused", ERR_BODY_TOO_BIG },
		{ "CONTENT_LENGTH=9223372036854775807", "four", "refused", ERR_BODY_TOO_BIG },
		{ "CONTENT_LENGTH=3", "four", "refused", ERR_BODY_CUT },
		{ "CONTENT_LENGTH=4", "two", "refused", ERR_MESSAGE_LOST },
	};
	struct worker *w = *state;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int fd = dial(w->path);
		assert_answer(rows[i].want, ask_on(fd, true, PARAMS_OF("SCRIPT_NAME=/all", rows[i].length), rows[i].body));
		assert_int_equal(w->read_error.kind, rows[i].kind);
		close(fd);
	}
}

static void
length_that_is_no_number_is_refused_unseen(void **state)
{
	static const char *const rows[] = { "CONTENT_LENGTH=-1", "CONTENT_LENGTH=+4", "CONTENT_LENGTH=4 ",
		"CONTENT_LENGTH=4,4", "CONTENT_LENGTH=0x4", "CONTENT_LENGTH=9223372036854775808" };
	struct worker *w = *state;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int fd = dial(w->path);
		const struct answer *a = ask_on(fd, false, PARAMS_OF("SCRIPT_NAME=/echo", rows[i]), "four");
		assert_memory_equal(a->text, "Status: 400\r\n", 13);
		assert_true(a->complete);
		close(fd);
	}
	assert_int_equal(w->handled, 0);
}

static void
sender_that_breaks_off_is_noticed(void **state)
{
	static const char *const lengths[] = { "CONTENT_LENGTH=8", "X=chunked" };
	struct worker *w = *state;

	for (size_t i = 0; i < 2; i++) {
		struct bytes *b = calloc(1, sizeof *b);
		int fd = dial(w->path);
		put_begin(b, 1, true);
		put_params(b, PARAMS_OF("SCRIPT_NAME=/echo", lengths[i]));
		put_record(b, STDIN, 1, "whole", 5);
		send_all(fd, b->p, b->n);
		shutdown(fd, SHUT_WR);
		assert_answer("cut", read_answer(fd));
		assert_int_equal(w->read_error.kind, ERR_BODY_CUT);
		assert_true(is_closed(fd));
		close(fd);
		free(b);
	}
}

static void
body_streams(void **state)
{
	struct worker *w = *state;
	struct bytes *b = calloc(1, sizeof *b);
	int fd = dial(w->path);

	put_begin(b, 1, true);
	put_params(b, PARAMS_OF("SCRIPT_NAME=/first", "CONTENT_LENGTH=6"));
	put_record(b, STDIN, 1, "abc", 3);
	send_all(fd, b->p, b->n);
	/* the handler has answered before the rest is sent */
	struct pollfd p = { fd, POLLIN, 0 };
	assert_int_equal(poll(&p, 1, 20000), 1);
	b->n = 0;
	put_stdin(b, "def");
	send_all(fd, b->p, b->n);
	assert_answer("abc", read_answer(fd));
	assert_answer("next", ask_on(fd, true, PARAMS_OF("SCRIPT_NAME=/echo"), "next"));
	close(fd);
	free(b);
}

static void
put_padded(struct bytes *b, int type, const void *p, size_t n, unsigned char padding)
{
	unsigned char h[8] = { 1, (unsigned char)type, 0, 1, (unsigned char)(n >> 8), (unsigned char)n, padding, 0 };

	put_raw(b, h, sizeof h);
	put_raw(b, p, n);
	put_raw(b, "................................................................", padding);
}

static void
padding_and_single_bytes_change_nothing(void **state)
{
	struct worker *w = *state;
	struct bytes *b = calloc(1, sizeof *b);
	static const unsigned char begin[8] = { 0, 1, 1 };
	static const char params[] = "\013\005SCRIPT_NAME/echo\016\001CONTENT_LENGTH6";

	put_padded(b, BEGIN, begin, sizeof begin, 0);
	put_padded(b, PARAMS, params, 20, 7);	/* a pair in two records */
	put_padded(b, PARAMS, params + 20, sizeof params - 1 - 20, 0);
	put_padded(b, PARAMS, NULL, 0, 11);
	put_padded(b, STDIN, "abc", 3, 5);
	put_padded(b, STDIN, "def", 3, 0);
	put_padded(b, STDIN, NULL, 0, 64);
	int fd = dial(w->path);
	for (size_t at = 0; at < b->n; at++)
		assert_true(send_all(fd, b->p + at, 1));
	assert_answer("abcdef", read_answer(fd));
	assert_true(send_all(fd, b->p, b->n));		/* and again, on the same connection, at once */
	assert_answer("abcdef", read_answer(fd));
	close(fd);
	free(b);
}

static void
second_request_in_the_same_breath_is_not_served(void **state)
{
	struct worker *w = *state;
	struct bytes *b = calloc(1, sizeof *b);

	for (int i = 0; i < 2; i++) {
		put_begin(b, 1, true);
		put_params(b, PARAMS_OF("SCRIPT_NAME=/echo"));
		put_stdin(b, "x");
	}
	int fd = dial(w->path);
	send_all(fd, b->p, b->n);
	assert_answer("x", read_answer(fd));
	assert_true(is_closed(fd));
	assert_int_equal(w->handled, 1);
	close(fd);
	free(b);
}

static void
cut_answer_has_no_end(void **state)
{
	struct worker *w = *state;
	int fd = dial(w->path);

	const struct answer *a = ask_on(fd, true, PARAMS_OF("SCRIPT_NAME=/cut", "CONTENT_LENGTH=4"), "body");
	assert_non_null(strstr(a->text, "half"));
	assert_false(a->ended);
	close(fd);
}

static void
request_without_answer_gets_one(void **state)
{
	struct worker *w = *state;
	int fd = dial(w->path);

	assert_non_null(strstr(ask_on(fd, true, PARAMS_OF("SCRIPT_NAME=/nothing"), "")->text, "Status: 500"));
	close(fd);
}

/* The rest of an upload that nobody wants is read away, up to a limit; beyond it, it is passed over when the next
 * request is looked for. Apache leaves the old body without an end when it has the answer. */
static void
early_answer_arrives_and_requests_are_not_mixed(void **state)
{
	static const struct { int records; bool ended; } rows[] = {
		{ 1, true }, { 20, true }, { 20, false }, { 400, true }, { 400, false },	/* 60 KB to 24 MB */
	};
	struct worker *w = *state;
	struct bytes *b = calloc(1, sizeof *b);
	char *block = calloc(1, 60000);

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int fd = dial(w->path);
		b->n = 0;
		put_begin(b, 1, true);
		put_params(b, PARAMS_OF("SCRIPT_NAME=/early"));
		assert_true(send_all(fd, b->p, b->n));
		b->n = 0;
		put_record(b, STDIN, 1, block, 60000);
		for (int k = 0; k < rows[i].records; k++)
			assert_true(send_all(fd, b->p, b->n));
		b->n = 0;
		put_record(b, STDIN, 1, NULL, 0);
		if (rows[i].ended)
			assert_true(send_all(fd, b->p, b->n));
		assert_answer("early", read_answer(fd));
		for (int k = 0; k < 3; k++)
			assert_answer("next", ask_on(fd, true, PARAMS_OF("SCRIPT_NAME=/echo", "CONTENT_LENGTH=4"), "next"));
		close(fd);
	}
	free(block);
	free(b);
}

/* An uploader that has stopped in mid-body gets its answer, too, and the worker does not wait for it. */
static void
early_answer_does_not_wait_for_the_body(void **state)
{
	struct worker *w = *state;
	struct bytes *b = calloc(1, sizeof *b);
	int fd = dial(w->path);

	put_begin(b, 1, true);
	put_params(b, PARAMS_OF("SCRIPT_NAME=/early", "CONTENT_LENGTH=1000"));
	put_record(b, STDIN, 1, "some", 4);
	send_all(fd, b->p, b->n);
	assert_answer("early", read_answer(fd));
	b->n = 0;
	put_record(b, STDIN, 1, "more", 4);
	send_all(fd, b->p, b->n);
	assert_answer("next", ask_on(fd, true, PARAMS_OF("SCRIPT_NAME=/echo", "CONTENT_LENGTH=4"), "next"));
	close(fd);
	free(b);
}

static void
client_that_leaves_in_mid_answer_ends_the_writing(void **state)
{
	struct worker *w = *state;
	struct bytes *b = calloc(1, sizeof *b);
	char some[1000];
	int fd = dial(w->path);

	put_begin(b, 1, true);
	put_params(b, PARAMS_OF("SCRIPT_NAME=/big"));
	put_stdin(b, "");
	send_all(fd, b->p, b->n);
	assert_true(recv_all(fd, some, sizeof some));
	close(fd);
	fd = dial(w->path);
	while (w->handled == 0)		/* bounded by the test's own time limit */
		sched_yield();
	assert_int_equal(w->read_error.kind, ERR_CLIENT_GONE);
	assert_answer("x", ask_on(fd, true, PARAMS_OF("SCRIPT_NAME=/echo"), "x"));
	close(fd);
	free(b);
}

static int
send_request(const char *path, const char *const *params)
{
	struct bytes *b = calloc(1, sizeof *b);
	int fd = dial(path);

	put_begin(b, 1, true);
	put_params(b, params);
	put_stdin(b, "");
	send_all(fd, b->p, b->n);
	free(b);
	return fd;
}

static void
full_queue_is_answered_at_once(void **state)
{
	struct worker *w = start_with(2, 1, 20000, 20000);
	int held[3];
	(void)state;

	for (int i = 0; i < 2; i++) {
		held[i] = send_request(w->path, PARAMS_OF("SCRIPT_NAME=/wait"));
		sem_wait(&w->entered);
	}
	held[2] = send_request(w->path, PARAMS_OF("SCRIPT_NAME=/wait"));	/* waits in the queue */
	struct fcgi_stats s;
	do
		fcgi_stats(w->f, &s);
	while (s.waiting == 0);
	for (int i = 0; i < 5; i++) {
		int fd = dial(w->path);
		assert_answer("busy", ask_on(fd, false, PARAMS_OF("SCRIPT_NAME=/echo"), "x"));
		close(fd);
	}
	do	/* counted just after the answer */
		fcgi_stats(w->f, &s);
	while (s.refused < 5);
	assert_int_equal(s.refused, 5);
	assert_int_equal(s.busy, 2);
	assert_int_equal(s.waiting, 1);
	for (int i = 0; i < 3; i++)
		sem_post(&w->leave);
	for (int i = 0; i < 3; i++) {
		assert_answer("waited", read_answer(held[i]));
		close(held[i]);
	}
	stop(w);
}

static void
waiting_too_long_is_answered_busy(void **state)
{
	struct worker *w = start_with(1, 10, 300, 20000);
	(void)state;

	/* its thread is there: what comes first must not wait for that */
	int first = dial(w->path);
	assert_answer("x", ask_on(first, false, PARAMS_OF("SCRIPT_NAME=/echo"), "x"));
	close(first);
	int held = send_request(w->path, PARAMS_OF("SCRIPT_NAME=/wait"));
	sem_wait(&w->entered);
	int fd = send_request(w->path, PARAMS_OF("SCRIPT_NAME=/echo"));
	assert_answer("busy", read_answer(fd));
	/* and it may ask again on the same connection */
	sem_post(&w->leave);
	assert_answer("waited", read_answer(held));
	assert_answer("x", ask_on(fd, true, PARAMS_OF("SCRIPT_NAME=/echo"), "x"));
	close(fd);
	close(held);
	stop(w);
}

static void
half_requests_do_not_keep_others_out(void **state)
{
	struct worker *w = *state;
	int silent[10];
	struct bytes *b = calloc(1, sizeof *b);

	put_begin(b, 1, true);
	put_params(b, PARAMS_OF("SCRIPT_NAME=/echo"));
	for (int i = 0; i < 10; i++) {
		silent[i] = dial(w->path);
		if (i < 3)	/* one thread of four is left */
			send_all(silent[i], b->p, 10 + (size_t)i * 8);
	}
	int fd = dial(w->path);
	for (int i = 0; i < 100; i++)
		assert_answer("x", ask_on(fd, true, PARAMS_OF("SCRIPT_NAME=/echo"), "x"));
	for (int i = 0; i < 10; i++)
		close(silent[i]);
	close(fd);
	free(b);
}

static void
stop_lets_running_requests_end_and_closes_idle_connections(void **state)
{
	struct worker *w = start_with(2, 4, 20000, 20000);
	(void)state;

	int idle = dial(w->path);
	assert_answer("x", ask_on(idle, true, PARAMS_OF("SCRIPT_NAME=/echo"), "x"));
	int running = send_request(w->path, PARAMS_OF("SCRIPT_NAME=/wait"));
	sem_wait(&w->entered);
	fcgi_stop(w->f);
	assert_true(is_closed(idle));
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	snprintf(sa.sun_path, sizeof sa.sun_path, "%s", w->path);
	int late = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(late, (struct sockaddr *)&sa, sizeof sa), -1);
	sem_post(&w->leave);
	assert_answer("waited", read_answer(running));
	assert_true(is_closed(running));
	close(late);
	close(idle);
	close(running);
	stop(w);
}

static void
requests_in_the_backlog_are_served_at_stop(void **state)
{
	(void)state;
	struct worker w = { .drain_ms = 20000 };
	struct err e = { 0 };

	snprintf(w.dir, sizeof w.dir, "/tmp/fcgi-XXXXXX");
	assert_non_null(mkdtemp(w.dir));
	snprintf(w.path, sizeof w.path, "%s/w.sock", w.dir);
	struct fcgi_conf conf = { .listen = w.path, .threads = 1, .queue = 10, .queue_ms = 20000,
		.arena_cap = 1 << 20, .handle = handle, .refuse = refuse, .ctx = &w };
	struct fcgi *f = fcgi_new(&conf, &e);
	assert_non_null(f);
	int fd[3];
	for (int i = 0; i < 3; i++)
		fd[i] = send_request(w.path, PARAMS_OF("SCRIPT_NAME=/early"));
	fcgi_stop(f);		/* before it has accepted any */
	assert_ok(fcgi_run(f, 20000, &e), &e);
	for (int i = 0; i < 3; i++) {
		assert_answer("early", read_answer(fd[i]));
		close(fd[i]);
	}
	fcgi_free(f);
	unlink(w.path);
	rmdir(w.dir);
}

static void
request_that_outlives_the_drain_is_reported(void **state)
{
	struct worker *w = start_with(1, 1, 20000, 1);
	(void)state;

	int fd = send_request(w->path, PARAMS_OF("SCRIPT_NAME=/wait"));
	sem_wait(&w->entered);
	fcgi_stop(w->f);
	pthread_join(w->thread, NULL);
	assert_int_equal(w->rc, -1);
	assert_int_equal(w->e.kind, ERR_BUSY);
	fcgi_free(w->f);	/* leaves alone what the thread still uses */
	sem_post(&w->leave);
	assert_answer("waited", read_answer(fd));
	close(fd);
	unlink(w->path);
	rmdir(w->dir);
	/* w stays: its thread may still look at it */
	static struct worker *kept;
	kept = w;
	(void)kept;
}

static struct fcgi *stopped_by_signal;

static void
on_signal(int sig)
{
	(void)sig;
	fcgi_stop(stopped_by_signal);
}

static void
stop_works_from_a_signal_handler(void **state)
{
	struct worker *w = start_with(1, 1, 20000, 20000);
	(void)state;

	stopped_by_signal = w->f;
	signal(SIGUSR2, on_signal);
	raise(SIGUSR2);
	signal(SIGUSR2, SIG_DFL);
	pthread_join(w->thread, NULL);
	assert_int_equal(w->rc, 0);
	fcgi_free(w->f);
	unlink(w->path);
	rmdir(w->dir);
	free(w);
}

static void
old_socket_file_is_replaced_and_nothing_else(void **state)
{
	struct worker *w = *state;
	struct err e = { 0 };
	struct fcgi_conf conf = w->conf;

	/* as after a kill: the file is there, and here even somebody who listens on it */
	struct fcgi *second = fcgi_new(&conf, &e);
	assert_non_null(second);
	fcgi_free(second);
	char path[128];
	snprintf(path, sizeof path, "%s/file", w->dir);
	FILE *f = fopen(path, "w");
	fclose(f);
	conf.listen = path;
	assert_null(fcgi_new(&conf, &e));
	assert_int_equal(e.kind, ERR_CONFIG);
	struct stat st;
	assert_int_equal(stat(path, &st), 0);
	unlink(path);
	static const char *const bad[] = { "nowhere", ":", "127.0.0.1:notaport", "256.256.256.256:1" };
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		conf.listen = bad[i];
		err_clear(&e);
		assert_null(fcgi_new(&conf, &e));
		assert_int_equal(e.kind, ERR_CONFIG);
	}
}

static void
tcp_addresses_are_listened_on(void **state)
{
	struct err e = { 0 };
	struct fcgi_conf conf = { .threads = 1, .queue = 1, .queue_ms = 1, .arena_cap = 1 << 16,
		.handle = handle, .refuse = refuse };
	static const char *const good[] = { "127.0.0.1:0", "localhost:0" };
	(void)state;

	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		conf.listen = good[i];
		struct fcgi *f = fcgi_new(&conf, &e);
		if (f == NULL)
			fail_msg("%s: %s", good[i], e.detail);
		fcgi_free(f);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define ON_WORKER(t) cmocka_unit_test_setup_teardown(t, start, end)
		ON_WORKER(requests_follow_each_other_on_one_connection),
		ON_WORKER(status_and_headers_come_first),
		ON_WORKER(more_connections_than_threads_starve_nobody),
		ON_WORKER(without_a_free_descriptor_the_longest_idle_connection_makes_room),
		ON_WORKER(body_must_have_its_announced_length),
		ON_WORKER(a_whole_body_is_read_up_to_its_limit),
		ON_WORKER(length_that_is_no_number_is_refused_unseen),
		ON_WORKER(sender_that_breaks_off_is_noticed),
		ON_WORKER(body_streams),
		ON_WORKER(padding_and_single_bytes_change_nothing),
		ON_WORKER(second_request_in_the_same_breath_is_not_served),
		ON_WORKER(cut_answer_has_no_end),
		ON_WORKER(request_without_answer_gets_one),
		ON_WORKER(early_answer_arrives_and_requests_are_not_mixed),
		ON_WORKER(early_answer_does_not_wait_for_the_body),
		ON_WORKER(client_that_leaves_in_mid_answer_ends_the_writing),
		ON_WORKER(half_requests_do_not_keep_others_out),
		ON_WORKER(old_socket_file_is_replaced_and_nothing_else),
		cmocka_unit_test(full_queue_is_answered_at_once),
		cmocka_unit_test(waiting_too_long_is_answered_busy),
		cmocka_unit_test(stop_lets_running_requests_end_and_closes_idle_connections),
		cmocka_unit_test(requests_in_the_backlog_are_served_at_stop),
		cmocka_unit_test(request_that_outlives_the_drain_is_reported),
		cmocka_unit_test(stop_works_from_a_signal_handler),
		cmocka_unit_test(tcp_addresses_are_listened_on),
	};
	return cmocka_run_group_tests_name("fcgi", tests, NULL, NULL);
}
