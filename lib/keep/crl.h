/* crl: certificate revocation lists, fetched by their addresses and kept in the state folder; inside keep only.
 *
 *	crl-<SHA-256 of the address>.crl	the last good list, as it was fetched
 *	crl-<SHA-256 of the address>.tag	ETag and Last-Modified it came with, a line each
 *	revoked.bin				what all of them say, for the workers (pki.h)
 *
 * A list that cannot be fetched, does not verify or is older than the one kept is left, and the kept one goes on
 * counting; how old it may get is for those who check certificates to say (crl_grace). */
#ifndef KEEP_CRL_H
#define KEEP_CRL_H

#include "conf.h"
#include "err.h"
#include "http.h"

struct crls;
/* state: the folder. NULL: no memory. */
struct crls *crl_new(const char *state, struct http *http);
void crl_free(struct crls *l);
/* Fetches what is due under this configuration, all of it when trust or addresses have changed, and writes
 * revoked.bin when anything changed. *wait_ms: until something is due again. -1: a list could not be fetched or
 * the file not be written; e has the first reason. */
int crl_refresh(struct crls *l, const struct conf *c, int64_t *wait_ms, struct err *e);

/* What is kept, in the order of the configuration that was refreshed last. */
struct crl_state {
	const char *url;		/* lives as long as that configuration */
	int64_t updated, next;		/* seconds UTC: when the list was made, when its successor was to come; 0: none is kept that counts */
};
size_t crl_count(const struct crls *l);
struct crl_state crl_state(const struct crls *l, size_t i);

#endif
