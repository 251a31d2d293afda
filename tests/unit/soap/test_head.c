#include "messages.h"

static const char *const real[] = {
	"tests/data/soap/order.xml", "tests/data/soap/proxy-wsa2005.xml", "tests/data/soap/proxy-wcf-wsa2004.xml",
	"tests/data/soap/proxy-signed-card.xml", "tests/data/soap/dgws-level4.xml",
	"tests/data/fmk/logout.xml", "tests/data/fmk/create_drugmedication1.4.4.xml",
};

/* Everything a head says, as one text. */
static struct slice
told(struct arena *a, const struct soap_head *h)
{
	return arena_printf(a, "%d%d%d %d %d to=%.*s action=%.*s message=%.*s user=%.*s format=%.*s card=%.*s system=%.*s "
	    "type=%.*s care=%.*s %.*s %.*s "
	    "prefix=%.*s end=%zu card=%zu-%zu wsa=%zu first=%zu-%zu", h->has_header, h->has_security, h->has_card, h->level,
	    h->card_signed, SLICE_FMT(h->to), SLICE_FMT(h->action), SLICE_FMT(h->message_id), SLICE_FMT(h->name_id),
	    SLICE_FMT(h->name_id_format), SLICE_FMT(h->card_id), SLICE_FMT(h->system), SLICE_FMT(h->type),
	    SLICE_FMT(h->care_provider), SLICE_FMT(h->care_provider_format), SLICE_FMT(h->care_provider_name),
	    SLICE_FMT(h->envelope_prefix),
	    h->end, h->card.start, h->card.end, h->nwsa, h->wsa[0].start, h->wsa[0].end);
}

static void
real_messages_are_understood(void **state)
{
	struct arena *a = arena_new(1 << 20);
	const struct soap_head *h;
	struct err e;

	(void)state;
	err_clear(&e);
	assert_int_equal(read_head(a, unit_file(a, real[2]), SIZE_MAX, &h, &e), 1);
	assert_slice("https://test1-cnsp.ekstern-test.nspop.dk:8443/nts/service", h->to);
	assert_slice("http://nsi.dk/nts/invoke", h->action);
	assert_slice("urn:uuid:6c8d0a52-1d1e-4c75-9d2d-6a0f6f4f8b11", h->message_id);
	assert_slice("2203333571", h->name_id);
	assert_slice("medcom:cprnumber", h->name_id_format);
	assert_slice("6f1c9f6e-7d0b-4c53-9a41-0e1d8a3c2b11", h->card_id);
	assert_slice("Sygdom.dk", h->system);
	assert_slice("user", h->type);
	assert_slice("30808460", h->care_provider);
	assert_slice("medcom:cvrnumber", h->care_provider_format);
	assert_slice("Statens Serum Institut", h->care_provider_name);
	assert_slice("s", h->envelope_prefix);
	assert_int_equal(h->level, 4);
	assert_false(h->card_signed);
	assert_int_equal(h->nwsa, 4);
	assert_ok(soap_need_user(h, &e), &e);
	assert_ok(soap_need_to(h, &e), &e);

	assert_int_equal(read_head(a, unit_file(a, real[1]), SIZE_MAX, &h, &e), 1);
	assert_int_equal(h->level, 1);
	assert_int_equal(read_head(a, unit_file(a, real[3]), SIZE_MAX, &h, &e), 1);
	assert_true(h->card_signed);
	assert_int_equal(read_head(a, unit_file(a, real[5]), SIZE_MAX, &h, &e), 1);
	assert_slice("##USERNAME##", h->name_id);
	assert_int_equal(h->level, 1);
	assert_int_equal(read_head(a, unit_file(a, real[6]), SIZE_MAX, &h, &e), 1);
	assert_slice("##USERNAME##", h->name_id);
	assert_slice("##FMKURL##", h->to);
	arena_free(a);
}

