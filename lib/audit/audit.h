/* audit: who called what when, and how it ended. Written to a local journal first, shipped to PostgreSQL
 * by the housekeeper, exactly once (design 7). */
#ifndef AUDIT_AUDIT_H
#define AUDIT_AUDIT_H

#include "arena.h"
#include "db.h"
#include "err.h"

#include <stdint.h>

enum audit_kind { AUDIT_PROXY, AUDIT_SERVICE, AUDIT_BROWSER, AUDIT_ADMIN };
enum audit_status { AUDIT_OPEN, AUDIT_OK, AUDIT_REFUSED, AUDIT_FAILED };	/* OPEN: forwarded, outcome not known yet */
struct audit_event {
	enum audit_kind kind;
	enum audit_status status;
	int64_t time_ms;		/* when the request came */
	struct slice request_id, client, organisation, user, system, address;
	struct slice operation;		/* "proxy", "signIdCard", ... or the SOAP action it had */
	struct slice service;		/* id of the service on the positive list */
	struct slice endpoint;		/* its URL; for a refused one what wsa:To held */
	struct slice card_id;
	struct slice card_client;	/* id of the client by which the card's user signed in; from journal format 2 on */
	struct slice reason;		/* err_name of a refusal or failure */
	int http_status;
	int64_t duration_ms;
	uint64_t bytes_in, bytes_out;
};
struct audit;
/* One journal for this process in folder `dir`. sync: fdatasync before audit_write returns (grouped over threads);
 * otherwise in the kernel. NULL with e filled (ERR_AUDIT). */
struct audit *audit_open(const char *dir, const char *server, const char *program, bool sync, struct err *e);
void audit_close(struct audit *j);
/* In which format records are written from now on (cluster.h). Before the first time: the oldest that is read. */
void audit_write_format(struct audit *j, int format);
/* From `percent` of the journal's disk on nothing new is begun: AUDIT_OPEN is refused, while outcomes and refusals are still
 * written into what is left. Begins again by itself. 100, as after audit_open: only a disk that is really full stops it. */
void audit_limit(struct audit *j, unsigned percent);
/* Appends one record. An event with status AUDIT_OPEN is completed by a later one with the same request_id and time.
 * ERR_AUDIT when it is not safely written: then nothing may be forwarded. Values are cut at 1 KB (marked). */
int audit_write(struct audit *j, const struct audit_event *ev, struct err *e);

/* ---- housekeeper: sends what the journals in dir hold to the database; removes segments that are done and have not been
 * written for keep_s seconds. Till then they are there for a database that is put back from a backup: what that lacks is sent again. */
struct audit_shipped { uint64_t events; uint64_t files; bool more; };
int audit_ship(const char *dir, const char *server, unsigned keep_s, struct db *d, struct audit_shipped *out, struct err *e);
/* What waits in dir, arrived or not: files that are not removed yet. used_percent: of the disk they are on. */
struct audit_waiting { uint64_t files, bytes; unsigned used_percent; };
int audit_waiting(const char *dir, struct audit_waiting *out, struct err *e);

/* Drops the months that are older than the month of now and `months` whole months before it, by the database's clock, one at
 * a time over all servers; 0 drops nothing. Each is an event in the journal of `dir`. What remains can still be verified. d
 * must allow statements of an hour. ERR_DATABASE also when somebody reads the audit trail just then. */
struct audit_retained { unsigned parts; uint64_t records, events; };
int audit_retain(const char *dir, const char *server, struct db *d, unsigned months, struct audit_retained *out, struct err *e);

/* ---- reading */
struct audit_query { struct slice user, client, service, status, kind, request_id, card_id, address; int64_t from_ms, to_ms; unsigned most; int64_t after_id; };
struct audit_row {
	int64_t id;
	struct slice time, server, kind, status, request_id, client, organisation, user, system, address, operation, service, endpoint, card_id, card_client, reason;
	struct slice http_status, duration_ms, bytes_in, bytes_out;
};
/* Newest first; after_id > 0: oldest first from there on (tail). */
int audit_search(struct db *d, struct arena *a, const struct audit_query *q, struct audit_row **rows, size_t *n, struct err *e);
/* All that the query finds (q->most 0: no limit), oldest first, in one snapshot and in bounded memory. row: -1 with e filled
 * ends it; what the row points to lives until it returns. */
int audit_export(struct db *d, const struct audit_query *q, int (*row)(void *ctx, const struct audit_row *row, struct err *e),
    void *ctx, struct err *e);
/* Recomputes the hash chain of every journal in the central table. *broken counts the breaks; each is reported. */
int audit_verify(struct db *d, void (*report)(void *ctx, const char *line), void *ctx, uint64_t *events, uint64_t *broken, struct err *e);

#endif
