/* sosigwctl audit: events written to a journal, shipped, and shown. */
#include "command.h"

#include "audit.h"

#include <sys/stat.h>

/* What a day brought: a call, a refusal, and somebody who tries the terminal of whoever looks. */
static const struct audit_event day[] = {
	{ .kind = AUDIT_PROXY, .status = AUDIT_OK, .time_ms = 1717243200123, .request_id = S("r1"), .client = S("epj"),
	    .user = S("Lars Larsen"), .operation = S("proxy"), .service = S("fmk"), .address = S("10.20.0.1"),
	    .card_id = S("k1"), .card_client = S("lab"), .http_status = 200, .duration_ms = 42, .bytes_in = 4096, .bytes_out = 8192 },
	{ .kind = AUDIT_SERVICE, .status = AUDIT_REFUSED, .time_ms = 1717243260000, .request_id = S("r2"), .client = S("lab"),
	    .user = S("anna"), .operation = S("signIdCard"), .reason = S("SIGNATURE"), .http_status = 500, .duration_ms = 3 },
	{ .kind = AUDIT_PROXY, .status = AUDIT_REFUSED, .time_ms = 1717243320000, .request_id = S("r3"),
	    .user = S("x\n\x1b[2J\"\xe2\x80\xae"), .endpoint = S("https://evil.example/"), .reason = S("SERVICE_UNKNOWN") },
};

static void
send(struct world *w, const struct audit_event *ev, size_t n)
{
	struct audit_shipped sent;
	struct err e = { 0 };
	struct audit *j = audit_open(dir, "gw1", "proxy", false, &e);

	assert_non_null(j);
	audit_write_format(j, 2);
	for (size_t i = 0; i < n; i++)
		assert_ok(audit_write(j, &ev[i], &e), &e);
	audit_close(j);
	assert_ok(audit_ship(dir, "gw1", 0, w->db, &sent, &e), &e);
	assert_int_equal(sent.events, n);
}

static int
set_up(void **state)
{
	struct world *w = world_new();

	w->db = db_new(&(struct db_conf){ .conninfo = pg_conninfo(pg), .connections = 1, .connect_ms = 2000,
	    .statement_ms = 10000, .wait_ms = 1000 });
	pg_exec(pg, "DELETE FROM audit_journal; DELETE FROM audit_record; DELETE FROM audit_event");
	send(w, day, sizeof day / sizeof *day);
	*state = w;
	return 0;
}

static void
an_event_is_one_line_newest_first(void **state)
{
	struct world *w = *state;

	assert_exit(0, run(w, "audit", "search", NULL));
	assert_string_equal(w->out,
	    "2024-06-01 14:02:00.000 proxy   refused user=\"x␊␛[2J\\\"?\" endpoint=https://evil.example/ "
	    "reason=SERVICE_UNKNOWN request=r3 server=gw1\n"
	    "2024-06-01 14:01:00.000 service refused user=anna client=lab operation=signIdCard reason=SIGNATURE http=500 "
	    "3 ms request=r2 server=gw1\n"
	    "2024-06-01 14:00:00.123 proxy   ok      user=\"Lars Larsen\" client=epj operation=proxy service=fmk http=200 "
	    "42 ms address=10.20.0.1 card=k1 signed-in-by=lab request=r1 server=gw1\n");
	assert_string_equal(w->errs, "");
}

