#include "must.h"

#include <stdio.h>
#include <stdlib.h>

void
must_failed(const char *what, const char *file, int line)
{
	fprintf(stderr, "{\"level\":\"fatal\",\"event\":\"must\",\"what\":\"%s\",\"at\":\"%s:%d\"}\n",
	    what, file, line);
	abort();
}