static void
offsets_are_where_the_elements_are(void **state)
{
	struct arena *a = arena_new(1 << 20);
	const struct soap_head *h;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof real / sizeof *real; i++) {
		struct slice in = unit_file(a, real[i]);
		err_clear(&e);
		assert_int_equal(read_head(a, in, SIZE_MAX, &h, &e), 1);
		assert_int_equal(in.p[h->end], '<');
		assert_in_range(slice_find(slice_from(in, h->end), S(":Body")), 2, 8);
		assert_true(slice_starts(slice_from(in, h->card.start), S("<saml:Assertion")));
		assert_true(slice_starts(slice_from(in, h->card.end - 17), S("</saml:Assertion>")));
		assert_true(slice_find(slice_from(in, h->card.end), S("</saml:Assertion>")) < 0);
	}
	arena_free(a);
}

static void
the_way_a_message_arrives_changes_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof real / sizeof *real; i++) {
		struct arena *a = arena_new(8 << 20);
		const struct soap_head *h;
		struct err e;
		struct slice in = unit_file(a, real[i]);
		err_clear(&e);
		assert_int_equal(read_head(a, in, SIZE_MAX, &h, &e), 1);
		struct slice whole = told(a, h);
		for (size_t step = 1; step < 60; step += step < 9 ? 1 : 7) {
			assert_int_equal(read_head(a, in, step, &h, &e), 1);
			assert_true(slice_eq(told(a, h), whole));
		}
		arena_free(a);
	}
}

