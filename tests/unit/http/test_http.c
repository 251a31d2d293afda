#include "server.h"

#include "clock.h"
#include "http.h"

#include <netdb.h>

struct world {
	struct http *http;
	struct arena *a;
	struct err e;
	struct http_result r;
	struct server *server;
	/* what on_head and on_body saw */
	int heads, status;
	char content_type[64];
	size_t nheaders;
	char body[1 << 16];
	size_t n;
	/* the source */
	const char *pieces[8];
	int piece, fail_at;
};

static int
setup(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	w->http = http_new(4);
	w->a = arena_new(1 << 22);
	*state = w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	http_free(w->http);
	if (w->server != NULL)
		server_stop(w->server);
	arena_free(w->a);
	free(w);
	return 0;
}

static int
on_head(void *ctx, int status, const struct http_header *headers, size_t n, struct err *e)
{
	struct world *w = ctx;
	(void)e;

	w->heads++;
	w->status = status;
	w->nheaders = n;
	for (size_t i = 0; i < n; i++)
		if (slice_is_nocase(slice_of(headers[i].name), "content-type"))
			snprintf(w->content_type, sizeof w->content_type, "%.*s", SLICE_FMT(headers[i].value));
	return 0;
}

static int
on_body(void *ctx, struct slice bytes, struct err *e)
{
	struct world *w = ctx;
	(void)e;

	if (w->n + bytes.n < sizeof w->body)
		memcpy(w->body + w->n, bytes.p, bytes.n);
	w->n += bytes.n;
	return 0;
}

static ssize_t
source(void *ctx, void *out, size_t n, struct err *e)
{
	struct world *w = ctx;

	if (w->fail_at > 0 && w->piece == w->fail_at - 1)
		return err_set(e, ERR_BODY_CUT, "the client left");
	const char *piece = w->pieces[w->piece];
	if (piece == NULL)
		return 0;
	w->piece++;
	size_t k = strlen(piece);
	k = k < n ? k : n;
	memcpy(out, piece, k);
	return (ssize_t)k;
}

static struct http_call
a_call(struct world *w, const char *body)
{
	static const struct http_header headers[] = { { "Content-Type", { "text/xml", 8 } },
		{ "SOAPAction", { "\"\"", 2 } }, { "X-Empty", { "", 0 } } };

	w->n = 0;
	w->heads = w->status = w->piece = 0;
	err_clear(&w->e);
	return (struct http_call){ .url = w->server->url, .headers = headers, .nheaders = 3, .connect_ms = 5000,
		.answer_ms = 20000, .idle_ms = 20000, .body = slice_of(body),
		.on_head = on_head, .on_body = on_body, .ctx = w };
}

static int
post(struct world *w, const char *body)
{
	struct http_call c = a_call(w, body);

	return http_do(w->http, w->a, &c, &w->r, &w->e);
}

static int
post_pieces(struct world *w, int64_t length)
{
	struct http_call c = a_call(w, NULL);

	c.source = source;
	c.length = length;
	return http_do(w->http, w->a, &c, &w->r, &w->e);
}

static void
answer_all(struct peer *p)
{
	while (peer_request(p))
		peer_say(p, "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 2\r\n\r\nok");
}

#define assert_works(w, call) do { \
	assert_ok((call), &(w)->e); \
	assert_int_equal((w)->heads, 1); \
	assert_int_equal((w)->n, 2); \
	assert_memory_equal((w)->body, "ok", 2); \
} while (0)

