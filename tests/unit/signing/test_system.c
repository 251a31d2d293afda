/* Cards of systems with a key of the gateway's. The card store and the STS are made here: what is kept is a list in
 * memory, and the STS gives back what it got, counts, and can be made to fail or to wait. */
#include "pki/ca.h"

#include "clock.h"
#include "log.h"
#include "signing.h"
#include "xml.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#define CVR "20921897"
#define NOW CA_NOW

static struct ca root, voces, moces, others, expired, revoked, foreign;
static char dir[] = "/tmp/sosigw-system-XXXXXX";
static struct pki_revoked *lists;

/* ---- the card store */

struct cards {
	pthread_mutex_t lock;
	struct arena *a;
	struct { struct cards_user user; struct card card; bool gone; } kept[64];
	size_t n;
	enum err_kind broken;	/* cards_get fails with it; ERR_NONE: it works */
	const struct card *meanwhile;	/* another process keeps it behind the next cards_get */
};

static bool
same_user(const struct cards_user *a, const struct cards_user *b)
{
	return slice_eq(a->organisation, b->organisation) && slice_eq(a->user, b->user) && a->session == b->session;
}

static enum err_kind
judge(const struct card *card, int64_t margin, int64_t max_age)
{
	if (card->not_after - margin <= clock_now())
		return ERR_CARD_EXPIRED;
	return max_age != 0 && clock_now() - card->not_before > max_age ? ERR_CARD_EXPIRED : ERR_NONE;
}

int
cards_get(struct cards *c, struct arena *a, const struct cards_user *u, int64_t margin, int64_t max_age,
    struct card **out, struct err *e)
{
	enum err_kind kind = ERR_NO_CARD;

	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; i < c->n; i++)
		if (!c->kept[i].gone && same_user(&c->kept[i].user, u)) {
			*out = arena_alloc(a, sizeof **out);
			**out = c->kept[i].card;
			kind = judge(*out, margin, max_age);
		}
	if (c->broken != ERR_NONE)
		kind = c->broken;
	const struct card *meanwhile = c->meanwhile;
	c->meanwhile = NULL;
	pthread_mutex_unlock(&c->lock);
	if (meanwhile != NULL)
		cards_keep(c, a, u, meanwhile, e);
	return kind == ERR_NONE ? 0 : err_set(e, kind, "of the test");
}

static void
forget(struct cards *c, const struct cards_user *u, struct slice *id)
{
	*id = (struct slice){ NULL, 0 };
	for (size_t i = 0; i < c->n; i++)
		if (!c->kept[i].gone && same_user(&c->kept[i].user, u)) {
			*id = c->kept[i].card.id;
			c->kept[i].gone = true;
		}
}

int
cards_keep(struct cards *c, struct arena *a, const struct cards_user *u, const struct card *card, struct err *e)
{
	struct slice before;

	(void)a;
	(void)e;
	pthread_mutex_lock(&c->lock);
	forget(c, u, &before);
	assert_true(c->n < sizeof c->kept / sizeof *c->kept);
	c->kept[c->n].user = (struct cards_user){ .organisation = arena_dup(c->a, u->organisation),
		.user = arena_dup(c->a, u->user), .session = u->session };
	c->kept[c->n].card = *card;
	c->kept[c->n].card.xml = arena_dup(c->a, card->xml);
	c->kept[c->n].card.id = arena_dup(c->a, card->id);
	c->kept[c->n].card.system = arena_dup(c->a, card->system);
	c->kept[c->n].card.user = arena_dup(c->a, card->user);
	c->n++;
	pthread_mutex_unlock(&c->lock);
	return 0;
}

int
cards_forget(struct cards *c, struct arena *a, const struct cards_user *u, struct slice *id, struct err *e)
{
	(void)a;
	(void)e;
	pthread_mutex_lock(&c->lock);
	forget(c, u, id);
	pthread_mutex_unlock(&c->lock);
	return 0;
}

/* One order at a time is enough. */
static struct cards_order ordered;

int
cards_order(struct cards *c, struct arena *a, const struct cards_user *u, const struct cards_order *wanted, int64_t ttl,
    struct cards_order **out, struct err *e)
{
	(void)c; (void)a; (void)u; (void)ttl; (void)e;
	ordered = *wanted;
	*out = &ordered;
	return 0;
}

int
cards_link(struct cards *c, struct arena *a, const struct cards_user *u, const struct cards_order *order,
    struct slice system, int64_t seconds, struct slice *token, struct err *e)
{
	(void)c; (void)a; (void)u; (void)order; (void)system; (void)seconds; (void)e;
	*token = S("link");
	return 0;
}

