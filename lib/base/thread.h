/* thread: threads that leave signals to main's, which decides what they mean. */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>

/* pthread_create with all signals blocked in the new thread; attr may be NULL. 0, or the error number. */
int thread_start(pthread_t *id, const pthread_attr_t *attr, void *(*run)(void *arg), void *arg);

#endif
