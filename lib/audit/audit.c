/* The journal of one process, as it is written.
 *
 * A record is made outside the lock, numbered, chained and written under it: one write(2) for each, so that
 * what was answered is in the kernel whatever becomes of the process. With sync, the threads that wait for the
 * disk share one fdatasync: the first becomes leader and syncs for all that have written so far.
 *
 * When writing or syncing fails the segment is given up, for good: after a failed fsync the kernel has
 * forgotten what it could not write, and a second fsync would lie. Every write then tries to begin a new
 * segment (not more often than RETRY_MS), and fails until that works. The new segment continues number and
 * chain after the last record that was written whole; if the disk lost such records, verify shows the gap.
 *
 * A disk that fills is not written to its end: from a limit on nothing new is begun, so that what is under way can still
 * write how it ended, and calls that are refused that they were. */
#include "audit.h"

#include "clock.h"
#include "folder.h"
#include "formats.h"
#include "log.h"
#include "rand.h"
#include "record.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define SEGMENT_BYTES (16 * 1024 * 1024)
#define SEGMENT_MS (24 * 3600 * 1000)
#define RETRY_MS 100
#define LOOK_MS 1000		/* at the disk */

struct audit {
	pthread_mutex_t lock;
	char dir[PATH_MAX / 2], name[FOLDER_NAME];
	char server[128], program[64];
	bool sync;
	atomic_int format;	/* that is written */
	int64_t started;
	int alive;		/* holds the lock that says this process lives */

	/* under the lock */
	int fd;			/* -1: the segment failed, or could not be begun */
	uint32_t segment;	/* the one of fd, or the next to begin */
	int64_t begun, retry;	/* monotonic */
	size_t size;
	uint64_t number;	/* of the last record */
	uint8_t hash[RECORD_HASH];
	EVP_MD_CTX *md;
	unsigned limit, used;	/* percent of the disk */
	bool nearly_full;
	int64_t looked;		/* monotonic; 0: never */

	/* group sync */
	pthread_cond_t synced_more;
	bool syncing;		/* a leader is at it; fd must stay open */
	uint64_t synced;	/* records up to this are on disk */
	unsigned failures;	/* counts segments given up */
};

/* The whole text or nothing; a part that was written is taken back, or cut by the reader. */
static int
write_whole(int fd, const struct record_text *t, size_t at)
{
	ssize_t n;

	while ((n = write(fd, t->bytes, t->n)) < 0 && errno == EINTR)
		;
	if (n == (ssize_t)t->n)
		return 0;
	int why = n < 0 ? errno : ENOSPC;
	if (n > 0 && ftruncate(fd, (off_t)at) < 0)
		log_msg(LOG_WARN, "audit-journal", "a part of a record stays: %s", strerror(errno));
	errno = why;
	return -1;
}

/* Numbers, chains and writes one record to fd. */
static int
append(struct audit *j, int fd, struct record_text *t)
{
	uint8_t hash[RECORD_HASH];

	record_seal(t, j->md, j->number + 1, j->hash, hash);
	if (write_whole(fd, t, j->size) < 0)
		return -1;
	memcpy(j->hash, hash, sizeof hash);
	j->number++;
	j->size += t->n;
	return 0;
}

static int
append_mark(struct audit *j, int fd, const char *kind, const char *fields)
{
	struct record_text t;

	record_mark(&t, kind, clock_now_ms(), fields, atomic_load(&j->format));
	return append(j, fd, &t);
}

static int
append_begin(struct audit *j, int fd, const char *why)
{
	char before[2 * RECORD_HASH + 1], fields[1024];

	for (size_t i = 0; i < RECORD_HASH; i++)
		snprintf(before + 2 * i, 3, "%02x", j->hash[i]);
	/* server and program hold only characters that a file name may have: see safe_name */
	snprintf(fields, sizeof fields, ",\"server\":\"%s\",\"program\":\"%s\",\"pid\":%ld,\"started\":%lld,"
	    "\"segment\":%u,\"why\":\"%s\",\"before\":\"%s\"", j->server, j->program, (long)getpid(),
	    (long long)j->started, j->segment, why, before);
	j->size = 0;
	return append_mark(j, fd, "begin", fields);
}

static void
sync_folder(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0) {
		fsync(fd);
		close(fd);
	}
}

/* The segment has its first record before it has its name: what a reader has once seen is never taken back.
 * Number and chain are as before when this fails. */
