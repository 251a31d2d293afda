#include "unit.h"

#include "conf.h"
#include "conv.h"
#include "docs.h"

#define SAMPLE "docs/examples/configuration.json"
#define PLACEHOLDER S("-----BEGIN CERTIFICATE-----\\n...\\n-----END CERTIFICATE-----\\n")

struct world {
	struct arena *a;
	struct buf problems;
	struct conf *c;
	struct err e;
};

static int
set_up(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	w->a = arena_new(32 << 20);
	buf_init(&w->problems, 1 << 20);
	*state = w;
	return 0;
}

static int
tear_down(void **state)
{
	struct world *w = *state;

	conf_free(w->c);
	buf_free(&w->problems);
	arena_free(w->a);
	free(w);
	return 0;
}

static const char *
problems(struct world *w)
{
	return arena_cstr(w->a, buf_slice(&w->problems));
}

/* The sample with a certificate where it has placeholders. */
static struct slice
good(struct world *w)
{
	return docs_with(w->a, unit_file(w->a, SAMPLE), PLACEHOLDER, docs_certificate(w->a));
}

static void
addresses_are_read_strictly(void **state)
{
	static const struct { const char *text; int bits; } rows[] = {
		{ "10.0.0.0/8", 104 }, { "10.1.2.3", 128 }, { "10.1.2.3/32", 128 }, { "0.0.0.0/0", 96 },
		{ "::1", 128 }, { "2001:db8::/32", 32 }, { "::/0", 0 }, { "::ffff:10.0.0.0/104", 104 },
		{ "10.0.0.1/8", -1 }, { "2001:db8::1/32", -1 }, { "10.0.0.0/33", -1 }, { "::/129", -1 },
		{ "10.0.0/8", -1 }, { "010.0.0.1", -1 }, { "10.0.0.0/", -1 }, { "10.0.0.0/8/8", -1 },
		{ "10.0.0.0/+8", -1 }, { "10.0.0.0/ 8", -1 }, { "", -1 }, { "/8", -1 }, { "fe80::1%eth0", -1 },
		{ " 10.0.0.1", -1 }, { "localhost", -1 }, { "[::1]", -1 }, { "10.0.0.0/0008", -1 },
	};
	struct conf_address a;
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int bits = conf_address_parse(slice_of(rows[i].text), &a) < 0 ? -1 : (int)a.bits;
		if (bits != rows[i].bits)
			fail_msg("%s: %d", rows[i].text, bits);
	}
	assert_int_equal(conf_address_parse((struct slice){ NULL, 0 }, &a), -1);
	assert_int_equal(conf_address_parse((struct slice){ "1.1.1.1\0x", 9 }, &a), -1);
}

static void
ranges_hold_what_lies_in_them(void **state)
{
	static const struct { const char *range, *one; bool in; } rows[] = {
		{ "10.0.0.0/8", "10.255.255.255", true }, { "10.0.0.0/8", "11.0.0.0", false },
		{ "10.20.16.0/20", "10.20.31.255", true }, { "10.20.16.0/20", "10.20.32.0", false },
		{ "10.20.16.0/20", "::ffff:10.20.17.1", true },
		{ "0.0.0.0/0", "8.8.8.8", true }, { "0.0.0.0/0", "::1", false }, { "::/0", "8.8.8.8", true },
		{ "2001:db8::/33", "2001:db8:7fff::1", true }, { "2001:db8::/33", "2001:db8:8000::1", false },
		{ "1.2.3.4", "1.2.3.4", true }, { "1.2.3.4", "1.2.3.5", false },
		{ "10.0.0.0/9", "10.0.0.0/8", false },
	};
	struct conf_address range, one;
	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_int_equal(conf_address_parse(slice_of(rows[i].range), &range), 0);
		assert_int_equal(conf_address_parse(slice_of(rows[i].one), &one), 0);
		if (conf_address_has(&range, &one) != rows[i].in)
			fail_msg("%s in %s", rows[i].one, rows[i].range);
	}
}

static void
the_sample_lacks_nothing_but_certificates(void **state)
{
	struct world *w = *state;

	assert_err(ERR_INVALID, conf_parse(unit_file(w->a, SAMPLE), 0, &w->c, &w->problems, &w->e), &w->e);
	assert_string_equal(problems(w), "sts.certificates[0]: must be one certificate in PEM form\n"
	    "trust.roots[0]: must be one certificate in PEM form\n");
}

