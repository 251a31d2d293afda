#include "unit.h"

#include <time.h>

#include "xml.h"

/* What the reader said, one line per event, so that two runs can be compared and a test can say what
 * it wants. Adjacent pieces of text are one. */
struct seen {
	struct arena *a;
	struct buf log;
	bool in_text;
	const char *stop_at;	/* name of the element whose start ends the reading */
	const char *refuse_at;
};

static void
end_text(struct seen *s)
{
	if (s->in_text)
		buf_puts(&s->log, "|\n");
	s->in_text = false;
}

static int
note_start(void *ctx, const struct xml_tag *t, struct err *e)
{
	struct seen *s = ctx;

	end_text(s);
	buf_printf(&s->log, "<%u %.*s{%.*s}%.*s %zu-%zu%s", t->depth, SLICE_FMT(t->prefix), SLICE_FMT(t->ns),
	    SLICE_FMT(t->name), t->start, t->end, t->empty ? "/" : "");
	for (size_t i = 0; i < t->nattrs; i++)
		buf_printf(&s->log, " {%.*s}%.*s=[%.*s]", SLICE_FMT(t->attrs[i].ns), SLICE_FMT(t->attrs[i].name),
		    SLICE_FMT(t->attrs[i].value));
	buf_puts(&s->log, "\n");
	if (s->refuse_at != NULL && slice_is(t->name, s->refuse_at))
		return err_set(e, ERR_OPERATION, "as told");
	return s->stop_at != NULL && slice_is(t->name, s->stop_at);
}

static int
note_end(void *ctx, const struct xml_tag *t, struct err *e)
{
	struct seen *s = ctx;

	(void)e;
	end_text(s);
	buf_printf(&s->log, ">%u %.*s{%.*s}%.*s %zu-%zu\n", t->depth, SLICE_FMT(t->prefix), SLICE_FMT(t->ns),
	    SLICE_FMT(t->name), t->start, t->end);
	return 0;
}

static int
note_text(void *ctx, struct slice text, struct err *e)
{
	struct seen *s = ctx;

	(void)e;
	if (!s->in_text)
		buf_puts(&s->log, "|");
	s->in_text = true;
	buf_put(&s->log, text);
	return 0;
}

static const struct xml_handler noting = { note_start, note_end, note_text };

static struct seen *
new_seen(void)
{
	struct arena *a = arena_new(8 << 20);
	struct seen *s = arena_alloc(a, sizeof *s);

	s->a = a;
	buf_init(&s->log, 4 << 20);
	assert_int_equal(buf_defer(&s->log, a), 0);
	return s;
}

/* Feeds the bytes, `first` of them at once and the rest in steps; -1, 0 at the end, or 1 when stopped. */
static int
run(struct seen *s, struct slice in, size_t first, size_t step, const struct xml_limits *limits,
    struct err *e)
{
	struct xml_reader *r = xml_reader_new(s->a, limits, &noting, s);
	int rc = 0;

	assert_non_null(r);
	for (size_t at = 0, n = first; at < in.n && rc == 0; at += n, n = step) {
		if (n > in.n - at)
			n = in.n - at;
		rc = xml_reader_feed(r, (struct slice){ in.p + at, n }, e);
	}
	if (rc == 0)
		rc = xml_reader_end(r, e);
	end_text(s);
	return rc;
}

