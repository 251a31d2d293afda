#include "xml.h"

#include "unit.h"

#include <time.h>

static const struct xml_limits small = { .bytes = 400, .depth = 3, .attributes = 3, .value = 20,
	.elements = 5 };

static int
parse(void *state, struct slice text, const struct xml_limits *limits, struct err *e)
{
	xmlDoc *doc;
	int rc = xml_parse(state, text, limits, &doc, e);

	assert_true((rc == 0) == (doc != NULL));
	return rc;
}

struct row {
	const char *text;
	enum err_kind want;
};

static void
judge(void *state, const struct row *rows, size_t n, const struct xml_limits *limits)
{
	for (size_t i = 0; i < n; i++) {
		struct err e = { 0 };
		parse(state, slice_of(rows[i].text), limits, &e);
		if (e.kind != rows[i].want)
			fail_msg("%s: %s (%s)", rows[i].text, err_name(e.kind), e.detail);
	}
}
#define JUDGE(rows, limits) judge(*state, (rows), sizeof(rows) / sizeof *(rows), (limits))

static void
well_formed_utf8_is_read(void **state)
{
	static const struct row rows[] = {
		{ "<a/>", ERR_NONE },
		{ "\xEF\xBB\xBF<a/>", ERR_NONE },
		{ "<?xml version='1.0'?><a/>", ERR_NONE },
		{ "<?xml version=\"1.0\" encoding=\"utf-8\" standalone = 'yes' ?><a/>", ERR_NONE },
		{ "\xEF\xBB\xBF<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n<a/>", ERR_NONE },
		{ "<!-- <!DOCTYPE --><a><![CDATA[<!DOCTYPE <? = = = = = = ]]></a>", ERR_NONE },
		{ "<a b='>' c='='/>", ERR_NONE },
		{ "<a>&lt;&#230;&#x1F600; \xC3\xA6</a>\n", ERR_NONE },
		{ "<x:a xmlns:x='u:x' x:b='1' b='2'/>", ERR_NONE },
	};
	JUDGE(rows, &xml_document_limits);
}

static void
what_may_be_read_in_two_ways_is_refused(void **state)
{
	static const struct row rows[] = {
		{ "<!DOCTYPE a><a/>", ERR_DOCTYPE },
		{ "<!DOCTYPE a []><a/>", ERR_DOCTYPE },
		{ "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", ERR_DOCTYPE },
		{ "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", ERR_DOCTYPE },
		{ "<!DOCTYPE a PUBLIC 'p' 'http://127.0.0.1/'><a/>", ERR_DOCTYPE },
		{ "<!DOCTYPE a [<!ENTITY % p SYSTEM 'file:///dev/zero'> %p;]><a/>", ERR_DOCTYPE },
		{ "<!DOCTYPE a [<!ATTLIST a id ID 'x'>]><a/>", ERR_DOCTYPE },
		{ "<!-- x --><!DOCTYPE a><a/>", ERR_DOCTYPE },
		{ "<!doctype a><a/>", ERR_XML },
		{ "<a/><!DOCTYPE a>", ERR_XML },
		{ "<a>&x;</a>", ERR_XML },
		{ "<?pi?><a/>", ERR_PROCESSING_INSTRUCTION },
		{ "<a><?pi x?></a>", ERR_PROCESSING_INSTRUCTION },
		{ "<a/><?pi x?>", ERR_PROCESSING_INSTRUCTION },
		{ "<?xml-stylesheet href='x'?><a/>", ERR_PROCESSING_INSTRUCTION },
		{ "<?xml version='1.1'?><a/>", ERR_ENCODING },
		{ "<?xml version='2.0'?><a/>", ERR_ENCODING },
		{ "<?xml encoding='utf-8'?><a/>", ERR_ENCODING },
		{ "<?xml version='1.0' encoding='iso-8859-1'?><a/>", ERR_ENCODING },
		{ "<?xml version='1.0' encoding='utf-7'?><a/>", ERR_ENCODING },
		{ "<?xml version='1.0' encoding='utf-16'?><a/>", ERR_ENCODING },
		{ "<?xml version='1.0' encoding=''?><a/>", ERR_ENCODING },
		{ "<?xml version='1.0' standalone='no' encoding='utf-8'?><a/>", ERR_ENCODING },
		{ "<?xml version='1.0'", ERR_ENCODING },
		{ "<a>\xC0\xAF</a>", ERR_ENCODING },
		{ "<a>\xED\xA0\x80</a>", ERR_ENCODING },
		{ "<a>\xE6</a>", ERR_ENCODING },
		{ "\xFF\xFE<", ERR_ENCODING },
		{ "\xEF\xBB\xBF\xEF\xBB\xBF<a/>", ERR_XML },
		{ "<a>\xEF\xBF\xBE</a>", ERR_XML },
	};
	JUDGE(rows, &xml_document_limits);
	struct err e = { 0 };
	assert_err(ERR_ENCODING, parse(*state, S("<\0a\0/\0>\0"), &xml_document_limits, &e), &e);
	assert_err(ERR_ENCODING, parse(*state, S("\0<\0a\0/\0>"), &xml_document_limits, &e), &e);
	assert_err(ERR_ENCODING, parse(*state, S("<a/>\0"), &xml_document_limits, &e), &e);
}