int
cards_pending(struct cards *c, struct arena *a, const struct cards_user *u, struct cards_order **out, struct err *e)
{
	(void)c; (void)a;
	if (u->session)
		return err_set(e, ERR_NO_CARD, "this session has its card, or is over");
	*out = &ordered;
	return 0;
}

/* ---- the STS */

static struct {
	atomic_int exchanges;
	enum err_kind fails;	/* ERR_NONE: it works */
	unsigned slow_us;
	int64_t lives;		/* seconds from now */
	struct slice last;	/* the card it was sent */
	struct cards *cards;	/* whose arena holds it */
} service;

int
sts_sign_card(struct sts *s, const struct conf *c, struct arena *a, const struct idcard *card, X509 *signer,
    struct idcard **out, struct err *e)
{
	int n = atomic_fetch_add(&service.exchanges, 1);

	(void)s;
	(void)c;
	assert_true(card->is_signed);
	assert_non_null(signer);
	usleep(service.slow_us);
	if (service.fails != ERR_NONE) {
		err_set(e, service.fails, "of the test");
		return err_say(e, "the STS's words");
	}
	pthread_mutex_lock(&service.cards->lock);
	service.last = arena_dup(service.cards->a, card->xml);
	pthread_mutex_unlock(&service.cards->lock);
	*out = arena_alloc(a, sizeof **out);
	**out = *card;
	(*out)->id = arena_printf(a, "card-%d", n + 1);
	(*out)->not_before = clock_now() - 300;
	(*out)->not_after = clock_now() + service.lives;
	return 0;
}

/* ---- around the tests */

struct world {
	struct arena *a;
	struct err e;
	struct cards cards;
	struct signing s;
	struct conf conf;
	struct conf_organisation org;
	struct conf_system_key keys[2];
	struct slice roots[1];
	struct idcard asked;
	struct signing_system wanted;
	struct card *card;
	atomic_int reads;
};

static const char *
path(struct world *w, const char *name, const char *suffix)
{
	return arena_printf(w->a, "%s/%s.%s", dir, name, suffix).p;
}

static int
read_asked(void *ctx, struct idcard **asked, struct err *e)
{
	struct world *w = ctx;

	(void)e;
	atomic_fetch_add(&w->reads, 1);
	*asked = &w->asked;
	return 0;
}

static int
set_up(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	clock_set(NOW);
	w->a = arena_new(32 << 20);
	w->cards.a = w->a;
	service.cards = &w->cards;
	pthread_mutex_init(&w->cards.lock, NULL);
	w->roots[0] = ca_pem(w->a, root.cert);
	w->conf = (struct conf){ .issuer = S("SOSI-GW"), .expiry_margin = 60, .organisations = &w->org, .norganisations = 1,
		.sts = { .connect_ms = 1000, .answer_ms = 5000 },
		.trust = { .roots = w->roots, .nroots = 1, .check_revocation = true, .crl_grace = 3600 } };
	w->keys[0] = (struct conf_system_key){ .certificate_file = path(w, "voces", "pem"), .key_file = path(w, "voces", "key") };
	w->org = (struct conf_organisation){ .id = S("region"), .check_cvr = true, .system_keys = w->keys, .nsystem_keys = 1 };
	w->asked = (struct idcard){ .name_id = S(CVR), .name_id_format = S("medcom:cvrnumber"), .type = S("system"), .level = 3,
		.system = S("EPJ"), .care_provider = S(CVR), .care_provider_format = S("medcom:cvrnumber"),
		.care_provider_name = S("TRIFORK A/S") };
	w->s = (struct signing){ .cards = &w->cards, .revoked = lists, .systems = signing_systems_new() };
	w->wanted = (struct signing_system){ .organisation = &w->org, .key = &w->keys[0], .system = S("EPJ"),
		.care_provider = S(CVR), .care_provider_format = S("medcom:cvrnumber"), .care_provider_name = S("TRIFORK A/S"),
		.read = read_asked, .ctx = w };
	service.exchanges = 0;
	service.fails = ERR_NONE;
	service.slow_us = 0;
	service.lives = 86400 - 300;
	*state = w;
	return 0;
}

static int
tear_down(void **state)
{
	struct world *w = *state;

	arena_free(w->a);
	signing_systems_free(w->s.systems);
	pthread_mutex_destroy(&w->cards.lock);
	free(w);
	clock_set(0);
	return 0;
}

static int
get(struct world *w)
{
	return signing_system(&w->s, &w->conf, w->a, &w->wanted, &w->card, &w->e);
}

static void
use_key(struct world *w, const char *name)
{
	w->keys[0].certificate_file = path(w, name, "pem");
	w->keys[0].key_file = path(w, name, "key");
}

/* ---- the tests */

