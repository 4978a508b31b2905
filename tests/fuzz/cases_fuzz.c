/*
 * Input: one file of cases.  Whatever parses is decided under a policy, judged and explained; a case whose verdict is
 * what it expects says nothing, and one whose verdict is not says why.
 */
#include "policy/cases.h"
#include "tests/fuzz/fuzz.h"

#define NOW 1795467097
#define TD "spiffe://agents.corp.example"

static const char policy_text[] =
	"version: 1\nid: p\nrules:\n"
	"  - {name: people, kind: human, delegator: [\"" TD "/human/corp/**\"], agents: [\"" TD
	"/agent/invoice-bot\"],\n"
	"     entitlements: [{actions: [\"invoices:*\"], resources: [\"https://erp.corp.example/v2/**\"], delegable: "
	"true}],\n"
	"     audience: [\"https://erp.corp.example\"], max_lifetime: 5m}\n"
	"  - {name: agents, kind: agent, delegator: [\"" TD "/agent/**\"], agents: [\"" TD "/agent/*\"],\n"
	"     entitlements: [{actions: [\"invoices:read\"], resources: [\"https://erp.corp.example/v2/**\"]}],\n"
	"     audience: [\"https://erp.corp.example\"], max_lifetime: 2m}\n";

static void
fuzz_check_case(const struct policy *policy, const struct cases *cases, size_t i)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(1 << 20);
	AUTO(writ_buf_done) struct writ_buf why = WRIT_BUF(1 << 16), told = WRIT_BUF(4 << 20);
	const writ_time now = cases_now(cases, NOW);
	struct case_facts facts;
	struct verdict verdict;
	bool passed;
	size_t found;

	FUZZ_CHECK(cases_find(cases, cases_name(cases, i), &found) && found == i);
	if (!fuzz_accepted(cases_facts(cases, i, now, &arena, &facts)))
		return;
	policy_decide(policy, &facts.facts, now, &verdict);
	FUZZ_CHECK(fuzz_accepted(cases_judge(cases, i, now, &verdict, &why, &passed)));
	FUZZ_CHECK(passed == (why.len == 0));
	FUZZ_CHECK(fuzz_accepted(policy_explain(policy, &facts.facts, now, &told)));
	FUZZ_CHECK((memmem(told.data, told.len, "\nverdict: allowed", 17) != NULL) == (verdict.kind == VERDICT_ALLOW));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct policy *policy;
	AUTO(cases_freep) struct cases *cases = NULL;

	if (!policy)
		FUZZ_CHECK(fuzz_accepted(policy_parse("p.yaml", writ_str(policy_text), &policy)));
	if (!fuzz_accepted(cases_parse("cases.yaml", (struct writ_bytes){ data, len }, &cases))) {
		FUZZ_CHECK(cases == NULL);
		return 0;
	}
	for (size_t i = 0; i < cases_n(cases) && i < 20; i++)
		fuzz_check_case(policy, cases, i);
	return 0;
}
