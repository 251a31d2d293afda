/* Cards and orders lie in the cache under their user's name. A logout deletes them there on every node; a node that
 * was away at that moment may come back with an old copy, so what was logged out is also written to revoked_card in
 * the database, which tells every process, and a card on that list is refused wherever it was found:
 *
 * - the id of the card, when one was found;
 * - when a node could not be asked, the user as well (tag_of): whatever that node holds of the user, cards and orders
 *   kept up to that moment are dead. Clocks of servers may differ by SKEW_MS, hence the margin; a card that is kept
 *   after such a logout gets a stamp behind it, so the user can sign in again at once;
 * - the ids of the cards that were kept for the user before, as long as they live: clients may have kept them too.
 *
 * A logout is reported as done when every copy is certainly deleted or the database has it. */
#include "cards_private.h"

#include "clock.h"
#include "conv.h"
#include "formats.h"
#include "log.h"
#include "value.h"
#include "withdrawn.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	SKEW_MS = 10 * 1000,
	ORDER_TRIES = 4,
	TAG = 5 + 64,		/* "user:" and a hash in hex */
};

struct cards {
	struct cache *cache;
	struct pki_revoked *certificates;
	struct withdrawn *withdrawn;
	atomic_int format;		/* that is written */
};

/* ---- life */

struct cards *
cards_new(const struct cards_conf *conf, struct err *e)
{
	const struct withdrawn_conf withdrawn = { .db = conf->db, .listen = conf->listen, .file = conf->file };
	struct cards *c = calloc(1, sizeof *c);

	if (c == NULL) {
		err_set(e, ERR_MEMORY, "cards");
		return NULL;
	}
	atomic_init(&c->format, format_before(FORMAT_CARD));
	c->cache = conf->cache;
	c->certificates = conf->revoked;
	c->withdrawn = withdrawn_new(&withdrawn, e);
	if (c->withdrawn == NULL) {
		free(c);
		return NULL;
	}
	return c;
}

void
cards_free(struct cards *c)
{
	if (c == NULL)
		return;
	withdrawn_free(c->withdrawn);
	free(c);
}

int
cards_format(struct cards *c)
{
	return atomic_load(&c->format);
}

void
cards_write_format(struct cards *c, int format)
{
	atomic_store(&c->format, format);
}

/* ---- names */

static struct cache_name
name_of(struct slice kind, const struct cards_user *u)
{
	return (struct cache_name){ kind, u->organisation, slice_trim(u->user) };
}

static struct slice
card_kind(const struct cards_user *u)
{
	return u->session ? S("session card") : S("card");
}

static struct slice
order_kind(const struct cards_user *u)
{
	return u->session ? S("session order") : S("order");
}

static struct slice
older_kind(const struct cards_user *u)
{
	return u->session ? S("session older") : S("older");
}

/* A user without a name would share a card with every other such one. */
static int
check_user(const struct cards_user *u, struct err *e)
{
	if (u->organisation.n == 0 || slice_trim(u->user).n == 0)
		return err_set(e, ERR_INTERNAL, "a card needs a user and an organisation");
	return 0;
}

/* The user in revoked_card. A plain hash: it must be the same whatever the cache's keys are. */
static struct slice
tag_of(const struct cards_user *u, char tag[TAG + 1])
{
	const struct slice parts[] = { u->organisation, slice_trim(u->user), S("session") };
	uint8_t hash[32];

	conv_hmac(S("sosigw revoked user"), parts, u->session ? 3 : 2, hash);
	memcpy(tag, "user:", 5);
	for (size_t i = 0; i < sizeof hash; i++)
		snprintf(tag + 5 + 2 * i, 3, "%02x", hash[i]);
	return (struct slice){ tag, TAG };
}

/* The last moment up to which everything of the user is dead, in milliseconds; 0: never revoked. */
static int64_t
dead_until(struct cards *c, const struct cards_user *u)
{
	char tag[TAG + 1];
	int64_t when;

	if (!withdrawn_any_user(c->withdrawn) || !withdrawn_has(c->withdrawn, tag_of(u, tag), &when))
		return 0;
	return when + SKEW_MS;
}

static int64_t
stamp_for(struct cards *c, const struct cards_user *u)
{
	int64_t now = clock_now_ms(), dead = dead_until(c, u);

	return now > dead ? now : dead + 1;
}

/* ---- cards */

