/* Input: a TaskDelegation, or a HopGrant.  Whatever is accepted has one encoding: written again it is the same bytes
 * (E1). */
#include "issuer/x509/leaf.h"
#include "tests/fuzz/fuzz.h"

static void
delegation(struct writ_bytes der)
{
	struct writ_arena arena = WRIT_ARENA(LEAF_ARENA);
	struct writ_buf again = WRIT_BUF(DELEGATION_MAX);
	struct delegation d;
	struct writ_err *err = delegation_read(der, &arena, &d);

	FUZZ_CHECK(!err || err->code == WRIT_INVALID); /* so much is enough for any */
	if (fuzz_accepted(err)) {
		d.hops_der.len = 0; /* from the structures, hops too */
		FUZZ_CHECK(fuzz_accepted(delegation_write(&d, &again)));
		FUZZ_CHECK(writ_equal(writ_view(&again), der));
	}
	writ_buf_done(&again);
	writ_arena_done(&arena);
}

static void
hop_grant(struct writ_bytes der)
{
	struct writ_arena arena = WRIT_ARENA(256 * 1024);
	struct writ_buf again = WRIT_BUF(HOP_GRANT_MAX);
	struct grant grant;

	if (fuzz_accepted(hop_grant_read(der, &arena, &grant))) {
		FUZZ_CHECK(fuzz_accepted(hop_grant_write(&grant, &again)));
		FUZZ_CHECK(writ_equal(writ_view(&again), der));
	}
	writ_buf_done(&again);
	writ_arena_done(&arena);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	delegation((struct writ_bytes){ data, len });
	hop_grant((struct writ_bytes){ data, len });
	return 0;
}