static const struct {
	const char *note, *in, *log;
} readings[] = {
	{ "offsets from '<' to behind '>'", "<a></a>", "<1 {}a 0-3\n>1 {}a 3-7\n" },
	{ "an empty element ends where it started", "<a/>", "<1 {}a 0-4/\n>1 {}a 0-4\n" },
	{ "prefix and namespace", "<p:a xmlns:p='u:v'>x<b/></p:a>",
	    "<1 p{u:v}a 0-19\n|x|\n<2 {}b 20-24/\n>2 {}b 20-24\n>1 p{u:v}a 24-30\n" },
	{ "default namespace, undone below", "<a xmlns='u:v' c='d'><b xmlns=''/></a>",
	    "<1 {u:v}a 0-21 {}c=[d]\n<2 {}b 21-34/\n>2 {}b 21-34\n>1 {u:v}a 34-38\n" },
	{ "a prefix bound anew", "<p:a xmlns:p='u:1'><p:a xmlns:p='u:2' p:x='1' x='2'/></p:a>",
	    "<1 p{u:1}a 0-19\n<2 p{u:2}a 19-53/ {u:2}x=[1] {}x=[2]\n>2 p{u:2}a 19-53\n>1 p{u:1}a 53-59\n" },
	{ "white space in tags", "<a  b = \"x\"\r\n\t  >t</a  >",
	    "<1 {}a 0-17 {}b=[x]\n|t|\n>1 {}a 18-24\n" },
	{ "bytes of a byte order mark count", "\xEF\xBB\xBF\n \t<a b='/>'  />",
	    "<1 {}a 6-19/ {}b=[/>]\n>1 {}a 6-19\n" },
	{ "bytes of the declaration count", "<?xml version='1.0'?><a/>", "<1 {}a 21-25/\n>1 {}a 21-25\n" },
	{ "CDATA and comments hold no tags", "<a><![CDATA[<b>>]]]]><!-- </a><b> ' \" --><c/></a>",
	    "<1 {}a 0-3\n|<b>>]]|\n<2 {}c 41-45/\n>2 {}c 41-45\n>1 {}a 45-49\n" },
	{ "a quote in a comment does not hide the next tag", "<a><!-- don't > --><b/><!-- \" > --></a>",
	    "<1 {}a 0-3\n<2 {}b 19-23/\n>2 {}b 19-23\n>1 {}a 35-39\n" },
	{ "values hold no tags", "<a b='&lt;/a>&amp;&#60;' c='\">'></a>",
	    "<1 {}a 0-32 {}b=[</a>&<] {}c=[\">]\n>1 {}a 32-36\n" },
	{ "text is unescaped, pieces and lines joined", "<a>&#65;&amp;&lt;\xC3\xA6\r\n<!--x-->B&#x1F600;</a>",
	    "<1 {}a 0-3\n|A&<\xC3\xA6\nB\xF0\x9F\x98\x80|\n>1 {}a 39-43\n" },
	{ "every way to write '&' in a value", "<a b='&amp;&#38;&#x26;&amp;#38;x &amp;amp; &quot;' c='y'/>",
	    "<1 {}a 0-58/ {}b=[&&&&#38;x &amp; \"] {}c=[y]\n>1 {}a 0-58\n" },
	{ "white space of a value becomes spaces, references stay", "<a b=' x\n\ty&#10;'/>",
	    "<1 {}a 0-19/ {}b=[ x  y\n]\n>1 {}a 0-19\n" },
	{ "a comment before and after the root", "<!-- <a> --><a/><!-- </a> -->\n",
	    "<1 {}a 12-16/\n>1 {}a 12-16\n" },
	{ "encoding in any case", "<?xml version=\"1.0\" encoding=\"utf-8\" standalone='yes' ?>\n<a/>",
	    "<1 {}a 57-61/\n>1 {}a 57-61\n" },
	{ "a name that starts like another", "<ab><a></a></ab>",
	    "<1 {}ab 0-4\n<2 {}a 4-7\n>2 {}a 7-11\n>1 {}ab 11-16\n" },
	{ "names beyond ASCII", "<p\xC3\xA6:r\xC3\xB8 xmlns:p\xC3\xA6='u:v'/>",
	    "<1 p\xC3\xA6{u:v}r\xC3\xB8 0-26/\n>1 p\xC3\xA6{u:v}r\xC3\xB8 0-26\n" },
};