/* *card NULL: none. */
static int
fetch(struct cards *c, struct arena *a, const struct cards_user *u, bool newest, struct card **card, int64_t *stamp,
    struct err *e)
{
	struct cache_name name = name_of(card_kind(u), u);
	struct slice bytes = { NULL, 0 };

	*card = NULL;
	if ((newest ? cache_get_newest : cache_get)(c->cache, a, &name, &bytes, e) < 0)
		return -1;
	if (bytes.p == NULL)
		return 0;
	struct card *got = arena_alloc(a, sizeof *got);
	if (got == NULL)
		return err_set(e, ERR_MEMORY, "a card");
	if (value_read_card(bytes, got, stamp))
		*card = got;
	return 0;
}

struct demand { int64_t margin, max_age; };

/* ERR_NONE: it may be used. *why: words for the log. */
static enum err_kind
judge(struct cards *c, const struct cards_user *u, const struct card *card, int64_t stamp, const struct demand *d,
    const char **why)
{
	int64_t now = clock_now(), when;

	*why = "was logged out or revoked";
	if (withdrawn_has(c->withdrawn, card->id, &when) || stamp <= dead_until(c, u))
		return ERR_CARD_REVOKED;
	*why = "was signed with a certificate that is revoked now, or its CA is";
	if (c->certificates != NULL && card->signer_known && pki_revoked_has_signer(c->certificates, &card->signer))
		return ERR_CARD_REVOKED;
	*why = "has expired, or nearly so";
	if (card->not_after - d->margin <= now)
		return ERR_CARD_EXPIRED;
	*why = "is older than the service allows";
	if (d->max_age != 0 && now - card->not_before > d->max_age)
		return ERR_CARD_EXPIRED;
	return ERR_NONE;
}

int
cards_get(struct cards *c, struct arena *a, const struct cards_user *u, int64_t margin, int64_t max_age,
    struct card **out, struct err *e)
{
	const struct demand demand = { margin, max_age };
	const char *why;
	int64_t stamp;

	if (check_user(u, e) < 0 || fetch(c, a, u, false, out, &stamp, e) < 0)
		return -1;
	if (*out != NULL && judge(c, u, *out, stamp, &demand, &why) == ERR_NONE)
		return 0;
	/* A node that was away may have given an old card while the new one is elsewhere. */
	if (*out != NULL && fetch(c, a, u, true, out, &stamp, e) < 0)
		return -1;
	if (*out == NULL)
		return err_set(e, ERR_NO_CARD, "none in the cache");
	enum err_kind kind = judge(c, u, *out, stamp, &demand, &why);
	if (kind == ERR_NONE)
		return 0;
	return err_set(e, kind, "card %.*s %s", SLICE_FMT((*out)->id), why);
}

int
cards_check_own(struct cards *c, const struct cards_user *u, struct slice id, int64_t not_before, int64_t not_after,
    int64_t margin, int64_t max_age, struct err *e)
{
	int64_t now = clock_now(), when;

	if (id.p != NULL && withdrawn_has(c->withdrawn, id, &when))
		return err_set(e, ERR_CARD_REVOKED, "card %.*s was logged out or revoked", SLICE_FMT(id));
	if (not_before != 0 && not_before * 1000 <= dead_until(c, u))
		return err_set(e, ERR_CARD_REVOKED, "card %.*s is from before a logout", SLICE_FMT(id));
	if (not_after != 0 && not_after - margin <= now)
		return err_set(e, ERR_CARD_EXPIRED, "card %.*s has expired, or nearly so", SLICE_FMT(id));
	if (max_age != 0 && not_before != 0 && now - not_before > max_age)
		return err_set(e, ERR_CARD_EXPIRED, "card %.*s is older than the service allows", SLICE_FMT(id));
	return 0;
}

static void
drop_order(struct cards *c, const struct cards_user *u)
{
	struct cache_name name = name_of(order_kind(u), u);
	struct err ignored = { 0 };	/* it ends by itself soon */
	bool certain;

	cache_delete(c->cache, &name, &certain, &ignored);
}

/* Behind the others; those that have ended go, and when that is not enough the one that was added first. */
static void
add_older(struct cards_older *older, const struct card *card, int64_t now)
{
	size_t n = 0;

	for (size_t i = older->n == CARDS_OLDER_MOST ? 1 : 0; i < older->n; i++)
		if (older->cards[i].not_after > now)
			older->cards[n++] = older->cards[i];
	older->cards[n].id = card->id;
	older->cards[n].not_after = card->not_after;
	older->n = n + 1;
}

