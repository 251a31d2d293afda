/* service_stub: stands in for the health services behind the gateway. At /service it is a judge: it takes only
 * messages whose header holds exactly one ID card, validly signed by the STS it was told of. Elsewhere it is slow,
 * huge, rude or wrong, as the path says (see routes[]). What arrives is recorded as it came.
 *
 *	service_stub --port N --sts-cert STS.pem --record DIR [--host A]
 *		[--tls-port N --tls-cert PEM --tls-key PEM [--tls-client-ca PEM]]
 *
 * It prints "listening on PORT" (and "tls PORT") when ready; port 0 takes a free one. DIR/<n>.head is the request line
 * and headers, DIR/<n>.body the body (of a body over 64 MB only the first MB), DIR/log.jsonl one line per request.
 * GET /requests[?last=N] shows the count and the last lines; POST /reset clears all.
 *
 * One thread per connection with blocking calls: tests count on plain behaviour, not on many thousand callers. libxml2
 * and xmlsec are used directly and none of our libraries: a fault of ours must not be judged by the same fault. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <libxml/xmlreader.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <xmlsec/base64.h>
#include <xmlsec/crypto.h>
#include <xmlsec/errors.h>
#include <xmlsec/xmldsig.h>
#include <xmlsec/xmlsec.h>

#define X(s) ((const xmlChar *)(s))
#define NS_SOAP "http://schemas.xmlsoap.org/soap/envelope/"
#define NS_WSSE "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
#define NS_SAML "urn:oasis:names:tc:SAML:2.0:assertion"
#define NS_DS "http://www.w3.org/2000/09/xmldsig#"
#define NS_MEDCOM "http://www.medcom.dk/dgws/2006/04/dgws-1.0.xsd"
#define EXC_C14N "http://www.w3.org/2001/10/xml-exc-c14n#"

enum {
	BUFFER = 256 << 10,
	JUDGED_MOST = 8 << 20,		/* a longer message is judged by its header, and not parsed to its end */
	KEPT_FILE = 64 << 20,
	KEPT_OF_LONGER = 1 << 20,
	BLOCK_PARTS = 16411,		/* a prime: no buffer size divides the period of the filler */
	BLOCK = BLOCK_PARTS * 64,
	LAST = 64,			/* lines of the log that GET /requests can show */
};

struct stub {
	const char *dir;
	int port;
	xmlSecKeyPtr sts_key;
	unsigned char *sts_der;
	int sts_der_len;
	EVP_MD *sha256;
	char *block;			/* filler for long answers; client.py makes the same */
	char *bench;			/* the whole answer of /bench */
	size_t bench_len;
	SSL_CTX *tls;
	int tls_listener;

	pthread_mutex_t lock;		/* of all below */
	uint64_t count, complete, open;
	char *last[LAST];
	int log;
};

struct conn {
	struct stub *stub;
	int fd;
	SSL *ssl;
	char *buf;			/* BUFFER octets; [start, end) is read and not used yet */
	size_t start, end;
};

struct request {
	char method[16], target[2048], content_type[256];
	char *head;			/* in the connection's buffer, until the next read */
	size_t head_len;
	uint64_t left;			/* octets of the body, or of the current chunk, still to come */
	bool chunked, first_chunk, body_done, expect, close;
};

struct verdict {
	const char *code;		/* DGWS fault code; NULL: the message is good */
	char text[256];
	char card[128], user[512];	/* IDCardID and NameID, as far as they were found */
};

struct record {
	uint64_t n, length;
	int fd;
	EVP_MD_CTX *sha;
	char sha256[65];
	char *kept;			/* for the judge */
	size_t kept_len, kept_room;
	bool complete;
};

struct exchange {
	struct stub *stub;
	struct conn *conn;
	const struct route *route;
	struct request req;
	struct record rec;
	struct verdict verdict;
	long long arg;			/* the number after the route's path, or the route's default */
	const char *word;		/* the same as text */
	const char *query;
};

struct route {
	const char *path;
	int (*handle)(struct exchange *);	/* -1: close the connection */
	long long arg;
	unsigned flags;
};

enum { JUDGE = 1, ENFORCE = 2, HEAD_ONLY = 4, SLOW_READ = 8 };

