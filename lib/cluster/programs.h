/* programs: the rows of member_program, and the copy of them in a file; inside cluster only. */
#ifndef CLUSTER_PROGRAMS_H
#define CLUSTER_PROGRAMS_H

#include "cluster.h"

#include "buf.h"

#define PROGRAMS_LOCK "sosigw members"

/* cluster_programs within a transaction. */
int programs_read(struct db_tx *tx, struct arena *a, struct cluster_program **out, size_t *n, struct err *e);
/* Formats of cards that are written no more and may still be there. tx or d, the other is NULL. */
int programs_kept(struct db_tx *tx, struct db *d, struct arena *a, struct cluster_kept **out, size_t *n, struct err *e);
/* Writes self's row, whatever stood there; what that said of another card format is noted as kept. */
int programs_put(struct db_tx *tx, struct arena *a, const struct cluster_program *self, struct err *e);
/* Shows that self lives. false in *counted: its row does not count any more, or is gone. */
int programs_touch(struct db *d, struct arena *a, const struct cluster_program *self, bool *counted, struct err *e);

/* What the copy holds: what decides on formats, nothing that changes with every heartbeat. */
struct programs_known {
	struct cluster_program *programs;
	struct cluster_kept *kept;
	size_t n, nkept;
};
void programs_copy(struct buf *b, const struct programs_known *k);
/* ERR_NOT_FOUND when there is no copy in that folder, ERR_CONFIG when it cannot be read. */
int programs_read_copy(const char *state, struct arena *a, struct programs_known *out, struct err *e);
int programs_write_copy(const char *state, struct slice copy, struct err *e);

#endif