static void
the_sample_becomes_a_configuration(void **state)
{
	struct world *w = *state;

	assert_ok(conf_parse(good(w), 7, &w->c, &w->problems, &w->e), &w->e);
	const struct conf *c = w->c;
	assert_int_equal(c->revision, 7);
	assert_int_equal(c->norganisations, 1);
	assert_slice("region-eksempel", c->organisations[0].id);
	assert_slice("30808460", c->organisations[0].cvr);
	assert_true(c->organisations[0].check_cvr);
	assert_int_equal(c->organisations[0].signature_hash, CONF_SHA1);
	assert_int_equal(c->nclients, 1);
	assert_ptr_equal(c->clients[0].organisation, &c->organisations[0]);
	assert_int_equal(c->clients[0].auth, CONF_AUTH_SECRET);
	assert_int_equal(c->clients[0].naddresses, 2);
	assert_int_equal(c->clients[0].addresses[1].bits, 32);
	assert_int_equal(c->clients[0].nsecrets, 1);
	assert_int_equal(c->clients[0].secrets[0][0], 0x2b);
	assert_int_equal(c->clients[0].secrets[0][31], 0x5b);
	assert_null(c->clients[0].certificate.p);
	assert_slice("Fælles Medicinkort", c->services[0].name);
	assert_string_equal(c->services[0].url_z, "https://fmk.example.dk/fmk12/ws/MedicineCard");
	assert_int_equal(c->services[0].answer_ms, 60000);
	assert_null(c->services[0].ca_file);
	assert_string_equal(c->sts.urls[0], "https://sts.example.dk/sts/services/NewSecurityTokenService");
	assert_int_equal(c->sts.nbst_urls, 1);
	assert_string_equal(c->sts.bst_urls[0], "https://sts.example.dk/sts/services/BST2SOSI");
	assert_int_equal(c->sts.ncertificates, 1);
	assert_true(slice_starts(c->sts.certificates[0], S("-----BEGIN CERTIFICATE-----\n")));
	assert_int_equal(c->trust.nroots, 1);
	assert_int_equal(c->trust.crl_refresh, 3600);
	assert_int_equal(c->trust.crl_grace, 43200);
	assert_int_equal(c->trust.nocsp, 0);
	assert_int_equal(c->trust.unchecked_accept, 0);
	assert_int_equal(c->pending_ttl, 600);
	assert_int_equal(c->url_open, 30);
	assert_int_equal(c->url_answer, 60);
	assert_int_equal(c->url_answer_most, 600);
	assert_false(c->browser_remember);
	assert_int_equal(c->expiry_margin, 60);
	assert_int_equal(c->clock_skew, 30);
	assert_int_equal(c->max_message, 262144);
	assert_int_equal(c->retention_months, 0);
	assert_slice("https://gw.example.dk", c->browser_base);
	assert_true(c->danish);
}

static void
the_keys_of_systems_are_read(void **state)
{
	struct world *w = *state;

	assert_ok(conf_parse(S("{\"format\": 1, \"organisations\": [{\"id\": \"none\"}, {\"id\": \"some\", \"system_keys\": ["
	    "{\"system\": \"EPJ\", \"certificate_file\": \"/c.pem\", \"pkcs11\": \"pkcs11:object=k\", \"password_file\": \"/pin\"}, "
	    "{\"pkcs12_file\": \"/k.p12\"}, "
	    "{\"system\": \"LAB\", \"certificate_file\": \"/l.pem\", \"key_file\": \"/l.key\"}]}]}"),
	    0, &w->c, &w->problems, &w->e), &w->e);
	const struct conf_organisation *o = &w->c->organisations[1];
	assert_int_equal(w->c->organisations[0].nsystem_keys, 0);
	assert_int_equal(o->nsystem_keys, 3);
	const struct conf_system_key *k = o->system_keys;
	assert_slice("EPJ", k[0].system);
	assert_string_equal(k[0].certificate_file, "/c.pem");
	assert_string_equal(k[0].pkcs11, "pkcs11:object=k");
	assert_string_equal(k[0].password_file, "/pin");
	assert_null(k[0].key_file);
	assert_null(k[1].system.p);
	assert_null(k[1].certificate_file);
	assert_string_equal(k[1].pkcs12_file, "/k.p12");
	assert_string_equal(k[2].key_file, "/l.key");
	assert_null(k[2].password_file);
}

