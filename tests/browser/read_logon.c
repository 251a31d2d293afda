/* What the server makes of a log-on form that the script has signed, for script.mjs: the form comes on stdin, and who logs on
 * is told in a line, or why nobody does.
 *
 *     read_logon ROOT.pem ISSUING.pem CHALLENGE LOGONTO <form
 *
 * It has no revocation lists; those are tested elsewhere. Exit 0: logged on; 1: refused; 2: cannot tell. */
#include "logon.h"

#include "xml.h"

#include <stdio.h>

#define FORM_MOST (1u << 20)

static struct slice
whole(struct arena *a, FILE *f)
{
	char *p = f == NULL ? NULL : arena_alloc(a, FORM_MOST);

	return (struct slice){ p, p == NULL ? 0 : fread(p, 1, FORM_MOST, f) };
}

static struct slice
file(struct arena *a, const char *path)
{
	FILE *f = fopen(path, "rb");
	struct slice text = whole(a, f);

	if (f != NULL)
		fclose(f);
	return text;
}

static int
tell(struct arena *a, char **argv)
{
	const struct slice root = file(a, argv[1]), issuing = file(a, argv[2]), form = whole(a, stdin);
	const struct conf c = { .trust = { .roots = &root, .nroots = 1, .intermediates = &issuing, .nintermediates = 1 } };
	const struct signing_logon wanted = { slice_of(argv[3]), slice_of(argv[4]) };
	const struct signing s = { .cards = NULL };
	struct pki_identity who;
	struct err e = { .kind = ERR_NONE };

	if (root.p == NULL || issuing.p == NULL || form.p == NULL)
		return 2;
	if (signing_logon_read(&s, &c, a, form, &wanted, &who, &e) < 0) {
		printf("%s: %s\n", err_name(e.kind), e.detail);
		return 1;
	}
	printf("%.*s, CVR %.*s\n", SLICE_FMT(who.common_name), SLICE_FMT(who.cvr));
	return 0;
}

int
main(int argc, char **argv)
{
	if (argc != 5) {
		fputs("usage: read_logon ROOT.pem ISSUING.pem CHALLENGE LOGONTO <form\n", stderr);
		return 2;
	}
	xml_init();
	struct arena *a = arena_new(16 << 20);
	int rc = a == NULL ? 2 : tell(a, argv);
	if (a != NULL)
		arena_free(a);
	return rc;
}