static void
assert_log(const char *note, struct slice wanted, struct slice in, size_t first, size_t step)
{
	struct seen *s = new_seen();
	struct err e;

	err_clear(&e);
	int rc = run(s, in, first, step, &xml_head_limits, &e);
	if (rc != 0 || !slice_eq(buf_slice(&s->log), wanted))
		fail_msg("%s (%zu, then %zu): %d %s %s\n%.*s", note, first, step, rc, err_name(e.kind), e.detail,
		    SLICE_FMT(buf_slice(&s->log)));
	arena_free(s->a);
}

static void
events_say_what_stands_there_and_where(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof readings / sizeof *readings; i++) {
		struct slice in = slice_of(readings[i].in);
		assert_log(readings[i].note, slice_of(readings[i].log), in, in.n, 1);
	}
}

static void
the_way_bytes_arrive_changes_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof readings / sizeof *readings; i++) {
		struct slice in = slice_of(readings[i].in), log = slice_of(readings[i].log);
		for (size_t step = 1; step < 8; step++)
			assert_log(readings[i].note, log, in, step, step);
		for (size_t first = 0; first < in.n; first++)
			assert_log(readings[i].note, log, in, first, in.n);
	}
}

static const char *const messages[] = {
	"tests/data/fmk/create_drugmedication1.4.4.xml", "tests/data/soap/proxy-wcf-wsa2004.xml", "tests/data/soap/dgws-level4.xml",
};

static void
the_way_real_messages_arrive_changes_nothing(void **state)
{
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
		struct seen *s = new_seen();
		struct slice in = unit_file(s->a, messages[i]);
		assert_ok(run(s, in, in.n, 1, &xml_head_limits, &e), &e);
		struct slice whole = buf_slice(&s->log);
		for (size_t step = 1; step < 12; step++)
			assert_log(messages[i], whole, in, step, step);
		for (size_t first = 0; first < in.n; first += 37)
			assert_log(messages[i], whole, in, first, in.n);
		arena_free(s->a);
	}
}