_Noreturn static void
die(const char *what)
{
	fprintf(stderr, "service_stub: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void *
need(void *p)
{
	if (p == NULL)
		die("memory");
	return p;
}

/* ---- the connection */

static ssize_t
conn_recv(struct conn *c, void *p, size_t n)
{
	ssize_t got;

	if (c->ssl != NULL)
		return SSL_read(c->ssl, p, (int)n);
	do
		got = recv(c->fd, p, n, 0);
	while (got < 0 && errno == EINTR);
	return got;
}

static int
conn_send(struct conn *c, const void *data, size_t n)
{
	const char *p = data;

	while (n > 0) {
		ssize_t sent = c->ssl != NULL ? SSL_write(c->ssl, p, n > BUFFER ? BUFFER : (int)n)
					      : send(c->fd, p, n, MSG_NOSIGNAL);
		if (sent < 0 && c->ssl == NULL && errno == EINTR)
			continue;
		if (sent <= 0)
			return -1;
		p += sent;
		n -= (size_t)sent;
	}
	return 0;
}

/* Read more, at most `most`; what is there already moves to the front when room is short. */
static int
conn_fill(struct conn *c, size_t most)
{
	if (c->start == c->end)
		c->start = c->end = 0;
	if (c->end == BUFFER) {
		memmove(c->buf, c->buf + c->start, c->end - c->start);
		c->end -= c->start;
		c->start = 0;
	}
	size_t room = BUFFER - c->end;
	if (room == 0)
		return -1;
	ssize_t got = conn_recv(c, c->buf + c->end, room < most ? room : most);
	if (got <= 0)
		return -1;
	c->end += (size_t)got;
	return 0;
}

/* Wait until the other end hangs up. */
static void
conn_wait(struct conn *c)
{
	struct pollfd p = { .fd = c->fd, .events = POLLRDHUP };

	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
}

/* Take what still comes for two seconds, so that closing does not reset what was sent. */
static void
conn_drain(struct conn *c)
{
	struct timeval wait = { .tv_sec = 2 };
	time_t end = time(NULL) + 2;

	if (c->ssl == NULL)
		shutdown(c->fd, SHUT_WR);
	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
	while (conn_recv(c, c->buf, BUFFER) > 0 && time(NULL) <= end)
		;
}

/* ---- the request */

static void
copy_text(char *to, size_t size, const char *from, size_t n)
{
	if (n >= size)
		n = size - 1;
	memcpy(to, from, n);
	to[n] = 0;
}

static bool
is_header(const char *line, size_t n, const char *name, const char **value, size_t *value_len)
{
	size_t len = strlen(name);

	if (n <= len || line[len] != ':' || strncasecmp(line, name, len) != 0)
		return false;
	for (len++; len < n && (line[len] == ' ' || line[len] == '\t'); len++)
		;
	*value = line + len;
	*value_len = n - len;
	return true;
}

static void
parse_header(struct request *r, const char *line, size_t n)
{
	const char *v;
	size_t len;

	if (is_header(line, n, "Content-Length", &v, &len))
		r->left = strtoull(v, NULL, 10);
	else if (is_header(line, n, "Transfer-Encoding", &v, &len))
		r->chunked = len >= 7 && strncasecmp(v + len - 7, "chunked", 7) == 0;
	else if (is_header(line, n, "Connection", &v, &len))
		r->close = len >= 5 && strncasecmp(v, "close", 5) == 0;
	else if (is_header(line, n, "Expect", &v, &len))
		r->expect = true;
	else if (is_header(line, n, "Content-Type", &v, &len))
		copy_text(r->content_type, sizeof r->content_type, v, len);
}

static int
parse_head(struct request *r)
{
	const char *p = r->head, *end = r->head + r->head_len;
	const char *eol = memchr(p, '\r', r->head_len);
	const char *space = memchr(p, ' ', (size_t)(eol - p));
	const char *version = memrchr(p, ' ', (size_t)(eol - p));

	if (space == NULL || version <= space || strncmp(version, " HTTP/1.", 8) != 0)
		return -1;
	copy_text(r->method, sizeof r->method, p, (size_t)(space - p));
	copy_text(r->target, sizeof r->target, space + 1, (size_t)(version - space - 1));
	r->close = version[8] == '0';
	for (p = eol + 2; p < end - 2; p = eol + 2) {
		eol = memmem(p, (size_t)(end - p), "\r\n", 2);
		parse_header(r, p, (size_t)(eol - p));
	}
	if (r->chunked)
		r->left = 0;
	r->first_chunk = true;
	return 0;
}

static int
read_head(struct conn *c, struct request *r)
{
	memset(r, 0, offsetof(struct request, head));
	r->head_len = 0;
	r->left = 0;
	r->chunked = r->body_done = r->expect = r->close = false;
	for (;;) {
		char *end = memmem(c->buf + c->start, c->end - c->start, "\r\n\r\n", 4);
		if (end != NULL) {
			r->head = c->buf + c->start;
			r->head_len = (size_t)(end + 4 - r->head);
			c->start += r->head_len;
			return parse_head(r);
		}
		/* a small message whole; little of a big one, for /slow-read must not have it already */
		if (conn_fill(c, 16 << 10) < 0)
			return -1;
	}
}

/* One line of the chunked coding, without its end. */
static int
read_line(struct conn *c, char *line, size_t size)
{
	for (;;) {
		char *eol = memchr(c->buf + c->start, '\n', c->end - c->start);
		if (eol != NULL) {
			copy_text(line, size, c->buf + c->start, (size_t)(eol - c->buf) - c->start);
			line[strcspn(line, "\r")] = 0;
			c->start = (size_t)(eol - c->buf) + 1;
			return 0;
		}
		if (c->end - c->start > 8192 || conn_fill(c, BUFFER) < 0)
			return -1;
	}
}

static int
next_chunk(struct conn *c, struct request *r)
{
	char line[256], *end;

	if (!r->first_chunk && (read_line(c, line, sizeof line) < 0 || line[0] != 0))
		return -1;
	r->first_chunk = false;
	if (read_line(c, line, sizeof line) < 0)
		return -1;
	errno = 0;
	r->left = strtoull(line, &end, 16);
	if (end == line || (*end != 0 && *end != ';' && *end != ' ') || errno != 0)
		return -1;
	if (r->left > 0)
		return 0;
	r->body_done = true;
	do {
		if (read_line(c, line, sizeof line) < 0)
			return -1;
	} while (line[0] != 0);
	return 0;
}

/* The next piece of the body, in the connection's buffer. 1: there is one, 0: that was all, -1: the sender broke off. */
static int
next_piece(struct conn *c, struct request *r, size_t most, const char **p, size_t *n)
{
	if (r->left == 0 && r->chunked && !r->body_done && next_chunk(c, r) < 0)
		return -1;
	if (r->left == 0)
		return 0;
	if (c->start == c->end && conn_fill(c, most) < 0)
		return -1;
	*n = c->end - c->start;
	if (*n > r->left)
		*n = (size_t)r->left;
	*p = c->buf + c->start;
	c->start += *n;
	r->left -= *n;
	return 1;
}

/* ---- answers */

static const char *
reason(int status)
{
	switch (status) {
	case 200: return "OK";
	case 302: return "Found";
	case 404: return "Not Found";
	case 500: return "Internal Server Error";
	default: return "Status";
	}
}

/* One answer, head and body in one piece. */
static int
answer(struct exchange *x, int status, const char *type, const char *headers, const char *body, size_t n)
{
	char *out = NULL;
	int head = asprintf(&out, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s%s\r\n", status,
	    reason(status), type, n, headers, x->req.close ? "Connection: close\r\n" : "");
	if (head < 0)
		die("memory");
	out = need(realloc(out, (size_t)head + n + 1));
	if (n > 0)
		memcpy(out + head, body, n);
	int rc = conn_send(x->conn, out, (size_t)head + n);
	free(out);
	return rc;
}

__attribute__((format(printf, 3, 4))) static int
answer_soap(struct exchange *x, int status, const char *fmt, ...)
{
	char *inner = NULL, *body = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&inner, fmt, ap) < 0)
		die("memory");
	va_end(ap);
	int n = asprintf(&body, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope xmlns:soapenv=\"" NS_SOAP
	    "\"><soapenv:Header/><soapenv:Body>%s</soapenv:Body></soapenv:Envelope>", inner);
	if (n < 0)
		die("memory");
	int rc = answer(x, status, "text/xml; charset=utf-8", "", body, (size_t)n);
	free(inner);
	free(body);
	return rc;
}

