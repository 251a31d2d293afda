/* The housekeeper: what one host does by the clock. Beside the workers, started by the same supervisor. */
#include "conf.h"
#include "keep.h"
#include "log.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* The static file. NULL: there is nothing to start; *code is the exit code. */
static const char *
read_options(int argc, char **argv, int *code)
{
	static const struct option known[] = {
		{ "config", required_argument, NULL, 'c' }, { "version", no_argument, NULL, 'v' }, { NULL, 0, NULL, 0 },
	};
	const char *config = "/etc/sosigw/sosigw.conf";
	bool misused = false;

	for (int o; (o = getopt_long(argc, argv, "c:v", known, NULL)) != -1;) {
		if (o == 'v') {
			printf("housekeeper (SOSI-GW) %s\n", SOSIGW_VERSION);
			*code = 0;
			return NULL;
		}
		config = o == 'c' ? optarg : config;
		misused |= o != 'c';
	}
	if (misused || optind != argc) {
		fputs("usage: housekeeper [--config FILE]\n", stderr);
		return NULL;
	}
	return config;
}

/* Until it is asked to end. Signals are taken here and nowhere else: they are blocked in all threads. */
static void
wait_for_end(const sigset_t *signals)
{
	int which;

	while (sigwait(signals, &which) != 0 || which == SIGUSR1)
		log_reopen();
}

/* -1: could not start. */
static int
keep_house(const char *config, const sigset_t *signals, struct err *e)
{
	struct conf_file *file;

	if (conf_file_read(config, &file, e) < 0)
		return -1;
	struct keep *k = log_open(file->log, "housekeeper", LOG_INFO, e) < 0 ? NULL : keep_start(file, e);
	if (k != NULL) {
		log_msg(LOG_INFO, "start", "%s, version %s", file->server, SOSIGW_VERSION);
		wait_for_end(signals);
		log_msg(LOG_INFO, "stop", "%s", file->server);
		if (!keep_stop(k))
			_exit(0);	/* a task still waits for somebody, and nothing is lost by not waiting for it */
	}
	conf_file_free(file);
	return k == NULL ? -1 : 0;
}

int
main(int argc, char **argv)
{
	int code = 2;
	const char *config = read_options(argc, argv, &code);
	struct err e = { 0 };
	sigset_t signals;

	if (config == NULL)
		return code;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGUSR1);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (keep_house(config, &signals, &e) == 0)
		return 0;
	log_err(LOG_ERROR, "start", (struct slice){ NULL, 0 }, &e);
	return 1;
}
