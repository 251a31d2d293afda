/* keep: the housekeeper, one per host: sends the audit journals on, drops the months of the audit trail that are
 * no longer kept, shows that the host lives, fetches the lists of revoked certificates, and gives cache nodes that came
 * back their copies. */
#ifndef KEEP_KEEP_H
#define KEEP_KEEP_H

#include "conf.h"
#include "err.h"

struct keep;
/* Starts its threads; works with the database, the network and the configuration away. NULL with e filled. */
struct keep *keep_start(const struct conf_file *file, struct err *e);
/* Ends what is being done, sends the journals once more, frees. Takes at most KEEP_STOP_MS; false: a task still
 * waits for somebody else, nothing was freed, and the process may simply end: no task leaves anything half done
 * (transactions, files renamed into place). Or it may be called again. */
#define KEEP_STOP_MS 4500
bool keep_stop(struct keep *k);

#endif