static char *
escaped(const char *text)
{
	return need((char *)xmlEncodeSpecialChars(NULL, X(text)));
}

static int
answer_fault(struct exchange *x, const char *code, const char *text)
{
	char *t = escaped(text), *k = escaped(code);
	int rc = answer_soap(x, 500, "<soapenv:Fault><faultcode>Server</faultcode><faultstring>%s</faultstring><detail>"
	    "<medcom:FaultCode xmlns:medcom=\"" NS_MEDCOM "\">%s</medcom:FaultCode></detail></soapenv:Fault>", t, k);
	xmlFree(t);
	xmlFree(k);
	return rc;
}

static int
answer_receipt(struct exchange *x)
{
	char *card = escaped(x->verdict.card), *user = escaped(x->verdict.user);
	int rc = answer_soap(x, 200, "<r:Receipt xmlns:r=\"urn:sosigw:test:stub\"><r:Request>%llu</r:Request><r:IDCardID>%s"
	    "</r:IDCardID><r:NameID>%s</r:NameID><r:Length>%llu</r:Length><r:Sha256>%s</r:Sha256></r:Receipt>",
	    (unsigned long long)x->rec.n, card, user, (unsigned long long)x->rec.length, x->rec.sha256);
	xmlFree(card);
	xmlFree(user);
	return rc;
}

/* ---- the judge */

/* false, with the reason */
__attribute__((format(printf, 3, 4))) static bool
refuse(struct verdict *v, const char *code, const char *fmt, ...)
{
	va_list ap;

	if (v->code != NULL)
		return false;
	v->code = code;
	va_start(ap, fmt);
	vsnprintf(v->text, sizeof v->text, fmt, ap);
	va_end(ap);
	return false;
}

static bool
is_element(const xmlNode *n, const char *ns, const char *name)
{
	return n->type == XML_ELEMENT_NODE && n->ns != NULL && xmlStrEqual(n->ns->href, X(ns)) &&
	    xmlStrEqual(n->name, X(name));
}

/* How many such elements are in parent, at any depth or as children alone; the last one found. */
static int
count(xmlNode *parent, const char *ns, const char *name, bool deep, xmlNode **found)
{
	int n = 0;

	for (xmlNode *c = parent->children; c != NULL; c = c->next) {
		if (is_element(c, ns, name)) {
			n++;
			*found = c;
		}
		if (deep && c->type == XML_ELEMENT_NODE)
			n += count(c, ns, name, deep, found);
	}
	return n;
}

static xmlNode *
child(xmlNode *parent, const char *ns, const char *name)
{
	xmlNode *found = NULL;

	return parent != NULL && count(parent, ns, name, false, &found) == 1 ? found : NULL;
}

static bool
attribute_is(xmlNode *n, const char *name, const char *want)
{
	xmlChar *v = n != NULL ? xmlGetNoNsProp(n, X(name)) : NULL;
	bool same = v != NULL && xmlStrEqual(v, X(want));

	xmlFree(v);
	return same;
}

/* How many attributes, whatever their name, could be taken for the card's id. */
static int
count_id(xmlNode *n)
{
	int found = 0;

	for (xmlAttr *a = n->properties; a != NULL; a = a->next)
		if (strcasecmp((const char *)a->name, "id") == 0 && a->children != NULL && a->children->content != NULL &&
		    xmlStrEqual(a->children->content, X("IDCard")))
			found++;
	for (xmlNode *c = n->children; c != NULL; c = c->next)
		if (c->type == XML_ELEMENT_NODE)
			found += count_id(c);
	return found;
}

/* Exactly the reference of a DGWS card: the card, enveloped signature, exclusive c14n. */
static bool
signature_form(xmlNode *signature)
{
	xmlNode *info = child(signature, NS_DS, "SignedInfo");
	xmlNode *reference = child(info, NS_DS, "Reference");
	xmlNode *transforms = child(reference, NS_DS, "Transforms");
	xmlNode *t[3] = { NULL };
	int n = 0;

	for (xmlNode *c = transforms != NULL ? transforms->children : NULL; c != NULL; c = c->next)
		if (c->type == XML_ELEMENT_NODE && n < 3)
			t[n++] = c;
	return n == 2 && attribute_is(reference, "URI", "#IDCard") &&
	    attribute_is(child(info, NS_DS, "CanonicalizationMethod"), "Algorithm", EXC_C14N) &&
	    is_element(t[0], NS_DS, "Transform") && attribute_is(t[0], "Algorithm", NS_DS "enveloped-signature") &&
	    is_element(t[1], NS_DS, "Transform") && attribute_is(t[1], "Algorithm", EXC_C14N) &&
	    xmlFirstElementChild(t[1]) == NULL;
}

/* Is the certificate shown that of the STS? */
static bool
shows_sts(struct stub *s, xmlNode *signature)
{
	xmlNode *data = child(child(signature, NS_DS, "KeyInfo"), NS_DS, "X509Data");
	xmlNode *cert = child(data, NS_DS, "X509Certificate");
	xmlChar *text = cert != NULL ? xmlNodeGetContent(cert) : NULL;
	unsigned char der[16384];
	xmlSecSize n = 0;
	bool decoded = text != NULL && xmlSecBase64Decode_ex(text, der, sizeof der, &n) == 0;

	xmlFree(text);
	return decoded && n == (xmlSecSize)s->sts_der_len && memcmp(der, s->sts_der, n) == 0;
}

/* The key is the one we were given, whatever KeyInfo says. */
static bool
verifies(struct stub *s, xmlNode *card, xmlNode *signature)
{
	xmlAttr *id = xmlHasProp(card, X("id"));
	xmlSecDSigCtxPtr ctx = xmlSecDSigCtxCreate(NULL);
	bool good = false;

	if (id == NULL || ctx == NULL || xmlAddID(NULL, card->doc, X("IDCard"), id) == NULL)
		goto out;
	ctx->signKey = xmlSecKeyDuplicate(s->sts_key);
	ctx->enabledReferenceUris = xmlSecTransformUriTypeSameDocument;
	good = xmlSecDSigCtxVerify(ctx, signature) == 0 && ctx->status == xmlSecDSigStatusSucceeded &&
	    xmlSecPtrListGetSize(&ctx->signedInfoReferences) == 1;
	/* the reader frees its nodes as it goes on */
	xmlRemoveID(card->doc, id);
out:
	if (ctx != NULL)
		xmlSecDSigCtxDestroy(ctx);
	return good;
}

