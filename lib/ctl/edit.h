/* edit: temporary files, the editor and diff(1). Inside ctl only. */
#ifndef CTL_EDIT_H
#define CTL_EDIT_H

#include "ctl.h"

/* A file of its own that only we can read; the path is in c->a. NULL: said why. */
const char *edit_file(struct ctl *c, struct slice content);
/* Removes it and its folder. */
void edit_forget(const char *path);
/* $VISUAL, $EDITOR or vi on that file. -1: said why. */
int edit_open(struct ctl *c, const char *path);
/* Unified diff on c->out: 0 same, 1 different, -1 said why. */
int edit_diff(struct ctl *c, const char *label_a, struct slice a, const char *label_b, struct slice b);

#endif
