#include "unit.h"

#include "access.h"
#include "conv.h"

static const struct conf_organisation orgs[] = {
	{ .id = { "a", 1 } }, { .id = { "b", 1 } },
};
static uint8_t secrets[3][32];
static struct conf_address local[1], lan[1], wide[1], six[1];
static struct conf_client clients[6];
static const struct conf_service services[] = {
	{ .id = { "one", 3 }, .url = { "http://a.example/ws", 19 } },
	{ .id = { "two", 3 }, .url = { "https://a.example:8443/ws?x=1", 29 } },
};
static struct conf conf = {
	.organisations = orgs, .norganisations = 2, .clients = clients, .nclients = 6,
	.services = services, .nservices = 2,
};

static int
setup(void **state)
{
	*state = arena_new(1 << 20);
	conf_address_parse(S("127.0.0.1"), local);
	conf_address_parse(S("10.1.0.0/16"), lan);
	conf_address_parse(S("10.0.0.0/8"), wide);
	conf_address_parse(S("2001:db8::/32"), six);
	conv_sha256(S("first"), secrets[0]);
	conv_sha256(S("second"), secrets[1]);
	conv_sha256(S("third"), secrets[2]);
	clients[0] = (struct conf_client){ .id = S("epj"), .organisation = &orgs[0], .auth = CONF_AUTH_SECRET,
		.addresses = local, .naddresses = 1, .secrets = (const uint8_t (*)[32])secrets, .nsecrets = 2 };
	clients[1] = (struct conf_client){ .id = S("lab"), .organisation = &orgs[1], .auth = CONF_AUTH_SECRET,
		.addresses = six, .naddresses = 1, .secrets = (const uint8_t (*)[32])secrets + 2, .nsecrets = 1 };
	clients[2] = (struct conf_client){ .id = S("wide"), .organisation = &orgs[0], .auth = CONF_AUTH_ADDRESS,
		.addresses = wide, .naddresses = 1 };
	clients[3] = (struct conf_client){ .id = S("lan"), .organisation = &orgs[1], .auth = CONF_AUTH_ADDRESS,
		.addresses = lan, .naddresses = 1 };
	clients[4] = (struct conf_client){ .id = S("tls"), .organisation = &orgs[1], .auth = CONF_AUTH_CERTIFICATE,
		.certificate = S("aa") };
	clients[5] = (struct conf_client){ .id = S("front"), .organisation = &orgs[1], .auth = CONF_AUTH_ADDRESS,
		.addresses = local, .naddresses = 1 };
	clients[5].naddresses = 0;
	conf.front_proxies = six;
	conf.nfront_proxies = 1;
	return *state == NULL;
}

static int
teardown(void **state)
{
	arena_free(*state);
	return 0;
}