static time_t
time_of(xmlNode *n, const char *name)
{
	xmlChar *v = xmlGetNoNsProp(n, X(name));
	struct tm tm = { 0 };
	char *end = v != NULL ? strptime((char *)v, "%Y-%m-%dT%H:%M:%SZ", &tm) : NULL;
	time_t t = end != NULL && *end == 0 ? timegm(&tm) : 0;

	xmlFree(v);
	return t;
}

static void
copy_content(char *to, size_t size, xmlNode *n)
{
	xmlChar *text = n != NULL ? xmlNodeGetContent(n) : NULL;

	if (text != NULL)
		copy_text(to, size, (char *)text, strlen((char *)text));
	xmlFree(text);
}

/* IDCardID and NameID, for the receipt and the log */
static void
note_names(xmlNode *card, struct verdict *v)
{
	copy_content(v->user, sizeof v->user, child(child(card, NS_SAML, "Subject"), NS_SAML, "NameID"));
	for (xmlNode *s = card->children; s != NULL; s = s->next)
		for (xmlNode *a = s->children; is_element(s, NS_SAML, "AttributeStatement") && a != NULL; a = a->next)
			if (a->type == XML_ELEMENT_NODE && attribute_is(a, "Name", "sosi:IDCardID"))
				copy_content(v->card, sizeof v->card, child(a, NS_SAML, "AttributeValue"));
}

static bool
judge_card(struct stub *s, xmlNode *card, struct verdict *v)
{
	xmlNode *signature = NULL, *conditions = child(card, NS_SAML, "Conditions");
	int signatures = count(card, NS_DS, "Signature", true, &signature);
	time_t now = time(NULL);

	note_names(card, v);
	if (signatures == 0)
		return refuse(v, "security_level_failed", "The ID card is not signed");
	if (signatures != 1 || signature->parent != card || !signature_form(signature))
		return refuse(v, "invalid_signature", "The signature has not the form of an ID card's");
	if (!shows_sts(s, signature))
		return refuse(v, "invalid_certificate", "The ID card is not signed by the STS");
	if (!verifies(s, card, signature))
		return refuse(v, "invalid_signature", "The signature of the ID card is wrong");
	if (conditions == NULL || time_of(conditions, "NotBefore") > now || time_of(conditions, "NotOnOrAfter") <= now)
		return refuse(v, "expired_idcard", "ID card is not valid in time");
	return true;
}

static bool
judge_header(struct stub *s, xmlNode *header, struct verdict *v)
{
	xmlNode *security = NULL, *card = NULL;
	int n = count(header, NS_WSSE, "Security", true, &security);

	if (n != 1 || security->parent != header)
		return refuse(v, "missing_required_header", "%d wsse:Security headers", n);
	n = count(header, NS_SAML, "Assertion", true, &card);
	if (n != 1 || card->parent != security)
		return refuse(v, "invalid_idcard", "%d ID cards", n);
	if (!attribute_is(card, "id", "IDCard") || count_id(header) != 1)
		return refuse(v, "invalid_idcard", "The id IDCard is not the card's alone");
	return judge_card(s, card, v);
}

/* The SOAP header, whole, with the envelope above it. */
static xmlNode *
find_header(xmlTextReaderPtr r, struct verdict *v)
{
	while (xmlTextReaderRead(r) == 1) {
		int type = xmlTextReaderNodeType(r), depth = xmlTextReaderDepth(r);
		if (type == XML_READER_TYPE_DOCUMENT_TYPE || type == XML_READER_TYPE_ENTITY_REFERENCE)
			break;
		if (type != XML_READER_TYPE_ELEMENT)
			continue;
		xmlNode *n = xmlTextReaderCurrentNode(r);
		if (depth == 0 && is_element(n, NS_SOAP, "Envelope"))
			continue;
		if (depth == 1 && is_element(n, NS_SOAP, "Header") && (n = xmlTextReaderExpand(r)) != NULL)
			return n;
		break;
	}
	refuse(v, "syntax_error", "no SOAP envelope with a header");
	return NULL;
}

