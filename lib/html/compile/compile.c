/* How it works: one pass over the template, which knows at every character whether it is between tags, in a tag or in
 * the value of an attribute. Characters are collected; a directive writes what was collected as a string literal and then
 * its own line of C, each behind a #line that points into the template. */
#include "compile.h"

#include "conv.h"
#include "html.h"

#include <string.h>

#define ELEMENTS_MAX 64		/* open at once */
#define BLOCKS_MAX 16
#define OUT_MAX (4u << 20)

enum place { TEXT, TAG, VALUE };

struct block {
	bool each, has_else;
	int line;
	/* where it began; both its branches must end in the same place */
	enum place place;
	size_t depth;			/* of open elements: none of those may be closed inside */
	unsigned tags, attributes;
};

struct compiler {
	const char *file;
	const char *source;		/* where it begins */
	struct slice rest;
	int line;
	const char *mark;		/* where the directive or comment we are at begins, */
	int mark_line;			/* and its line */
	struct buf *out, text;		/* text: literal HTML not yet written */
	int text_line;			/* where it began */
	struct err *e;

	enum place place;
	struct slice elements[ELEMENTS_MAX];
	int element_lines[ELEMENTS_MAX];
	size_t depth;
	struct slice element, attribute;	/* of the tag and the value we are in */
	bool gap;			/* in a tag: an attribute may begin here */
	unsigned tags, attributes;	/* counted from the beginning, so that each has a number */

	struct block blocks[BLOCKS_MAX];
	size_t nblocks;
};

static const char *const element_names[] = { "html", "head", "title", "meta", "link", "script", "body", "header", "nav", "main",
	"section", "article", "aside", "footer", "h1", "h2", "h3", "h4", "h5", "h6", "p", "div", "span", "a", "ul", "ol", "li", "dl",
	"dt", "dd", "table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "colgroup", "col", "pre", "code", "kbd", "samp",
	"var", "em", "strong", "small", "b", "i", "q", "abbr", "time", "mark", "br", "hr", "img", "form", "fieldset", "legend",
	"label", "input", "select", "optgroup", "option", "textarea", "button", "output", "progress", "meter", "details", "summary",
	"figure", "figcaption", "noscript", "svg", "g", "path", "rect", "circle", "line", "polyline", "polygon", "text", "desc", NULL };
/* have no end tag */
static const char *const void_names[] = { "meta", "link", "col", "br", "hr", "img", "input", NULL };
/* hold text alone: a browser reads no tag in them */
static const char *const text_only_names[] = { "title", "textarea", "option", "script", NULL };
/* load what runs or what styles */
static const char *const literal_names[] = { "script", "link", "meta", NULL };
static const char *const url_names[] = { "href", "src", "action", "formaction", NULL };
/* where a value does no harm whatever it is */
static const char *const value_names[] = { "class", "id", "lang", "dir", "title", "alt", "name", "value", "for", "placeholder",
	"datetime", "label", "min", "max", "step", "minlength", "maxlength", "rows", "cols", "size", "colspan", "rowspan", "scope",
	"headers", "width", "height", "low", "high", "optimum", "x", "y", "x1", "y1", "x2", "y2", "cx", "cy", "r", "rx", "ry", "d",
	"points", "viewBox", NULL };
/* make script, style or another page out of text */
static const char *const refused_names[] = { "style", "srcdoc", "srcset", "http-equiv", "ping", "background", NULL };

static bool
is_one_of(struct slice s, const char *const *names)
{
	for (; *names != NULL; names++)
		if (slice_is(s, *names))
			return true;
	return false;
}

/* Always -1. */
#define refuse(c, ...) refuse_at((c), (c)->line, __VA_ARGS__)
#define refuse_at(c, at_line, fmt, ...) err_set((c)->e, ERR_INVALID, "%s:%d: " fmt, (c)->file, (at_line), ##__VA_ARGS__)

/* ---- the source */

static bool
at(const struct compiler *c, const char *what)
{
	return slice_starts(c->rest, slice_of(what));
}

static char
next(const struct compiler *c)
{
	return c->rest.n > 0 ? c->rest.p[0] : '\0';
}

static struct slice
skip(struct compiler *c, size_t n)
{
	struct slice taken = { c->rest.p, n };

	for (size_t i = 0; i < n; i++)
		c->line += taken.p[i] == '\n';
	c->rest = slice_from(c->rest, n);
	return taken;
}

