/* What a hostile or broken peer can do to the worker's socket: its request is dropped, the worker lives. */
#include "peer.h"

#include "fcgi.h"
#include "input.h"

#include <pthread.h>

static struct {
	char dir[64], path[96];
	struct fcgi *f;
	pthread_t thread;
	struct err e;
} w;

static void
handle(void *ctx, struct req *r)
{
	char some[4096];
	struct err e = { 0 };
	static const struct req_header text[] = { { "Content-Type", { "text/plain", 10 } } };
	ssize_t n;
	(void)ctx;

	while ((n = req_read(r, some, sizeof some, &e)) > 0)
		;
	if (req_answer(r, n < 0 ? 500 : 200, text, 1, &e) == 0)
		req_write(r, S("here"), &e);
}

static void *
run(void *arg)
{
	(void)arg;
	fcgi_run(w.f, 20000, &w.e);
	return NULL;
}

static int
start(void **state)
{
	(void)state;
	struct fcgi_conf conf = { .listen = w.path, .threads = 4, .queue = 100, .queue_ms = 20000,
		.arena_cap = 1 << 20, .handle = handle, .refuse = handle };

	snprintf(w.dir, sizeof w.dir, "/tmp/fcgi-XXXXXX");
	assert_non_null(mkdtemp(w.dir));
	snprintf(w.path, sizeof w.path, "%s/w.sock", w.dir);
	w.f = fcgi_new(&conf, &w.e);
	assert_non_null(w.f);
	return pthread_create(&w.thread, NULL, run, NULL);
}

static int
end(void **state)
{
	(void)state;
	fcgi_stop(w.f);
	pthread_join(w.thread, NULL);
	fcgi_free(w.f);
	unlink(w.path);
	rmdir(w.dir);
	return (int)w.e.kind;
}

static void
worker_lives(const char *after)
{
	int fd = dial(w.path);

	if (strstr(ask_on(fd, false, PARAMS_OF("SCRIPT_NAME=/"), "x")->text, "here") == NULL)
		fail_msg("dead after: %s", after);
	close(fd);
}

/* Sends it, closes our writing side, waits until the worker is through with it. */
static const struct answer *
throw(const void *p, size_t n)
{
	int fd = dial(w.path);

	send_all(fd, p, n);
	shutdown(fd, SHUT_WR);
	const struct answer *a = read_answer(fd);
	close(fd);
	return a;
}

static void
good_request(struct bytes *b)
{
	b->n = 0;
	put_begin(b, 1, true);
	put_params(b, PARAMS_OF("SCRIPT_NAME=/", "CONTENT_LENGTH=4", "REQUEST_METHOD=POST"));
	put_stdin(b, "body");
}

static void
wrong_heads_are_dropped(void **state)
{
	static const struct { size_t at; unsigned char byte; const char *note; } rows[] = {
		{ 0, 0, "version 0" }, { 0, 2, "version 2" }, { 16, 9, "version of the parameters" },
		{ 1, 0, "type 0" }, { 1, END, "END_REQUEST first" }, { 1, ABORT, "ABORT first" },
		{ 1, PARAMS, "parameters first" }, { 1, STDIN, "body first" }, { 1, GET_VALUES, "GET_VALUES" },
		{ 3, 0, "request id 0" }, { 5, 7, "short BEGIN" }, { 5, 9, "long BEGIN" }, { 6, 8, "padded BEGIN" },
		{ 8, 1, "role 257" }, { 9, 0, "role 0" }, { 9, 2, "authorizer" }, { 9, 3, "filter" },
		{ 17, BEGIN, "two BEGIN" }, { 17, STDIN, "no parameters" }, { 17, 200, "unknown type" },
		{ 19, 2, "parameters of another request" }, { 24, 0xff, "name of 2 GB" },
		{ 25, 0xff, "value of 2 GB" }, { 24, 127, "name beyond the end" },
	};
	static struct bytes b;
	(void)state;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		good_request(&b);
		b.p[rows[i].at] = rows[i].byte;
		if (throw(b.p, b.n)->n != 0)
			fail_msg("answered: %s", rows[i].note);
		worker_lives(rows[i].note);
	}
}

static void
lengths_of_two_gigabytes_are_dropped(void **state)
{
	static const unsigned char both[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 'A' };
	static struct bytes b;
	(void)state;

	b.n = 0;
	put_begin(&b, 1, true);
	put_record(&b, PARAMS, 1, both, sizeof both);
	put_record(&b, PARAMS, 1, NULL, 0);
	put_stdin(&b, "");
	assert_int_equal(throw(b.p, b.n)->n, 0);
	worker_lives("lengths 0x7fffffff");
}

