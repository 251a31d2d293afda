/* From journals to the central table, exactly once, and what is then found there. */
#include "unit.h"

#include "central.h"
#include "disk.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

static void
an_event_arrives_with_all_it_holds(void **state)
{
	struct world *w = *state;
	struct audit *j = journal_open(w, false);
	size_t n;

	put(j, AUDIT_OK, "r1");
	assert_int_equal(ship(w), 1);
	struct audit_row *r = search(w, (struct audit_query){ 0 }, &n);
	assert_int_equal(n, 1);
	assert_true(r->id > 0);
	static const struct { const char *want; size_t at; } rows[] = {
#define ROW(member, text) { text, offsetof(struct audit_row, member) }
		ROW(time, "2024-06-01T12:00:00.123Z"), ROW(server, "gw1"), ROW(kind, "proxy"), ROW(status, "ok"),
		ROW(request_id, "r1"), ROW(client, "epj"), ROW(organisation, "region"),
		ROW(user, "SubjectDN={CN=Lærke Ærø},IssuerDN={CN=TRUST2408},CertSerial={1}"), ROW(system, "EPJ"),
		ROW(address, "10.20.0.1"), ROW(operation, "proxy"), ROW(service, "fmk"),
		ROW(endpoint, "https://fmk.example.dk/ws"), ROW(card_id, "_kort1"), ROW(http_status, "200"),
		ROW(duration_ms, "42"), ROW(bytes_in, "4096"), ROW(bytes_out, "123456789012"),
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_slice(rows[i].want, *(struct slice *)(void *)((char *)r + rows[i].at));
	assert_null(r->reason.p);
	audit_close(j);
	ship(w);
	assert_whole(1);
}

static void
each_field_finds_its_events(void **state)
{
	struct world *w = *state;
	struct audit *j = journal_open(w, false);
	static char longest[3000];
	memset(longest, 'n', sizeof longest);
	struct audit_event ev[] = {
		{ .kind = AUDIT_SERVICE, .status = AUDIT_OK, .time_ms = 1000000, .user = S("a"), .client = S("c1"),
		    .service = S("s1"), .request_id = S("r1"), .card_id = S("k1"), .address = S("10.0.0.1") },
		{ .kind = AUDIT_PROXY, .status = AUDIT_REFUSED, .time_ms = 2000000, .user = S("b'; --"), .client = S("c2"),
		    .service = S("s2"), .request_id = S("r2"), .card_id = S("k2"), .address = S("10.0.0.2") },
		{ .kind = AUDIT_BROWSER, .status = AUDIT_FAILED, .time_ms = 3000000, .user = { longest, sizeof longest },
		    .client = S("line\nfeed"), .service = S(""), .request_id = S("r3"), .card_id = S("k3"), .address = S("::1") },
	};
	for (size_t i = 0; i < 3; i++)
		assert_ok(audit_write(j, &ev[i], &w->e), &w->e);
	audit_close(j);
	assert_int_equal(ship(w), 3);
	const struct { struct audit_query q; const char *want; } rows[] = {
		{ { .user = S("a") }, "r1" }, { { .user = S("b'; --") }, "r2" }, { { .user = { longest, sizeof longest } }, "r3" },
		{ { .client = S("c2") }, "r2" }, { { .client = S("line\nfeed") }, "r3" }, { { .service = S("s1") }, "r1" },
		{ { .service = S("") }, "r3" },
		{ { .status = S("refused") }, "r2" }, { { .kind = S("browser") }, "r3" }, { { .request_id = S("r1") }, "r1" },
		{ { .card_id = S("k2") }, "r2" }, { { .address = S("::1") }, "r3" },
		{ { .from_ms = 1000000, .to_ms = 2000000 }, "r1" }, { { .from_ms = 2000001 }, "r3" },
		{ { .user = S("a"), .client = S("c2") }, "" }, { { .user = S("A") }, "" },
		{ { .most = 2 }, "r3r2" }, { { .to_ms = 3000000 }, "r2r1" }, { { .after_id = 1, .from_ms = 1 }, NULL },
		{ { .status = S("ok"), .kind = S("service"), .user = S("a"), .client = S("c1"), .service = S("s1"),
		    .request_id = S("r1"), .card_id = S("k1"), .address = S("10.0.0.1"), .from_ms = 1, .to_ms = 5000000,
		    .most = 5 }, "r1" },
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t n;
		struct audit_row *r = search(w, rows[i].q, &n);
		char got[64] = "";
		for (size_t k = 0; k < n; k++)
			strncat(got, r[k].request_id.p, sizeof got - strlen(got) - 1);
		if (rows[i].want != NULL && strcmp(got, rows[i].want) != 0)
			fail_msg("row %zu: found \"%s\"", i, got);
	}
	assert_whole(3);
}

static void
an_open_event_is_completed_in_its_row(void **state)
{
	struct world *w = *state;
	struct audit *j = journal_open(w, false);
	size_t n;

	put(j, AUDIT_OPEN, "r1");
	put(j, AUDIT_OPEN, "r2");
	ship(w);
	struct audit_row *r = search(w, (struct audit_query){ .request_id = S("r1") }, &n);
	assert_int_equal(n, 1);
	assert_slice("open", r->status);
	int64_t seen = search(w, (struct audit_query){ .status = S("open"), .most = 1 }, &n)->id;

	/* the completing one brings only the outcome: what the open one said stays */
	struct audit_event end = { .kind = AUDIT_PROXY, .status = AUDIT_FAILED, .time_ms = 1717243200123,
		.request_id = S("r1"), .reason = S("ENDPOINT_TIMEOUT"), .http_status = 500, .duration_ms = 60000 };
	assert_ok(audit_write(j, &end, &w->e), &w->e);
	put(j, AUDIT_OPEN, "r3");
	put(j, AUDIT_OK, "r3");		/* both in one batch */
	ship(w);
	r = search(w, (struct audit_query){ .request_id = S("r1") }, &n);
	assert_int_equal(n, 1);
	assert_slice("failed", r->status);
	assert_slice("ENDPOINT_TIMEOUT", r->reason);
	assert_slice("epj", r->client);
	assert_slice("4096", r->bytes_in);
	/* who follows by id sees the outcome, in order, and what was there before not again */
	r = search(w, (struct audit_query){ .after_id = seen }, &n);
	assert_int_equal(n, 2);
	assert_true(r[0].id < r[1].id);
	assert_slice("r1", r[0].request_id);
	assert_slice("r3", r[1].request_id);
	assert_slice("ok", r[1].status);

	audit_close(j);
	ship(w);
	r = search(w, (struct audit_query){ .request_id = S("r2") }, &n);
	assert_slice("unknown", r->status);
	assert_whole(3);
	assert_int_equal(count("SELECT count(*) FROM audit_record"), 7);
}

static void
odd_sequences_of_one_request_keep_every_record(void **state)
{
	struct world *w = *state;
	/* o: open, c: completing; each split into batches in every way gives the same events */
	static const struct { const char *records; long events, unknown; } rows[] = {
		{ "oc", 1, 0 }, { "oo", 2, 2 }, { "ooc", 2, 1 }, { "occ", 2, 0 }, { "c", 1, 0 }, { "cc", 2, 0 },
		{ "coc", 2, 0 }, { "oocc", 3, 1 }, { "ococ", 2, 0 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t len = strlen(rows[i].records);
		for (unsigned splits = 0; splits < 1u << (len - 1); splits++) {
			pg_exec(pg, EMPTY);
			struct audit *j = journal_open(w, false);
			for (size_t k = 0; k < len; k++) {
				put(j, rows[i].records[k] == 'o' ? AUDIT_OPEN : AUDIT_OK, "same");
				if (splits & 1u << k)
					ship(w);
			}
			audit_close(j);
			ship(w);
			struct findings f = verify();
			if (f.broken > 0 || f.events != (uint64_t)rows[i].events ||
			    count("SELECT count(*) FROM audit_event WHERE status = 'unknown'") != rows[i].unknown)
				fail_msg("%s split %u: %llu events\n%s", rows[i].records, splits, (unsigned long long)f.events, f.text);
		}
	}
}

/* Events of 1.4 KB, to fill segments. */
static void
put_long(struct audit *j, int n)
{
	static char text[1000];
	struct audit_event ev = event(AUDIT_OK, "r");
	struct err e = { 0 };

	memset(text, 'x', sizeof text);
	ev.endpoint = (struct slice){ text, sizeof text };
	for (int i = 0; i < n; i++)
		assert_ok(audit_write(j, &ev, &e), &e);
}

static void
segments_that_have_arrived_are_removed(void **state)
{
	struct world *w = *state;
	struct audit *j = journal_open(w, false);
	struct folder_journal left;
	const int n = 12000;	/* more than one segment */

	put_long(j, n);
	assert_int_equal(ship(w), n);
	left = only_journal(w);
	assert_int_equal(left.first, left.last);
	assert_true(left.first > 0);
	audit_close(j);
	ship(w);
	assert_int_equal(files_in(w), 0);
	assert_int_equal(count("SELECT count(*) FROM audit_event"), n);
	char closed[16];
	pg_value(pg, "SELECT closed FROM audit_journal", closed, sizeof closed);
	assert_string_equal(closed, "clean");
	char path[PATH_MAX];
	folder_lock_path(path, w->dir, left.name.p);
	assert_int_equal(access(path, F_OK), -1);
	assert_whole(n);
}

static void
what_has_arrived_is_kept_a_while_for_a_database_that_is_put_back(void **state)
{
	struct world *w = *state;
	struct audit_shipped s = { .more = true };
	struct audit *ended = journal_open(w, false);
	const char *path = arena_printf(w->a, "%s", segment_path(w, 0)).p;

	put(ended, AUDIT_OPEN, "r1");
	put(ended, AUDIT_OK, "r1");
	audit_close(ended);
	struct audit *going_on = journal_open(w, false);
	put(going_on, AUDIT_OK, "r2");
	while (s.more)
		assert_ok(audit_ship(w->dir, "gw1", 3600, db, &s, &w->e), &w->e);
	assert_whole(2);
	assert_int_equal(files_in(w), 2);
	pg_exec(pg, EMPTY);	/* an old backup: none of it */
	s.more = true;
	while (s.more)
		assert_ok(audit_ship(w->dir, "gw1", 3600, db, &s, &w->e), &w->e);
	assert_whole(2);
	assert_int_equal(files_in(w), 2);
	/* an hour later */
	struct timespec old[2] = { { .tv_sec = time(NULL) - 3601 }, { .tv_sec = time(NULL) - 3601 } };
	assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
	audit_close(going_on);
	assert_ok(audit_ship(w->dir, "gw1", 3600, db, &s, &w->e), &w->e);
	assert_int_equal(files_in(w), 1);
	ship(w);
	assert_int_equal(files_in(w), 0);
	assert_whole(2);
}

static void
a_torn_tail_is_cut_and_counted_and_all_before_it_arrives(void **state)
{
	struct world *w = *state;
	struct audit *j = journal_open(w, false);

	put(j, AUDIT_OPEN, "r1");
	put(j, AUDIT_OK, "r2");
	audit_close(j);
	const char *path = segment_path(w, 0);
	struct slice bytes = unit_file(w->a, path);
	struct record r;
	size_t at[5] = { 0 };
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(record_read(slice_from(bytes, at[i]), &r), RECORD_WHOLE);
		at[i + 1] = at[i] + r.size;
	}
	for (size_t cut = 0; cut < bytes.n; cut += cut > at[3] - 3 && cut < at[3] + 3 ? 1 : 61) {
		pg_exec(pg, EMPTY);
		write_file(path, (struct slice){ bytes.p, cut });
		uint64_t want = (cut >= at[2]) + (cut >= at[3]);
		if (ship(w) != want)
			fail_msg("cut at %zu", cut);
		bool torn = cut != at[0] && cut != at[1] && cut != at[2] && cut != at[3];
		assert_int_equal(count("SELECT torn FROM audit_journal"), torn);
		assert_int_equal(count("SELECT count(*) FROM audit_journal WHERE closed = 'died'"), 1);
		assert_int_equal(files_in(w), 0);
		assert_whole(want);
	}
}

static void
a_damaged_record_is_told_and_the_rest_arrives(void **state)
{
	struct world *w = *state;
	struct audit *j = journal_open(w, false);

	for (int i = 0; i < 10; i++)
		put(j, AUDIT_OK, "r");
	const char *path = segment_path(w, 0);
	struct slice bytes = unit_file(w->a, path);
	char *copy = arena_alloc(w->a, bytes.n);
	memcpy(copy, bytes.p, bytes.n);
	copy[bytes.n / 2] ^= 1;
	write_file(path, (struct slice){ copy, bytes.n });
	assert_int_equal(ship(w), 9);
	audit_close(j);		/* the writer has gone on as if nothing had happened */
	ship(w);
	struct findings f = verify();
	assert_true(f.broken > 0);
	assert_non_null(strstr(f.text, "are missing"));
	assert_int_equal(f.events, 9);
}

static void
a_record_that_stands_there_twice_is_sent_once(void **state)
{
	struct world *w = *state;
	struct audit *j = journal_open(w, false);
	struct record begin, first;

	put(j, AUDIT_OK, "r1");
	put(j, AUDIT_OK, "r2");
	audit_close(j);
	const char *path = segment_path(w, 0);
	struct slice bytes = unit_file(w->a, path);
	assert_int_equal(record_read(bytes, &begin), RECORD_WHOLE);
	assert_int_equal(record_read(slice_from(bytes, begin.size), &first), RECORD_WHOLE);
	size_t end = begin.size + first.size;
	char *copy = arena_alloc(w->a, bytes.n + first.size);
	memcpy(copy, bytes.p, end);
	memcpy(copy + end, bytes.p + begin.size, bytes.n - begin.size);	/* from the first event on, again */
	write_file(path, (struct slice){ copy, bytes.n + first.size });
	assert_int_equal(ship(w), 2);
	assert_int_equal(count("SELECT damaged FROM audit_journal WHERE closed = 'clean'"), 1);
	assert_int_equal(count("SELECT count(*) FROM audit_record"), 4);
}

/* Somebody who can write the file makes a record that is whole in itself. */
static void
a_changed_journal_shows_at_the_next_record(void **state)
{
	struct world *w = *state;
	struct audit *j = journal_open(w, false);
	static struct record_text forged;
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	struct record begin, honest;
	uint8_t hash[RECORD_HASH];

	put(j, AUDIT_OK, "r1");
	const char *path = segment_path(w, 0);
	struct slice bytes = unit_file(w->a, path);
	assert_int_equal(record_read(bytes, &begin), RECORD_WHOLE);
	assert_int_equal(record_read(slice_from(bytes, begin.size), &honest), RECORD_WHOLE);
	struct audit_event ev = event(AUDIT_OK, "r2");	/* as long as the true one */
	EVP_DigestInit_ex(md, EVP_sha256(), NULL);
	record_event(&forged, &ev, 1);
	record_seal(&forged, md, 2, begin.hash, hash);
	EVP_MD_CTX_free(md);
	assert_int_equal(forged.n, honest.size);
	char *copy = arena_alloc(w->a, bytes.n);
	memcpy(copy, bytes.p, bytes.n);
	memcpy(copy + begin.size, forged.bytes, forged.n);
	write_file(path, (struct slice){ copy, bytes.n });
	put(j, AUDIT_OK, "r3");
	audit_close(j);
	assert_int_equal(ship(w), 2);
	struct findings f = verify();
	assert_true(f.broken > 0);
	assert_non_null(strstr(f.text, "record 3 is not what was written"));
}

/* As when the last server of a cluster is upgraded while this one works. */
static void
a_journal_may_go_on_in_another_format(void **state)
{
	struct world *w = *state;
	struct audit *j = journal_open(w, false);
	struct audit_event ev = event(AUDIT_OK, "r1");
	char said[100];
	size_t n;

	ev.card_client = S("lab");
	assert_ok(audit_write(j, &ev, &w->e), &w->e);		/* nobody has said otherwise: the older format */
	audit_write_format(j, 2);
	ev.request_id = S("r2");
	ev.status = AUDIT_OPEN;
	assert_ok(audit_write(j, &ev, &w->e), &w->e);
	audit_write_format(j, 1);
	ev.status = AUDIT_OK;
	assert_ok(audit_write(j, &ev, &w->e), &w->e);
	audit_close(j);
	assert_int_equal(ship(w), 3);
	assert_whole(2);
	struct audit_row *rows = search(w, (struct audit_query){ .request_id = S("r1") }, &n);
	assert_null(rows[0].card_client.p);
	rows = search(w, (struct audit_query){ .request_id = S("r2") }, &n);
	assert_slice("lab", rows[0].card_client);	/* the record that opened the event said it */
	assert_slice("ok", rows[0].status);
	pg_value(pg, "SELECT string_agg(payload::jsonb->>'f', '' ORDER BY sequence) FROM audit_record", said, sizeof said);
	assert_string_equal(said, "11211");
	pg_exec(pg, "UPDATE audit_event SET card_client = 'epj'");
	assert_int_equal(verify().broken, 2);
}

static void
events_of_any_month_arrive(void **state)
{
	struct world *w = *state;
	struct audit *j = journal_open(w, false);
	static const int64_t times[] = { 0, 1, 1735689599999, 1735689600000, 4000000000000, INT64_MAX, -5 };
	const size_t n = sizeof times / sizeof *times;

	for (size_t i = 0; i < n; i++) {
		struct audit_event ev = event(AUDIT_OK, "r");
		ev.time_ms = times[i];
		assert_ok(audit_write(j, &ev, &w->e), &w->e);
	}
	struct audit_event now = event(AUDIT_OK, "now");
	now.time_ms = clock_now_ms();
	assert_ok(audit_write(j, &now, &w->e), &w->e);
	audit_close(j);
	assert_int_equal(ship(w), n + 1);
	assert_whole(n + 1);
	/* this month and the next have partitions of their own, and they are used */
	assert_int_equal(count("SELECT count(*) FROM audit_event_default"), n);
	assert_int_equal(count("SELECT count(*) FROM pg_inherits WHERE inhparent = 'audit_event'::regclass"), 3);
	/* a month that has rows in the default partition already cannot get one, and goes on without */
	pg_exec(pg, "SELECT audit_partitions('2025-01-15'), audit_partitions('2024-12-31 23:59Z')");
	assert_whole(n + 1);
}

static void
what_verify_finds(void **state)
{
	struct world *w = *state;
	static const struct { const char *note, *sql, *want; } rows[] = {
		{ "nothing", "SELECT 1", NULL },
		{ "a deleted record", "DELETE FROM audit_record WHERE journal = 1 AND sequence = 3", "records 3 to 3 are missing" },
		{ "the last records deleted", "DELETE FROM audit_record WHERE journal = 1 AND sequence >= 5", "its last, are missing" },
		{ "and the journal's row adjusted", "DELETE FROM audit_record WHERE journal = 1 AND sequence >= 5; UPDATE audit_journal "
		    "SET sequence = 4, hash = (SELECT hash FROM audit_record WHERE journal = 1 AND sequence = 4) WHERE id = 1; "
		    "DELETE FROM audit_event WHERE journal = 1 AND begin_sequence >= 5", "its end is missing" },
		{ "a changed record", "UPDATE audit_record SET payload = replace(payload, 'r2', 'rX') WHERE journal = 1",
		    "is not what was written" },
		{ "a changed record with the event to it", "UPDATE audit_record SET payload = replace(payload, 'r2', 'rX'); "
		    "UPDATE audit_event SET request_id = 'rX' WHERE request_id = 'r2'", "is not what was written" },
		{ "a changed time", "UPDATE audit_record SET time = time + '1s' WHERE sequence = 3; UPDATE audit_event "
		    "SET time = time + '1s' WHERE begin_sequence = 3", "record 3 is not what was written" },
		{ "two records swapped", "UPDATE audit_record SET sequence = CASE sequence WHEN 3 THEN 1004 ELSE 1003 END "
		    "WHERE journal = 1 AND sequence IN (3, 4); UPDATE audit_record SET sequence = sequence - 1000 WHERE sequence > 1000",
		    "record 3 is not what was written" },
		{ "the contents of two records swapped", "WITH o AS (SELECT sequence, payload, hash FROM audit_record WHERE journal = 1) "
		    "UPDATE audit_record r SET payload = o.payload, hash = o.hash FROM o WHERE r.journal = 1 AND "
		    "r.sequence + o.sequence = 7 AND r.sequence IN (3, 4)", "record 3 is not what was written" },
		{ "a record twice", "INSERT INTO audit_record SELECT journal, sequence, time + '1s', hash, payload FROM audit_record "
		    "WHERE journal = 1 AND sequence = 3", "is there twice" },
		{ "a deleted event", "DELETE FROM audit_event WHERE request_id = 'r2'", "the event is missing" },
		{ "a changed event", "UPDATE audit_event SET user_id = 'somebody else' WHERE request_id = 'r2'",
		    "not what its records say" },
		{ "a changed outcome", "UPDATE audit_event SET status = 'refused' WHERE request_id = 'r1'", "not what its records say" },
		{ "another server", "UPDATE audit_journal SET server = 'gw9'; UPDATE audit_event SET server = 'gw9'", "list of journals" },
		{ "an invented event", "INSERT INTO audit_event SELECT (jsonb_populate_record(e, '{\"begin_sequence\": 77}')).* "
		    "FROM audit_event e WHERE request_id = 'r2'", "no record tells of" },
		{ "a whole journal removed", "DELETE FROM audit_journal WHERE id = 1; DELETE FROM audit_record WHERE journal = 1; "
		    "DELETE FROM audit_event WHERE journal = 1", "journals number 1 to 1 are missing" },
		{ "its entry alone removed", "DELETE FROM audit_journal WHERE id = 2", "which is not listed" },
		{ "another name", "UPDATE audit_journal SET name = 'gw2-proxy' WHERE id = 1", "list of journals" },
		{ "a hash of odd length", "UPDATE audit_record SET hash = '\\x00' WHERE sequence = 3", "is not what was written" },
		{ "no JSON", "UPDATE audit_journal SET torn = 0; UPDATE audit_record SET payload = '{\"t\":1}' WHERE sequence = 3",
		    "is not what was written" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		pg_exec(pg, EMPTY);
		for (int k = 0; k < 2; k++) {
			struct audit *j = journal_open(w, false);
			put(j, AUDIT_OPEN, "r1");
			put(j, AUDIT_OK, "r2");
			put(j, AUDIT_OK, "r1");
			put(j, AUDIT_REFUSED, "r3");
			audit_close(j);
			ship(w);
		}
		pg_exec(pg, rows[i].sql);
		struct findings f = verify();
		if (rows[i].want == NULL ? f.lines > 0 : f.broken == 0 || strstr(f.text, rows[i].want) == NULL)
			fail_msg("%s: %llu breaks\n%s", rows[i].note, (unsigned long long)f.broken, f.text);
	}
}

/* ---- faults */

struct answered { char id[24]; bool completed; };

/* Writes until it is killed; tells through the pipe what was safely written. */
static void
write_until_killed(struct world *w, int out, int who, bool slowly)
{
	struct err e = { 0 };
	struct audit *j = audit_open(w->dir, "gw1", "proxy", false, &e);

	for (int i = 0; j != NULL && i < 3000; i++) {
		struct answered a = { .completed = false };
		if (slowly)
			usleep(100);
		snprintf(a.id, sizeof a.id, "%d-%d", who, i);
		struct audit_event ev = event(AUDIT_OPEN, a.id);
		if (audit_write(j, &ev, &e) < 0 || write(out, &a, sizeof a) != sizeof a)
			break;
		ev = event(AUDIT_OK, a.id);
		a.completed = true;
		if (i % 3 != 0 && (audit_write(j, &ev, &e) < 0 || write(out, &a, sizeof a) != sizeof a))
			break;
	}
	pause();
	_exit(1);
}

/* What one writer said, into a table that is compared with audit_event. */
static size_t
take_answers(int in, FILE *sql)
{
	struct answered a;
	size_t n = 0;

	while (read(in, &a, sizeof a) == sizeof a) {
		if (!a.completed) {
			fprintf(sql, "INSERT INTO said VALUES ('%s', false);\n", a.id);
			n++;
		} else {
			fprintf(sql, "UPDATE said SET completed = true WHERE id = '%s';\n", a.id);
		}
	}
	return n;
}

#define WRITERS 16

static void
writers_killed_at_any_moment_lose_and_double_nothing(void **state)
{
	struct world *w = *state;
	char *text;
	size_t size, said = 0;
	FILE *sql = open_memstream(&text, &size);

	srand(4711);
	for (int i = 0; i < WRITERS; i++) {
		int pipes[2], status;
		assert_int_equal(pipe(pipes), 0);
		fcntl(pipes[1], F_SETPIPE_SZ, 1 << 20);
		pid_t pid = fork();
		if (pid == 0)
			write_until_killed(w, pipes[1], i, i % 2 == 0);
		close(pipes[1]);
		/* every other one in the middle of writing; the rest while what they write is being sent */
		for (int k = 0; k < 3 && i % 2 == 0; k++) {
			struct audit_shipped out;
			assert_ok(audit_ship(w->dir, "gw1", 0, db, &out, &w->e), &w->e);
		}
		struct pollfd told = { .fd = pipes[0], .events = POLLIN };
		assert_int_equal(poll(&told, 1, 10000), 1);
		usleep((useconds_t)(rand() % 3000));
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		said += take_answers(pipes[0], sql);
		close(pipes[0]);
	}
	ship(w);
	fclose(sql);
	pg_exec(pg, "CREATE TABLE said (id text PRIMARY KEY, completed boolean)");
	pg_exec(pg, text);
	free(text);
	assert_true(said > WRITERS * 4);
	/* each that was answered is there; of each writer at most one more, killed before it could tell */
	assert_int_equal(count("SELECT count(*) FROM said LEFT JOIN audit_event e ON e.request_id = said.id "
	    "WHERE e.id IS NULL OR (completed AND e.status <> 'ok')"), 0);
	assert_int_equal(count("SELECT count(*) - count(DISTINCT request_id) FROM audit_event"), 0);
	assert_true((size_t)count("SELECT count(*) FROM audit_event") <= said + WRITERS);
	assert_int_equal(count("SELECT count(*) FROM audit_event WHERE status = 'open'"), 0);
	assert_true(count("SELECT count(*) FROM audit_event WHERE status = 'unknown'") >= (long)said / 4);
	assert_int_equal(files_in(w), 0);
	assert_whole((uint64_t)count("SELECT count(*) FROM audit_event"));
	pg_exec(pg, "DROP TABLE said");
}

struct shipper { struct world *w; atomic_bool stop; uint64_t rounds, failures, events; };

static void *
ship_on(void *arg)
{
	struct shipper *s = arg;
	bool more = true;

	while (more) {
		struct audit_shipped out;
		struct err e = { 0 };
		more = !atomic_load(&s->stop);
		if (audit_ship(s->w->dir, "gw1", 0, db, &out, &e) < 0)
			s->failures++;
		s->events += out.events;
		s->rounds++;
	}
	return NULL;
}

static void
two_shippers_at_once_double_nothing(void **state)
{
	struct world *w = *state;
	struct shipper s[2] = { { .w = w }, { .w = w } };
	pthread_t t[2];
	const int n = 20000;

	struct audit *j = journal_open(w, false);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, ship_on, &s[i]), 0);
	for (int i = 0; i < n; i++)
		put(j, i % 2 == 0 ? AUDIT_OPEN : AUDIT_OK, "r");
	audit_close(j);
	for (int i = 0; i < 2; i++)
		atomic_store(&s[i].stop, true);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	ship(w);
	assert_int_equal(s[0].failures + s[1].failures, 0);
	assert_int_equal(s[0].events + s[1].events, n);
	assert_int_equal(count("SELECT count(*) FROM audit_record"), n + 2);
	assert_whole((uint64_t)n / 2);
}