/* n characters of HTML, as they are. */
static struct slice
copy(struct compiler *c, size_t n)
{
	if (c->text.n == 0)
		c->text_line = c->line;
	struct slice taken = skip(c, n);
	buf_put(&c->text, taken);
	return taken;
}

static bool
is_blank(char x)
{
	return x == ' ' || x == '\t';
}

static bool
is_space(char x)
{
	return is_blank(x) || x == '\n';
}

static bool
is_letter(char x)
{
	return (x >= 'a' && x <= 'z') || (x >= 'A' && x <= 'Z');
}

static bool
is_name(char x)
{
	return is_letter(x) || (x >= '0' && x <= '9') || x == '-';
}

static size_t
name_length(struct slice s)
{
	size_t n = 0;

	while (n < s.n && is_name(s.p[n]))
		n++;
	return n;
}

/* ---- the C side */

static void
put_line(struct compiler *c, int line)
{
	buf_printf(c->out, "#line %d \"%s\"\n", line, c->file);
}

/* One character inside a C string literal; '?' because of trigraphs. */
static void
put_literal(struct buf *out, char x)
{
	if (x == '\n')
		buf_puts(out, "\\n");
	else if (x == '\t')
		buf_puts(out, "\\t");
	else if (x == '"' || x == '\\' || x == '?')
		buf_printf(out, "\\%c", x);
	else
		buf_putc(out, x);
}

static void
flush(struct compiler *c)
{
	struct slice s = buf_slice(&c->text);

	if (s.n == 0)
		return;
	put_line(c, c->text_line);
	buf_puts(c->out, "\tbuf_put(html_out, S(\"");
	for (size_t i = 0; i < s.n; i++) {
		put_literal(c->out, s.p[i]);
		if (s.p[i] == '\n' && i + 1 < s.n)
			buf_puts(c->out, "\"\n\t    \"");
	}
	buf_puts(c->out, "\"));\n");
	buf_clear(&c->text);
}

/* ---- directives */

/* A line that holds nothing but the block directive or comment just read does not reach the page. */
static void
swallow_line(struct compiler *c)
{
	size_t before = 0, after = 0;	/* blanks on its line */

	while (c->mark - before > c->source && is_blank(c->mark[-1 - (ptrdiff_t)before]))
		before++;
	while (after < c->rest.n && is_blank(c->rest.p[after]))
		after++;
	bool begins = c->mark - before == c->source || c->mark[-1 - (ptrdiff_t)before] == '\n';
	if (c->place != TEXT || !begins || after >= c->rest.n || c->rest.p[after] != '\n')
		return;
	c->text.n -= before;
	skip(c, after + 1);
}

static void
set_mark(struct compiler *c)
{
	c->mark = c->rest.p;
	c->mark_line = c->line;
}

/* What the directive becomes follows. */
static void
begin_statement(struct compiler *c)
{
	flush(c);
	put_line(c, c->mark_line);
}

/* name, name.name, name->name: nothing that calls, computes or changes. */
static bool
is_path(struct slice s)
{
	bool begins = true;	/* a name must begin here */

	for (size_t i = 0; i < s.n; i++) {
		char x = s.p[i];
		if (begins && !is_letter(x) && x != '_')
			return false;
		begins = x == '.' || (x == '-' && i + 1 < s.n && s.p[i + 1] == '>');
		if (x == '-' && begins)
			i++;
		else if (!begins && (!is_name(x) || x == '-') && x != '_')
			return false;
	}
	return s.n > 0 && !begins;
}

/* The list's length stands beside it: p->nlist for p->list, as everywhere in our structs. */
static void
put_count(struct buf *out, struct slice list)
{
	size_t last = list.n;

	while (last > 0 && list.p[last - 1] != '.' && list.p[last - 1] != '>')
		last--;
	buf_put(out, (struct slice){ list.p, last });
	buf_putc(out, 'n');
	buf_put(out, slice_from(list, last));
}

