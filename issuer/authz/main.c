/*
 * writ-authz: see writ-authz(8).
 */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "issuer/authz/authz.h"

int
main(int argc, char **argv)
{
	const struct rlimit none = { 0, 0 };
	struct writ_err *err;
	char text[1024];
	int code;

	if (argc != 3 || strcmp(argv[1], "--config") != 0) {
		fprintf(stderr, "usage: writ-authz --config FILE\n");
		return 2;
	}
	umask(027);
	setrlimit(RLIMIT_CORE, &none);
	err = authz_run(argv[2]);
	if (!err)
		return 0;
	fprintf(stderr, "writ-authz: %s\n", writ_err_text(err, text, sizeof(text)));
	code = err->code == WRIT_INVALID ? 2 : 1;
	writ_err_free(err);
	return code;
}
