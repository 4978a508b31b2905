/*
 * What every harness shares: one LLVMFuzzerTestOneInput a file, run by libFuzzer (preset fuzz) or replayed over the
 * kept corpus by replay.c, whose input ends against an unreadable page so that one byte too far crashes.
 */
#ifndef WRIT_TESTS_FUZZ_H
#define WRIT_TESTS_FUZZ_H

#include <stdint.h>
#include <stdlib.h>

#include "base/bytes.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* Did it parse?  Frees the error of what did not. */
static inline bool
fuzz_accepted(struct writ_err *err)
{
	if (!err)
		return true;
	writ_err_free(err);
	return false;
}

/* An invariant of the harness: abort, so that the fuzzer keeps the input. */
#define FUZZ_CHECK(condition) do { if (!(condition)) abort(); } while (0)

#endif
