/* The journal as files: what is written, and what reads it back. */
#include "unit.h"

#include "disk.h"
#include "events.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* The test stands in for the disk. */
static atomic_int fail_sync;	/* the n-th fdatasync from now fails */
static atomic_int syncs;
static atomic_bool slow_at_end;
static atomic_bool closed_under_us;	/* a file was closed while it was synced */

int
fdatasync(int fd)
{
	struct stat st;

	atomic_fetch_add(&syncs, 1);
	if (atomic_load(&fail_sync) > 0 && atomic_fetch_sub(&fail_sync, 1) == 1) {
		errno = EIO;
		return -1;
	}
	/* the segment is nearly full: one takes long, so that it ends meanwhile if it can */
	bool slow = fstat(fd, &st) == 0 && st.st_size > (16 << 20) - (64 << 10) && atomic_exchange(&slow_at_end, false);
	usleep(slow ? 50000 : 200);
	if (fcntl(fd, F_GETFD) < 0)
		atomic_store(&closed_under_us, true);
	return (int)syscall(SYS_fdatasync, fd);
}

/* All records of a segment, each checked against the chain that goes on from hash. Returns their number; what
 * is behind the last whole one in *rest. */
static size_t
walk(struct slice bytes, uint8_t hash[RECORD_HASH], uint64_t *number, struct slice *rest)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	struct record r;
	uint8_t want[RECORD_HASH];
	size_t n = 0;

	EVP_DigestInit_ex(md, EVP_sha256(), NULL);
	while (record_read(bytes, &r) == RECORD_WHOLE) {
		record_chain(md, hash, r.payload, want);
		if (memcmp(want, r.hash, sizeof want) != 0 || r.number != *number + 1)
			break;
		memcpy(hash, want, sizeof want);
		*number = r.number;
		bytes = slice_from(bytes, r.size);
		n++;
	}
	EVP_MD_CTX_free(md);
	*rest = bytes;
	return n;
}

static size_t
walk_one(struct slice bytes, struct slice *rest)
{
	uint8_t hash[RECORD_HASH] = { 0 };
	uint64_t number = 0;

	return walk(bytes, hash, &number, rest);
}

/* Every segment of the one journal: the number of records when all of them hang together. */
static size_t
walk_all(struct world *w)
{
	struct folder_journal j = only_journal(w);
	uint8_t hash[RECORD_HASH] = { 0 };
	uint64_t number = 0;
	size_t n = 0;
	struct slice rest;

	for (uint32_t i = j.first; i <= j.last; i++) {
		n += walk(unit_file(w->a, segment_path(w, i)), hash, &number, &rest);
		if (rest.n > 0)
			fail_msg("segment %u: %zu bytes do not hang together behind record %llu", i, rest.n,
			    (unsigned long long)number);
	}
	return n;
}

static json_t *
payload_of(struct world *w, size_t n)
{
	struct slice bytes = unit_file(w->a, segment_path(w, 0));
	struct record r;

	for (size_t i = 0; i <= n; i++) {
		assert_int_equal(record_read(bytes, &r), RECORD_WHOLE);
		bytes = slice_from(bytes, r.size);
	}
	json_t *o = json_loadb(r.payload.p, r.payload.n, 0, NULL);
	assert_non_null(o);
	return o;
}

static void
an_event_comes_back_as_it_was_written(void **state)
{
	struct world *w = *state;
	struct audit *j = journal_open(w, false);

	put(j, AUDIT_OK, "r1");
	audit_close(j);
	assert_int_equal(walk_all(w), 3);	/* begin, the event, end */
	json_t *o = payload_of(w, 1), *want = json_pack("{s:s,s:i,s:s,s:s,s:I,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,"
	    "s:i,s:i,s:i,s:I,s:i}", "t", "event", "f", 1, "kind", "proxy", "status", "ok", "time", 1717243200123,
	    "request_id", "r1", "client", "epj", "organisation", "region", "user_id",
	    "SubjectDN={CN=Lærke Ærø},IssuerDN={CN=TRUST2408},CertSerial={1}", "system_id", "EPJ", "address", "10.20.0.1",
	    "operation", "proxy", "service", "fmk", "endpoint", "https://fmk.example.dk/ws", "card_id", "_kort1",
	    "http_status", 200, "duration_ms", 42, "bytes_in", 4096, "bytes_out", 123456789012, "q", 2);
	assert_non_null(want);
	assert_true(json_equal(o, want));
	json_decref(o);
	json_decref(want);
}

