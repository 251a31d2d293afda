#include "edit.h"

#include "buf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define DIFF_MOST (64 << 20)	/* two documents and their marks */

const char *
edit_file(struct ctl *c, struct slice content)
{
	const char *tmp = getenv("TMPDIR");
	char *dir = arena_cstr(c->a, arena_printf(c->a, "%s/sosigw-XXXXXX", tmp != NULL && *tmp == '/' ? tmp : "/tmp"));
	const char *path = NULL;

	if (dir == NULL || mkdtemp(dir) == NULL)	/* mkdtemp: for us alone */
		goto failed;
	path = arena_printf(c->a, "%s/configuration.json", dir).p;
	FILE *f = path == NULL ? NULL : fopen(path, "wxe");
	if (f == NULL)
		goto failed;
	bool bad = fwrite(content.p, 1, content.n, f) != content.n;
	if (fclose(f) == 0 && !bad)
		return path;
failed:
	ctl_complain(c, "temporary file: %s", strerror(errno));
	if (path != NULL)
		edit_forget(path);
	return NULL;
}

void
edit_forget(const char *path)
{
	char dir[4096];

	unlink(path);
	snprintf(dir, sizeof dir, "%s", path);
	char *slash = strrchr(dir, '/');
	if (slash != NULL) {
		*slash = '\0';
		rmdir(dir);
	}
}

/* Its exit code, or -1. */
static int
wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int
edit_open(struct ctl *c, const char *path)
{
	fflush(c->out);
	pid_t pid = fork();
	if (pid == 0) {
		/* the shell, because EDITOR may hold options */
		execl("/bin/sh", "sh", "-c", "exec ${VISUAL:-${EDITOR:-vi}} \"$1\"", "sh", path, (char *)NULL);
		_exit(127);
	}
	int code = pid < 0 ? -1 : wait_for(pid);
	if (code == 0)
		return 0;
	ctl_complain(c, "the editor ended with %d; set EDITOR to one you like", code);
	return -1;
}

static void
become_diff(int to, const char *label_a, const char *a, const char *label_b, const char *b)
{
	if (dup2(to, STDOUT_FILENO) >= 0)
		execlp("diff", "diff", "-u", "--label", label_a, "--label", label_b, "--", a, b, (char *)NULL);
	_exit(127);
}

/* What it says goes to `out`: whoever reads us may go away, and then the files would stay. */
static int
run_diff(const char *label_a, const char *a, const char *label_b, const char *b, struct buf *out)
{
	char piece[4096];
	int ends[2];
	ssize_t n;

	if (pipe(ends) < 0)
		return -1;
	pid_t pid = fork();
	if (pid == 0)
		become_diff(ends[1], label_a, a, label_b, b);
	close(ends[1]);
	while (pid > 0 && ((n = read(ends[0], piece, sizeof piece)) > 0 || (n < 0 && errno == EINTR)))
		if (n > 0)
			buf_put(out, (struct slice){ piece, (size_t)n });
	close(ends[0]);
	return pid < 0 ? -1 : wait_for(pid);
}

int
edit_diff(struct ctl *c, const char *label_a, struct slice a, const char *label_b, struct slice b)
{
	const char *file_a = edit_file(c, a), *file_b = edit_file(c, b);
	struct buf said;

	buf_init(&said, DIFF_MOST);
	int code = file_a == NULL || file_b == NULL ? -1 : run_diff(label_a, file_a, label_b, file_b, &said);
	if (file_a != NULL)
		edit_forget(file_a);
	if (file_b != NULL)
		edit_forget(file_b);
	if (said.n > 0)
		fwrite(said.p, 1, said.n, c->out);
	buf_free(&said);
	if (code == 0 || code == 1)
		return code;
	ctl_complain(c, "diff could not be run");
	return -1;
}