/* The card that is kept now makes way for another, but clients may have it. When that cannot be noted a logout does not
 * reach it: not a reason to keep the user from working. */
static void
note_older(struct cards *c, struct arena *a, const struct cards_user *u, struct slice id)
{
	struct cache_name name = name_of(older_kind(u), u);
	struct cards_older older = { .n = 0 };
	struct slice bytes = { NULL, 0 };
	struct err unread = { 0 };
	int64_t stamp;
	struct card *now;

	if (fetch(c, a, u, false, &now, &stamp, &unread) < 0 || now == NULL || slice_eq(now->id, id) ||
	    now->not_after <= clock_now() || cache_get(c->cache, a, &name, &bytes, &unread) < 0)
		return;
	if (bytes.p != NULL && !value_read_older(bytes, &older))
		older.n = 0;
	add_older(&older, now, clock_now());
	bytes = value_of_older(a, &older, cards_format(c));
	if (bytes.p == NULL || cache_set(c->cache, &name, bytes, CACHE_TTL_MAX, &unread) < 0)
		log_msg(LOG_WARN, "older-card", "card %.*s will not be logged out with its successor: %s", SLICE_FMT(now->id),
		    unread.detail);
}

int
cards_keep(struct cards *c, struct arena *a, const struct cards_user *u, const struct card *card, struct err *e)
{
	struct cache_name name = name_of(card_kind(u), u);
	int64_t left = card->not_after - clock_now();

	if (check_user(u, e) < 0)
		return -1;
	if (left <= 0)
		return err_set(e, ERR_CARD_EXPIRED, "card %.*s has ended already", SLICE_FMT(card->id));
	struct slice bytes = value_of_card(a, card, stamp_for(c, u), cards_format(c));
	if (bytes.p == NULL)
		return err_set(e, ERR_MEMORY, "a card of %zu bytes", card->xml.n);
	note_older(c, a, u, card->id);
	if (cache_set(c->cache, &name, bytes, left < CACHE_TTL_MAX ? left : CACHE_TTL_MAX, e) < 0)
		return -1;
	drop_order(c, u);
	return 0;
}

/* Deleted wherever it may be? */
static bool
erase(struct cards *c, struct slice kind, const struct cards_user *u)
{
	struct cache_name name = name_of(kind, u);
	struct err ignored = { 0 };	/* what follows from it is that nothing is certain */
	bool certain;

	return cache_delete(c->cache, &name, &certain, &ignored) == 0 && certain;
}

static int
revoke_older(struct cards *c, struct arena *a, const struct cards_user *u, struct err *e)
{
	struct cache_name name = name_of(older_kind(u), u);
	struct cards_older older;
	struct slice bytes = { NULL, 0 };
	struct err unread = { 0 };
	int rc = 0;

	if (cache_get_newest(c->cache, a, &name, &bytes, &unread) < 0 || bytes.p == NULL || !value_read_older(bytes, &older))
		return 0;
	for (size_t i = 0; i < older.n; i++)
		if (older.cards[i].not_after > clock_now() &&
		    withdrawn_put(c->withdrawn, a, older.cards[i].id, older.cards[i].not_after, e) < 0)
			rc = -1;
	if (rc == 0)
		erase(c, older_kind(u), u);
	return rc;
}

int
cards_forget(struct cards *c, struct arena *a, const struct cards_user *u, struct slice *id, struct err *e)
{
	struct err unread = { 0 }, why = { 0 };
	char tag[TAG + 1];
	struct card *card;
	int64_t stamp;
	bool listed = true;

	*id = (struct slice){ NULL, 0 };
	if (check_user(u, e) < 0)
		return -1;
	fetch(c, a, u, true, &card, &stamp, &unread);		/* unread is as none */
	if (card != NULL)
		*id = card->id;
	bool erased = erase(c, card_kind(u), u);
	erased = erase(c, order_kind(u), u) && erased;
	if (card != NULL)
		listed = withdrawn_put(c->withdrawn, a, card->id, card->not_after, &why) == 0;
	listed = revoke_older(c, a, u, &why) == 0 && listed;
	if (!erased)
		listed = withdrawn_put(c->withdrawn, a, tag_of(u, tag), clock_now() + CACHE_TTL_MAX, &why) == 0 && listed;
	if (!erased && !listed)
		return err_set(e, ERR_LOGOUT_UNCERTAIN, "a cache node could not be asked, and %s: %s",
		    err_name(why.kind), why.detail);
	return 0;
}