/* "x in path" */
static int
put_each(struct compiler *c, struct slice what)
{
	struct slice var, in;

	if (!slice_next(&what, ' ', &var) || !slice_next(&what, ' ', &in) || !slice_is(in, "in") ||
	    !is_path(var) || slice_find(var, S(".")) >= 0 || slice_find(var, S("->")) >= 0 || !is_path(what))
		return refuse(c, "wanted {{each NAME in PATH}}");
	if (c->place == TAG)
		return refuse(c, "each in a tag");
	swallow_line(c);
	begin_statement(c);
	buf_printf(c->out, "\tfor (size_t html_%zu = 0; html_%zu < ", c->nblocks, c->nblocks);
	put_count(c->out, what);
	buf_printf(c->out, "; html_%zu++) { const __typeof__(*%.*s) *%.*s = &%.*s[html_%zu];\n", c->nblocks, SLICE_FMT(what),
	    SLICE_FMT(var), SLICE_FMT(what), c->nblocks);
	return 0;
}

static int
put_if(struct compiler *c, struct slice what)
{
	if (!is_path(what))
		return refuse(c, "wanted {{if PATH}}");
	if (c->place == TAG && !c->gap)
		return refuse(c, "a space must stand before {{if}} in a tag");
	swallow_line(c);
	begin_statement(c);
	buf_printf(c->out, "\tif (_Generic((%.*s), HTML_IF)(%.*s)) {\n", SLICE_FMT(what), SLICE_FMT(what));
	return 0;
}

static int
begin_block(struct compiler *c, bool each, struct slice what)
{
	if (c->nblocks == BLOCKS_MAX)
		return refuse(c, "more than %d blocks in each other", BLOCKS_MAX);
	if (c->place == VALUE && is_one_of(c->attribute, url_names))
		return refuse(c, "a block in %.*s: one {{url PATH}} or plain text", SLICE_FMT(c->attribute));
	if (c->depth > 0 && c->place == TEXT && slice_is(c->elements[c->depth - 1], "script"))
		return refuse(c, "script holds nothing: put it into a file");
	if ((each ? put_each(c, what) : put_if(c, what)) < 0)
		return -1;
	c->blocks[c->nblocks++] = (struct block){ .each = each, .line = c->mark_line, .place = c->place, .depth = c->depth,
		.tags = c->tags, .attributes = c->attributes };
	return 0;
}

/* A branch ends where it began: in the same element, the same tag, the same value. */
static int
end_branch(struct compiler *c)
{
	const struct block *k = &c->blocks[c->nblocks - 1];
	if (c->depth > k->depth)
		return refuse(c, "<%.*s> is not closed inside the block", SLICE_FMT(c->elements[c->depth - 1]));
	if (c->place != k->place || (k->place != TEXT && c->tags != k->tags) || (k->place == VALUE && c->attributes != k->attributes))
		return refuse(c, "the block of line %d does not end in the place where it began", k->line);
	swallow_line(c);
	begin_statement(c);
	return 0;
}

static int
put_else(struct compiler *c)
{
	if (c->nblocks == 0)
		return refuse(c, "{{else}} without a block");
	struct block *k = &c->blocks[c->nblocks - 1];
	if (k->each || k->has_else)
		return refuse(c, "{{else}} belongs to one {{if}}");
	if (end_branch(c) < 0)
		return -1;
	k->has_else = true;
	c->gap = true;
	buf_puts(c->out, "\t} else {\n");
	return 0;
}

static int
put_end(struct compiler *c)
{
	if (c->nblocks == 0)
		return refuse(c, "{{end}} without a block");
	if (end_branch(c) < 0)
		return -1;
	c->nblocks--;
	c->gap = false;
	buf_puts(c->out, "\t}\n");
	return 0;
}

static bool
takes_value(struct slice attribute)
{
	return is_one_of(attribute, value_names) || slice_starts(attribute, S("data-")) || slice_starts(attribute, S("aria-"));
}

static int
put_url(struct compiler *c, struct slice path)
{
	bool begins = c->text.n > 0 && c->text.p[c->text.n - 1] == '"';

	if (!is_path(path))
		return refuse(c, "wanted {{url PATH}}");
	if (c->place != VALUE || !is_one_of(c->attribute, url_names))
		return refuse(c, "{{url}} belongs into href, src or action");
	if (is_one_of(c->element, literal_names))
		return refuse(c, "<%.*s> takes no values", SLICE_FMT(c->element));
	if (!begins || next(c) != '"')
		return refuse(c, "{{url}} is the whole of %.*s", SLICE_FMT(c->attribute));
	begin_statement(c);
	buf_printf(c->out, "\thtml_put_url(html_out, %.*s);\n", SLICE_FMT(path));
	return 0;
}

