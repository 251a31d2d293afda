/* conv: between bytes and their written forms. */
#ifndef BASE_CONV_H
#define BASE_CONV_H

#include "arena.h"

#include <stdint.h>

/* Standard base64, one line. */
struct slice conv_base64(struct arena *a, struct slice bytes);
/* Standard base64; XML white space anywhere is skipped, as xs:base64Binary allows. Padding is
 * required. .p == NULL when it is not base64. */
struct slice conv_unbase64(struct arena *a, struct slice text);
/* URL-safe base64 without padding. */
struct slice conv_base64url(struct arena *a, struct slice bytes);
/* Lower-case hex. */
struct slice conv_hex(struct arena *a, struct slice bytes);
/* .p == NULL when it is not hex of whole bytes. */
struct slice conv_unhex(struct arena *a, struct slice text);
/* Decimal digits only, the whole slice, no sign; -1 when it is not, or beyond max. */
int conv_number(struct slice text, int64_t max, int64_t *out);
/* Well-formed UTF-8 without overlong forms, surrogates or code points beyond U+10FFFF. */
bool conv_is_utf8(struct slice s);
void conv_sha256(struct slice bytes, uint8_t out[32]);
/* HMAC-SHA256 over length-prefixed parts, so that ("ab","c") and ("a","bc") differ. */
void conv_hmac(struct slice key, const struct slice *parts, size_t n, uint8_t out[32]);

#endif
