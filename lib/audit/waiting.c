/* What a folder of journals holds, and how full its disk is. */
#include "audit.h"

#include "folder.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define ARENA (8 * 1024 * 1024)

/* As df counts: of what may be used at all. Rounded up: 100 is full. */
static unsigned
percent(const struct statvfs *st)
{
	uint64_t used = st->f_blocks - st->f_bfree, all = used + st->f_bavail;

	return all == 0 ? 0 : (unsigned)((100 * used + all - 1) / all);
}

int
folder_used(const char *dir, unsigned *used, struct err *e)
{
	struct statvfs st;

	if (statvfs(dir, &st) < 0)
		return err_set(e, ERR_AUDIT, "journal folder %s: %s", dir, strerror(errno));
	*used = percent(&st);
	return 0;
}

static void
add_segments(const char *dir, const struct folder_journal *j, struct audit_waiting *out)
{
	char path[PATH_MAX];
	struct stat st;

	for (uint32_t i = j->first; i <= j->last; i++) {
		folder_path(path, dir, j->name.p, i);
		if (stat(path, &st) < 0)
			continue;
		out->files++;
		out->bytes += (uint64_t)st.st_size;
	}
}

int
audit_waiting(const char *dir, struct audit_waiting *out, struct err *e)
{
	struct arena *a = arena_new(ARENA);
	struct folder_journal *list;
	size_t n;

	*out = (struct audit_waiting){ 0 };
	if (a == NULL)
		return err_set(e, ERR_MEMORY, "journals in %s", dir);
	int rc = folder_list(a, dir, &list, &n, e) < 0 ? -1 : folder_used(dir, &out->used_percent, e);
	for (size_t i = 0; rc == 0 && i < n; i++)
		add_segments(dir, &list[i], out);
	arena_free(a);
	return rc;
}
