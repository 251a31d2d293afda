/* folder: the journal files of one host; inside audit only.
 *
 *	<server>-<program>-<start>-<pid>-<random>.<segment>.journal
 *
 * What stands before the segment is the journal's name: one per process, for ever its own. The writer holds
 * flock on <name>.lock from before the first segment until it ends, however it ends. A segment is written under
 * the name <name>.<segment>.new until its first record is in it. */
#ifndef AUDIT_FOLDER_H
#define AUDIT_FOLDER_H

#include "arena.h"
#include "err.h"

#include <limits.h>
#include <stdint.h>

#define FOLDER_NAME 200			/* room for a journal's name */

struct folder_journal {
	struct slice name;		/* NUL-terminated */
	uint32_t first, last;		/* segments that are there; some between may be missing */
};
/* Sorted by name. What else is in the folder is passed over. ERR_AUDIT. */
int folder_list(struct arena *a, const char *dir, struct folder_journal **out, size_t *n, struct err *e);
void folder_path(char out[PATH_MAX], const char *dir, const char *name, uint32_t segment);
void folder_new_path(char out[PATH_MAX], const char *dir, const char *name, uint32_t segment);
void folder_lock_path(char out[PATH_MAX], const char *dir, const char *name);
bool folder_has(const char *dir, const char *name, uint32_t segment);
/* Nothing will be written to this segment any more: a later one is there, or the process is gone. */
bool folder_is_final(const char *dir, const char *name, uint32_t segment);
/* Percent of its disk that are used, rounded up. */
int folder_used(const char *dir, unsigned *used, struct err *e);
/* Removes what writers left that died while they began. */
void folder_sweep(const char *dir, const struct folder_journal *list, size_t n);

#endif