/* An organisation with one provider, whose entry has these members more. */
static int
parse_provider(struct world *w, const char *more)
{
	struct slice document = arena_printf(w->a, "{\"format\": 1, \"organisations\": [{\"id\": \"some\", \"identity_providers\": [{\"name\": \"n\", "
	    "\"url\": \"https://i/\", \"issuer\": \"i\", \"audience\": \"a\", \"certificates\": [\"-----BEGIN CERTIFICATE-----\\n...\\n"
	    "-----END CERTIFICATE-----\\n\"], \"certificate_file\": \"/c.pem\", \"key_file\": \"/c.key\"%s}]}]}", more);

	conf_free(w->c);
	w->c = NULL;
	buf_clear(&w->problems);
	err_clear(&w->e);
	return conf_parse(docs_with(w->a, document, PLACEHOLDER, docs_certificate(w->a)), 0, &w->c, &w->problems, &w->e);
}

static void
a_provider_encrypts_for_its_entrys_own_key_or_for_those_it_names(void **state)
{
	static const struct { const char *keys, *want; } rows[] = {
		{ "{\"pkcs12_file\": \"/q\"}, {\"pkcs12_file\": \"/p\"}, {\"pkcs12_file\": \"/r\"}",
		    ": has more than two: the one that counts and, while it is replaced, the other\n" },
		{ "{\"pkcs12_file\": \"/q\"}, {\"key_file\": \"/p\"}",
		    "[1].certificate_file: is missing: only a pkcs12_file holds the certificate itself\n" },
		{ "{\"pkcs12_file\": \"/q\", \"key_file\": \"/p\"}", "[0]: needs exactly one of key_file, pkcs12_file and pkcs11\n" },
		{ "{\"pkcs12_file\": \"/q\", \"system\": \"x\"}", "[0].system: is not known here\n" },
	};
	struct world *w = *state;

	assert_ok(parse_provider(w, ""), &w->e);
	const struct conf_idp *p = w->c->organisations[0].idps;
	assert_int_equal(p->ndecryption_keys, 1);
	assert_string_equal(p->decryption_keys[0].key_file, "/c.key");

	assert_ok(parse_provider(w, ", \"decryption_keys\": [{\"certificate_file\": \"/new.pem\", \"pkcs11\": \"pkcs11:object=k\", "
	    "\"password_file\": \"/pin\"}, {\"pkcs12_file\": \"/old.p12\"}]"), &w->e);
	p = w->c->organisations[0].idps;
	assert_int_equal(p->ndecryption_keys, 2);
	assert_string_equal(p->key.key_file, "/c.key");
	assert_string_equal(p->decryption_keys[0].certificate_file, "/new.pem");
	assert_string_equal(p->decryption_keys[0].pkcs11, "pkcs11:object=k");
	assert_string_equal(p->decryption_keys[0].password_file, "/pin");
	assert_string_equal(p->decryption_keys[1].pkcs12_file, "/old.p12");

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct slice want = arena_printf(w->a, "organisations[0].identity_providers[0].decryption_keys%s", rows[i].want);
		assert_int_equal(parse_provider(w, arena_printf(w->a, ", \"decryption_keys\": [%s]", rows[i].keys).p), -1);
		assert_string_equal(problems(w), want.p);
	}
}

static void
what_is_left_out_has_its_default(void **state)
{
	struct world *w = *state;

	assert_ok(conf_parse(S("{\"format\": 1, \"language\": \"en\","
	    "\"organisations\": [{\"id\": \"o\"}],"
	    "\"clients\": [{\"id\": \"k\", \"organisation\": \"o\", \"auth\": \"certificate\", \"certificate\":"
	    "\"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\"}],"
	    "\"services\": [{\"id\": \"s\", \"url\": \"http://s.example/\", \"max_card_age_minutes\": 90}]}"),
	    0, &w->c, &w->problems, &w->e), &w->e);
	const struct conf *c = w->c;
	assert_slice("o", c->organisations[0].name);
	assert_null(c->organisations[0].cvr.p);
	assert_slice("k", c->clients[0].name);
	assert_int_equal(c->clients[0].naddresses, 0);
	assert_slice("s", c->services[0].name);
	assert_int_equal(c->services[0].connect_ms, 3000);
	assert_int_equal(c->services[0].max_card_age, 5400);
	assert_int_equal(c->sts.nurls, 0);
	assert_int_equal(c->sts.nbst_urls, 0);
	assert_int_equal(c->sts.answer_ms, 10000);
	assert_true(c->trust.check_revocation);
	assert_int_equal(c->pending_ttl, 600);
	assert_null(c->browser_base.p);
	assert_slice("SOSI-GW", c->issuer);
	assert_false(c->danish);
}