static void
a_key_fits_system_cards_of_its_system(void **state)
{
	struct world *w = *state;
	static const struct { const char *type; int level; const char *system; int want; } rows[] = {
		{ "system", 3, "EPJ", 0 }, { "system", 1, "EPJ", 0 }, { "system", 3, "LAB", 1 }, { "system", 1, "x", 0 },
		{ "system", 2, "EPJ", -1 }, { "system", 4, "EPJ", -1 }, { "system", 0, "EPJ", -1 }, { "user", 3, "EPJ", -1 },
		{ "user", 1, "EPJ", -1 }, { "", 3, "EPJ", -1 }, { "system", 3, "", -1 }, { NULL, 3, "EPJ", -1 },
		{ "system", 3, NULL, -1 }, { "SYSTEM", 3, "EPJ", -1 },
	};

	w->keys[1].system = S("LAB");
	w->org.nsystem_keys = 2;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct conf_system_key *k = signing_system_key(&w->org, slice_of(rows[i].type), rows[i].level,
		    slice_of(rows[i].system));
		if (k != (rows[i].want < 0 ? NULL : &w->keys[rows[i].want]))
			fail_msg("row %zu", i);
	}
	w->keys[0].system = S("EPJ");
	assert_null(signing_system_key(&w->org, S("system"), 3, S("other")));
	w->org.nsystem_keys = 0;
	assert_null(signing_system_key(&w->org, S("system"), 3, S("EPJ")));
}

static void
the_first_call_makes_a_card_and_the_others_use_it(void **state)
{
	struct world *w = *state;

	assert_ok(get(w), &w->e);
	assert_slice("card-1", w->card->id);
	assert_slice("EPJ", w->card->system);
	assert_true(w->card->signer_known);
	assert_null(w->card->user.p);
	clock_set(NOW + 3600);
	assert_ok(get(w), &w->e);
	assert_slice("card-1", w->card->id);
	assert_int_equal(service.exchanges, 1);
	assert_int_equal(w->reads, 1);
}

static void
what_the_sts_gets_is_a_level_3_card_signed_with_the_key(void **state)
{
	struct world *w = *state;
	X509 *keys[] = { voces.cert };
	const struct dsig_policy policy = { .keys = keys, .nkeys = 1 };
	struct dsig_verified verified;
	struct idcard *card;
	static const struct { int level; enum conf_hash hash; enum dsig_hash want; } rows[] = {
		{ 3, CONF_SHA1, DSIG_SHA1 }, { 1, CONF_SHA256, DSIG_SHA256 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		w->asked.level = rows[i].level;
		w->org.signature_hash = rows[i].hash;
		w->wanted.care_provider = i == 0 ? S("a") : S("b");
		assert_ok(get(w), &w->e);
		assert_ok(dsig_verify(w->a, service.last, &policy, &verified, &w->e), &w->e);
		assert_int_equal(verified.hash, rows[i].want);
		assert_ok(idcard_read(w->a, verified.card, &card, &w->e), &w->e);
		assert_int_equal(card->level, 3);
		assert_slice("system", card->type);
		assert_slice(CVR, card->name_id);
		assert_slice("SOSI-GW", card->issuer);
	}
	assert_int_equal(w->asked.level, 1);	/* the request's own card stays as it is */
}

static void
each_system_and_care_provider_has_its_own_card(void **state)
{
	struct world *w = *state;
	static const struct { const char *system, *care_provider, *format, *name; } rows[] = {
		{ "EPJ", CVR, "f", "n" }, { "LAB", CVR, "f", "n" }, { "EPJ", "1", "f", "n" }, { "EPJ\n1", "", "f", "n" },
		{ "EP", "J" CVR, "f", "n" }, { "EPJ", CVR, "g", "n" }, { "EPJ", CVR, "f", "N" }, { "EPJ", CVR, "fn", NULL },
	};

	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
			w->wanted.system = slice_of(rows[i].system);
			w->wanted.care_provider = slice_of(rows[i].care_provider);
			w->wanted.care_provider_format = slice_of(rows[i].format);
			w->wanted.care_provider_name = slice_of(rows[i].name);
			assert_ok(get(w), &w->e);
			assert_int_equal(w->card->id.p[5] - '1', i);
		}
	w->org.id = S("another");
	assert_ok(get(w), &w->e);
	assert_slice("card-9", w->card->id);
}

static void
no_users_name_stands_for_a_systems_card(void **state)
{
	struct world *w = *state;

	assert_ok(get(w), &w->e);
	assert_int_equal(w->cards.n, 1);
	assert_int_equal(w->cards.kept[0].user.user.p[0], 0x1f);
}

static void
a_card_that_ended_is_made_anew(void **state)
{
	struct world *w = *state;

	assert_ok(get(w), &w->e);
	clock_set(NOW + 86400 - 300 - 60);
	assert_ok(get(w), &w->e);
	assert_slice("card-2", w->card->id);
}

