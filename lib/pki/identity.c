/* Who a certificate names: the subject by the rules of OCES2 and OCES3, and names as the STS writes them.
 *
 *            OCES2 (serialNumber)               OCES3 (serialNumber, organizationIdentifier)
 *   MOCES    CVR:12345678-RID:12345678          UI:DK-E:G:<uuid>, NTRDK-12345678
 *   VOCES    CVR:12345678-UID:12345678          UI:DK-O:G:<uuid>, NTRDK-12345678
 *   FOCES    CVR:12345678-FID:12345678          as VOCES
 *   POCES    PID:9208-2002-2-123456789012       -
 */
#include "pki.h"

#include "buf.h"
#include "conv.h"

#include <ctype.h>
#include <openssl/asn1.h>
#include <openssl/bn.h>
#include <openssl/objects.h>
#include <string.h>

/* ---- attributes of a name */

/* UTF-8 whatever the certificate's own encoding; absent when it is none, or hides a NUL. */
static struct slice
text_of(struct arena *a, const ASN1_STRING *value)
{
	unsigned char *utf8 = NULL;
	int n = ASN1_STRING_to_UTF8(&utf8, value);

	if (n < 0)
		return (struct slice){ 0 };
	struct slice out = { 0 };
	if (memchr(utf8, '\0', (size_t)n) == NULL && conv_is_utf8((struct slice){ (char *)utf8, (size_t)n }))
		out = arena_dup(a, (struct slice){ (char *)utf8, (size_t)n });
	OPENSSL_free(utf8);
	return out;
}

/* The subject's only attribute of that kind; absent when there is none. */
static int
attribute(struct arena *a, X509 *cert, int nid, struct slice *out, struct err *e)
{
	const X509_NAME *name = X509_get_subject_name(cert);
	int at = X509_NAME_get_index_by_NID(name, nid, -1);

	*out = (struct slice){ 0 };
	if (at < 0)
		return 0;
	if (X509_NAME_get_index_by_NID(name, nid, at) >= 0)
		return err_set(e, ERR_CERTIFICATE, "subject has %s twice", OBJ_nid2sn(nid));
	*out = text_of(a, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
	return out->p != NULL ? 0 : err_set(e, ERR_CERTIFICATE, "subject's %s is no text", OBJ_nid2sn(nid));
}

/* ---- the forms of serialNumber */

static bool
digits(struct slice s, size_t least, size_t most)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
	return s.n >= least && s.n <= most;
}

static bool
is_uuid(struct slice s)
{
	static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

	if (s.n != sizeof form - 1)
		return false;
	for (size_t i = 0; i < s.n; i++)
		if (form[i] == '-' ? s.p[i] != '-' : !isxdigit((unsigned char)s.p[i]))
			return false;
	return true;
}

/* RID and UID had 13 digits under OCES1, 8 under OCES2, and an organisation may give longer ones. */
static bool
oces2_serial(struct slice s, struct pki_identity *out)
{
	static const struct {
		const char *prefix;
		enum pki_kind kind;
	} forms[] = { { "-RID:", PKI_EMPLOYEE }, { "-UID:", PKI_ORGANISATION }, { "-FID:", PKI_FUNCTION } };

	if (slice_skip(&s, S("PID:"))) {
		out->kind = PKI_PERSON;
		out->pid = s;
		return slice_starts(s, S("9208-2002-2-")) && digits(slice_from(s, 12), 12, 12);
	}
	if (!slice_skip(&s, S("CVR:")) || s.n < 8)
		return false;
	out->cvr = (struct slice){ s.p, 8 };
	s = slice_from(s, 8);
	for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
		if (!slice_skip(&s, slice_of(forms[i].prefix)))
			continue;
		out->kind = forms[i].kind;
		*(i == 0 ? &out->rid : i == 1 ? &out->uid : &out->fid) = s;
		return digits(out->cvr, 8, 8) && digits(s, 8, 40);
	}
	return false;
}

static bool
oces3_serial(struct slice s, struct slice organisation_id, struct pki_identity *out)
{
	if (slice_skip(&s, S("UI:DK-E:G:")))
		out->kind = PKI_EMPLOYEE;
	else if (slice_skip(&s, S("UI:DK-O:G:")))
		out->kind = PKI_ORGANISATION;
	else
		return false;
	out->uuid = s;
	out->cvr = organisation_id;
	return is_uuid(s) && slice_skip(&out->cvr, S("NTRDK-")) && digits(out->cvr, 8, 8);
}

/* OCES2 writes "NAME // CVR:12345678" in O: the name alone is the organisation, and the number may not
 * be another one. */
static bool
oces2_organisation(struct pki_identity *out)
{
	ptrdiff_t at = slice_find(out->organisation, S(" // CVR:"));

	if (at < 0)
		return true;
	struct slice cvr = slice_from(out->organisation, (size_t)at + strlen(" // CVR:"));
	out->organisation.n = (size_t)at;
	return out->kind == PKI_PERSON || slice_eq(cvr, out->cvr);
}

