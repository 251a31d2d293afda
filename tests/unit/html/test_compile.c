/* The template compiler: what it refuses, what it makes, and that the C compiler sees a wrong template too. */
#include "compile.h"

#include "html.h"
#include "unit.h"

#include <sys/wait.h>
#include <unistd.h>

#define PAGE "{{page write_page(const struct page *p) \"page.h\"}}\n"

static struct buf out;
static struct err e;

static int
compile(const char *source)
{
	buf_clear(&out);
	err_clear(&e);
	return html_compile(slice_of(source), "page.html", &out, &e);
}

struct bad { const char *note, *source, *wanted; };

static void
check_refused(const struct bad *row)
{
	char source[300], wanted[100];

	snprintf(source, sizeof source, PAGE "%s", row->source);
	assert_err(ERR_INVALID, html_compile(slice_of(source), "page.html", &out, &e), &e);
	snprintf(wanted, sizeof wanted, "page.html:%s", row->wanted);
	if (strncmp(e.detail, wanted, strlen(wanted)) != 0)
		fail_msg("%s: %s", row->note, e.detail);
}

static void
a_value_where_escaping_is_not_enough_is_refused(void **state)
{
	static const struct bad rows[] = {
		{ "script", "<script>{{p->x}}</script>", "2: script holds nothing" },
		{ "script, in a block", "<script>{{if p->x}}{{end}}</script>", "2: script holds nothing" },
		{ "style", "<style>{{p->x}}</style>", "2: <style> is not among the elements" },
		{ "comment", "<!-- {{p->x}} -->", "2: a directive in a comment" },
		{ "doctype", "<!DOCTYPE {{p->x}}>", "2: a lone <" },
		{ "name of a tag", "<{{p->x}}>", "2: a value in the name of a tag" },
		{ "end of a name of a tag", "<h{{p->x}}>", "2: <h> is not among" },
		{ "behind a name of a tag", "<b{{p->x}}>", "2: a value in the name of a tag" },
		{ "name of an end tag", "<p></{{p->x}}>", "2: a value in the name of a tag" },
		{ "in a tag", "<p {{p->x}}>", "2: a value in the tag <p>" },
		{ "name of an attribute", "<p data-{{p->x}}=\"\">", "2: a value in the name of an attribute" },
		{ "on*", "<p onclick=\"{{p->x}}\">", "2: the attribute onclick: script and style are files" },
		{ "ON*", "<p onClick=\"{{p->x}}\">", "2: the attribute onClick in capitals" },
		{ "style attribute", "<p style=\"{{p->x}}\">", "2: the attribute style: script" },
		{ "srcdoc", "<p srcdoc=\"{{p->x}}\">", "2: the attribute srcdoc: script" },
		{ "no quotes", "<p class={{p->x}}>", "2: the attribute class without double quotes" },
		{ "single quotes", "<p class='{{p->x}}'>", "2: the attribute class without double quotes" },
		{ "href", "<a href=\"{{p->x}}\">", "2: href takes {{url PATH}} only" },
		{ "part of href", "<a href=\"/x/{{p->x}}\">", "2: {{url}} is the whole of href" },
		{ "part of href, before", "<a href=\"{{url p->x}}/x\">", "2: {{url}} is the whole of href" },
		{ "two in href", "<a href=\"{{url p->x}}{{url p->y}}\">", "2: {{url}} is the whole of href" },
		{ "block in href", "<a href=\"{{if p->x}}/a{{end}}\">", "2: a block in href" },
		{ "src of script", "<script src=\"{{url p->x}}\">", "2: <script> takes no values" },
		{ "href of link", "<link rel=\"stylesheet\" href=\"{{url p->x}}\">", "2: <link> takes no values" },
		{ "content of meta", "<meta name=\"x\" content=\"{{p->x}}\">", "2: <meta> takes no values" },
		{ "refresh", "<meta http-equiv=\"refresh\" content=\"0\">", "2: the attribute http-equiv" },
		{ "attribute that means more than text", "<form method=\"{{p->x}}\">", "2: the attribute method takes no value" },
		{ "url in text", "<p>{{url p->x}}</p>", "2: {{url}} belongs into href" },
		{ "url in another attribute", "<p class=\"{{url p->x}}\">", "2: {{url}} belongs into href" },
		{ "frame", "<iframe src=\"/\"></iframe>", "2: <iframe> is not among" },
		{ "base", "<base href=\"/\">", "2: <base> is not among" },
		{ "attribute of another namespace", "<a xlink:href=\"/\">", "2: ':' in the tag <a>" },
		{ "raw output by another name", "{{raw p->x}}", "2: {{raw p->x}} is neither" },
		{ "code", "{{f(p)}}", "2: {{f(p)}} is neither" },
		{ "code in if", "{{if p->n > 1}}{{end}}", "2: wanted {{if PATH}}" },
		{ "code in each", "{{each x in f(p)}}{{end}}", "2: wanted {{each NAME in PATH}}" },
		{ "code in url", "<a href=\"{{url f(p)}}\">", "2: wanted {{url PATH}}" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		check_refused(&rows[i]);
}

static void
html_that_is_not_whole_is_refused(void **state)
{
	static const struct bad rows[] = {
		{ "not closed", "<p>\n<b>x</b>\n", "2: <p> is not closed" },
		{ "closed twice", "<p></p></p>", "2: </p> closes nothing: <nothing> is open" },
		{ "crossed", "<p><b></p></b>", "2: </p> closes nothing: <b> is open" },
		{ "tag without end", "<p", "2: the tag <p> does not end" },
		{ "comment without end", "\n<!-- x", "3: the comment does not end" },
		{ "lone &", "a & b", "2: a lone &" },
		{ "lone & in an attribute", "<p title=\"a&b\">", "2: a lone &" },
		{ "lone & in an address", "<a href=\"/?a&b\">", "2: a lone &" },
		{ "lone <", "1 < 2", "2: a lone <" },
		{ "lone >", "1 > 2", "2: a lone >" },
		{ "lone < in an attribute", "<p title=\"<\">", "2: a lone <" },
		{ "XML's empty tag", "<br/>", "2: '/' in the tag <br>" },
		{ "capitals", "<P>", "2: <P> is not among" },
		{ "markup in title", "<title><b></b></title>", "2: markup in <title>" },
		{ "text in script", "<script src=\"/x.js\"> </script>", "2: script holds nothing" },
		{ "literal script address", "<a href=\"javascript:x\">", "2: \"javascript:x\" in href is no address" },
		{ "literal relative address", "<a href=\"x.html\">", "2: \"x.html\" in href is no address" },
		{ "attributes without space", "<p class=\"a\"id=\"b\">", "2: no space before an attribute" },
		{ "attribute behind a block", "<p {{if p->x}}class=\"a\"{{end}}id=\"b\">", "2: no space before an attribute" },
		{ "block not ended", "\n{{if p->x}}\n", "3: the block is not ended" },
		{ "end alone", "{{end}}", "2: {{end}} without a block" },
		{ "else alone", "{{else}}", "2: {{else}} without a block" },
		{ "else of each", "{{each x in p->y}}{{else}}{{end}}", "2: {{else}} belongs to one {{if}}" },
		{ "two else", "{{if p->x}}{{else}}{{else}}{{end}}", "2: {{else}} belongs to one {{if}}" },
		{ "opened in a block", "{{if p->x}}<p>{{end}}</p>", "2: <p> is not closed inside the block" },
		{ "closed in a block", "<p>{{if p->x}}</p>{{end}}", "2: </p> closes what was opened outside" },
		{ "block from text into a tag", "{{if p->x}}<p {{end}}>", "2: the block of line 2 does not end in the place" },
		{ "block from tag to tag", "<br {{if p->x}}><br {{end}}>", "2: the block of line 2 does not end in the place" },
		{ "block from value to value", "<p class=\"{{if p->x}}\" id=\"{{end}}\">", "2: the block of line 2 does not end" },
		{ "each in a tag", "<p {{each x in p->y}}a{{end}}>", "2: each in a tag" },
		{ "directive over two lines", "{{if\np->x}}", "2: {{ without }} on its line" },
		{ "control character", "a\x01", "1: a control character" },
		{ "Latin-1", "\xE6", "1: not UTF-8" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		check_refused(&rows[i]);
}

static void
a_template_says_first_what_it_is(void **state)
{
	static const char *const rows[] = { "", "<p></p>", "{{page x}}\n", "{{page x(const struct y *p) z.h}}\n",
		"{{page x(struct y *p) \"z.h\"}}\n", "{{page x;(const struct y *p) \"z.h\"}}\n", "\n" PAGE,
		"{{page x(const struct y *p) \"z.h\"}} \n", "{{page x(const struct y *p.q) \"z.h\"}}\n" };

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_err(ERR_INVALID, html_compile(slice_of(rows[i]), "page.html", &out, &e), &e);
		if (strstr(e.detail, "page.html:1: wanted {{page") == NULL)
			fail_msg("%s: %s", rows[i], e.detail);
	}
}

static void
text_becomes_string_literals_that_say_the_same(void **state)
{
	(void)state;
	assert_int_equal(compile(PAGE "<p title=\"&quot;\">\\ ?" "?= \"q\" \t&amp;\n<!-- gone -->\n{{if p->x}}\nyes\n{{end}}\n</p>\n"), 0);
	assert_non_null(strstr(out.p, "\"<p title=\\\"&quot;\\\">\\\\ \\?\\?= \\\"q\\\" \\t&amp;\\n\"));\n"
	    "#line 4 \"page.html\"\n\tif (_Generic((p->x), HTML_IF)(p->x)) {\n#line 5 \"page.html\"\n\tbuf_put(html_out, S(\"yes\\n\"));\n"
	    "#line 6 \"page.html\"\n\t}\n#line 7 \"page.html\"\n\tbuf_put(html_out, S(\"</p>\\n\"));\n}\n"));
	assert_null(strstr(out.p, "gone"));
}

/* ---- with a C compiler */

static char folder[] = "/tmp/sosigw-html-XXXXXX";

static const char page_h[] = "#include \"html.h\"\n"
	"struct row { struct slice name; struct html_url link; bool chosen; };\n"
	"struct page { struct slice title; const char *note; bool danish; long number; double odd;\n"
	"\tconst struct row *rows; size_t nrows; const struct slice *words; size_t nwords; };\n"
	"void write_page(struct buf *b, const struct page *p);\n";
static const char main_c[] = "#include \"page.h\"\n#include <stdio.h>\n"
	"int main(void)\n{\n\tstruct html_url u;\n\tstruct err e = { .kind = ERR_NONE };\n"
	"\tif (html_url_local(S(\"?a&b\"), &u, &e) < 0)\n\t\treturn 1;\n"
	"\tconst struct row rows[] = { { S(\"<1>\"), u, false }, { S(\"'2'\"), u, true } };\n"
	"\tconst struct slice words[] = { S(\"a\"), S(\"&\") };\n"
	"\tconst struct page p = { S(\"<T>\"), \"\\\"n\\\"\", true, -7, 0.5, rows, 2, words, 2 };\n"
	"\tstruct buf b;\n\tbuf_init(&b, 10000);\n\twrite_page(&b, &p);\n\tfwrite(b.p, 1, b.n, stdout);\n\tbuf_free(&b);\n\treturn 0;\n}\n";

static void
put_file(const char *name, const char *text)
{
	char path[100];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_int_equal(fclose(f), 0);
}

/* A shell command; its standard output and error are in said, its exit code is returned. */
static int
run(char *said, size_t size, const char *command)
{
	FILE *f = popen(command, "r");

	assert_non_null(f);
	size_t n = fread(said, 1, size - 1, f);
	said[n] = '\0';
	int status = pclose(f);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define COMPILER "cc -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wmissing-prototypes -Wshadow -Wcast-qual -Ilib/html -Ilib/base"
#define SOURCES "lib/html/html.c lib/base/buf.c lib/base/slice.c lib/base/arena.c lib/base/conv.c lib/base/err.c lib/base/must.c " \
	"lib/base/uri.c"

/* The C compiler on a template; what it says. */
static int
compile_c(const char *source, char *said, size_t size)
{
	char command[400];

	assert_ok(compile(source), &e);
	buf_putc(&out, '\0');
	put_file("page.html.c", out.p);
	snprintf(command, sizeof command, COMPILER " -I%s -fsyntax-only %s/page.html.c 2>&1", folder, folder);
	return run(said, size, command);
}

static void
a_wrong_field_is_the_c_compilers_error_at_its_line(void **state)
{
	static const struct { const char *note, *source, *where, *what; } rows[] = {
		{ "misspelt", "<p>\n\n{{p->titel}}</p>", "page.html:4:", "titel" },
		{ "misspelt, two on a line", "<p>{{p->title}}</p>\n<p>{{p->title}} {{p->tittle}}</p>", "page.html:3:", "tittle" },
		{ "misspelt in a row", "{{each r in p->rows}}\n<p>x</p>\n{{r->nam}}\n{{end}}", "page.html:4:", "nam" },
		{ "misspelt list", "\n{{each r in p->row}}{{r->name}}{{end}}", "page.html:3:", "row" },
		{ "misspelt condition", "\n{{if p->dansk}}\nx\n{{end}}", "page.html:3:", "dansk" },
		{ "behind a block on a line of its own", "{{if p->danish}}\n{{p->titel}}\n{{end}}\n", "page.html:3:", "titel" },
		{ "a bool is no text", "{{p->danish}}", "page.html:2:", "_Bool" },
		{ "a fraction is no text", "{{p->odd}}", "page.html:2:", "double" },
		{ "a row is no text", "{{each r in p->rows}}{{r}}{{end}}", "page.html:2:", "row" },
		{ "a number is no condition", "{{if p->number}}{{end}}", "page.html:2:", "long" },
		{ "a pointer is no condition", "{{if p->note}}{{end}}", "page.html:2:", "char" },
		{ "text is no address", "\n<a href=\"{{url p->title}}\">x</a>", "page.html:3:", "struct html_url" },
		{ "text is no list", "{{each r in p->title}}{{end}}", "page.html:2:", "title" },
		{ "another name", "{{q->title}}", "page.html:2:", "q" },
		{ "a row behind its block", "{{each r in p->rows}}{{r->name}}{{end}}{{r->name}}", "page.html:2:", "r" },
	};
	char said[8000], source[300];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		snprintf(source, sizeof source, PAGE "%s", rows[i].source);
		if (compile_c(source, said, sizeof said) == 0)
			fail_msg("%s compiles", rows[i].note);
		const char *first = strstr(said, ": error:");
		const char *where = strstr(said, rows[i].where);
		if (first == NULL || where == NULL || where > first || strstr(first, rows[i].what) == NULL)
			fail_msg("%s: %s", rows[i].note, said);
	}
}

static void
what_is_made_writes_the_page(void **state)
{
	static const char source[] = PAGE "<!DOCTYPE html>\n<html lang=\"{{if p->danish}}da{{else}}en{{end}}\">\n<!-- of\nno use -->\n"
		"<title>{{p->title}}</title>\n<select>\n{{each r in p->rows}}\n\t<option value=\"{{r->name}}\" {{if r->chosen}}selected{{end}}>"
		"{{r->name}}</option>\n{{end}}\n</select>\n{{each r in p->rows}}<a href=\"{{url r->link}}\">{{r->link}}</a>"
		"{{each w in p->words}} {{w}}{{end}}\n{{end}}<b title=\"{{p->note}}\">{{p->number}}</b>\n</html>\n";
	static const char wanted[] = "<!DOCTYPE html>\n<html lang=\"da\">\n<title>&lt;T&gt;</title>\n<select>\n"
		"\t<option value=\"&lt;1&gt;\" >&lt;1&gt;</option>\n\t<option value=\"&#39;2&#39;\" selected>&#39;2&#39;</option>\n</select>\n"
		"<a href=\"?a&amp;b\">?a&amp;b</a> a &amp;\n<a href=\"?a&amp;b\">?a&amp;b</a> a &amp;\n"
		"<b title=\"&quot;n&quot;\">-7</b>\n</html>\n";
	char said[8000], command[800];

	(void)state;
	if (compile_c(source, said, sizeof said) != 0)
		fail_msg("%s", said);
	snprintf(command, sizeof command, COMPILER " -I%s -o %s/main %s/page.html.c %s/main.c " SOURCES " -lcrypto 2>&1 && %s/main",
	    folder, folder, folder, folder, folder);
	assert_int_equal(run(said, sizeof said, command), 0);
	assert_string_equal(said, wanted);
}

static int
make_folder(void **state)
{
	(void)state;
	if (mkdtemp(folder) == NULL)
		return -1;
	put_file("page.h", page_h);
	put_file("main.c", main_c);
	return 0;
}

static int
remove_folder(void **state)
{
	static const char *const names[] = { "page.h", "main.c", "page.html.c", "main" };
	char path[100];

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(path, sizeof path, "%s/%s", folder, names[i]);
		unlink(path);
	}
	return rmdir(folder);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_value_where_escaping_is_not_enough_is_refused),
		cmocka_unit_test(html_that_is_not_whole_is_refused),
		cmocka_unit_test(a_template_says_first_what_it_is),
		cmocka_unit_test(text_becomes_string_literals_that_say_the_same),
		cmocka_unit_test(a_wrong_field_is_the_c_compilers_error_at_its_line),
		cmocka_unit_test(what_is_made_writes_the_page),
	};

	buf_init(&out, 1 << 20);
	int rc = cmocka_run_group_tests(tests, make_folder, remove_folder);
	buf_free(&out);
	return rc;
}