static void
a_card_is_renewed_before_it_ends(void **state)
{
	struct world *w = *state;

	assert_ok(get(w), &w->e);
	clock_set(NOW - 300 + 86400 * 9 / 10);
	assert_ok(get(w), &w->e);
	assert_slice("card-1", w->card->id);
	clock_set(NOW - 300 + 86400 * 9 / 10 + 1);
	assert_ok(get(w), &w->e);
	assert_slice("card-2", w->card->id);
	assert_ok(get(w), &w->e);
	assert_slice("card-2", w->card->id);
	assert_int_equal(service.exchanges, 2);
}

static void
what_another_process_has_made_meanwhile_is_used(void **state)
{
	struct world *w = *state;
	struct card theirs = { .id = S("theirs"), .xml = S("<x/>"), .not_before = NOW - 300, .not_after = NOW + 86100 };

	w->cards.meanwhile = &theirs;
	assert_ok(get(w), &w->e);
	assert_slice("theirs", w->card->id);
	clock_set(NOW + 80000);
	theirs.id = S("new");
	theirs.not_before = NOW + 79000;
	theirs.not_after = NOW + 79000 + 86400;
	w->cards.meanwhile = &theirs;
	assert_ok(get(w), &w->e);
	assert_slice("new", w->card->id);
	assert_int_equal(service.exchanges, 0);
}

static void
a_renewal_that_fails_is_not_noticed_and_rests(void **state)
{
	struct world *w = *state;

	assert_ok(get(w), &w->e);
	clock_set(NOW + 80000);
	service.fails = ERR_STS_TIMEOUT;
	for (int i = 0; i < 5; i++) {
		assert_ok(get(w), &w->e);
		assert_slice("card-1", w->card->id);
	}
	assert_int_equal(service.exchanges, 2);
	/* also when the request says too little to renew with */
	w->asked.care_provider_name = (struct slice){ NULL, 0 };
	assert_ok(get(w), &w->e);
}

static void
what_fails_is_told_in_words_that_fit(void **state)
{
	struct world *w = *state;
	static const struct { const char *key; enum err_kind sts, want; const char *detail, *said; int exchanges; } rows[] = {
		{ "none", ERR_NONE, ERR_SYSTEM_KEY, "none.key: No such file", "", 0 },
		{ "others", ERR_NONE, ERR_SYSTEM_KEY, "CERT_OTHER: ", "does not belong", 0 },
		{ "moces", ERR_NONE, ERR_SYSTEM_KEY, "CERT_KIND: ", "kind of certificate", 0 },
		{ "expired", ERR_NONE, ERR_SYSTEM_KEY, "CERT_EXPIRED: ", "has expired", 0 },
		{ "foreign", ERR_NONE, ERR_SYSTEM_KEY, "CERT_UNTRUSTED: ", "trusted issuer", 0 },
		{ "revoked", ERR_NONE, ERR_SYSTEM_KEY, "CERT_REVOKED: ", "is revoked", 0 },
		{ "voces", ERR_STS_TIMEOUT, ERR_SYSTEM_CARD, "STS_TIMEOUT: ", "", 1 },
		{ "voces", ERR_STS_UNREACHABLE, ERR_SYSTEM_CARD, "STS_UNREACHABLE: ", "", 1 },
		{ "voces", ERR_STS_FAULT, ERR_STS_FAULT, "of the test", "the STS's words", 1 },
		{ "voces", ERR_STS_CARD, ERR_STS_CARD, "of the test", "the STS's words", 1 },
		{ "voces", ERR_CONFIG, ERR_CONFIG, "of the test", "the STS's words", 1 },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char name[2] = { (char)('a' + i), '\0' };
		w->wanted.care_provider = slice_of(name);	/* each its own, so that none rests */
		use_key(w, rows[i].key);
		service.fails = rows[i].sts;
		service.exchanges = 0;
		assert_err(rows[i].want, get(w), &w->e);
		if (strstr(w->e.detail, rows[i].detail) == NULL || strstr(w->e.said, rows[i].said) == NULL ||
		    service.exchanges != rows[i].exchanges)
			fail_msg("row %zu: %s; %s", i, w->e.detail, w->e.said);
	}
	assert_int_equal(w->cards.n, 0);
}

static void
a_certificate_of_another_cvr_signs_where_that_is_allowed(void **state)
{
	struct world *w = *state;

	use_key(w, "others");
	w->org.check_cvr = false;
	assert_ok(get(w), &w->e);
}