static void
every_break_of_a_rule_is_told_with_its_place(void **state)
{
	struct world *w = *state;
	/* `from` in the good sample becomes `to`; want NULL: it stays good */
	static const struct { const char *from, *to, *want; } rows[] = {
		{ "\"format\": 1", "\"format\": 2", "format: must be 1: this version reads no other\n" },
		{ "\"format\": 1,", "", "format: is missing\n" },
		{ "\"format\": 1", "\"format\": \"1\"", "format: must be 1: this version reads no other\n" },
		{ "\"language\": \"da\"", "\"language\": \"sv\"", "language: must be \"da\" or \"en\"\n" },
		{ "\"language\": \"da\"", "\"sprog\": \"da\"", "sprog: is not known here\n" },
		{ "\"refuse_sha1\"", "\"refuse_sha2\"", "sts.refuse_sha2: is not known here\n" },
		{ "\"strip_wsa\": false", "\"strip_wsa\": 0", "services[0].strip_wsa: must be true or false\n" },
		{ "\"connect_ms\": 3000,", "\"connect_ms\": 3000.0,", "services[0].connect_ms: must be a whole number "
		    "from 1 to 3600000\nsts.connect_ms: must be a whole number from 1 to 3600000\n" },
		{ "\"idle_ms\": 60000", "\"idle_ms\": 0", "services[0].idle_ms: must be a whole number from 1 to 3600000\n" },
		{ "\"idle_ms\": 60000", "\"idle_ms\": null", "services[0].idle_ms: must be a whole number from 1 to 3600000\n" },
		{ "\"clock_skew_seconds\": 30", "\"clock_skew_seconds\": 0", NULL },
		{ "\"clock_skew_seconds\": 30", "\"clock_skew_seconds\": 31", "times.clock_skew_seconds: must be a whole number from 0 to 30\n" },
		{ "\"clock_skew_seconds\": 30", "\"clock_skew_seconds\": -1", "times.clock_skew_seconds: must be a whole number from 0 to 30\n" },
		{ "\"answer_ms\": 60000", "\"answer_ms\": 82000", NULL },
		{ "\"answer_ms\": 60000", "\"answer_ms\": 82001", "services[0].answer_ms: and connect_ms together must be 5000 below "
		    "limits.apache_timeout_seconds\n" },
		{ "\"idle_ms\": 60000", "\"idle_ms\": 85001", "services[0].idle_ms: must be 5000 below limits.apache_timeout_seconds\n" },
		{ "\"apache_timeout_seconds\": 90", "\"apache_timeout_seconds\": 65",
		    "services[0].answer_ms: and connect_ms together must be 5000 below limits.apache_timeout_seconds\n" },
		{ "\"front_proxies\": []", "\"front_proxies\": \"10.0.0.1\"", "front_proxies: must be a list\n" },
		{ "\"front_proxies\": []", "\"front_proxies\": [1]", "front_proxies[0]: must be a string\n" },
		{ "\"times\": {", "\"times\": {\"a\\nb\": 1,", "times.a?b: is not known here\n" },
		{ "\"id\": \"epj\"", "\"id\": \"EPJ\"", "clients[0].id: must be 1 to 64 of a-z, 0-9 and -\n" },
		{ "\"id\": \"epj\",", "", "clients[0].id: is missing\n" },
		{ "\"organisation\": \"region-eksempel\"", "\"organisation\": \"x\"",
		    "clients[0].organisation: no organisation \"x\"\n" },
		{ "\"cvr\": \"30808460\"", "\"cvr\": \"3080846\"", "organisations[0].cvr: must be 8 digits\n" },
		{ "\"cvr\": \"30808460\"", "\"cvr\": null", NULL },
		{ "\"name\": \"Region Eksempel\"", "\"name\": \"a\\u0007\"",
		    "organisations[0].name: must be 1 to 200 bytes without line breaks\n" },
		{ "\"Region Eksempel\"", "\"a\\u0000\"", "no JSON" },
		{ "\"identity_providers\": []", "\"identity_providers\": [{\"name\": \"n\", \"url\": \"https://i/\", \"issuer\": \"i\", "
		    "\"audience\": \"a\"}]", "organisations[0].identity_providers[0].certificates: is empty: without one no answer "
		    "can be believed\norganisations[0].identity_providers[0]: needs exactly one of key_file, pkcs12_file and pkcs11\n"
		    "organisations[0].identity_providers[0].certificate_file: is missing: only a pkcs12_file holds the certificate itself\n" },
		{ "\"system_keys\": []", "\"system_keys\": [{}]", "organisations[0].system_keys[0]: needs exactly one of key_file, "
		    "pkcs12_file and pkcs11\norganisations[0].system_keys[0].certificate_file: is missing: only a pkcs12_file "
		    "holds the certificate itself\n" },
		{ "\"system_keys\": []", "\"system_keys\": [{\"key_file\": \"/k\", \"certificate_file\": \"/c\"}]", NULL },
		{ "\"system_keys\": []", "\"system_keys\": [{\"pkcs11\": \"pkcs11:object=k\", \"certificate_file\": \"/c\"}]", NULL },
		{ "\"system_keys\": []", "\"system_keys\": [{\"pkcs12_file\": \"/p\", \"password_file\": \"/w\"}]", NULL },
		{ "\"system_keys\": []", "\"system_keys\": [{\"key_file\": \"/k\"}]", "organisations[0].system_keys[0].certificate_file: "
		    "is missing: only a pkcs12_file holds the certificate itself\n" },
		{ "\"system_keys\": []", "\"system_keys\": [{\"key_file\": \"/k\", \"pkcs12_file\": \"/p\"}]",
		    "organisations[0].system_keys[0]: needs exactly one of key_file, pkcs12_file and pkcs11\n" },
		{ "\"system_keys\": []", "\"system_keys\": [{\"pkcs12_file\": \"p.p12\"}]",
		    "organisations[0].system_keys[0].pkcs12_file: must be a path from /\n" },
		{ "\"system_keys\": []", "\"system_keys\": [{\"certificate_file\": \"/c\", \"pkcs11\": \"file:/k\"}]",
		    "organisations[0].system_keys[0].pkcs11: must be a pkcs11: URI\n" },
		{ "\"system_keys\": []", "\"system_keys\": [{\"certificate_file\": \"/c\", \"pkcs11\": \"pkcs11:object=k?pin-value=1234\"}]",
		    "organisations[0].system_keys[0].pkcs11: must name neither PIN nor module: password_file holds the PIN, the "
		    "environment of the workers names the module\n" },
		{ "\"system_keys\": []", "\"system_keys\": [{\"certificate_file\": \"/c\", \"pkcs11\": \"pkcs11:object=k?module-path=/x.so\"}]",
		    "organisations[0].system_keys[0].pkcs11: must name neither PIN nor module: password_file holds the PIN, the "
		    "environment of the workers names the module\n" },
		{ "\"system_keys\": []", "\"system_keys\": [{\"pkcs12_file\": \"/p\"}, {\"system\": \"A\", \"pkcs12_file\": \"/p\"}]", NULL },
		{ "\"system_keys\": []", "\"system_keys\": [{\"pkcs12_file\": \"/p\"}, {\"pkcs12_file\": \"/q\"}]",
		    "organisations[0].system_keys[1].system: is that of system_keys[0] too\n" },
		{ "\"system_keys\": []", "\"system_keys\": [{\"system\": \"A\", \"pkcs12_file\": \"/p\"}, {\"system\": \"A\", "
		    "\"pkcs12_file\": \"/p\"}]", "organisations[0].system_keys[1].system: is that of system_keys[0] too\n" },
		{ "\"system_keys\": []", "\"system_keys\": [{\"pkcs12_file\": \"/p\", \"password\": \"x\"}]",
		    "organisations[0].system_keys[0].password: is not known here\n" },
		{ "\"auth\": \"secret\"", "\"auth\": \"none\"",
		    "clients[0].auth: must be \"secret\", \"address\" or \"certificate\"\n" },
		{ "\"auth\": \"secret\"", "\"auth\": \"address\"",
		    "clients[0].auth: secrets are used with \"secret\" only; remove them or change auth\n" },
		{ "\"auth\": \"secret\"", "\"auth\": \"certificate\"",
		    "clients[0].auth: secrets are used with \"secret\" only; remove them or change auth\n"
		    "clients[0].auth: \"certificate\" needs the fingerprint of one\n" },
		{ "\"10.20.0.0/16\", \"2001:db8::/32\"", "", "clients[0].auth: \"secret\" needs at least one address or range\n" },
		{ "\"10.20.0.0/16\"", "\"10.20.0.1/16\"", "clients[0].addresses[0]: must be an address or a range like "
		    "10.0.0.0/8 or 2001:db8::/32 (bits behind the prefix are zero)\n" },
		{ "\"sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\"", "",
		    "clients[0].auth: \"secret\" needs one secret, or two while one is replaced\n" },
		{ "sha256:2bb8", "sha256:2BB8", "clients[0].secrets[0]: must be \"sha256:\" and 64 lower-case hex digits, "
		    "as `sosigwctl secret new` makes it\n" },
		{ "\"certificate\": null", "\"certificate\": \"AA:BB\"", "clients[0].certificate: must be the SHA-256 of the "
		    "certificate's DER, 64 lower-case hex digits without colons\n" },
		{ "\"certificate\": null", "\"certificate\": \"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\"",
		    "clients[0].auth: a certificate is used with \"certificate\" only; remove it or change auth\n" },
		{ "https://fmk.example.dk/", "ftp://fmk.example.dk/",
		    "services[0].url: must be http:// or https://, host and path, without user, fragment or white space\n" },
		{ "https://fmk.example.dk/", "https://u@fmk.example.dk/",
		    "services[0].url: must be http:// or https://, host and path, without user, fragment or white space\n" },
		{ "\"cert_file\": null", "\"cert_file\": \"/etc/x.pem\"", "services[0].key_file: cert_file and key_file go together\n" },
		{ "\"ca_file\": null,", "\"ca_file\": \"ca.pem\",", "services[0].ca_file: must be a path from /\n" },
		{ "\"https://gw.example.dk\"", "\"https://gw.example.dk/\"",
		    "browser_base: must be http:// or https:// and a host, with nothing behind it\n" },
		{ "\"SOSI-GW\"", "\"SOSI GW\"", "issuer: must begin with a letter and hold letters, digits and - . _ only\n" },
		{ "\"intermediates\": []", "\"intermediates\": [\"-----BEGIN EC PRIVATE KEY-----\"]", "trust.intermediates[0]: "
		    "holds a private key: that never belongs in the configuration; replace that key\n" },
		{ "\"intermediates\": []", "\"intermediates\": [\"\"]", "trust.intermediates[0]: must be one certificate in PEM form\n" },
		{ "\"ocsp_urls\": []", "\"ocsp_urls\": [{\"issuer\": \"Issuing CA\", \"url\": \"http://o.example/\"}]",
		    "trust.ocsp_urls[0].issuer: must be the SHA-256 of the certificate's DER, 64 lower-case hex digits without "
		    "colons\n" },
		{ "\"ocsp_urls\": []", "\"ocsp_urls\": [{}]",
		    "trust.ocsp_urls[0].issuer: is missing\ntrust.ocsp_urls[0].url: is missing\n" },
		{ "\"ocsp_urls\": []", "\"ocsp_urls\": [{\"url\": \"http://o.example/\", \"issuer\": "
		    "\"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\"}]",
		    "trust.ocsp_urls[0].issuer: is the fingerprint of no certificate in roots and intermediates\n" },
		{ "\"when_unchecked\": \"refuse\"", "\"when_unchecked\": \"ignore\"",
		    "trust.when_unchecked: must be \"refuse\" or \"accept\"\n" },
		{ "\"unchecked_accept_minutes\": 1440", "\"unchecked_accept_minutes\": 0",
		    "trust.unchecked_accept_minutes: must be a whole number from 1 to 43200\n" },
		{ "\"times\": {", "\"times\": [], \"x\": {", "times: must be an object\nx: is not known here\n" },
		{ "\"language\": \"da\"", "\"language\": \"da\", \"language\": \"da\"", "no JSON" },
		{ "\"language\": \"da\"", "\"language\": \"da\",", "no JSON" },
		{ "\"services\": [", "\"services\": [{\"id\": \"fmk\", \"url\": \"https://other.example/\"},",
		    "services[1].id: \"fmk\" is there twice\n" },
		{ "\"services\": [", "\"services\": [{\"id\": \"a\", \"url\": \"https://fmk.example.dk/fmk12/ws/MedicineCard\"},",
		    "services[1].url: is the URL of services[0] too\n" },
		{ "\"services\": [", "\"services\": [{\"id\": \"a\", \"url\": \"https://FMK.example.dk/fmk12/ws/MedicineCard\"},", NULL },
		{ "\"clients\": [", "\"clients\": [{\"id\": \"a\", \"organisation\": \"region-eksempel\", \"auth\": \"secret\", "
		    "\"addresses\": [\"::1\"], "
		    "\"secrets\": [\"sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\"]},",
		    "clients[1]: has a secret, certificate or address range that clients[0] has too: "
		    "neither could be told from the other\n" },
		{ "\"clients\": [", "\"clients\": [{\"id\": \"a\", \"organisation\": \"region-eksempel\", \"auth\": \"address\", "
		    "\"addresses\": [\"10.0.0.0/8\"]}, {\"id\": \"b\", \"organisation\": \"region-eksempel\", \"auth\": \"address\", "
		    "\"addresses\": [\"10.0.0.0/16\"]},", NULL },
		{ "\"clients\": [", "\"clients\": [{\"id\": \"a\", \"organisation\": \"region-eksempel\", \"auth\": \"address\", "
		    "\"addresses\": [\"10.0.0.0/8\"]}, {\"id\": \"b\", \"organisation\": \"region-eksempel\", \"auth\": \"address\", "
		    "\"addresses\": [\"::1\", \"10.0.0.0/8\"]},",
		    "clients[1]: has a secret, certificate or address range that clients[0] has too: "
		    "neither could be told from the other\n" },
	};
	struct slice sample = good(w);

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct slice doc = docs_with(w->a, sample, slice_of(rows[i].from), slice_of(rows[i].to));
		assert_false(slice_eq(doc, sample));
		buf_clear(&w->problems);
		err_clear(&w->e);
		int done = conf_parse(doc, 0, &w->c, &w->problems, &w->e);
		if (done == 0) {
			conf_free(w->c);
			w->c = NULL;
		}
		const char *want = rows[i].want;
		bool right = want == NULL ? done == 0 : done < 0 && w->e.kind == ERR_INVALID &&
		    (strcmp(want, "no JSON") == 0 ? strncmp(problems(w), want, 7) == 0 : strcmp(problems(w), want) == 0);
		if (!right)
			fail_msg("row %zu (%s): %s", i, rows[i].to, problems(w));
	}
}

