/* token: a private key that a PKCS#11 token keeps. Inside pki only. */
#ifndef PKI_TOKEN_H
#define PKI_TOKEN_H

#include "err.h"

#include <openssl/evp.h>

/* OpenSSL's way to PKCS#11 modules; keys of it are good until token_close. */
struct token;
struct token *token_open(struct err *e);
void token_close(struct token *t);
/* pin: absent for none. *refused: the token said that it is wrong. What fails for another reason is tried some times, in
 * half a second at most. One thread at a time. ERR_SYSTEM_KEY. */
int token_load(struct token *t, const char *uri, struct slice pin, EVP_PKEY **key, bool *refused, struct err *e);

#endif
