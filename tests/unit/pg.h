/* A PostgreSQL of the test's own, in a temporary folder, on a unix socket only. Include after unit.h.
 *
 *	struct test_pg *pg = pg_start();
 *	pg_exec(pg, "CREATE TABLE t (i int)");	or pg_file(pg, "schema/001-config.sql");
 *	struct db *d = db_new(&(struct db_conf){ .conninfo = pg_conninfo(pg), ... });
 *	pg_kill(pg); ... pg_restart(pg);
 *	pg_stop(pg);
 *
 * As root the server runs as the user postgres. It ends with the test program: at exit, and by a
 * signal from the kernel when the program is killed. */
#ifndef PG_H
#define PG_H

#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PG_BIN "/usr/lib/postgresql/15/bin/"

struct test_pg {
	char dir[64];		/* holds data/, the socket and log */
	char conninfo[160];
	pid_t pid;		/* 0: not running */
	pid_t owner;		/* who may stop it: not a fork of the test */
};

static struct test_pg pg_only;	/* one per test program */

/* In the child: an ordinary user, output to the log, gone when we are gone. */
static inline void
pg_become(const char *log)
{
	const struct passwd *pw = geteuid() == 0 ? getpwnam("postgres") : NULL;
	int fd = open(log, O_WRONLY | O_APPEND | O_CREAT, 0666);
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
		_exit(126);
	if (geteuid() == 0 && (pw == NULL || setgid(pw->pw_gid) < 0 ||
	    initgroups("postgres", pw->pw_gid) < 0 || setuid(pw->pw_uid) < 0))
		_exit(126);
	setenv("LC_ALL", "C", 1);
	setenv("TZ", "UTC", 1);
	prctl(PR_SET_PDEATHSIG, SIGINT);	/* after setuid, which clears it */
}

static inline void
pg_log_path(const struct test_pg *pg, char *out, size_t size)
{
	snprintf(out, size, "%.63s/log", pg->dir);
}

