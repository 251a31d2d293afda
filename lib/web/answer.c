/* The headers of every page, in one place (docs/security.md tells what each is for). Reports of violations go to /sosigw/csp. */
#include "web.h"

#define COMMON "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; " \
	"frame-ancestors 'none'; report-uri /sosigw/csp; "

static const char *const policies[] = {
	[WEB_NO_SCRIPT] = COMMON "script-src 'none'",
	[WEB_SIGNER] = COMMON "script-src 'self'; connect-src 'self'; require-trusted-types-for 'script'; trusted-types sosi-xml",
};

static int
answer(struct req *r, int status, const struct req_header *headers, size_t n, struct slice body, struct err *e)
{
	if (body.p == NULL)
		return err_set(e, ERR_MEMORY, "page");
	if (req_answer(r, status, headers, n, e) < 0)
		return -1;
	return slice_is(req_param(r, "REQUEST_METHOD"), "HEAD") ? 0 : req_write(r, body, e);
}

int
web_answer(struct req *r, const struct web_page *page, struct err *e)
{
	struct req_header headers[12] = {
		{ "Content-Type", S("text/html; charset=utf-8") },
		{ "Content-Language", page->danish ? S("da") : S("en") },
		{ "Content-Security-Policy", slice_of(policies[page->policy]) },
		{ "X-Content-Type-Options", S("nosniff") },
		{ "Referrer-Policy", S("no-referrer") },
		{ "Cache-Control", S("no-store") },
		{ "Cross-Origin-Opener-Policy", S("same-origin") },
		{ "Cross-Origin-Resource-Policy", S("same-origin") },
		{ "Permissions-Policy", S("camera=(), microphone=(), geolocation=()") },
	};
	size_t n = 9;

	if (page->set_cookie.p != NULL)
		headers[n++] = (struct req_header){ "Set-Cookie", page->set_cookie };
	if (page->allow != NULL)
		headers[n++] = (struct req_header){ "Allow", slice_of(page->allow) };
	return answer(r, page->status, headers, n, page->html, e);
}

static int
answer_plain(struct req *r, int status, const char *type, struct slice text, struct err *e)
{
	const struct req_header headers[] = {
		{ "Content-Type", slice_of(type) },
		{ "X-Content-Type-Options", S("nosniff") },
		{ "Cache-Control", S("no-store") },
	};

	return answer(r, status, headers, sizeof headers / sizeof *headers, text, e);
}

int
web_answer_text(struct req *r, int status, struct slice text, struct err *e)
{
	return answer_plain(r, status, "text/plain; charset=utf-8", text, e);
}

int
web_answer_file(struct req *r, const char *type, struct slice text, struct err *e)
{
	return answer_plain(r, 200, type, text, e);
}

int
web_see_other(struct req *r, struct slice address, struct err *e)
{
	const struct req_header headers[] = {
		{ "Location", address },
		{ "Referrer-Policy", S("no-referrer") },
		{ "Cache-Control", S("no-store") },
	};

	if (address.p == NULL)
		return err_set(e, ERR_MEMORY, "address");
	return req_answer(r, 303, headers, sizeof headers / sizeof *headers, e);
}
