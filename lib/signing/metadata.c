/* The gateway as a service provider, for the administrator of an identity provider: its name there, where it takes answers, its
 * certificates (SAML 2.0 metadata, section 2.4.4; order of elements as the schema has it). */
#include "saml.h"

#include "buf.h"
#include "conv.h"
#include "pki.h"
#include "xml.h"

#define METADATA_MAX (64u << 10)

/* What dsig_decrypt takes, in the order in which it is liked. A provider takes the first that it can do, and of what is sent
 * it has mostly AES-GCM first; AES-CBC is for those who have nothing else. */
static const char *const methods[] = {
	"http://www.w3.org/2009/xmlenc11#aes256-gcm", "http://www.w3.org/2009/xmlenc11#aes128-gcm",
	"http://www.w3.org/2001/04/xmlenc#aes256-cbc", "http://www.w3.org/2001/04/xmlenc#aes128-cbc",
	"http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p", "http://www.w3.org/2009/xmlenc11#rsa-oaep",
};

static void
put_key(struct arena *a, struct buf *b, const char *use, X509 *cert)
{
	buf_puts(b, "<md:KeyDescriptor");
	xml_put_attr(b, "use", slice_of(use));
	buf_puts(b, "><ds:KeyInfo xmlns:ds=\"" NS_DS "\"><ds:X509Data><ds:X509Certificate>");
	buf_put(b, conv_base64(a, pki_der(a, cert)));
	buf_puts(b, "</ds:X509Certificate></ds:X509Data></ds:KeyInfo>");
}

static void
put_methods(struct buf *b)
{
	for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
		buf_puts(b, "<md:EncryptionMethod");
		xml_put_attr(b, "Algorithm", slice_of(methods[i]));
		buf_puts(b, "/>");
	}
}

int
saml_metadata(struct arena *a, const struct conf_idp *idp, struct slice acs, X509 *signing, X509 *encryption, struct slice *xml,
    struct err *e)
{
	struct buf *b = arena_alloc(a, sizeof *b);

	if (b == NULL)
		return err_set(e, ERR_MEMORY, "metadata");
	buf_init(b, METADATA_MAX);
	if (buf_defer(b, a) < 0)
		return err_set(e, ERR_MEMORY, "metadata");
	/* a root says for how long it counts (section 2.3.2) */
	buf_puts(b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<md:EntityDescriptor xmlns:md=\"" NS_MD "\" cacheDuration=\"PT24H\"");
	xml_put_attr(b, "entityID", idp->audience);
	buf_puts(b, "><md:SPSSODescriptor protocolSupportEnumeration=\"" NS_SAMLP "\" AuthnRequestsSigned=\"true\" WantAssertionsSigned=\"true\">");
	put_key(a, b, "signing", signing);
	buf_puts(b, "</md:KeyDescriptor>");
	put_key(a, b, "encryption", encryption);
	put_methods(b);
	buf_puts(b, "</md:KeyDescriptor><md:AssertionConsumerService Binding=\"urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST\"");
	xml_put_attr(b, "Location", acs);
	buf_puts(b, " index=\"0\" isDefault=\"true\"/></md:SPSSODescriptor></md:EntityDescriptor>\n");
	*xml = buf_slice(b);
	return xml->p == NULL ? err_set(e, ERR_MEMORY, "metadata") : 0;
}
