/* report: what browsers report of pages that broke their own policy. None is expected, and anybody can send one: counted,
 * the first of a minute logged in short. */
#ifndef SIGN_REPORT_H
#define SIGN_REPORT_H

#include "fcgi.h"

struct report;
struct report *report_new(void);	/* NULL: no memory */
void report_free(struct report *p);
/* Answers the request. Threads may call. */
void report_take(struct report *p, struct req *r);

#endif