static void
whatever_a_value_holds_it_becomes_harmless_text(void **state)
{
	static const struct { struct slice in; const char *want; } rows[] = {
		{ { "a\"b\\c", 5 }, "a\"b\\c" },
		{ { "line\r\nfeed", 10 }, "line␍␊feed" },
		{ { "\x1b[31mred\x7f", 9 }, "␛[31mred␡" },
		{ { "nul\0byte", 8 }, "nul␀byte" },
		{ { "caf\xe9", 4 }, "caf\xef\xbf\xbd" },		/* Latin-1 */
		{ { "\xc0\xaf", 2 }, "\xef\xbf\xbd\xef\xbf\xbd" },	/* overlong */
		{ { "\xed\xa0\x80", 3 }, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },	/* surrogate */
		{ { "\xf4\x90\x80\x80", 4 }, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ { "x\xc2\x9b" "31m", 6 }, "x\xef\xbf\xbd" "31m" },	/* C1: CSI of an old terminal */
		{ { "\xe2\x82", 2 }, "\xef\xbf\xbd\xef\xbf\xbd" },	/* cut in the middle */
		{ { "æøå €", 10 }, "æøå €" },
		{ { "😀", 4 }, "😀" },
		{ { "", 0 }, "" },
	};
	char out[RECORD_VALUE + 1];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t n = record_clean(out, rows[i].in);
		out[n] = '\0';
		if (strcmp(out, rows[i].want) != 0)
			fail_msg("row %zu: \"%s\"", i, out);
	}
}

/* Most values are copied as they are: none that needs cleaning or escaping may be among them. */
static void
every_byte_in_a_value_is_written_cleaned_and_escaped(void **state)
{
	struct world *w = *state;
	struct audit *j = journal_open(w, false);
	char in[] = "a?z", want[RECORD_VALUE];

	for (int c = 0; c < 256; c++) {
		in[1] = (char)c;
		struct audit_event ev = event(AUDIT_OK, "r");
		ev.system = (struct slice){ in, 3 };
		assert_ok(audit_write(j, &ev, &w->e), &w->e);
	}
	audit_close(j);
	struct slice bytes = unit_file(w->a, segment_path(w, 0));
	struct record r;
	assert_int_equal(record_read(bytes, &r), RECORD_WHOLE);	/* begin */
	for (int c = 0; c < 256; c++) {
		bytes = slice_from(bytes, r.size);
		assert_int_equal(record_read(bytes, &r), RECORD_WHOLE);
		json_t *o = json_loadb(r.payload.p, r.payload.n, 0, NULL);
		in[1] = (char)c;
		size_t n = record_clean(want, (struct slice){ in, 3 });
		const char *got = json_string_value(json_object_get(o, "system_id"));
		if (got == NULL || strlen(got) != n || memcmp(got, want, n) != 0)
			fail_msg("byte %d: \"%s\"", c, got);
		json_decref(o);
	}
}

static void
a_long_value_is_cut_at_a_kilobyte_and_says_so(void **state)
{
	static char in[70000];
	char out[RECORD_VALUE];

	(void)state;
	memset(in, 'x', sizeof in);
	assert_int_equal(record_clean(out, (struct slice){ in, 1024 }), 1024);	/* fits */
	size_t n = record_clean(out, (struct slice){ in, sizeof in });
	assert_true(n <= RECORD_VALUE);
	assert_memory_equal(out + n - 16, "\xe2\x80\xa6(70000 bytes)", 16);
	/* each byte grows threefold and no character is cut in two, whatever its place */
	for (size_t len = 1000; len < 1100; len++) {
		memset(in, '\n', len);
		n = record_clean(out, (struct slice){ in, len });
		assert_true(n <= RECORD_VALUE);
		char again[RECORD_VALUE];
		assert_int_equal(record_clean(again, (struct slice){ out, n }), n);
		assert_memory_equal(again, out, n);
	}
}

