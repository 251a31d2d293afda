/* access: which client is this, and what may it call. */
#ifndef ACCESS_ACCESS_H
#define ACCESS_ACCESS_H

#include "conf.h"

/* What a request shows of its sender; absent slices when not sent. */
struct access_evidence {
	struct slice peer;		/* REMOTE_ADDR: the connection to Apache */
	struct slice forwarded;		/* X-Forwarded-For */
	struct slice authorization;	/* HTTP Basic: client id and secret */
	struct slice secret;		/* header SOSIGW-Secret */
	struct slice certificate;	/* fingerprint of a TLS client certificate that Apache verified; lower hex SHA-256 */
};
struct access_caller {
	struct slice address;		/* of the client: behind listed front proxies only, else the peer */
	const struct conf_client *client;
	const struct conf_organisation *organisation;
};
/* Who sent it, whoever that is: for browsers, which are no clients. ERR_CLIENT_UNKNOWN: it cannot be told. */
int access_address(const struct conf *c, const struct access_evidence *seen, struct arena *a, struct slice *address, struct err *e);
/* Whether the connection (REMOTE_ADDR) comes from a listed front proxy, whose word counts. */
bool access_is_front_proxy(const struct conf *c, struct slice peer);
/* What the nearest of several proxies wrote into such a header ("a, b"): the last, trimmed; absent when absent. */
struct slice access_nearest(struct slice header);
/* ERR_CLIENT_UNKNOWN whatever does not fit; the address is filled in all the same, for the audit. */
int access_identify(const struct conf *c, const struct access_evidence *seen, struct arena *a, struct access_caller *out, struct err *e);
/* The listed service whose URL is exactly `to`. ERR_SERVICE_UNKNOWN. */
int access_service(const struct conf *c, struct slice to, const struct conf_service **out, struct err *e);
/* A new client secret (43 characters) and the form that the configuration holds ("sha256:<hex>"). */
int access_new_secret(struct arena *a, struct slice *secret, struct slice *stored);
/* SHA-256 of a PEM certificate's DER in lower hex, as the configuration holds it; absent when it is none. */
struct slice access_fingerprint(struct arena *a, struct slice pem);

/* ---- failures.c: refusals by address, so that they cost little however many there are */

#define ACCESS_FAILURES_TOLD 20
#define ACCESS_FAILURES_WINDOW_MS 60000
struct access_failures;
struct access_failures *access_failures_new(void);	/* one for each process; NULL: no memory */
void access_failures_free(struct access_failures *f);
/* One more refusal of that address, at `now` (clock_mono_ms). true: it is to be logged and audited by itself. false: it
 * is only counted, and will be part of a sum. what: comes back with the sum. Threads may call. */
bool access_failure(struct access_failures *f, struct slice address, int what, int64_t now);
/* The next sum that is due; false: none. Costs nothing when there is none. INT64_MAX for all of them, at the end. */
struct access_sum { char address[48]; uint64_t count; int64_t since_ms; int what; };
bool access_failures_sum(struct access_failures *f, int64_t now, struct access_sum *out);

#endif
