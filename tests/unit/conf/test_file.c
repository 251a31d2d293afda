#include "unit.h"

#include "conf.h"

#include <unistd.h>

static char path[] = "/tmp/sosigw-conf-XXXXXX";

static void
write_file(const char *text, size_t n)
{
	FILE *f = fopen(path, "w");

	assert_int_equal(fwrite(text, 1, n, f), n);
	fclose(f);
}

#define START "[database]\nconninfo = dbname=x\n[cache]\nnodes = a:1\n"

static void
the_sample_is_read(void **state)
{
	struct conf_file *f = NULL;
	struct err e;
	(void)state;

	assert_ok(conf_file_read("docs/examples/sosigw.conf", &f, &e), &e);
	assert_string_equal(f->server, "gw1");
	assert_string_equal(f->zone, "a");
	assert_string_equal(f->state, "/var/lib/sosigw");
	assert_null(f->log);
	assert_string_equal(f->database, "host=db1,db2 dbname=sosigw user=sosigw target_session_attrs=read-write");
	assert_int_equal(f->ncache_nodes, 2);
	assert_string_equal(f->cache_nodes[1].host, "10.0.0.2");
	assert_int_equal(f->cache_nodes[1].port, 11211);
	assert_string_equal(f->cache_nodes[1].zone, "b");
	assert_string_equal(f->cache_keys, "/etc/sosigw/cache.keys");
	assert_int_equal(f->cache_timeout_ms, 100);
	assert_string_equal(f->journal, "/var/lib/sosigw/journal");
	assert_false(f->journal_sync);
	assert_int_equal(f->journal_keep_hours, 6);
	assert_int_equal(f->journal_warn, 70);
	assert_int_equal(f->journal_stop, 95);
	assert_int_equal(f->threads, 256);
	assert_int_equal(f->queue, 512);
	assert_int_equal(f->queue_ms, 5000);
	assert_int_equal(f->drain_ms, 30000);
	conf_file_free(f);
}

static void
what_is_left_out_has_its_default(void **state)
{
	struct conf_file *f = NULL;
	struct err e;
	char host[256];
	(void)state;

	write_file(START, sizeof START - 1);
	assert_ok(conf_file_read(path, &f, &e), &e);
	gethostname(host, sizeof host);
	assert_string_equal(f->server, host);
	assert_null(f->zone);
	assert_string_equal(f->state, "/var/lib/sosigw");
	assert_int_equal(f->threads, 256);
	conf_file_free(f);
	conf_file_free(NULL);
}

static void
nodes_have_many_forms(void **state)
{
	struct conf_file *f = NULL;
	struct err e;
	static const char text[] = "[database]\nconninfo = host=a\n  dbname=b\n"
	    "[cache]\nnodes = 10.0.0.1 [::1]:7@a /run/m.sock@b\n    /run/n.sock host.example:9\nmoving = 10.0.0.3@c\n";
	static const struct { const char *host; int port; const char *zone; bool moving; } want[] = {
		{ "10.0.0.1", 11211, NULL, false }, { "::1", 7, "a", false }, { "/run/m.sock", 0, "b", false },
		{ "/run/n.sock", 0, NULL, false }, { "host.example", 9, NULL, false }, { "10.0.0.3", 11211, "c", true },
	};
	(void)state;

	write_file(text, sizeof text - 1);
	assert_ok(conf_file_read(path, &f, &e), &e);
	assert_string_equal(f->database, "host=a dbname=b");
	assert_int_equal(f->ncache_nodes, 6);
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(f->cache_nodes[i].moving, want[i].moving);
		assert_string_equal(f->cache_nodes[i].host, want[i].host);
		assert_int_equal(f->cache_nodes[i].port, want[i].port);
		if (want[i].zone == NULL)
			assert_null(f->cache_nodes[i].zone);
		else
			assert_string_equal(f->cache_nodes[i].zone, want[i].zone);
	}
	conf_file_free(f);
}

#define LONG "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static void
what_is_not_understood_is_refused_with_its_place(void **state)
{
	static const struct { const char *text, *want; } rows[] = {
		{ START "[audit]\nsnyc = yes\n", ":6: there is no setting \"snyc\" in [audit]" },
		{ START "[other]\nx = 1\n", ":6: there is no setting \"x\" in [other]" },
		{ "x = 1\n" START, ":1: there is no setting \"x\" in []" },
		{ START "nonsense\n", ":5: neither [section] nor name = value" },
		{ START "keys = /a\ntimeout_ms = 1\nkeys = /b\n", ":7: \"keys\" is set twice" },
		{ "[cache]\nnodes = a\n", "\"conninfo\" is missing in [database]" },
		{ "[database]\nconninfo = a\n", "\"nodes\" is missing in [cache]" },
		{ START "timeout_ms = 0\n", "[cache] timeout_ms: must be a number from 1 to 10000" },
		{ START "timeout_ms = 1s\n", "[cache] timeout_ms: must be a number from 1 to 10000" },
		{ START "timeout_ms = -1\n", "[cache] timeout_ms: must be a number from 1 to 10000" },
		{ START "keys = cache.keys\n", "[cache] keys: must be a path from /" },
		{ START "[audit]\nsync = true\n", "[audit] sync: must be yes or no" },
		{ START "[server]\nname = a b\n", "[server] name: must be one word" },
		{ "[database]\nconninfo = a\n[cache]\nnodes = a:b\n", "\"a:b\" is not host:port@zone" },
		{ "[database]\nconninfo = a\n[cache]\nnodes = a:0\n", "\"a:0\" is not" },
		{ "[database]\nconninfo = a\n[cache]\nnodes = a:65536\n", "\"a:65536\" is not" },
		{ "[database]\nconninfo = a\n[cache]\nnodes = a@\n", "\"a@\" is not" },
		{ "[database]\nconninfo = a\n[cache]\nnodes = [::1\n", "\"[::1\" is not" },
		{ "[database]\nconninfo = a\n[cache]\nnodes = [::1]7\n", "\"[::1]7\" is not" },
		{ "[database]\nconninfo = a\n[cache]\nnodes = []:7\n", "\"[]:7\" is not" },
		{ "[database]\nconninfo = a\n[cache]\nnodes = \n", "nodes: none is named" },
		{ "[database]\nconninfo = " LONG LONG "\n", ":2: longer than 198 characters" },
	};
	struct conf_file *f = NULL;
	struct err e = { 0 };
	(void)state;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		write_file(rows[i].text, strlen(rows[i].text));
		assert_err(ERR_CONFIG, conf_file_read(path, &f, &e), &e);
		if (strstr(e.detail, rows[i].want) == NULL)
			fail_msg("row %zu: %s", i, e.detail);
	}
	write_file("[a]\0", 4);
	assert_err(ERR_CONFIG, conf_file_read(path, &f, &e), &e);
	assert_err(ERR_CONFIG, conf_file_read("/nowhere/at/all", &f, &e), &e);
	assert_err(ERR_CONFIG, conf_file_read("/tmp", &f, &e), &e);
}

static int
remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_sample_is_read),
		cmocka_unit_test(what_is_left_out_has_its_default),
		cmocka_unit_test(nodes_have_many_forms),
		cmocka_unit_test(what_is_not_understood_is_refused_with_its_place),
	};
	close(mkstemp(path));
	return cmocka_run_group_tests(tests, NULL, remove_file);
}
