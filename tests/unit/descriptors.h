/* A process that has no file descriptor left. Include after unit.h.
 *
 *	struct descriptors d;
 *	descriptors_exhaust(&d);	every call that wants one fails with EMFILE, in all threads
 *	descriptors_release(&d); */
#ifndef DESCRIPTORS_H
#define DESCRIPTORS_H

#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

#define DESCRIPTORS_MOST 512

struct descriptors {
	int held[DESCRIPTORS_MOST];
	size_t n;
	struct rlimit before;
};

static inline void
descriptors_exhaust(struct descriptors *d)
{
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &d->before), 0);
	struct rlimit tight = { .rlim_cur = DESCRIPTORS_MOST, .rlim_max = d->before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	d->n = 0;
	for (int fd; (fd = dup(STDERR_FILENO)) >= 0;)
		d->held[d->n++] = fd;
	assert_int_equal(errno, EMFILE);
}

static inline void
descriptors_release(struct descriptors *d)
{
	while (d->n > 0)
		close(d->held[--d->n]);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &d->before), 0);
}

#endif