/* A ynumber tells no CVR number, so the certificate must be of the organisation's own. */
static void
a_care_provider_that_is_no_cvr_number_is_judged_by_its_organisations(void **state)
{
	struct world *w = *state;

	w->asked.care_provider = w->wanted.care_provider = S("082119");
	w->asked.care_provider_format = w->wanted.care_provider_format = S("medcom:ynumber");
	w->org.cvr = S("12345678");
	assert_err(ERR_SYSTEM_KEY, get(w), &w->e);
	assert_non_null(strstr(w->e.detail, "CERT_OTHER"));
	assert_int_equal(service.exchanges, 0);

	w->org.check_cvr = false;
	w->asked.care_provider = w->wanted.care_provider = S("082120");
	assert_ok(get(w), &w->e);

	w->org.check_cvr = true;
	w->org.cvr = S(CVR);
	w->asked.care_provider = w->wanted.care_provider = S("082121");
	assert_ok(get(w), &w->e);

	w->org.cvr = (struct slice){ NULL, 0 };	/* nothing to hold it against */
	w->asked.care_provider = w->wanted.care_provider = S("082122");
	assert_err(ERR_SYSTEM_KEY, get(w), &w->e);
	assert_non_null(strstr(w->e.detail, "CVR_UNKNOWN"));
}

static void
without_a_fresh_list_a_certificate_is_not_used(void **state)
{
	struct world *w = *state;

	clock_set(NOW + 86400 - 100);	/* the certificate holds, the list did until a while ago */
	w->conf.trust.crl_grace = -1000;
	assert_err(ERR_SYSTEM_KEY, get(w), &w->e);
	assert_non_null(strstr(w->e.detail, "CERT_UNCHECKED"));
	w->conf.trust.check_revocation = false;
	w->wanted.care_provider = S("x");
	assert_ok(get(w), &w->e);
}

static void
what_the_request_lacks_is_its_own_mistake(void **state)
{
	struct world *w = *state;

	w->asked.care_provider_name = (struct slice){ NULL, 0 };
	assert_err(ERR_CARD_DATA, get(w), &w->e);
	assert_non_null(strstr(w->e.said, "medcom:CareProviderName"));
	/* and does not stand in the way of a better one */
	w->asked.care_provider_name = S("x");
	assert_ok(get(w), &w->e);
}

static void
a_failure_holds_for_a_moment(void **state)
{
	struct world *w = *state;

	service.fails = ERR_STS_TIMEOUT;
	assert_err(ERR_SYSTEM_CARD, get(w), &w->e);
	service.fails = ERR_NONE;
	assert_err(ERR_SYSTEM_CARD, get(w), &w->e);
	assert_non_null(strstr(w->e.detail, "STS_TIMEOUT"));
	assert_int_equal(service.exchanges, 1);
	w->wanted.system = S("LAB");
	assert_ok(get(w), &w->e);
}

static void
a_card_that_is_too_old_from_birth_is_no_use_and_not_made_at_every_call(void **state)
{
	struct world *w = *state;

	w->wanted.max_age = 200;	/* the STS begins them 300 s before now */
	for (int i = 0; i < 3; i++) {
		assert_err(ERR_SYSTEM_CARD, get(w), &w->e);
		assert_non_null(strstr(w->e.detail, "CARD_EXPIRED"));
	}
	assert_int_equal(service.exchanges, 1);
	w->wanted.max_age = 400;
	assert_ok(get(w), &w->e);
	assert_slice("card-1", w->card->id);
	clock_set(NOW + 101);
	w->wanted.care_provider = S("x");
	assert_ok(get(w), &w->e);
}

static void
without_the_store_nothing_is_made(void **state)
{
	struct world *w = *state;

	w->cards.broken = ERR_CACHE;
	assert_err(ERR_CACHE, get(w), &w->e);
	assert_int_equal(service.exchanges, 0);
}

static void
a_card_that_its_client_has_signed_is_the_systems_card(void **state)
{
	struct world *w = *state;
	const struct conf_client client = { .id = S("epj"), .organisation = &w->org };
	struct cards_user u = { .organisation = w->org.id, .user = S("night job") };
	struct slice der = pki_der(w->a, voces.cert), id;
	struct cards_order *order;
	unsigned char value[512];
	size_t n = sizeof value;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();

	assert_ok(get(w), &w->e);
	assert_slice("card-1", w->card->id);
	w->asked.name_id = u.user;
	assert_ok(signing_order(&w->s, &w->conf, w->a, &client, &u, &w->asked, &order, &w->e), &w->e);
	assert_int_equal(EVP_DigestSignInit(ctx, NULL, EVP_sha1(), NULL, voces.key), 1);
	assert_int_equal(EVP_DigestSign(ctx, value, &n, (const unsigned char *)order->signed_info.p, order->signed_info.n), 1);
	EVP_MD_CTX_free(ctx);
	assert_ok(signing_complete(&w->s, &w->conf, w->a, &w->org, &u, (struct slice){ (char *)value, n }, der, &id, &w->e), &w->e);
	assert_slice("card-2", id);
	assert_ok(get(w), &w->e);
	assert_slice("card-2", w->card->id);
	assert_null(w->card->user.p);
	assert_ok(cards_get(&w->cards, w->a, &u, 0, 0, &w->card, &w->e), &w->e);
	assert_slice("card-2", w->card->id);
	assert_slice("night job", w->card->user);

	/* without a key in the configuration it is its user's alone */
	w->org.nsystem_keys = 0;
	assert_ok(signing_complete(&w->s, &w->conf, w->a, &w->org, &u, (struct slice){ (char *)value, n }, der, &id, &w->e), &w->e);
	assert_ok(get(w), &w->e);
	assert_slice("card-2", w->card->id);
}

