/* What the files of idcard share: the names of DGWS. */
#ifndef IDCARD_PRIVATE_H
#define IDCARD_PRIVATE_H

#include "idcard.h"
#include "xml.h"

#define HOLDER_OF_KEY "urn:oasis:names:tc:SAML:2.0:cm:holder-of-key"
#define SIGNATURE_ID "OCESSignature"
#define FORMAT_CPR "medcom:cprnumber"
#define FORMAT_CVR "medcom:cvrnumber"
#define FORMAT_OTHER "medcom:other"

/* The closed list of NameID/@Format and of the care provider's NameFormat. */
bool idcard_is_format(struct slice format);
bool idcard_is_cpr(struct slice text);
/* Present and not empty. */
bool idcard_has(struct slice value);

#endif
