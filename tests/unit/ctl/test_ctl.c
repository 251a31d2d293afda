#include "command.h"

#include "dsig.h"
#include "xml.h"

#include <sys/stat.h>

static int
set_up(void **state)
{
	struct world *w = world_new();

	pg_exec(pg, "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
	pg_schema(pg);
	*state = w;
	return 0;
}

static const char *
put(struct world *w, const char *name, const char *text)
{
	const char *at = path(w, name);
	FILE *f = fopen(at, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	return at;
}

#define DOC(margin) "{\"format\": 1, \"times\": {\"expiry_margin_seconds\": " #margin "}}"

static void
misuse_is_told_with_the_usage(void **state)
{
	struct world *w = *state;

	assert_exit(2, run(w, NULL));
	assert_said(w->errs, "sosigwctl config export [REVISION]");
	assert_exit(2, run(w, "confg", "export", NULL));
	assert_said(w->errs, "there is no command \"confg export\"");
	assert_exit(2, run(w, "config", NULL));
	assert_said(w->errs, "config import");
	assert_null(strstr(w->errs, "keys new"));
	assert_exit(2, run(w, "config", "import", NULL));
	assert_said(w->errs, "usage: sosigwctl config import FILE");
	assert_exit(2, run(w, "config", "import", "a", "b", NULL));
	assert_exit(2, run(w, "config", "import", "a", "--base", "x", NULL));
	assert_exit(2, run(w, "config", "import", "a", "--frob", NULL));
	assert_exit(2, run(w, "config", "log", "--most", "0", NULL));
	assert_exit(2, run(w, "migrate", "now", NULL));
	assert_exit(2, run(w, "keys", "new", "x", NULL));
	assert_exit(0, run(w, "--help", NULL));
	assert_said(w->out, "card show FILE");
	assert_exit(0, run(w, "config", "log", "--help", NULL));
	assert_said(w->out, "config log [--most N]");
	assert_null(strstr(w->out, "config edit"));
	assert_exit(0, run(w, "help", "config", "log", NULL));
	assert_said(w->out, "config log [--most N]");
	assert_exit(2, run(w, "config", "log", "--config", NULL));
	assert_exit(2, run(w, "--config", NULL));
	assert_said(w->errs, "--config wants a file");
	assert_exit(2, run(w, "config", "edit", "--base", "1", NULL));
	assert_exit(0, run(w, "--version", NULL));
	assert_said(w->out, "sosigwctl " SOSIGW_VERSION);
}

static void
a_document_is_checked_without_a_database(void **state)
{
	struct world *w = *state;

	assert_exit(1, run(w, "config", "check", "docs/examples/configuration.json", "--config", "/nowhere", NULL));
	assert_string_equal(w->errs,
	    "docs/examples/configuration.json: sts.certificates[0]: must be one certificate in PEM form\n"
	    "docs/examples/configuration.json: trust.roots[0]: must be one certificate in PEM form\n");
	assert_exit(1, run(w, "config", "check", "--json", "docs/examples/configuration.json", NULL));
	assert_said(w->out, "{\"good\": false, \"problems\": [\"sts.certificates[0]: must");
	w->in = DOC(5);
	assert_exit(0, run(w, "config", "check", "-", NULL));
	assert_string_equal(w->out, "- is good: 0 organisations, 0 clients, 0 services\n");
	assert_exit(0, run(w, "--json", "config", "check", "-", NULL));
	assert_string_equal(w->out, "{\"good\": true, \"problems\": []}\n");
	assert_exit(1, run(w, "config", "check", "/nowhere", NULL));
	w->in = "{\"\\u001b[2J\": 1}";	/* would clear the screen */
	assert_exit(1, run(w, "config", "check", "-", NULL));
	assert_null(strchr(w->errs, 0x1b));
}

static void
what_is_imported_is_exported(void **state)
{
	struct world *w = *state;
	char v[100];

	assert_exit(1, run(w, "config", "export", NULL));
	assert_said(w->errs, "no configuration has been published yet");
	assert_exit(0, run(w, "config", "import", put(w, "1.json", DOC(1)), "--comment", "the first", "--author", "me", NULL));
	assert_string_equal(w->out, "revision 1 is published\n");
	assert_exit(0, run(w, "--json", "config", "import", put(w, "2.json", DOC(2)), NULL));
	assert_string_equal(w->out, "{\"revision\": 2, \"published\": true}\n");
	assert_exit(0, run(w, "config", "export", NULL));
	assert_said(w->out, "\"expiry_margin_seconds\": 2\n");
	put(w, "out.json", w->out);
	assert_exit(0, run(w, "config", "export", "1", NULL));
	assert_said(w->out, "\"expiry_margin_seconds\": 1\n");
	assert_exit(1, run(w, "config", "export", "9", NULL));
	assert_said(w->errs, "there is no configuration revision 9");
	assert_exit(1, run(w, "config", "export", "x", NULL));
	/* the same again publishes nothing */
	assert_exit(0, run(w, "config", "import", path(w, "out.json"), NULL));
	assert_string_equal(w->out, "revision 2 says the same; nothing was published\n");
	pg_value(pg, "SELECT author || '/' || comment FROM config_revision WHERE id = 1", v, sizeof v);
	assert_string_equal(v, "me/the first");
	assert_exit(1, run(w, "config", "import", put(w, "bad.json", "{\"format\": 1, \"x\": 1}"), NULL));
	assert_said(w->errs, "bad.json: x: is not known here\n");
	pg_value(pg, "SELECT count(*) FROM config_revision", v, sizeof v);
	assert_string_equal(v, "2");
}

static void
a_conflict_shows_what_changed(void **state)
{
	struct world *w = *state;

	put(w, "3.json", DOC(3));
	assert_exit(0, run(w, "config", "import", put(w, "1.json", DOC(1)), NULL));
	assert_exit(0, run(w, "config", "import", put(w, "2.json", DOC(2)), "--base", "1", "--author", "eve", NULL));
	assert_exit(3, run(w, "config", "import", path(w, "3.json"), "--base", "1", NULL));
	assert_said(w->errs, "revision 2 by eve is the newest. Nothing was published.");
	assert_said(w->out, "--- revision 1\n+++ revision 2\n");
	assert_said(w->out, "-    \"expiry_margin_seconds\": 1\n+    \"expiry_margin_seconds\": 2\n");
	assert_exit(0, run(w, "config", "import", path(w, "3.json"), "--base", "2", NULL));
}

static void
a_diff_tells_by_its_exit_code(void **state)
{
	struct world *w = *state;

	put(w, "1.json", DOC(1));
	assert_exit(3, run(w, "config", "diff", path(w, "1.json"), NULL));
	assert_exit(0, run(w, "config", "import", path(w, "1.json"), NULL));
	assert_exit(0, run(w, "config", "diff", path(w, "1.json"), NULL));
	assert_string_equal(w->out, "");
	assert_exit(3, run(w, "config", "diff", put(w, "2.json", DOC(2)), NULL));
	assert_said(w->out, "--- revision 1\n");
	assert_said(w->out, "+    \"expiry_margin_seconds\": 2\n");
	assert_exit(1, run(w, "config", "diff", put(w, "bad.json", "{}"), NULL));
	assert_said(w->errs, "format: is missing");
}

static void
history_and_rollback(void **state)
{
	struct world *w = *state;

	assert_exit(0, run(w, "config", "log", NULL));
	assert_string_equal(w->out, "no configuration has been published yet\n");
	assert_exit(0, run(w, "config", "log", "--json", NULL));
	assert_string_equal(w->out, "[]\n");
	assert_exit(0, run(w, "config", "import", put(w, "1.json", DOC(1)), "--comment", "a \"b\"\x1b[1m", "--author", "me", NULL));
	assert_exit(0, run(w, "config", "import", put(w, "2.json", DOC(2)), NULL));
	assert_exit(0, run(w, "config", "rollback", "1", NULL));
	assert_string_equal(w->out, "revision 3 is published\n");
	assert_exit(0, run(w, "config", "export", NULL));
	assert_said(w->out, "\"expiry_margin_seconds\": 1\n");
	assert_exit(0, run(w, "config", "rollback", "3", NULL));
	assert_said(w->out, "says the same");
	assert_exit(1, run(w, "config", "rollback", "9", NULL));
	assert_exit(0, run(w, "config", "log", "--most", "2", NULL));
	assert_said(w->out, "       3  20");
	assert_said(w->out, "rollback to revision 1\n");
	assert_null(strstr(w->out, "       1  20"));
	assert_exit(0, run(w, "config", "log", NULL));
	assert_said(w->out, "me  a \"b\"?[1m\n");
	assert_exit(0, run(w, "config", "log", "--json", NULL));
	assert_said(w->out, "\"author\": \"me\", \"comment\": \"a \\\"b\\\"\\u001b[1m\", \"used_by\": 0, ");
}

/* An editor that does what the shell line says to the file $1. */
static void
use_editor(struct world *w, const char *line)
{
	const char *at = put(w, "editor", line);

	chmod(at, 0700);
	unsetenv("VISUAL");
	setenv("EDITOR", at, 1);
}

static void
an_edit_is_published_when_it_is_good(void **state)
{
	struct world *w = *state;

	use_editor(w, "#!/bin/sh\nsed -i 's/_seconds\": 60$/_seconds\": 61/' \"$1\"\n");
	assert_exit(0, run(w, "config", "edit", "--comment", "first", NULL));
	assert_string_equal(w->out, "revision 1 is published\n");
	use_editor(w, "#!/bin/sh\nexit 0\n");
	assert_exit(0, run(w, "config", "edit", NULL));
	assert_said(w->out, "nothing was published");
	use_editor(w, "#!/bin/sh\nexit 3\n");
	assert_exit(1, run(w, "config", "edit", NULL));
	assert_said(w->errs, "the editor ended with 3");
	assert_null(strstr(w->errs, "kept"));	/* nothing was written */
	/* wrong at first, right when asked again */
	use_editor(w, "#!/bin/sh\ngrep -q '\"da\"' \"$1\" && sed -i 's/\"da\"/\"xx\"/' \"$1\" || sed -i 's/\"xx\"/\"en\"/' \"$1\"\n");
	w->in = "\n";
	assert_exit(0, run(w, "config", "edit", NULL));
	assert_said(w->errs, "your edit: language: must be \"da\" or \"en\"\nEdit again? [Y/n] ");
	assert_string_equal(w->out, "revision 2 is published\n");
}

static void
an_edit_that_cannot_be_published_is_kept(void **state)
{
	struct world *w = *state;
	char kept[200];

	assert_exit(0, run(w, "config", "import", put(w, "1.json", DOC(1)), NULL));
	use_editor(w, "#!/bin/sh\necho '{' > \"$1\"\n");
	w->in = "n\n";
	assert_exit(1, run(w, "config", "edit", NULL));
	assert_said(w->errs, "your edit is kept in ");
	assert_int_equal(sscanf(strstr(w->errs, "your edit is kept in "), "your edit is kept in %199[^;]", kept), 1);
	assert_slice("{\n", unit_file(w->a, kept));
	*strrchr(kept, '/') = '\0';
	pg_remove(kept);

	/* somebody publishes while the editor is open */
	char line[600];
	snprintf(line, sizeof line, "#!/bin/sh\nsed -i 's/\"da\"/\"en\"/' \"$1\"\n"
	    PG_BIN "psql -q -h %s -U postgres postgres -c \"INSERT INTO config_revision VALUES (2, now(), 'eve', '', '{}')\"\n",
	    pg->dir);
	use_editor(w, line);
	assert_exit(3, run(w, "config", "edit", NULL));
	assert_said(w->errs, "revision 2 by eve is the newest");
	assert_said(w->out, "--- revision 1\n+++ revision 2\n");
	assert_int_equal(sscanf(strstr(w->errs, "your edit is kept in "), "your edit is kept in %199[^;]", kept), 1);
	assert_true(slice_find(unit_file(w->a, kept), S("\"language\": \"en\"")) > 0);
	*strrchr(kept, '/') = '\0';
	pg_remove(kept);
}

static void
a_database_without_room_is_told(void **state)
{
	struct world *w = *state;

	pg_exec(pg, "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE disk_full; END$$; "
	    "CREATE TRIGGER no_room BEFORE INSERT ON config_revision FOR EACH ROW EXECUTE FUNCTION no_room()");
	assert_exit(1, run(w, "config", "import", put(w, "doc.json", "{\"format\": 1}"), NULL));
	assert_said(w->errs, "the database has no room left on its disk: ");
	assert_exit(1, run(w, "config", "export", NULL));
}

static void
servers_are_listed_with_their_state(void **state)
{
	struct world *w = *state;

	assert_exit(0, run(w, "cluster", NULL));
	assert_string_equal(w->out, "no server has shown itself within a day\n");
	pg_exec(pg, "INSERT INTO member VALUES ('gw1', 'a', '0.1.0', now(), now(), 7, 0.5, 1, 1, 1), "
	    "('gw2', NULL, '0.1.0', now(), now() - interval '10 minutes', 6, 0.5, 1, 1, 1), "
	    "('gw3', NULL, '0.1.0', now(), now() - interval '2 days', 6, 0.5, 1, 1, 1); "
	    "UPDATE member SET journal_bytes = 12345678, journal_disk = 96, journal_level = 'stop' WHERE server = 'gw2'");
	assert_exit(0, run(w, "cluster", NULL));
	assert_said(w->out, "gw1 zone a up, seen ");
	assert_said(w->out, "gw2 zone - AWAY, seen ");
	assert_said(w->out, " configuration 1, running for 0 s, journals 12.3 MB on a disk that is 96 % full: FULL, NOTHING IS FORWARDED\n");
	assert_null(strstr(w->out, "gw3"));
	assert_exit(0, run(w, "cluster", "--json", NULL));
	assert_said(w->out, "[{\"server\": \"gw1\", \"zone\": \"a\", \"version\": \"0.1.0\", \"up\": true, ");
	assert_said(w->out, "\"journal_bytes\": null, \"journal_disk_percent\": null, \"journal_level\": null, \"revocation_lists\": null, \"certificates\": null, "
	    "\"certificates_count\": null},\n");
	assert_said(w->out, "\"journal_bytes\": 12345678, \"journal_disk_percent\": 96, \"journal_level\": \"stop\", \"revocation_lists\": null, ");
	assert_said(w->out, ",\n {\"server\": \"gw2\", \"zone\": null, \"version\": \"0.1.0\", \"up\": false, ");
	assert_said(w->out, "\"programs\": [], \"journal_bytes\": null, ");
}

/* server, program, seconds since it was seen, card format read and written, configuration used and refused. */
#define PROGRAM(server, program, age, card, written, used, refused, problem) pg_exec(pg, "INSERT INTO member_program VALUES ('" \
	server "', '" program "', '0.1.0', 77, now() - interval '2 hours', now() - interval '" age "', " card ", " written \
	", 2, 2, 1, " used ", " refused ", '" problem "')")

static void
programs_are_listed_with_what_they_read_write_and_use(void **state)
{
	struct world *w = *state;

	pg_exec(pg, "INSERT INTO member VALUES ('gw1', 'a', '0.1.0', now() - interval '73 hours', now(), 7, 0.5, 2, 2, 1)");
	PROGRAM("gw1", "card-1", "0 s", "2", "1", "7", "8", "clients[0].id: given twice \x1b[1m");
	PROGRAM("gw1", "proxy-1", "0 s", "2", "1", "7", "0", "");
	PROGRAM("gw3", "proxy-1", "3 hours", "1", "1", "6", "0", "");
	PROGRAM("gw4", "proxy-1", "26 hours", "1", "1", "6", "0", "");
	assert_exit(0, run(w, "cluster", NULL));
	assert_said(w->out, "gw1 zone a up, seen ");
	assert_said(w->out, ", configuration 7, load 0.50, formats card 2 journal 2 configuration 1, running for 3 d\n    card-1 up, seen ");
	assert_said(w->out, " ago, version 0.1.0, configuration 7, reads card 2 journal 2, writes card 1 journal 2\n"
	    "        configuration 8 is NOT USED: clients[0].id: given twice ?[1m\n    proxy-1 up, seen ");
	assert_said(w->out, "gw3 zone - AWAY, no housekeeper was seen within a day\n    proxy-1 AWAY, seen 3 h ago, ");
	assert_said(w->out, "\ncard format 2 is not written yet: gw3 (proxy-1) reads 1 at most; it is away and counts for another 22 h\n");
	assert_null(strstr(w->out, "gw4"));
	assert_null(strstr(w->out, "journal format"));
	assert_exit(0, run(w, "cluster", "--json", NULL));
	assert_said(w->out, "\"programs\": [\n  {\"program\": \"card-1\", \"version\": \"0.1.0\", \"up\": true, \"pid\": 77, ");
	assert_said(w->out, "\"revision\": 7, \"refused\": 8, \"problem\": \"clients[0].id: given twice \\u001b[1m\", "
	    "\"card_format\": 2, \"card_written\": 1, \"journal_format\": 2, \"journal_written\": 2, \"config_format\": 1, \"signatures_sha1\": null, \"signatures_sha2\": null},\n  {");
	pg_exec(pg, "UPDATE member_program SET signatures_sha1 = 12, signatures_sha2 = 345 WHERE program = 'card-1'");
	assert_exit(0, run(w, "cluster", NULL));
	assert_said(w->out, ", writes card 1 journal 2, card signatures 12 SHA-1 345 SHA-2\n        configuration 8 is NOT USED");
	assert_exit(0, run(w, "cluster", "--json", NULL));
	assert_said(w->out, "\"signatures_sha1\": 12, \"signatures_sha2\": 345},\n  {");
	assert_said(w->out, "\"uptime\": 26");	/* 262800 or so */
	assert_exit(2, run(w, "cluster", "gw1", NULL));
}

/* By the clock of whoever asks; so far away that the seconds of the test do not count. */
static void
lists_that_are_late_and_certificates_that_end_are_shown(void **state)
{
	struct world *w = *state;

	pg_exec(pg, "INSERT INTO member VALUES ('gw1', 'a', '0.1.0', now(), now(), 7, 0.5, 2, 2, 1); UPDATE member SET ends = "
	    "jsonb_build_object('count', 14, 'lists', jsonb_build_array("
	    "jsonb_build_object('url', 'http://a/', 'updated', extract(epoch FROM now())::bigint - 18010, 'next', extract(epoch FROM now())::bigint + 9000), "
	    "jsonb_build_object('url', 'http://b/\x1b[1m', 'updated', extract(epoch FROM now())::bigint - 400000, 'next', extract(epoch FROM now())::bigint - 10810), "
	    "jsonb_build_object('url', 'http://c/', 'updated', NULL, 'next', NULL)), 'certificates', jsonb_build_array("
	    "jsonb_build_object('use', 'services[0].cert_file', 'subject', '', 'ends', NULL), "
	    "jsonb_build_object('use', 'trust.roots[0]', 'subject', 'Rod-CA', 'ends', extract(epoch FROM now())::bigint - 90000), "
	    "jsonb_build_object('use', 'sts.certificates[0]', 'subject', 'STS', 'ends', extract(epoch FROM now())::bigint + 12 * 86400 + 600), "
	    "jsonb_build_object('use', 'sts.certificates[1]', 'subject', 'STS', 'ends', extract(epoch FROM now())::bigint + 400 * 86400)))");
	assert_exit(0, run(w, "cluster", NULL));
	assert_said(w->out, "\n    list http://a/ is 5 h old\n    list http://b/?[1m is 4 d old, OVERDUE for 3 h\n    list http://c/ IS NOT THERE\n"
	    "    certificates: 14; the first to end:\n        services[0].cert_file CANNOT BE READ\n        trust.roots[0] (Rod-CA) HAS "
	    "ENDED 2 days ago\n        sts.certificates[0] (STS) ENDS: 12 days left\n");
	assert_null(strstr(w->out, "sts.certificates[1]"));
	assert_exit(0, run(w, "cluster", "--json", NULL));
	assert_said(w->out, "\"overdue_seconds\": 0}, {\"url\": \"http://b/\\u001B[1m\"");
	assert_said(w->out, "\"age_seconds\": null, \"overdue_seconds\": null}], \"certificates\": [{");
	assert_said(w->out, "\"days_left\": null}, {");
	assert_said(w->out, "\"days_left\": -2}, {");
	assert_said(w->out, "\"days_left\": 12}, {");
	assert_said(w->out, "}], \"certificates_count\": 14}]\n");
	/* the first one is told though it is far away */
	pg_exec(pg, "UPDATE member SET ends = jsonb_set(ends, '{certificates}', jsonb_build_array(ends->'certificates'->3))");
	assert_exit(0, run(w, "cluster", NULL));
	assert_said(w->out, "    certificates: 14; the first to end:\n        sts.certificates[1] (STS) ");
	/* another version's, which we do not understand */
	pg_exec(pg, "UPDATE member SET ends = '[1]'");
	assert_exit(0, run(w, "cluster", "--json", NULL));
	assert_said(w->out, "\"revocation_lists\": null, \"certificates\": null, \"certificates_count\": 0}]\n");
}

static void
a_server_that_is_gone_can_be_forgotten(void **state)
{
	struct world *w = *state;

	PROGRAM("gw1", "proxy-1", "0 s", "2", "2", "7", "0", "");
	PROGRAM("gw3", "proxy-1", "3 hours", "1", "1", "6", "0", "");
	assert_exit(2, run(w, "cluster", "forget", NULL));
	assert_said(w->errs, "usage: sosigwctl cluster forget SERVER");
	assert_exit(3, run(w, "cluster", "forget", "gw1", NULL));
	assert_said(w->errs, "gw1 is up");
	assert_exit(1, run(w, "cluster", "forget", "gw9", NULL));
	assert_exit(0, run(w, "cluster", "forget", "gw3", NULL));
	assert_string_equal(w->out, "gw3 is forgotten\n");
	assert_exit(0, run(w, "cluster", NULL));
	assert_null(strstr(w->out, "gw3"));
	assert_null(strstr(w->out, "not written yet"));
}

static void
the_log_tells_who_uses_a_revision_and_who_does_not(void **state)
{
	struct world *w = *state;

	assert_exit(0, run(w, "config", "import", put(w, "1.json", DOC(1)), NULL));
	PROGRAM("gw1", "proxy-1", "0 s", "2", "2", "1", "2", "language: must be \"da\" or \"en\"");
	PROGRAM("gw1", "proxy-2", "0 s", "2", "2", "1", "2", "language: must be \"da\" or \"en\"");
	PROGRAM("gw2", "proxy-1", "2 minutes", "2", "2", "1", "0", "");
	pg_exec(pg, "INSERT INTO config_revision VALUES (2, now(), 'eve', '', '{}')");
	assert_exit(0, run(w, "config", "log", NULL));
	assert_said(w->out, "  eve  -  [NOT USED by 2: language: must be \"da\" or \"en\"]\n");
	assert_said(w->out, "  [used by 2]\n");
	assert_exit(0, run(w, "config", "log", "--json", NULL));
	assert_said(w->out, "\"comment\": \"\", \"used_by\": 0, \"refused_by\": 2, \"problem\": \"language: must be \\\"da\\\" or \\\"en\\\"\"},\n");
	assert_said(w->out, "\"used_by\": 2, \"refused_by\": 0, \"problem\": null}]\n");
}

static void
what_a_server_could_not_read_is_not_published(void **state)
{
	struct world *w = *state;

	PROGRAM("gw2", "proxy-1", "2 hours", "2", "2", "1", "0", "");
	pg_exec(pg, "UPDATE member_program SET config_format = 0");
	assert_exit(1, run(w, "config", "import", put(w, "1.json", DOC(1)), NULL));
	assert_said(w->errs, "gw2 (proxy-1) reads configuration formats up to 0, and this would be 1");
	assert_exit(0, run(w, "cluster", "forget", "gw2", NULL));
	assert_exit(0, run(w, "config", "import", put(w, "1.json", DOC(1)), NULL));
}

static void
the_schema_is_brought_up(void **state)
{
	struct world *w = *state;

	pg_exec(pg, "DROP SCHEMA public CASCADE; CREATE SCHEMA public");
	assert_exit(1, run(w, "config", "export", NULL));
	assert_said(w->errs, "run `sosigwctl migrate` first");
	assert_exit(0, run(w, "migrate", "--schema", "schema", "--dry-run", NULL));
	assert_said(w->out, "would apply 001-config.sql\n");
	assert_exit(0, run(w, "migrate", "--schema", "schema", NULL));
	assert_said(w->out, "applied 001-config.sql\n");
	assert_exit(0, run(w, "migrate", "--schema", "schema", NULL));
	assert_said(w->out, "up to date");
	assert_exit(1, run(w, "migrate", "--schema", "/nowhere", NULL));
}

static void
secrets_and_keys_are_fresh_and_fit(void **state)
{
	struct world *w = *state;
	char secret[100], stored[100], again[100], doc[1000], id[9], key[65];

	assert_exit(0, run(w, "secret", "new", "--config", "/nowhere", NULL));
	assert_int_equal(sscanf(w->out, "secret %99s stored %99s", secret, stored), 2);
	assert_int_equal(strlen(secret), 43);
	snprintf(doc, sizeof doc, "{\"format\": 1, \"organisations\": [{\"id\": \"o\"}], \"clients\": [{\"id\": \"k\", "
	    "\"organisation\": \"o\", \"auth\": \"secret\", \"addresses\": [\"::1\"], \"secrets\": [\"%s\"]}]}", stored);
	w->in = doc;
	assert_exit(0, run(w, "config", "check", "-", NULL));
	assert_exit(0, run(w, "--json", "secret", "new", NULL));
	assert_int_equal(sscanf(w->out, "{\"secret\": \"%43[^\"]\", \"stored\": \"sha256:", again), 1);
	assert_string_not_equal(secret, again);

	assert_exit(0, run(w, "keys", "new", NULL));
	assert_int_equal(sscanf(w->out, "%8[0-9a-f] %64[0-9a-f]", id, key), 2);
	assert_int_equal(w->nout, 8 + 1 + 64 + 1);
}

static void
a_card_is_shown(void **state)
{
	struct world *w = *state;

	assert_exit(0, run(w, "card", "show", "tests/data/soap/dgws-level4.xml", "--config", "/nowhere", NULL));
	assert_said(w->out, "level                  4\n");
	assert_said(w->out, "signature              there, not checked\n");
	assert_said(w->out, "time                   CARD_EXPIRED");
	assert_exit(0, run(w, "--json", "card", "show", "tests/data/soap/dgws-level4.xml", NULL));
	assert_said(w->out, "\"level\": \"4\", ");
	assert_exit(1, run(w, "card", "show", put(w, "x.xml", "<a><b/></a>"), NULL));
	assert_said(w->errs, "holds no saml:Assertion");
	assert_exit(1, run(w, "card", "show", put(w, "x.xml", "<!DOCTYPE a><a/>"), NULL));
	assert_exit(1, run(w, "card", "show", "/nowhere", NULL));
}

static void
without_a_database_it_says_so(void **state)
{
	struct world *w = *state;

	pg_kill(pg);
	int code = run(w, "config", "log", NULL);
	pg_restart(pg);
	assert_int_equal(code, 1);
	assert_said(w->errs, "sosigwctl: reading the revisions: ");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, world_free)
		T(misuse_is_told_with_the_usage),
		T(a_document_is_checked_without_a_database),
		T(what_is_imported_is_exported),
		T(a_conflict_shows_what_changed),
		T(a_diff_tells_by_its_exit_code),
		T(history_and_rollback),
		T(an_edit_is_published_when_it_is_good),
		T(an_edit_that_cannot_be_published_is_kept),
		T(a_database_without_room_is_told),
		T(servers_are_listed_with_their_state),
		T(programs_are_listed_with_what_they_read_write_and_use),
		T(lists_that_are_late_and_certificates_that_end_are_shown),
		T(a_server_that_is_gone_can_be_forgotten),
		T(the_log_tells_who_uses_a_revision_and_who_does_not),
		T(what_a_server_could_not_read_is_not_published),
		T(the_schema_is_brought_up),
		T(secrets_and_keys_are_fresh_and_fit),
		T(a_card_is_shown),
		T(without_a_database_it_says_so),
	};
	struct err e = { 0 };

	xml_init();
	dsig_init(&e);
	prepare();
	return cmocka_run_group_tests(tests, NULL, clean);
}