static void
a_database_that_dies_and_returns_gets_everything_once(void **state)
{
	struct world *w = *state;
	struct shipper s = { .w = w };
	pthread_t t;
	struct audit *j = journal_open(w, false);
	int n = 0;

	assert_int_equal(pthread_create(&t, NULL, ship_on, &s), 0);
	for (int round = 0; round < 4; round++) {
		for (int i = 0; i < 3000; i++)
			put(j, AUDIT_OK, "r"), n++;
		usleep(10000);
		pg_kill(pg);
		for (int i = 0; i < 500; i++)
			put(j, AUDIT_OK, "while it is away"), n++;
		pg_restart(pg);
	}
	audit_close(j);
	atomic_store(&s.stop, true);
	pthread_join(t, NULL);
	assert_true(s.failures > 0);
	for (int i = 0; i < 100 && count("SELECT count(*) FROM audit_journal WHERE closed = 'clean'") == 0; i++) {
		struct audit_shipped out;
		struct err e = { 0 };
		if (audit_ship(w->dir, "gw1", 0, db, &out, &e) < 0)
			usleep(100000);		/* the breaker's pause */
	}
	assert_int_equal(count("SELECT count(*) FROM audit_event"), n);
	assert_whole((uint64_t)n);
}

/* Away for a day: several segments of several processes pile up, the housekeeper is killed again and again while it
 * catches up, and all is there once. */
