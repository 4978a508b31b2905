/*
 * A custody statement's bundle (issuer/signer/attest_wire.h), read into a structure: its form alone, strictly, to the
 * last byte.
 *
 * Canonical JSON, no member that is not known, sizes bounded; binary members decoded, and not looked into.  Whether
 * what it says is so is custody_verify.c's to find out.  Threading: a program with one thread.
 */
#ifndef WRIT_ISSUER_CLI_CUSTODY_BUNDLE_H
#define WRIT_ISSUER_CLI_CUSTODY_BUNDLE_H

#include <jansson.h>

#include "base/clock.h"
#include "base/digest.h"
#include "hsm/attest.h"
#include "issuer/cli/cli.h"
#include "issuer/signer/attest_wire.h"

#define CUSTODY_BUNDLE_MAX (256 * 1024) /* bytes of the file; one has about 8 KiB */
#define CUSTODY_CERTIFICATES_MAX 16

struct custody_said {
	enum attested what;
	struct writ_bytes about, said, signature;
};

/* Everything borrows from the arena. */
struct custody_bundle {
	struct writ_arena arena;
	struct writ_bytes statement; /* its text, as the anchor signed it */
	uint8_t digest[SHA256_LEN];  /* of the statement: qualifying data of every attestation */
	struct writ_bytes signature; /* the anchor's */
	struct writ_bytes mac;	     /* the answer to a challenge; empty: none was asked */
	size_t n_said;
	struct custody_said said[ATTEST_ITEMS_MAX];
	/* the statement's members: */
	struct writ_bytes ak, ek; /* empty: the device has none */
	struct writ_bytes anchor, certificates[CUSTODY_CERTIFICATES_MAX];
	size_t n_certificates;
	struct writ_bytes nonce, journal_hash;
	uint64_t journal_index;
	writ_time time;
	const char *trust_domain, *tier, *custody, *journal_origin;
	const char *scheme, *maker, *model, *serial, *firmware;
	bool software;
};

WRIT_CHECKED struct writ_err *custody_bundle_read(const char *path, struct custody_bundle *ret);
WRIT_CHECKED struct writ_err *custody_bundle_parse(struct writ_bytes text, struct custody_bundle *ret);
void custody_bundle_done(struct custody_bundle *);

/* What the JSON files of this exchange have in common: canonical, an object, no member but these (NULL-terminated),
 * version 1. */
WRIT_CHECKED struct writ_err *custody_json_read(const char *path, size_t max, const char *const *members, json_t **ret);

/* Bytes that a member holds as hex or base64; `max` bytes of them at most.  They are the arena's. */
WRIT_CHECKED struct writ_err *custody_hex(const json_t *object, const char *name, size_t min, size_t max,
					  struct writ_arena *, struct writ_bytes *ret);
WRIT_CHECKED struct writ_err *custody_base64(const json_t *value, const char *name, size_t max, struct writ_arena *,
					     struct writ_bytes *ret);

/* writ custody's commands of this exchange. */
int custody_attest(int argc, char **argv);
int custody_challenge(int argc, char **argv);
int custody_verify(int argc, char **argv);

#endif
