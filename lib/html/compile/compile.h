/* compile: a template into the C source of one function. A build tool, no part of any program of the gateway.
 *
 * A template begins with a line that says which function it becomes:
 *
 *	{{page ops_write_page(const struct ops_page *p) "page.h"}}
 *
 * The header declares the struct and the function, which gets a struct buf * before the parameter. Then HTML follows, with
 *
 *	{{p->name}}			the value, escaped: a slice, a C string, a whole number
 *	href="{{url p->next}}"		a struct html_url, the whole value of href, src or action
 *	{{each x in p->list}} {{end}}	p->nlist times, x being a pointer to each element
 *	{{if p->flag}} {{else}} {{end}}	a bool, or a slice that holds anything; in a tag too, around attributes
 *
 * A misspelt field or a wrong type is a C compiler's error at the template's line. There is no way to put anything out
 * unescaped. Where escaping would not be enough a value is refused, and so is HTML that is not balanced, that holds
 * script or style, or that uses elements and URL schemes that no page of ours needs. Comments do not reach the page. */
#ifndef HTML_COMPILE_H
#define HTML_COMPILE_H

#include "buf.h"
#include "err.h"

/* file: its name, for messages. ERR_INVALID with "file:line: what is wrong" as the detail. */
int html_compile(struct slice source, const char *file, struct buf *out, struct err *e);

#endif
