/*
 * Approvals of PCR values: one form, digests as a TPM computes them, and a signature that openssl made.
 *
 * What stands below as hex came from tpm2-tools 5.4 over swtpm 0.7.1: tpm2_policypcr, tpm2_policynv,
 * tpm2_policyauthorize and tpm2_loadexternal for the key, PCRs 7 and 11 as they were there, and `openssl dgst -sign`.
 */
#include "tests/unit/expect.h"

#include "base/text.h"
#include "hsm/approval.h"

#define PCR7 "2ebe6807995c988b9d292b535a81546078d93d753a42bf8d15ddcaf2d84be200"
#define PCR11 "cd73b8d60837ddbe51d9d3117802dc6a221f173b48d1387114851b4cfd08f58c"
#define POLICY "0cc448cf0f779966161e2bea4cec30e95aa11566f79dfb4fe9ec10dbd2c35fbc"
#define AUTHORIZED "68c5815542e90db07321c72548c0829f0442ed2b47ebc7538f0c42c0885944fd"
#define KEY_POLICY                                                                                                     \
	"5a44542ae6b35c276df1276244ca75ee3522f253c5ee11347f812cfe8fa423f5" /* SHA-256(AUTHORIZED || 0000016b) */
#define KEY_NAME "000b7596308acd8e6db53f73a362ab0ca05b5407cd8b7c27e0d52b41d00cd269d2d6"
#define SPKI_HEX                                                                                                       \
	"3059301306072a8648ce3d020106082a8648ce3d03010703420004136fe8fa195c67bde2159d6afceba0525666e24c340edac0ed7078" \
	"52b415bcb0423aebee638f602f080f46528b67f1cbec40a486b12cf7e68da8b1f4c9ed480a"
#define SIGNATURE                                                                                                      \
	"3044022005f822afb82027c09916927a550ea5390c8c39b792d2c1c121ec8115a11d408e02207fb2d64553b2108e7d33d260240e3a81" \
	"a5"                                                                                                           \
	"75bcbbf31ff2d67e3c7d24f5b83336"
#define P384_SPKI                                                                                                      \
	"3076301006072a8648ce3d020106052b8104002203620004aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e08254" \
	"2a"                                                                                                           \
	"385502f25dbf55296c3a545e3872760ab73617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d" \
	"7e"                                                                                                           \
	"819d7a431d7c90ea0e5f"

#define HEAD "writ pcr approval 1\nfor: writ-ca-agents.corp.example\nversion: 3\n"
#define PCRS "pcr 7: " PCR7 "\npcr 11: " PCR11 "\n"
#define TAIL "policy: " POLICY "\nsignature: " SIGNATURE "\n"
static const char good[] = HEAD PCRS TAIL;

#define REPORT_HEAD "writ pcr values 1\nfor: writ-ca-agents.corp.example\nkey: " KEY_NAME "\ncounter: 2\n"
static const char report_text[] = REPORT_HEAD PCRS;

static struct writ_bytes
unhex(const char *text, uint8_t *out)
{
	const size_t len = strlen(text) / 2;

	assert_true(writ_unhex(writ_str(text), out, len));
	return (struct writ_bytes){ out, len };
}

static void
an_approval_is_read_and_written_to_the_same_bytes(void **state)
{
	AUTO(writ_buf_done) struct writ_buf again = WRIT_BUF(APPROVAL_FILE_MAX);
	struct approval approval;
	uint8_t want[APPROVAL_SIGNATURE_MAX];

	(void)state;
	expect_ok(approval_read(writ_str(good), &approval));
	assert_string_equal(approval.ref, "writ-ca-agents.corp.example");
	assert_int_equal(approval.version, 3);
	assert_int_equal(approval.pcrs.mask, 1 << 7 | 1 << 11);
	expect_bytes(((struct writ_bytes){ approval.pcrs.value[11], SHA256_LEN }), unhex(PCR11, want));
	expect_bytes(((struct writ_bytes){ approval.signature, approval.signature_len }), unhex(SIGNATURE, want));
	expect_ok(approval_write(&approval, &again));
	expect_bytes(writ_view(&again), writ_str(good));
}

