/*
 * What each return code of a device means, as numbers: the tables of hsm/ are held against the lists that stand here.
 */
#include "hsm/codes.h"

#include "base/bytes.h"
#include "tests/unit/expect.h"

struct list {
	enum code_meaning meaning;
	size_t n;
	const uint32_t *codes;
};

#define LIST(meaning, codes)                                                                                           \
	{                                                                                                              \
		meaning, N_OF(codes), codes                                                                            \
	}

static enum code_meaning
listed(const struct list *lists, size_t n, uint32_t code)
{
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < lists[i].n; j++)
			if (lists[i].codes[j] == code)
				return lists[i].meaning;
	return CODE_LOST;
}

/* ---- PKCS#11 ---- */

static const uint32_t rv_latch[] = { 0x1b,  0x65,  0x68,  0xa0,	 0xa1,	0xa2,  0xa3,  0xa4, 0x102,
				     0x103, 0x104, 0x105, 0x1b0, 0x1b1, 0x1c1, 0x1c3, 0x200 };
static const uint32_t rv_busy[] = { 0x1, 0x50 };
static const uint32_t rv_full[] = { 0x2, 0x31, 0xb1 };
static const uint32_t rv_no_such[] = { 0x10, 0x11, 0x12, 0x13, 0x20, 0x21, 0x54,  0x62, 0x63,
				       0x70, 0x71, 0xb5, 0xd0, 0xd1, 0xe2, 0x130, 0x140 };
static const struct list rv_lists[] = {
	LIST(CODE_LATCH, rv_latch),
	LIST(CODE_BUSY, rv_busy),
	LIST(CODE_FULL, rv_full),
	LIST(CODE_NO_SUCH, rv_no_such),
};

static void
every_code_of_a_token_has_one_meaning_and_an_unknown_one_costs_the_session(void **state)
{
	(void)state;
	for (unsigned long rv = 1; rv <= 0x400; rv++)
		if (pkcs11_code_meaning(rv) != listed(rv_lists, N_OF(rv_lists), (uint32_t)rv))
			fail_msg("CK_RV 0x%lx means %d", rv, (int)pkcs11_code_meaning(rv));
	assert_int_equal(pkcs11_code_meaning(0x80000000), CODE_LOST); /* and all of the vendor's own */
	assert_int_equal(pkcs11_code_meaning(0x80000063), CODE_LOST);
	assert_int_equal(pkcs11_code_meaning(~0UL), CODE_LOST);
}

static void
what_a_token_says_when_it_is_away_or_was_reset_has_a_new_session_made(void **state)
{
	static const uint32_t gone[] = { 0x30, 0x32, 0x60, 0x82, 0xb0, 0xb3, 0xe0, 0x101, 0x190, 0x5, 0x6 };

	(void)state;
	for (size_t i = 0; i < N_OF(gone); i++)
		assert_int_equal(pkcs11_code_meaning(gone[i]), CODE_LOST);
}