/* Of the certificate that the document has as its root. */
static const char *
root_fingerprint(struct world *w, struct slice document, uint8_t hash[32])
{
	assert_ok(conf_parse(document, 0, &w->c, &w->problems, &w->e), &w->e);
	BIO *bio = BIO_new_mem_buf(w->c->trust.roots[0].p, (int)w->c->trust.roots[0].n);
	X509 *root = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	assert_int_equal(X509_digest(root, EVP_sha256(), hash, NULL), 1);
	X509_free(root);
	BIO_free(bio);
	conf_free(w->c);
	w->c = NULL;
	return conv_hex(w->a, (struct slice){ (const char *)hash, 32 }).p;
}

static void
an_ocsp_responder_answers_for_one_ca_of_the_document(void **state)
{
	struct world *w = *state;
	struct slice plain = good(w);
	uint8_t hash[32];
	const char *issuer = root_fingerprint(w, plain, hash);
	struct slice one = arena_printf(w->a, "{\"issuer\": \"%s\", \"url\": \"http://o.example/ocsp\"}", issuer);
	struct slice once = arena_printf(w->a, "\"ocsp_urls\": [%s]", one.p);
	struct slice twice = arena_printf(w->a, "\"ocsp_urls\": [%s, %s]", one.p, one.p);

	assert_ok(conf_parse(docs_with(w->a, plain, S("\"ocsp_urls\": []"), once), 0, &w->c, &w->problems, &w->e), &w->e);
	assert_int_equal(w->c->trust.nocsp, 1);
	assert_memory_equal(w->c->trust.ocsp[0].issuer, hash, sizeof hash);
	assert_string_equal(w->c->trust.ocsp[0].url, "http://o.example/ocsp");
	conf_free(w->c);
	w->c = NULL;
	assert_err(ERR_INVALID, conf_parse(docs_with(w->a, plain, S("\"ocsp_urls\": []"), twice), 0, &w->c, &w->problems,
	    &w->e), &w->e);
	assert_string_equal(problems(w), "trust.ocsp_urls[1].issuer: is that of ocsp_urls[0] too\n");
}

