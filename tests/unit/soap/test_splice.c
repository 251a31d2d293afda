#include "messages.h"

#define NEW "<n:Assertion xmlns:n='" NS_SAML "' id='IDCard'><n:Subject><n:NameID>new</n:NameID></n:Subject></n:Assertion>"

/* A message is put together from pieces of which it is known what becomes of each, so that what is expected
 * is known without reading anything. */
enum role { KEPT, CARD_HERE, WSA_HERE };
struct piece {
	enum role role;
	const char *text;
};

static const char *const openings[] = {
	OPEN "<s:Header>",
	"\xEF\xBB\xBF<?xml version=\"1.0\" encoding='utf-8'?>\r\n<!-- <s:Body> </s:Header> -->" OPEN "\r\n\t<s:Header  s:q = \">\" >",
	"\n" OPEN "<!-- <s:Header> ' \" -->\r\n<s:Header\n>",
};

static const struct piece blocks[] = {
	{ KEPT, "\r\n  " },
	{ KEPT, "<!-- <a:Assertion id='IDCard'> </s:Header><s:Body> ]]> -->" },
	{ KEPT, "<y><![CDATA[</y></s:Header><s:Body><a:Assertion>]]]]></y>" },
	{ KEPT, "<y  b = \"x>&lt;/s:Header>&lt;s:Body>'\"\r\n></y\t>" },
	{ KEPT, "<Header xmlns='urn:medcom' ><y><Header/></y>\xC3\xA6&#x26;\xF0\x9F\x98\x80</Header >" },
	{ KEPT, "<s xmlns:t='urn:t'><t:To>x</t:To><t:To/></s>" },
	{ WSA_HERE, "<t:Action s:mustUnderstand='1'>urn:a>b</t:Action>" },
	{ WSA_HERE, "<o:ReplyTo  ><o:Address><!-- </o:ReplyTo> -->x</o:Address></o:ReplyTo\n>" },
	{ WSA_HERE, "<MessageID xmlns='" NS_WSA05 "'/>" },
	{ WSA_HERE, "<t:RelatesTo\tz='/>'  />" },
};

#define BLOCKS (sizeof blocks / sizeof *blocks)

static const char *const cards[] = {
	"<a:Assertion id='IDCard'><a:Subject>" NAME("u") "</a:Subject></a:Assertion>",
	"<a:Assertion\r\n id = \"IDCard\"\tz='>/>'\n><a:Subject><!-- </a:Assertion> -->" NAME("<![CDATA[u]]>")
	"</a:Subject><y><![CDATA[</a:Assertion>]]></y></a:Assertion \n>",
	"<Assertion xmlns='" NS_SAML "' id='IDCard'><Subject><NameID>u</NameID></Subject><y><Assertion xmlns=''/></y></Assertion>",
	"<s:Assertion xmlns:s='" NS_SAML "'><s:Subject><s:NameID>&#117;</s:NameID></s:Subject></s:Assertion>",
	"<a:Assertion/>",
};

struct message {
	struct buf in, kept, replaced, stripped, both;
};

static void
add(struct message *m, enum role role, const char *text)
{
	const char *by = role == CARD_HERE ? NEW : text;

	buf_puts(&m->in, text);
	buf_puts(&m->kept, text);
	buf_puts(&m->replaced, by);
	if (role != WSA_HERE) {
		buf_puts(&m->stripped, text);
		buf_puts(&m->both, by);
	}
}

/* The how-many-th of all messages. */
static void
build(struct message *m, unsigned seed)
{
	unsigned card_at = seed % BLOCKS, first = seed / 3 % BLOCKS, stride = seed % 2 == 0 ? 1 : 3;

	add(m, KEPT, openings[seed % 3]);
	for (unsigned i = 0; i < BLOCKS; i++) {
		if (i == card_at) {
			add(m, KEPT, "<w:Security s:mustUnderstand='1' ><u:Timestamp/>");
			add(m, CARD_HERE, cards[seed % 5]);
			add(m, KEPT, " <!-- x --></w:Security>");
		}
		const struct piece *p = &blocks[(first + i * stride) % BLOCKS];
		add(m, p->role, p->text);
	}
	add(m, KEPT, seed % 2 == 0 ? "</s:Header>" : "</s:Header\r\n>\n <!-- ' -->");
	buf_puts(&m->in, "<s:Body ><y>" TO("z") "</y></s:Body></s:Envelope>");
}

static void
each(struct message *m, void (*fn)(struct buf *))
{
	fn(&m->in);
	fn(&m->kept);
	fn(&m->replaced);
	fn(&m->stripped);
	fn(&m->both);
}

static void
init(struct buf *b)
{
	buf_init(b, 1 << 20);
}

