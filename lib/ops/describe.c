/* GET on the service's address: a page that explains it; with ?wsdl and ?xsd= its description, with the address that the
 * caller used. Open to everybody, as a description holds no secret, and not a call that the audit log would keep. */
#include "ops_private.h"

#include "log.h"
#include "page.h"
#include "web.h"

#define PLACEHOLDER "@ADDRESS@"
#define PATH "/sosigw/service/sosigw"
#define PROXY_PATH "/sosigw/proxy/soap-request"
#define DESCRIPTION_MAX (256u << 10)

static const struct {
	const char *query, *text;
} files[] = {
#include "wsdl_files.h"
};
#define NFILES (sizeof files / sizeof *files)

static bool
is_behind_front_proxy(struct ops *o, struct req *r)
{
	const struct conf *c = conf_hold(o->edge->live);

	if (c == NULL)
		return false;
	bool listed = access_is_front_proxy(c, req_param(r, "REMOTE_ADDR"));
	conf_release(o->edge->live, c);
	return listed;
}

/* The caller's address of this path: what it wrote to us, or, as a listed front proxy tells, to that. */
static struct slice
address(struct ops *o, struct req *r, const char *path)
{
	struct slice host = req_param(r, "HTTP_HOST");
	bool tls = slice_is(req_param(r, "HTTPS"), "on");

	if (is_behind_front_proxy(o, r)) {
		struct slice proto = access_nearest(req_param(r, "HTTP_X_FORWARDED_PROTO"));
		struct slice forwarded = access_nearest(req_param(r, "HTTP_X_FORWARDED_HOST"));
		tls = proto.p == NULL ? tls : slice_is_nocase(proto, "https");
		host = forwarded.p == NULL ? host : forwarded;
	}
	struct slice base = page_base(req_arena(r), tls, host, req_param(r, "SERVER_NAME"), req_param(r, "SERVER_PORT"));
	return arena_printf(req_arena(r), "%.*s%s", SLICE_FMT(base), path);
}

static void
put_with_address(struct buf *b, struct slice text, struct slice at)
{
	ptrdiff_t found;

	while ((found = slice_find(text, S(PLACEHOLDER))) >= 0) {
		buf_put(b, (struct slice){ text.p, (size_t)found });
		xml_put_text(b, at);
		text = slice_from(text, (size_t)found + sizeof PLACEHOLDER - 1);
	}
	buf_put(b, text);
}

static int
answer_file(struct ops *o, struct req *r, const char *text, struct err *e)
{
	struct buf b;

	buf_init(&b, DESCRIPTION_MAX);
	put_with_address(&b, slice_of(text), address(o, r, PATH));
	int rc = web_answer_file(r, "text/xml; charset=utf-8", buf_slice(&b), e);
	buf_free(&b);
	return rc;
}

static int
fill_schemas(struct page *p, struct arena *a, struct err *e)
{
	p->schemas = arena_alloc(a, NFILES * sizeof *p->schemas);
	if (p->schemas == NULL)
		return err_set(e, ERR_MEMORY, "page");
	for (size_t i = 0; i < NFILES; i++) {
		struct page_schema *s = &p->schemas[p->nschemas];
		struct slice query = slice_of(files[i].query);
		if (!slice_starts(query, S("xsd=")))
			continue;
		s->name = slice_from(query, 4);
		struct slice link = arena_printf(a, "?%.*s", SLICE_FMT(query));
		if (link.p == NULL)
			return err_set(e, ERR_MEMORY, "page");
		if (html_url_local(link, &s->link, e) < 0)
			return -1;
		p->nschemas++;
	}
	return 0;
}

/* What the configuration knows; the page is there without one too. */
static void
fill_from_conf(struct page *p, struct conf_live *live, struct req *r)
{
	const struct conf *c = conf_hold(live);

	p->danish = web_is_danish(req_param(r, "QUERY_STRING"), req_param(r, "HTTP_ACCEPT_LANGUAGE"), c == NULL || c->danish);
	if (c == NULL)
		return;
	p->message_kb = arena_printf(req_arena(r), "%lld", (long long)c->max_message >> 10);
	conf_release(live, c);
}

static int
show_page(struct ops *o, struct req *r, struct err *e)
{
	struct page p = { .address = address(o, r, PATH), .proxy = address(o, r, PROXY_PATH) };
	struct buf b;

	fill_from_conf(&p, o->edge->live, r);
	if (page_fill(&p, req_arena(r), e) < 0 || fill_schemas(&p, req_arena(r), e) < 0)
		return -1;
	buf_init(&b, DESCRIPTION_MAX);
	page_write(&b, &p);
	const struct web_page page = { .status = 200, .danish = p.danish, .html = buf_slice(&b) };
	int rc = web_answer(r, &page, e);
	buf_free(&b);
	return rc;
}

bool
ops_is_question(const struct req *r)
{
	struct slice method = req_param(r, "REQUEST_METHOD");

	return slice_is(method, "GET") || slice_is(method, "HEAD");
}

static int
describe(struct ops *o, struct req *r, struct err *e)
{
	struct slice query = req_param(r, "QUERY_STRING");

	for (size_t i = 0; i < NFILES; i++)
		if (slice_is_nocase(query, files[i].query))
			return answer_file(o, r, files[i].text, e);
	if (slice_starts(query, S("xsd=")))
		return web_answer_text(r, 404, S("There is no such schema; ?wsdl names them all.\n"), e);
	return show_page(o, r, e);
}

void
ops_describe(struct ops *o, struct req *r)
{
	struct err e = { .kind = ERR_NONE };

	if (describe(o, r, &e) < 0)
		log_err(LOG_INFO, "describe", req_id(r), &e);
}