static void
what_is_not_well_formed_is_refused(void **state)
{
	static const struct row rows[] = {
		{ "", ERR_XML }, { "\xEF\xBB\xBF", ERR_XML }, { " ", ERR_XML }, { "x", ERR_XML },
		{ "<a>", ERR_XML }, { "<a></b>", ERR_XML }, { "<a/><b/>", ERR_XML }, { "<a/>x", ERR_XML },
		{ " <?xml version='1.0'?><a/>", ERR_XML },
		{ "<a b='1' b='2'/>", ERR_XML },
		{ "<a xmlns:x='u:' xmlns:y='u:' x:b='1' y:b='2'/>", ERR_XML },
		{ "<x:a/>", ERR_XML }, { "<a x:b='1'/>", ERR_XML }, { "<a xmlns:x=''/>", ERR_XML },
		{ "<a:b:c xmlns:a='u:'/>", ERR_XML },
		{ "<a xmlns:xml='u:'/>", ERR_XML }, { "<a xmlns:xmlns='u:'/>", ERR_XML },
		{ "<a>&#0;</a>", ERR_XML }, { "<a>\x01</a>", ERR_XML }, { "<a b='<'/>", ERR_XML },
		{ "<a><!-- -- --></a>", ERR_XML }, { "<a>]]></a>", ERR_XML }, { "<a b=1/>", ERR_XML },
	};
	JUDGE(rows, &xml_document_limits);
}

static void
limits_hold_exactly(void **state)
{
	static const struct row rows[] = {
		{ "<a><a><a/></a></a>", ERR_NONE }, { "<a><a><a><a/></a></a></a>", ERR_LIMIT },
		{ "<a><b/><b/><b/><b/></a>", ERR_NONE }, { "<a><b/><b/><b/><b/><b/></a>", ERR_LIMIT },
		{ "<a b='' c='' d=''/>", ERR_NONE }, { "<a b='' c='' d='' e=''/>", ERR_LIMIT },
		{ "<a b='' c='' xmlns:d='u:'/>", ERR_NONE }, { "<a b='' c='' d='' xmlns:e='u:'/>", ERR_LIMIT },
		{ "<a b='>' c='>' d='>' e='>'/>", ERR_LIMIT },
		{ "<a b='12345678901234567890'/>", ERR_NONE }, { "<a b='123456789012345678901'/>", ERR_LIMIT },
		{ "<a xmlns='u:345678901234567890'/>", ERR_NONE },
		{ "<a xmlns='u:3456789012345678901'/>", ERR_LIMIT },
		{ "<a12345678901234567890/>", ERR_LIMIT },
		{ "<a>text may be as long as the document allows</a>", ERR_NONE },
	};
	JUDGE(rows, &small);

	struct err e = { 0 };
	char text[401];
	memset(text, ' ', sizeof text);
	memcpy(text, "<a/>", 4);
	assert_ok(parse(*state, (struct slice){ text, 400 }, &small, &e), &e);
	assert_err(ERR_LIMIT, parse(*state, (struct slice){ text, 401 }, &small, &e), &e);
	assert_err(ERR_LIMIT, parse(*state, (struct slice){ NULL, 0 }, &small, &e), &e);
}