static void
one_piece_is_posted_as_it_is(void **state)
{
	struct world *w = *state;

	w->server = server_start(answer_all, NULL);
	assert_works(w, post(w, "<Envelope/>"));
	assert_int_equal(w->r.status, 200);
	assert_true(w->r.connected);
	assert_int_equal(w->r.sent, 11);
	assert_int_equal(w->r.received, 2);
	assert_string_equal(w->content_type, "text/xml");
	assert_memory_equal(w->server->body, "<Envelope/>", 11);
	const char *head = w->server->head;
	assert_memory_equal(head, "POST /service?x=1 HTTP/1.1\r\n", 28);
	assert_non_null(strstr(head, "\r\nContent-Type: text/xml\r\n"));
	assert_non_null(strstr(head, "\r\nSOAPAction: \"\"\r\n"));
	assert_non_null(strstr(head, "\r\nX-Empty:\r\n"));
	assert_non_null(strstr(head, "\r\nContent-Length: 11\r\n"));
	static const char *const unwanted[] = { "Expect:", "Accept-Encoding:", "Cookie:", "Authorization:",
		"User-Agent:", "Transfer-Encoding:", "form-urlencoded" };
	for (size_t i = 0; i < sizeof unwanted / sizeof *unwanted; i++)
		assert_null(strcasestr(head, unwanted[i]));
}

static void
calls_follow_each_other_on_a_warm_connection(void **state)
{
	struct world *w = *state;

	w->server = server_start(answer_all, NULL);
	for (int i = 0; i < 20; i++) {
		assert_works(w, post(w, "<Envelope/>"));
		struct http_call c = a_call(w, NULL);
		c.nheaders = 0;
		assert_works(w, http_do(w->http, w->a, &c, &w->r, &w->e));
		assert_memory_equal(w->server->head, "GET ", 4);
		assert_null(strcasestr(w->server->head, "Content-"));
		w->pieces[0] = "ab";
		w->pieces[1] = "cde";
		assert_works(w, post_pieces(w, i % 2 == 0 ? 5 : -1));
		assert_int_equal(w->server->body_n, 5);
		assert_memory_equal(w->server->body, "abcde", 5);
		assert_int_equal(strcasestr(w->server->head, "\r\nTransfer-Encoding: chunked\r\n") == NULL, i % 2 == 0);
	}
	assert_int_equal(w->server->connections, 1);
	assert_int_equal(w->server->requests, 60);
}

static void
large_bodies_have_no_expect_and_arrive_whole(void **state)
{
	struct world *w = *state;
	size_t n = 5000000;
	char *big = malloc(n + 1);

	memset(big, 'x', n);
	big[n] = '\0';
	w->server = server_start(answer_all, NULL);
	assert_works(w, post(w, big));
	assert_int_equal(w->server->body_n, n);
	assert_null(strcasestr(w->server->head, "Expect"));
	free(big);
}

/* ---- nothing twice, nothing half */

