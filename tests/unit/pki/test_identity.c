/* Reading certificates, and who they name: real OCES2 and OCES3 ones, and shapes made here. */
#include "ca.h"

#include "conv.h"

#define DATA "tests/data/pki/"

static struct ca self;

static X509 *
pem(struct arena *a, const char *path)
{
	struct err e = { 0 };
	X509 *cert;

	assert_ok(pki_read_pem(a, unit_file(a, path), &cert, &e), &e);
	return cert;
}

static X509 *
der(struct arena *a, const char *path)
{
	struct err e = { 0 };
	X509 *cert;

	assert_ok(pki_read_der(a, unit_file(a, path), &cert, &e), &e);
	return cert;
}

static void
real_certificates_name_who_they_name(void **state)
{
	static const struct {
		const char *path;
		enum pki_kind kind;
		int oces;
		const char *cvr, *number, *cn, *o;
	} rows[] = {
		{ DATA "oces2-moces.pem", PKI_EMPLOYEE, 2, "30808460", "45490598", "TU GENEREL MOCES gyldig",
		    "NETS DANID A/S" },
		{ DATA "oces2-voces.pem", PKI_ORGANISATION, 2, "30808460", "25351738",
		    "NETS DANID A/S - TU VOCES gyldig", "NETS DANID A/S" },
		{ DATA "oces2-foces.pem", PKI_FUNCTION, 2, "30808460", "45327473",
		    "TU GENEREL FOCES sp\xC3\xA6rret (funktionscertifikat)", "NETS DANID A/S" },
		{ DATA "oces3-voces.pem", PKI_ORGANISATION, 3, "33257872",
		    "70fbb594-ab44-4e0f-ba75-5bb7eaec6d91", "FMKOnlineBilletOmv-T.jks", "Sundhedsdatastyrelsen" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct err e = { 0 };
		struct pki_identity who;
		assert_ok(pki_identify(*state, pem(*state, rows[i].path), &who, &e), &e);
		assert_int_equal(who.kind, rows[i].kind);
		assert_int_equal(who.oces, rows[i].oces);
		assert_slice(rows[i].cvr, who.cvr);
		assert_slice(rows[i].cn, who.common_name);
		assert_slice(rows[i].o, who.organisation);
		struct slice numbers[] = { who.rid, who.uid, who.fid, who.pid, who.uuid };
		unsigned present = 0;
		for (size_t n = 0; n < 5; n++) {
			if (numbers[n].p == NULL)
				continue;
			present++;
			assert_slice(rows[i].number, numbers[n]);
		}
		assert_int_equal(present, 1);
	}
}

static void
subjects_follow_oces2_or_oces3_or_are_refused(void **state)
{
#define UUID "70fbb594-ab44-4e0f-ba75-5bb7eaec6d91"
#define NOBODY (-1)
	static const struct {
		const char *serial, *o, *organization_id, *cn;
		int kind;
		const char *cvr;
	} rows[] = {
		{ "CVR:12345678-RID:12345678", "X // CVR:12345678", NULL, "N", PKI_EMPLOYEE, "12345678" },
		{ "CVR:12345678-RID:1234567890123", "X // CVR:12345678", NULL, "N", PKI_EMPLOYEE, "12345678" },
		{ "CVR:12345678-UID:1234567890123456", "X // CVR:12345678", NULL, "N", PKI_ORGANISATION, "12345678" },
		{ "CVR:12345678-RID:12345678", "X", NULL, "N", PKI_EMPLOYEE, "12345678" },
		{ "PID:9208-2002-2-497532055832", "Ingen organisatorisk tilknytning", NULL, "N", PKI_PERSON, NULL },
		{ "UI:DK-E:G:" UUID, "X", "NTRDK-12345678", "N", PKI_EMPLOYEE, "12345678" },
		{ "UI:DK-O:G:" UUID, "X", "NTRDK-12345678", "N", PKI_ORGANISATION, "12345678" },
		{ "CVR:12345678-RID:12345678", "X // CVR:87654321", NULL, "N", NOBODY, NULL },
		{ "CVR:12345678-RID:12345678", "X // CVR:12345678 ", NULL, "N", NOBODY, NULL },
		{ "CVR:12345678-RID:1234567", "X", NULL, "N", NOBODY, NULL },
		{ "CVR:12345678-RID:", "X", NULL, "N", NOBODY, NULL },
		{ "CVR:12345678-RID:1234567x", "X", NULL, "N", NOBODY, NULL },
		{ "CVR:1234567-RID:12345678", "X", NULL, "N", NOBODY, NULL },
		{ "CVR:1234567x-RID:12345678", "X", NULL, "N", NOBODY, NULL },
		{ "CVR:12345678-XID:12345678", "X", NULL, "N", NOBODY, NULL },
		{ "CVR:12345678", "X", NULL, "N", NOBODY, NULL },
		{ "CVR:", "X", NULL, "N", NOBODY, NULL },
		{ " CVR:12345678-RID:12345678", "X", NULL, "N", NOBODY, NULL },
		{ "cvr:12345678-rid:12345678", "X", NULL, "N", NOBODY, NULL },
		{ "PID:9208-2002-2-49753205583", "X", NULL, "N", NOBODY, NULL },
		{ "PID:12345678", "X", NULL, "N", NOBODY, NULL },
		{ "UI:DK-E:G:" UUID, "X", NULL, "N", NOBODY, NULL },
		{ "UI:DK-E:G:" UUID, "X", "NTRDK-1234567", "N", NOBODY, NULL },
		{ "UI:DK-E:G:" UUID, "X", "NTRSE-12345678", "N", NOBODY, NULL },
		{ "UI:DK-E:G:70fbb594", "X", "NTRDK-12345678", "N", NOBODY, NULL },
		{ "UI:DK-E:G:" UUID "0", "X", "NTRDK-12345678", "N", NOBODY, NULL },
		{ "UI:DK-E:G:70fbb594-ab44-4e0f-ba75-5bb7eaec6d9x", "X", "NTRDK-12345678", "N", NOBODY, NULL },
		{ "UI:DK-P:G:" UUID, "X", "NTRDK-12345678", "N", NOBODY, NULL },
		{ NULL, "X // CVR:12345678", NULL, "N", NOBODY, NULL },
		{ "CVR:12345678-RID:12345678", "X", NULL, NULL, NOBODY, NULL },
		{ "1234", "X", NULL, "N", NOBODY, NULL },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct ca_order o = { .cn = rows[i].cn, .serial_number = rows[i].serial, .o = rows[i].o,
			.organization_id = rows[i].organization_id, .key = self.key };
		X509 *cert = ca_issue(NULL, &o);
		struct pki_identity who;
		struct err e = { 0 };
		int rc = pki_identify(*state, cert, &who, &e);
		if ((rc == 0) != (rows[i].kind != NOBODY) || (rc < 0 && e.kind != ERR_CERTIFICATE))
			fail_msg("%s: %s", rows[i].serial, e.detail);
		if (rc == 0) {
			assert_int_equal(who.kind, rows[i].kind);
			if (rows[i].cvr == NULL)
				assert_null(who.cvr.p);
			else
				assert_slice(rows[i].cvr, who.cvr);
		}
		X509_free(cert);
	}
}

static void
a_subject_with_two_of_a_kind_or_a_hidden_nul_is_refused(void **state)
{
	struct ca_order o = { .cn = "N", .serial_number = "CVR:12345678-RID:12345678", .o = "X", .key = self.key };
	struct pki_identity who;
	struct err e = { 0 };
	X509 *cert = ca_issue(NULL, &o);

	assert_ok(pki_identify(*state, cert, &who, &e), &e);
	ca_entry(X509_get_subject_name(cert), "serialNumber", "CVR:87654321-RID:12345678", 0);
	assert_err(ERR_CERTIFICATE, pki_identify(*state, cert, &who, &e), &e);
	X509_free(cert);

	cert = ca_issue(NULL, &o);
	assert_int_equal(X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "organizationIdentifier",
	    V_ASN1_UTF8STRING, (const unsigned char *)"NTRDK-1\0", 8, -1, 0), 1);
	assert_err(ERR_CERTIFICATE, pki_identify(*state, cert, &who, &e), &e);
	X509_free(cert);
}