static int
put_value(struct compiler *c, struct slice path)
{
	if (!is_path(path))
		return refuse(c, "{{%.*s}} is neither a directive nor a field", SLICE_FMT(path));
	if (c->place == TAG)
		return refuse(c, "a value in the tag <%.*s>", SLICE_FMT(c->element));
	if (c->place == VALUE && is_one_of(c->element, literal_names))
		return refuse(c, "<%.*s> takes no values", SLICE_FMT(c->element));
	if (c->place == VALUE && is_one_of(c->attribute, url_names))
		return refuse(c, "%.*s takes {{url PATH}} only", SLICE_FMT(c->attribute));
	if (c->place == VALUE && !takes_value(c->attribute))
		return refuse(c, "the attribute %.*s takes no value", SLICE_FMT(c->attribute));
	if (c->place == TEXT && c->depth > 0 && slice_is(c->elements[c->depth - 1], "script"))
		return refuse(c, "script holds nothing: put it into a file");
	begin_statement(c);
	buf_printf(c->out, "\t_Generic((%.*s), HTML_PUT)(html_out, %.*s);\n", SLICE_FMT(path), SLICE_FMT(path));
	return 0;
}

static int
directive(struct compiler *c)
{
	ptrdiff_t end = slice_find(c->rest, S("}}"));
	struct slice what = { c->rest.p + 2, end < 0 ? 0 : (size_t)end - 2 }, word;

	if (end < 0 || memchr(what.p, '\n', what.n) != NULL)
		return refuse(c, "{{ without }} on its line");
	set_mark(c);
	skip(c, (size_t)end + 2);
	struct slice arguments = what;
	slice_next(&arguments, ' ', &word);
	if (slice_is(what, "else"))
		return put_else(c);
	if (slice_is(what, "end"))
		return put_end(c);
	if (slice_is(word, "each") || slice_is(word, "if"))
		return begin_block(c, slice_is(word, "each"), arguments);
	if (slice_is(word, "url"))
		return put_url(c, arguments);
	return put_value(c, what);
}

/* ---- the HTML side */

/* &name; or &#number; */
static int
reference(struct compiler *c)
{
	size_t n = 1 + (c->rest.n > 1 && c->rest.p[1] == '#');
	size_t name = name_length(slice_from(c->rest, n));

	if (name == 0 || n + name >= c->rest.n || c->rest.p[n + name] != ';')
		return refuse(c, "a lone &: write &amp;");
	copy(c, n + name + 1);
	return 0;
}

static int
comment(struct compiler *c)
{
	ptrdiff_t end = slice_find(slice_from(c->rest, 4), S("-->"));

	if (end < 0)
		return refuse(c, "the comment does not end");
	if (slice_find((struct slice){ c->rest.p, (size_t)end + 4 }, S("{{")) >= 0)
		return refuse(c, "a directive in a comment");
	set_mark(c);
	skip(c, (size_t)end + 7);
	swallow_line(c);
	return 0;
}

static int
end_tag(struct compiler *c)
{
	struct slice name = { c->rest.p + 2, name_length(slice_from(c->rest, 2)) };
	size_t floor = c->nblocks > 0 ? c->blocks[c->nblocks - 1].depth : 0;

	if (slice_starts(slice_from(c->rest, 2), S("{{")))
		return refuse(c, "a value in the name of a tag");
	if (c->depth == 0 || !slice_eq(c->elements[c->depth - 1], name))
		return refuse(c, "</%.*s> closes nothing: <%.*s> is open", SLICE_FMT(name),
		    SLICE_FMT(c->depth == 0 ? S("nothing") : c->elements[c->depth - 1]));
	if (c->depth <= floor)
		return refuse(c, "</%.*s> closes what was opened outside the block", SLICE_FMT(name));
	if (!slice_starts(slice_from(c->rest, 2 + name.n), S(">")))
		return refuse(c, "</%.*s without >", SLICE_FMT(name));
	copy(c, name.n + 3);
	c->depth--;
	return 0;
}