static void
a_day_without_a_database_arrives_whole(void **state)
{
	struct world *w = *state;
	struct audit *j[3];
	struct audit_shipped out;
	const int n = 12000, each = n / 3;
	int status, killed = 0;

	pg_kill(pg);
	for (int i = 0; i < 3; i++) {
		j[i] = journal_open(w, false);
		put_long(j[i], each * (i + 1));
		assert_err(ERR_DATABASE, audit_ship(w->dir, "gw1", 0, db, &out, &w->e), &w->e);
		assert_int_equal(out.events, 0);
	}
	struct audit_waiting waiting;
	assert_ok(audit_waiting(w->dir, &waiting, &w->e), &w->e);
	assert_true(waiting.bytes > (uint64_t)n * 2 * 1400 && waiting.files >= 4);
	audit_close(j[0]);
	pg_restart(pg);
	for (int i = 0; i < 8; i++) {
		pid_t pid = fork();
		if (pid == 0) {
			struct db *own = db_new(&(struct db_conf){ .conninfo = pg_conninfo(pg), .connections = 1, .connect_ms = 2000,
			    .statement_ms = 20000, .wait_ms = 2000 });
			_exit(audit_ship(w->dir, "gw1", 0, own, &out, &w->e) < 0);
		}
		usleep((useconds_t)(20000 + i * 20000));
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		killed += WIFSIGNALED(status);
	}
	assert_true(killed > 0);
	pg_eventually(count("SELECT count(*) FROM pg_stat_activity WHERE state LIKE '%transaction%' AND pid <> pg_backend_pid()") == 0);
	for (int i = 1; i < 3; i++)
		audit_close(j[i]);
	for (int i = 0; i < 100 && files_in(w) > 0; i++)
		if (audit_ship(w->dir, "gw1", 0, db, &out, &w->e) < 0)
			usleep(100000);		/* the breaker's pause */
	assert_int_equal(files_in(w), 0);
	assert_whole((uint64_t)n * 2);
	assert_ok(audit_waiting(w->dir, &waiting, &w->e), &w->e);
	assert_int_equal(waiting.bytes, 0);
}