static void
a_new_order_of_a_session_is_its_users(void **state)
{
	struct world *w = *state;
	const struct conf_client client = { .id = S("epj"), .organisation = &w->org };
	const struct cards_user session = { .organisation = w->org.id, .user = S("an-id-that-opens-the-card"), .session = true };
	const struct card kept = { .user = S("Lars"), .not_before = NOW, .not_after = NOW + 3600, .kept = NOW };
	struct cards_user u = session;
	struct cards_order *order;

	w->org.session_ids = true;
	assert_ok(cards_keep(&w->cards, w->a, &session, &kept, &w->e), &w->e);
	w->asked.name_id = session.user;
	assert_ok(signing_order(&w->s, &w->conf, w->a, &client, &u, &w->asked, &order, &w->e), &w->e);
	assert_slice("Lars", order->user);
	assert_true(slice_find(order->xml, session.user) < 0);
	assert_false(slice_eq(u.user, session.user));
}

/* A program may go on with the id of yesterday's session; it is nobody's name. */
static void
an_order_of_a_session_that_is_over_shows_no_session_id(void **state)
{
	struct world *w = *state;
	const struct conf_client client = { .id = S("epj"), .organisation = &w->org };
	struct cards_user u = { .organisation = w->org.id };
	struct cards_order *order;
	struct err e = { 0 };

	w->org.session_ids = true;
	assert_ok(signing_begin_session(w->a, &u, &e), &e);
	const struct slice over = u.user;
	w->asked.name_id = over;
	assert_ok(signing_order(&w->s, &w->conf, w->a, &client, &u, &w->asked, &order, &w->e), &w->e);
	assert_true(slice_starts(order->user, S("session:")));
	assert_true(slice_find(order->xml, over) < 0);

	w->asked.cpr = S("1802602810");
	u.user = over;
	assert_ok(signing_order(&w->s, &w->conf, w->a, &client, &u, &w->asked, &order, &w->e), &w->e);
	assert_slice("1802602810", order->user);
	assert_true(slice_find(order->xml, over) < 0);

	u.user = w->asked.name_id = S("a name of forty-three characters, not so old");
	assert_ok(signing_order(&w->s, &w->conf, w->a, &client, &u, &w->asked, &order, &w->e), &w->e);
	assert_slice("a name of forty-three characters, not so old", order->user);
}

static void
after_logout_a_new_one_is_made(void **state)
{
	struct world *w = *state;
	struct slice id;

	assert_ok(signing_system_forget(&w->s, w->a, &w->wanted, &id, &w->e), &w->e);
	assert_null(id.p);
	assert_ok(get(w), &w->e);
	assert_ok(signing_system_forget(&w->s, w->a, &w->wanted, &id, &w->e), &w->e);
	assert_slice("card-1", id);
	assert_ok(get(w), &w->e);
	assert_slice("card-2", w->card->id);
}

enum { A_MINUTE = 60 };

static int
get_for(struct world *w, int care_provider)
{
	w->wanted.care_provider = arena_printf(w->a, "%d", care_provider);
	return get(w);
}

static void
an_organisation_gets_so_many_new_cards_a_minute(void **state)
{
	struct world *w = *state;

	w->conf.expiry_margin = 0;
	service.lives = 20;
	assert_ok(get_for(w, 0), &w->e);
	service.lives = 86400 - 300;
	for (int i = 1; i < A_MINUTE; i++)
		assert_ok(get_for(w, i), &w->e);
	assert_err(ERR_SYSTEM_CARD, get_for(w, A_MINUTE), &w->e);
	assert_non_null(strstr(w->e.detail, "BUSY"));
	assert_non_null(strstr(w->e.said, "too many"));
	assert_int_equal(service.exchanges, A_MINUTE);

	/* what is there serves, and is renewed */
	assert_ok(get_for(w, 1), &w->e);
	assert_slice("card-2", w->card->id);
	assert_ok(get_for(w, 0), &w->e);
	assert_slice("card-61", w->card->id);

	w->org.id = S("another");
	assert_ok(get_for(w, 1), &w->e);
	w->org.id = S("region");
	clock_set(NOW + 60);
	assert_ok(get_for(w, A_MINUTE + 1), &w->e);
}

