/*
 * The transcript of a ceremony, as text: written by the signer while the anchor is made, signed by the witnesses and then
 * by the anchor itself.
 *
 * Lines of "name: value" in printable ASCII behind TRANSCRIPT_TITLE, the last one "ended: TIME".  What is signed is the
 * whole file, byte for byte, as one message: it begins with a letter, and whatever a CA signs begins with the SEQUENCE
 * of DER (0x30), so a signature over a transcript is never one over a certificate, a list, a status or a request.
 * Anybody can check one: openssl dgst -sha256 -verify KEY -signature NAME.sig transcript.txt
 * Knows no key and no file.  Thread-safe: no state.
 */
#ifndef WRIT_ISSUER_LOG_TRANSCRIPT_H
#define WRIT_ISSUER_LOG_TRANSCRIPT_H

#include "base/digest.h"
#include "base/pubkey.h"

#define TRANSCRIPT_TITLE "Writ ceremony transcript, version 1\n"
#define TRANSCRIPT_MAX (8 * 1024) /* bytes: it has a place in the journal (JOURNAL_TBS_MAX) */
#define TRANSCRIPT_LINE_MAX 512	  /* bytes of a line without its end; a path fits, cut where it does not */
#define WITNESSES_MAX 8
#define WITNESS_NAME_MAX 32

struct witness {
	char name[WITNESS_NAME_MAX + 1];
	uint8_t spki[SPKI_MAX]; /* DER */
	size_t spki_len;
};

/* [a-z0-9._-], 1 to 32, begins with a letter, and is not "anchor" or "transcript": it becomes a file's name. */
WRIT_CHECKED struct writ_err *witness_name_check(struct writ_bytes name);

/* A line, cut at TRANSCRIPT_LINE_MAX; what is not printable ASCII comes out as '?', so that nothing from a device or a
 * file begins a line of its own. */
WRIT_CHECKED struct writ_err *transcript_line(struct writ_buf *text, const char *line);

/* The line that names a witness and his key. */
WRIT_CHECKED struct writ_err *transcript_witness(struct writ_buf *text, const struct witness *);

struct transcript {
	bool ended;			    /* complete: it may be signed */
	uint8_t anchor_sha256[SHA256_LEN];  /* of the anchor's certificate, which the transcript must name when it ended */
	size_t n_witnesses;
	struct witness witnesses[WITNESSES_MAX];
};

/* Reads one back, strictly: WRIT_INVALID names the line. */
WRIT_CHECKED struct writ_err *transcript_read(struct writ_bytes text, struct transcript *ret);

#endif
