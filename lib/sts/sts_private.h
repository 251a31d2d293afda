/* What the files of sts share. */
#ifndef STS_PRIVATE_H
#define STS_PRIVATE_H

#include "sts.h"
#include "xml.h"

/* The services of an STS that we use; each has its URLs. */
enum sts_service { STS_SIGN, STS_BST, STS_SERVICES };

/* Posts the request to the first of that service's URLs that answers. *answer: a SOAP message. */
int sts_ask(struct sts *s, const struct conf_sts *conf, enum sts_service service, struct arena *a,
    struct slice request, struct slice *answer, struct err *e);

/* The one element in the soap:Body of an answer; a Fault is ERR_STS_FAULT with the STS's words in err_say. */
int sts_read_body(struct arena *a, struct slice answer, const xmlNode **content, struct err *e);
/* The assertion, self-contained, in the one wst:RequestedSecurityToken of rstr; wst: which WS-Trust. */
int sts_read_token(struct arena *a, const xmlNode *rstr, const char *wst, struct slice *card, struct err *e);

/* A card that a pinned STS key has signed, as a card that follows every rule and is valid now. ERR_STS_CARD. */
int sts_verify_answer(const struct conf *c, struct arena *a, struct slice xml, struct idcard **out, struct err *e);

#endif
