/* Input: the payload of a signed grant.  What is read keeps what the handlers rely on without looking again. */
#include "base/text.h"
#include "issuer/serve/claims.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(512 * 1024);
	const struct claims_wanted wanted = { WRIT_LIT("spiffe://a.example/human/x/y"), WRIT_LIT("k"),
					      WRIT_LIT("https://w"), 900 };
	struct claims claims;
	struct spiffe_id id;

	if (!fuzz_accepted(claims_read((struct writ_bytes){ data, len }, &arena, &claims)))
		return 0;
	FUZZ_CHECK(claims.iss.len > 0 && claims.iss.len <= 512 && claims.aud.len > 0);
	FUZZ_CHECK(claims.jti.len >= CLAIMS_JTI_MIN && claims.jti.len <= CLAIMS_JTI_MAX &&
		   writ_is_clean_utf8(claims.jti));
	FUZZ_CHECK(claims.iat >= 0 && claims.nbf >= 0 && claims.exp >= 0 && claims.grant_end >= 0);
	FUZZ_CHECK(claims.asked.depth <= DEPTH_MAX && claims.asked.ends_in_s == 0);
	FUZZ_CHECK(fuzz_accepted(grant_check(&claims.asked.grant)) && claims.asked.grant.n_entitlements >= 1);
	FUZZ_CHECK(fuzz_accepted(spiffe_parse(claims.asked.agent_class, &id)) && id.kind == PRINCIPAL_AGENT);
	FUZZ_CHECK(claims.asked.task_id.len == 0 || fuzz_accepted(task_id_check(claims.asked.task_id)));
	FUZZ_CHECK((claims.asked.context_type.len > 0) == (claims.asked.context_digest.len == 32));
	/* what is redeemed is never longer than the limit, nor over */
	if (fuzz_accepted(claims_check(&claims, &wanted, 1795000000)))
		FUZZ_CHECK(claims.exp > 1795000000 && claims.exp - claims.iat <= 900);
	return 0;
}