/* What is passed, and what it says. */
static const struct {
	const char *note, *in, *to, *user;
} passed[] = {
	{ "no header", OPEN BODY, NULL, NULL },
	{ "an empty header", OPEN "<s:Header/>" BODY, NULL, NULL },
	{ "an empty body", OPEN "<s:Header/><s:Body/></s:Envelope>", NULL, NULL },
	{ "default namespaces (WCF)", "<Envelope xmlns='" NS_SOAP "'><Header><Security xmlns='" NS_WSSE "'><Assertion xmlns='"
	    NS_SAML "' id='IDCard'><Subject><NameID>u</NameID></Subject></Assertion></Security><To xmlns='" NS_WSA05
	    "'>x</To></Header><Body/></Envelope>", "x", "u" },
	{ "prefixes bound anew", "<a:Envelope xmlns:a='" NS_SOAP "'><a:Header><b:Security xmlns:b='" NS_WSSE "' xmlns:c='"
	    NS_SOAP "'><b:Assertion xmlns:b='" NS_SAML "'><b:Subject><c:NameID xmlns:c='" NS_SAML
	    "'>u</c:NameID></b:Subject></b:Assertion></b:Security></a:Header><a:Body/></a:Envelope>", NULL, "u" },
	{ "white space around values", MSG(TO(" \n x\t") USER("\r\n u v  ")), "x", "u v" },
	{ "white space that XML does not know stays", MSG(TO("\xC2\xA0x") USER("u\xE2\x80\x8B")), "\xC2\xA0x", "u\xE2\x80\x8B" },
	{ "comments do not hide text", MSG(TO("x<!-- y -->z") USER("adm<!-- x -->in<!-- y -->2")), "xz", "admin2" },
	{ "CDATA is text", MSG(TO("<![CDATA[x?a&b]]>") USER("<![CDATA[a]]>b<![CDATA[<c>]]>")), "x?a&b", "ab<c>" },
	{ "references", MSG(TO("x&#63;a&amp;b") USER("&#x75;&lt;1&gt;")), "x?a&b", "u<1>" },
	{ "either WS-Addressing", MSG("<o:To>x</o:To>" USER("u")), "x", "u" },
	{ "an empty To", MSG("<t:To/>" USER("u")), "", "u" },
	{ "To in another block is not ours", MSG("<y><t:To>evil</t:To></y>" TO("x")), "x", NULL },
	{ "To in a namespace that is not WS-Addressing", MSG("<To xmlns='urn:x'>evil</To>" TO("x")), "x", NULL },
	{ "the body is not read", OPEN HEADER(TO("x") USER("u")) "<s:Body>" USER("evil") TO("evil") "<!DOCTYPE &", "x", "u" },
	{ "markup in comments, CDATA and values", OPEN "<!-- </s:Header><s:Body> -->" HEADER("<y z='>&lt;/s:Header>&lt;s:Body>'/>")
	    BODY, NULL, NULL },
	{ "markup in CDATA", MSG("<y><![CDATA[</s:Header><s:Body>]]></y><!-- <w:Security> -->" TO("x")), "x", NULL },
	{ "same names in other namespaces", MSG("<Header xmlns='" NS_MEDCOM "'><Body/><Envelope/><Security/></Header>" TO("x")),
	    "x", NULL },
	{ "a second Security for somebody else", MSG(USER("u") "<w:Security s:actor='urn:other'/>"), NULL, "u" },
	{ "and before ours", MSG("<w:Security s:actor='urn:other'><u:Timestamp/></w:Security>" USER("u")), NULL, "u" },
	{ "the only Security has an actor", MSG("<w:Security s:actor='urn:me'>" CARD(SUBJECT(NAME("u"))) "</w:Security>"),
	    NULL, "u" },
	{ "NameID outside Subject is none", MSG(SEC(CARD(NAME("evil")))), NULL, NULL },
	{ "NameID in something else than Subject is none", MSG(SEC(CARD("<a:Other>" NAME("evil") "</a:Other>"))), NULL, NULL },
	{ "NameID deeper in Subject is none", MSG(SEC(CARD(SUBJECT("<a:X>" NAME("evil") "</a:X>")))), NULL, NULL },
	{ "NameID of another namespace is none", MSG(SEC(CARD(SUBJECT("<NameID>evil</NameID>")))), NULL, NULL },
	{ "an assertion deeper in Security is no card", MSG(SEC("<y>" CARD(SUBJECT(NAME("evil"))) "</y>")), NULL, NULL },
	{ "an assertion outside Security is no card", MSG(CARD(SUBJECT(NAME("evil")))), NULL, NULL },
	{ "an assertion in the block behind Security is no card", MSG(SEC("") "<y>" CARD(SUBJECT(NAME("evil"))) "</y>"), NULL, NULL },
	{ "an assertion in a nested Security is no card", MSG("<y>" USER("evil") "</y>"), NULL, NULL },
	{ "the id inside the card", MSG(SEC("<a:Assertion u:Id='IDCard' id='IDCard'>" SUBJECT(NAME("u")) "<y id='IDCard'/></a:Assertion>")),
	    NULL, "u" },
	{ "another id outside", MSG("<y id='IDCard2' Name='IDCard'/>" USER("u")), NULL, "u" },
};

static void
what_is_no_danger_passes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof passed / sizeof *passed; i++) {
		for (size_t step = 1; step < 10000; step = step == 1 ? 10000 - 1 : 10000) {
			struct arena *a = arena_new(1 << 20);
			const struct soap_head *h;
			struct err e;
			err_clear(&e);
			if (read_head(a, slice_of(passed[i].in), step, &h, &e) != 1)
				fail_msg("%s: %s %s", passed[i].note, err_name(e.kind), e.detail);
			if (!slice_is(h->to, passed[i].to) && (h->to.p != NULL || passed[i].to != NULL))
				fail_msg("%s: To \"%.*s\"", passed[i].note, SLICE_FMT(h->to));
			if (!slice_is(h->name_id, passed[i].user) && (h->name_id.p != NULL || passed[i].user != NULL))
				fail_msg("%s: NameID \"%.*s\"", passed[i].note, SLICE_FMT(h->name_id));
			arena_free(a);
		}
	}
}

#define WSA17 "<t:A/><t:B/><t:C/><t:D/><t:E/><t:F/><t:G/><t:H/><t:I/><t:J/><t:K/><t:L/><t:M/><t:N/><t:O/><t:P/><t:Q/>"