static void
the_longest_event_fits_a_record(void **state)
{
	struct world *w = *state;
	struct audit *j = journal_open(w, false);
	static char worst[5000];
	struct slice v = { worst, sizeof worst };

	memset(worst, '"', sizeof worst);
	struct audit_event ev = { .kind = AUDIT_ADMIN, .status = AUDIT_FAILED, .time_ms = INT64_MAX, .request_id = v,
		.client = v, .organisation = v, .user = v, .system = v, .address = v, .operation = v, .service = v,
		.endpoint = v, .card_id = v, .reason = v, .http_status = INT32_MAX, .duration_ms = INT64_MAX,
		.bytes_in = UINT64_MAX, .bytes_out = UINT64_MAX };
	assert_ok(audit_write(j, &ev, &w->e), &w->e);
	ev = (struct audit_event){ .http_status = -1, .duration_ms = -5, .time_ms = -1 };
	assert_ok(audit_write(j, &ev, &w->e), &w->e);
	audit_close(j);
	assert_int_equal(walk_all(w), 4);
}

/* A journal with an end in bytes, and where its last three records begin. */
static struct slice
three_records(struct world *w, size_t at[4])
{
	struct audit *j = journal_open(w, false);
	struct record r;
	size_t n = 0, offset = 0;

	put(j, AUDIT_OPEN, "r1");
	put(j, AUDIT_OK, "r1");
	put(j, AUDIT_REFUSED, "r2");
	audit_close(j);
	struct slice bytes = unit_file(w->a, segment_path(w, 0));
	for (; offset < bytes.n; offset += r.size, n++) {
		assert_int_equal(record_read(slice_from(bytes, offset), &r), RECORD_WHOLE);
		if (n >= 2)
			at[n - 2] = offset;
	}
	assert_int_equal(n, 5);
	at[3] = bytes.n;
	return bytes;
}

static void
a_torn_tail_is_seen_at_every_byte_and_nothing_before_it_is_lost(void **state)
{
	size_t at[4];
	struct slice bytes = three_records(*state, at), rest;

	for (size_t cut = at[0]; cut <= bytes.n; cut++) {
		size_t whole = 2 + (cut >= at[1]) + (cut >= at[2]) + (cut >= at[3]);
		assert_int_equal(walk_one((struct slice){ bytes.p, cut }, &rest), whole);
		assert_int_equal(rest.n, whole == 5 ? 0 : cut - at[whole - 2]);
		assert_int_equal(record_resume(rest), rest.n);	/* no record is made up out of the rest */
	}
}

static void
every_flipped_byte_is_seen_and_the_records_behind_it_are_found(void **state)
{
	struct world *w = *state;
	size_t at[4];
	struct slice bytes = three_records(w, at), rest;
	char *copy = arena_alloc(w->a, bytes.n);

	assert_non_null(copy);
	for (size_t i = at[0]; i < bytes.n; i++) {
		for (int bit = 0; bit < 8; bit++) {
			memcpy(copy, bytes.p, bytes.n);
			copy[i] = (char)(copy[i] ^ (1 << bit));
			size_t hit = 2 + (i >= at[1]) + (i >= at[2]);
			if (walk_one((struct slice){ copy, bytes.n }, &rest) != hit)
				fail_msg("byte %zu bit %d: not seen", i, bit);
			size_t next = rest.n - (bytes.n - at[hit - 1]);
			if (record_resume(rest) != next)
				fail_msg("byte %zu bit %d: the next record was not found", i, bit);
		}
	}
}

static void
a_full_segment_is_followed_by_another_and_the_chain_goes_on(void **state)
{
	struct world *w = *state;
	struct audit *j = journal_open(w, false);
	size_t n = 70000;
	struct stat st;

	for (size_t i = 0; i < n; i++)
		put(j, AUDIT_OK, "a request");
	audit_close(j);
	struct folder_journal list = only_journal(w);
	assert_int_equal(list.first, 0);
	assert_true(list.last >= 1);
	assert_int_equal(stat(segment_path(w, 0), &st), 0);
	assert_true(st.st_size <= 16 << 20);
	assert_int_equal(walk_all(w), n + 2 + 2 * list.last);	/* begin and end, and a roll and begin at each turn */
}

