#include "report.h"

#include "clock.h"
#include "log.h"

#include <pthread.h>
#include <stdlib.h>

#define REPORT_MOST (8u << 10)	/* bytes */
#define LOGGED_A_MINUTE 10
#define LOGGED_BYTES 400
#define MINUTE_MS 60000

struct report {
	pthread_mutex_t lock;
	int64_t ends;		/* of the minute, clock_mono_ms */
	unsigned logged;
	uint64_t counted;	/* in this minute, and not logged */
	uint64_t all;
};

struct report *
report_new(void)
{
	struct report *p = calloc(1, sizeof *p);

	if (p != NULL)
		pthread_mutex_init(&p->lock, NULL);
	return p;
}

void
report_free(struct report *p)
{
	if (p == NULL)
		return;
	pthread_mutex_destroy(&p->lock);
	free(p);
}

/* True: this one is logged. *missed: how many of the last minute were not. */
static bool
count(struct report *p, uint64_t *missed, uint64_t *all)
{
	int64_t now = clock_mono_ms();

	pthread_mutex_lock(&p->lock);
	*missed = 0;
	*all = ++p->all;
	if (now >= p->ends) {
		*missed = p->counted;
		p->ends = now + MINUTE_MS;
		p->counted = p->logged = 0;
	}
	bool log = p->logged < LOGGED_A_MINUTE;
	if (log)
		p->logged++;
	else
		p->counted++;
	pthread_mutex_unlock(&p->lock);
	return log;
}

static void
answer(struct req *r, int status)
{
	static const struct req_header headers[] = {
		{ "Content-Type", { "text/plain; charset=utf-8", 25 } }, { "Cache-Control", { "no-store", 8 } },
		{ "Allow", { "POST", 4 } },
	};
	struct err failed = { .kind = ERR_NONE };

	if (req_answer(r, status, headers, status == 405 ? 3 : 2, &failed) < 0)
		log_err(LOG_INFO, "answer", req_id(r), &failed);
}

void
report_take(struct report *p, struct req *r)
{
	struct err failed = { .kind = ERR_NONE };
	uint64_t missed, all;
	struct slice body;

	if (!slice_is(req_param(r, "REQUEST_METHOD"), "POST")) {
		answer(r, 405);
		return;
	}
	if (req_read_all(r, REPORT_MOST, &body, &failed) < 0) {
		answer(r, failed.kind == ERR_BODY_TOO_BIG ? 413 : 400);
		return;
	}
	if (count(p, &missed, &all)) {
		int n = body.n < LOGGED_BYTES ? (int)body.n : LOGGED_BYTES;
		log_msg(LOG_WARN, "csp", "report %llu (%llu more were not logged): %.*s", (unsigned long long)all,
		    (unsigned long long)missed, n, body.p);
	}
	answer(r, 204);
}
