/* A request for BST2SOSI of our own, for a user who has logged in at an identity provider in the browser (bst.c has what
 * clients send). The STS wants Action, MessageID, Timestamp and Body signed by the certificate that the token is bound to. */
#include "sts_private.h"

#include "clock.h"
#include "conv.h"
#include "rand.h"

#define RSA_SHA256 "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
#define SHA256 "http://www.w3.org/2001/04/xmlenc#sha256"
#define MOST (1u << 20)

static void
put_claim(struct buf *b, const char *uri, struct slice value)
{
	if (value.n == 0)
		return;
	buf_printf(b, "<auth:ClaimType Uri=\"%s\"><auth:Value>", uri);
	xml_put_text(b, value);
	buf_puts(b, "</auth:Value></auth:ClaimType>");
}

static void
put_body(struct buf *b, struct slice token, const struct sts_claims *claims)
{
	buf_puts(b, "<soapenv:Body wsu:Id=\"body\"><wst:RequestSecurityToken Context=\"www.sosi.dk\">"
	    "<wst:TokenType>http://docs.oasis-open.org/wss/oasis-wss-saml-token-profile-1.1#SAMLV2.0</wst:TokenType>"
	    "<wst:RequestType>" NS_WST13 "/Issue</wst:RequestType><wst14:ActAs xmlns:wst14=\"" NS_WST14 "\">");
	buf_put(b, token);
	buf_puts(b, "</wst14:ActAs><wsp:AppliesTo xmlns:wsp=\"" NS_WSP "\"><wsa:EndpointReference><wsa:Address>http://sosi.dk"
	    "</wsa:Address></wsa:EndpointReference></wsp:AppliesTo><wst:Claims Dialect=\"" NS_WSFED "/authclaims\""
	    " xmlns:auth=\"" NS_WSFED "\">");
	put_claim(b, "medcom:ITSystemName", claims->system);
	put_claim(b, "medcom:UserRole", claims->role);
	put_claim(b, "medcom:UserAuthorizationCode", claims->authorization);
	put_claim(b, "sosi:SubjectNameID", claims->name_id);
	buf_puts(b, "</wst:Claims></wst:RequestSecurityToken></soapenv:Body></soapenv:Envelope>");
}

/* All but the signature, which belongs at *at. */
static void
put_message(struct arena *a, struct buf *b, struct slice token, const struct sts_claims *claims, size_t *at)
{
	buf_puts(b, "<soapenv:Envelope xmlns:soapenv=\"" NS_SOAP "\" xmlns:wsa=\"" NS_WSA05 "\" xmlns:wsse=\"" NS_WSSE "\""
	    " xmlns:wsu=\"" NS_WSU "\" xmlns:wst=\"" NS_WST13 "\"><soapenv:Header><wsa:Action wsu:Id=\"action\">" NS_WST13 "/RST/Issue"
	    "</wsa:Action><wsa:MessageID wsu:Id=\"messageID\">urn:uuid:");
	buf_put(b, rand_uuid(a));
	buf_puts(b, "</wsa:MessageID><wsse:Security mustUnderstand=\"1\" wsu:Id=\"security\"><wsu:Timestamp wsu:Id=\"ts\"><wsu:Created>");
	buf_put(b, clock_iso(a, clock_now()));
	buf_puts(b, "</wsu:Created></wsu:Timestamp>");
	*at = b->n;
	buf_puts(b, "</wsse:Security></soapenv:Header>");
	put_body(b, token, claims);
}

