/* Answers and faults, as the clients of the published interface read them: some look for literal text, so
 * prefixes and the form of the fault do not change. */
#include "soap.h"

#include "conv.h"
#include "must.h"

#define ENVELOPE_OPEN "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" \
	"<soapenv:Envelope xmlns:soapenv=\"" NS_SOAP "\"><soapenv:Header>"
#define BODY_OPEN "</soapenv:Header><soapenv:Body>"
#define ENVELOPE_CLOSE "</soapenv:Body></soapenv:Envelope>"

void
soap_write_answer(struct buf *b, struct slice header, struct slice body)
{
	buf_puts(b, ENVELOPE_OPEN);
	buf_put(b, header);
	buf_puts(b, BODY_OPEN);
	buf_put(b, body);
	buf_puts(b, ENVELOPE_CLOSE);
}

/* DGWS: plain "Server", whoever is to blame; faultcode, faultstring and detail without namespace. */
void
soap_write_fault(struct buf *b, const struct err *e, struct slice request_id, bool danish, struct slice header)
{
	must(e->kind != ERR_NONE);
	buf_puts(b, ENVELOPE_OPEN);
	buf_put(b, header);
	buf_puts(b, BODY_OPEN "<soapenv:Fault><faultcode>Server</faultcode><faultstring>");
	xml_put_text(b, slice_of(err_text(e->kind, danish)));
	if (e->said[0] != '\0') {
		buf_putc(b, ' ');
		xml_put_text(b, slice_of(e->said));
	}
	if (request_id.n > 0) {
		buf_puts(b, " [");
		xml_put_text(b, request_id);
		buf_putc(b, ']');
	}
	buf_puts(b, "</faultstring><detail><medcom:FaultCode xmlns:medcom=\"" NS_MEDCOM "\">");
	buf_puts(b, err_code(e->kind));
	buf_puts(b, "</medcom:FaultCode></detail></soapenv:Fault>" ENVELOPE_CLOSE);
}

void
soap_write_digest_response(struct buf *b, struct slice signed_info, struct slice browser_url, struct arena *a)
{
	struct slice digest = conv_base64(a, signed_info);

	if (digest.p == NULL)
		b->failed = true;
	buf_puts(b, "<ns2:requestIdCardDigestForSigningResponse xmlns:ns2=\"" NS_GW07 "\" xmlns:ds=\"" NS_DS "\">"
	    "<ds:DigestValue>");
	buf_put(b, digest);
	buf_puts(b, "</ds:DigestValue><ns2:BrowserUrl>");
	xml_put_text(b, browser_url);
	buf_puts(b, "</ns2:BrowserUrl></ns2:requestIdCardDigestForSigningResponse>");
}
