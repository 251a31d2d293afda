#include "thread.h"

#include <signal.h>

int
thread_start(pthread_t *id, const pthread_attr_t *attr, void *(*run)(void *arg), void *arg)
{
	sigset_t all, before;

	/* inherited: there is no moment at which the new thread could take one */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int failed = pthread_create(id, attr, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return failed;
}
