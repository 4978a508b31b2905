/*
 * Input: one byte that chooses the route, then a body.  What is accepted keeps what the handlers rely on without
 * looking again.
 */
#include "base/text.h"
#include "issuer/auth/jws.h"
#include "issuer/serve/request.h"
#include "tests/fuzz/fuzz.h"

static void
check_delegation(const struct request_delegation *r, enum request_route route)
{
	struct spiffe_id id;

	FUZZ_CHECK(fuzz_accepted(grant_check(&r->grant)));
	FUZZ_CHECK(r->grant.n_entitlements >= 1 && r->grant.n_entitlements <= ENTITLEMENTS_MAX);
	FUZZ_CHECK(r->depth <= DEPTH_MAX);
	FUZZ_CHECK(r->ends_in_s <= REQUEST_ENDS_MAX_S &&
		   (r->ends_in_s >= REQUEST_ENDS_MIN_S || route == REQUEST_DELEGATE));
	FUZZ_CHECK(fuzz_accepted(spiffe_parse(r->agent_class, &id)) && id.kind == PRINCIPAL_AGENT &&
		   id.instance.len == 0);
	FUZZ_CHECK(r->task_id.len == 0 || fuzz_accepted(task_id_check(r->task_id)));
	FUZZ_CHECK(r->purpose.len <= 256 && writ_is_clean_utf8(r->purpose));
	FUZZ_CHECK((r->context_type.len > 0) == (r->context_digest.len == 32));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(512 * 1024);
	const struct writ_bytes body = { data + 1, len > 0 ? len - 1 : 0 };
	struct request_delegation delegation;
	struct request_approval approval;
	struct request_revoke revoke;
	struct request_leaf leaf;
	struct request_prepare prepare;
	static struct request_item items[256];
	size_t n;
	struct writ_bytes grant, token;
	uint32_t lifetime_s;
	unsigned count;
	uint64_t from;

	if (len == 0)
		return 0;
	switch (data[0] == 'a' ? 8 : data[0] == 't' ? 9 : data[0] == 'p' ? 10 : data[0] == 'b' ? 11 : data[0] % 8) {
	case 0:
	case 1:
		if (fuzz_accepted(request_delegation(body, (enum request_route)(data[0] % 8), &arena, &delegation)))
			check_delegation(&delegation, (enum request_route)(data[0] % 8));
		break;
	case 2:
		if (fuzz_accepted(request_leaf(body, &arena, &leaf)))
			FUZZ_CHECK(leaf.csr.len <= CSR_MAX &&
				   (leaf.lifetime_s == 0 || (leaf.lifetime_s >= 60 && leaf.lifetime_s <= 900)));
		break;
	case 11:
		if (!fuzz_accepted(request_batch(body, &arena, items, N_OF(items), &n)))
			break;
		FUZZ_CHECK(n >= 1 && n <= N_OF(items));
		for (size_t i = 0; i < n; i++)
			FUZZ_CHECK(items[i].task.len > 0 && items[i].task.len <= 59 && items[i].leaf.csr.len <= CSR_MAX &&
				   (items[i].leaf.lifetime_s == 0 || items[i].leaf.lifetime_s >= 60));
		break;
	case 3:
		if (fuzz_accepted(request_renew(body, &arena, &leaf)))
			FUZZ_CHECK(leaf.csr.len == 0);
		break;
	case 4:
		if (fuzz_accepted(request_revoke(body, &arena, &revoke)))
			FUZZ_CHECK(crl_reason_ok(revoke.reason) &&
				   (revoke.target > TARGET_SERIAL || revoke.id.len == 16) &&
				   (!revoke.freeze || revoke.target >= TARGET_PRINCIPAL));
		if (fuzz_accepted(request_lift(body, &arena, &revoke)))
			FUZZ_CHECK(revoke.target >= TARGET_PRINCIPAL &&
				   (revoke.target == TARGET_ALL) == (revoke.id.len == 0));
		break;
	case 8:
		if (fuzz_accepted(request_approval(body, &arena, &approval)))
			FUZZ_CHECK(approval.because.len <= 256 && writ_is_clean_utf8(approval.because) &&
				   (approval.refuses || approval.because.len == 0));
		break;
	case 9:
		if (fuzz_accepted(request_token(body, &arena, &token, &grant)))
			FUZZ_CHECK(token.len > 0 && token.len <= JWS_MAX && grant.len > 0 &&
				   grant.len <= REQUEST_GRANT_BODY_MAX);
		break;
	case 10:
		if (fuzz_accepted(request_prepare(body, &arena, &prepare))) {
			FUZZ_CHECK(prepare.idp.len > 0 && prepare.task.len > 0);
			check_delegation(&prepare.asked, REQUEST_OPEN_TASK);
		}
		break;
	case 5:
		if (fuzz_accepted(request_lifetime_query(body, &lifetime_s)))
			FUZZ_CHECK(lifetime_s == 0 || (lifetime_s >= 60 && lifetime_s <= 900));
		break;
	case 6:
		if (fuzz_accepted(request_entries_query(body, &from, &count)))
			FUZZ_CHECK(count >= 1 && count <= REQUEST_ENTRIES_MAX);
		break;
	default:
		if (fuzz_accepted(request_grant(body, &arena, &grant)))
			FUZZ_CHECK(grant.len > 0 && grant.len <= JWS_MAX);
		break;
	}
	return 0;
}
