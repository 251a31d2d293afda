/* page: the page to sign on. The names that the script knows it by are in htdocs/signer-src. */
#ifndef SIGN_PAGE_H
#define SIGN_PAGE_H

#include "html.h"

struct sign_idp { struct slice name; struct html_url address; };
struct sign_page {
	bool danish;
	struct html_url other_language;
	struct html_url again;		/* the page itself; for one that came as the answer to a form */
	struct slice token;		/* of the answer, with its link before it */
	struct slice card, signed_info;	/* base64 of the octets */
	int64_t seconds;		/* left */
	int64_t now;			/* Unix time: the clock of a user's machine may be wrong */
	bool remember;			/* the administrator lets the browser keep the encrypted key file */
	bool refused;			/* the last answer was */
	struct slice refusal, advice, said;	/* why, what to do, and the words of the STS */
	struct slice request_id;	/* of the refusal */
	bool elsewhere;			/* the user can log in instead, with these: */
	const struct sign_idp *idps;
	size_t nidps;
};
struct sign_continue {
	bool danish;
	struct slice link, posted;
};
/* continue.html */
void sign_continue_write(struct buf *b, const struct sign_continue *p);
/* page.html */
void sign_page_write(struct buf *b, const struct sign_page *p);

#endif