static void
what_a_machine_says_of_itself_is_read_and_written_to_the_same_bytes(void **state)
{
	AUTO(writ_buf_done) struct writ_buf again = WRIT_BUF(APPROVAL_FILE_MAX);
	struct pcr_report report;
	uint8_t want[APPROVAL_NAME_LEN];

	(void)state;
	expect_ok(pcr_report_read(writ_str(report_text), &report));
	assert_int_equal(report.counter, 2);
	expect_bytes(((struct writ_bytes){ report.key_name, APPROVAL_NAME_LEN }), unhex(KEY_NAME, want));
	expect_ok(pcr_report_write(&report, &again));
	expect_bytes(writ_view(&again), writ_str(report_text));
}

static void
digests_are_those_of_a_tpm(void **state)
{
	uint8_t spki[128], want[128], got[SHA256_LEN], point[APPROVAL_POINT_LEN], name[APPROVAL_NAME_LEN],
		ref[SHA256_LEN];
	struct approval approval;

	(void)state;
	expect_ok(approval_read(writ_str(good), &approval));
	approval_policy(&approval.pcrs, 3, got);
	expect_bytes(((struct writ_bytes){ got, sizeof(got) }), unhex(POLICY, want));
	expect_ok(approval_key_point(unhex(SPKI_HEX, spki), point));
	approval_key_name(point, name);
	expect_bytes(((struct writ_bytes){ name, sizeof(name) }), unhex(KEY_NAME, want));
	approval_ref_digest("writ-ca-agents.corp.example", ref);
	approval_authorized(name, ref, got);
	expect_bytes(((struct writ_bytes){ got, sizeof(got) }), unhex(AUTHORIZED, want));
	approval_key_policy(name, "writ-ca-agents.corp.example", got);
	expect_bytes(((struct writ_bytes){ got, sizeof(got) }), unhex(KEY_POLICY, want));
}

static void
another_version_pcr_or_value_is_another_policy(void **state)
{
	struct approval approval, other;
	uint8_t got[SHA256_LEN];

	(void)state;
	expect_ok(approval_read(writ_str(good), &approval));
	approval_policy(&approval.pcrs, 4, got);
	assert_memory_not_equal(got, approval.policy, sizeof(got));
	other = approval;
	other.pcrs.value[7][31] ^= 1;
	approval_policy(&other.pcrs, 3, got);
	assert_memory_not_equal(got, approval.policy, sizeof(got));
	other = approval;
	other.pcrs.mask = 1 << 7 | 1 << 12;
	memcpy(other.pcrs.value[12], approval.pcrs.value[11], SHA256_LEN);
	approval_policy(&other.pcrs, 3, got);
	assert_memory_not_equal(got, approval.policy, sizeof(got));
}

static void
a_signature_counts_for_its_key_its_policy_and_its_ca(void **state)
{
	uint8_t spki[128], p384[128];
	struct approval approval, other;

	(void)state;
	expect_ok(approval_read(writ_str(good), &approval));
	expect_ok(approval_verify(&approval, unhex(SPKI_HEX, spki)));
	other = approval;
	approval_policy(&other.pcrs, 4, other.policy);
	expect_refused(approval_verify(&other, unhex(SPKI_HEX, spki)), WRIT_INVALID,
		       "it is not signed by the approval key: the signature is not this P-256 key's over these bytes");
	other = approval;
	strcpy(other.ref, "writ-ca-agents.other.example");
	expect_refused(approval_verify(&other, unhex(SPKI_HEX, spki)), WRIT_INVALID,
		       "it is not signed by the approval key: the signature is not this P-256 key's over these bytes");
	expect_refused(approval_key_point(unhex(P384_SPKI, p384), spki), WRIT_INVALID,
		       "the approval key is a P-384 key: a TPM checks approvals by P-256");
}

