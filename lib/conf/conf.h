/* conf: the static file of one host, and the configuration document that all hosts share. */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include "buf.h"
#include "db.h"
#include "err.h"

#include <stdint.h>

/* ---- the static file (INI): what differs between hosts or is needed before the database */

struct conf_node { const char *host; uint16_t port; const char *zone; bool moving; };
struct conf_file {
	const char *server, *zone;	/* this host's name and zone */
	const char *database;		/* conninfo */
	const struct conf_node *cache_nodes;	/* those of "moving" stand behind the others */
	size_t ncache_nodes;
	unsigned cache_timeout_ms;
	const char *cache_keys;		/* key file */
	const char *journal;		/* folder of the audit journal */
	const char *state;		/* folder: configuration snapshot, revoked certificates */
	const char *log;		/* file of the technical log; NULL: stderr */
	unsigned threads, queue, queue_ms, drain_ms;	/* of each worker */
	bool journal_sync;		/* fdatasync before answering */
	unsigned journal_keep_hours;	/* that journals stay on this host after they have arrived */
	unsigned journal_warn, journal_stop;	/* percent of the journal's disk: said, and nothing more is forwarded */
};
/* Unknown sections and keys are refused with their line. The result lives until conf_file_free. ERR_CONFIG. */
int conf_file_read(const char *path, struct conf_file **out, struct err *e);
void conf_file_free(struct conf_file *f);

/* ---- the configuration document: one immutable revision */

struct conf_address { uint8_t bytes[16]; unsigned bits; };	/* IPv4 as ::ffff:a.b.c.d, bits counted in 128 */
int conf_address_parse(struct slice text, struct conf_address *out);	/* "10.0.0.0/8", "::1"; host bits must be zero */
bool conf_address_has(const struct conf_address *range, const struct conf_address *one);

/* The most that times.clock_skew_seconds may be, and what it is when nobody says (threats.md 2.4). */
#define CONF_CLOCK_SKEW 30

enum conf_hash { CONF_SHA1, CONF_SHA256 };
/* A key that the gateway keeps, to sign the cards of an organisation's systems with (level 3). Exactly one of key_file,
 * pkcs12_file and pkcs11 is there; a certificate_file too, but beside pkcs12_file it may be NULL. */
struct conf_system_key {
	struct slice system;		/* ITSystemName; absent: any of the organisation's systems */
	const char *certificate_file;	/* PEM */
	const char *key_file;		/* PEM */
	const char *pkcs12_file;
	const char *pkcs11;		/* "pkcs11:..." */
	const char *password_file;	/* of a file that is encrypted, or the token's PIN; NULL: none */
};
#define CONF_DECRYPTION_KEYS_MOST 2
/* Where users can log in instead of signing: an identity provider of the organisation's, OIOSAML. */
struct conf_idp {
	struct slice name;		/* as its users know it */
	struct slice url;		/* of its single sign-on, HTTP-Redirect */
	struct slice issuer, audience;	/* its entity id, and ours there */
	const struct slice *certificates;	/* PEM: it signs its answers with one of these */
	size_t ncertificates;
	struct conf_system_key key;	/* that its bootstrap tokens are bound to, and that signs what is sent to it and to the STS */
	const struct conf_system_key *decryption_keys;	/* of what it encrypts; the first is the one that it is told of */
	size_t ndecryption_keys;	/* 1, which is `key` unless another is given, or 2 while one takes the other's place */
};
struct conf_organisation {
	struct slice id, name, cvr;
	bool pass_signed;		/* signed cards and level 2 always pass (design 4.4); default false: the tender's rule */
	bool withhold_signature;	/* getValidIdCard without ds:Signature */
	enum conf_hash signature_hash;	/* of new cards; SHA-256 whatever it says when sts.refuse_sha1 */
	bool session_ids;		/* cards are found by an unguessable id, not by NameID (mission 1.3) */
	bool check_cvr;			/* default true: the signer's CVR is the card's care provider */
	const struct conf_system_key *system_keys;	size_t nsystem_keys;
	const struct conf_idp *idps;	size_t nidps;
};
enum conf_auth { CONF_AUTH_SECRET, CONF_AUTH_ADDRESS, CONF_AUTH_CERTIFICATE };
struct conf_client {
	struct slice id, name;
	const struct conf_organisation *organisation;
	enum conf_auth auth;
	const struct conf_address *addresses;
	size_t naddresses;
	const uint8_t (*secrets)[32];	/* SHA-256 of each; at most two */
	size_t nsecrets;
	struct slice certificate;	/* SHA-256 fingerprint of its TLS certificate, lower hex */
	bool withhold_signature;
};
struct conf_service {
	struct slice id, name, url;	/* url is what is compared and connected to */
	const char *url_z;		/* the same, NUL-terminated */
	bool strip_wsa;
	bool check_body;		/* what follows the head must be well formed too (threats 2.1) */
	unsigned connect_ms, answer_ms, idle_ms, total_ms;
	int64_t max_card_age;		/* seconds; 0: any */
	const char *ca_file, *cert_file, *key_file;	/* NULL: the system's CAs, no certificate */
};
struct conf_sts {
	const char *const *urls;
	size_t nurls;
	const char *const *bst_urls;	/* exchange of bootstrap tokens; none: it is not offered */
	size_t nbst_urls;
	const struct slice *certificates;	/* PEM: the STS signs cards with one of these */
	size_t ncertificates;
	unsigned connect_ms, answer_ms;
	bool refuse_sha1;		/* in every signature that counts: cards, what users sign, requests with bootstrap tokens */
	const char *ca_file;
};
struct conf_ocsp {
	uint8_t issuer[32];		/* SHA-256 of the issuing CA's certificate */
	const char *url;		/* of its responder */
};
struct conf_trust {
	const struct slice *roots, *intermediates;	/* PEM */
	size_t nroots, nintermediates;
	const char *const *crl_urls;
	size_t ncrl_urls;
	int64_t crl_refresh, crl_grace;		/* seconds */
	const struct conf_ocsp *ocsp;		/* asked at signing; issuers without an entry have their list alone */
	size_t nocsp;
	int64_t unchecked_accept;		/* seconds; 0: what can be checked neither way is refused. Else see docs/security.md */
	bool check_revocation;			/* default true */
};
struct conf {
	int64_t revision;		/* 0: from a file or a test */
	const struct conf_organisation *organisations;	size_t norganisations;
	const struct conf_client *clients;	size_t nclients;
	const struct conf_service *services;	size_t nservices;
	struct conf_sts sts;
	struct conf_trust trust;
	const struct conf_address *front_proxies;	size_t nfront_proxies;	/* whose X-Forwarded-For counts */
	struct slice browser_base;	/* "https://gw.example.dk": host part of signing URLs */
	struct slice issuer;		/* saml:Issuer of new cards */
	int64_t pending_ttl;		/* seconds an unsigned card waits */
	int64_t url_open, url_answer;	/* seconds: one-time signing URLs */
	int64_t url_answer_most;	/* seconds: however often its user puts the end off */
	bool browser_remember;		/* the page may keep the encrypted key file in the browser; default false */
	int64_t expiry_margin;		/* seconds before its end that a card is dropped */
	int64_t clock_skew;		/* seconds by which the clocks of others (STS, identity providers, OCSP) may differ */
	int64_t max_message;		/* bytes of a card operation */
	unsigned retention_months;	/* whole months of the audit trail that are kept; 0: all */
	bool danish;			/* language of faults: default true */
};
/* A document from JSON text. Every rule is checked here, nowhere else: unknown names, missing values, ids twice, references to
 * nobody, URLs that uri_parse refuses, certificates that do not parse. ERR_INVALID; problems holds one line each
 * with its JSON path ("clients[2].organisation: no organisation \"x\""). Freed with conf_free. */
