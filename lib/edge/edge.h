/* edge: what every worker has and what every request goes through: the configuration it keeps, who
 * calls, the fault, the audit event. */
#ifndef EDGE_EDGE_H
#define EDGE_EDGE_H

#include "access.h"
#include "audit.h"
#include "cards.h"
#include "cluster.h"
#include "conf.h"
#include "dsig.h"
#include "fcgi.h"
#include "http.h"
#include "pki.h"
#include "soap.h"

/* ---- a worker: opened by main, passed down */
struct edge {
	struct conf_file *file;
	struct conf_live *live;
	struct audit *audit;
	struct db *db;
	struct cache *cache;
	struct pki_revoked *revoked;
	struct cards *cards;
	struct http *http;
	struct access_failures *failures;
	struct cluster_presence *presence;
	struct dsig_counts signatures;	/* of cards, as this worker has found them good */
};
/* Reads the static file and opens all of it but `presence`; nothing needs a neighbour to be there. */
int edge_open(struct edge *w, const char *config_file, const char *program, struct err *e);
/* Takes its place among the programs of all servers; what it writes into cache and journal follows from theirs. ERR_CONFIG:
 * it must not start beside them. listen: its socket, which tells workers of one kind apart. */
int edge_appear(struct edge *w, const char *program, const char *listen, struct err *e);
void edge_close(struct edge *w);
/* A worker's whole main: options --config FILE --listen SOCKET [--log FILE], signals, serve, stop. `start` makes the
 * application's own state from w (NULL with e filled), `handle` serves, `stop` frees. Returns main's exit code. */
struct edge_program {
	const char *name;
	enum audit_kind kind;		/* of its calls */
	void *(*start)(struct edge *w, struct err *e);
	fcgi_handler *handle;		/* ctx is what start returned */
	void (*stop)(void *app);
	fcgi_handler *refuse;		/* too busy; ctx as of handle; NULL: a fault */
};
int edge_main(const struct edge_program *p, int argc, char **argv);

/* ---- a call */
struct edge_call {
	struct edge *edge;
	struct req *req;
	struct arena *arena;
	const struct conf *conf;	/* the revision this request keeps; NULL: there is none */
	struct access_caller caller;
	struct audit_event event;
	struct err err;
	int64_t started;		/* clock_mono_ms */
	bool opened;			/* an AUDIT_OPEN record stands in the journal */
	bool only_counted;		/* one of many refusals of an address: neither logged nor audited by itself */
};
/* Holds the configuration and tells who calls (ERR_CLIENT_UNKNOWN, ERR_CONFIG). Follow with edge_end whatever
 * the outcome. */
int edge_begin(struct edge *w, struct req *r, enum audit_kind kind, struct edge_call *c);
/* As edge_begin for a browser's request: nobody is identified. */
int edge_begin_page(struct edge *w, struct req *r, struct edge_call *c);
/* What failed is a stranger's, of whom we know no more than the address: one of many is only counted. */
void edge_count_stranger(struct edge_call *c);
/* POST with a SOAP content type; boundary and start are for multipart. */
int edge_need_soap_post(struct edge_call *c, enum soap_form *form, struct slice *boundary, struct slice *start);
/* Notes in the audit event what the head of the message says. */
void edge_note_head(struct edge_call *c, const struct soap_head *h);
/* Notes the card that was found, and the user it belongs to. */
void edge_note_card(struct edge_call *c, const struct card *card);
/* Whose cards this call is about. */
struct cards_user edge_user(const struct edge_call *c, const struct soap_head *h);
/* The event as it is goes to the journal with status AUDIT_OPEN: to be called before anything is forwarded. */
int edge_audit_open(struct edge_call *c);
/* Writes an answer with a SOAP body. */
int edge_answer(struct edge_call *c, struct slice xml);
/* Answers c->err as a fault. header: content of soap:Header, or absent. */
void edge_fault(struct edge_call *c, struct slice header);
/* Logs c->err, once; edge_fault does so itself. */
void edge_log(const struct edge_call *c);
/* Completes the audit event (from c->err) and lets go of the configuration. */
void edge_end(struct edge_call *c);
/* Audits the sums of refusals that were only counted, when any is due at `now` (clock_mono_ms); INT64_MAX: all. */
void edge_audit_sums(struct edge *w, int64_t now);
/* The worker is too busy: a fault at once. For fcgi_conf.refuse; ctx is the struct edge. */
void edge_refuse_busy(struct edge *w, enum audit_kind kind, struct req *r);

#endif