static void
names_are_written_as_the_sts_writes_them(void **state)
{
	assert_slice("SubjectDN={CN=Lars Larsen + SERIALNUMBER=CVR:20921897-RID:52723247, "
	    "O=TRIFORK A/S // CVR:20921897, C=DK},IssuerDN={CN=TRUST2408 Systemtest XXII CA, "
	    "O=TRUST2408, C=DK},CertSerial={1537885084}",
	    pki_names(*state, der(*state, "tests/data/dsig/client-signer.der")));
	/* and that is the NameID in the card that the STS made from this certificate */
	struct slice card = unit_file(*state, "tests/data/dsig/sts-card.xml");
	assert_true(slice_find(card,
	    pki_names(*state, der(*state, "tests/data/dsig/client-signer.der"))) > 0);
	assert_slice("SubjectDN={C=DK, OID.2.5.4.97=NTRDK-33257872, O=Sundhedsdatastyrelsen, "
	    "SERIALNUMBER=UI:DK-O:G:70fbb594-ab44-4e0f-ba75-5bb7eaec6d91, CN=FMKOnlineBilletOmv-T.jks},"
	    "IssuerDN={C=DK, O=Den Danske Stat, OU=Test - cti, CN=Den Danske Stat OCES udstedende-CA 1},"
	    "CertSerial={107571419096798157247198752677277872908637823075}",
	    pki_names(*state, pem(*state, DATA "oces3-voces.pem")));
}