static void
a_megabyte_of_attributes_is_refused_at_once(void **state)
{
	struct buf b;
	buf_init(&b, 1 << 20);
	buf_puts(&b, "<a");
	for (int i = 0; i < 70000; i++)
		buf_printf(&b, " a%d='>'", i);
	buf_puts(&b, "/>");
	assert_false(b.failed);

	struct err e = { 0 };
	clock_t start = clock();
	assert_err(ERR_LIMIT, parse(*state, buf_slice(&b), &xml_document_limits, &e), &e);
	assert_true(clock() - start < CLOCKS_PER_SEC / 4);
	buf_free(&b);
}

static xmlNode *
root_of(void *state, const char *text)
{
	struct err e = { 0 };
	xmlDoc *doc;

	assert_ok(xml_parse(state, slice_of(text), &xml_document_limits, &doc, &e), &e);
	return xmlDocGetRootElement(doc);
}

static void
children_are_found_by_namespace_and_name(void **state)
{
	xmlNode *root = root_of(*state,
	    "<a> t <!-- c --><b>0</b><x:b xmlns:x='u:x'>1</x:b><b>2</b><c/></a>");

	assert_true(xml_is(root, NULL, "a"));
	assert_false(xml_is(root, "u:x", "a"));
	assert_false(xml_is(root, NULL, "A"));
	assert_false(xml_is(NULL, NULL, "a"));
	assert_false(xml_is(root->children, NULL, "text"));
	assert_slice("0", xml_text(*state, xml_child(root, NULL, "b", 0)));
	assert_slice("2", xml_text(*state, xml_child(root, NULL, "b", 1)));
	assert_slice("1", xml_text(*state, xml_child(root, "u:x", "b", 0)));
	assert_null(xml_child(root, NULL, "b", 2));
	assert_null(xml_child(root, "u:y", "b", 0));
	assert_null(xml_child(NULL, NULL, "b", 0));
	assert_ptr_equal(xml_first(root), xml_child(root, NULL, "b", 0));
	assert_ptr_equal(xml_next(xml_first(root)), xml_child(root, "u:x", "b", 0));
	assert_null(xml_next(xml_child(root, NULL, "c", 0)));
	assert_null(xml_first(NULL));
	assert_null(xml_next(NULL));
}

static void
text_is_the_whole_text(void **state)
{
	assert_slice("onetwo<3>", xml_text(*state, root_of(*state,
	    "<a>one<!-- not here -->two<![CDATA[<3>]]></a>")));
	assert_slice("", xml_text(*state, root_of(*state, "<a/>")));
	assert_null(xml_text(*state, root_of(*state, "<a>one<b/></a>")).p);
	assert_null(xml_text(*state, NULL).p);
}

static void
attributes_are_those_without_namespace(void **state)
{
	xmlNode *root = root_of(*state, "<a xmlns:x='u:x' x:id='1' id='&lt;2&#10;' empty=''/>");

	assert_slice("<2\n", xml_attr(*state, root, "id"));
	assert_slice("", xml_attr(*state, root, "empty"));
	assert_null(xml_attr(*state, root, "Id").p);
	assert_null(xml_attr(*state, NULL, "id").p);
}