static int
begin_tag(struct compiler *c)
{
	struct slice name = { c->rest.p + 1, name_length(slice_from(c->rest, 1)) };

	if (slice_starts(slice_from(c->rest, 1), S("{{")))
		return refuse(c, "a value in the name of a tag");
	if (name.n == 0)
		return refuse(c, "a lone <: write &lt;");
	if (!is_one_of(name, element_names))
		return refuse(c, "<%.*s> is not among the elements of our pages", SLICE_FMT(name));
	copy(c, name.n + 1);
	if (at(c, "{{"))
		return refuse(c, "a value in the name of a tag");
	c->place = TAG;
	c->element = name;
	c->gap = false;
	c->tags++;
	return 0;
}

static int
markup(struct compiler *c)
{
	struct slice open = c->depth == 0 ? S("") : c->elements[c->depth - 1];

	if (at(c, "</"))
		return end_tag(c);
	if (is_one_of(open, text_only_names))
		return refuse(c, "markup in <%.*s>", SLICE_FMT(open));
	if (at(c, "<!--"))
		return comment(c);
	if (at(c, "<!DOCTYPE html>") && c->tags == 0) {
		copy(c, strlen("<!DOCTYPE html>"));
		return 0;
	}
	return begin_tag(c);
}

static int
in_text(struct compiler *c)
{
	if (next(c) == '<')
		return markup(c);
	if (c->depth > 0 && slice_is(c->elements[c->depth - 1], "script"))
		return refuse(c, "script holds nothing: put it into a file");
	if (next(c) == '&')
		return reference(c);
	if (next(c) == '>')
		return refuse(c, "a lone >: write &gt;");
	copy(c, 1);
	return 0;
}

/* A literal address is held to what a value would be. */
static int
check_literal_url(struct compiler *c)
{
	const char *end = memchr(c->rest.p, '"', c->rest.n);
	struct slice text = { c->rest.p, end == NULL ? c->rest.n : (size_t)(end - c->rest.p) };
	struct html_url ignored;
	struct err none = { .kind = ERR_NONE };

	if (slice_find(text, S("{{")) >= 0)
		return refuse(c, "{{url}} is the whole of %.*s", SLICE_FMT(c->attribute));
	if (html_url_local(text, &ignored, &none) < 0 && html_url_checked(text, &ignored, &none) < 0)
		return refuse(c, "\"%.*s\" in %.*s is no address", SLICE_FMT(text), SLICE_FMT(c->attribute));
	return 0;
}

/* HTML takes ONCLICK for onclick. */
static bool
has_capital(struct slice name)
{
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] >= 'A' && name.p[i] <= 'Z')
			return !slice_is(name, "viewBox");
	return false;
}

static int
attribute(struct compiler *c)
{
	struct slice name = { c->rest.p, name_length(c->rest) };

	if (!c->gap)
		return refuse(c, "no space before an attribute in <%.*s>", SLICE_FMT(c->element));
	if (has_capital(name))
		return refuse(c, "the attribute %.*s in capitals", SLICE_FMT(name));
	if (slice_starts(name, S("on")) || is_one_of(name, refused_names))
		return refuse(c, "the attribute %.*s: script and style are files", SLICE_FMT(name));
	copy(c, name.n);
	c->gap = false;
	if (at(c, "{{") && !at(c, "{{else}}") && !at(c, "{{end}}"))
		return refuse(c, "a value in the name of an attribute");
	if (next(c) != '=')
		return 0;
	copy(c, 1);
	if (next(c) != '"')
		return refuse(c, "the attribute %.*s without double quotes", SLICE_FMT(name));
	copy(c, 1);
	c->place = VALUE;
	c->attribute = name;
	c->attributes++;
	return is_one_of(name, url_names) && !at(c, "{{") ? check_literal_url(c) : 0;
}

static int
close_tag(struct compiler *c)
{
	copy(c, 1);
	c->place = TEXT;
	if (is_one_of(c->element, void_names))
		return 0;
	if (c->depth == ELEMENTS_MAX)
		return refuse(c, "more than %d open elements", ELEMENTS_MAX);
	c->element_lines[c->depth] = c->line;
	c->elements[c->depth++] = c->element;
	return 0;
}

static int
in_tag(struct compiler *c)
{
	char x = next(c);

	if (is_space(x)) {
		copy(c, 1);
		c->gap = true;
		return 0;
	}
	if (x == '>')
		return close_tag(c);
	if (is_letter(x))
		return attribute(c);
	return refuse(c, "'%c' in the tag <%.*s>", x, SLICE_FMT(c->element));
}

