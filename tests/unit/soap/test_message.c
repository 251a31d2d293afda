#include "messages.h"

#define OPERATION "<op xmlns='" NS_GW07 "'>x</op>"

static void
a_message_is_its_head_its_card_and_its_operation(void **state)
{
	struct arena *a = arena_new(4 << 20);
	struct soap_message m;
	struct err e;

	(void)state;
	assert_ok(soap_read(a, unit_file(a, "tests/data/soap/sign.xml"), &m, &e), &e);
	assert_slice("2203333571", m.head->name_id);
	assert_true(xml_is(m.operation, NS_GW07, "signIdCardRequestBody"));
	assert_true(xml_is(m.card, NS_SAML, "Assertion"));
	assert_slice("2203333571", xml_text(a, xml_child(xml_child(m.card, NS_SAML, "Subject", 0), NS_SAML, "NameID", 0)));

	assert_ok(soap_read(a, S(OPEN "<s:Body>\n<!-- x -->" OPERATION "</s:Body></s:Envelope>\n"), &m, &e), &e);
	assert_null(m.card);
	assert_slice("x", xml_text(a, m.operation));
	assert_ok(soap_read(a, S(OPEN "<s:Body/></s:Envelope>"), &m, &e), &e);
	assert_null(m.operation);
	arena_free(a);
}

static const struct {
	enum err_kind kind;
	const char *note, *in;
} refused[] = {
	{ ERR_XML, "nothing", "" },
	{ ERR_NO_ENVELOPE, "no envelope", OPERATION },
	{ ERR_TWO_CARDS, "the head is read by the rules of heads", MSG(USER("u") "<y id='IDCard'/>") },
	{ ERR_ENVELOPE_FORM, "two Bodies", OPEN "<s:Body/><s:Body/></s:Envelope>" },
	{ ERR_ENVELOPE_FORM, "Header behind Body", OPEN "<s:Body/><s:Header/></s:Envelope>" },
	{ ERR_ENVELOPE_FORM, "something behind Body", OPEN "<s:Body/><x/></s:Envelope>" },
	{ ERR_TWO_OPERATIONS, "two operations", OPEN "<s:Body><x/> <y/></s:Body></s:Envelope>" },
	{ ERR_TWO_OPERATIONS, "twice the same operation", OPEN "<s:Body>" OPERATION OPERATION "</s:Body></s:Envelope>" },
	{ ERR_ENVELOPE_FORM, "no Body", OPEN "</s:Envelope>" },
	{ ERR_XML, "cut in Body", OPEN "<s:Body><x>" },
	{ ERR_XML, "not well formed in Body", OPEN "<s:Body><x></s:Body></s:Envelope>" },
	{ ERR_XML, "unbound prefix in Body", OPEN "<s:Body><p:x/></s:Body></s:Envelope>" },
	{ ERR_XML, "text behind the envelope", OPEN "<s:Body/></s:Envelope>x" },
	{ ERR_PROCESSING_INSTRUCTION, "instruction in Body", OPEN "<s:Body><?x?></s:Body></s:Envelope>" },
	{ ERR_ENCODING, "Latin-1 in Body", OPEN "<s:Body>\xE6</s:Body></s:Envelope>" },
	{ ERR_ENCODING, "another encoding", "<?xml version='1.0' encoding='ISO-8859-1'?>" OPEN BODY },
};

static void
a_message_is_judged_to_its_end(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
		struct arena *a = arena_new(4 << 20);
		struct soap_message m;
		struct err e;
		err_clear(&e);
		int rc = soap_read(a, slice_of(refused[i].in), &m, &e);
		if (rc != -1 || e.kind != refused[i].kind)
			fail_msg("%s: %d %s (%s)", refused[i].note, rc, err_name(e.kind), e.detail);
		arena_free(a);
	}
}

static const char *const heads[] = {
	MSG(USER("u")),
	MSG("<w:Security s:actor='urn:x'/>" USER("u")),
	MSG("<y><w:Security><z/></w:Security></y>" SEC("<y/>" CARD(SUBJECT(NAME("u"))))) "trailing bytes & more",
	"\xEF\xBB\xBF<?xml version='1.0'?><Envelope xmlns='" NS_SOAP "'><Header><Security xmlns='" NS_WSSE "'><Assertion xmlns='"
	NS_SAML "' id='IDCard'><Subject><NameID>u</NameID></Subject></Assertion></Security></Header><Body",
};

static void
the_card_of_a_head_is_the_one_that_was_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
		struct arena *a = arena_new(4 << 20);
		const struct soap_head *h;
		struct buf b;
		xmlNode *card;
		struct err e;
		buf_init(&b, 1 << 16);
		buf_puts(&b, heads[i]);
		if (i == 3)
			buf_putc(&b, '>');
		err_clear(&e);
		assert_int_equal(read_head(a, buf_slice(&b), SIZE_MAX, &h, &e), 1);
		assert_ok(soap_head_card(a, h, slice_of(heads[i]), &card, &e), &e);
		assert_slice("IDCard", xml_attr(a, card, "id"));
		assert_slice("u", xml_text(a, xml_child(xml_child(card, NS_SAML, "Subject", 0), NS_SAML, "NameID", 0)));
		buf_free(&b);
		arena_free(a);
	}
}

static void
a_head_without_card_has_none(void **state)
{
	struct arena *a = arena_new(4 << 20);
	struct slice in = S(MSG("<y>" CARD("") "</y>")), cut = { in.p, 20 };
	const struct soap_head *h;
	xmlNode *card;
	struct err e;

	(void)state;
	err_clear(&e);
	assert_int_equal(read_head(a, in, SIZE_MAX, &h, &e), 1);
	assert_err(ERR_NO_CARD_IN_REQUEST, soap_head_card(a, h, in, &card, &e), &e);
	err_clear(&e);
	assert_int_equal(read_head(a, S(MSG(USER("u"))), SIZE_MAX, &h, &e), 1);
	assert_err(ERR_INTERNAL, soap_head_card(a, h, cut, &card, &e), &e);
	arena_free(a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_is_its_head_its_card_and_its_operation),
		cmocka_unit_test(a_message_is_judged_to_its_end),
		cmocka_unit_test(the_card_of_a_head_is_the_one_that_was_read),
		cmocka_unit_test(a_head_without_card_has_none),
	};

	xml_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