static void
only_what_fits_is_let_in(void **state)
{
	/* authorization: base64 of "id:secret" */
	static const struct {
		const char *note, *peer, *forwarded, *basic, *secret, *certificate, *client;
	} rows[] = {
		{ "secret in the header", "127.0.0.1", NULL, NULL, "first", NULL, "epj" },
		{ "the second secret", "127.0.0.1", NULL, NULL, "second", NULL, "epj" },
		{ "Basic", "127.0.0.1", NULL, "epj:first", NULL, NULL, "epj" },
		{ "IPv4 in IPv6 form", "::ffff:127.0.0.1", NULL, NULL, "first", NULL, "epj" },
		{ "Basic with another's name", "127.0.0.1", NULL, "lab:first", NULL, NULL, NULL },
		{ "Basic without a colon", "127.0.0.1", NULL, "first", NULL, NULL, NULL },
		{ "Basic wins over the header", "127.0.0.1", NULL, "epj:wrong", "first", NULL, NULL },
		{ "no secret", "127.0.0.1", NULL, NULL, NULL, NULL, NULL },
		{ "empty secret", "127.0.0.1", NULL, NULL, "", NULL, NULL },
		{ "prefix of a secret", "127.0.0.1", NULL, NULL, "firs", NULL, NULL },
		{ "secret with a tail", "127.0.0.1", NULL, NULL, "first ", NULL, NULL },
		{ "case", "127.0.0.1", NULL, NULL, "First", NULL, NULL },
		{ "another's secret", "127.0.0.1", NULL, NULL, "third", NULL, NULL },
		{ "two secrets joined", "127.0.0.1", NULL, NULL, "first, second", NULL, NULL },
		{ "right secret, other address", "127.0.0.2", NULL, NULL, "first", NULL, NULL },
		{ "address alone", "10.2.3.4", NULL, NULL, NULL, NULL, "wide" },
		{ "the narrower range", "10.1.3.4", NULL, NULL, NULL, NULL, "lan" },
		{ "address client with a wrong secret", "10.2.3.4", NULL, NULL, "x", NULL, NULL },
		{ "outside", "11.0.0.1", NULL, NULL, NULL, NULL, NULL },
		{ "certificate", "192.0.2.1", NULL, NULL, NULL, "aa", "tls" },
		{ "another certificate", "192.0.2.1", NULL, NULL, NULL, "ab", NULL },
		{ "not an address", "nonsense", NULL, NULL, "first", NULL, NULL },
		{ "no address", "", NULL, NULL, "first", NULL, NULL },
		{ "forwarded by nobody listed", "127.0.0.2", "127.0.0.1", NULL, "first", NULL, NULL },
		{ "forwarded by a listed proxy", "2001:db8::1", "9.9.9.9, 10.1.0.9", NULL, NULL, NULL, "lan" },
		{ "only the nearest counts", "2001:db8::1", "10.1.0.9, 9.9.9.9", NULL, NULL, NULL, NULL },
		{ "through two listed proxies", "2001:db8::1", "10.1.0.9, 2001:db8::2", NULL, NULL, NULL, "lan" },
		{ "listed proxy, nonsense", "2001:db8::1", "10.1.0.9, x", NULL, NULL, NULL, NULL },
	};
	struct err e;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct access_caller who;
		struct access_evidence seen = {
			.peer = slice_of(rows[i].peer), .forwarded = slice_of(rows[i].forwarded),
			.secret = slice_of(rows[i].secret), .certificate = slice_of(rows[i].certificate),
		};
		if (rows[i].basic != NULL)
			seen.authorization = arena_printf(*state, "Basic %s",
			    conv_base64(*state, slice_of(rows[i].basic)).p);
		err_clear(&e);
		int rc = access_identify(&conf, &seen, *state, &who, &e);
		struct slice address = { NULL, 0 };
		struct err unsaid = { .kind = ERR_NONE };
		/* whoever it is, the address is the same */
		if (access_address(&conf, &seen, *state, &address, &unsaid) == 0)
			assert_true(slice_eq(address, who.address));
		else
			assert_int_equal(rc, -1);
		if ((rc == 0) != (rows[i].client != NULL) ||
		    (rc == 0 && !slice_is(who.client->id, rows[i].client)))
			fail_msg("%s: %s", rows[i].note, rc == 0 ? who.client->id.p : e.detail);
		if (rc < 0)
			assert_int_equal(e.kind, ERR_CLIENT_UNKNOWN);
	}
}

static void
two_clients_that_fit_are_nobody(void **state)
{
	struct access_caller who;
	struct access_evidence seen = { .peer = S("10.1.3.4") };
	struct err e = { 0 };

	clients[5].addresses = lan;
	clients[5].naddresses = 1;
	assert_err(ERR_CLIENT_UNKNOWN, access_identify(&conf, &seen, *state, &who, &e), &e);
	clients[5].naddresses = 0;
}

static void
a_service_is_its_exact_octets(void **state)
{
	static const char *const no[] = { "", "http://a.example/ws/", "http://a.example/w", "HTTP://a.example/ws",
		"http://a.example:80/ws", "http://A.example/ws", "http://a.example./ws", "http://u@a.example/ws",
		"http://a.example/ws/..", "http://a.example/%77s", "http://a.example/ws?", "http://a.example/ws#",
		"https://a.example/ws", "http://a.example/ws http://b.example/", "//a.example/ws", "/ws" };
	const struct conf_service *s;
	struct err e;
	(void)state;

	assert_ok(access_service(&conf, S("http://a.example/ws"), &s, &e), &e);
	assert_slice("one", s->id);
	assert_ok(access_service(&conf, S("https://a.example:8443/ws?x=1"), &s, &e), &e);
	for (size_t i = 0; i < sizeof no / sizeof *no; i++)
		assert_err(ERR_SERVICE_UNKNOWN, access_service(&conf, slice_of(no[i]), &s, &e), &e);
}

static void
a_new_secret_is_stored_as_its_hash(void **state)
{
	struct slice secret, stored;
	uint8_t hash[32];

	assert_int_equal(access_new_secret(*state, &secret, &stored), 0);
	assert_int_equal(secret.n, 43);
	conv_sha256(secret, hash);
	assert_true(slice_eq(slice_from(stored, 7), conv_hex(*state, (struct slice){ (char *)hash, 32 })));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_fits_is_let_in),
		cmocka_unit_test(two_clients_that_fit_are_nobody),
		cmocka_unit_test(a_service_is_its_exact_octets),
		cmocka_unit_test(a_new_secret_is_stored_as_its_hash),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