/* A disk of the database's that is soon full. */
static char small[32];

static int
small_disk(void **state)
{
	const struct passwd *pw = getpwnam("postgres");

	strcpy(small, "/tmp/sosigw-small-XXXXXX");
	if (mkdtemp(small) == NULL)
		return -1;
	if (!disk_mount(small, "4m")) {
		*state = NULL;
		return rmdir(small);
	}
	if (pw == NULL || chown(small, pw->pw_uid, pw->pw_gid) < 0 || empty_world(state) != 0)
		return -1;
	struct world *w = *state;
	pg_exec(pg, arena_printf(w->a, "CREATE TABLESPACE small LOCATION '%s'", small).p);
	pg_exec(pg, "TRUNCATE audit_record_default; ALTER TABLE audit_record_default SET TABLESPACE small");
	return 0;
}

static int
no_small_disk(void **state)
{
	if (*state == NULL)
		return 0;
	pg_exec(pg, "TRUNCATE audit_record_default; ALTER TABLE audit_record_default SET TABLESPACE pg_default");
	pg_exec(pg, "DROP TABLESPACE small");
	disk_unmount(small);
	rmdir(small);
	return world_free(state);
}

static void
what_does_not_fit_into_the_database_waits_until_there_is_room(void **state)
{
	struct world *w = *state;
	struct audit_shipped out = { .more = true };
	uint64_t sent = 0;
	const int n = 4000;

	if (w == NULL)
		skip();
	struct audit *j = journal_open(w, false);
	put_long(j, n);
	audit_close(j);
	while (out.more && w->e.kind == ERR_NONE) {
		audit_ship(w->dir, "gw1", 0, db, &out, &w->e);
		sent += out.events;
	}
	assert_int_equal(w->e.kind, ERR_DATABASE);
	assert_non_null(strstr(w->e.detail, "the database has no room left on its disk: "));
	assert_true(sent < n);
	assert_int_equal(files_in(w), 1);
	disk_resize(small, "64m");
	sent += ship(w);
	assert_int_equal(sent, n);
	assert_int_equal(files_in(w), 0);
	assert_whole(n);
}

