/*
 * Input: one policy text.  Whatever parses must print, and parse again to the same policy, which differs in nothing; lint
 * and decisions must not mind it.
 */
#include "policy/policy.h"
#include "tests/fuzz/fuzz.h"

#define NOW 1795467097

/* A request that many policies have a rule about, decided and explained: both must say the same. */
static void
fuzz_check_decision(const struct policy *policy)
{
	static const struct writ_bytes action = { (const uint8_t *)"invoices:read", 13 };
	static const struct writ_bytes resource = { (const uint8_t *)"https://erp.corp.example/v2/invoices/7", 38 };
	static const struct writ_bytes audience = { (const uint8_t *)"https://erp.corp.example", 24 };
	const struct entitlement e = { .actions = { 1, &action }, .resources = { 1, &resource } };
	const struct grant grant = { .n_entitlements = 1, .entitlements = &e, .audience = { 1, &audience } };
	struct policy_facts facts = { .act = ACT_ISSUE,
				      .delegator = WRIT_LIT("spiffe://agents.corp.example/human/corp/olga"),
				      .delegator_kind = PRINCIPAL_HUMAN,
				      .agent = WRIT_LIT("spiffe://agents.corp.example/agent/invoice-bot"),
				      .grant = &grant,
				      .edge_not_after = NOW + 600,
				      .task_ends = NOW + 600 };
	AUTO(writ_buf_done) struct writ_buf out = WRIT_BUF(4 << 20);
	struct verdict verdict;

	policy_decide(policy, &facts, NOW, &verdict);
	FUZZ_CHECK(verdict.kind != VERDICT_ALLOW || verdict.not_after - NOW < LIFETIME_MAX_S);
	FUZZ_CHECK(fuzz_accepted(policy_explain(policy, &facts, NOW, &out)));
	FUZZ_CHECK(out.len > 0 && out.data[out.len - 1] == '\n');
	FUZZ_CHECK((memmem(out.data, out.len, "\nverdict: allowed", 17) != NULL) == (verdict.kind == VERDICT_ALLOW));
	FUZZ_CHECK(verdict.kind != VERDICT_PENDING); /* only who opens a task waits */

	facts.act = ACT_DELEGATE;
	writ_buf_clear(&out);
	policy_decide(policy, &facts, NOW, &verdict);
	FUZZ_CHECK(verdict.kind != VERDICT_PENDING || (verdict.approvals >= 1 && verdict.approvals <= APPROVALS_MAX &&
						       verdict.approvers.n > 0 && verdict.approve_within_s > 0));
	FUZZ_CHECK(fuzz_accepted(policy_explain(policy, &facts, NOW, &out)));
	FUZZ_CHECK((memmem(out.data, out.len, "\nverdict: pending", 17) != NULL) == (verdict.kind == VERDICT_PENDING));
}

static void
fuzz_check_reprint(const struct policy *policy)
{
	AUTO(writ_buf_done)
	struct writ_buf first = WRIT_BUF(4 << 20),
			second = WRIT_BUF(4 << 20), remarks = WRIT_BUF(16 << 20);
	AUTO(policy_freep) struct policy *again = NULL;
	unsigned n;

	FUZZ_CHECK(fuzz_accepted(policy_lint(policy, (struct writ_bytes){ 0 }, NOW, &remarks, &n)));
	FUZZ_CHECK(fuzz_accepted(policy_print(policy, &first)));
	if (first.len > 256 * 1024)
		return; /* quoted and indented, it may pass the limit that the input kept */
	FUZZ_CHECK(fuzz_accepted(policy_parse("printed", writ_view(&first), &again)));
	FUZZ_CHECK(fuzz_accepted(policy_diff(policy, again, &remarks, &n)) && n == 0);
	FUZZ_CHECK(fuzz_accepted(policy_print(again, &second)));
	FUZZ_CHECK(writ_equal(writ_view(&first), writ_view(&second)));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(policy_freep) struct policy *policy = NULL;

	if (!fuzz_accepted(policy_parse("policy.yaml", (struct writ_bytes){ data, len }, &policy))) {
		FUZZ_CHECK(policy == NULL);
		return 0;
	}
	fuzz_check_reprint(policy);
	fuzz_check_decision(policy);
	return 0;
}