static const struct {
	enum err_kind kind;
	const char *note;
	struct slice in;
} refusals[] = {
	{ ERR_DOCTYPE, "empty", S("<!DOCTYPE a><a/>") },
	{ ERR_DOCTYPE, "external", S("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>") },
	{ ERR_DOCTYPE, "public", S("<!DOCTYPE a PUBLIC '-//x' 'http://127.0.0.1/x'><a/>") },
	{ ERR_DOCTYPE, "entity", S("<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>") },
	{ ERR_DOCTYPE, "parameter entity", S("<!DOCTYPE a [<!ENTITY % p SYSTEM 'x'> %p;]><a/>") },
	{ ERR_DOCTYPE, "default attribute", S("<!DOCTYPE a [<!ATTLIST a id ID 'x'>]><a/>") },
	{ ERR_DOCTYPE, "behind a comment", S("<?xml version='1.0'?><!-- x --><!DOCTYPE a><a/>") },
	{ ERR_DOCTYPE, "lower case", S("<!doctype a><a/>") },
	{ ERR_DOCTYPE, "mixed case", S("<?xml version='1.0'?>\n<!DocType a [ ]><a/>") },
	{ ERR_DOCTYPE, "in the root", S("<a><!DOCTYPE a><b/></a>") },
	{ ERR_DOCTYPE, "behind the root", S("<a/><!DOCTYPE a>") },
	{ ERR_PROCESSING_INSTRUCTION, "before", S("<?php x?><a/>") },
	{ ERR_PROCESSING_INSTRUCTION, "stylesheet", S("<?xml-stylesheet href='x'?><a/>") },
	{ ERR_PROCESSING_INSTRUCTION, "inside", S("<a><?x?></a>") },
	{ ERR_PROCESSING_INSTRUCTION, "after", S("<a/><?x y?>") },
	{ ERR_ENCODING, "Latin-1 declared", S("<?xml version='1.0' encoding='ISO-8859-1'?><a/>") },
	{ ERR_ENCODING, "UTF-16 declared", S("<?xml version='1.0' encoding='UTF-16'?><a/>") },
	{ ERR_ENCODING, "UTF-7 declared", S("<?xml version='1.0' encoding='UTF-7'?><a/>") },
	{ ERR_ENCODING, "unknown encoding", S("<?xml version='1.0' encoding='x'?><a/>") },
	{ ERR_ENCODING, "empty encoding", S("<?xml version='1.0' encoding=''?><a/>") },
	{ ERR_ENCODING, "encoding without version", S("<?xml encoding='UTF-8'?><a/>") },
	{ ERR_ENCODING, "version 1.1", S("<?xml version='1.1'?><a/>") },
	{ ERR_ENCODING, "version 2.0", S("<?xml version='2.0'?><a/>") },
	{ ERR_ENCODING, "UTF-16 LE with mark", S("\xFF\xFE<\0a\0/\0>\0") },
	{ ERR_ENCODING, "UTF-16 BE with mark", S("\xFE\xFF\0<\0a\0/\0>") },
	{ ERR_ENCODING, "UTF-16 LE", S("<\0?\0x\0m\0l\0") },
	{ ERR_ENCODING, "UTF-16 BE", S("\0<\0?\0x\0m\0l") },
	{ ERR_ENCODING, "UTF-32", S("\0\0\0<\0\0\0a\0\0\0/\0\0\0>") },
	{ ERR_ENCODING, "UTF-32 with mark", S("\xFF\xFE\0\0<\0\0\0") },
	{ ERR_ENCODING, "UTF-7 with mark", S("+/v8-<a/>") },
	{ ERR_ENCODING, "EBCDIC", S("\x4C\x6F\xA7\x94\x93\x40") },
	{ ERR_ENCODING, "Latin-1 text", S("<a>\xE6\xF8\xE5</a>") },
	{ ERR_ENCODING, "Latin-1 value", S("<a b='\xE6'/>") },
	{ ERR_ENCODING, "overlong '<'", S("<a>\xC0\xBC</a>") },
	{ ERR_ENCODING, "overlong by C1", S("<a>\xC1\x81</a>") },
	{ ERR_ENCODING, "overlong in three", S("<a>\xE0\x80\xBC</a>") },
	{ ERR_ENCODING, "overlong in four", S("<a>\xF0\x80\x80\xBC</a>") },
	{ ERR_ENCODING, "surrogate", S("<a>\xED\xA0\x80</a>") },
	{ ERR_ENCODING, "beyond U+10FFFF", S("<a>\xF4\x90\x80\x80</a>") },
	{ ERR_ENCODING, "lone continuation", S("<a>\x80</a>") },
	{ ERR_ENCODING, "cut character", S("<a>\xC3</a>") },
	{ ERR_ENCODING, "Latin-1 in CDATA", S("<a><![CDATA[\xE6 x]]></a>") },
	{ ERR_ENCODING, "Latin-1 in a comment", S("<a><!-- \xE6 x --></a>") },
	{ ERR_ENCODING, "Latin-1 in a name", S("<a><b\xE6/></a>") },
	{ ERR_XML, "U+FFFE", S("<a>\xEF\xBF\xBE</a>") },
	{ ERR_XML, "control character", S("<a>\x01</a>") },
	{ ERR_XML, "control character by reference", S("<a>&#1;</a>") },
	{ ERR_XML, "surrogate by reference", S("<a>&#xD800;</a>") },
	{ ERR_XML, "NUL", S("<a>x\0y</a>") },
	{ ERR_XML, "NUL behind the root", S("<a/>\0") },
	{ ERR_XML, "nothing", S("") },
	{ ERR_XML, "white space", S(" \n") },
	{ ERR_XML, "no XML", S("hello") },
	{ ERR_XML, "two byte order marks", S("\xEF\xBB\xBF\xEF\xBB\xBF<a/>") },
	{ ERR_XML, "mark alone", S("\xEF\xBB\xBF") },
	{ ERR_XML, "two roots", S("<a/><b/>") },
	{ ERR_XML, "text behind the root", S("<a/>x") },
	{ ERR_XML, "text before the root", S("x<a/>") },
	{ ERR_XML, "declaration not first", S(" <?xml version='1.0'?><a/>") },
	{ ERR_XML, "wrong end tag", S("<a><b></a></b>") },
	{ ERR_XML, "wrong prefix of end tag", S("<p:a xmlns:p='u:v' xmlns:q='u:v'></q:a>") },
	{ ERR_XML, "end tag with an attribute", S("<a></a b='c'>") },
	{ ERR_XML, "'<' in a value", S("<a b='<'/>") },
	{ ERR_XML, "same attribute twice", S("<a b='1' b='2'/>") },
	{ ERR_XML, "same attribute by two prefixes", S("<a xmlns:p='u:v' xmlns:q='u:v' p:b='1' q:b='2'/>") },
	{ ERR_XML, "unbound prefix", S("<p:a/>") },
	{ ERR_XML, "unbound prefix of an attribute", S("<a p:b='1'/>") },
	{ ERR_XML, "prefix out of its scope", S("<a><p:b xmlns:p='u:v'/><p:c/></a>") },
	{ ERR_XML, "prefix unbound", S("<a xmlns:p='u:v'><b xmlns:p=''/></a>") },
	{ ERR_XML, "xmlns taken", S("<a xmlns:xmlns='u:v'/>") },
	{ ERR_XML, "two colons", S("<a xmlns:p='u:v'><p:b:c/></a>") },
	{ ERR_XML, "undefined entity", S("<a>&nbsp;</a>") },
	{ ERR_XML, "undefined entity in a value", S("<a b='&nbsp;'/>") },
	{ ERR_XML, "undefined entity, standalone no", S("<?xml version='1.0' standalone='no'?><a>&e;</a>") },
	{ ERR_XML, "bare ampersand", S("<a>a & b</a>") },
	{ ERR_XML, "reference never ends", S("<a>&amp</a>") },
	{ ERR_XML, "']]>' in text", S("<a>]]></a>") },
	{ ERR_XML, "'--' in a comment", S("<a><!-- -- --></a>") },
	{ ERR_XML, "no white space between attributes", S("<a b='1'c='2'/>") },
	{ ERR_XML, "value without quotes", S("<a b=1/>") },
	{ ERR_XML, "declaration of an entity alone", S("<a><!ENTITY e 'x'></a>") },
};