/* ---- orders */

/* The order in force; *out NULL: none. *in_the_way: there is one that does not count. As with cards, what is of no use
 * is not believed before all nodes were asked. */
static int
fetch_order(struct cards *c, struct arena *a, const struct cards_user *u, struct cards_order **out, bool *in_the_way,
    struct err *e)
{
	struct cache_name name = name_of(order_kind(u), u);
	struct cards_order *got = arena_alloc(a, sizeof *got);
	struct slice bytes = { NULL, 0 };
	int64_t stamp;

	*out = NULL;
	*in_the_way = false;
	if (got == NULL)
		return err_set(e, ERR_MEMORY, "an order");
	for (int newest = 0; newest < 2; newest++) {
		if ((newest ? cache_get_newest : cache_get)(c->cache, a, &name, &bytes, e) < 0)
			return -1;
		*in_the_way = bytes.p != NULL && (!value_read_order(bytes, got, &stamp) ||
		    got->expires <= clock_now() || stamp <= dead_until(c, u));
		if (*in_the_way)
			continue;
		*out = bytes.p == NULL ? NULL : got;
		break;
	}
	return 0;
}

/* Stores it if there is none. 0 with *out NULL: somebody else was first. */
static int
try_order(struct cards *c, struct arena *a, const struct cards_user *u, struct slice bytes, int64_t ttl,
    struct cards_order **out, struct err *e)
{
	struct cache_name name = name_of(order_kind(u), u);
	struct err why = { 0 };
	int64_t stamp;

	*out = NULL;
	if (cache_add(c->cache, &name, bytes, ttl, &why) < 0)
		return why.kind == ERR_CONFLICT ? 0 : err_set(e, why.kind, "%s", why.detail);
	struct cards_order *mine = arena_alloc(a, sizeof *mine);
	if (mine == NULL || !value_read_order(bytes, mine, &stamp))
		return err_set(e, ERR_MEMORY, "an order");
	*out = mine;
	return 0;
}

int
cards_order(struct cards *c, struct arena *a, const struct cards_user *u, const struct cards_order *wanted, int64_t ttl,
    struct cards_order **out, struct err *e)
{
	int64_t left = wanted->expires - clock_now();
	bool in_the_way;

	if (check_user(u, e) < 0)
		return -1;
	struct slice bytes = value_of_order(a, wanted, stamp_for(c, u), cards_format(c));
	if (bytes.p == NULL)
		return err_set(e, ERR_MEMORY, "an order of %zu bytes", wanted->xml.n);
	for (int i = 0; i < ORDER_TRIES; i++) {
		if (fetch_order(c, a, u, out, &in_the_way, e) < 0)
			return -1;
		if (*out != NULL)
			return 0;
		if (in_the_way)
			drop_order(c, u);
		if (try_order(c, a, u, bytes, ttl < left ? ttl : left, out, e) < 0)
			return -1;
		if (*out != NULL)
			return 0;
	}
	return err_set(e, ERR_CACHE, "the order is changed by others all the time");
}

int
cards_pending(struct cards *c, struct arena *a, const struct cards_user *u, struct cards_order **out, struct err *e)
{
	bool in_the_way;

	if (check_user(u, e) < 0 || fetch_order(c, a, u, out, &in_the_way, e) < 0)
		return -1;
	return *out != NULL ? 0 : err_set(e, ERR_NO_CARD, "no order awaits");
}

int
cards_withdraw(struct cards *c, struct arena *a, const struct cards_user *u, struct slice token, struct err *e)
{
	struct cache_name name = name_of(order_kind(u), u);
	struct cards_order *order;
	bool in_the_way, certain;	/* a copy that could not be deleted ends by itself soon */

	if (check_user(u, e) < 0 || fetch_order(c, a, u, &order, &in_the_way, e) < 0)
		return -1;
	if (order == NULL || !slice_eq(order->token, token))
		return 0;
	return cache_delete(c->cache, &name, &certain, e);
}

struct cache *
cards_cache(struct cards *c)
{
	return c->cache;
}
