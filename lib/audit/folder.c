#include "folder.h"

#include "conv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define STALE_SECONDS 60
#define MOST_SEGMENTS 999999	/* a higher number is no file of ours */

void
folder_path(char out[PATH_MAX], const char *dir, const char *name, uint32_t segment)
{
	snprintf(out, PATH_MAX, "%s/%s.%u.journal", dir, name, segment);
}

void
folder_new_path(char out[PATH_MAX], const char *dir, const char *name, uint32_t segment)
{
	snprintf(out, PATH_MAX, "%s/%s.%u.new", dir, name, segment);
}

void
folder_lock_path(char out[PATH_MAX], const char *dir, const char *name)
{
	snprintf(out, PATH_MAX, "%s/%s.lock", dir, name);
}

bool
folder_has(const char *dir, const char *name, uint32_t segment)
{
	char path[PATH_MAX];

	folder_path(path, dir, name, segment);
	return access(path, F_OK) == 0;
}

/* A lock that is shared does not hinder another reader who asks the same. */
static bool
is_locked(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	bool locked = flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
	close(fd);
	return locked;
}

bool
folder_is_final(const char *dir, const char *name, uint32_t segment)
{
	char path[PATH_MAX];

	folder_lock_path(path, dir, name);
	if (is_locked(path))
		return folder_has(dir, name, segment + 1);
	return true;
}

/* Letters, digits, dot, hyphen, underscore: as audit_open makes names. */
static bool
is_plain(const char *s)
{
	return s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")] == '\0';
}

/* "name.3.journal" taken apart. */
static bool
parse_name(const char *file, struct slice *name, uint32_t *segment)
{
	struct slice s = slice_of(file), end = S(".journal");
	int64_t number;

	if (!is_plain(file) || s.n <= end.n || s.n >= FOLDER_NAME + 20 || !slice_eq(slice_from(s, s.n - end.n), end))
		return false;
	s.n -= end.n;
	const char *dot = memrchr(s.p, '.', s.n);
	if (dot == NULL || dot == s.p || dot - s.p >= FOLDER_NAME ||
	    conv_number(slice_from(s, (size_t)(dot - s.p) + 1), MOST_SEGMENTS, &number) < 0)
		return false;
	*name = (struct slice){ s.p, (size_t)(dot - s.p) };
	*segment = (uint32_t)number;
	return true;
}

static int
by_name(const void *a, const void *b)
{
	const struct folder_journal *x = a, *y = b;

	return strcmp(x->name.p, y->name.p);
}

/* One entry per journal out of one per segment. */
static size_t
merge(struct folder_journal *list, size_t n)
{
	size_t kept = 0;

	qsort(list, n, sizeof *list, by_name);
	for (size_t i = 0; i < n; i++) {
		struct folder_journal *last = kept > 0 ? &list[kept - 1] : NULL;
		if (last == NULL || !slice_eq(last->name, list[i].name)) {
			list[kept++] = list[i];
			continue;
		}
		if (list[i].first < last->first)
			last->first = list[i].first;
		if (list[i].last > last->last)
			last->last = list[i].last;
	}
	return kept;
}

static int
read_entries(DIR *d, struct arena *a, struct folder_journal **list, size_t *n)
{
	size_t size = 0;

	for (const struct dirent *f; (f = readdir(d)) != NULL;) {
		struct slice name;
		uint32_t segment;
		if (!parse_name(f->d_name, &name, &segment))
			continue;
		if (*n == size) {
			struct folder_journal *more = arena_alloc(a, (size = size * 2 + 16) * sizeof *more);
			if (more == NULL)
				return -1;
			if (*n > 0)
				memcpy(more, *list, *n * sizeof *more);
			*list = more;
		}
		(*list)[*n] = (struct folder_journal){ arena_dup(a, name), segment, segment };
		if ((*list)[(*n)++].name.p == NULL)
			return -1;
	}
	return 0;
}

int
folder_list(struct arena *a, const char *dir, struct folder_journal **out, size_t *n, struct err *e)
{
	DIR *d = opendir(dir);

	*out = NULL;
	*n = 0;
	if (d == NULL)
		return err_set(e, ERR_AUDIT, "journal folder %s: %s", dir, strerror(errno));
	int rc = read_entries(d, a, out, n);
	closedir(d);
	if (rc < 0)
		return err_set(e, ERR_MEMORY, "journals in %s", dir);
	if (*n > 0)
		*n = merge(*out, *n);
	return 0;
}

static bool
ends(const char *name, const char *end)
{
	size_t n = strlen(name), m = strlen(end);

	return n > m && strcmp(name + n - m, end) == 0;
}

/* Of a journal that has segments the lock goes with the last of them. */
static bool
has_segments(const char *lock, const struct folder_journal *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strncmp(lock, list[i].name.p, list[i].name.n) == 0 && lock[list[i].name.n] == '.')
			return true;
	return false;
}

void
folder_sweep(const char *dir, const struct folder_journal *list, size_t n)
{
	DIR *d = opendir(dir);
	struct stat st;

	if (d == NULL)
		return;
	for (const struct dirent *f; (f = readdir(d)) != NULL;) {
		char path[PATH_MAX];
		bool lock = ends(f->d_name, ".lock");
		if ((!lock && !ends(f->d_name, ".new")) || (lock && has_segments(f->d_name, list, n)))
			continue;
		snprintf(path, sizeof path, "%s/%s", dir, f->d_name);
		/* one that is just being made is not locked yet */
		if (stat(path, &st) == 0 && st.st_mtime < time(NULL) - STALE_SECONDS && !is_locked(path))
			unlink(path);
	}
	closedir(d);
}
