/* What the tests of audit share: a folder, events, journals read back. Include after unit.h. */
#ifndef EVENTS_H
#define EVENTS_H

#include "audit.h"
#include "clock.h"
#include "folder.h"
#include "record.h"

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

struct world {
	char dir[64];
	struct arena *a;
	struct err e;
};

static int
world_remove(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	return remove(path);
}

static inline int
world_new(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	if (w == NULL || (w->a = arena_new(64 << 20)) == NULL)
		return -1;
	strcpy(w->dir, "/tmp/sosigw-audit-XXXXXX");
	*state = w;
	return mkdtemp(w->dir) == NULL;
}

static inline int
world_free(void **state)
{
	struct world *w = *state;

	nftw(w->dir, world_remove, 8, FTW_DEPTH | FTW_PHYS);
	arena_free(w->a);
	free(w);
	return 0;
}

static inline struct audit_event
event(enum audit_status status, const char *request_id)
{
	return (struct audit_event){ .kind = AUDIT_PROXY, .status = status, .time_ms = 1717243200123,
		.request_id = slice_of(request_id), .client = S("epj"), .organisation = S("region"),
		.user = S("SubjectDN={CN=Lærke Ærø},IssuerDN={CN=TRUST2408},CertSerial={1}"), .system = S("EPJ"),
		.address = S("10.20.0.1"), .operation = S("proxy"), .service = S("fmk"),
		.endpoint = S("https://fmk.example.dk/ws"), .card_id = S("_kort1"),
		.http_status = status == AUDIT_OPEN ? 0 : 200, .duration_ms = status == AUDIT_OPEN ? 0 : 42,
		.bytes_in = 4096, .bytes_out = status == AUDIT_OPEN ? 0 : 123456789012 };
}

static inline void
put(struct audit *j, enum audit_status status, const char *request_id)
{
	struct audit_event ev = event(status, request_id);
	struct err e = { 0 };

	assert_ok(audit_write(j, &ev, &e), &e);
}

static inline struct audit *
journal_open(struct world *w, bool sync)
{
	struct audit *j = audit_open(w->dir, "gw1", "proxy", sync, &w->e);

	if (j == NULL)
		fail_msg("%s", w->e.detail);
	return j;
}

/* The one journal in the folder. */
static inline struct folder_journal
only_journal(struct world *w)
{
	struct folder_journal *list;
	size_t n;

	assert_ok(folder_list(w->a, w->dir, &list, &n, &w->e), &w->e);
	assert_int_equal(n, 1);
	return list[0];
}

static inline const char *
segment_path(struct world *w, uint32_t segment)
{
	struct folder_journal j = only_journal(w);
	char *path = arena_alloc(w->a, PATH_MAX);

	assert_non_null(path);
	folder_path(path, w->dir, j.name.p, segment);
	return path;
}

static inline void
write_file(const char *path, struct slice bytes)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(bytes.p, 1, bytes.n, f), bytes.n);
	assert_int_equal(fclose(f), 0);
}

#endif