static void
what_may_not_be_read_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
		for (size_t step = 1; step <= refusals[i].in.n + 1; step++) {
			struct seen *s = new_seen();
			struct err e;
			err_clear(&e);
			int rc = run(s, refusals[i].in, step, step, &xml_head_limits, &e);
			if (rc != -1 || e.kind != refusals[i].kind)
				fail_msg("%s in steps of %zu: %d %s (%s)", refusals[i].note, step, rc,
				    err_name(e.kind), e.detail);
			arena_free(s->a);
		}
	}
}

static void
a_document_cut_anywhere_is_refused(void **state)
{
	struct arena *a = arena_new(1 << 20);
	struct slice in = slice_trim(unit_file(a, messages[1]));

	(void)state;
	for (size_t n = 0; n < in.n; n += n < 200 || n > in.n - 100 ? 1 : 7) {
		struct seen *s = new_seen();
		struct err e;
		assert_err(ERR_XML, run(s, (struct slice){ in.p, n }, 100, 100, &xml_head_limits, &e), &e);
		arena_free(s->a);
	}
	arena_free(a);
}

/* n times `what` (its number in it) between before and after. */
static struct slice
many(struct seen *s, const char *before, const char *what, size_t n, const char *after)
{
	struct buf *b = arena_alloc(s->a, sizeof *b);

	buf_init(b, 4 << 20);
	buf_puts(b, before);
	for (size_t i = 0; i < n; i++)
		buf_printf(b, what, (unsigned)i);
	buf_puts(b, after);
	assert_int_equal(buf_defer(b, s->a), 0);
	return buf_slice(b);
}