static void
special_characters_in_names_are_quoted(void **state)
{
	static const struct {
		const char *o, *want;
	} rows[] = {
		{ "plain", "O=plain" }, { "a, b", "O=\"a, b\"" }, { "a\"b", "O=\"a\\\"b\"" },
		{ "a\\b", "O=\"a\\\\b\"" }, { "a=b", "O=\"a=b\"" }, { "#1", "O=\"#1\"" }, { "a+b", "O=\"a+b\"" },
		{ " a", "O=\" a\"" }, { "a ", "O=\"a \"" }, { "a  b", "O=\"a  b\"" }, { "a b", "O=a b" },
		{ "\xC3\x98re, N\xC3\xA6se & Hals", "O=\"\xC3\x98re, N\xC3\xA6se & Hals\"" }, { "a}b", "O=a}b" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct ca_order o = { .cn = "N", .o = rows[i].o, .key = self.key, .number = 7 };
		X509 *cert = ca_issue(NULL, &o);
		struct slice name = arena_printf(*state, "CN=N, %s, C=DK", rows[i].want);
		assert_slice(arena_printf(*state, "SubjectDN={%s},IssuerDN={%s},CertSerial={7}", name.p, name.p).p,
		    pki_names(*state, cert));
		X509_free(cert);
	}
}

static void
only_one_whole_certificate_is_read(void **state)
{
	struct slice good = unit_file(*state, "tests/data/dsig/client-signer.der");
	struct slice text = unit_file(*state, DATA "oces2-moces.pem");
	struct err e = { 0 };
	X509 *cert;

	assert_ok(pki_read_der(*state, good, &cert, &e), &e);
	assert_true(slice_eq(good, pki_der(*state, cert)));
	struct slice bad[] = {
		{ NULL, 0 }, { "", 0 }, { good.p, good.n - 1 }, { good.p, 10 }, text,
		arena_printf(*state, "%s", "\x30\x80"),
	};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_err(ERR_CERTIFICATE, pki_read_der(*state, bad[i], &cert, &e), &e);
	char *longer = arena_alloc(*state, good.n + 1);
	memcpy(longer, good.p, good.n);
	assert_err(ERR_CERTIFICATE,
	    pki_read_der(*state, (struct slice){ longer, good.n + 1 }, &cert, &e), &e);

	assert_ok(pki_read_pem(*state, text, &cert, &e), &e);
	assert_err(ERR_CERTIFICATE, pki_read_pem(*state, good, &cert, &e), &e);
	assert_err(ERR_CERTIFICATE, pki_read_pem(*state, S(""), &cert, &e), &e);
	assert_err(ERR_CERTIFICATE, pki_read_pem(*state,
	    arena_printf(*state, "%.*s%.*s", SLICE_FMT(text), SLICE_FMT(text)), &cert, &e), &e);
	assert_err(ERR_CERTIFICATE, pki_read_pem(*state, S("-----BEGIN CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\n"
	    "DEK-Info: AES-128-CBC,00000000000000000000000000000000\n\nAAAA\n-----END CERTIFICATE-----\n"),
	    &cert, &e), &e);
}

static void
hashes_are_over_the_der(void **state)
{
	struct slice bytes = unit_file(*state, "tests/data/dsig/client-signer.der");
	X509 *cert = der(*state, "tests/data/dsig/client-signer.der");
	uint8_t want[32], got[32];

	conv_sha256(bytes, want);
	pki_fingerprint(cert, got);
	assert_memory_equal(want, got, 32);
	/* the OCESCertHash that this user's own card carries */
	assert_true(slice_find(unit_file(*state, "tests/data/dsig/client-card.xml"),
	    pki_cert_hash(*state, cert)) > 0);
	assert_slice("VZx0Zb5RbFvLgPchoRXta2KCiHY=", pki_cert_hash(*state, cert));
}

static int
group_setup(void **state)
{
	(void)state;
	self.key = EVP_RSA_gen(2048);
	return self.key == NULL ? -1 : 0;
}

static int
group_teardown(void **state)
{
	(void)state;
	ca_free(&self);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_ARENA_TEST(real_certificates_name_who_they_name),
		UNIT_ARENA_TEST(subjects_follow_oces2_or_oces3_or_are_refused),
		UNIT_ARENA_TEST(a_subject_with_two_of_a_kind_or_a_hidden_nul_is_refused),
		UNIT_ARENA_TEST(names_are_written_as_the_sts_writes_them),
		UNIT_ARENA_TEST(special_characters_in_names_are_quoted),
		UNIT_ARENA_TEST(only_one_whole_certificate_is_read),
		UNIT_ARENA_TEST(hashes_are_over_the_der),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
