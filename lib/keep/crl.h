/* crl: the revocation lists of the configuration, fetched, checked and written as one file for all processes of
 * the host. Inside keep only. */
#ifndef KEEP_CRL_H
#define KEEP_CRL_H

#include "conf.h"
#include "http.h"

struct crl;
/* state: folder for the last good copy of each list and for revoked.bin. NULL: no memory. */
struct crl *crl_new(const char *state);
void crl_free(struct crl *c);
/* Fetches what is due and writes revoked.bin when anything changed. all: due or not (the configuration is
 * another one). Returns the milliseconds until the next list is due. */
int64_t crl_refresh(struct crl *c, struct http *h, const struct conf *conf, bool all);

#endif