static void
a_journal_is_final_when_its_process_is_gone_and_not_before(void **state)
{
	struct world *w = *state;
	int pipes[2], status;
	char c;

	assert_int_equal(pipe(pipes), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct audit *j = journal_open(w, false);
		put(j, AUDIT_OPEN, "r1");
		if (write(pipes[1], "x", 1) == 1)
			pause();
		_exit(0);
	}
	assert_int_equal(read(pipes[0], &c, 1), 1);
	struct folder_journal j = only_journal(w);
	assert_false(folder_is_final(w->dir, j.name.p, 0));
	folder_sweep(w->dir, &j, 1);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	assert_true(folder_is_final(w->dir, j.name.p, 0));
	assert_int_equal(walk_all(w), 2);
	close(pipes[0]);
	close(pipes[1]);
}

static void
a_disk_that_is_full_refuses_and_recovers_in_a_new_segment(void **state)
{
	struct world *w = *state;
	struct audit *j = journal_open(w, false);
	struct audit_event ev = event(AUDIT_OK, "r2");
	struct rlimit old, tight;
	struct stat st;

	put(j, AUDIT_OK, "r1");
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(stat(segment_path(w, 0), &st), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	tight = old;
	/* the next record is written in part, or not at all; and no new segment can be begun */
	tight.rlim_cur = (rlim_t)st.st_size + 40;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
	assert_err(ERR_AUDIT, audit_write(j, &ev, &w->e), &w->e);
	tight.rlim_cur = 40;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
	assert_err(ERR_AUDIT, audit_write(j, &ev, &w->e), &w->e);
	usleep(120000);		/* beyond the pause between two tries */
	assert_err(ERR_AUDIT, audit_write(j, &ev, &w->e), &w->e);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	/* until it has tried again the answer stays no: nothing hammers on a full disk */
	assert_err(ERR_AUDIT, audit_write(j, &ev, &w->e), &w->e);
	/* a process without a segment to write to is still alive */
	assert_false(folder_is_final(w->dir, only_journal(w).name.p, 0));
	usleep(120000);
	put(j, AUDIT_OK, "r3");
	audit_close(j);
	assert_int_equal(only_journal(w).last, 1);
	assert_int_equal(walk_all(w), 5);	/* begin r1, begin r3 end: no hole */
}

static int
small_disk(void **state)
{
	struct world *w;

	if (world_new(state) != 0)
		return -1;
	w = *state;
	if (!disk_mount(w->dir, "2m")) {
		world_free(state);
		*state = NULL;
	}
	return 0;
}

static int
no_small_disk(void **state)
{
	struct world *w = *state;

	if (w == NULL)
		return 0;
	disk_unmount(w->dir);
	return world_free(state);
}

static void
a_disk_that_is_nearly_full_lets_calls_end_and_none_begin(void **state)
{
	struct world *w = *state;
	if (w == NULL)
		skip();
	struct audit *j = journal_open(w, false);
	struct audit_event begin = event(AUDIT_OPEN, "r2");
	const char *filler = arena_printf(w->a, "%s/filler", w->dir).p;

	audit_limit(j, 80);
	put(j, AUDIT_OPEN, "r1");
	disk_fill(filler, 1700000);
	audit_limit(j, 80);		/* it looks once a second; now it looks at once */
	assert_err(ERR_AUDIT, audit_write(j, &begin, &w->e), &w->e);
	assert_non_null(strstr(w->e.detail, "% full"));
	put(j, AUDIT_OK, "r1");
	put(j, AUDIT_REFUSED, "r2");
	/* to the very end: then nothing can be written, and it says so */
	disk_fill(filler, 4000000);
	struct audit_event end = event(AUDIT_REFUSED, "r3");
	int written = 0;
	while (audit_write(j, &end, &w->e) == 0)
		written++;
	err_clear(&w->e);
	assert_int_equal(unlink(filler), 0);
	/* by itself, within seconds */
	int tries = 0;
	while (audit_write(j, &begin, &w->e) < 0 && tries++ < 100)
		usleep(50000);
	err_clear(&w->e);
	assert_true(tries < 100);
	audit_close(j);
	/* begin r1 r1 r2 r3... begin r2 end */
	assert_int_equal(walk_all(w), (size_t)written + 7);
}

static void
a_limit_of_a_hundred_stops_nobody(void **state)
{
	struct world *w = *state;
	struct audit *j = journal_open(w, false);
	struct audit_event begin = event(AUDIT_OPEN, "r2");

	put(j, AUDIT_OPEN, "r1");
	audit_limit(j, 1);		/* every disk is that full */
	assert_err(ERR_AUDIT, audit_write(j, &begin, &w->e), &w->e);
	audit_limit(j, 100);
	put(j, AUDIT_OPEN, "r2");
	audit_close(j);
}

static void
after_a_failed_sync_that_file_is_never_used_again(void **state)
{
	struct world *w = *state;
	struct audit *j = journal_open(w, true);
	struct audit_event ev = event(AUDIT_OK, "r2");

	put(j, AUDIT_OK, "r1");
	atomic_store(&fail_sync, 1);
	assert_err(ERR_AUDIT, audit_write(j, &ev, &w->e), &w->e);
	put(j, AUDIT_OK, "r3");		/* the disk takes it again, elsewhere */
	struct stat before, after;
	assert_int_equal(stat(segment_path(w, 0), &before), 0);
	put(j, AUDIT_OK, "r4");
	audit_close(j);
	assert_int_equal(stat(segment_path(w, 0), &after), 0);
	assert_int_equal(before.st_size, after.st_size);
	assert_int_equal(only_journal(w).last, 1);
	assert_int_equal(walk_all(w), 7);
}

static void
a_new_segment_counts_only_when_the_disk_has_taken_it(void **state)
{
	struct world *w = *state;
	struct audit *j = journal_open(w, true);
	struct audit_event ev = event(AUDIT_OK, "r2");

	atomic_store(&fail_sync, 1);
	assert_err(ERR_AUDIT, audit_write(j, &ev, &w->e), &w->e);
	atomic_store(&fail_sync, 1);	/* of the new segment's first record */
	assert_err(ERR_AUDIT, audit_write(j, &ev, &w->e), &w->e);
	usleep(120000);
	put(j, AUDIT_OK, "r3");
	audit_close(j);
	assert_int_equal(walk_all(w), 5);
}

#define THREADS 8
#define EACH 400

static void *
write_many(void *arg)
{
	struct err e = { 0 };

	for (int i = 0; i < EACH; i++) {
		char id[32];
		snprintf(id, sizeof id, "%p-%d", (void *)&e, i);
		struct audit_event ev = event(AUDIT_OK, id);
		if (audit_write(arg, &ev, &e) < 0)
			return arg;
	}
	return NULL;
}

static void
write_in_threads(struct world *w, bool sync)
{
	struct audit *j = journal_open(w, sync);
	pthread_t t[THREADS];
	void *failed;

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, write_many, j), 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(t[i], &failed);
		assert_null(failed);
	}
	audit_close(j);
	assert_int_equal(walk_all(w), THREADS * EACH + 2);
}