static void
canonical_forms_are_those_of_the_recommendations(void **state)
{
	static const struct {
		const char *text, *without, *exclusive, *inclusive;
	} rows[] = {
		{ "<a><b y='1' x=\"2\"/></a>", NULL, "<b x=\"2\" y=\"1\"></b>", "<b x=\"2\" y=\"1\"></b>" },
		{ "<a xmlns:p='u:p' xmlns:q='u:q'><p:b><!-- c --><p:c/></p:b></a>", NULL,
		    "<p:b xmlns:p=\"u:p\"><p:c></p:c></p:b>",
		    "<p:b xmlns:p=\"u:p\" xmlns:q=\"u:q\"><p:c></p:c></p:b>" },
		{ "<a xmlns='u:a'><b><c xmlns=''/></b></a>", NULL,
		    "<b xmlns=\"u:a\"><c xmlns=\"\"></c></b>", "<b xmlns=\"u:a\"><c xmlns=\"\"></c></b>" },
		{ "<a><b>1<s>gone</s>&amp;<![CDATA[<]]>&#13;<d/></b></a>", "s",
		    "<b>1&amp;&lt;&#xD;<d></d></b>", "<b>1&amp;&lt;&#xD;<d></d></b>" },
	};
	struct err e = { 0 };

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		xmlNode *b = xml_first(root_of(*state, rows[i].text));
		xmlNode *without = rows[i].without == NULL ? NULL : xml_child(b, NULL, rows[i].without, 0);
		struct slice got;
		assert_ok(xml_canonical(*state, b, XML_C14N_EXCLUSIVE, without, &got, &e), &e);
		assert_slice(rows[i].exclusive, got);
		assert_ok(xml_canonical(*state, b, XML_C14N_INCLUSIVE, without, &got, &e), &e);
		assert_slice(rows[i].inclusive, got);
	}
	/* with a PrefixList (exc-c14n, section 3): as inclusive for those that it names, where they mean something, once */
	static struct { xmlChar list[3][10]; const char *text, *canonical; } listed[] = {
		{ { "q" }, "<a xmlns='u:d' xmlns:p='u:p' xmlns:q='u:q'><p:b><p:c/></p:b></a>", "<p:b xmlns:p=\"u:p\" xmlns:q=\"u:q\"><p:c></p:c></p:b>" },
		{ { "q", "q", "r" }, "<a xmlns:q='u:q'><b><c xmlns:q='u:q'/><d xmlns:q='u:2'/></b></a>", "<b xmlns:q=\"u:q\"><c></c><d xmlns:q=\"u:2\"></d></b>" },
		{ { "#default" }, "<a xmlns='u:d'><p:b xmlns:p='u:p'/></a>", "<p:b xmlns=\"u:d\" xmlns:p=\"u:p\"></p:b>" },
		{ { "xml", "xmlns" }, "<a xml:lang='da'><b/></a>", "<b></b>" },
		{ { "" }, "<a xmlns:q='u:q'><b/></a>", "<b></b>" },
	};
	for (size_t i = 0; i < sizeof listed / sizeof *listed; i++) {
		xmlChar *prefixes[4] = { NULL };
		struct slice octets;
		for (size_t p = 0; p < 3 && listed[i].list[p][0] != '\0'; p++)
			prefixes[p] = listed[i].list[p];
		assert_ok(xml_canonical_listed(*state, xml_first(root_of(*state, listed[i].text)), prefixes, NULL, &octets, &e), &e);
		assert_slice(listed[i].canonical, octets);
	}
	/* a relative namespace has no canonical form */
	struct slice got;
	assert_err(ERR_XML, xml_canonical(*state, root_of(*state, "<a xmlns='b'/>"), XML_C14N_EXCLUSIVE,
	    NULL, &got, &e), &e);
}

static void
memory_that_ends_is_an_error(void **state)
{
	(void)state;
	for (unsigned long n = 1; n < 10; n++) {
		struct arena *a = arena_new(1 << 20);
		struct err e = { 0 };
		xmlDoc *doc;
		struct slice got = { 0 };
		arena_fail_at(n);
		int rc = xml_parse(a, S("<a><b>c</b></a>"), &xml_document_limits, &doc, &e);
		if (rc == 0)
			rc = xml_canonical(a, xmlDocGetRootElement(doc), XML_C14N_EXCLUSIVE, NULL, &got, &e);
		arena_fail_at(0);
		if (rc < 0)
			assert_int_equal(e.kind, ERR_MEMORY);
		else
			assert_slice("<a><b>c</b></a>", got);
		arena_free(a);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_ARENA_TEST(well_formed_utf8_is_read),
		UNIT_ARENA_TEST(what_may_be_read_in_two_ways_is_refused),
		UNIT_ARENA_TEST(what_is_not_well_formed_is_refused),
		UNIT_ARENA_TEST(limits_hold_exactly),
		UNIT_ARENA_TEST(a_megabyte_of_attributes_is_refused_at_once),
		UNIT_ARENA_TEST(children_are_found_by_namespace_and_name),
		UNIT_ARENA_TEST(text_is_the_whole_text),
		UNIT_ARENA_TEST(attributes_are_those_without_namespace),
		UNIT_ARENA_TEST(canonical_forms_are_those_of_the_recommendations),
		UNIT_ARENA_TEST(memory_that_ends_is_an_error),
	};

	xml_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
