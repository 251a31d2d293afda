/* file: small files that are replaced whole. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "err.h"

/* Whole or not at all, also when the power goes: written beside it as path.new, synced, renamed. Mode 0640. One writer
 * at a time. ERR_INTERNAL with path and reason. */
int file_replace(const char *path, struct slice bytes, struct err *e);

#endif