/* The connection ends at COMMIT, its outcome unknown to the shipper: a trigger ends the session while it commits. */
static void
a_commit_with_unknown_outcome_doubles_nothing(void **state)
{
	struct world *w = *state;
	struct audit_shipped out;
	struct audit *j = journal_open(w, false);

	pg_exec(pg, "CREATE OR REPLACE FUNCTION drop_dead() RETURNS trigger LANGUAGE plpgsql AS "
	    "$$BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END$$; "
	    "CREATE CONSTRAINT TRIGGER drop_dead AFTER UPDATE ON audit_journal DEFERRABLE INITIALLY DEFERRED "
	    "FOR EACH ROW EXECUTE FUNCTION drop_dead()");
	put(j, AUDIT_OK, "r1");
	assert_err(ERR_DATABASE, audit_ship(w->dir, "gw1", 0, db, &out, &w->e), &w->e);
	assert_int_equal(out.events, 0);
	pg_exec(pg, "DROP FUNCTION drop_dead CASCADE");
	/* and the other way: it was committed, and the answer was lost; then the position has moved */
	put(j, AUDIT_OK, "r2");
	assert_int_equal(ship(w), 2);
	assert_int_equal(ship(w), 0);
	audit_close(j);
	ship(w);
	assert_whole(2);
}

