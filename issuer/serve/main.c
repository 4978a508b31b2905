/*
 * writ-issuerd: the issuer.  Started by writd; see writd(8).
 */
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "issuer/serve/keeper.h"

/* A thread's heap shrinks when it has this much to give back.  By default it does at 128 KiB, which is what the requests of
 * one wake-up take and give back: two mprotect() and the page faults after them a request. */
#define HEAP_SLACK (8 * 1024 * 1024)

int
main(int argc, char **argv)
{
	const struct rlimit none = { 0, 0 };
	struct writ_err *err;
	char text[1024];
	int code;

	if (argc != 3 || strcmp(argv[1], "--config") != 0) {
		fprintf(stderr, "usage: writ-issuerd --config FILE\n");
		return 2;
	}
	umask(027);
	setrlimit(RLIMIT_CORE, &none);
	mallopt(M_TRIM_THRESHOLD, HEAP_SLACK);
	mallopt(M_MMAP_THRESHOLD, 256 * 1024); /* setting one ends the other's growing by itself */
	err = keeper_run(argv[2]);
	if (!err)
		return 0;
	fprintf(stderr, "writ-issuerd: %s\n", writ_err_text(err, text, sizeof(text)));
	code = err->code == WRIT_INVALID ? 2 : 1;
	writ_err_free(err);
	return code;
}