static int
in_value(struct compiler *c)
{
	char x = next(c);

	if (x == '"') {
		copy(c, 1);
		c->place = TAG;
		return 0;
	}
	if (x == '&')
		return reference(c);
	if (x == '<' || x == '>')
		return refuse(c, "a lone %c: write %s", x, x == '<' ? "&lt;" : "&gt;");
	copy(c, 1);
	return 0;
}

/* ---- the whole */

/* What follows `lead` in s up to `end`; absent when it is not so. *s goes on behind it. */
static struct slice
between(struct slice *s, const char *lead, const char *end)
{
	struct slice found = { NULL, 0 };
	size_t skipped = strlen(lead);
	ptrdiff_t n = slice_starts(*s, slice_of(lead)) ? slice_find(slice_from(*s, skipped), slice_of(end)) : -1;

	if (n >= 0) {
		found = (struct slice){ s->p + skipped, (size_t)n };
		*s = slice_from(*s, skipped + (size_t)n);
	}
	return found;
}

static bool
is_identifier(struct slice s)
{
	return is_path(s) && slice_find(s, S(".")) < 0 && slice_find(s, S("->")) < 0;
}

static int
first_line(struct compiler *c)
{
	struct slice rest = c->rest;
	struct slice function = between(&rest, "{{page ", "("), type = between(&rest, "(const struct ", " *");
	struct slice parameter = between(&rest, " *", ")"), header = between(&rest, ") \"", "\"");

	if (!is_identifier(function) || !is_identifier(type) || !is_identifier(parameter) || header.n == 0 ||
	    memchr(header.p, '\n', header.n) != NULL || !slice_starts(rest, S("\"}}\n")))
		return refuse(c, "wanted {{page FUNCTION(const struct TYPE *NAME) \"HEADER\"}} as the first line");
	buf_printf(c->out, "/* Made of %s; change that. */\n#include \"%.*s\"\n#include \"html.h\"\n\n", c->file, SLICE_FMT(header));
	put_line(c, 1);
	buf_printf(c->out, "void %.*s(struct buf *html_out, const struct %.*s *%.*s)\n{\n\t(void)%.*s;\n", SLICE_FMT(function),
	    SLICE_FMT(type), SLICE_FMT(parameter), SLICE_FMT(parameter));
	skip(c, (size_t)(rest.p - c->rest.p) + 4);
	return 0;
}

static int
step(struct compiler *c)
{
	if (at(c, "{{"))
		return directive(c);
	switch (c->place) {
	case TAG:
		return in_tag(c);
	case VALUE:
		return in_value(c);
	default:
		return in_text(c);
	}
}

static int
last_line(struct compiler *c)
{
	if (c->nblocks > 0)
		return refuse_at(c, c->blocks[c->nblocks - 1].line, "the block is not ended");
	if (c->place != TEXT)
		return refuse(c, "the tag <%.*s> does not end", SLICE_FMT(c->element));
	if (c->depth > 0)
		return refuse_at(c, c->element_lines[c->depth - 1], "<%.*s> is not closed", SLICE_FMT(c->elements[c->depth - 1]));
	flush(c);
	buf_puts(c->out, "}\n");
	return c->out->failed || c->text.failed ? err_set(c->e, ERR_MEMORY, "%s: too long", c->file) : 0;
}

static int
check_characters(struct compiler *c)
{
	for (size_t i = 0; i < c->rest.n; i++)
		if ((unsigned char)c->rest.p[i] < ' ' && !is_space(c->rest.p[i]))
			return refuse(c, "a control character");
	return conv_is_utf8(c->rest) ? 0 : refuse(c, "not UTF-8");
}

int
html_compile(struct slice source, const char *file, struct buf *out, struct err *e)
{
	struct compiler c = { .file = file, .source = source.p, .rest = source, .line = 1, .out = out, .e = e };

	buf_init(&c.text, OUT_MAX);
	int rc = check_characters(&c) < 0 || first_line(&c) < 0 ? -1 : 0;
	while (rc == 0 && c.rest.n > 0)
		rc = step(&c);
	if (rc == 0)
		rc = last_line(&c);
	buf_free(&c.text);
	return rc;
}
