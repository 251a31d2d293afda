/* The answer brings two things that we need: the value and who made it. SignedInfo we have; that the answer repeats it
 * lets us see that the browser signed what it was asked to, before the STS is bothered. */
#include "answer.h"

#include "pki.h"
#include "posted.h"

int
signing_answer_read(struct arena *a, struct slice text, struct slice signed_info, struct signing_answer *out,
    struct err *e)
{
	struct slice octets = { NULL, 0 };
	struct posted p;
	X509 *signer;

	*out = (struct signing_answer){ { NULL, 0 }, { NULL, 0 } };
	if (posted_read(a, text, &p, e) < 0)
		return -1;
	/* what an Object holds would be signed by nobody */
	if (p.object != NULL)
		return err_set(e, ERR_SIGNATURE, "signature: an Object");
	/* the form in which the order's SignedInfo was made (dsig_prepare), whatever the answer claims */
	if (xml_canonical(a, p.signed_info, XML_C14N_EXCLUSIVE, NULL, &octets, e) < 0)
		return -1;
	if (!slice_eq(octets, signed_info))
		return err_set(e, ERR_SIGNATURE, "SignedInfo: not the one that was to be signed");
	/* what hash may be in it is judged with the card (dsig_attach) */
	if (posted_signer(a, &p, signed_info, false, &signer, e) < 0)
		return -1;
	*out = (struct signing_answer){ p.value, pki_der(a, signer) };
	return out->certificate.p == NULL ? err_set(e, ERR_MEMORY, "certificate") : 0;
}