static void
what_cannot_be_checked_is_accepted_only_when_asked_for(void **state)
{
	struct world *w = *state;
	struct slice accept = docs_with(w->a, good(w), S("\"refuse\""), S("\"accept\""));

	assert_ok(conf_parse(accept, 0, &w->c, &w->problems, &w->e), &w->e);
	assert_int_equal(w->c->trust.unchecked_accept, 24 * 3600);
}

static void
two_certificates_in_one_are_refused(void **state)
{
	struct world *w = *state;
	struct slice one = docs_certificate(w->a), two = arena_printf(w->a, "%.*s%.*s", SLICE_FMT(one), SLICE_FMT(one));

	struct slice doc = docs_with(w->a, unit_file(w->a, SAMPLE), PLACEHOLDER, two);
	assert_err(ERR_INVALID, conf_parse(doc, 0, &w->c, &w->problems, &w->e), &w->e);
	assert_string_equal(problems(w), "sts.certificates[0]: must be one certificate in PEM form\n"
	    "trust.roots[0]: must be one certificate in PEM form\n");
}

static void
nothing_but_json_objects_are_documents(void **state)
{
	struct world *w = *state;
	static const char *const texts[] = { "", "[]", "1", "null", "\"x\"", "{", "{}{}", "\xef\xbb\xbf{\"format\":1}", "{\"format\":1}\xff" };

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		assert_err(ERR_INVALID, conf_parse(slice_of(texts[i]), 0, &w->c, &w->problems, &w->e), &w->e);
	assert_err(ERR_INVALID, conf_parse((struct slice){ NULL, 0 }, 0, &w->c, NULL, &w->e), &w->e);
}

