/* GET on the service's address: the WSDL and its schemas, with the address that the caller used. Open to
 * everybody, as a description holds no secret, and not a call that the audit log would keep. */
#include "ops_private.h"

#include "log.h"
#include "uri.h"

#define PLACEHOLDER "@ADDRESS@"
#define PATH "/sosigw/service/sosigw"
#define DESCRIPTION_MAX (128u << 10)

static const struct {
	const char *query, *text;
} files[] = {
#include "wsdl_files.h"
};

/* What the caller wrote before the path. Its Host header is repeated only when it is nothing but a host and a
 * port; otherwise Apache's own name is. */
static struct slice
address(struct req *r)
{
	const char *scheme = slice_is(req_param(r, "HTTPS"), "on") ? "https" : "http";
	struct slice host = req_param(r, "HTTP_HOST"), name = req_param(r, "SERVER_NAME");
	struct slice asked = arena_printf(req_arena(r), "%s://%.*s" PATH, scheme, SLICE_FMT(host));
	struct uri checked;

	if (host.p != NULL && uri_parse(asked, &checked) == 0 && slice_is(checked.path, PATH))
		return asked;
	return arena_printf(req_arena(r), "%s://%.*s" PATH, scheme, SLICE_FMT(name));
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
answer(struct req *r, int status, const char *type, struct slice body, struct err *e)
{
	const struct req_header headers[] = {
		{ "Content-Type", slice_of(type) },
		{ "X-Content-Type-Options", S("nosniff") },
		{ "Allow", S("GET, HEAD, POST") },
	};

	if (req_answer(r, status, headers, 3, e) < 0)
		return -1;
	return slice_is(req_param(r, "REQUEST_METHOD"), "HEAD") ? 0 : req_write(r, body, e);
}

static int
answer_file(struct req *r, const char *text, struct err *e)
{
	struct buf b;

	buf_init(&b, DESCRIPTION_MAX);
	put_with_address(&b, slice_of(text), address(r));
	int rc = b.failed ? err_set(e, ERR_MEMORY, "description") :
	    answer(r, 200, "text/xml; charset=utf-8", buf_slice(&b), e);
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
describe(struct req *r, struct err *e)
{
	struct slice query = req_param(r, "QUERY_STRING");

	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		if (slice_is_nocase(query, files[i].query))
			return answer_file(r, files[i].text, e);
	return answer(r, 404, "text/plain; charset=utf-8",
	    S("SOSI-GW card operations: POST SOAP 1.1 here; ?wsdl describes them.\n"), e);
}

void
ops_describe(struct req *r)
{
	struct err e = { .kind = ERR_NONE };

	if (describe(r, &e) < 0)
		log_err(LOG_INFO, "describe", req_id(r), &e);
}