static int
begin_segment(struct audit *j, const char *why, struct err *e)
{
	char fresh[PATH_MAX], path[PATH_MAX];
	uint8_t hash[RECORD_HASH];
	uint64_t number = j->number;

	folder_new_path(fresh, j->dir, j->name, j->segment);
	folder_path(path, j->dir, j->name, j->segment);
	memcpy(hash, j->hash, sizeof hash);
	int fd = open(fresh, O_WRONLY | O_APPEND | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (fd < 0)
		return err_set(e, ERR_AUDIT, "journal %s: %s", fresh, strerror(errno));
	/* after a failure the disk must first show that it takes what it is given */
	if (append_begin(j, fd, why) < 0 || ((j->sync || j->failures > 0) && fdatasync(fd) < 0) || rename(fresh, path) < 0) {
		err_set(e, ERR_AUDIT, "journal %s: %s", path, strerror(errno));
		unlink(fresh);
		close(fd);
		j->number = number;
		memcpy(j->hash, hash, sizeof hash);
		return -1;
	}
	if (j->sync)
		sync_folder(j->dir);
	j->fd = fd;
	j->begun = clock_mono_ms();
	return 0;
}

static void
wait_for_leader(struct audit *j)
{
	while (j->syncing)
		pthread_cond_wait(&j->synced_more, &j->lock);
}

/* Nothing is ever written to this segment again. */
static void
give_up(struct audit *j, const char *doing, int why)
{
	int fd = j->fd;

	log_msg(LOG_ERROR, "audit-journal", "%s.%u: %s: %s; nothing is forwarded until a new segment can be begun",
	    j->name, j->segment, doing, strerror(why));
	j->fd = -1;
	j->segment++;
	j->failures++;
	j->retry = 0;
	pthread_cond_broadcast(&j->synced_more);
	wait_for_leader(j);
	close(fd);
}

static int
begin_again(struct audit *j, struct err *e)
{
	int64_t now = clock_mono_ms();

	if (now < j->retry)
		return err_set(e, ERR_AUDIT, "journal %s cannot be written", j->name);
	j->retry = now + RETRY_MS;
	if (begin_segment(j, "failure", e) < 0)
		return -1;
	log_msg(LOG_INFO, "audit-journal", "%s.%u: writing again", j->name, j->segment);
	return 0;
}

static int
roll(struct audit *j, struct err *e)
{
	uint32_t segment = j->segment;
	int old = j->fd;

	wait_for_leader(j);
	if (j->segment != segment)
		return 0;	/* somebody else has seen to it meanwhile */
	if (append_mark(j, old, "roll", "") < 0 || (j->sync && fdatasync(old) < 0)) {
		give_up(j, "roll", errno);
		return begin_again(j, e);
	}
	j->synced = j->number;
	j->segment++;
	j->fd = -1;
	int rc = begin_segment(j, "roll", e);
	close(old);
	pthread_cond_broadcast(&j->synced_more);
	return rc;
}

static int
ready(struct audit *j, size_t n, struct err *e)
{
	if (j->fd >= 0 && (j->size + n > SEGMENT_BYTES || clock_mono_ms() - j->begun > SEGMENT_MS) &&
	    roll(j, e) < 0)
		return -1;
	return j->fd >= 0 ? 0 : begin_again(j, e);
}

/* The leader syncs what is written by now, without the lock; the others wait for what it reports. */
static void
lead_sync(struct audit *j)
{
	uint64_t upto = j->number;
	uint32_t segment = j->segment;
	int fd = j->fd;

	j->syncing = true;
	pthread_mutex_unlock(&j->lock);
	int rc = fdatasync(fd), why = errno;
	pthread_mutex_lock(&j->lock);
	j->syncing = false;
	if (rc < 0 && j->segment == segment)
		give_up(j, "fdatasync", why);
	else if (rc == 0 && upto > j->synced)
		j->synced = upto;
	pthread_cond_broadcast(&j->synced_more);
}

static int
wait_for_disk(struct audit *j, uint64_t number, unsigned failures, struct err *e)
{
	while (j->synced < number && j->failures == failures) {
		if (j->syncing)
			pthread_cond_wait(&j->synced_more, &j->lock);
		else
			lead_sync(j);
	}
	/* a failure after this record may be one of this record: it counts as lost */
	if (j->failures != failures)
		return err_set(e, ERR_AUDIT, "journal %s failed while record %llu waited for the disk", j->name,
		    (unsigned long long)number);
	return 0;
}

/* What cannot be looked at does not stop anybody: writing will tell. */
static void
look_at_disk(struct audit *j)
{
	struct err ignored = { 0 };
	int64_t now = clock_mono_ms();

	if (j->looked != 0 && now - j->looked < LOOK_MS)
		return;
	j->looked = now;
	if (folder_used(j->dir, &j->used, &ignored) < 0)
		return;
	/* one percent must become free before it goes on: no to and fro */
	bool full = j->limit < 100 && j->used + j->nearly_full >= j->limit;
	if (full != j->nearly_full)
		log_msg(full ? LOG_ERROR : LOG_INFO, "journal-disk", "%s: %u %% used, limit %u %%: %s", j->dir, j->used, j->limit,
		    full ? "nothing is forwarded until there is room" : "there is room again");
	j->nearly_full = full;
}

static int
write_locked(struct audit *j, struct record_text *t, bool begins, struct err *e)
{
	if (begins)
		look_at_disk(j);
	if (begins && j->nearly_full)
		return err_set(e, ERR_AUDIT, "journal %s: its disk is %u %% full", j->name, j->used);
	if (ready(j, t->n, e) < 0)
		return -1;
	if (append(j, j->fd, t) < 0) {
		int why = errno;
		give_up(j, "write", why);
		return err_set(e, ERR_AUDIT, "journal %s: write: %s", j->name, strerror(why));
	}
	return j->sync ? wait_for_disk(j, j->number, j->failures, e) : 0;
}

int
audit_write(struct audit *j, const struct audit_event *ev, struct err *e)
{
	struct record_text t;

	record_event(&t, ev, atomic_load(&j->format));
	pthread_mutex_lock(&j->lock);
	int rc = write_locked(j, &t, ev->status == AUDIT_OPEN, e);
	pthread_mutex_unlock(&j->lock);
	return rc;
}

void
audit_limit(struct audit *j, unsigned percent)
{
	pthread_mutex_lock(&j->lock);
	j->limit = percent;
	j->looked = 0;
	pthread_mutex_unlock(&j->lock);
}

/* Letters, digits, dot and underscore; anything else becomes '_'. Cut at the room there is. */
static void
safe_name(char *out, size_t size, const char *name)
{
	size_t n = 0;

	for (; name[n] != '\0' && n + 1 < size; n++) {
		char c = name[n];
		bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    c == '_' || c == '-' || (c == '.' && n > 0);
		out[n] = plain ? c : '_';
	}
	out[n] = '\0';
}

static void
name_journal(struct audit *j)
{
	unsigned char r[8];
	char random[2 * sizeof r + 1];

	rand_bytes(r, sizeof r);
	for (size_t i = 0; i < sizeof r; i++)
		snprintf(random + 2 * i, 3, "%02x", r[i]);
	snprintf(j->name, sizeof j->name, "%.80s-%.40s-%lld-%ld-%s", j->server, j->program,
	    (long long)(j->started / 1000), (long)getpid(), random);
}

/* Locked before the first segment is there, until the process ends: see folder.h. */
static int
show_life(struct audit *j, struct err *e)
{
	char path[PATH_MAX];

	folder_lock_path(path, j->dir, j->name);
	j->alive = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	if (j->alive < 0 || flock(j->alive, LOCK_EX | LOCK_NB) < 0)
		return err_set(e, ERR_AUDIT, "%s: %s", path, strerror(errno));
	return 0;
}

static void
free_journal(struct audit *j)
{
	if (j->alive >= 0)
		close(j->alive);
	EVP_MD_CTX_free(j->md);
	pthread_cond_destroy(&j->synced_more);
	pthread_mutex_destroy(&j->lock);
	free(j);
}

struct audit *
audit_open(const char *dir, const char *server, const char *program, bool sync, struct err *e)
{
	struct audit *j = calloc(1, sizeof *j);

	if (j == NULL || strlen(dir) >= sizeof j->dir) {
		free(j);
		err_set(e, ERR_AUDIT, "journal in %s: no memory or too long a name", dir);
		return NULL;
	}
	pthread_mutex_init(&j->lock, NULL);
	pthread_cond_init(&j->synced_more, NULL);
	memcpy(j->dir, dir, strlen(dir) + 1);
	safe_name(j->server, sizeof j->server, server);
	safe_name(j->program, sizeof j->program, program);
	j->sync = sync;
	atomic_init(&j->format, format_before(FORMAT_JOURNAL));
	j->fd = j->alive = -1;
	j->limit = 100;
	j->started = clock_now_ms();
	j->md = EVP_MD_CTX_new();
	name_journal(j);
	if (j->md == NULL || EVP_DigestInit_ex(j->md, EVP_sha256(), NULL) != 1 || show_life(j, e) < 0 ||
	    begin_segment(j, "start", e) < 0) {
		free_journal(j);
		err_set(e, ERR_AUDIT, "journal in %s", dir);
		return NULL;
	}
	return j;
}

void
audit_write_format(struct audit *j, int format)
{
	atomic_store(&j->format, format);
}

void
audit_close(struct audit *j)
{
	if (j == NULL)
		return;
	pthread_mutex_lock(&j->lock);
	wait_for_leader(j);
	if (j->fd >= 0) {
		if (append_mark(j, j->fd, "end", "") < 0 || (j->sync && fdatasync(j->fd) < 0))
			log_msg(LOG_ERROR, "audit-journal", "%s: end: %s", j->name, strerror(errno));
		close(j->fd);
	}
	pthread_mutex_unlock(&j->lock);
	free_journal(j);
}
