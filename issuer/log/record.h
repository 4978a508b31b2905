/*
 * What journal.c needs of a record beyond journal.h.  Thread-safe: no state.
 */
#ifndef WRIT_ISSUER_LOG_RECORD_H
#define WRIT_ISSUER_LOG_RECORD_H

#include "issuer/log/journal.h"

/* Bytes of the whole record, its length field included. */
size_t record_len(const struct entry *);

/* May a record begin here?  Cheap: asked at every offset of a damaged tail. */
bool record_plausible(struct writ_bytes at);

#endif
