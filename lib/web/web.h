/* web: what every page of the gateway shares: language, parameters, cookies, where a request came from, the headers that
 * an answer carries, and the page that says one thing. */
#ifndef WEB_WEB_H
#define WEB_WEB_H

#include "fcgi.h"
#include "html.h"

/* da or en: what the query says (lang=da), else what the browser prefers, else `otherwise`. */
bool web_is_danish(struct slice query, struct slice accept_language, bool otherwise);

/* ---- parameters: of a query, or of a form */

#define WEB_FIELDS_MAX 32
struct web_field { struct slice name, value; };
struct web_form { struct web_field fields[WEB_FIELDS_MAX]; size_t n; };
/* application/x-www-form-urlencoded. ERR_FORM: a broken escape, a NUL, what is no UTF-8, a name twice, too many fields. */
int web_form_parse(struct arena *a, struct slice text, struct web_form *out, struct err *e);
/* The value of that field; absent when there is none. */
struct slice web_form_value(const struct web_form *f, const char *name);
/* A form that was posted, of at most `most` bytes. ERR_FORM: another content type; ERR_BODY_TOO_BIG, ERR_BODY_CUT. */
int web_form_read(struct req *r, size_t most, struct web_form *out, struct err *e);

/* ---- cookies: one kind alone, bound to this host, unseen by script, sent with requests of our own pages only */

/* Of the header Cookie; absent when there is none of that name, or more than one. */
struct slice web_cookie(struct slice header, const char *name);
/* The value of Set-Cookie. name begins with "__Host-". Ends with the browser's session. */
struct slice web_set_cookie(struct arena *a, const char *name, struct slice value);

/* ---- where a request came from */

/* Whether a request that changes something was sent by a page of ours, as far as the browser tells (Sec-Fetch-Site, Origin). own:
 * our addresses, as "https://gw.example.dk"; absent ones are passed over. What a browser does not tell is not held against it: the
 * cookie above is not sent from other sites. */
bool web_is_from_here(struct slice fetch_site, struct slice origin, const struct slice *own, size_t nown);
/* The browser fetches what its user may not have asked for (yet). */
bool web_is_prefetch(struct req *r);

/* ---- the answer */

enum web_policy {
	WEB_NO_SCRIPT,
	WEB_SIGNER,	/* the signing component, and requests of its own to this server */
};
struct web_page {
	int status;
	bool danish;
	enum web_policy policy;
	struct slice set_cookie;	/* absent: none */
	const char *allow;		/* for 405 */
	struct slice html;		/* absent: the buffer it was written to has failed */
};
/* The page with the headers of its policy; without its body when the request is HEAD. */
int web_answer(struct req *r, const struct web_page *page, struct err *e);
/* The same for what a script asked: text/plain, no page. */
int web_answer_text(struct req *r, int status, struct slice text, struct err *e);
/* What a program fetches: of that type, no page. */
int web_answer_file(struct req *r, const char *type, struct slice text, struct err *e);
/* The browser is to GET that address, which is relative to what it asked for. */
int web_see_other(struct req *r, struct slice address, struct err *e);

/* ---- the page that says one thing: what happened, and what can be done */

struct web_message {
	bool danish;
	struct slice title;
	const struct slice *paragraphs;
	size_t nparagraphs;
	bool other, back;		/* there is such a link */
	struct html_url other_language;
	struct html_url back_link;
	struct slice back_text;
	struct slice request_id;	/* absent: nothing to report */
};
/* message.html */
void web_message_write(struct buf *b, const struct web_message *m);

#endif