static void
limits_hold_and_allow_what_is_within(void **state)
{
	static const struct {
		const char *note, *before, *what, *after;
		size_t good, bad;	/* how many times; good 0: not tried */
	} rows[] = {
		{ "bytes", "<a>", "%08u", "</a>", 8000, 8200 },
		{ "bytes of a comment", "<a><!--", "%08u", "--></a>", 8000, 8200 },
		{ "depth", "", "<a%u>", "", 0, 33 },
		{ "attributes", "<a", " b%u=''", "/>", 64, 65 },
		{ "namespaces", "<a", " xmlns:b%u='u:v'", "/>", 64, 65 },
		{ "attributes of a long tag", "<a>x<c", " b%07u = '>'", "/></a>", 64, 5000 },
		{ "a name", "<a", "%08u", "/>", 1023, 1025 },
		{ "the name of an attribute", "<a a", "%08u", "=''/>", 1023, 1025 },
		{ "a value", "<a b='", "%08u", "'/>", 1023, 1025 },
		{ "a namespace", "<a xmlns:x='u:", "%08u", "'/>", 1023, 1025 },
		{ "elements", "<a>", "<b%u/>", "</a>", 1999, 2000 },
		{ "the declaration", "<?xml version='1.0'", "        ", "?><a/>", 125, 126 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct seen *s = new_seen();
		struct slice good = many(s, rows[i].before, rows[i].what, rows[i].good, rows[i].after);
		struct slice bad = many(s, rows[i].before, rows[i].what, rows[i].bad, rows[i].after);
		struct err e;
		err_clear(&e);
		if (rows[i].good > 0 && run(s, good, good.n, 1, &xml_head_limits, &e) != 0)
			fail_msg("%s: %s %s", rows[i].note, err_name(e.kind), e.detail);
		err_clear(&e);
		if (run(s, bad, bad.n, 1, &xml_head_limits, &e) != -1 || e.kind != ERR_LIMIT)
			fail_msg("%s: %s %s", rows[i].note, err_name(e.kind), e.detail);
		arena_free(s->a);
	}
}

static void
a_tag_with_very_many_attributes_costs_no_time(void **state)
{
	struct seen *s = new_seen();
	struct slice in = many(s, "<a>text<b", " a%u='x'", 80000, "/></a>");
	clock_t before = clock();
	struct err e;

	(void)state;
	assert_err(ERR_LIMIT, run(s, in, in.n, 1, &xml_document_limits, &e), &e);
	assert_err(ERR_LIMIT, run(s, in, 100, 100, &xml_document_limits, &e), &e);
	/* milliseconds; libxml2 alone takes seconds */
	assert_true(clock() - before < CLOCKS_PER_SEC);
	/* the count must not mistake what stands in comments and CDATA */
	in = many(s, "<a><!-- <b", " a='x'", 2000, " --><![CDATA[ <b");
	in = many(s, arena_cstr(s->a, in), " a='x'", 2000, "]]></a>");
	assert_ok(run(s, in, in.n, 1, &xml_document_limits, &e), &e);
	assert_ok(run(s, in, 100, 100, &xml_document_limits, &e), &e);
	arena_free(s->a);
}

static void
stopping_is_for_good_whatever_follows(void **state)
{
	struct seen *s = new_seen();
	struct xml_reader *r = xml_reader_new(s->a, &xml_head_limits, &noting, s);
	struct err e;

	(void)state;
	s->stop_at = "b";
	err_clear(&e);
	assert_int_equal(xml_reader_feed(r, S("<a><b/>"), &e), 1);
	assert_int_equal(xml_reader_feed(r, S("<<<<"), &e), 1);
	assert_int_equal(xml_reader_end(r, &e), 0);
	assert_slice("<1 {}a 0-3\n<2 {}b 3-7/\n", buf_slice(&s->log));
	assert_int_equal(e.kind, ERR_NONE);
	arena_free(s->a);
}

static void
a_stop_beats_the_byte_limit_and_errors_behind_it(void **state)
{
	struct seen *s = new_seen();
	struct slice in = many(s, "<a><b>", "%08u", 100000, "&");
	struct err e;

	(void)state;
	s->stop_at = "b";
	err_clear(&e);
	assert_int_equal(run(s, in, in.n, 1, &xml_head_limits, &e), 1);
	assert_int_equal(run(s, S("<a><b>& <c"), 99, 1, &xml_head_limits, &e), 1);
	arena_free(s->a);
}

static void
a_start_is_told_as_soon_as_its_tag_is_there(void **state)
{
	struct seen *s = new_seen();
	struct xml_reader *r = xml_reader_new(s->a, &xml_head_limits, &noting, s);
	struct err e;

	(void)state;
	s->stop_at = "b";
	err_clear(&e);
	assert_int_equal(xml_reader_feed(r, S("<a><!-- ' -->\n <b c='>'"), &e), 0);
	assert_int_equal(xml_reader_feed(r, S(">"), &e), 1);
	arena_free(s->a);
}

static void
a_refusal_is_kept(void **state)
{
	struct seen *s = new_seen();
	struct xml_reader *r = xml_reader_new(s->a, &xml_head_limits, &noting, s);
	struct err e;

	(void)state;
	s->refuse_at = "b";
	assert_err(ERR_OPERATION, xml_reader_feed(r, S("<a><b/>"), &e), &e);
	assert_err(ERR_OPERATION, xml_reader_feed(r, S("</a>"), &e), &e);
	assert_err(ERR_OPERATION, xml_reader_end(r, &e), &e);
	arena_free(s->a);
}

static void
callbacks_may_be_missing(void **state)
{
	struct arena *a = arena_new(1 << 20);
	struct xml_handler none = { NULL, NULL, NULL };
	struct xml_reader *r = xml_reader_new(a, &xml_head_limits, &none, NULL);
	struct err e;

	(void)state;
	assert_ok(xml_reader_feed(r, S("<a>x<b><![CDATA[y]]></b></a>"), &e), &e);
	assert_ok(xml_reader_end(r, &e), &e);
	arena_free(a);
}

static void
running_out_of_memory_is_an_answer(void **state)
{
	(void)state;
	for (unsigned long n = 1; n < 5; n++) {
		struct arena *a = arena_new(1 << 20);
		arena_fail_at(n);
		struct xml_reader *r = xml_reader_new(a, &xml_head_limits, &noting, NULL);
		arena_fail_at(0);
		assert_true((r == NULL) == (n < 4));
		arena_free(a);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(events_say_what_stands_there_and_where),
		cmocka_unit_test(the_way_bytes_arrive_changes_nothing),
		cmocka_unit_test(the_way_real_messages_arrive_changes_nothing),
		cmocka_unit_test(what_may_not_be_read_is_refused),
		cmocka_unit_test(a_document_cut_anywhere_is_refused),
		cmocka_unit_test(limits_hold_and_allow_what_is_within),
		cmocka_unit_test(a_tag_with_very_many_attributes_costs_no_time),
		cmocka_unit_test(stopping_is_for_good_whatever_follows),
		cmocka_unit_test(a_stop_beats_the_byte_limit_and_errors_behind_it),
		cmocka_unit_test(a_start_is_told_as_soon_as_its_tag_is_there),
		cmocka_unit_test(a_refusal_is_kept),
		cmocka_unit_test(callbacks_may_be_missing),
		cmocka_unit_test(running_out_of_memory_is_an_answer),
	};

	xml_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