static void
what_is_not_the_one_form_is_refused(void **state)
{
	static const struct {
		const char *text, *message;
	} all[] = {
		{ "", "line 1: wanted is 'writ pcr approval 1'" },
		{ "writ pcr approval 2\n", "line 1: wanted is 'writ pcr approval 1'" },
		{ "writ pcr approval 1\r\n", "line 1: wanted is 'writ pcr approval 1'" },
		{ "writ pcr values 1\n", "line 1: wanted is 'writ pcr approval 1'" },
		{ "writ pcr approval 1", "line 1: wanted is 'writ pcr approval 1'" },
		{ "writ pcr approval 1\nfor: agents.corp.example\n", "line 2: wanted is 'for: writ-ca-TRUST-DOMAIN'" },
		{ "writ pcr approval 1\nfor: writ-ca-\n", "line 2: wanted is 'for: writ-ca-TRUST-DOMAIN'" },
		{ "writ pcr approval 1\nfor: writ-ca-A\n", "line 2: wanted is 'for: writ-ca-TRUST-DOMAIN'" },
		{ "writ pcr approval 1\nfor:  writ-ca-a\n", "line 2: wanted is 'for: writ-ca-TRUST-DOMAIN'" },
		{ "writ pcr approval 1\nfor: writ-ca-a\nversion: 03\n", "line 3: wanted is 'version: ' and a number" },
		{ "writ pcr approval 1\nfor: writ-ca-a\nversion: -1\n", "line 3: wanted is 'version: ' and a number" },
		{ "writ pcr approval 1\nfor: writ-ca-a\nversion: 18446744073709551616\n",
		  "line 3: wanted is 'version: ' and a number" },
		{ HEAD TAIL, "0 PCRs are named: wanted are 1 to 8" },
		{ HEAD "pcr 24: " PCR7 "\n" TAIL, "line 4: wanted is 'pcr N: 64 hex digits'" },
		{ HEAD "pcr 07: " PCR7 "\n" TAIL, "line 4: wanted is 'pcr N: 64 hex digits'" },
		{ HEAD "pcr 7: 2EBE6807995C988B9D292B535A81546078D93D753A42BF8D15DDCAF2D84BE200\n" TAIL,
		  "line 4: wanted is 'pcr N: 64 hex digits'" },
		{ HEAD "pcr 7: " PCR7 "0\n" TAIL, "line 4: wanted is 'pcr N: 64 hex digits'" },
		{ HEAD "pcr 7:\n" TAIL, "line 4: wanted is 'pcr N: 64 hex digits'" },
		{ HEAD "pcr 7 " PCR7 "\n" TAIL, "line 4: wanted is 'pcr N: 64 hex digits'" },
		{ HEAD "pcr 16: " PCR7 "\n" TAIL, "PCRs 16 and 23 can be reset by any program: they tell nothing" },
		{ HEAD "pcr 23: " PCR7 "\n" TAIL, "PCRs 16 and 23 can be reset by any program: they tell nothing" },
		{ HEAD "pcr 7: " PCR7 "\npcr 7: " PCR7 "\n" TAIL, "line 5: PCR 7 follows a higher one, or itself" },
		{ HEAD "pcr 11: " PCR11 "\npcr 7: " PCR7 "\n" TAIL, "line 5: PCR 7 follows a higher one, or itself" },
		{ HEAD "pcr 0: " PCR7 "\npcr 1: " PCR7 "\npcr 2: " PCR7 "\npcr 3: " PCR7 "\npcr 4: " PCR7
		       "\npcr 5: " PCR7 "\npcr 6: " PCR7 "\npcr 7: " PCR7 "\npcr 8: " PCR7 "\n" TAIL,
		  "9 PCRs are named: wanted are 1 to 8" },
		{ HEAD "pcr 7: " PCR11 "\npcr 11: " PCR7 "\n" TAIL,
		  "line 6: the policy does not follow from the PCRs and the version above" },
		{ "writ pcr approval 1\nfor: writ-ca-agents.corp.example\nversion: 4\n" PCRS TAIL,
		  "line 6: the policy does not follow from the PCRs and the version above" },
		{ HEAD PCRS "signature: 00\n", "line 6: wanted is 'policy: 64 hex digits'" },
		{ HEAD PCRS "policy: " POLICY "\n",
		  "line 7: wanted is 'signature: hex digits of an ECDSA signature, at most 72 bytes'" },
		{ HEAD PCRS "policy: " POLICY "\nsignature: " SIGNATURE SIGNATURE "\n",
		  "line 7: wanted is 'signature: hex digits of an ECDSA signature, at most 72 bytes'" },
		{ HEAD PCRS "policy: " POLICY "\nsignature: " SIGNATURE,
		  "line 7: wanted is 'signature: hex digits of an ECDSA signature, at most 72 bytes'" },
		{ HEAD PCRS TAIL "\n", "something follows the last line, line 7" },
		{ HEAD PCRS TAIL "note: x\n", "something follows the last line, line 7" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(all); i++) {
		struct approval approval;
		char message[400];

		snprintf(message, sizeof(message), "approval of PCR values: %s", all[i].message);
		expect_refused(approval_read(writ_str(all[i].text), &approval), WRIT_INVALID, message);
	}
}

static void
a_file_that_is_too_long_is_refused_before_it_is_read(void **state)
{
	static char text[APPROVAL_FILE_MAX + 1];
	struct pcr_report report;
	struct approval approval;

	(void)state;
	memset(text, '\n', sizeof(text));
	expect_refused(approval_read((struct writ_bytes){ (const uint8_t *)text, sizeof(text) }, &approval),
		       WRIT_INVALID, "approval of PCR values: 2049 bytes are over the limit of 2048");
	expect_refused(pcr_report_read((struct writ_bytes){ (const uint8_t *)text, sizeof(text) }, &report),
		       WRIT_INVALID, "PCR values: 2049 bytes are over the limit of 2048");
}

static void
values_without_a_key_or_a_counter_are_refused(void **state)
{
	struct pcr_report report;

	(void)state;
	expect_refused(pcr_report_read(writ_str(good), &report), WRIT_INVALID,
		       "PCR values: line 1: wanted is 'writ pcr values 1'");
	expect_refused(pcr_report_read(WRIT_LIT("writ pcr values 1\nfor: writ-ca-a\ncounter: 2\n"), &report),
		       WRIT_INVALID, "PCR values: line 3: wanted is 'key: 68 hex digits'");
	expect_refused(
		pcr_report_read(WRIT_LIT("writ pcr values 1\nfor: writ-ca-a\nkey: " KEY_NAME "\n" PCRS), &report),
		WRIT_INVALID, "PCR values: line 4: wanted is 'counter: ' and a number");
	expect_refused(pcr_report_read(WRIT_LIT(REPORT_HEAD), &report), WRIT_INVALID,
		       "PCR values: 0 PCRs are named: wanted are 1 to 8");
	expect_refused(pcr_report_read(WRIT_LIT(REPORT_HEAD PCRS "x"), &report), WRIT_INVALID,
		       "PCR values: something follows the last line, line 6");
}

static void
a_message_shows_the_first_digits_of_each_value(void **state)
{
	char text[PCR_TEXT_MAX];
	struct pcr_report report;
	struct pcr_values full = { .mask = 0x7fffff & ~(1U << 16) };

	(void)state;
	expect_ok(pcr_report_read(writ_str(report_text), &report));
	assert_string_equal(pcr_text(&report.pcrs, text), "7=2ebe6807 11=cd73b8d6");
	assert_true(strlen(pcr_text(&full, text)) < PCR_TEXT_MAX); /* more than are ever named: cut, not written past */
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_approval_is_read_and_written_to_the_same_bytes),
		cmocka_unit_test(what_a_machine_says_of_itself_is_read_and_written_to_the_same_bytes),
		cmocka_unit_test(digests_are_those_of_a_tpm),
		cmocka_unit_test(another_version_pcr_or_value_is_another_policy),
		cmocka_unit_test(a_signature_counts_for_its_key_its_policy_and_its_ca),
		cmocka_unit_test(what_is_not_the_one_form_is_refused),
		cmocka_unit_test(a_file_that_is_too_long_is_refused_before_it_is_read),
		cmocka_unit_test(values_without_a_key_or_a_counter_are_refused),
		cmocka_unit_test(a_message_shows_the_first_digits_of_each_value),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