static void
each_option_narrows_the_search(void **state)
{
	struct world *w = *state;
	static const struct { const char *option, *value, *found; } rows[] = {
		{ "--user", "anna", "r2" }, { "--client", "epj", "r1" }, { "--service", "fmk", "r1" }, { "--status", "ok", "r1" },
		{ "--kind", "service", "r2" }, { "--card", "k1", "r1" }, { "--request", "r3", "r3" },
		{ "--address", "10.20.0.1", "r1" }, { "--from", "2024-06-01T12:02:00Z", "r3" },
		{ "--from", "2024-06-01T14:02:00", "r3" },		/* without a zone: Danish time */
		{ "--from", "2024-06-01T14:02", "r3" }, { "--to", "2024-06-01T12:01:00Z", "r1" }, { "--most", "1", "r3" },
		{ "--user", "Anna", "" }, { "--from", "1h", "" }, { "--to", "2024-06-01", "" }, { "--from", "7d", "" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_exit(0, run(w, "audit", "search", rows[i].option, rows[i].value, NULL));
		const char *at = strstr(w->out, "request=");
		if (rows[i].found[0] == '\0' ? w->nout > 0 : at == NULL || strncmp(at + 8, rows[i].found, 2) != 0 ||
		    strchr(w->out, '\n') != w->out + w->nout - 1)
			fail_msg("%s %s: %s", rows[i].option, rows[i].value, w->out);
	}
	assert_exit(0, run(w, "audit", "search", "--most", "1", NULL));
	assert_said(w->errs, "there may be more");
}

static void
misuse_is_told(void **state)
{
	struct world *w = *state;
	static const struct { const char *option, *value; } rows[] = {
		{ "--status", "good" }, { "--kind", "x" }, { "--from", "yesterday" }, { "--to", "2024-13-01" }, { "--most", "0" },
		{ "--most", "x" }, { "--frob", "1" }, { "operand", NULL }, { "--user", NULL }, { "-f", NULL }, { "--from", "d" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_exit(2, run(w, "audit", "search", rows[i].option, rows[i].value, NULL));
		assert_said(w->errs, "usage: sosigwctl audit search");
	}
	assert_exit(2, run(w, "audit", "verify", "x", NULL));
	assert_exit(2, run(w, "audit", "tail", "x", NULL));
}

static void
json_holds_every_field(void **state)
{
	struct world *w = *state;

	assert_exit(0, run(w, "--json", "audit", "search", "--request", "r1", NULL));
	assert_said(w->out, "[{\"id\": ");
	assert_said(w->out, "\"time\": \"2024-06-01T12:00:00.123Z\", \"server\": \"gw1\", \"kind\": \"proxy\", \"status\": \"ok\", "
	    "\"request_id\": \"r1\", \"client\": \"epj\", \"organisation\": null, \"user\": \"Lars Larsen\", \"system\": null, "
	    "\"address\": \"10.20.0.1\", \"operation\": \"proxy\", \"service\": \"fmk\", \"endpoint\": null, \"card_id\": \"k1\", "
	    "\"card_client\": \"lab\", \"reason\": null, \"http_status\": 200, \"duration_ms\": 42, \"bytes_in\": 4096, \"bytes_out\": 8192}]\n");
	assert_exit(0, run(w, "--json", "audit", "search", "--user", "nobody", NULL));
	assert_string_equal(w->out, "[]\n");
}

static void
an_export_holds_everything_oldest_first(void **state)
{
	struct world *w = *state;

	assert_exit(0, run(w, "audit", "export", NULL));
	char *end = strstr(w->out, "\r\n");
	assert_non_null(end);
	*end = '\0';
	assert_string_equal(w->out, "id,time,server,kind,status,request_id,client,organisation,user,system,address,operation,service,"
	    "endpoint,card_id,card_client,reason,http_status,duration_ms,bytes_in,bytes_out");
	/* behind the id, which depends on what was there before */
	const char *line = strchr(end + 2, ',');
	const char *want = ",\"2024-06-01T12:00:00.123Z\",\"gw1\",\"proxy\",\"ok\",\"r1\",\"epj\",,\"Lars Larsen\",,\"10.20.0.1\","
	    "\"proxy\",\"fmk\",,\"k1\",\"lab\",,200,42,4096,8192\r\n";
	assert_memory_equal(line, want, strlen(want));
	assert_said(line, "\"x␊␛[2J\"\"\xe2\x80\xae\"");
	assert_exit(0, run(w, "--json", "audit", "export", NULL));
	assert_int_equal(w->out[w->nout - 1], '\n');
	assert_said(strstr(w->out, "\"r1\""), "}\n{");
	assert_true(strstr(w->out, "\"r1\"") < strstr(w->out, "\"r3\""));
	/* narrowed like a search */
	assert_exit(0, run(w, "--json", "audit", "export", "--from", "2024-06-01T12:01:00Z", "--to", "2024-06-01T12:02:00Z", NULL));
	assert_said(w->out, "\"r2\"");
	assert_null(strstr(w->out, "\"r1\""));
	assert_null(strstr(w->out, "\"r3\""));
	assert_exit(0, run(w, "--json", "audit", "export", "--most", "1", NULL));
	assert_null(strstr(w->out, "\"r2\""));
	assert_exit(0, run(w, "--json", "audit", "export", "--user", "nobody", NULL));
	assert_string_equal(w->out, "");
	assert_exit(2, run(w, "audit", "export", "x", NULL));
}

/* What a spreadsheet would take for a formula was written by strangers. */
static void
an_export_holds_no_formula(void **state)
{
	struct world *w = *state;
	struct audit_event ev[4] = { { .time_ms = 1 }, { .time_ms = 2 }, { .time_ms = 3 }, { .time_ms = 4, .request_id = S("") } };
	static const char *const users[] = { "=1+1", "@x", "-2", "a=b" };

	for (int i = 0; i < 4; i++)
		ev[i].user = slice_of(users[i]);
	send(w, ev, 4);
	assert_exit(0, run(w, "audit", "export", NULL));
	assert_said(w->out, "\"'=1+1\"");
	assert_said(w->out, "\"'@x\"");
	assert_said(w->out, "\"'-2\"");
	assert_said(w->out, ",\"\",,,\"a=b\",");
}

static void
an_export_of_many_pages_is_whole(void **state)
{
	struct world *w = *state;
	static struct audit_event ev[2500];
	size_t lines = 0;

	for (size_t i = 0; i < 2500; i++)
		ev[i] = (struct audit_event){ .time_ms = (int64_t)i + 1, .user = S("many") };
	send(w, ev, 2500);
	assert_exit(0, run(w, "--json", "audit", "export", "--user", "many", NULL));
	for (size_t i = 0; i < w->nout; i++)
		lines += w->out[i] == '\n';
	assert_int_equal(lines, 2500);
}

static void
the_journals_of_a_dead_server_are_brought_in(void **state)
{
	struct world *w = *state;
	struct err e = { 0 };
	const char *disk = arena_printf(w->a, "%s/disk", dir).p;

	assert_int_equal(mkdir(disk, 0755), 0);
	struct audit *dead = audit_open(disk, "gw7", "proxy", false, &e), *alive = audit_open(disk, "gw7", "card", false, &e);
	for (int i = 0; i < 2; i++)
		assert_ok(audit_write(i == 0 ? dead : alive, &day[i], &e), &e);
	audit_close(dead);
	assert_exit(0, run(w, "audit", "ship", disk, NULL));
	assert_string_equal(w->out, "2 events sent, 1 files removed\n");
	assert_said(w->errs, "1 files stay");
	audit_close(alive);
	assert_exit(0, run(w, "--json", "audit", "ship", disk, NULL));
	assert_string_equal(w->out, "{\"events\": 0, \"files\": 1, \"left\": 0}\n");
	assert_exit(0, run(w, "audit", "search", "--request", "r1", NULL));
	assert_said(w->out, "server=gw7\n");
	assert_exit(0, run(w, "audit", "verify", NULL));
	assert_int_equal(rmdir(disk), 0);
	assert_exit(1, run(w, "audit", "ship", disk, NULL));
	assert_said(w->errs, "sending the journals: ");
	assert_exit(2, run(w, "audit", "ship", NULL));
}

static void
tail_shows_the_newest_last(void **state)
{
	struct world *w = *state;

	assert_exit(0, run(w, "audit", "tail", "--most", "2", NULL));
	const char *second = strstr(w->out, "request=r2"), *third = strstr(w->out, "request=r3");
	assert_true(second != NULL && third != NULL && second < third);
	assert_null(strstr(w->out, "request=r1"));
	assert_exit(0, run(w, "--json", "audit", "tail", NULL));
	assert_said(w->out, "}\n{");
}

static void
tail_follows_and_shows_an_outcome_when_it_comes(void **state)
{
	struct world *w = *state;
	struct audit_event open = day[0], end = day[0];
	int pipes[2];
	char config[80], line[1000];

	open.request_id = end.request_id = S("r4");
	open.status = AUDIT_OPEN;
	end.status = AUDIT_FAILED;
	snprintf(config, sizeof config, "--config=%s/sosigw.conf", dir);
	assert_int_equal(pipe(pipes), 0);
	pid_t pid = fork();
	if (pid == 0) {
		char *argv[] = { arena_cstr(w->a, S("sosigwctl")), config, arena_cstr(w->a, S("audit")),
			arena_cstr(w->a, S("tail")), arena_cstr(w->a, S("-f")), arena_cstr(w->a, S("--most")),
			arena_cstr(w->a, S("1")), NULL };
		ctl_run(7, argv, stdin, fdopen(pipes[1], "w"), stderr);
		_exit(0);
	}
	close(pipes[1]);
	FILE *in = fdopen(pipes[0], "r");
	assert_non_null(fgets(line, sizeof line, in));
	assert_said(line, "request=r3");

	struct audit_shipped sent;
	struct err e = { 0 };
	struct audit *j = audit_open(dir, "gw1", "proxy", false, &e);
	assert_ok(audit_write(j, &open, &e), &e);
	assert_ok(audit_ship(dir, "gw1", 0, w->db, &sent, &e), &e);
	assert_non_null(fgets(line, sizeof line, in));
	assert_said(line, " open ");
	assert_said(line, "request=r4");
	assert_ok(audit_write(j, &end, &e), &e);
	audit_close(j);
	assert_ok(audit_ship(dir, "gw1", 0, w->db, &sent, &e), &e);
	assert_non_null(fgets(line, sizeof line, in));
	assert_said(line, " failed ");
	assert_said(line, "request=r4");
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	fclose(in);
}

static void
verify_tells_by_its_exit_code(void **state)
{
	struct world *w = *state;

	assert_exit(0, run(w, "audit", "verify", NULL));
	assert_string_equal(w->out, "3 events, 0 breaks: nothing was removed or changed\n");
	assert_exit(0, run(w, "--json", "audit", "verify", NULL));
	assert_string_equal(w->out, "{\"findings\": [], \"complete\": true, \"events\": 3, \"broken\": 0}\n");
	pg_exec(pg, "UPDATE audit_event SET user_id = 'somebody else' WHERE request_id = 'r1'");
	assert_exit(1, run(w, "audit", "verify", NULL));
	assert_said(w->out, "the event is not what its records say");
	assert_said(w->out, "3 events, 1 breaks\n");
}

static void
without_a_database_it_says_so(void **state)
{
	struct world *w = *state;

	pg_kill(pg);
	int code = run(w, "audit", "search", NULL), verified = run(w, "--json", "audit", "verify", NULL);
	pg_restart(pg);
	assert_int_equal(code, 1);
	assert_int_equal(verified, 1);
	assert_said(w->out, "\"complete\": false");
	assert_said(w->errs, "sosigwctl: verifying the audit trail: ");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, world_free)
		T(an_event_is_one_line_newest_first),
		T(each_option_narrows_the_search),
		T(misuse_is_told),
		T(json_holds_every_field),
		T(an_export_holds_everything_oldest_first),
		T(an_export_holds_no_formula),
		T(an_export_of_many_pages_is_whole),
		T(the_journals_of_a_dead_server_are_brought_in),
		T(tail_shows_the_newest_last),
		T(tail_follows_and_shows_an_outcome_when_it_comes),
		T(verify_tells_by_its_exit_code),
		T(without_a_database_it_says_so),
	};

	setenv("TZ", "Europe/Copenhagen", 1);
	tzset();
	prepare();
	pg_schema(pg);
	return cmocka_run_group_tests(tests, NULL, clean);
}
