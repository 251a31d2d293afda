/* log: the technical log. One JSON object per line on stderr or in a file that can be reopened. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Called once by main. path NULL: stderr. program stands in every line. -1 when the file cannot be
 * opened. Lines before log_open go to stderr. */
int log_open(const char *path, const char *program, enum log_level least, struct err *e);
/* Opens the file again under its name (after logrotate). Only sets a flag, so a signal handler may
 * call it; the next line does the work. */
void log_reopen(void);
/* event: a short fixed word ("listen", "endpoint-down"); fmt: the rest in words. One write per
 * line; control characters are escaped; cut at 4 KB. Threads may call it. */
void log_msg(enum log_level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* An error that reached the edge: kind, detail, source line, and the request it belongs to. */
void log_err(enum log_level level, const char *event, struct slice request_id, const struct err *e);

#endif
