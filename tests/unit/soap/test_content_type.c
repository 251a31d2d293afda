#include "messages.h"

static const struct {
	const char *in, *boundary, *start;	/* boundary NULL: plain */
} accepted[] = {
	{ NULL, NULL, NULL },
	{ "", NULL, NULL },
	{ "text/xml", NULL, NULL },
	{ "Text/XML; Charset=\"UTF-8\"", NULL, NULL },
	{ "text/xml;charset=utf-8;", NULL, NULL },
	{ " text/xml ; charset=utf-8 ; action=\"urn:a;b,c\" ; x ", NULL, NULL },
	{ "text/xml; action=\"a\\\"; charset=x\"", NULL, NULL },
	{ "text/xml; charset=UTF-8, text/xml; charset=UTF-8", NULL, NULL },
	{ "text/xml,text/xml", NULL, NULL },
	{ "multipart/related; boundary=b1; type=\"application/xop+xml\"; start=\"<root>\"; start-info=\"text/xml\"", "b1",
	    "<root>" },
	{ "Multipart/Related;boundary=\"=_x (1)\";type=text/xml", "=_x (1)", NULL },
	{ "multipart/related; type=\"application/xop+xml\"; start=<a@b>; boundary=\"uuid:6ed2\"; start-info=\"text/xml; charset=utf-8\"",
	    "uuid:6ed2", "<a@b>" },
	{ "multipart/related;start=\"<rootpart*5f@x.sun.com>\";type=\"application/xop+xml\";boundary=\"uuid:5f\";start-info=\"text/xml\"", "uuid:5f",
	    "<rootpart*5f@x.sun.com>" },
	{ "multipart/related; boundary=----=_Part_1; type=text/xml; action=\"urn:\\\"b\\\"\"; start=\"<a b>\"", "----=_Part_1", "<a b>" },
};

static bool
same(struct slice got, const char *wanted)
{
	return wanted == NULL ? got.p == NULL : slice_is(got, wanted);
}

static void
what_clients_send_is_understood(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof accepted / sizeof *accepted; i++) {
		struct arena *a = arena_new(1 << 16);
		struct slice boundary, start;
		enum soap_form form;
		struct err e;
		assert_ok(soap_content_type(a, slice_of(accepted[i].in), &form, &boundary, &start, &e), &e);
		assert_int_equal(form, accepted[i].boundary == NULL ? SOAP_PLAIN : SOAP_MULTIPART);
		assert_true(same(boundary, accepted[i].boundary) && same(start, accepted[i].start));
		arena_free(a);
	}
}

static const struct {
	enum err_kind kind;
	const char *in;
} refused[] = {
	{ ERR_CONTENT_TYPE, "application/json" },
	{ ERR_CONTENT_TYPE, "application/xml" },
	{ ERR_CONTENT_TYPE, "text/xmlx" },
	{ ERR_CONTENT_TYPE, "text" },
	{ ERR_CONTENT_TYPE, "; charset=utf-8" },
	{ ERR_CONTENT_TYPE, ",text/xml" },
	{ ERR_CONTENT_TYPE, "text/xml, text/html" },
	{ ERR_CONTENT_TYPE, "text/xml; charset=utf-8; charset=utf-8" },
	{ ERR_CONTENT_TYPE, "text/xml; charset=\"utf-8" },
	{ ERR_CONTENT_TYPE, "text/xml; charset=\"utf-8\"x" },
	{ ERR_ENCODING, "text/xml; charset=iso-8859-1" },
	{ ERR_ENCODING, "text/xml; charset=UTF-16" },
	{ ERR_ENCODING, "text/xml; charset=" },
	{ ERR_ENCODING, "text/xml; charset=utf-8, text/xml; charset=utf-7" },
	{ ERR_SOAP_12, "application/soap+xml; charset=utf-8; action=\"x\"" },
	{ ERR_SOAP_12, "multipart/related; type=\"application/xop+xml\"; boundary=b; start-info=\"application/soap+xml\"" },
	{ ERR_SOAP_12, "multipart/related; type=\"application/soap+xml\"; boundary=b" },
	{ ERR_CONTENT_TYPE, "multipart/related; boundary=b" },
	{ ERR_CONTENT_TYPE, "multipart/related; type=text/xml" },
	{ ERR_CONTENT_TYPE, "multipart/related; type=text/xml; boundary=\"\"" },
	{ ERR_CONTENT_TYPE, "multipart/related; type=text/xml; boundary=\"a\r\nb\"" },
	{ ERR_CONTENT_TYPE, "multipart/related; type=text/xml; boundary=\"b \"" },
	{ ERR_CONTENT_TYPE, "multipart/related; type=text/xml; boundary=\"b\\\"\"" },
	{ ERR_CONTENT_TYPE, "multipart/related; type=text/html; boundary=b" },
	{ ERR_CONTENT_TYPE, "multipart/related; type=text/xml; boundary=b; boundary=c" },
	{ ERR_CONTENT_TYPE, "multipart/related; type=text/xml; boundary=b, text/xml" },
	{ ERR_CONTENT_TYPE, "text/xml, multipart/related; type=text/xml; boundary=b" },
	{ ERR_CONTENT_TYPE, "multipart/form-data; boundary=b" },
	/* what some would read as another parameter, or another value of it */
	{ ERR_CONTENT_TYPE, "multipart/related; type=text/xml; boundary=b; boundary*=utf-8''c" },
	{ ERR_CONTENT_TYPE, "multipart/related; type=text/xml; boundary*0=b; boundary=b" },
	{ ERR_CONTENT_TYPE, "multipart/related; type=text/xml; boundary=b; start*=x" },
	{ ERR_CONTENT_TYPE, "text/xml; charset=utf-8; charset*=utf-8''utf-7" },
	{ ERR_CONTENT_TYPE, "text/xml; charset utf-7=x" },
	{ ERR_CONTENT_TYPE, "text/xml; \"charset\"=utf-7" },
	{ ERR_CONTENT_TYPE, "text/xml; =x" },
	{ ERR_CONTENT_TYPE, "multipart/related; type=text/xml; boundary=\"\\b\"" },
	{ ERR_CONTENT_TYPE, "multipart/related; type=text/xml; boundary=b; start=\"<\\r>\"" },
	{ ERR_CONTENT_TYPE, "multipart/related; type=text/xml; boundary=b; start=<\\r>" },
	{ ERR_CONTENT_TYPE, "multipart/related; type=text/xml; boundary=b; start=\"\"" },
	{ ERR_CONTENT_TYPE, "multipart/related; type=text/xml; boundary=b; start=" },
	{ ERR_CONTENT_TYPE, "multipart/related; type=text/xml; boundary=b c" },
	{ ERR_CONTENT_TYPE, "multipart/related; type=text/xml; boundary=b(c)" },
	{ ERR_CONTENT_TYPE, "multipart/related; type=text/xml; boundary=b\"c\"" },
	{ ERR_CONTENT_TYPE, "multipart/related; type=text/xml; boundary="
	    "12345678901234567890123456789012345678901234567890123456789012345678901" },
};

static void
everything_else_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
		struct arena *a = arena_new(1 << 16);
		struct slice boundary, start;
		enum soap_form form;
		struct err e;
		err_clear(&e);
		if (soap_content_type(a, slice_of(refused[i].in), &form, &boundary, &start, &e) != -1 || e.kind != refused[i].kind)
			fail_msg("%s: %s %s", refused[i].in, err_name(e.kind), e.detail);
		arena_free(a);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_clients_send_is_understood),
		cmocka_unit_test(everything_else_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