static void
assert_splice(const struct soap_head *h, const struct buf *in, struct slice card, bool strip, const struct buf *wanted)
{
	struct buf out;
	struct err e;

	buf_init(&out, 1 << 20);
	assert_ok(soap_splice(h, buf_slice(in), card, strip, &out, &e), &e);
	if (!slice_eq(buf_slice(&out), buf_slice(wanted)))
		fail_msg("from\n%.*s\ncame\n%.*s", SLICE_FMT(buf_slice(in)), SLICE_FMT(buf_slice(&out)));
	buf_free(&out);
}

static void
every_byte_outside_the_replaced_parts_stays(void **state)
{
	const struct slice none = { NULL, 0 };

	(void)state;
	for (unsigned seed = 0; seed < 300; seed++) {
		struct arena *a = arena_new(1 << 20);
		const struct soap_head *h;
		struct message m;
		struct err e;
		each(&m, init);
		build(&m, seed);
		err_clear(&e);
		int rc = read_head(a, buf_slice(&m.in), seed % 7 == 0 ? 1 : 100 + seed, &h, &e);
		if (rc != 1)
			fail_msg("%s %s in %.*s", err_name(e.kind), e.detail, SLICE_FMT(buf_slice(&m.in)));
		assert_splice(h, &m.in, none, false, &m.kept);
		assert_splice(h, &m.in, S(NEW), false, &m.replaced);
		assert_splice(h, &m.in, none, true, &m.stripped);
		assert_splice(h, &m.in, S(NEW), true, &m.both);
		each(&m, buf_free);
		arena_free(a);
	}
}

static void
a_spliced_head_says_the_same_but_for_the_card(void **state)
{
	static const char *const files[] = {
		"tests/data/soap/proxy-wsa2005.xml", "tests/data/soap/proxy-wcf-wsa2004.xml", "tests/data/soap/dgws-level4.xml",
		"tests/data/fmk/dump_patient.xml", "tests/data/fmk/create_drugmedication1.4.4.xml",
	};

	(void)state;
	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		struct arena *a = arena_new(1 << 20);
		struct slice in = unit_file(a, files[i]);
		const struct soap_head *before, *after;
		struct buf out;
		struct err e;
		err_clear(&e);
		buf_init(&out, 1 << 20);
		assert_int_equal(read_head(a, in, SIZE_MAX, &before, &e), 1);
		assert_ok(soap_splice(before, in, S(NEW), false, &out, &e), &e);
		buf_put(&out, slice_from(in, before->end));
		assert_int_equal(read_head(a, buf_slice(&out), SIZE_MAX, &after, &e), 1);
		assert_slice("new", after->name_id);
		assert_true(slice_eq(before->to, after->to) || before->to.p == NULL);
		assert_int_equal(after->nwsa, before->nwsa);
		assert_int_equal(buf_slice(&out).n, in.n - (before->card.end - before->card.start) + sizeof NEW - 1);

		buf_clear(&out);
		assert_ok(soap_splice(before, in, S(NEW), true, &out, &e), &e);
		buf_put(&out, slice_from(in, before->end));
		assert_int_equal(read_head(a, buf_slice(&out), SIZE_MAX, &after, &e), 1);
		assert_int_equal(after->nwsa, 0);
		assert_null(after->to.p);
		buf_free(&out);
		arena_free(a);
	}
}

static void
nothing_leaves_when_head_and_bytes_do_not_fit(void **state)
{
	struct arena *a = arena_new(1 << 20);
	struct slice in = S(MSG(USER("u"))), cut = { in.p, 100 };
	const struct soap_head *h;
	struct buf out, small;
	struct err e;

	(void)state;
	err_clear(&e);
	buf_init(&out, 1 << 20);
	buf_init(&small, 10);
	assert_int_equal(read_head(a, in, SIZE_MAX, &h, &e), 1);
	assert_err(ERR_INTERNAL, soap_splice(h, cut, S(NEW), false, &out, &e), &e);
	assert_err(ERR_INTERNAL, soap_splice(h, S(" " MSG(USER("u"))), S(NEW), false, &out, &e), &e);
	assert_err(ERR_MEMORY, soap_splice(h, in, S(NEW), false, &small, &e), &e);
	err_clear(&e);
	assert_int_equal(read_head(a, S(OPEN BODY), SIZE_MAX, &h, &e), 1);
	assert_err(ERR_NO_CARD_IN_REQUEST, soap_splice(h, S(OPEN BODY), S(NEW), false, &out, &e), &e);
	buf_free(&out);
	buf_free(&small);
	arena_free(a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_byte_outside_the_replaced_parts_stays),
		cmocka_unit_test(a_spliced_head_says_the_same_but_for_the_card),
		cmocka_unit_test(nothing_leaves_when_head_and_bytes_do_not_fit),
	};

	xml_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
