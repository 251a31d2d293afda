/* soap: the head of a SOAP 1.1 message as it comes in, and the answers and faults we write. */
#ifndef SOAP_SOAP_H
#define SOAP_SOAP_H

#include "buf.h"
#include "err.h"
#include "xml.h"

#include <stdint.h>

struct soap_span { size_t start, end; };	/* byte offsets; start == end: not there */
#define SOAP_WSA_MAX 16

/* What is known when <Body> has been reached. Slices live in the arena. */
struct soap_head {
	size_t end;			/* offset of '<' of <Body>: all before it is the head */
	bool has_header, has_security, has_card;
	struct soap_span card;		/* the saml:Assertion in wsse:Security */
	struct soap_span wsa[SOAP_WSA_MAX];	/* WS-Addressing blocks, in order, not overlapping */
	size_t nwsa;
	struct slice to, action, message_id;	/* whole text; absent when there is none */
	struct slice name_id, name_id_format;	/* trimmed of XML white space; absent or empty: none */
	struct slice card_id, system;		/* IDCardID and ITSystemName; absent when missing */
	struct slice type;			/* IDCardType; absent when missing */
	struct slice care_provider, care_provider_format, care_provider_name;	/* CareProviderID, its NameFormat (trimmed), CareProviderName; likewise */
	int level;				/* AuthenticationLevel 1-4; 0 when absent or something else */
	bool card_signed;			/* the card has a ds:Signature */
	struct slice envelope_prefix;		/* for soap_head_document */
};

/* Reads until <Body> starts. Refuses, besides what xml_reader refuses: no or foreign Envelope
 * (ERR_NO_ENVELOPE), SOAP 1.2 (ERR_SOAP_12), two Headers, Header after Body, no Body
 * (ERR_ENVELOPE_FORM), two Security headers with a card or for nobody's actor (ERR_TWO_SECURITY; a second
 * one for another actor and without a card passes), two assertions anywhere in the head (ERR_TWO_CARDS), two
 * NameIDs (ERR_CARD_FORM), an id="IDCard" outside the card (ERR_TWO_CARDS), two wsa:To, also in two namespaces, or one with child elements
 * (ERR_TO_AMBIGUOUS). Missing parts are not judged here; see soap_need_*. Text in two pieces (comments) is joined. */
struct soap_reader;
struct soap_reader *soap_reader_new(struct arena *a, const struct xml_limits *limits);
/* 0: more is needed; 1: the head is complete; -1: refused. */
int soap_reader_feed(struct soap_reader *r, struct slice bytes, struct err *e);
/* The message ended before its Body: always -1, with the right kind. */
int soap_reader_end(struct soap_reader *r, struct err *e);
const struct soap_head *soap_reader_head(const struct soap_reader *r);

/* ERR_NO_CARD_IN_REQUEST, ERR_NO_NAME_ID */
int soap_need_user(const struct soap_head *h, struct err *e);
/* ERR_TO_MISSING */
int soap_need_to(const struct soap_head *h, struct err *e);

/* The saml:Assertion of a head as a tree node with its namespaces, for idcard_read_request; message:
 * the bytes fed, at least up to h->end. */
int soap_head_card(struct arena *a, const struct soap_head *h, struct slice message, xmlNode **card, struct err *e);

/* The head with the card replaced and, when strip_wsa, the WS-Addressing blocks removed; every other
 * byte as it came. card: a self-contained assertion. card absent: kept. */
int soap_splice(const struct soap_head *h, struct slice message, struct slice card, bool strip_wsa, struct buf *out, struct err *e);

/* A small whole message (card operations): head by the same rules, then the body as a tree. */
struct soap_message {
	const struct soap_head *head;
	xmlNode *card;			/* NULL when there is none */
	xmlNode *operation;		/* the element child of Body; NULL when there is none */
};
/* Two element children of Body: ERR_TWO_OPERATIONS. */
int soap_read(struct arena *a, struct slice bytes, struct soap_message *out, struct err *e);

/* MTOM: Content-Type of a request. multipart/related: boundary and start are taken out of it. */
enum soap_form { SOAP_PLAIN, SOAP_MULTIPART };
int soap_content_type(struct arena *a, struct slice content_type, enum soap_form *form, struct slice *boundary, struct slice *start, struct err *e);

/* Where the envelope of the root part begins in a multipart/related message. bytes: the message so far. The root must be the first
 * part (and the one that `start` names, if given), of a type that soap_content_type would take, in UTF-8, and with no transfer encoding
 * but 7bit, 8bit or binary. Up to the envelope nothing may be read in two ways: only empty lines before the first delimiter, and
 * nothing behind it; lines of ASCII text, of 1000 bytes at most, that end with CRLF; each header a token, a colon and a value, of which
 * only Content-Type may be folded, and none of Content-Type, Content-ID and Content-Transfer-Encoding comes twice. 1: found, *root set; 0: more
 * bytes are needed; -1: refused (ERR_XML, ERR_CONTENT_TYPE, ERR_ENCODING, ERR_SOAP_12). */
int soap_find_root(struct slice bytes, struct slice boundary, struct slice start, size_t *root, struct err *e);

/* The parts behind the root, as the message streams by from its first byte: another part with the root's Content-ID, which a
 * receiver could take for it, is refused (ERR_XML). boundary and start must live as long. */
struct soap_parts;
struct soap_parts *soap_parts_new(struct arena *a, struct slice boundary, struct slice start);
int soap_parts_feed(struct soap_parts *p, struct slice bytes, struct err *e);

/* A whole plain message as it streams by, for services set to check_body: well formed to its end, with at most one
 * Header, then exactly one Body (ERR_XML, ERR_DOCTYPE, ERR_ENVELOPE_FORM). Freed with the arena. */
struct soap_watch;
struct soap_watch *soap_watch_new(struct arena *a);
int soap_watch_feed(struct soap_watch *w, struct slice bytes, struct err *e);
int soap_watch_end(struct soap_watch *w, struct err *e);

/* ---- answers. SOAP 1.1, UTF-8. Prefix ns2 for the gateway's namespace: clients look for that text. */
#define SOAP_CONTENT_TYPE "text/xml; charset=utf-8"

/* header, body: the content of soap:Header and soap:Body, as markup; an absent header is empty. */
void soap_write_answer(struct buf *b, struct slice header, struct slice body);
/* The fault of interface.md 2.1. Text: the kind's, what err_say added, and the request id. header:
 * content of soap:Header as markup, or absent. */
void soap_write_fault(struct buf *b, const struct err *e, struct slice request_id, bool danish, struct slice header);
/* requestIdCardDigestForSigningResponse with its two values, as markup; used in the answer and, inside
 * ns2:implicitLoginHeader, in the header of the implicit login fault. */
void soap_write_digest_response(struct buf *b, struct slice signed_info, struct slice browser_url, struct arena *a);

#endif