static void
threads_share_one_journal(void **state)
{
	write_in_threads(*state, false);
}

static void
threads_that_wait_for_the_disk_share_the_wait(void **state)
{
	atomic_store(&syncs, 0);
	write_in_threads(*state, true);
	if (atomic_load(&syncs) > THREADS * EACH / 2)
		fail_msg("%d syncs for %d records", atomic_load(&syncs), THREADS * EACH);
}

/* 11 KB a record, so that the segment ends while others wait for it. */
static void *
write_large(void *arg)
{
	static const char text[1000] = { 'x' };
	struct slice v = { text, sizeof text };
	struct audit_event ev = { .status = AUDIT_OK, .request_id = v, .client = v, .organisation = v, .user = v, .system = v,
		.address = v, .operation = v, .service = v, .endpoint = v, .card_id = v, .reason = v };
	struct err e = { 0 };

	for (int i = 0; i < 300; i++)
		if (audit_write(arg, &ev, &e) < 0)
			return arg;
	return NULL;
}

static void
a_segment_ends_only_when_nobody_syncs_it(void **state)
{
	struct world *w = *state;
	struct audit *j = journal_open(w, true);
	pthread_t t[THREADS];
	void *failed;

	atomic_store(&slow_at_end, true);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, write_large, j), 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(t[i], &failed);
		assert_null(failed);
	}
	audit_close(j);
	assert_true(only_journal(w).last > 0);
	assert_false(atomic_load(&closed_under_us));
	assert_int_equal(walk_all(w), THREADS * 300 + 2 + 2 * only_journal(w).last);
}

struct writer { struct audit *j; size_t said_yes, said_no; };

