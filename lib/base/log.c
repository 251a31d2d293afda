#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096

static struct {
	const char *path, *program;
	enum log_level least;
	int fd;
	pthread_mutex_t lock;
} state = { .program = "sosigw", .least = LOG_INFO, .fd = STDERR_FILENO,
	.lock = PTHREAD_MUTEX_INITIALIZER };

static volatile sig_atomic_t reopen_wanted;

static int
open_file(const char *path)
{
	return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
}

int
log_open(const char *path, const char *program, enum log_level least, struct err *e)
{
	state.program = program;
	state.least = least;
	state.path = path;
	if (path == NULL)
		return 0;
	int fd = open_file(path);
	if (fd < 0)
		return err_set(e, ERR_CONFIG, "log file %s: %s", path, strerror(errno));
	state.fd = fd;
	return 0;
}

void
log_reopen(void)
{
	reopen_wanted = 1;
}

static void
reopen_if_wanted(void)
{
	if (!reopen_wanted || state.path == NULL)
		return;
	reopen_wanted = 0;
	int fd = open_file(state.path);
	if (fd < 0)
		return;		/* the old file is better than none */
	close(state.fd);
	state.fd = fd;
}

/* Appends text as the inside of a JSON string; invalid UTF-8 is not judged here. */
static size_t
put_json(char *out, size_t at, size_t room, const char *text)
{
	for (const unsigned char *c = (const unsigned char *)text; *c != '\0' && at + 7 < room; c++) {
		if (*c == '"' || *c == '\\')
			out[at++] = '\\';
		if (*c < 0x20 || *c == 0x7f)
			at += (size_t)snprintf(out + at, room - at, "\\u%04x", *c);
		else
			out[at++] = (char)*c;
	}
	return at;
}

static size_t
put_raw(char *out, size_t at, size_t room, const char *text)
{
	size_t n = strlen(text);

	if (n > room - at)
		n = room - at;
	memcpy(out + at, text, n);
	return at + n;
}

static void
write_line(enum log_level level, const char *event, struct slice request_id, const char *text)
{
	static const char *const names[] = { "debug", "info", "warn", "error" };
	char line[LINE_MAX_BYTES], stamp[40], id[80];
	const size_t room = sizeof line - 4;	/* for the closing quote, brace and newline */
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &tm);
	size_t at = (size_t)snprintf(line, room, "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"program\":\"%s\","
	    "\"pid\":%d,\"event\":\"%s\",", stamp, now.tv_nsec / 1000000, names[level], state.program,
	    (int)getpid(), event);
	if (request_id.p != NULL) {
		snprintf(id, sizeof id, "%.*s", SLICE_FMT(request_id));
		at = put_raw(line, at, room, "\"request\":\"");
		at = put_json(line, at, room, id);
		at = put_raw(line, at, room, "\",");
	}
	at = put_raw(line, at, room, "\"message\":\"");
	at = put_json(line, at, room, text);
	memcpy(line + at, "\"}\n", 3);

	pthread_mutex_lock(&state.lock);
	reopen_if_wanted();
	ssize_t written = write(state.fd, line, at + 3);
	(void)written;		/* there is nowhere left to complain */
	pthread_mutex_unlock(&state.lock);
}

void
log_msg(enum log_level level, const char *event, const char *fmt, ...)
{
	char text[LINE_MAX_BYTES];
	va_list ap;

	if (level < state.least)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	write_line(level, event, (struct slice){ NULL, 0 }, text);
}

void
log_err(enum log_level level, const char *event, struct slice request_id, const struct err *e)
{
	char text[1024];

	if (level < state.least)
		return;
	snprintf(text, sizeof text, "%s: %s (%s:%d)%s%s", err_name(e->kind), e->detail,
	    e->file == NULL ? "" : e->file, e->line, e->said[0] == '\0' ? "" : " said: ", e->said);
	write_line(level, event, request_id, text);
}
