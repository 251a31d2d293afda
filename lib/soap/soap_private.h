/* What the files of soap share. */
#ifndef SOAP_SOAP_PRIVATE_H
#define SOAP_SOAP_PRIVATE_H

#include "soap.h"

/* RFC 9110 5.6.2, but for "*": it makes another parameter of a name (RFC 2231), which some read as the plain one. */
bool soap_is_token(struct slice s);
/* The Content-Type of the root part, maybe folded: XML in UTF-8, and of SOAP 1.1. */
int soap_root_type(struct slice type, struct err *e);

#endif
