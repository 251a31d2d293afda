/* sosigwctl: the administrator's command line. */
#include "ctl.h"
#include "dsig.h"
#include "log.h"
#include "xml.h"

int
main(int argc, char **argv)
{
	struct err e = { 0 };

	log_open(NULL, "sosigwctl", LOG_ERROR, &e);
	xml_init();
	if (dsig_init(&e) < 0) {
		log_err(LOG_ERROR, "start", (struct slice){ NULL, 0 }, &e);
		return CTL_FAILED;
	}
	return (int)ctl_run(argc, argv, stdin, stdout, stderr);
}
