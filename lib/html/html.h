/* html: pages that cannot be wrong. A writer that only escapes, called by the functions that the template
 * compiler (compile/compile.h) makes of the .html files beside our C files. */
#ifndef HTML_HTML_H
#define HTML_HTML_H

#include "buf.h"
#include "err.h"

#include <stdint.h>

/* An address that may stand in href, src or action: made by the two functions below and by nothing else. The text is not
 * copied. */
struct html_url { struct slice text; };
/* On this server: "/path", "?query" or "#fragment", in printable ASCII. Never "//host", which is another
 * server. ERR_INVALID. */
int html_url_local(struct slice text, struct html_url *out, struct err *e);
/* Anywhere: an absolute http or https address as uri_parse reads it. ERR_INVALID. */
int html_url_checked(struct slice text, struct html_url *out, struct err *e);

/* ---- what the functions of templates call; the caller's own code needs none of it */

/* Text between tags and in quoted attributes: & < > " ' are escaped, what HTML cannot hold (control characters, bytes
 * that are not UTF-8) becomes U+FFFD. Absent is empty. */
void html_put_slice(struct buf *b, struct slice text);
void html_put_element(struct buf *b, const struct slice *text);
void html_put_string(struct buf *b, const char *text);
void html_put_signed(struct buf *b, int64_t number);
void html_put_unsigned(struct buf *b, uint64_t number);
/* An address as text. */
void html_put_address(struct buf *b, struct html_url url);
/* An address in a quoted attribute. Checked again: one that was never filled in ends the process (must). */
void html_put_url(struct buf *b, struct html_url url);

/* {{x}} is _Generic((x), HTML_PUT)(b, x): what has no line here does not compile. */
#define HTML_PUT \
	struct slice: html_put_slice, \
	struct slice *: html_put_element, const struct slice *: html_put_element, \
	char *: html_put_string, const char *: html_put_string, \
	struct html_url: html_put_address, \
	int: html_put_signed, long: html_put_signed, long long: html_put_signed, \
	unsigned: html_put_unsigned, unsigned long: html_put_unsigned, unsigned long long: html_put_unsigned, \
	uint8_t: html_put_unsigned, uint16_t: html_put_unsigned

bool html_is_true(bool x);
/* Whether there is any text. */
bool html_is_there(struct slice x);
/* {{if x}} is if (_Generic((x), HTML_IF)(x)) */
#define HTML_IF bool: html_is_true, struct slice: html_is_there

#endif