static void
a_secret_in_the_wrong_place_is_not_quoted(void **state)
{
	struct world *w = *state;
	struct slice doc = docs_with(w->a, good(w), S("sha256:2bb8"), S("hunter2-hunter2"));

	assert_err(ERR_INVALID, conf_parse(doc, 0, &w->c, &w->problems, &w->e), &w->e);
	assert_null(strstr(problems(w), "hunter2"));
	assert_null(strstr(w->e.detail, "hunter2"));
}

static void
problems_have_an_end(void **state)
{
	struct world *w = *state;
	struct buf b;

	buf_init(&b, 1 << 20);
	buf_puts(&b, "{\"format\": 1, \"front_proxies\": [\"x\"");
	for (int i = 0; i < 4000; i++)
		buf_puts(&b, ",\"x\"");
	buf_puts(&b, "]}");
	assert_err(ERR_INVALID, conf_parse(buf_slice(&b), 0, &w->c, &w->problems, &w->e), &w->e);
	assert_non_null(strstr(problems(w), "front_proxies[99]"));
	assert_null(strstr(problems(w), "front_proxies[100]"));
	assert_non_null(strstr(w->e.detail, "4001 problems"));
	buf_free(&b);
}

static void
the_sample_is_its_own_normal_form(void **state)
{
	struct world *w = *state;
	struct slice sample = unit_file(w->a, SAMPLE);

	assert_ok(conf_normal(sample, &w->problems, &w->e), &w->e);
	assert_string_equal(problems(w), arena_cstr(w->a, sample));
}