int conf_parse(struct slice json, int64_t revision, struct conf **out, struct buf *problems, struct err *e);
void conf_free(struct conf *c);
/* The document in its one normal form: fixed order, two spaces, no defaults left out, newline at the end. */
int conf_normal(struct slice json, struct buf *out, struct err *e);

/* ---- the live configuration of a process */

struct conf_live;
/* Starts from the snapshot in file->state when there is one, then the database; watches for new revisions in a thread of
 * its own (LISTEN, polling behind it). Works with the database away; works without any configuration (everything is
 * then refused with ERR_CONFIG). Writes the snapshot when write_snapshot (the housekeeper). */
struct conf_live *conf_live_start(const struct conf_file *file, bool write_snapshot, struct err *e);
void conf_live_stop(struct conf_live *l);
/* The revision of now, held until conf_release: a request keeps the one it started with. NULL: there is none. */
const struct conf *conf_hold(struct conf_live *l);
void conf_release(struct conf_live *l, const struct conf *c);
/* A live configuration that stands still; for tests and sosigwctl. Takes c over. */
struct conf_live *conf_live_fixed(struct conf *c);
/* Called, on the watching thread, after each swap. */
void conf_live_on_change(struct conf_live *l, void (*fn)(void *ctx, const struct conf *c), void *ctx);
/* For status pages and metrics. */
struct conf_live_state {
	int64_t revision;	/* in use; 0: none */
	int64_t refused;	/* a newer one that does not pass the check; 0: none */
	char problem[256];	/* why */
	bool database;		/* the last look reached it */
};
void conf_live_state(struct conf_live *l, struct conf_live_state *out);

/* ---- revisions in the database (schema/001) */

struct conf_revision { int64_t id; struct slice created, author, comment, document; };
/* The newest, or that with id when id > 0. ERR_NOT_FOUND. */
int conf_load(struct db *d, struct arena *a, int64_t id, struct conf_revision *out, struct err *e);
/* Newest first, without documents. */
int conf_history(struct db *d, struct arena *a, unsigned most, struct conf_revision **out, size_t *n, struct err *e);
/* base: the revision the edit started from (0: none yet); ERR_CONFLICT when another is newest. The document is
 * checked and stored in normal form; NOTIFY sosigw_config. */
int conf_publish(struct db *d, struct slice json, int64_t base, struct slice author, struct slice comment, int64_t *revision, struct buf *problems, struct err *e);

#endif