static void
judge_xml(struct stub *s, const char *xml, size_t len, bool whole, struct verdict *v)
{
	xmlTextReaderPtr r = xmlReaderForMemory(xml, (int)len, NULL, NULL,
	    XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
	xmlNode *header = r != NULL ? find_header(r, v) : NULL;
	int rc = 1;

	if (header != NULL && judge_header(s, header, v) && whole) {
		/* what the gateway sent on must still be well-formed to its end */
		while (rc == 1)
			rc = xmlTextReaderRead(r);
		if (rc < 0)
			refuse(v, "syntax_error", "the message is not well-formed");
	}
	xmlFreeTextReader(r);
}

static void
judge(struct exchange *x)
{
	const char *xml = x->rec.kept;
	size_t len = x->rec.kept_len;
	bool whole = x->rec.length == len;

	if (strncasecmp(x->req.content_type, "multipart/", 10) == 0) {
		/* MTOM: the root part comes first, its end is of no interest */
		const char *part = len > 0 ? memmem(xml, len, "\r\n\r\n", 4) : NULL;
		if (part != NULL) {
			len -= (size_t)(part + 4 - xml);
			xml = part + 4;
		}
		whole = false;
	}
	if (len == 0)
		refuse(&x->verdict, "syntax_error", "no message");
	else
		judge_xml(x->stub, xml, len, whole, &x->verdict);
}

/* ---- records */

static void
path_of(struct exchange *x, const char *kind, char *path, size_t size)
{
	snprintf(path, size, "%s/%llu.%s", x->stub->dir, (unsigned long long)x->rec.n, kind);
}

static int
open_record(struct exchange *x, const char *kind)
{
	char path[4096];

	path_of(x, kind, path, sizeof path);
	return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
}

/* A full disk must not look like a fault of the gateway. */
static void
write_record(int fd, const void *p, size_t n)
{
	if (fd >= 0 && write(fd, p, n) != (ssize_t)n)
		die("writing the record");
}

static void
record_begin(struct exchange *x)
{
	struct stub *s = x->stub;

	pthread_mutex_lock(&s->lock);
	x->rec.n = ++s->count;
	s->open++;
	pthread_mutex_unlock(&s->lock);
	int fd = open_record(x, "head");
	write_record(fd, x->req.head, x->req.head_len);
	if (fd >= 0)
		close(fd);
	x->rec.fd = strstr(x->query, "norecord") == NULL ? open_record(x, "body") : -1;
	if (strstr(x->query, "nohash") != NULL)
		return;
	x->rec.sha = need(EVP_MD_CTX_new());
	EVP_DigestInit_ex(x->rec.sha, s->sha256, NULL);
}

static void
record_add(struct exchange *x, const char *p, size_t n)
{
	struct record *r = &x->rec;

	r->length += n;
	if (r->sha != NULL)
		EVP_DigestUpdate(r->sha, p, n);
	if (r->fd >= 0 && r->length > KEPT_FILE) {
		if (ftruncate(r->fd, KEPT_OF_LONGER) < 0)
			die("truncating the record");
		close(r->fd);
		r->fd = -1;
	}
	write_record(r->fd, p, n);
	if (!(x->route->flags & JUDGE) || r->kept_len == JUDGED_MOST)
		return;
	if (n > JUDGED_MOST - r->kept_len)
		n = JUDGED_MOST - r->kept_len;
	if (r->kept_len + n > r->kept_room) {
		r->kept_room = (r->kept_len + n) * 2;
		r->kept = need(realloc(r->kept, r->kept_room));
	}
	memcpy(r->kept + r->kept_len, p, n);
	r->kept_len += n;
}

static json_t *
json_text(const char *text)
{
	json_t *j = json_string(text);

	return j != NULL ? j : json_string("(not UTF-8)");
}

static char *
log_line(struct exchange *x)
{
	struct timespec ts;
	struct tm tm;
	char when[64], stamp[80];
	const char *subject = "";
	char peer[512] = "";

	clock_gettime(CLOCK_REALTIME, &ts);
	strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", gmtime_r(&ts.tv_sec, &tm));
	snprintf(stamp, sizeof stamp, "%s.%03ldZ", when, ts.tv_nsec / 1000000);
	X509 *cert = x->conn->ssl != NULL ? SSL_get0_peer_certificate(x->conn->ssl) : NULL;
	if (x->conn->ssl != NULL)
		subject = cert != NULL ? X509_NAME_oneline(X509_get_subject_name(cert), peer, sizeof peer) : "no certificate";
	const char *verdict = !(x->route->flags & JUDGE) || !x->rec.complete ? "unchecked"
	    : x->verdict.code != NULL					     ? x->verdict.code
									     : "ok";
	json_t *j = json_pack("{s:I, s:o, s:o, s:I, s:s, s:s, s:o, s:o, s:o, s:b, s:o, s:s}", "n", (json_int_t)x->rec.n,
	    "path", json_text(x->req.target), "method", json_text(x->req.method), "length", (json_int_t)x->rec.length,
	    "sha256", x->rec.sha256, "verdict", verdict, "text", json_text(x->verdict.text), "card",
	    json_text(x->verdict.card), "user", json_text(x->verdict.user), "complete", x->rec.complete, "tls",
	    json_text(subject), "time", stamp);
	char *line = need(json_dumps(need(j), JSON_COMPACT | JSON_PRESERVE_ORDER));

	json_decref(j);
	return line;
}

/* Before the answer is sent: who has it can read the record. */
static void
record_end(struct exchange *x)
{
	struct stub *s = x->stub;
	unsigned char hash[32];

	if (x->rec.sha != NULL) {
		EVP_DigestFinal_ex(x->rec.sha, hash, NULL);
		for (int i = 0; i < 32; i++)
			snprintf(x->rec.sha256 + 2 * i, 3, "%02x", hash[i]);
		EVP_MD_CTX_free(x->rec.sha);
	}
	if (x->rec.fd >= 0)
		close(x->rec.fd);
	char *line = log_line(x);
	pthread_mutex_lock(&s->lock);
	s->open--;
	s->complete += x->rec.complete;
	dprintf(s->log, "%s\n", line);
	free(s->last[x->rec.n % LAST]);
	s->last[x->rec.n % LAST] = line;
	pthread_mutex_unlock(&s->lock);
}

/* Numbers go on where an earlier run stopped. */
static void
open_log(struct stub *s)
{
	char path[4096], line[8192];
	unsigned long long n;

	snprintf(path, sizeof path, "%s/log.jsonl", s->dir);
	FILE *f = fopen(path, "r");
	while (f != NULL && fgets(line, sizeof line, f) != NULL)
		if (sscanf(line, "{\"n\":%llu", &n) == 1 && n > s->count)
			s->count = n;
	if (f != NULL)
		fclose(f);
	s->log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (s->log < 0)
		die(path);
}

static int
handle_reset(struct exchange *x)
{
	struct stub *s = x->stub;
	DIR *d = opendir(s->dir);

	pthread_mutex_lock(&s->lock);
	for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
		const char *dot = strchr(e->d_name, '.');
		if (dot != NULL && (strcmp(dot, ".head") == 0 || strcmp(dot, ".body") == 0))
			unlinkat(dirfd(d), e->d_name, 0);
	}
	if (d != NULL)
		closedir(d);
	s->count = s->complete = 0;
	for (int i = 0; i < LAST; i++) {
		free(s->last[i]);
		s->last[i] = NULL;
	}
	int rc = ftruncate(s->log, 0);
	pthread_mutex_unlock(&s->lock);
	return rc < 0 ? -1 : answer(x, 200, "text/plain", "", "cleared\n", 8);
}

static int
handle_requests(struct exchange *x)
{
	struct stub *s = x->stub;
	const char *last = strstr(x->query, "last=");
	uint64_t want = last != NULL ? strtoull(last + 5, NULL, 10) : 10;
	json_t *lines = need(json_array());

	pthread_mutex_lock(&s->lock);
	want = want > LAST ? LAST : want;
	for (uint64_t n = s->count > want ? s->count - want + 1 : 1; n <= s->count; n++)
		if (s->last[n % LAST] != NULL)
			json_array_append_new(lines, json_loads(s->last[n % LAST], 0, NULL));
	json_t *j = json_pack("{s:I, s:I, s:I, s:o}", "count", (json_int_t)s->count, "complete", (json_int_t)s->complete,
	    "open", (json_int_t)s->open, "last", lines);
	pthread_mutex_unlock(&s->lock);
	char *text = need(json_dumps(need(j), JSON_PRESERVE_ORDER));
	int rc = answer(x, 200, "application/json", "", text, strlen(text));
	free(text);
	json_decref(j);
	return rc;
}

