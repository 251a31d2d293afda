#include "messages.h"

#include "conv.h"

/* What stands between two texts of a file. */
static struct slice
between(struct slice file, const char *open, const char *close)
{
	struct slice from = slice_from(file, (size_t)slice_find(file, slice_of(open)) + strlen(open));

	from.n = (size_t)slice_find(from, slice_of(close));
	return from;
}

#define URL "https://gw.example.dk/sosigw/browser/sign?id=Zk3v0m9Q2xR7bC1yH5tL8nW4&lang=da"

/* The octets in the file's DigestValue. */
static struct slice
signed_info(struct arena *a, struct slice file)
{
	return conv_unbase64(a, between(file, "<ds:DigestValue>", "</ds:DigestValue>"));
}

static void
an_answer_looks_like_the_published_one(void **state)
{
	struct arena *a = arena_new(1 << 20);
	struct slice file = slice_trim(unit_file(a, "tests/data/soap/order-answer.xml"));
	struct buf body, out;

	(void)state;
	buf_init(&body, 1 << 16);
	buf_init(&out, 1 << 16);
	soap_write_digest_response(&body, signed_info(a, file), S(URL), a);
	soap_write_answer(&out, (struct slice){ NULL, 0 }, buf_slice(&body));
	assert_true(slice_eq(file, buf_slice(&out)));
	buf_free(&body);
	buf_free(&out);
	arena_free(a);
}

/* The published text is ours to choose; the rest is compared. */
static void
assert_fault(struct arena *a, const char *path, const char *text, struct slice written)
{
	struct slice file = slice_trim(unit_file(a, path)), was = between(file, "<faultstring>", "</faultstring>");
	size_t before = (size_t)(was.p - file.p);

	assert_slice(arena_cstr(a, arena_printf(a, "%.*s%s%.*s", (int)before, file.p, text,
	    SLICE_FMT(slice_from(file, before + was.n)))), written);
}

static void
a_fault_looks_like_the_published_one(void **state)
{
	struct arena *a = arena_new(1 << 20);
	struct buf out;
	struct err e;

	(void)state;
	err_clear(&e);
	err_set(&e, ERR_NO_CARD, "not for the caller");
	buf_init(&out, 1 << 16);
	soap_write_fault(&out, &e, S("r-1"), false, (struct slice){ NULL, 0 });
	assert_fault(a, "tests/data/soap/fault.xml", "There is no valid ID card for the user. Order one and have the user sign it. [r-1]",
	    buf_slice(&out));
	buf_clear(&out);
	soap_write_fault(&out, &e, S(""), true, (struct slice){ NULL, 0 });
	assert_fault(a, "tests/data/soap/fault.xml",
	    "Der er intet gyldigt id-kort for brugeren. Bestil et, og lad brugeren signere.", buf_slice(&out));
	buf_free(&out);
	arena_free(a);
}

static void
what_is_said_in_a_fault_is_escaped(void **state)
{
	struct arena *a = arena_new(1 << 20);
	struct buf out;
	struct err e;

	(void)state;
	err_clear(&e);
	err_set(&e, ERR_STS_FAULT, "x");
	err_say(&e, "<b>&\xE6!");
	buf_init(&out, 1 << 16);
	soap_write_fault(&out, &e, S("r<1"), false, (struct slice){ NULL, 0 });
	assert_slice("The STS refused the ID card: &lt;b&gt;&amp;\xEF\xBF\xBD! [r&lt;1]",
	    between(buf_slice(&out), "<faultstring>", "</faultstring>"));
	buf_free(&out);
	arena_free(a);
}

/* Clients look for literal text with prefix ns2; the header is what others read as XML. */
static void
the_implicit_login_fault_carries_the_order_in_its_header(void **state)
{
	struct arena *a = arena_new(1 << 20);
	struct slice file = unit_file(a, "tests/data/soap/fault-implicit-login.xml");
	struct buf header, out;
	xmlDoc *doc;
	struct err e;

	(void)state;
	err_clear(&e);
	err_set(&e, ERR_NO_CARD, "x");
	buf_init(&header, 1 << 16);
	buf_init(&out, 1 << 16);
	buf_puts(&header, "<ns2:implicitLoginHeader xmlns:ns2=\"" NS_GW07 "\">");
	soap_write_digest_response(&header, signed_info(a, file), S(URL), a);
	buf_puts(&header, "</ns2:implicitLoginHeader>");
	soap_write_fault(&out, &e, S("r-1"), false, buf_slice(&header));
	assert_true(slice_find(buf_slice(&out), S("<ns2:BrowserUrl>" "https://")) > 0);
	assert_true(slice_eq(between(buf_slice(&out), "<ns2:BrowserUrl>", "</ns2:BrowserUrl>"),
	    between(file, "<ns2:BrowserUrl>", "</ns2:BrowserUrl>")));
	err_clear(&e);
	assert_ok(xml_parse(a, buf_slice(&out), &xml_document_limits, &doc, &e), &e);
	xmlNode *login = xml_first(xml_child(xmlDocGetRootElement(doc), NS_SOAP, "Header", 0));
	xmlNode *order = xml_child(login, NS_GW07, "requestIdCardDigestForSigningResponse", 0);
	assert_true(xml_is(login, NS_GW07, "implicitLoginHeader"));
	assert_slice(URL, xml_text(a, xml_child(order, NS_GW07, "BrowserUrl", 0)));
	assert_true(slice_eq(xml_text(a, xml_child(order, NS_DS, "DigestValue", 0)),
	    between(file, "<ds:DigestValue>", "</ds:DigestValue>")));
	buf_free(&header);
	buf_free(&out);
	arena_free(a);
}

static void
every_kind_makes_a_fault_that_can_be_read(void **state)
{
	(void)state;
	for (enum err_kind kind = ERR_NONE + 1; kind < ERR_KINDS; kind++) {
		struct arena *a = arena_new(1 << 20);
		struct buf out;
		xmlDoc *doc;
		struct err e;
		err_clear(&e);
		err_set(&e, kind, "x");
		buf_init(&out, 1 << 16);
		soap_write_fault(&out, &e, S("r"), kind % 2 == 0, (struct slice){ NULL, 0 });
		err_clear(&e);
		assert_ok(xml_parse(a, buf_slice(&out), &xml_document_limits, &doc, &e), &e);
		xmlNode *fault = xml_first(xml_child(xmlDocGetRootElement(doc), NS_SOAP, "Body", 0));
		assert_slice("Server", xml_text(a, xml_child(fault, NULL, "faultcode", 0)));
		assert_slice(err_code(kind), xml_text(a, xml_child(xml_child(fault, NULL, "detail", 0), NS_MEDCOM, "FaultCode", 0)));
		buf_free(&out);
		arena_free(a);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_answer_looks_like_the_published_one),
		cmocka_unit_test(a_fault_looks_like_the_published_one),
		cmocka_unit_test(what_is_said_in_a_fault_is_escaped),
		cmocka_unit_test(the_implicit_login_fault_carries_the_order_in_its_header),
		cmocka_unit_test(every_kind_makes_a_fault_that_can_be_read),
	};

	xml_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