static void
answer_one(struct peer *p)
{
	if (peer_request(p))
		peer_say(p, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

static void
idle_connection_that_the_server_closed_costs_no_call(void **state)
{
	struct world *w = *state;

	w->server = server_start(answer_one, NULL);
	for (int i = 0; i < 10; i++) {
		assert_works(w, post(w, "<Envelope/>"));
		/* the server takes the next connection when it has closed this one: its answer tells that it has */
		struct http_call c = a_call(w, NULL);
		struct http *other = http_new(0);
		assert_works(w, http_do(other, w->a, &c, &w->r, &w->e));
		http_free(other);
	}
	assert_int_equal(w->server->requests, 20);
}

static void
swallow_second(struct peer *p)
{
	if (p->number == 0) {
		answer_one(p);
		peer_request(p);	/* and then nothing */
	} else {
		answer_all(p);
	}
}

static void
request_without_answer_on_a_warm_connection_is_not_sent_again(void **state)
{
	struct world *w = *state;

	for (int kind = 0; kind < 4; kind++) {
		w->server = server_start(swallow_second, NULL);
		assert_works(w, post(w, "<Envelope/>"));
		w->pieces[0] = "abc";
		w->pieces[1] = NULL;
		struct http_call empty = a_call(w, "");
		assert_err(ERR_ENDPOINT_BROKE, kind == 0 ? post(w, "<Envelope/>") : kind == 1 ? post_pieces(w, 3) :
		    kind == 2 ? post_pieces(w, -1) : http_do(w->http, w->a, &empty, &w->r, &w->e), &w->e);
		assert_true(w->r.connected);
		assert_int_equal(w->r.status, 0);
		assert_int_equal(w->heads, 0);
		assert_int_equal(w->server->requests, 2);
		assert_works(w, post(w, "<Envelope/>"));	/* the next call is not harmed */
		assert_int_equal(w->server->requests, 3);
		http_free(w->http);
		server_stop(w->server);
		w->http = http_new(4);
	}
	w->server = NULL;
}

static void
source_that_fails_or_lies_never_makes_a_whole_request(void **state)
{
	static const struct { const char *pieces[3]; int fail_at; int64_t length; enum err_kind want; } rows[] = {
		{ { "abc", "def" }, 1, 6, ERR_BODY_CUT },
		{ { "abc", "def" }, 2, 6, ERR_BODY_CUT },
		{ { "abc", "def" }, 3, 6, ERR_BODY_CUT },	/* all bytes, but then an error instead of the end */
		{ { "abc", "def" }, 1, -1, ERR_BODY_CUT },
		{ { "abc", "def" }, 3, -1, ERR_BODY_CUT },
		{ { "abc" }, 0, 6, ERR_BODY_CUT },		/* too short */
		{ { "abc", "def" }, 0, 3, ERR_BODY_CUT },	/* too long */
		{ { "abc" }, 0, 0, ERR_BODY_CUT },
		{ { NULL }, 1, 0, ERR_BODY_CUT },
		{ { "abc", "def" }, 0, 6, ERR_NONE },
		{ { "abc", "def" }, 0, -1, ERR_NONE },
		{ { NULL }, 0, 0, ERR_NONE },
		{ { NULL }, 0, -1, ERR_NONE },
	};
	struct world *w = *state;

	w->server = server_start(answer_all, NULL);
	int good = 0;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		memcpy(w->pieces, rows[i].pieces, sizeof rows[i].pieces);
		w->fail_at = rows[i].fail_at;
		int rc = post_pieces(w, rows[i].length);
		if (w->e.kind != rows[i].want || rc != (rows[i].want == ERR_NONE ? 0 : -1))
			fail_msg("row %zu: %s %s", i, err_name(w->e.kind), w->e.detail);
		good += rc == 0;
	}
	w->fail_at = 0;
	assert_works(w, post(w, "x"));
	assert_int_equal(w->server->requests, good + 1);
}

/* ---- answers */

static const char *canned;	/* set before the server's thread begins */

static void
say_canned(struct peer *p)
{
	if (peer_request(p))
		peer_say(p, canned);
}

static void
wrong_answers_are_told_apart(void **state)
{
	static const struct { const char *answer; enum err_kind want; int status; const char *body; } rows[] = {
		{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ERR_NONE, 200, "ok" },
		{ "HTTP/1.0 200 OK\r\n\r\nok", ERR_NONE, 200, "ok" },
		{ "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", ERR_NONE, 200, "ok" },
		{ "HTTP/1.1 500 Fault\r\nContent-Length: 2\r\n\r\nok", ERR_NONE, 500, "ok" },
		{ "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", ERR_NONE, 302, "" },
		{ "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n", ERR_NONE, 401, "" },
		{ "HTTP/1.1 204 None\r\n\r\n", ERR_NONE, 204, "" },
		{ "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok", ERR_NONE, 200, "ok" },
		{ "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 P\r\nContent-Length: 9\r\n\r\n"
		    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ERR_NONE, 200, "ok" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: trailer\r\n\r\n", ERR_NONE, 200, "ok" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", ERR_NONE, 200, "ok" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
		    ERR_NONE, 200, "ok" },
		{ "HTTP/1.1 200 OK\r\nContent-Type: a;\r\n  b\r\nContent-Length: 2\r\n\r\nok", ERR_NONE, 200, "ok" },

		{ "", ERR_ENDPOINT_BROKE, 0, "" },
		{ "HTTP/1.1 200 OK\r\nContent-Len", ERR_ENDPOINT_BROKE, 0, "" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", ERR_ENDPOINT_BROKE, 200, "ok" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", ERR_ENDPOINT_BROKE, 200, "ok" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n", ERR_ENDPOINT_BROKE, 200, "ok" },
		{ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", ERR_ENDPOINT_BROKE, 200, "" },
		{ "HTTP/1.1 100 Continue\r\n\r\n", ERR_ENDPOINT_BROKE, 0, "" },

		{ "<html>hello</html>\r\n\r\n", ERR_ENDPOINT_ANSWER, 0, "" },
		{ "HTTP/9.9 200 OK\r\n\r\nok", ERR_ENDPOINT_ANSWER, 0, "" },
		{ "HTTP/1.1 2000 OK\r\n\r\nok", ERR_ENDPOINT_ANSWER, 0, "" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", ERR_ENDPOINT_ANSWER, 0, "" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", ERR_ENDPOINT_ANSWER, 0, "" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok", ERR_ENDPOINT_ANSWER, 0, "" },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok", ERR_ENDPOINT_ANSWER, 0, "" },
		{ "HTTP/1.1 200 OK\r\nX: a\rStatus: 302\r\nContent-Length: 2\r\n\r\nok", ERR_ENDPOINT_ANSWER, 0, "" },
		{ "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 2\r\n\r\nok", ERR_ENDPOINT_ANSWER, 0, "" },
		{ "HTTP/1.1 200 OK\r\nBad Name: x\r\nContent-Length: 2\r\n\r\nok", ERR_ENDPOINT_ANSWER, 0, "" },
		{ "HTTP/1.1 200 OK\r\n folded first\r\nContent-Length: 2\r\n\r\nok", ERR_ENDPOINT_ANSWER, 0, "" },
	};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		canned = rows[i].answer;
		w->server = server_start(say_canned, NULL);
		int rc = post(w, "<Envelope/>");
		w->body[w->n] = '\0';
		if (w->e.kind != rows[i].want || rc != (rows[i].want == ERR_NONE ? 0 : -1))
			fail_msg("%s: %s %s", rows[i].answer, err_name(w->e.kind), w->e.detail);
		if (rc == 0 || w->heads > 0) {
			assert_int_equal(w->heads, 1);
			assert_int_equal(w->status, rows[i].status);
			assert_string_equal(w->body, rows[i].body);
		}
		assert_int_equal(w->server->requests, 1);
		server_stop(w->server);
		w->server = NULL;
	}
}

static void
flood(struct peer *p)
{
	char line[4096];

	if (!peer_request(p))
		return;
	memset(line, 'x', sizeof line);
	memcpy(line, "X-Long: ", 8);
	memcpy(line + sizeof line - 2, "\r\n", 2);
	if (p->server->url[0] == 'h' && p->number == 0) {
		bool more = peer_say(p, "HTTP/1.1 200 OK\r\n");
		for (int i = 0; i < 100000 && more; i++)
			more = peer_send(p, line, sizeof line);
	} else {
		bool more = true;
		for (int i = 0; i < 1000000 && more; i++)
			more = peer_say(p, "HTTP/1.1 100 Continue\r\n\r\n");
	}
}

static void
floods_of_headers_and_interim_answers_end(void **state)
{
	struct world *w = *state;

	w->server = server_start(flood, NULL);
	assert_err(ERR_ENDPOINT_ANSWER, post(w, "x"), &w->e);
	assert_err(ERR_ENDPOINT_ANSWER, post(w, "x"), &w->e);
	assert_int_equal(w->heads, 0);
}

static void
two_lengths_end_the_connection(void **state)
{
	struct world *w = *state;

	canned = "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n"
	    "2\r\nok\r\n0\r\n\r\n";
	w->server = server_start(say_canned, NULL);
	assert_works(w, post(w, "x"));
	assert_int_equal(w->nheaders, 2);	/* without Content-Length */
}

/* The second answer comes unasked, before the second request. */
static void
answer_twice(struct peer *p)
{
	if (p->number > 0) {
		answer_all(p);
		return;
	}
	answer_one(p);
	while (p->server->heads < 50)	/* until the test has its answer */
		sched_yield();
	peer_say(p, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen");
	p->server->heads += 50;
	peer_wait_closed(p);
}

static void
stray_answer_on_an_idle_connection_is_not_taken(void **state)
{
	struct world *w = *state;

	w->server = server_start(answer_twice, NULL);
	assert_works(w, post(w, "x"));
	w->server->heads += 50;
	while (w->server->heads < 100)
		sched_yield();
	assert_works(w, post(w, "x"));
	assert_int_equal(w->server->connections, 2);
}

/* ---- waiting */

static void
say_nothing(struct peer *p)
{
	peer_request(p);
	peer_wait_closed(p);
}

static void
stop_in_the_body(struct peer *p)
{
	if (peer_request(p))
		peer_say(p, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok");
	peer_wait_closed(p);
}

/* A byte now and then, for ever. */
static void
drip(struct peer *p)
{
	if (peer_request(p))
		peer_say(p, "HTTP/1.1 200 OK\r\n\r\n");
	while (!p->server->quit && peer_send(p, "x", 1))
		poll(NULL, 0, 10);
}

static void
read_nothing(struct peer *p)
{
	char c;

	while (!p->server->quit && recv(p->fd, &c, 1, MSG_PEEK) == 1 && poll(NULL, 0, 5) == 0)
		;
}

static void
every_wait_ends(void **state)
{
	static const struct {
		void (*script)(struct peer *);
		unsigned answer_ms, idle_ms, total_ms;
		const char *wait;
	} rows[] = {
		{ say_nothing, 50, 10000, 0, "the answer" },
		{ say_nothing, 10000, 20, 60, "the whole call" },	/* idle_ms is not for the answer */
		{ stop_in_the_body, 10000, 50, 0, "the next byte" },
		{ stop_in_the_body, 10000, 10000, 50, "the whole call" },
		{ read_nothing, 10000, 50, 0, "the next byte" },	/* while sending */
		{ drip, 10000, 200, 0, "500 bytes a second" },
	};
	struct world *w = *state;
	size_t n = 30000000;
	char *big = malloc(n + 1);

	memset(big, 'x', n);
	big[n] = '\0';
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		w->server = server_start(rows[i].script, NULL);
		struct http_call c = a_call(w, rows[i].script == read_nothing ? big : "x");
		c.answer_ms = rows[i].answer_ms;
		c.idle_ms = rows[i].idle_ms;
		c.total_ms = rows[i].total_ms;
		int64_t began = clock_mono_ms();
		assert_err(ERR_ENDPOINT_TIMEOUT, http_do(w->http, w->a, &c, &w->r, &w->e), &w->e);
		assert_true(clock_mono_ms() - began < 8000);
		if (strstr(w->e.detail, rows[i].wait) == NULL)
			fail_msg("row %zu: %s", i, w->e.detail);
		assert_true(w->r.connected);
		server_stop(w->server);
	}
	w->server = NULL;
	free(big);
}

static void
slow_answer_is_no_timeout(void **state)
{
	struct world *w = *state;

	w->server = server_start(answer_all, NULL);
	struct http_call c = a_call(w, "x");
	c.answer_ms = c.idle_ms = c.total_ms = c.connect_ms = 0;	/* the defaults */
	assert_works(w, http_do(w->http, w->a, &c, &w->r, &w->e));
}

static void
nobody_there_is_unreachable(void **state)
{
	struct world *w = *state;

	w->server = server_start(answer_all, NULL);
	char url[64];
	snprintf(url, sizeof url, "%s", w->server->url);
	server_stop(w->server);
	w->server = NULL;
	struct http_call c = { .url = url, .body = S("x") };
	assert_err(ERR_ENDPOINT_UNREACHABLE, http_do(w->http, w->a, &c, &w->r, &w->e), &w->e);
	assert_false(w->r.connected);
	c.url = "http://name.invalid/";
	assert_err(ERR_ENDPOINT_UNREACHABLE, http_do(w->http, w->a, &c, &w->r, &w->e), &w->e);
	assert_false(w->r.connected);
}

/* A listening socket whose queue is full answers no SYN. */
static void
connect_that_hangs_is_unreachable_in_time(void **state)
{
	struct world *w = *state;
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t n = sizeof sa;
	char url[64];
	int fill[4];

	int fd = socket(AF_INET, SOCK_STREAM, 0);
	bind(fd, (struct sockaddr *)&sa, sizeof sa);
	listen(fd, 0);
	getsockname(fd, (struct sockaddr *)&sa, &n);
	for (int i = 0; i < 4; i++) {
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(fill[i], (struct sockaddr *)&sa, sizeof sa);
	}
	snprintf(url, sizeof url, "http://127.0.0.1:%d/", ntohs(sa.sin_port));
	struct http_call c = { .url = url, .body = S("x"), .connect_ms = 50 };
	int64_t began = clock_mono_ms();
	assert_err(ERR_ENDPOINT_UNREACHABLE, http_do(w->http, w->a, &c, &w->r, &w->e), &w->e);
	assert_true(clock_mono_ms() - began < 5000);
	assert_false(w->r.connected);
	for (int i = 0; i < 4; i++)
		close(fill[i]);
	close(fd);
}

/* ---- what is refused before anything is sent */

static void
addresses_and_headers_are_judged_first(void **state)
{
	static const char *const urls[] = { "file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/",
		"127.0.0.1", "http://user:pw@127.0.0.1/", "http://127.0.0.1/\r\nX: y", "" };
	static const struct http_header bad[] = {
		{ "X", { "a\r\nY: b", 7 } }, { "X", { "a\nb", 3 } }, { "X", { "a\rb", 3 } }, { "X", { "a\0b", 3 } },
		{ "X Y", { "a", 1 } }, { "", { "a", 1 } }, { "X:", { "a", 1 } }, { "X\r\nY", { "a", 1 } },
		{ "X", { NULL, 0 } },
	};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
		struct http_call c = { .url = urls[i] };
		assert_err(ERR_CONFIG, http_do(w->http, w->a, &c, &w->r, &w->e), &w->e);
	}
	w->server = server_start(answer_all, NULL);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct http_call c = a_call(w, "x");
		c.headers = &bad[i];
		c.nheaders = 1;
		assert_err(ERR_INVALID, http_do(w->http, w->a, &c, &w->r, &w->e), &w->e);
	}
	assert_int_equal(w->server->connections, 0);
}

static void
proxies_of_the_environment_are_ignored(void **state)
{
	struct world *w = *state;

	setenv("http_proxy", "http://127.0.0.1:1/", 1);
	setenv("all_proxy", "http://127.0.0.1:1/", 1);
	w->server = server_start(answer_all, NULL);
	assert_works(w, post(w, "x"));
	unsetenv("http_proxy");
	unsetenv("all_proxy");
}

/* ---- callbacks that refuse */

static int
refuse_head(void *ctx, int status, const struct http_header *headers, size_t n, struct err *e)
{
	(void)ctx, (void)headers, (void)n;
	return err_set(e, ERR_ENDPOINT_ANSWER, "status %d", status);
}

static int
refuse_body(void *ctx, struct slice bytes, struct err *e)
{
	(void)ctx, (void)bytes;
	return err_set(e, ERR_CLIENT_GONE, "no one to tell");
}

static void
callbacks_end_the_call_with_their_reason(void **state)
{
	struct world *w = *state;

	w->server = server_start(answer_one, NULL);
	struct http_call c = a_call(w, "x");
	c.on_head = refuse_head;
	assert_err(ERR_ENDPOINT_ANSWER, http_do(w->http, w->a, &c, &w->r, &w->e), &w->e);
	assert_string_equal(w->e.detail, "status 200");
	c.on_head = on_head;
	c.on_body = refuse_body;
	assert_err(ERR_CLIENT_GONE, http_do(w->http, w->a, &c, &w->r, &w->e), &w->e);
	c.on_head = NULL;
	c.on_body = NULL;
	assert_ok(http_do(w->http, w->a, &c, &w->r, &w->e), &w->e);
	assert_int_equal(w->r.received, 2);
}

/* ---- fetch */

static void
answer_crl(struct peer *p)
{
	while (peer_request(p))
		peer_say(p, "HTTP/1.1 200 OK\r\nContent-Type: application/pkix-crl\r\nETag: \"1\"\r\n"
		    "Last-Modified: Tue, 14 May 2024 08:00:00 GMT\r\nContent-Length: 10\r\n\r\n0123456789");
}

static void
small_answers_are_fetched_whole_up_to_a_cap(void **state)
{
	struct world *w = *state;
	struct http_small small;

	w->server = server_start(answer_crl, NULL);
	struct http_call c = { .url = w->server->url };
	assert_ok(http_fetch(w->http, w->a, &c, 10, &small, &w->e), &w->e);
	assert_int_equal(small.status, 200);
	assert_slice("0123456789", small.body);
	assert_slice("application/pkix-crl", small.content_type);
	assert_slice("\"1\"", small.etag);
	assert_slice("Tue, 14 May 2024 08:00:00 GMT", small.last_modified);
	assert_err(ERR_ENDPOINT_ANSWER, http_fetch(w->http, w->a, &c, 9, &small, &w->e), &w->e);
	c.source = source;
	c.ctx = w;
	c.length = 3;
	w->piece = 0;
	w->pieces[0] = "abc";
	w->pieces[1] = NULL;
	assert_ok(http_fetch(w->http, w->a, &c, 10, &small, &w->e), &w->e);
	assert_memory_equal(w->server->body, "abc", 3);
}

/* ---- threads */

static void *
many_calls(void *arg)
{
	struct world *w = arg;
	struct arena *a = arena_new(1 << 20);

	for (int i = 0; i < 50; i++) {
		struct http_call c = { .url = w->server->url, .body = S("x"), .answer_ms = 20000 };
		struct http_small small;
		struct err e = { 0 };
		if (http_fetch(w->http, a, &c, 100, &small, &e) < 0 || !slice_is(small.body, "ok"))
			return w;
		arena_reset(a);
	}
	arena_free(a);
	return NULL;
}

static void
answer_and_say_close(struct peer *p)
{
	if (peer_request(p))
		peer_say(p, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
}

static void
threads_share_it(void **state)
{
	struct world *w = *state;
	pthread_t t[6];
	void *failed;

	w->server = server_start(answer_and_say_close, NULL);	/* a new connection for each */
	for (int i = 0; i < 6; i++)
		pthread_create(&t[i], NULL, many_calls, w);
	for (int i = 0; i < 6; i++) {
		pthread_join(t[i], &failed);
		assert_null(failed);
	}
	assert_int_equal(w->server->requests, 300);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
		T(one_piece_is_posted_as_it_is),
		T(calls_follow_each_other_on_a_warm_connection),
		T(large_bodies_have_no_expect_and_arrive_whole),
		T(idle_connection_that_the_server_closed_costs_no_call),
		T(request_without_answer_on_a_warm_connection_is_not_sent_again),
		T(source_that_fails_or_lies_never_makes_a_whole_request),
		T(wrong_answers_are_told_apart),
		T(floods_of_headers_and_interim_answers_end),
		T(two_lengths_end_the_connection),
		T(stray_answer_on_an_idle_connection_is_not_taken),
		T(every_wait_ends),
		T(slow_answer_is_no_timeout),
		T(nobody_there_is_unreachable),
		T(connect_that_hangs_is_unreachable_in_time),
		T(addresses_and_headers_are_judged_first),
		T(proxies_of_the_environment_are_ignored),
		T(callbacks_end_the_call_with_their_reason),
		T(small_answers_are_fetched_whole_up_to_a_cap),
		T(threads_share_it),
	};
	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