/* ---- behaviours */

static int
handle_receipt(struct exchange *x)
{
	if ((x->route->flags & ENFORCE) && x->verdict.code != NULL)
		return answer_fault(x, x->verdict.code, x->verdict.text);
	return answer_receipt(x);
}

static int
handle_slow(struct exchange *x)
{
	struct timespec t = { x->arg / 1000, x->arg % 1000 * 1000000 };

	nanosleep(&t, NULL);
	return answer_receipt(x);
}

static int
handle_fault(struct exchange *x)
{
	const char *code = *x->word != 0 ? x->word : "processing_problem";

	return answer_fault(x, code, strcmp(code, "expired_idcard") == 0 ? "ID card is not valid in time"
									  : "The service stub was asked to fail");
}

#define BIG_BEFORE "<soapenv:Envelope xmlns:soapenv=\"" NS_SOAP "\"><soapenv:Body>" \
	"<x:blob xmlns:x=\"urn:sosigw:test:stub\">"
#define BIG_AFTER "</x:blob></soapenv:Body></soapenv:Envelope>"

static int
send_part(struct conn *c, bool chunked, const char *p, size_t n)
{
	char size[32];
	int len = snprintf(size, sizeof size, "%zx\r\n", n);

	if (!chunked)
		return conn_send(c, p, n);
	return conn_send(c, size, (size_t)len) < 0 || conn_send(c, p, n) < 0 || conn_send(c, "\r\n", 2) < 0 ? -1 : 0;
}

static int
send_filler(struct exchange *x, bool chunked, long long n)
{
	while (n > 0) {
		size_t part = n > BLOCK ? BLOCK : (size_t)n;
		if (send_part(x->conn, chunked, x->stub->block, part) < 0)
			return -1;
		n -= (long long)part;
	}
	return 0;
}

/* The head of an answer of total octets and its first `sent` octets; all of it when sent is total. */
static int
send_big(struct exchange *x, long long total, long long sent, bool chunked)
{
	char head[256];
	long long frame = (long long)(sizeof BIG_BEFORE - 1 + sizeof BIG_AFTER - 1);

	total = total < frame ? frame : total;
	sent = sent < (long long)sizeof BIG_BEFORE - 1 ? (long long)sizeof BIG_BEFORE - 1 : sent;
	int n = chunked ? snprintf(head, sizeof head, "Transfer-Encoding: chunked")
			: snprintf(head, sizeof head, "Content-Length: %lld", total);
	char *all = NULL;
	int len = asprintf(&all, "HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset=utf-8\r\n%.*s\r\n%s\r\n", n, head,
	    x->req.close ? "Connection: close\r\n" : "");
	int rc = len < 0 ? -1 : conn_send(x->conn, all, (size_t)len);
	free(all);
	if (rc < 0 || send_part(x->conn, chunked, BIG_BEFORE, sizeof BIG_BEFORE - 1) < 0)
		return -1;
	if (sent < total)
		return send_filler(x, chunked, sent - (long long)sizeof BIG_BEFORE + 1);
	if (send_filler(x, chunked, total - frame) < 0 || send_part(x->conn, chunked, BIG_AFTER, sizeof BIG_AFTER - 1) < 0)
		return -1;
	return chunked ? conn_send(x->conn, "0\r\n\r\n", 5) : 0;
}

static int
handle_big(struct exchange *x)
{
	return send_big(x, x->arg, x->arg, strstr(x->query, "chunked") != NULL);
}

static int
handle_cut(struct exchange *x)
{
	send_big(x, 2 * x->arg + 1000, x->arg, false);
	return -1;
}

static int
handle_cut_chunked(struct exchange *x)
{
	send_big(x, 2 * x->arg + 1000, x->arg, true);
	return -1;
}

static int
handle_hang(struct exchange *x)
{
	conn_wait(x->conn);
	return -1;
}

static int
handle_hang_body(struct exchange *x)
{
	send_big(x, 2 * x->arg + 1000, x->arg, false);
	conn_wait(x->conn);
	return -1;
}

static int
handle_close(struct exchange *x)
{
	(void)x;
	return -1;
}

/* The answer comes when the body has hardly begun. */
static int
handle_early(struct exchange *x)
{
	x->req.close = true;
	answer_fault(x, "not_authorized", "refused before the body was read");
	conn_drain(x->conn);
	return -1;
}

static int
handle_redirect(struct exchange *x)
{
	char location[128];

	snprintf(location, sizeof location, "Location: http://127.0.0.1:%d/sink\r\n", x->stub->port);
	return answer(x, (int)x->arg, "text/plain", location, "elsewhere\n", 10);
}

static int
handle_garbage(struct exchange *x)
{
	static const char garbage[] = "\x15\x03\x01 this is not HTTP\r\n\r\n\x00\xff\xfe and goes on\r\n";

	conn_send(x->conn, garbage, sizeof garbage - 1);
	conn_drain(x->conn);
	return -1;
}

static int
handle_status(struct exchange *x)
{
	if (x->arg == 204 || x->arg == 304) {
		char head[64];
		int n = snprintf(head, sizeof head, "HTTP/1.1 %lld Status\r\n\r\n", x->arg);
		return conn_send(x->conn, head, (size_t)n);
	}
	return answer(x, (int)x->arg, "text/plain; charset=utf-8", "", "as asked\n", 9);
}

/* Headers that a gateway must not pass on, or not obey. */
static int
handle_headers(struct exchange *x)
{
	static const char odd[] = "Status: 418 teapot\r\nLocation: http://127.0.0.1/elsewhere\r\nSet-Cookie: a=b\r\n"
	    "X-Sendfile: /etc/passwd\r\nX-Accel-Redirect: /etc/passwd\r\nServer: stub\r\nRefresh: 0\r\n"
	    "Content-Language: da\r\nX-Long: 0123456789\r\n";

	return answer(x, 200, "text/xml; charset=utf-8", odd, "<ok/>", 5);
}

