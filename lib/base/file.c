#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int
write_all(int fd, struct slice s)
{
	while (s.n > 0) {
		ssize_t n = write(fd, s.p, s.n);
		if (n < 0 && errno != EINTR)
			return -1;
		if (n > 0)
			s = slice_from(s, (size_t)n);
	}
	return fsync(fd);
}

static int
write_fresh(const char *path, struct slice s)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640);

	if (fd < 0)
		return -1;
	int done = write_all(fd, s), why = errno;
	if (close(fd) < 0 && done == 0)
		return -1;
	errno = why;
	return done;
}

/* The rename is lost in a power cut unless the folder is written, too. */
static void
sync_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	char folder[PATH_MAX];

	snprintf(folder, sizeof folder, "%.*s", slash == NULL ? 1 : (int)(slash - path) + 1, slash == NULL ? "." : path);
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return;
	fsync(fd);
	close(fd);
}

int
file_replace(const char *path, struct slice bytes, struct err *e)
{
	char fresh[PATH_MAX];

	if (snprintf(fresh, sizeof fresh, "%s.new", path) >= (int)sizeof fresh)
		return err_set(e, ERR_INTERNAL, "too long a path");
	if (write_fresh(fresh, bytes) < 0 || rename(fresh, path) < 0) {
		err_set(e, ERR_INTERNAL, "%s: %s", path, strerror(errno));
		unlink(fresh);
		return -1;
	}
	sync_folder(path);
	return 0;
}
