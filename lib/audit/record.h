/* record: one entry of a journal as bytes; inside audit only.
 *
 *	u32 length of the rest (little endian) | u32 CRC-32C of the rest | 32 bytes chain hash | payload
 *
 * The payload is one JSON object in clean UTF-8, so that the central table can keep it as text and the
 * database can read it. Chain hash = SHA-256(chain hash of the record before | payload); before the first
 * record stand 32 zero bytes. Kinds ("t"):
 *	begin	first of every segment: who writes, why a new segment, the chain hash it continues
 *	event	an audit_event
 *	roll	the segment ends and the next one goes on
 *	end	the process closed its journal
 * Every payload ends with its number in the journal, "q", counted from 1 without holes. */
#ifndef AUDIT_RECORD_H
#define AUDIT_RECORD_H

#include "audit.h"

#include <openssl/evp.h>

#define RECORD_HASH 32
#define RECORD_HEAD 8			/* length and CRC */
#define RECORD_VALUE 1024		/* most bytes of one text value */
#define RECORD_MOST (64 * 1024)		/* no record is longer */
/* 12 texts of 1 KB, each byte escaped at worst, and the rest */
#define RECORD_ROOM (RECORD_HEAD + RECORD_HASH + 26 * 1024)

/* A record while it is written. The payload grows behind the room for head and hash. */
struct record_text {
	size_t n;			/* bytes used, head and hash included */
	char bytes[RECORD_ROOM];
};
/* format: a number of formats.h; it stands in the record as "f", and what it has no room for is left out. */
void record_event(struct record_text *t, const struct audit_event *ev, int format);
/* `fields`: further members as JSON text, "" or beginning with a comma. */
void record_mark(struct record_text *t, const char *kind, int64_t time_ms, const char *fields, int format);
/* Adds the number and fills in hash and head; t->bytes is then ready to be written, once. */
void record_seal(struct record_text *t, EVP_MD_CTX *md, uint64_t number, const uint8_t before[RECORD_HASH],
    uint8_t hash[RECORD_HASH]);
/* A text value as records hold it: what cannot be shown replaced, cut. out: RECORD_VALUE bytes. */
size_t record_clean(char *out, struct slice value);
/* SHA-256(before | payload). */
void record_chain(EVP_MD_CTX *md, const uint8_t before[RECORD_HASH], struct slice payload, uint8_t out[RECORD_HASH]);

enum record_found {
	RECORD_WHOLE,
	RECORD_SHORT,		/* the bytes end before the record does */
	RECORD_DAMAGED
};
struct record {
	size_t size;		/* of the whole in the file */
	const uint8_t *hash;
	struct slice payload;
	enum record_type { RECORD_BEGIN, RECORD_EVENT, RECORD_ROLL, RECORD_END, RECORD_OTHER } type;
	uint64_t number;
	int64_t time_ms;
};
/* The record at the beginning of bytes. Its payload is JSON and has the members above when WHOLE. */
enum record_found record_read(struct slice bytes, struct record *out);
/* Type, number and time out of r->payload; false: it is not the payload of a record. */
bool record_payload(struct record *r);
/* Who writes, out of the payload of a begin record; false: it does not say. */
bool record_writer(struct arena *a, struct slice payload, struct slice *server, struct slice *program);
/* Where the next whole record begins behind damage, or bytes.n. */
size_t record_resume(struct slice bytes);

extern const char *const record_kinds[];	/* enum audit_kind as text */
extern const char *const record_statuses[];

#endif