static int
handle_unknown(struct exchange *x)
{
	return answer(x, 404, "text/plain", "", "no such behaviour\n", 18);
}

static const struct route routes[] = {
	{ "/service",		handle_receipt,		0,	JUDGE | ENFORCE },
	{ "/slow",		handle_slow,		1000,	JUDGE },	/* /slow/<ms> */
	{ "/big",		handle_big,		1 << 20, JUDGE },	/* /big/<octets>[?chunked] */
	{ "/sink",		handle_receipt,		0,	0 },		/* [?nohash][norecord] */
	{ "/fault",		handle_fault,		0,	JUDGE },	/* /fault/<code> */
	{ "/status",		handle_status,		200,	JUDGE },	/* /status/<code> */
	{ "/headers",		handle_headers,		0,	JUDGE },
	{ "/redirect",		handle_redirect,	302,	JUDGE },	/* /redirect/<code> */
	{ "/garbage",		handle_garbage,		0,	JUDGE },
	{ "/cut-chunked",	handle_cut_chunked,	10000,	JUDGE },	/* /cut-chunked/<octets sent> */
	{ "/cut",		handle_cut,		10000,	JUDGE },	/* /cut/<octets sent> */
	{ "/hang-body",		handle_hang_body,	1000,	JUDGE },	/* /hang-body/<octets sent> */
	{ "/hang",		handle_hang,		0,	JUDGE },
	{ "/slow-read",		handle_receipt,		100000,	JUDGE | SLOW_READ },	/* /slow-read/<octets a second> */
	{ "/early",		handle_early,		0,	HEAD_ONLY },
	{ "/close-early",	handle_close,		0,	HEAD_ONLY },
};

static const struct route unknown = { "", handle_unknown, 0, 0 };

/* ---- one exchange */

/* A route's path, alone or followed by "/argument". */
static void
find_route(struct exchange *x)
{
	size_t n = strcspn(x->req.target, "?");

	x->query = x->req.target + n;
	x->word = "";
	x->route = &unknown;
	for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
		size_t len = strlen(routes[i].path);
		if (len > n || strncmp(x->req.target, routes[i].path, len) != 0 || (len < n && x->req.target[len] != '/'))
			continue;
		x->route = &routes[i];
		x->arg = routes[i].arg;
		if (len + 1 < n) {
			if (*x->query == '?') {
				x->req.target[n] = 0;
				x->query++;
			}
			x->word = x->req.target + len + 1;
			x->arg = strtoll(x->word, NULL, 10);
		}
		return;
	}
}

static int
take_body(struct exchange *x)
{
	size_t most = x->route->flags & SLOW_READ ? (size_t)x->arg / 10 + 1 : BUFFER;
	const char *p;
	size_t n;
	int rc;

	if (x->req.expect && conn_send(x->conn, "HTTP/1.1 100 Continue\r\n\r\n", 25) < 0)
		return -1;
	while ((rc = next_piece(x->conn, &x->req, most, &p, &n)) > 0) {
		record_add(x, p, n);
		if (most < BUFFER)
			nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);
	}
	return rc;
}

static int
serve_recorded(struct exchange *x)
{
	find_route(x);
	if (x->route->flags & SLOW_READ)
		setsockopt(x->conn->fd, SOL_SOCKET, SO_RCVBUF, &(int){ 16384 }, sizeof(int));
	record_begin(x);
	if (x->route->flags & HEAD_ONLY)
		x->rec.complete = x->req.left == 0 && !x->req.chunked;
	else
		x->rec.complete = take_body(x) == 0;
	if (x->rec.complete && (x->route->flags & JUDGE))
		judge(x);
	record_end(x);
	free(x->rec.kept);
	if (!x->rec.complete && !(x->route->flags & HEAD_ONLY))
		return -1;
	return x->route->handle(x);
}

/* Reads past the body. */
static int
skip_body(struct exchange *x)
{
	const char *p;
	size_t n;
	int rc;

	if (x->req.expect && conn_send(x->conn, "HTTP/1.1 100 Continue\r\n\r\n", 25) < 0)
		return -1;
	while ((rc = next_piece(x->conn, &x->req, BUFFER, &p, &n)) > 0)
		;
	return rc;
}

/* For measuring: no record, no check, an answer made long before. */
static int
serve_bench(struct exchange *x)
{
	return skip_body(x) < 0 ? -1 : conn_send(x->conn, x->stub->bench, x->stub->bench_len);
}

static bool
path_is(const struct request *r, const char *path)
{
	size_t n = strlen(path);

	return strncmp(r->target, path, n) == 0 && (r->target[n] == 0 || r->target[n] == '?');
}

static int
serve_one(struct conn *c)
{
	struct exchange x;

	/* only what serve_bench uses is set: the verdict's texts are cleared when they are needed */
	x.stub = c->stub;
	x.conn = c;
	if (read_head(c, &x.req) < 0)
		return -1;
	if (path_is(&x.req, "/bench"))
		return serve_bench(&x) < 0 || x.req.close ? -1 : 0;
	memset(&x.rec, 0, sizeof x.rec);
	memset(&x.verdict, 0, sizeof x.verdict);
	x.query = x.req.target + strcspn(x.req.target, "?");
	int rc;
	if (path_is(&x.req, "/requests"))
		rc = skip_body(&x) < 0 ? -1 : handle_requests(&x);
	else if (path_is(&x.req, "/reset"))
		rc = skip_body(&x) < 0 ? -1 : handle_reset(&x);
	else
		rc = serve_recorded(&x);
	return x.req.close ? -1 : rc;
}

/* ---- threads and sockets */

static void *
serve(void *arg)
{
	struct conn *c = arg;

	c->buf = need(malloc(BUFFER));
	if (c->ssl == NULL || SSL_accept(c->ssl) == 1)
		while (serve_one(c) == 0)
			;
	if (c->ssl != NULL) {
		SSL_shutdown(c->ssl);
		SSL_free(c->ssl);
	}
	close(c->fd);
	free(c->buf);
	free(c);
	return NULL;
}

