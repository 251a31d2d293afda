/* cards: the ID cards users hold, kept until they expire, and the orders that await a signature. */
#ifndef CARDS_CARDS_H
#define CARDS_CARDS_H

#include "cache.h"
#include "conf.h"
#include "db.h"
#include "idcard.h"
#include "pki.h"

/* The nodes of the static file, for cache_report; *conf points into the file and into nodes, which has room for
 * CACHE_NODES_MAX. ERR_CONFIG: there are more. */
int cards_cache_conf(const struct conf_file *f, struct cache_node *nodes, struct cache_conf *conf, struct err *e);
/* The same opened, with the keys of the key file. NULL with e filled. */
struct cache *cards_open_cache(const struct conf_file *f, struct err *e);

/* The list of what may not be used any more, for the one process of a server that keeps it: the file that workers need when they
 * start with the database away. list_file: where it is. ERR_CONFIG: the state folder's name is too long. */
struct withdrawn;
int cards_list_file(const struct conf_file *f, char *out, size_t size, struct err *e);
/* NULL with e filled. */
struct withdrawn *cards_list_new(const struct conf_file *f, struct db *db, const struct db_conf *listen, struct err *e);
/* To be called once a second: the database is told what it could not be told, what is old goes. ERR_DATABASE: later. */
int cards_list_tend(struct withdrawn *list, struct err *e);
void cards_list_free(struct withdrawn *list);

struct cards;
struct cards_conf {
	struct cache *cache;
	struct db *db;			/* revoked_card; may be NULL in tests */
	struct pki_revoked *revoked;	/* may be NULL */
	const struct db_conf *listen;	/* for NOTIFY of revoked cards; may be NULL */
	const char *file;		/* of what was revoked, for when the database is away; NULL: none */
};
struct cards *cards_new(const struct cards_conf *conf, struct err *e);
void cards_free(struct cards *c);
/* In which format cards and orders are written from now on (cluster.h). Before the first time: the oldest that is read. */
void cards_write_format(struct cards *c, int format);

/* Whose card: the caller's organisation and the text of NameID as sent (trimmed); for an organisation with session
 * ids that text is the session id. The two are never the same user, whatever the text: what was kept before the
 * organisation was set otherwise is not found after. */
struct cards_user {
	struct slice organisation, user;
	bool session;
};
/* A session id opens what a password opens: this stands for it where it would be seen, "session:" and the beginning of a
 * hash. Absent when memory ends. */
struct slice cards_session_mark(struct arena *a, struct slice id);
/* Whether a text has the form of a session id: 43 letters, digits, '-' and '_'. No kind of number that names a person is so long. */
bool cards_is_session(struct slice text);

struct card {			/* what is kept of an STS-signed card */
	struct slice xml;	/* the assertion, self-contained */
	struct slice id;	/* IDCardID given by the STS */
	struct slice system;
	struct slice user;	/* the NameID that it was ordered with */
	struct slice client;	/* id of the client by which its user signed in; absent: nobody knows */
	int64_t not_before, not_after, kept;	/* seconds UTC */
	struct pki_signer signer;	/* the user's certificate and its CA, for revocation at every use */
	bool signer_known;
};
/* ERR_NO_CARD; ERR_CARD_EXPIRED (also inside `margin` seconds of its end, and older than max_age when that is
 * not 0); ERR_CARD_REVOKED (logged out, revoked, or its signer's certificate on a list); ERR_CACHE. */
int cards_get(struct cards *c, struct arena *a, const struct cards_user *u, int64_t margin, int64_t max_age, struct card **out, struct err *e);
/* The same rules for a card that a client holds itself: ERR_CARD_REVOKED when it, or everything of its user, was logged
 * out here; ERR_CARD_EXPIRED. Of what is not known of it, an absent id or a time of 0, nothing is judged. */
int cards_check_own(struct cards *c, const struct cards_user *u, struct slice id, int64_t not_before, int64_t not_after,
    int64_t margin, int64_t max_age, struct err *e);