/* ---- threads */

enum { CROWD = 10 };
struct caller {
	struct world w;
	int rc;
};

static void *
call(void *arg)
{
	struct caller *c = arg;

	c->rc = get(&c->w);
	return NULL;
}

static void
crowd(struct world *w, struct caller all[CROWD])
{
	pthread_t threads[CROWD];

	for (int i = 0; i < CROWD; i++) {
		all[i].w = *w;
		all[i].w.s.cards = &w->cards;
		all[i].w.wanted.ctx = w;
		all[i].w.a = arena_new(8 << 20);
		if (w->wanted.care_provider.p == NULL)
			all[i].w.wanted.care_provider = arena_printf(all[i].w.a, "%d", i);	/* each its own */
	}
	for (int i = 0; i < CROWD; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, call, &all[i]), 0);
	for (int i = 0; i < CROWD; i++)
		pthread_join(threads[i], NULL);
}

static void
release(struct caller all[CROWD])
{
	for (int i = 0; i < CROWD; i++)
		arena_free(all[i].w.a);
}

static void
a_crowd_causes_one_exchange(void **state)
{
	struct world *w = *state;
	struct caller all[CROWD];

	service.slow_us = 100000;
	crowd(w, all);
	for (int i = 0; i < CROWD; i++) {
		assert_ok(all[i].rc, &all[i].w.e);
		assert_slice("card-1", all[i].w.card->id);
	}
	assert_int_equal(service.exchanges, 1);
	release(all);
}

static void
cards_of_different_care_providers_are_made_side_by_side(void **state)
{
	struct world *w = *state;
	struct caller all[CROWD];

	w->wanted.care_provider = (struct slice){ NULL, 0 };
	service.slow_us = 20000;
	crowd(w, all);
	for (int i = 0; i < CROWD; i++)
		assert_ok(all[i].rc, &all[i].w.e);
	assert_int_equal(service.exchanges, CROWD);
	release(all);
}

static void
a_crowd_shares_a_failure(void **state)
{
	struct world *w = *state;
	struct caller all[CROWD];

	service.slow_us = 100000;
	service.fails = ERR_STS_FAULT;
	crowd(w, all);
	for (int i = 0; i < CROWD; i++) {
		assert_int_equal(all[i].rc, -1);
		assert_int_equal(all[i].w.e.kind, ERR_STS_FAULT);
		assert_string_equal(all[i].w.e.said, "the STS's words");
	}
	assert_int_equal(service.exchanges, 1);
	release(all);
}

static void
a_crowd_renews_once_and_nobody_waits(void **state)
{
	struct world *w = *state;
	struct caller all[CROWD];
	int old = 0;

	assert_ok(get(w), &w->e);
	clock_set(NOW + 80000);
	service.slow_us = 300000;
	crowd(w, all);
	for (int i = 0; i < CROWD; i++) {
		assert_ok(all[i].rc, &all[i].w.e);
		old += slice_is(all[i].w.card->id, "card-1");
	}
	assert_true(old > 0);
	assert_int_equal(service.exchanges, 2);
	assert_ok(get(w), &w->e);
	assert_slice("card-2", w->card->id);
	release(all);
}

static void
who_waits_too_long_is_told_so(void **state)
{
	struct world *w = *state;
	struct caller all[CROWD];
	int busy = 0;

	w->conf.sts.connect_ms = 1;
	w->conf.sts.answer_ms = 1;	/* and two seconds more */
	service.slow_us = 3000000;
	crowd(w, all);
	for (int i = 0; i < CROWD; i++)
		busy += all[i].rc < 0 && all[i].w.e.kind == ERR_SYSTEM_CARD && strstr(all[i].w.e.detail, "BUSY") != NULL;
	assert_int_equal(busy, CROWD - 1);
	release(all);
}

/* ---- all */