_Noreturn static void
accept_all(struct stub *s, int listener, SSL_CTX *tls)
{
	pthread_attr_t attr;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 512 << 10);
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		pthread_t thread;
		if (fd < 0) {
			if (errno == EMFILE)
				sleep(1);
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
		struct conn *c = need(calloc(1, sizeof *c));
		*c = (struct conn){ .stub = s, .fd = fd };
		if (tls != NULL) {
			c->ssl = need(SSL_new(tls));
			SSL_set_fd(c->ssl, fd);
		}
		if (pthread_create(&thread, &attr, serve, c) != 0)
			die("thread");
	}
}

static void *
accept_tls(void *arg)
{
	struct stub *s = arg;

	accept_all(s, s->tls_listener, s->tls);
}

static int
listen_at(const char *host, int *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)*port) };
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	if (inet_pton(AF_INET, host, &a.sin_addr) != 1 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 ||
	    listen(fd, 4096) < 0 || getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		die(host);
	*port = ntohs(a.sin_port);
	return fd;
}

/* ---- start */

static void
load_sts(struct stub *s, const char *path)
{
	FILE *f = fopen(path, "r");
	X509 *cert = f != NULL ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;

	if (cert == NULL)
		die(path);
	fclose(f);
	s->sts_der_len = i2d_X509(cert, &s->sts_der);
	X509_free(cert);
	s->sts_key = need(xmlSecCryptoAppKeyLoad(path, xmlSecKeyDataFormatCertPem, NULL, NULL, NULL));
}

/* Text whose parts all differ: the hashes of 0, 1, 2 and so on, in hex. */
static void
make_block(struct stub *s)
{
	s->block = need(malloc(BLOCK + 1));
	for (int i = 0; i < BLOCK_PARTS; i++) {
		char number[16];
		unsigned char hash[32];
		int n = snprintf(number, sizeof number, "%d", i);
		SHA256((unsigned char *)number, (size_t)n, hash);
		for (int k = 0; k < 32; k++)
			snprintf(s->block + 64 * i + 2 * k, 3, "%02x", hash[k]);
	}
}

static void
make_bench(struct stub *s)
{
	int fill = 4096 - (int)(sizeof BIG_BEFORE - 1 + sizeof BIG_AFTER - 1);
	int n = asprintf(&s->bench, "HTTP/1.1 200 OK\r\nContent-Type: text/xml; charset=utf-8\r\nContent-Length: 4096\r\n\r\n"
	    BIG_BEFORE "%.*s" BIG_AFTER, fill, s->block);

	if (n < 0)
		die("memory");
	s->bench_len = (size_t)n;
}

static SSL_CTX *
make_tls(const char *cert, const char *key, const char *client_ca)
{
	SSL_CTX *tls = need(SSL_CTX_new(TLS_server_method()));

	if (SSL_CTX_use_certificate_chain_file(tls, cert) != 1 ||
	    SSL_CTX_use_PrivateKey_file(tls, key, SSL_FILETYPE_PEM) != 1 ||
	    (client_ca != NULL && SSL_CTX_load_verify_locations(tls, client_ca, NULL) != 1))
		die("the TLS certificate");
	SSL_CTX_set_mode(tls, SSL_MODE_AUTO_RETRY);
	SSL_CTX_set_session_id_context(tls, (const unsigned char *)"stub", 4);
	if (client_ca != NULL)
		SSL_CTX_set_verify(tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	return tls;
}

static void
quiet(void *ctx, const char *fmt, ...)
{
	(void)ctx;
	(void)fmt;
}

static void
start_libraries(struct stub *s)
{
	xmlInitParser();
	xmlThrDefSetGenericErrorFunc(NULL, quiet);	/* the plain one is for this thread only */
	if (xmlSecInit() < 0 || xmlSecCryptoAppInit(NULL) < 0 || xmlSecCryptoInit() < 0)
		die("xmlsec");
	/* a wrong signature is a finding, not news for stderr */
	xmlSecErrorsDefaultCallbackEnableOutput(0);
	s->sha256 = need(EVP_MD_fetch(NULL, "SHA256", NULL));
}

static const struct option options[] = {
	{ "port", required_argument, NULL, 'p' },	{ "host", required_argument, NULL, 'h' },
	{ "sts-cert", required_argument, NULL, 's' },	{ "record", required_argument, NULL, 'r' },
	{ "tls-port", required_argument, NULL, 'P' },	{ "tls-cert", required_argument, NULL, 'c' },
	{ "tls-key", required_argument, NULL, 'k' },	{ "tls-client-ca", required_argument, NULL, 'a' },
	{ NULL, 0, NULL, 0 },
};

struct settings {
	const char *text[128];		/* by option letter */
};

static struct settings
read_options(int argc, char **argv)
{
	struct settings set = { .text = { ['h'] = "127.0.0.1" } };
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (o == '?')
			exit(2);
		set.text[o] = optarg;
	}
	if (set.text['p'] == NULL || set.text['s'] == NULL || set.text['r'] == NULL ||
	    (set.text['P'] != NULL && (set.text['c'] == NULL || set.text['k'] == NULL))) {
		fprintf(stderr, "usage: service_stub --port N --sts-cert PEM --record DIR [--host A]\n"
		    "\t[--tls-port N --tls-cert PEM --tls-key PEM [--tls-client-ca PEM]]\n");
		exit(2);
	}
	return set;
}

int
main(int argc, char **argv)
{
	static struct stub s = { .lock = PTHREAD_MUTEX_INITIALIZER };
	struct settings set = read_options(argc, argv);
	pthread_t thread;

	signal(SIGPIPE, SIG_IGN);
	start_libraries(&s);
	load_sts(&s, set.text['s']);
	s.dir = set.text['r'];
	if (mkdir(s.dir, 0755) < 0 && errno != EEXIST)
		die(s.dir);
	open_log(&s);
	make_block(&s);
	make_bench(&s);
	s.port = atoi(set.text['p']);
	int listener = listen_at(set.text['h'], &s.port);
	printf("listening on %d", s.port);
	if (set.text['P'] != NULL) {
		int port = atoi(set.text['P']);
		s.tls = make_tls(set.text['c'], set.text['k'], set.text['a']);
		s.tls_listener = listen_at(set.text['h'], &port);
		printf(" tls %d", port);
		if (pthread_create(&thread, NULL, accept_tls, &s) != 0)
			die("thread");
	}
	printf("\n");
	fflush(stdout);
	accept_all(&s, listener, NULL);
}