static void
many_parameters_are_served_and_too_many_dropped(void **state)
{
	static struct bytes b, pairs;
	(void)state;

	for (int count = 1000; count <= 10000; count *= 10) {
		pairs.n = b.n = 0;
		for (int i = 0; i < count; i++) {
			char name[32];
			snprintf(name, sizeof name, "HTTP_X_%d", i);
			put_pair(&pairs, name, "v");
		}
		put_begin(&b, 1, true);
		for (size_t at = 0; at < pairs.n; at += 30000)	/* pairs go across records */
			put_record(&b, PARAMS, 1, pairs.p + at, pairs.n - at < 30000 ? pairs.n - at : 30000);
		put_record(&b, PARAMS, 1, NULL, 0);
		put_stdin(&b, "");
		const struct answer *a = throw(b.p, b.n);
		assert_int_equal(strstr(a->text, "here") != NULL, count == 1000);
		worker_lives("parameters");
	}
}

/* Kills libfcgi 2.4.2 when it gets to see it. */
static void
repeated_management_values_are_dropped(void **state)
{
	static struct bytes b, names;
	(void)state;

	names.n = b.n = 0;
	for (int i = 0; i < 20; i++)
		put_pair(&names, "FCGI_MAX_CONNS", "");
	put_record(&b, GET_VALUES, 0, names.p, names.n);
	put_begin(&b, 1, true);
	throw(b.p, b.n);
	worker_lives("GET_VALUES before a request");
	b.n = 0;
	put_begin(&b, 1, true);
	put_record(&b, GET_VALUES, 0, names.p, names.n);
	put_params(&b, PARAMS_OF("SCRIPT_NAME=/"));
	put_stdin(&b, "");
	throw(b.p, b.n);
	worker_lives("GET_VALUES in the parameters");
	b.n = 0;
	put_begin(&b, 1, true);
	put_params(&b, PARAMS_OF("SCRIPT_NAME=/"));
	put_record(&b, GET_VALUES, 0, names.p, names.n);
	put_stdin(&b, "");
	throw(b.p, b.n);
	worker_lives("GET_VALUES in the body");
}

static void
connection_may_end_at_any_byte(void **state)
{
	static struct bytes b;
	(void)state;

	good_request(&b);
	for (size_t n = 0; n < b.n; n++) {
		const struct answer *a = throw(b.p, n);
		/* at most the fault of a cut body, never the good answer */
		assert_true(a->n == 0 || strstr(a->text, "Status: 500") != NULL);
	}
	worker_lives("every length");
}

static void
abort_and_strange_records_in_the_body_end_the_request(void **state)
{
	static const struct { int type, id; } rows[] = {
		{ ABORT, 1 }, { PARAMS, 1 }, { END, 1 }, { 77, 1 }, { BEGIN, 2 }, { STDIN, 9 }, { 77, 0 }, { GET_VALUES, 0 },
	};
	static struct bytes b;
	(void)state;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		b.n = 0;
		put_begin(&b, 1, true);
		put_params(&b, PARAMS_OF("SCRIPT_NAME=/"));
		put_record(&b, STDIN, 1, "half", 4);
		put_record(&b, rows[i].type, rows[i].id, "\0\1\0\0\0\0\0\0", 8);
		put_stdin(&b, "rest");
		throw(b.p, b.n);
		worker_lives("strange record");
	}
}

/* A small generator, so that a failure can be repeated. */
static unsigned
next(unsigned *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 16;
}

static void
damaged_and_random_bytes_do_no_harm(void **state)
{
	static struct bytes b;
	unsigned seed = 4711;
	(void)state;

	for (int i = 0; i < 400; i++) {
		good_request(&b);
		if (i % 4 == 0) {
			b.n = next(&seed) % 600;
			for (size_t k = 0; k < b.n; k++)
				b.p[k] = (unsigned char)next(&seed);
		} else {
			for (unsigned k = 0; k < 1 + next(&seed) % 4; k++)
				b.p[next(&seed) % b.n] = (unsigned char)next(&seed);
		}
		throw(b.p, b.n);
	}
	worker_lives("random bytes");
}

static void
head_is_whole_only_with_its_last_byte(void **state)
{
	static struct bytes b;
	(void)state;

	b.n = 0;
	put_begin(&b, 1, true);
	put_params(&b, PARAMS_OF("SCRIPT_NAME=/", "EMPTY=", "REQUEST_METHOD=POST"));
	size_t whole = b.n;
	put_stdin(&b, "body");
	for (size_t n = 0; n < whole; n++)
		assert_int_equal(head_check(b.p, n), 0);
	for (size_t n = whole; n <= b.n; n++)
		assert_int_equal(head_check(b.p, n), whole);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(head_is_whole_only_with_its_last_byte),
		cmocka_unit_test(wrong_heads_are_dropped),
		cmocka_unit_test(lengths_of_two_gigabytes_are_dropped),
		cmocka_unit_test(many_parameters_are_served_and_too_many_dropped),
		cmocka_unit_test(repeated_management_values_are_dropped),
		cmocka_unit_test(connection_may_end_at_any_byte),
		cmocka_unit_test(abort_and_strange_records_in_the_body_end_the_request),
		cmocka_unit_test(damaged_and_random_bytes_do_no_harm),
	};
	return cmocka_run_group_tests_name("hostile", tests, start, end);
}