static const struct {
	enum err_kind kind;
	const char *note, *in;
} refused[] = {
	{ ERR_NO_ENVELOPE, "another root", "<hello/>" },
	{ ERR_NO_ENVELOPE, "no namespace", "<Envelope><Header/><Body/></Envelope>" },
	{ ERR_NO_ENVELOPE, "another namespace", "<s:Envelope xmlns:s='urn:x'><s:Body/></s:Envelope>" },
	{ ERR_NO_ENVELOPE, "Envelope not root", "<x>" OPEN BODY "</x>" },
	{ ERR_SOAP_12, "SOAP 1.2", "<s:Envelope xmlns:s='" NS_SOAP12 "'><s:Body/></s:Envelope>" },
	{ ERR_ENVELOPE_FORM, "two Headers", OPEN "<s:Header/><s:Header/>" BODY },
	{ ERR_ENVELOPE_FORM, "no Body", OPEN "<s:Header/></s:Envelope>" },
	{ ERR_ENVELOPE_FORM, "nothing in it", OPEN "</s:Envelope>" },
	{ ERR_ENVELOPE_FORM, "something before Body", OPEN "<x/>" BODY },
	{ ERR_ENVELOPE_FORM, "prefix bound anew on Header", OPEN "<s:Header xmlns:s='urn:x'/>" BODY },
	{ ERR_ENVELOPE_FORM, "prefix bound anew on Body", OPEN "<s:Body xmlns:s='urn:x'/></s:Envelope>" },
	{ ERR_ENVELOPE_FORM, "Body of SOAP 1.2", OPEN "<s:Body xmlns:s='" NS_SOAP12 "'/></s:Envelope>" },
	{ ERR_ENVELOPE_FORM, "Envelope in Header", MSG("<y>" OPEN BODY "</y>") },
	{ ERR_ENVELOPE_FORM, "Body in Header", MSG("<s:Body/>") },
	{ ERR_ENVELOPE_FORM, "Header in the card", MSG(SEC(CARD("<s:Header/>"))) },
	{ ERR_XML, "nothing", "" },
	{ ERR_XML, "cut in the Header", OPEN "<s:Header>" },
	{ ERR_XML, "cut in the tag of Body", OPEN "<s:Body" },
	{ ERR_DOCTYPE, "DOCTYPE", "<!DOCTYPE x>" OPEN BODY },
	{ ERR_PROCESSING_INSTRUCTION, "instruction in NameID", MSG(USER("adm<?x?>in")) },
	{ ERR_XML, "unbound prefix in a block", MSG("<p:y/>") },
	{ ERR_XML, "unbound prefix of an attribute in NameID's place", MSG(SEC(CARD("<a:Subject p:x=''>" NAME("u") "</a:Subject>"))) },
	{ ERR_XML, "same attribute by two prefixes", MSG("<y xmlns:p='u:v' xmlns:q='u:v' p:b='1' q:b='2'/>") },
	{ ERR_XML, "entity in NameID", MSG(USER("&x;")) },
	{ ERR_TO_AMBIGUOUS, "two To", MSG(TO("x") TO("x")) },
	{ ERR_TO_AMBIGUOUS, "two To, one empty", MSG("<t:To/>" TO("x")) },
	{ ERR_TO_AMBIGUOUS, "To in two namespaces", MSG("<o:To>x</o:To>" TO("x")) },
	{ ERR_TO_AMBIGUOUS, "To with a child", MSG(TO("x<y/>")) },
	{ ERR_TO_AMBIGUOUS, "To in To", MSG(TO(TO("x"))) },
	{ ERR_LIMIT, "17 WS-Addressing headers", MSG(WSA17) },
	{ ERR_TWO_SECURITY, "two Security", MSG(USER("u") SEC("")) },
	{ ERR_TWO_SECURITY, "an empty one first", MSG(SEC("") USER("u")) },
	{ ERR_TWO_SECURITY, "with a card each", MSG(USER("u") USER("v")) },
	{ ERR_TWO_SECURITY, "the second for somebody else, with a card",
	    MSG(USER("u") "<w:Security s:actor='urn:x'>" CARD("") "</w:Security>") },
	{ ERR_TWO_SECURITY, "ours empty, the card for somebody else",
	    MSG(SEC("") "<w:Security s:actor='urn:x'>" CARD("") "</w:Security>") },
	{ ERR_TWO_SECURITY, "two cards for two others",
	    MSG("<w:Security s:actor='urn:x'>" CARD("") "</w:Security><w:Security s:actor='urn:y'>" CARD("") "</w:Security>") },
	{ ERR_TWO_SECURITY, "an empty actor", MSG(USER("u") "<w:Security s:actor=' '/>") },
	{ ERR_TWO_SECURITY, "the actor that is everybody",
	    MSG(USER("u") "<w:Security s:actor='http://schemas.xmlsoap.org/soap/actor/next'/>") },
	{ ERR_TWO_SECURITY, "an actor of no namespace", MSG(USER("u") "<w:Security actor='urn:x'/>") },
	{ ERR_TWO_CARDS, "two in one Security", MSG(SEC(CARD(SUBJECT(NAME("u"))) CARD(SUBJECT(NAME("v"))))) },
	{ ERR_TWO_CARDS, "one in the other", MSG(SEC(CARD("<a:Advice>" CARD("") "</a:Advice>"))) },
	{ ERR_TWO_CARDS, "one in another block", MSG("<y>" CARD("") "</y>" USER("u")) },
	{ ERR_TWO_CARDS, "one in a block behind", MSG(USER("u") "<y>" CARD("") "</y>") },
	{ ERR_TWO_CARDS, "one as a block", MSG(USER("u") CARD("")) },
	{ ERR_TWO_CARDS, "one in To's place", MSG(USER("u") "<t:ReplyTo>" CARD("") "</t:ReplyTo>") },
	{ ERR_TWO_CARDS, "id outside", MSG(USER("u") "<y id='IDCard'/>") },
	{ ERR_TWO_CARDS, "ID outside, before", MSG("<y ID='IDCard'/>" USER("u")) },
	{ ERR_TWO_CARDS, "Id deep outside", MSG("<y><z Id='IDCard'/></y>" USER("u")) },
	{ ERR_TWO_CARDS, "xml:id outside", MSG("<y xml:id=' IDCard '/>" USER("u")) },
	{ ERR_TWO_CARDS, "wsu:Id outside", MSG("<y u:Id='IDCar&#100;'/>" USER("u")) },
	{ ERR_TWO_CARDS, "id on Security", MSG("<w:Security id='IDCard'>" CARD("") "</w:Security>") },
	{ ERR_TWO_CARDS, "id on Header", OPEN "<s:Header id='IDCard'/>" BODY },
	{ ERR_TWO_CARDS, "id on Body", OPEN HEADER(USER("u")) "<s:Body id='IDCard'/></s:Envelope>" },
	{ ERR_TWO_CARDS, "id on Envelope", "<s:Envelope xmlns:s='" NS_SOAP "' id='IDCard'><s:Body/></s:Envelope>" },
	{ ERR_CARD_FORM, "two NameIDs", MSG(SEC(CARD(SUBJECT(NAME("u") NAME("v"))))) },
	{ ERR_CARD_FORM, "two Subjects", MSG(SEC(CARD(SUBJECT(NAME("u")) SUBJECT(NAME("v"))))) },
	{ ERR_CARD_FORM, "a NameID elsewhere in the card", MSG(SEC(CARD(NAME("v") SUBJECT(NAME("u"))))) },
	{ ERR_CARD_FORM, "a child in NameID", MSG(USER("u<y/>v")) },
	{ ERR_CARD_FORM, "two levels", MSG(DATA(VALUE("sosi:AuthenticationLevel", "1") VALUE("sosi:AuthenticationLevel", "4"))) },
	{ ERR_CARD_FORM, "two values of a level", MSG(DATA("<a:Attribute Name='sosi:AuthenticationLevel'><a:AttributeValue/>"
	    "<a:AttributeValue>4</a:AttributeValue></a:Attribute>")) },
	{ ERR_CARD_FORM, "two care providers", MSG(DATA(VALUE("medcom:CareProviderID", "1") VALUE("medcom:CareProviderID", "1"))) },
	{ ERR_CARD_FORM, "two names of it", MSG(DATA(VALUE("medcom:CareProviderName", "x") VALUE("medcom:CareProviderName", "y"))) },
	{ ERR_CARD_FORM, "a child in a value", MSG(DATA(VALUE("sosi:IDCardID", "x<y/>"))) },
};