static int
put_reference(struct arena *a, struct buf *b, const char *id, const xmlNode *node, struct err *e)
{
	struct slice octets = { NULL, 0 };

	if (node == NULL || xml_canonical(a, node, XML_C14N_EXCLUSIVE, NULL, &octets, e) < 0)
		return err_set(e, ERR_INTERNAL, "request: %s", id);
	buf_printf(b, "<ds:Reference URI=\"#%s\"><ds:Transforms><ds:Transform Algorithm=\"" DSIG_EXCLUSIVE "\"></ds:Transform></ds:Transforms>"
	    "<ds:DigestMethod Algorithm=\"" SHA256 "\"></ds:DigestMethod><ds:DigestValue>%.*s</ds:DigestValue></ds:Reference>", id,
	    SLICE_FMT(dsig_digest(a, DSIG_SHA256, octets)));
	return 0;
}

/* In canonical form as it stands. */
static int
put_signed_info(struct arena *a, struct buf *b, struct slice message, struct err *e)
{
	xmlDoc *doc;

	if (xml_parse(a, message, &xml_document_limits, &doc, e) < 0)
		return -1;
	const xmlNode *envelope = xmlDocGetRootElement(doc), *header = xml_child(envelope, NS_SOAP, "Header", 0);
	buf_puts(b, "<ds:SignedInfo xmlns:ds=\"" NS_DS "\"><ds:CanonicalizationMethod Algorithm=\"" DSIG_EXCLUSIVE "\">"
	    "</ds:CanonicalizationMethod><ds:SignatureMethod Algorithm=\"" RSA_SHA256 "\"></ds:SignatureMethod>");
	if (put_reference(a, b, "action", xml_child(header, NS_WSA05, "Action", 0), e) < 0 ||
	    put_reference(a, b, "messageID", xml_child(header, NS_WSA05, "MessageID", 0), e) < 0 ||
	    put_reference(a, b, "ts", xml_child(xml_child(header, NS_WSSE, "Security", 0), NS_WSU, "Timestamp", 0), e) < 0 ||
	    put_reference(a, b, "body", xml_child(envelope, NS_SOAP, "Body", 0), e) < 0)
		return -1;
	buf_puts(b, "</ds:SignedInfo>");
	return 0;
}

static int
sign(struct arena *a, struct slice message, EVP_PKEY *key, X509 *cert, struct slice *out, struct err *e)
{
	struct slice value = { NULL, 0 };
	struct buf info;

	buf_init(&info, 16384);
	int rc = put_signed_info(a, &info, message, e);
	if (rc == 0 && info.failed)
		rc = err_set(e, ERR_MEMORY, "request");
	if (rc == 0)
		rc = dsig_value_make(a, key, DSIG_SHA256, buf_slice(&info), &value, e);
	if (rc == 0)
		*out = arena_printf(a, "<ds:Signature xmlns:ds=\"" NS_DS "\">%.*s<ds:SignatureValue>%.*s</ds:SignatureValue><ds:KeyInfo>"
		    "<ds:X509Data><ds:X509Certificate>%.*s</ds:X509Certificate></ds:X509Data></ds:KeyInfo></ds:Signature>",
		    SLICE_FMT(buf_slice(&info)), SLICE_FMT(conv_base64(a, value)), SLICE_FMT(conv_base64(a, pki_der(a, cert))));
	buf_free(&info);
	return rc < 0 ? -1 : out->p == NULL ? err_set(e, ERR_MEMORY, "request") : 0;
}

int
sts_make_bst(struct arena *a, struct slice token, const struct sts_claims *claims, EVP_PKEY *key, X509 *cert,
    struct slice *message, struct err *e)
{
	struct slice signature = { NULL, 0 };
	struct buf b;
	size_t at = 0;

	buf_init(&b, MOST);
	put_message(a, &b, token, claims, &at);
	int rc = b.failed ? err_set(e, ERR_MEMORY, "request") : sign(a, buf_slice(&b), key, cert, &signature, e);
	if (rc == 0)
		*message = arena_printf(a, "%.*s%.*s%.*s", (int)at, b.p, SLICE_FMT(signature), (int)(b.n - at), b.p + at);
	buf_free(&b);
	return rc < 0 ? -1 : message->p == NULL ? err_set(e, ERR_MEMORY, "request") : 0;
}
