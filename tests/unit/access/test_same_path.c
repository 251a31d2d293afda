/* Whatever is wrong with a secret, the same is done: shown by counting what access.c calls, not by a clock. */
#include "unit.h"

#include "conf.h"
#include "conv.h"
#include "slice.h"

static struct calls { unsigned long secrets, hashes, addresses, names; } calls;

static bool
counted_secret_eq(struct slice a, struct slice b)
{
	calls.secrets++;
	return secret_eq(a, b);
}

static void
counted_sha256(struct slice bytes, uint8_t out[32])
{
	calls.hashes++;
	conv_sha256(bytes, out);
}

static bool
counted_address_has(const struct conf_address *range, const struct conf_address *one)
{
	calls.addresses++;
	return conf_address_has(range, one);
}

static bool
counted_slice_eq(struct slice a, struct slice b)
{
	calls.names++;
	return slice_eq(a, b);
}

#define secret_eq counted_secret_eq
#define conv_sha256 counted_sha256
#define conf_address_has counted_address_has
#define slice_eq counted_slice_eq
#include "access.c"	/* in place of the library's own */

#define CLIENTS 40

static void
every_wrong_secret_takes_the_same_path(void **state)
{
	static const struct { const char *note, *peer, *basic; } rows[] = {
		{ "wrong", "10.0.0.1", "client-7:wrong" },
		{ "unknown client", "10.0.0.1", "nobody:wrong" },
		{ "unknown client, somebody's secret", "10.0.0.1", "nobody:secret-7" },
		{ "another's secret", "10.0.0.1", "client-7:secret-8" },
		{ "the first client's", "10.0.0.1", "client-39:secret-0" },
		{ "the last client's", "10.0.0.1", "client-0:secret-39" },
		{ "right, from elsewhere", "192.0.2.1", "client-7:secret-7" },
		{ "empty", "10.0.0.1", "client-7:" },
		{ "a prefix", "10.0.0.1", "client-7:secret-" },
		{ "long", "10.0.0.1", "client-7:secret-7secret-7secret-7secret-7secret-7secret-7secret-7secret-7secret-7" },
		{ "right", "10.0.0.1", "client-7:secret-7" },
	};
	static const struct conf_organisation org = { .id = { "a", 1 } };
	static uint8_t secrets[CLIENTS][2][32];
	static struct conf_client clients[CLIENTS];
	static struct conf_address lan[2];
	struct arena *a = *state;
	struct calls first = { 0 };

	conf_address_parse(S("10.0.0.0/8"), &lan[0]);
	conf_address_parse(S("2001:db8::/32"), &lan[1]);
	for (int i = 0; i < CLIENTS; i++) {
		conv_sha256(arena_printf(a, "secret-%d", i), secrets[i][0]);
		conv_sha256(arena_printf(a, "old-secret-%d", i), secrets[i][1]);
		clients[i] = (struct conf_client){ .id = arena_printf(a, "client-%d", i), .organisation = &org,
			.auth = CONF_AUTH_SECRET, .addresses = lan, .naddresses = 2,
			.secrets = (const uint8_t (*)[32])secrets[i], .nsecrets = 2 };
	}
	const struct conf conf = { .clients = clients, .nclients = CLIENTS };
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct access_evidence seen = { .peer = slice_of(rows[i].peer),
			.authorization = arena_printf(a, "Basic %s", conv_base64(a, slice_of(rows[i].basic)).p) };
		struct access_caller who;
		struct err e = { 0 };
		memset(&calls, 0, sizeof calls);
		int rc = access_identify(&conf, &seen, a, &who, &e);
		assert_int_equal(rc, strcmp(rows[i].note, "right") == 0 ? 0 : -1);
		if (i == 0)
			first = calls;
		if (memcmp(&first, &calls, sizeof first) != 0)
			fail_msg("%s: %lu secrets, %lu hashes, %lu addresses, %lu names", rows[i].note,
			    calls.secrets, calls.hashes, calls.addresses, calls.names);
	}
	assert_int_equal(first.secrets, 2 * CLIENTS);
	assert_int_equal(first.hashes, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_wrong_secret_takes_the_same_path) };

	return cmocka_run_group_tests(tests, unit_arena_new, unit_arena_free);
}