/* Keeps it for the rest of its life, removes the order. */
int cards_keep(struct cards *c, struct arena *a, const struct cards_user *u, const struct card *card, struct err *e);
/* Logout: card and order gone for good on every server, and the cards that were kept for that user before, which clients
 * may have kept themselves (cards_check_own). Without a card it succeeds too. *id: of the card that went (absent: none).
 * ERR_LOGOUT_UNCERTAIN when that cannot be made certain. */
int cards_forget(struct cards *c, struct arena *a, const struct cards_user *u, struct slice *id, struct err *e);

struct cards_order {		/* a card that awaits its user's signature */
	struct slice xml;	/* the unsigned assertion */
	struct slice signed_info;	/* the octets to sign */
	struct slice token;	/* of the signing URL */
	int64_t ordered, expires;
	struct slice client;	/* id of the client that ordered */
	struct slice user;	/* the NameID that it was ordered with */
};
/* Stores the order, or gives back the one that already awaits (mission 2.9): *out is the one in force. */
int cards_order(struct cards *c, struct arena *a, const struct cards_user *u, const struct cards_order *wanted, int64_t ttl, struct cards_order **out, struct err *e);
/* The order in force. ERR_NO_CARD when there is none. */
int cards_pending(struct cards *c, struct arena *a, const struct cards_user *u, struct cards_order **out, struct err *e);
/* Takes an order back, when the user says no; a card that the user holds stays. Without the order it succeeds too. */
int cards_withdraw(struct cards *c, struct arena *a, const struct cards_user *u, struct slice token, struct err *e);

/* ---- links.c: how a browser comes to sign an order (docs/interface.md)
 *
 * A link is the token in the address that a client hands to its user. Whoever opens it first has it: it becomes a page,
 * which belongs to that browser, and another link is the order's from then on. A page has one answer at a time, a token that
 * is taken once. All of it is in the cache and nowhere else, so it is the same on every server and outlives workers. */

struct cards_link {
	struct slice organisation, user;	/* whose order: struct cards_user */
	struct slice order;		/* its token: of no other order of that user */
	struct slice client, name, system;	/* as of the order: who ordered, NameID, ITSystemName; for the audit */
	int64_t ordered, opens_until, expires;	/* seconds UTC; expires: the order */
};
/* The link of that order, good for `seconds` from now: the one that was given before, as long as nobody has opened it.
 * system: ITSystemName of the order's card. ERR_CACHE. */
int cards_link(struct cards *c, struct arena *a, const struct cards_user *u, const struct cards_order *order,
    struct slice system, int64_t seconds, struct slice *token, struct err *e);
/* ERR_LINK_UNKNOWN: never given, or its order ended long ago; ERR_CACHE. */
int cards_link_find(struct cards *c, struct arena *a, struct slice token, struct cards_link **out, struct err *e);

struct cards_page {
	struct slice browser;	/* what tells that browser from others */
	struct slice answer;	/* token of the answer that is awaited */
	struct slice next;	/* the order's next link */
	int64_t until, most;	/* seconds UTC: when the answer is late; and when it is, however often it is put off */
};
/* Opens the link for one browser: *page->next is chosen here, and the page is kept until `expires`. ERR_CONFLICT: somebody has
 * opened it before. Of many at once, on any servers, at most one succeeds (cache_add). */
int cards_page_open(struct cards *c, struct arena *a, struct slice link, struct cards_page *page, int64_t expires, struct err *e);
/* *out NULL: nobody has opened it. until: with what was put off. */
int cards_page_find(struct cards *c, struct arena *a, struct slice link, struct cards_page **out, struct err *e);
/* Another answer for the page: for who has taken the one before, and for nobody else. */
int cards_page_renew(struct cards *c, struct arena *a, struct slice link, const struct cards_page *page, int64_t expires,
    struct err *e);
/* The answer is late only at page->until now. */
int cards_page_put_off(struct cards *c, struct arena *a, const struct cards_page *page, struct err *e);

enum cards_taken { CARDS_NOT_TAKEN, CARDS_ANSWERED, CARDS_CANCELLED };
/* Takes the page's answer, once. ERR_CONFLICT: it was taken before. */
int cards_answer_take(struct cards *c, const struct cards_page *page, enum cards_taken how, int64_t expires, struct err *e);
int cards_answer_taken(struct cards *c, struct arena *a, const struct cards_page *page, enum cards_taken *how, struct err *e);

#endif