static void
put(const char *name, const char *suffix, BIO *bio)
{
	char to[200], *bytes;
	long n = BIO_get_mem_data(bio, &bytes);

	snprintf(to, sizeof to, "%s/%s.%s", dir, name, suffix);
	int fd = open(to, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_int_equal(write(fd, bytes, (size_t)n), n);
	close(fd);
	BIO_free(bio);
}

static void
make(struct ca *ca, const char *name, const struct ca *issuer, struct ca_order o)
{
	BIO *cert = BIO_new(BIO_s_mem()), *key = BIO_new(BIO_s_mem());

	ca->key = o.key = EVP_RSA_gen(2048);
	ca->cert = ca_issue(issuer, &o);
	assert_int_equal(PEM_write_bio_X509(cert, ca->cert), 1);
	assert_int_equal(PEM_write_bio_PrivateKey(key, ca->key, NULL, NULL, 0, NULL, NULL), 1);
	put(name, "pem", cert);
	put(name, "key", key);
}

static void
write_list(void)
{
	char file[200];
	struct err e = { .kind = ERR_NONE };

	snprintf(file, sizeof file, "%s/revoked.bin", dir);
	struct pki_revoked_writer *w = pki_revoked_writer_new(file);
	X509_CRL *crl = ca_list(&root, 66, 1);
	assert_ok(pki_revoked_add(w, crl, &e), &e);
	X509_CRL_free(crl);
	assert_ok(pki_revoked_finish(w, &e), &e);
	lists = pki_revoked_open(file);
	assert_non_null(lists);
}

static int
set_up_all(void **state)
{
	static struct ca stranger;
	struct err e = { .kind = ERR_NONE };

	(void)state;
	log_open("/dev/null", "test", LOG_ERROR, &e);
	xml_init();
	assert_ok(dsig_init(&e), &e);
	assert_non_null(mkdtemp(dir));
	make(&root, "root", NULL, (struct ca_order){ .cn = "CA", .is_ca = true, .to = 30 * CA_DAY });
	make(&stranger, "stranger", NULL, (struct ca_order){ .cn = "CA", .is_ca = true });
	const struct ca_order o = { .cn = "System", .serial_number = "CVR:" CVR "-UID:25351738", .number = 7, .to = 2 * CA_DAY };
	struct ca_order p = o;
	make(&voces, "voces", &root, o);
	p.serial_number = "CVR:" CVR "-RID:25351738";
	make(&moces, "moces", &root, p);
	p.serial_number = "CVR:30808460-UID:25351738";
	make(&others, "others", &root, p);
	p = o;
	p.to = -1;
	make(&expired, "expired", &root, p);
	p = o;
	p.number = 66;
	make(&revoked, "revoked", &root, p);
	make(&foreign, "foreign", &stranger, o);
	ca_free(&stranger);
	write_list();
	return 0;
}

static int
tear_down_all(void **state)
{
	static const char *const names[] = { "root", "stranger", "voces", "moces", "others", "expired", "revoked", "foreign" };
	struct ca *const all[] = { &root, &voces, &moces, &others, &expired, &revoked, &foreign };
	char file[200];

	(void)state;
	pki_revoked_close(lists);
	for (size_t i = 0; i < sizeof all / sizeof *all; i++)
		ca_free(all[i]);
	for (size_t i = 0; i < 2 * sizeof names / sizeof *names; i++) {
		snprintf(file, sizeof file, "%s/%s.%s", dir, names[i / 2], i % 2 == 0 ? "pem" : "key");
		unlink(file);
	}
	snprintf(file, sizeof file, "%s/revoked.bin", dir);
	unlink(file);
	return rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		T(a_key_fits_system_cards_of_its_system),
		T(the_first_call_makes_a_card_and_the_others_use_it),
		T(what_the_sts_gets_is_a_level_3_card_signed_with_the_key),
		T(each_system_and_care_provider_has_its_own_card),
		T(no_users_name_stands_for_a_systems_card),
		T(a_card_that_ended_is_made_anew),
		T(a_card_is_renewed_before_it_ends),
		T(what_another_process_has_made_meanwhile_is_used),
		T(a_renewal_that_fails_is_not_noticed_and_rests),
		T(what_fails_is_told_in_words_that_fit),
		T(a_certificate_of_another_cvr_signs_where_that_is_allowed),
		T(a_care_provider_that_is_no_cvr_number_is_judged_by_its_organisations),
		T(without_a_fresh_list_a_certificate_is_not_used),
		T(what_the_request_lacks_is_its_own_mistake),
		T(a_failure_holds_for_a_moment),
		T(a_card_that_is_too_old_from_birth_is_no_use_and_not_made_at_every_call),
		T(without_the_store_nothing_is_made),
		T(a_card_that_its_client_has_signed_is_the_systems_card),
		T(a_new_order_of_a_session_is_its_users),
		T(an_order_of_a_session_that_is_over_shows_no_session_id),
		T(after_logout_a_new_one_is_made),
		T(an_organisation_gets_so_many_new_cards_a_minute),
		T(a_crowd_causes_one_exchange),
		T(cards_of_different_care_providers_are_made_side_by_side),
		T(a_crowd_shares_a_failure),
		T(a_crowd_renews_once_and_nobody_waits),
		T(who_waits_too_long_is_told_so),
	};
	return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