static void
what_could_be_read_in_two_ways_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
		for (size_t step = 1; step < 10000; step = step == 1 ? 10000 - 1 : 10000) {
			struct arena *a = arena_new(1 << 20);
			const struct soap_head *h;
			struct err e;
			err_clear(&e);
			int rc = read_head(a, slice_of(refused[i].in), step, &h, &e);
			if (rc != -1 || e.kind != refused[i].kind)
				fail_msg("%s: %d %s (%s)", refused[i].note, rc, err_name(e.kind), e.detail);
			arena_free(a);
		}
	}
}

static void
the_level_is_a_digit_from_1_to_4_or_unknown(void **state)
{
	static const struct {
		const char *in;
		int level;
	} rows[] = {
		{ MSG(DATA(VALUE("sosi:AuthenticationLevel", "1"))), 1 },
		{ MSG(DATA(VALUE("sosi:AuthenticationLevel", " 4\n"))), 4 },
		{ MSG(DATA(VALUE("sosi:AuthenticationLevel", "0"))), 0 },
		{ MSG(DATA(VALUE("sosi:AuthenticationLevel", "5"))), 0 },
		{ MSG(DATA(VALUE("sosi:AuthenticationLevel", "44"))), 0 },
		{ MSG(DATA(VALUE("sosi:AuthenticationLevel", ""))), 0 },
		{ MSG(DATA(VALUE("AuthenticationLevel", "4"))), 0 },
		{ MSG(SEC(CARD(VALUE("sosi:AuthenticationLevel", "4")))), 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena *a = arena_new(1 << 20);
		const struct soap_head *h;
		struct err e;
		err_clear(&e);
		assert_int_equal(read_head(a, slice_of(rows[i].in), SIZE_MAX, &h, &e), 1);
		assert_int_equal(h->level, rows[i].level);
		arena_free(a);
	}
}

static void
only_a_signature_that_is_a_child_of_the_card_signs_it(void **state)
{
	struct arena *a = arena_new(1 << 20);
	const struct soap_head *h;
	struct err e;

	(void)state;
	err_clear(&e);
	assert_int_equal(read_head(a, S(MSG(SEC(CARD("<d:Signature/>")))), SIZE_MAX, &h, &e), 1);
	assert_true(h->card_signed);
	assert_int_equal(read_head(a, S(MSG(SEC(CARD("<y><d:Signature/></y>") "<d:Signature/>"))), SIZE_MAX, &h, &e), 1);
	assert_false(h->card_signed);
	arena_free(a);
}

static void
what_describes_the_call_is_its_own_text(void **state)
{
	struct arena *a = arena_new(1 << 20);
	const struct soap_head *h;
	struct err e;

	(void)state;
	err_clear(&e);
	assert_int_equal(read_head(a, S(MSG("<t:Action>a<y>b</y>c</t:Action><t:MessageID> m </t:MessageID><t:Action>d</t:Action>")),
	    SIZE_MAX, &h, &e), 1);
	assert_slice("ac", h->action);
	assert_slice("m", h->message_id);
	assert_int_equal(h->nwsa, 3);
	arena_free(a);
}

static void
what_is_missing_has_a_name(void **state)
{
	static const struct {
		enum err_kind kind;
		const char *in;
	} rows[] = {
		{ ERR_NO_CARD_IN_REQUEST, OPEN BODY }, { ERR_NO_CARD_IN_REQUEST, MSG(SEC("")) },
		{ ERR_NO_CARD_IN_REQUEST, MSG(CARD(SUBJECT(NAME("u")))) },
		{ ERR_NO_NAME_ID, MSG(SEC(CARD(""))) }, { ERR_NO_NAME_ID, MSG(SEC(CARD(NAME("u")))) },
		{ ERR_NO_NAME_ID, MSG(USER("")) }, { ERR_NO_NAME_ID, MSG(USER(" \t\r\n&#32;<!-- u -->")) },
	};
	const struct soap_head *h;
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct arena *a = arena_new(1 << 20);
		err_clear(&e);
		assert_int_equal(read_head(a, slice_of(rows[i].in), SIZE_MAX, &h, &e), 1);
		assert_err(rows[i].kind, soap_need_user(h, &e), &e);
		assert_err(ERR_TO_MISSING, soap_need_to(h, &e), &e);
		arena_free(a);
	}
}