static inline void
pg_pause_ms(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

/* What another process or thread brings about: asks until it is true, 15 s at most. */
#define pg_eventually(what) do { \
	int64_t end_ = clock_mono_ms() + 15000; \
	while (!(what)) { \
		if (clock_mono_ms() > end_) \
			fail_msg("never came true: %s", #what); \
		pg_pause_ms(5); \
	} \
} while (0)

static inline void
pg_restart(struct test_pg *pg)
{
	char log[80], data[80];

	snprintf(data, sizeof data, "%.63s/data", pg->dir);
	pg_log_path(pg, log, sizeof log);
	pg->pid = fork();
	if (pg->pid == 0) {
		pg_become(log);
		execl(PG_BIN "postgres", PG_BIN "postgres", "-D", data, "-k", pg->dir, "-c", "listen_addresses=",
		    "-c", "fsync=off", "-c", "max_connections=30", "-c", "shared_buffers=16MB",
		    "-c", "log_min_messages=fatal", (char *)NULL);
		_exit(127);
	}
	for (int i = 0; i < 12000; i++) {	/* two minutes: recovery on a busy disk takes its time */
		if (PQping(pg->conninfo) == PQPING_OK)
			return;
		if (waitpid(pg->pid, NULL, WNOHANG) == pg->pid) {
			pg->pid = 0;
			break;
		}
		pg_pause_ms(10);
	}
	fprintf(stderr, "PostgreSQL did not start; see %s\n", log);
	abort();
}

/* The hard way: no goodbye, every connection breaks. Returns when it is gone. */
static inline void
pg_kill(struct test_pg *pg)
{
	if (pg->pid == 0)
		return;
	kill(pg->pid, SIGCONT);
	kill(pg->pid, SIGQUIT);
	while (waitpid(pg->pid, NULL, 0) < 0 && errno == EINTR)
		;
	pg->pid = 0;
}

static inline void
pg_remove(const char *dir)
{
	pid_t pid = fork();

	if (pid == 0) {
		execl("/bin/rm", "rm", "-rf", dir, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

static inline void
pg_stop(struct test_pg *pg)
{
	if (pg->owner != getpid() || pg->dir[0] == '\0')
		return;
	pg_kill(pg);
	pg_remove(pg->dir);
	pg->dir[0] = '\0';
}

static inline void
pg_at_exit(void)
{
	pg_stop(&pg_only);
}

static inline const char *
pg_conninfo(const struct test_pg *pg)
{
	return pg->conninfo;
}

static inline struct test_pg *
pg_start(void)
{
	struct test_pg *pg = &pg_only;
	char log[80], data[80];
	int status = -1;

	*pg = (struct test_pg){ .dir = "/tmp/sosigw-pg-XXXXXX", .owner = getpid() };
	if (mkdtemp(pg->dir) == NULL)
		abort();
	atexit(pg_at_exit);
	const struct passwd *pw = geteuid() == 0 ? getpwnam("postgres") : NULL;
	if (pw != NULL && chown(pg->dir, pw->pw_uid, pw->pw_gid) < 0)
		abort();
	chmod(pg->dir, 0755);
	snprintf(pg->conninfo, sizeof pg->conninfo, "host=%.63s user=postgres dbname=postgres", pg->dir);
	snprintf(data, sizeof data, "%.63s/data", pg->dir);
	pg_log_path(pg, log, sizeof log);

	pid_t pid = fork();
	if (pid == 0) {
		pg_become(log);
		execl(PG_BIN "initdb", PG_BIN "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
		    "--locale=C", "--no-sync", "--no-instructions", (char *)NULL);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status != 0) {
		fprintf(stderr, "initdb failed; see %s\n", log);
		abort();
	}
	pg_restart(pg);
	return pg;
}

/* The server stands still: connections open but nothing answers. pg_thaw lets it go on. The
 * connections that were open go on being served. */
static inline void
pg_freeze(struct test_pg *pg)
{
	kill(pg->pid, SIGSTOP);
}

static inline void
pg_thaw(struct test_pg *pg)
{
	kill(pg->pid, SIGCONT);
}

static inline void
pg_quiet(void *ctx, const char *message)
{
	(void)ctx;
	(void)message;
}

/* SQL past the code under test; the test fails when it fails. The first value of the result goes to
 * out when that is given. */
static inline void
pg_value(struct test_pg *pg, const char *sql, char *out, size_t size)
{
	PGconn *conn = PQconnectdb(pg->conninfo);
	PQsetNoticeProcessor(conn, pg_quiet, NULL);
	PGresult *res = PQexec(conn, sql);
	ExecStatusType status = PQresultStatus(res);
	char why[512];

	snprintf(why, sizeof why, "%s", PQerrorMessage(conn));
	if (out != NULL)
		snprintf(out, size, "%s", status == PGRES_TUPLES_OK && PQntuples(res) > 0 ?
		    PQgetvalue(res, 0, 0) : "");
	PQclear(res);
	PQfinish(conn);
	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		fail_msg("%.200s: %s", sql, why);
}

static inline void
pg_exec(struct test_pg *pg, const char *sql)
{
	pg_value(pg, sql, NULL, 0);
}

static inline void
pg_file(struct test_pg *pg, const char *path)
{
	struct arena *a = arena_new(1 << 20);
	char *sql = arena_cstr(a, unit_file(a, path));

	pg_exec(pg, sql);
	arena_free(a);
}

/* The whole schema, as sosigwctl migrate brings it up. */
static inline void
pg_schema(struct test_pg *pg)
{
	glob_t files;

	if (glob("schema/[0-9]*.sql", 0, NULL, &files) != 0)
		fail_msg("no schema");
	for (size_t i = 0; i < files.gl_pathc; i++)
		pg_file(pg, files.gl_pathv[i]);
	globfree(&files);
}

#endif
