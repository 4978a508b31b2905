/*
 * A leaf's file, as writ(1) writes it: the leaf, its issuing CA behind it.  For inspect.c and verify.c.
 */
#ifndef WRIT_ISSUER_CLI_CHAIN_H
#define WRIT_ISSUER_CLI_CHAIN_H

#include "base/bytes.h"

#define CHAIN_MAX (64 * 1024)

struct chain {
	struct writ_buf leaf, issuing; /* DER */
	size_t n;		       /* 1: a lone leaf */
};

/* PEM, or DER of the leaf alone.  What follows the issuing CA is not looked at. */
WRIT_CHECKED struct writ_err *chain_read(const char *path, struct chain *ret);
void chain_done(struct chain *);

#endif
