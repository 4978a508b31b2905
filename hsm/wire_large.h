/*
 * Messages too long for a frame: they cross the device wire in a sealed memfd (file_memfd()) beside it.
 *
 * A CRL's TBSCertList in the resident tier is what needs this: 49 bytes for each revoked certificate.  Sealed, nobody
 * can change or shrink it any more, so it is mapped and read in place: what is verified is what was hashed, and no read
 * of it can fault.  Thread-safe: no state.
 */
#ifndef WRIT_HSM_WIRE_LARGE_H
#define WRIT_HSM_WIRE_LARGE_H

#include "base/bytes.h"

#define DEVICE_INLINE_MAX (12 * 1024) /* bytes of a message in a frame; longer ones, and no others, come this way */

/*
 * Maps what came; `fd` stays the caller's and may be closed at once.  `*ret` is the caller's, to unmap with
 * device_large_done().  WRIT_INVALID unless it is sealed against writing, shrinking and growing, and has more than
 * DEVICE_INLINE_MAX and at most CUSTODY_MESSAGE_MAX bytes.
 */
WRIT_CHECKED struct writ_err *device_large_map(int fd, struct writ_bytes *ret);
void device_large_done(struct writ_bytes *);

#endif
