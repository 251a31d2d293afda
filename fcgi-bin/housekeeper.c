/* The housekeeper: one per host; everything periodic. */
#include "keep.h"
#include "log.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>

static struct keep *running;	/* for the signal handlers alone */

static void
on_stop(int sig)
{
	(void)sig;
	keep_stop(running);
}

static void
on_reopen(int sig)
{
	(void)sig;
	log_reopen();
}

static void
set_signals(void)
{
	struct sigaction sa = { .sa_flags = SA_RESTART };

	sigemptyset(&sa.sa_mask);
	sa.sa_handler = on_stop;
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	sa.sa_handler = on_reopen;
	sigaction(SIGUSR1, &sa, NULL);
	sa.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &sa, NULL);
}

static int
keep_house(const char *config, struct err *e)
{
	struct conf_file *file;

	if (conf_file_read(config, &file, e) < 0)
		return -1;
	if (log_open(file->log, "housekeeper", LOG_INFO, e) == 0)
		running = keep_new(file, e);
	if (running != NULL) {
		set_signals();
		log_msg(LOG_INFO, "start", "version %s", SOSIGW_VERSION);
		keep_run(running);
		log_msg(LOG_INFO, "stop", "done");
		keep_free(running);
	}
	conf_file_free(file);
	return running != NULL ? 0 : -1;
}

int
main(int argc, char **argv)
{
	static const struct option known[] = {
		{ "config", required_argument, NULL, 'c' }, { "version", no_argument, NULL, 'v' }, { NULL, 0, NULL, 0 },
	};
	const char *config = "/etc/sosigw/sosigw.conf";
	struct err e = { .kind = ERR_NONE };
	int c;

	while ((c = getopt_long(argc, argv, "c:v", known, NULL)) != -1)
		switch (c) {
		case 'c':
			config = optarg;
			break;
		case 'v':
			printf("housekeeper (SOSI-GW) %s\n", SOSIGW_VERSION);
			return 0;
		default:
			fprintf(stderr, "usage: housekeeper [--config FILE]\n");
			return 2;
		}
	if (keep_house(config, &e) == 0)
		return 0;
	log_err(LOG_ERROR, "stop", (struct slice){ NULL, 0 }, &e);
	return 1;
}