static void *
write_on(void *arg)
{
	struct writer *w = arg;

	for (int i = 0; i < EACH; i++) {
		struct audit_event ev = event(AUDIT_OK, "r");
		struct err e = { 0 };
		if (audit_write(w->j, &ev, &e) == 0)
			w->said_yes++;
		else
			w->said_no++;
	}
	return NULL;
}

static void
syncs_that_fail_under_load_lose_no_record_that_was_acknowledged(void **state)
{
	struct world *w = *state;
	struct audit *j = journal_open(w, true);
	struct writer writers[THREADS] = { 0 };
	pthread_t t[THREADS];
	size_t yes = 0, no = 0;

	for (int i = 0; i < THREADS; i++) {
		writers[i].j = j;
		assert_int_equal(pthread_create(&t[i], NULL, write_on, &writers[i]), 0);
	}
	for (int i = 0; i < 20; i++) {
		atomic_store(&fail_sync, 3);
		usleep(5000);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(t[i], NULL);
		yes += writers[i].said_yes;
		no += writers[i].said_no;
	}
	atomic_store(&fail_sync, 0);
	usleep(120000);
	put(j, AUDIT_OK, "last");
	audit_close(j);
	size_t there = walk_all(w);
	assert_true(no > 0);
	assert_true(there >= yes + 1);
}

static void
what_is_no_journal_is_passed_over(void **state)
{
	struct world *w = *state;
	struct folder_journal *list;
	static const char *const names[] = { "x.journal", ".1.journal", "a.b.journal", "a.-1.journal", "a.1.journal.gz",
		"a.99999999999999999999.journal", "a'b.1.journal", "a.7.new", "good.3.journal", "good.12.journal" };
	size_t n;

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		write_file(arena_printf(w->a, "%s/%s", w->dir, names[i]).p, S("x"));
	assert_ok(folder_list(w->a, w->dir, &list, &n, &w->e), &w->e);
	assert_int_equal(n, 1);
	assert_slice("good", list[0].name);
	assert_int_equal(list[0].first, 3);
	assert_int_equal(list[0].last, 12);
	assert_err(ERR_AUDIT, folder_list(w->a, "/nonexistent", &list, &n, &w->e), &w->e);
}

static void
a_journal_that_cannot_be_begun_is_refused(void **state)
{
	struct world *w = *state;

	err_clear(&w->e);
	assert_null(audit_open("/nonexistent/journal", "gw1", "proxy", false, &w->e));
	assert_int_equal(w->e.kind, ERR_AUDIT);
	/* odd names make odd file names harmless */
	struct audit *j = audit_open(w->dir, "../gw 1\n", "pro\"xy", false, &w->e);
	assert_non_null(j);
	audit_close(j);
	assert_int_equal(walk_all(w), 2);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, world_new, world_free)
	const struct CMUnitTest tests[] = {
		T(an_event_comes_back_as_it_was_written),
		T(whatever_a_value_holds_it_becomes_harmless_text),
		T(every_byte_in_a_value_is_written_cleaned_and_escaped),
		T(a_long_value_is_cut_at_a_kilobyte_and_says_so),
		T(the_longest_event_fits_a_record),
		T(a_torn_tail_is_seen_at_every_byte_and_nothing_before_it_is_lost),
		T(every_flipped_byte_is_seen_and_the_records_behind_it_are_found),
		T(a_full_segment_is_followed_by_another_and_the_chain_goes_on),
		T(a_journal_is_final_when_its_process_is_gone_and_not_before),
		T(a_disk_that_is_full_refuses_and_recovers_in_a_new_segment),
		cmocka_unit_test_setup_teardown(a_disk_that_is_nearly_full_lets_calls_end_and_none_begin, small_disk, no_small_disk),
		T(a_limit_of_a_hundred_stops_nobody),
		T(after_a_failed_sync_that_file_is_never_used_again),
		T(a_new_segment_counts_only_when_the_disk_has_taken_it),
		T(threads_share_one_journal),
		T(threads_that_wait_for_the_disk_share_the_wait),
		T(a_segment_ends_only_when_nobody_syncs_it),
		T(syncs_that_fail_under_load_lose_no_record_that_was_acknowledged),
		T(what_is_no_journal_is_passed_over),
		T(a_journal_that_cannot_be_begun_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