static void
the_normal_form_depends_on_meaning_alone(void **state)
{
	struct world *w = *state;
	struct buf again;

	assert_ok(conf_normal(S("{\"language\":\"da\",\"times\":{\"expiry_margin_seconds\":60},\"services\":[{\"url\":"
	    "\"http:\\/\\/s.example\\/\",\"id\":\"s\"}],\"format\":1, \"front_proxies\":"
	    "[\"10.0.0.1\",\"10.0.0.2\",\"10.0.0.3\",\"10.0.0.4\",\"10.0.0.5\",\"10.0.0.6\",\"10.0.0.7\",\"10.0.0.8\"]}"),
	    &w->problems, &w->e), &w->e);
	buf_init(&again, 1 << 20);
	assert_ok(conf_normal(buf_slice(&w->problems), &again, &w->e), &w->e);
	assert_true(slice_eq(buf_slice(&again), buf_slice(&w->problems)));
	assert_non_null(strstr(problems(w), "  \"clients\": [],\n  \"services\": [\n    {\n      \"id\": \"s\",\n"
	    "      \"name\": \"s\",\n      \"url\": \"http://s.example/\",\n"));
	/* beyond the line: one on each */
	assert_non_null(strstr(problems(w), "  \"front_proxies\": [\n    \"10.0.0.1\",\n"));
	buf_free(&again);
	assert_err(ERR_INVALID, conf_normal(S("{}"), &w->problems, &w->e), &w->e);
}

static void
no_memory_is_told_wherever_it_ends(void **state)
{
	struct world *w = *state;
	struct slice doc = good(w);

	for (unsigned long n = 1; ; n++) {
		arena_fail_at(n);
		err_clear(&w->e);
		int done = conf_parse(doc, 0, &w->c, NULL, &w->e);
		arena_fail_at(0);
		if (done == 0) {
			assert_true(n > 20);
			return;
		}
		assert_int_equal(w->e.kind, ERR_MEMORY);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		T(addresses_are_read_strictly),
		T(ranges_hold_what_lies_in_them),
		T(the_sample_lacks_nothing_but_certificates),
		T(the_sample_becomes_a_configuration),
		T(the_keys_of_systems_are_read),
		T(a_provider_encrypts_for_its_entrys_own_key_or_for_those_it_names),
		T(what_is_left_out_has_its_default),
		T(every_break_of_a_rule_is_told_with_its_place),
		T(an_ocsp_responder_answers_for_one_ca_of_the_document),
		T(what_cannot_be_checked_is_accepted_only_when_asked_for),
		T(two_certificates_in_one_are_refused),
		T(nothing_but_json_objects_are_documents),
		T(a_secret_in_the_wrong_place_is_not_quoted),
		T(problems_have_an_end),
		T(the_sample_is_its_own_normal_form),
		T(the_normal_form_depends_on_meaning_alone),
		T(no_memory_is_told_wherever_it_ends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
