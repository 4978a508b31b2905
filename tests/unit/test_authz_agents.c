/*
 * Verified agents kept by writ-authz: until they must be verified anew, no more than so many, and none after a list
 * changed.  The leaves are those of tests/vectors, at their time.
 */
#include "issuer/authz/agents.h"

#include <stdlib.h>

#include "base/digest.h"
#include "base/file.h"
#include "tests/unit/expect.h"

#define NOW INT64_C(1800014400) /* of tests/vectors/cases.json */

static struct writ_verifier *verifier;

static void
read_vector(const char *name, struct writ_buf *ret)
{
	char path[200];

	snprintf(path, sizeof(path), "tests/vectors/der/%s", name);
	writ_buf_clear(ret);
	expect_ok(file_read(path, FILE_ANY, ret));
}

static int
make_verifier(void **state)
{
	AUTO(writ_buf_done) struct writ_buf anchor = WRIT_BUF(65536), issuing = WRIT_BUF(65536), crl = WRIT_BUF(65536);
	struct writ_why why;

	(void)state;
	read_vector("anchor.der", &anchor);
	read_vector("issuing-aaf3d06e.der", &issuing);
	read_vector("issuing.crl", &crl);
	verifier = writ_verifier_new();
	assert_int_equal(writ_verifier_anchor(verifier, anchor.data, anchor.len, "agents.corp.example", &why), WRIT_OK);
	assert_int_equal(writ_verifier_identity(verifier, "https://erp.corp.example", &why), WRIT_OK);
	assert_int_equal(writ_verifier_issuing(verifier, issuing.data, issuing.len, NOW, &why), WRIT_OK);
	assert_int_equal(writ_verifier_crl(verifier, crl.data, crl.len, NOW, &why), WRIT_OK);
	return 0;
}

static int
drop_verifier(void **state)
{
	(void)state;
	writ_verifier_free(verifier);
	return 0;
}

/* Verifies the leaf of that name and adds it; its digest. */
static const struct agent_seen *
add(struct agents *agents, const char *name, uint8_t sha256[32])
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(65536);
	struct writ_presented presented = { .n = 1 };
	const struct agent_seen *seen;
	struct writ_agent *agent;
	struct writ_why why;

	read_vector(name, &der);
	writ_sha256(writ_view(&der), sha256);
	presented.certificate[0] = (struct writ_bytes_in){ der.data, der.len };
	assert_int_equal(writ_verify(verifier, &presented, NOW, &agent, &why), WRIT_OK);
	expect_ok(agents_add(agents, agent, writ_view(&der), &seen));
	return seen;
}

static void
an_agent_is_found_by_its_certificate_with_its_hops(void **state)
{
	AUTO(agents_freep) struct agents *agents = NULL;
	const struct agent_seen *seen;
	uint8_t one[32], three[32];

	(void)state;
	expect_ok(agents_new(10, &agents));
	seen = add(agents, "P1.der", one);
	assert_int_equal(seen->hop_ids.len, 32);
	seen = add(agents, "P3.der", three);
	assert_int_equal(seen->hop_ids.len, 3 * 32 + 2);
	assert_int_equal(agents_count(agents), 2);
	assert_ptr_equal(agents_find(agents, three, NOW), seen);
	assert_string_equal(writ_agent_root(seen->agent), "spiffe://agents.corp.example/human/okta/00u1abcd");
	assert_memory_equal(seen->hop_principals.data, writ_agent_root(seen->agent),
			    strlen(writ_agent_root(seen->agent)));
	three[31] ^= 1; /* another certificate */
	assert_null(agents_find(agents, three, NOW));
	three[31] ^= 1;
	three[0] ^= 1;
	assert_null(agents_find(agents, three, NOW));
}

static void
an_agent_is_found_until_it_must_be_verified_anew_and_not_a_second_longer(void **state)
{
	AUTO(agents_freep) struct agents *agents = NULL;
	uint8_t one[32];
	writ_time end;

	(void)state;
	expect_ok(agents_new(10, &agents));
	end = writ_agent_expires_at(add(agents, "P1.der", one)->agent);
	assert_non_null(agents_find(agents, one, end));
	assert_null(agents_find(agents, one, end + 1));
	assert_int_equal(agents_count(agents), 0);
	assert_null(agents_find(agents, one, NOW)); /* also when the clock goes back */
}

static void
at_the_limit_the_oldest_goes(void **state)
{
	AUTO(agents_freep) struct agents *agents = NULL;
	uint8_t one[32], two[32], three[32];

	(void)state;
	expect_ok(agents_new(2, &agents));
	add(agents, "P1.der", one);
	add(agents, "P2.der", two);
	assert_non_null(agents_find(agents, one, NOW)); /* being asked for does not make it younger */
	add(agents, "P3.der", three);
	assert_int_equal(agents_count(agents), 2);
	assert_null(agents_find(agents, one, NOW));
	assert_non_null(agents_find(agents, two, NOW));
	assert_non_null(agents_find(agents, three, NOW));
}

static void
when_a_list_changed_none_is_left(void **state)
{
	AUTO(agents_freep) struct agents *agents = NULL;
	uint8_t one[32], two[32];

	(void)state;
	expect_ok(agents_new(10, &agents));
	add(agents, "P1.der", one);
	add(agents, "P2.der", two);
	agents_clear(agents);
	assert_int_equal(agents_count(agents), 0);
	assert_null(agents_find(agents, one, NOW));
	assert_null(agents_find(agents, two, NOW));
	add(agents, "P1.der", one);
	assert_non_null(agents_find(agents, one, NOW));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_agent_is_found_by_its_certificate_with_its_hops),
		cmocka_unit_test(an_agent_is_found_until_it_must_be_verified_anew_and_not_a_second_longer),
		cmocka_unit_test(at_the_limit_the_oldest_goes),
		cmocka_unit_test(when_a_list_changed_none_is_left),
	};

	return cmocka_run_group_tests(tests, make_verifier, drop_verifier);
}