int
pki_identify(struct arena *a, X509 *cert, struct pki_identity *out, struct err *e)
{
	struct slice id;

	*out = (struct pki_identity){ 0 };
	if (attribute(a, cert, NID_commonName, &out->common_name, e) < 0 ||
	    attribute(a, cert, NID_organizationName, &out->organisation, e) < 0 ||
	    attribute(a, cert, NID_serialNumber, &out->serial_number, e) < 0 ||
	    attribute(a, cert, NID_organizationIdentifier, &id, e) < 0)
		return -1;
	if (out->serial_number.p == NULL || out->common_name.n == 0)
		return err_set(e, ERR_CERTIFICATE, "subject without serialNumber or CN");
	out->oces = slice_starts(out->serial_number, S("UI:")) ? 3 : 2;
	bool good = out->oces == 3 ? oces3_serial(out->serial_number, id, out) :
	    oces2_serial(out->serial_number, out) && oces2_organisation(out);
	if (!good)
		return err_set(e, ERR_CERTIFICATE, "subject follows neither OCES2 nor OCES3: %.*s",
		    SLICE_FMT(out->serial_number));
	return 0;
}

/* ---- RFC 1779 names, as Java prints them (the STS and Seal are Java) */

static void
put_keyword(struct buf *b, const ASN1_OBJECT *type)
{
	static const struct {
		int nid;
		const char *word;
	} words[] = {
		{ NID_commonName, "CN" }, { NID_countryName, "C" }, { NID_localityName, "L" },
		{ NID_stateOrProvinceName, "ST" }, { NID_organizationName, "O" },
		{ NID_organizationalUnitName, "OU" }, { NID_streetAddress, "STREET" },
		{ NID_serialNumber, "SERIALNUMBER" }, { NID_surname, "SURNAME" },
		{ NID_givenName, "GIVENNAME" }, { NID_domainComponent, "DC" }, { NID_userId, "UID" },
		{ NID_title, "T" }, { NID_pkcs9_emailAddress, "EMAILADDRESS" },
	};
	int nid = OBJ_obj2nid(type);
	char dotted[128];

	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if (words[i].nid == nid) {
			buf_puts(b, words[i].word);
			return;
		}
	}
	OBJ_obj2txt(dotted, sizeof dotted, type, 1);
	buf_printf(b, "OID.%s", dotted);
}

static bool
wants_quotes(struct slice v)
{
	for (size_t i = 0; i < v.n; i++) {
		if (strchr(",=\n+<>#;\\\"", v.p[i]) != NULL)
			return true;
		if (v.p[i] == ' ' && (i == 0 || i + 1 == v.n || v.p[i - 1] == ' '))
			return true;
	}
	return false;
}

static void
put_value(struct buf *b, struct slice v)
{
	bool quotes = wants_quotes(v);

	if (v.p == NULL) {
		b->failed = true;
		return;
	}
	if (quotes)
		buf_putc(b, '"');
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] == '"' || v.p[i] == '\\')
			buf_putc(b, '\\');
		buf_putc(b, v.p[i]);
	}
	if (quotes)
		buf_putc(b, '"');
}

static void
put_entry(struct arena *a, struct buf *b, const X509_NAME_ENTRY *entry)
{
	put_keyword(b, X509_NAME_ENTRY_get_object(entry));
	buf_putc(b, '=');
	put_value(b, text_of(a, X509_NAME_ENTRY_get_data(entry)));
}

/* Relative names from last to first; the parts of a multi-valued one in their own order. */
static void
put_name(struct arena *a, struct buf *b, const X509_NAME *name)
{
	int end = X509_NAME_entry_count(name);

	while (end > 0) {
		int set = X509_NAME_ENTRY_set(X509_NAME_get_entry(name, end - 1)), start = end - 1;
		while (start > 0 && X509_NAME_ENTRY_set(X509_NAME_get_entry(name, start - 1)) == set)
			start--;
		for (int i = start; i < end; i++) {
			if (i > start)
				buf_puts(b, " + ");
			put_entry(a, b, X509_NAME_get_entry(name, i));
		}
		if (start > 0)
			buf_puts(b, ", ");
		end = start;
	}
}

static void
put_serial(struct buf *b, X509 *cert)
{
	BIGNUM *n = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
	char *decimal = n == NULL ? NULL : BN_bn2dec(n);

	if (decimal == NULL)
		b->failed = true;
	else
		buf_puts(b, decimal);
	OPENSSL_free(decimal);
	BN_free(n);
}

struct slice
pki_names(struct arena *a, X509 *cert)
{
	struct buf b;

	buf_init(&b, 16384);
	buf_puts(&b, "SubjectDN={");
	put_name(a, &b, X509_get_subject_name(cert));
	buf_puts(&b, "},IssuerDN={");
	put_name(a, &b, X509_get_issuer_name(cert));
	buf_puts(&b, "},CertSerial={");
	put_serial(&b, cert);
	buf_puts(&b, "}");
	struct slice out = arena_dup(a, buf_slice(&b));
	buf_free(&b);
	return out;
}
