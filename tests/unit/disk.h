/* A disk of its own, that can be full: a tmpfs on a folder. Needs root, and the kernel's leave. Include after unit.h. */
#ifndef DISK_H
#define DISK_H

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

/* false: not here, the test is to be skipped. With disk_resize it grows or shrinks. */
static inline bool
disk_mount(const char *dir, const char *size)
{
	char options[64];

	snprintf(options, sizeof options, "mode=0777,size=%s", size);
	if (mount("tmpfs", dir, "tmpfs", MS_NOSUID | MS_NODEV, options) == 0)
		return true;
	print_message("no small disk here: %s\n", strerror(errno));
	return false;
}

static inline void
disk_resize(const char *dir, const char *size)
{
	char options[64];

	snprintf(options, sizeof options, "size=%s", size);
	assert_int_equal(mount("tmpfs", dir, "tmpfs", MS_REMOUNT | MS_NOSUID | MS_NODEV, options), 0);
}

/* Nothing may stay mounted when a test has failed: for a teardown. */
static inline void
disk_unmount(const char *dir)
{
	umount2(dir, MNT_DETACH);
}

/* A file of so many bytes, or as many as there is room for. Returns how many. */
static inline size_t
disk_fill(const char *path, size_t n)
{
	static const char zeros[4096];
	size_t done = 0;
	ssize_t got = 0;
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	while (done < n && (got = write(fd, zeros, n - done < sizeof zeros ? n - done : sizeof zeros)) > 0)
		done += (size_t)got;
	close(fd);
	return done;
}

#endif