static void
codes_that_happen_have_names(void **state)
{
	static const struct {
		unsigned long rv;
		const char *name;
	} cases[] = {
		{ 0x30, "CKR_DEVICE_ERROR" },
		{ 0x32, "CKR_DEVICE_REMOVED" },
		{ 0x82, "CKR_OBJECT_HANDLE_INVALID" },
		{ 0xa0, "CKR_PIN_INCORRECT" },
		{ 0xa4, "CKR_PIN_LOCKED" },
		{ 0xb3, "CKR_SESSION_HANDLE_INVALID" },
		{ 0xe0, "CKR_TOKEN_NOT_PRESENT" },
		{ 0x101, "CKR_USER_NOT_LOGGED_IN" },
		{ 0x140, "CKR_CURVE_NOT_SUPPORTED" },
		{ 0x190, "CKR_CRYPTOKI_NOT_INITIALIZED" },
		{ 0x80000000, "CKR_VENDOR_DEFINED" },
		{ 0x399, "CKR" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++)
		assert_string_equal(pkcs11_code_name(cases[i].rv), cases[i].name);
}

/* ---- TPM ---- */

static const uint32_t rc_latch[] = {
	0x101, 0x120, 0x124, 0x125, 0x126, 0x127, 0x12d, 0x12f, 0x130, 0x148, 0x149, 0x921
};
static const uint32_t rc_busy[] = { 0x128, 0x153, 0x908, 0x909, 0x90a, 0x920, 0x922, 0x923 };
static const uint32_t rc_no_such[] = { 0x143 }, rc_damaged[] = { 0x155 }, rc_full[] = { 0x14b };
static const struct list rc_lists[] = {
	LIST(CODE_LATCH, rc_latch),	LIST(CODE_BUSY, rc_busy), LIST(CODE_NO_SUCH, rc_no_such),
	LIST(CODE_DAMAGED, rc_damaged), LIST(CODE_FULL, rc_full),
};

/* Format one: the lowest six bits and bit 7; bit 6 and 8 to 11 say which parameter, handle or session. */
static const uint32_t rc1_latch[] = { 0x85, 0x8e, 0x90, 0x9d, 0xa2, 0xa3, 0xa4 };
static const uint32_t rc1_no_such[] = { 0x81, 0x83, 0x87, 0x88, 0x89, 0x8c, 0x92, 0x96, 0xa6 };
static const uint32_t rc1_damaged[] = { 0x95, 0x9c, 0x9f, 0xa5, 0xa7 };
static const struct list rc1_lists[] = {
	LIST(CODE_LATCH, rc1_latch),
	LIST(CODE_NO_SUCH, rc1_no_such),
	LIST(CODE_DAMAGED, rc1_damaged),
};

#define LAYER_RESMGR_TPM 0xc0000U /* a resource manager hands on what the TPM said */

static void
every_code_of_a_tpm_has_one_meaning_whatever_parameter_handle_or_session_it_is_about(void **state)
{
	(void)state;
	for (uint32_t rc = 1; rc <= 0xfff; rc++) {
		const bool one = rc & 0x80;
		const enum code_meaning wanted =
			one ? listed(rc1_lists, N_OF(rc1_lists), rc & 0xbf) : listed(rc_lists, N_OF(rc_lists), rc);

		if (tpm2_code_meaning(rc) != wanted)
			fail_msg("TPM_RC 0x%x means %d, not %d", rc, (int)tpm2_code_meaning(rc), (int)wanted);
		if (tpm2_code_meaning(rc | LAYER_RESMGR_TPM) != wanted)
			fail_msg("TPM_RC 0x%x means something else behind a resource manager", rc);
	}
}

static void
what_a_tpm_was_seen_to_answer_means_what_it_should(void **state)
{
	static const struct {
		uint32_t rc;
		enum code_meaning meaning;
	} seen[] = {
		{ 0x98e, CODE_LATCH },	 /* a wrong auth value of a key under dictionary attack protection */
		{ 0x9a2, CODE_LATCH },	 /* of one without */
		{ 0x921, CODE_LATCH },	 /* locked out */
		{ 0x99d, CODE_LATCH },	 /* PCRs differ from the policy */
		{ 0x128, CODE_BUSY },	 /* and changed between policy and use */
		{ 0x12f, CODE_LATCH },	 /* a password for a key with a policy */
		{ 0xa000a, CODE_LOST },	 /* killed while it worked */
		{ 0x70007, CODE_LOST },	 /* the library's context after that */
		{ 0x910, CODE_LOST },	 /* started anew: what was loaded is gone */
		{ 0x901, CODE_LOST },	 /* context gap */
		{ 0x902, CODE_LOST },	 /* no free slot for an object */
		{ 0x903, CODE_LOST },	 /* nor for a session */
		{ 0x18b, CODE_LOST },	 /* a handle that is none */
		{ 0x1df, CODE_DAMAGED }, /* a private part of another TPM */
	};

	(void)state;
	for (size_t i = 0; i < N_OF(seen); i++)
		if (tpm2_code_meaning(seen[i].rc) != seen[i].meaning)
			fail_msg("0x%x means %d", seen[i].rc, (int)tpm2_code_meaning(seen[i].rc));
}

static void
any_error_of_the_libraries_costs_the_context_and_an_altered_answer_latches(void **state)
{
	(void)state;
	for (uint32_t layer = 6; layer <= 11; layer++)
		for (uint32_t code = 1; code <= 0x40; code++) {
			const uint32_t rc = layer << 16 | code;
			const bool altered = rc == 0x7001b; /* TSS2_ESYS_RC_RSP_AUTH_FAILED */

			if (tpm2_code_meaning(rc) != (altered ? CODE_LATCH : CODE_LOST))
				fail_msg("0x%x means %d", rc, (int)tpm2_code_meaning(rc));
		}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_code_of_a_token_has_one_meaning_and_an_unknown_one_costs_the_session),
		cmocka_unit_test(what_a_token_says_when_it_is_away_or_was_reset_has_a_new_session_made),
		cmocka_unit_test(codes_that_happen_have_names),
		cmocka_unit_test(every_code_of_a_tpm_has_one_meaning_whatever_parameter_handle_or_session_it_is_about),
		cmocka_unit_test(what_a_tpm_was_seen_to_answer_means_what_it_should),
		cmocka_unit_test(any_error_of_the_libraries_costs_the_context_and_an_altered_answer_latches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