/* A head is found however much follows, and no head is looked for without end. */
static void
the_limit_is_of_the_head_not_of_the_message(void **state)
{
	struct arena *a = arena_new(8 << 20);
	const struct soap_head *h;
	struct buf b;
	struct err e;

	(void)state;
	err_clear(&e);
	buf_init(&b, 1 << 20);
	buf_puts(&b, OPEN HEADER(USER("u")) "<s:Body>");
	for (int i = 0; i < 50000; i++)
		buf_puts(&b, "xxxxxxxx");
	assert_int_equal(read_head(a, buf_slice(&b), SIZE_MAX, &h, &e), 1);
	buf_clear(&b);
	buf_puts(&b, OPEN "<s:Header><!--");
	for (int i = 0; i < 50000; i++)
		buf_puts(&b, "xxxxxxxx");
	buf_puts(&b, "--></s:Header>" BODY);
	assert_err(ERR_LIMIT, read_head(a, buf_slice(&b), SIZE_MAX, &h, &e), &e);
	buf_free(&b);
	arena_free(a);
}

static void
running_out_of_memory_is_an_answer(void **state)
{
	struct slice in = S(MSG(TO("x") DATA(VALUE("sosi:IDCardID", "x") VALUE("medcom:ITSystemName", "y"))));
	int good = 0;

	(void)state;
	for (unsigned long n = 1; good == 0; n++) {
		struct arena *a = arena_new(1 << 20);
		struct err e;
		err_clear(&e);
		arena_fail_at(n);
		struct soap_reader *r = soap_reader_new(a, &xml_head_limits);
		int rc = r == NULL ? -1 : soap_reader_feed(r, in, &e);
		arena_fail_at(0);
		assert_true(rc == 1 || r == NULL || e.kind == ERR_MEMORY);
		good = rc == 1;
		arena_free(a);
		assert_true(n < 100);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(real_messages_are_understood),
		cmocka_unit_test(offsets_are_where_the_elements_are),
		cmocka_unit_test(the_way_a_message_arrives_changes_nothing),
		cmocka_unit_test(what_is_no_danger_passes),
		cmocka_unit_test(what_could_be_read_in_two_ways_is_refused),
		cmocka_unit_test(the_level_is_a_digit_from_1_to_4_or_unknown),
		cmocka_unit_test(only_a_signature_that_is_a_child_of_the_card_signs_it),
		cmocka_unit_test(what_describes_the_call_is_its_own_text),
		cmocka_unit_test(what_is_missing_has_a_name),
		cmocka_unit_test(the_limit_is_of_the_head_not_of_the_message),
		cmocka_unit_test(running_out_of_memory_is_an_answer),
	};

	xml_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