static void
a_journal_whose_beginning_is_gone_still_arrives_and_shows_the_gap(void **state)
{
	struct world *w = *state;
	struct audit *j = journal_open(w, false);

	put_long(j, 12000);
	assert_int_equal(unlink(segment_path(w, 0)), 0);
	assert_true(ship(w) > 0);
	put(j, AUDIT_OK, "late");
	audit_close(j);
	assert_int_equal(ship(w), 1);
	struct findings f = verify();
	assert_true(f.broken > 0);
	assert_non_null(strstr(f.text, "records 1 to"));
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, empty_world, world_free)
	const struct CMUnitTest tests[] = {
		T(an_event_arrives_with_all_it_holds),
		T(each_field_finds_its_events),
		T(an_open_event_is_completed_in_its_row),
		T(odd_sequences_of_one_request_keep_every_record),
		T(segments_that_have_arrived_are_removed),
		T(what_has_arrived_is_kept_a_while_for_a_database_that_is_put_back),
		T(a_torn_tail_is_cut_and_counted_and_all_before_it_arrives),
		T(a_damaged_record_is_told_and_the_rest_arrives),
		T(a_record_that_stands_there_twice_is_sent_once),
		T(a_changed_journal_shows_at_the_next_record),
		T(a_journal_may_go_on_in_another_format),
		T(events_of_any_month_arrive),
		T(what_verify_finds),
		T(writers_killed_at_any_moment_lose_and_double_nothing),
		T(two_shippers_at_once_double_nothing),
		T(a_database_that_dies_and_returns_gets_everything_once),
		T(a_day_without_a_database_arrives_whole),
		cmocka_unit_test_setup_teardown(what_does_not_fit_into_the_database_waits_until_there_is_room, small_disk, no_small_disk),
		T(a_commit_with_unknown_outcome_doubles_nothing),
		T(a_journal_whose_beginning_is_gone_still_arrives_and_shows_the_gap),
	};

	struct err e = { 0 };
	log_open(NULL, "test_ship", LOG_ERROR, &e);
	return cmocka_run_group_tests(tests, start_database, stop_database);
}
