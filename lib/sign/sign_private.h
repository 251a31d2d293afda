/* What the files of sign share. */
#ifndef SIGN_PRIVATE_H
#define SIGN_PRIVATE_H

#include "sign.h"

#include "report.h"
#include "web.h"

#define SIGN_COOKIE "__Host-sosigw-sign"

struct sign {
	struct edge *edge;
	const struct signing *signing;
	struct report *reports;
};

/* One request. */
struct visit {
	struct sign *sign;
	struct edge_call call;
	bool danish;
	bool by_script;			/* a script or program asks: words, no page */
	const char *allow;		/* the methods of what was asked for; NULL: nothing of ours */
	struct slice token;		/* of the link; absent when none was found */
	struct cards_link *link;	/* NULL: not found */
	struct cards_page *page;	/* NULL: nobody has opened it */
	const struct conf_organisation *organisation;	/* whose order it is */
	struct slice answer;		/* the answer's token that was posted */
	struct web_form form;
	int64_t signed_until;		/* of the card that the user has, as shown; 0: none */
};

/* Each fills v->call.err and returns -1, or has answered. */

/* start.c: the link is opened, or shown again to the browser that opened it. */
int sign_start(struct visit *v);
/* Sends the browser to the link by GET. */
int sign_again(struct visit *v);
/* answer.c */
int sign_answer(struct visit *v);
int sign_extend(struct visit *v);
int sign_cancel(struct visit *v);
/* Sent by a page of ours? */
int answer_check_origin(struct visit *v);
/* The page's one answer is taken; then it is one or the other. */
int answer_take(struct visit *v, enum cards_taken how);
int answer_say_signed(struct visit *v);
int answer_let_try_again(struct visit *v);

/* idp.c: logging in elsewhere */
int sign_acs(struct visit *v);
int sign_login(struct visit *v);
int sign_metadata(struct visit *v);
struct sign_page;
int idp_fill(struct visit *v, struct sign_page *p);

/* visit.c: what both need */

/* NULL: there is none of that id. */
const struct conf_organisation *visit_organisation(const struct visit *v, struct slice id);
/* The link of that token, whose it is, and the page that was made of it. Notes in the audit whose signing it is. */
int visit_find(struct visit *v, struct slice token);
/* Whether the browser that asks is the one that opened the page. */
bool visit_is_same_browser(const struct visit *v);
/* The user that the order belongs to. */
struct cards_user visit_user(const struct visit *v);
/* The order, as long as it stands. ERR_ORDER_GONE; ERR_SIGNED_ALREADY when it was signed. */
int visit_order(struct visit *v, struct cards_order **order);
/* Whether the page's answer was taken: ERR_ANSWER_USED, ERR_LINK_CANCELLED, ERR_SIGNED_ALREADY. */
int visit_check_taken(struct visit *v);
/* A new answer for v->page: its token and its times. */
int visit_new_answer(struct visit *v);

/* show.c: the pages. Each answers the request; -1 with e when the answer could not be sent. */

/* The page to sign on; failed: why the last answer was refused, or NULL. */
int show_sign_page(struct visit *v, const struct cards_order *order, struct slice set_cookie, const struct err *failed,
    struct err *e);
int show_signed(struct visit *v, struct err *e);
int show_continue(struct visit *v, struct slice posted, struct err *e);
int show_cancelled(struct visit *v, struct err *e);
/* v->call.err as a page, with what can be done about it. */
int show_refusal(struct visit *v, struct err *e);

#endif
