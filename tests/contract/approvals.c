/*
 * Keys bound to PCR values that an offline key approved (hsm/approval.h): what a kernel update takes, what an old
 * approval is worth, and what other tools make of it.
 */
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/event.h"
#include "base/file.h"
#include "base/text.h"
#include "hsm/tpm2_keyfile.h"
#include "tests/contract/approver.h"
#include "tests/contract/rig.h"
#include "tests/unit/expect.h"

#define SRK                                                                                                            \
	"-C o -G ecc256:aes128cfb -g sha256 -a "                                                                       \
	"'restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda'"

#define AUTH "hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" /* rig_auth */

static struct machine machine;
static struct approver approver;
static struct custody_conf conf;
static struct custody *custody;
static struct writ_buf ref = { .limit = CUSTODY_REF_MAX }, spki = { .limit = SPKI_MAX };

static struct writ_err *
open_bound(bool bound)
{
	AUTO(writ_secret_done) struct writ_secret auth = { 0 };
	uint8_t value[32];

	conf = (struct custody_conf){ .tcti = machine.tcti, .allow_software_tpm = true };
	if (bound)
		approver_bind(&approver, &conf);
	assert_true(writ_unhex(writ_str(rig_auth), value, sizeof(value)));
	expect_ok(writ_secret_set(&auth, (struct writ_bytes){ value, sizeof(value) }));
	return custody_open("tpm2", &conf, &auth, &custody);
}

/* Between two requests of ours: the transport connects for each command. */
static void
tools(const char *command)
{
	run("cd %s && export TPM2TOOLS_TCTI=%s TSS2_LOG=all+NONE && { %s; } > tools.log 2>&1", machine.dir,
	    machine.tcti, command);
}

static void
new_kernel(void)
{
	tools("tpm2_pcrextend 11:sha256=0b00000000000000000000000000000000000000000000000000000000000000");
}

/* Half a second after it latched the device looks again, when the folder has changed. */
static void
mended(void)
{
	while (custody->latched && clock_read().mono_ms - custody->latched_ms < 600)
		nanosleep(&(struct timespec){ .tv_nsec = 20 * 1000 * 1000 }, NULL);
}

static void
approve_now(const char *name)
{
	AUTO(writ_buf_done) struct writ_buf report = WRIT_BUF(CUSTODY_REPORT_MAX);

	expect_ok(custody_pcrs(custody, &report));
	approver_agree(&approver, name, writ_view(&report));
	mended();
}

static struct pcr_report
report_now(void)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(CUSTODY_REPORT_MAX);
	struct pcr_report report;

	expect_ok(custody_pcrs(custody, &text));
	expect_ok(pcr_report_read(writ_view(&text), &report));
	return report;
}

static int
claim_start(void **state)
{
	(void)state;
	machine_make(&machine, true);
	approver_make(&approver, machine.dir);
	expect_ok(open_bound(true));
	return 0;
}

static int
claim_start_with_key(void **state)
{
	claim_start(state);
	approve_now("first.approval");
	expect_ok(custody_make_key(custody, KEY_P256, "bound", &ref, &spki));
	return 0;
}

static int
claim_end(void **state)
{
	(void)state;
	custody_close(TAKE(custody));
	writ_buf_done(&ref);
	writ_buf_done(&spki);
	approver_done(&approver);
	machine_done(&machine, false);
	return 0;
}

static struct writ_err *
signs(struct key *key)
{
	AUTO(writ_buf_done) struct writ_buf sig = WRIT_BUF(SIGNATURE_MAX);

	return custody_sign(key, WRIT_LIT("m"), &sig);
}

static struct writ_err *
loads_and_signs(void)
{
	struct writ_err *err;
	struct key *key;

	err = custody_load(custody, writ_view(&ref), writ_view(&spki), &key);
	if (err)
		return err;
	err = signs(key);
	custody_unload(key);
	return err;
}

static void
expect_locked(struct writ_err *err, const char *words)
{
	char text[1000];

	assert_non_null(err);
	writ_err_text(err, text, sizeof(text));
	if (err->code != WRIT_LOCKED || !strstr(text, words))
		fail_msg("wanted LOCKED and '%s', got %s: %s", words, writ_code_name(err->code), text);
	writ_err_free(err);
}

/* ---- the claims ---- */

static void
without_an_approval_no_key_is_made_and_the_message_says_what_was_looked_at(void **state)
{
	(void)state;
	expect_locked(
		custody_make_key(custody, KEY_P256, "bound", &ref, &spki),
		"policy: PCRs 7=00000000 11=00000000 are not approved (of 0 approvals 0 are for other values, 0 below "
		"counter 1, 0 not ours, 0 unreadable)");
	expect_locked(custody_health(custody),
		      "policy: PCRs 7=00000000 11=00000000 are not approved"); /* it keeps saying so */
	approve_now("first.approval");
	expect_ok(custody_make_key(custody, KEY_P256, "bound", &ref, &spki));
	expect_ok(loads_and_signs());
}

static void
what_the_machine_says_of_itself_is_what_other_tools_read(void **state)
{
	const struct pcr_report report = report_now();
	char hex[65];

	(void)state;
	new_kernel();
	assert_string_equal(report.ref, APPROVER_FOR);
	assert_int_equal(report.counter, 1);
	tools("tpm2_pcrread sha256:7,11 > pcrs.txt");
	writ_hex((struct writ_bytes){ report_now().pcrs.value[11], SHA256_LEN }, hex);
	run("grep -qi '11: 0x%s' %s/pcrs.txt", hex, machine.dir);
	tools("tpm2_loadexternal -C o -G ecc -u approver.pem -c approver.ctx -n approver.name && tpm2_flushcontext -t");
	writ_hex((struct writ_bytes){ report.key_name + 2, 31 }, hex);
	run("od -An -v -tx1 %s/approver.name | tr -d ' \\n' | grep -q '^000b%.62s'", machine.dir, hex);
}

static void
after_a_kernel_update_the_same_key_signs_with_a_new_approval_only(void **state)
{
	struct key *key;

	(void)state;
	expect_ok(custody_load(custody, writ_view(&ref), writ_view(&spki), &key));
	expect_ok(signs(key));
	new_kernel();
	expect_locked(signs(key), "policy: PCRs 7=00000000 11=");
	expect_locked(signs(key), "(of 1 approvals 1 are for other values, 0 below");
	expect_locked(custody_health(custody), "policy: PCRs"); /* latched, and not tried by itself */
	approve_now("second.approval");
	expect_ok(custody_health(custody));
	expect_ok(signs(key));
	custody_unload(key);
}

static void
a_sealed_secret_is_bound_as_the_keys_are(void **state)
{
	AUTO(writ_secret_done) struct writ_secret secret = { 0 }, again = { 0 };
	AUTO(writ_buf_done) struct writ_buf blob = WRIT_BUF(CUSTODY_BLOB_MAX);
	uint64_t number;

	(void)state;
	expect_ok(writ_secret_random(&secret, CUSTODY_SECRET_LEN));
	expect_ok(custody_counter_make(custody, COUNTER_SEALED, &number));
	expect_ok(custody_seal(custody, number, &secret, &blob));
	expect_ok(custody_unseal(custody, writ_view(&blob), &again));
	assert_memory_equal(again.data, secret.data, CUSTODY_SECRET_LEN);
	new_kernel();
	expect_locked(custody_unseal(custody, writ_view(&blob), &again), "policy: PCRs");
	approve_now("second.approval");
	expect_ok(custody_unseal(custody, writ_view(&blob), &again));
	assert_memory_equal(again.data, secret.data, CUSTODY_SECRET_LEN);
	expect_ok(custody_destroy(custody, number));
	expect_refused(custody_unseal(custody, writ_view(&blob), &again), WRIT_NOT_FOUND,
		       "unsealing: it is destroyed: the device's counter 'sealed' has passed 1, its number");
}

static void
raising_the_counter_ends_older_approvals_for_good(void **state)
{
	struct pcr_report report = report_now();
	uint64_t value;

	(void)state;
	expect_ok(loads_and_signs());
	approver_sign(&approver, "next.approval", APPROVER_FOR, &report.pcrs, report.counter + 1);
	expect_ok(custody_counter_raise(custody, COUNTER_APPROVAL, &value));
	assert_int_equal(value, report.counter + 1);
	expect_ok(loads_and_signs());
	run("rm %s/next.approval", approver.folder);
	new_kernel();
	expect_locked(loads_and_signs(), "(of 1 approvals 0 are for other values, 1 below counter 2, 0 not ours");
	/* Not even a good signature over the old version helps: the TPM compares. */
	report = report_now();
	approver_sign(&approver, "old.approval", APPROVER_FOR, &report.pcrs, 1);
	mended();
	expect_locked(loads_and_signs(), "(of 2 approvals 0 are for other values, 2 below counter 2, 0 not ours");
	approver_sign(&approver, "new.approval", APPROVER_FOR, &report.pcrs, 2);
	mended();
	expect_ok(loads_and_signs());
}

static void
nobody_locks_himself_out_by_raising_the_counter(void **state)
{
	uint64_t value;
	char refusal[300];

	(void)state;
	snprintf(refusal, sizeof(refusal),
		 "the device's counter 'approval': no approval that fits the PCRs would be left: put one of version 2 "
		 "into "
		 "%s first",
		 approver.folder);
	expect_refused(custody_counter_raise(custody, COUNTER_APPROVAL, &value), WRIT_CONFLICT, refusal);
	expect_ok(custody_counter_read(custody, COUNTER_APPROVAL, &value));
	assert_int_equal(value, 1);
	expect_ok(loads_and_signs());
}

static void
what_is_not_ours_or_damaged_is_passed_over(void **state)
{
	struct approver other = { 0 };
	struct pcr_report report;
	char elsewhere[100];

	(void)state;
	new_kernel(); /* what is in use is kept as long as it fits */
	report = report_now();
	run("mkdir %s/elsewhere && rm %s/first.approval", machine.dir, approver.folder);
	snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", machine.dir);
	approver_make(&other, elsewhere);
	approver_sign(&other, "a.approval", APPROVER_FOR, &report.pcrs, report.counter);
	run("cp %s/a.approval %s/foreign.approval", other.folder, approver.folder);
	approver_sign(&approver, "domain.approval", "writ-ca-agents.other.example", &report.pcrs, report.counter);
	run("cd %s && sed 's/^pcr 7: 0/pcr 7: 1/' domain.approval > damaged.approval && mkfifo pipe.approval && "
	    "ln -s domain.approval link.approval && cp domain.approval README",
	    approver.folder);
	expect_locked(loads_and_signs(),
		      "(of 5 approvals 0 are for other values, 0 below counter 1, 2 not ours, 3 unreadable)");
	approver_sign(&approver, "good.approval", APPROVER_FOR, &report.pcrs, report.counter);
	mended();
	expect_ok(loads_and_signs());
	approver_done(&other);
}

static void
a_folder_with_too_many_approvals_or_none_at_all_is_said(void **state)
{
	char renamed[200];

	(void)state;
	run("cd %s && for i in $(seq 40); do cp first.approval $i.approval; done", approver.folder);
	new_kernel();
	expect_locked(loads_and_signs(), "holds over 32 approvals: remove those that are dead");
	snprintf(renamed, sizeof(renamed), "%s.away", approver.folder);
	assert_int_equal(rename(approver.folder, renamed), 0);
	mended();
	expect_locked(loads_and_signs(), "policy: the folder of approvals, ");
	expect_locked(loads_and_signs(), "No such file or directory");
}

static void
a_key_keeps_what_it_was_bound_to(void **state)
{
	AUTO(writ_buf_done) struct writ_buf free_ref = WRIT_BUF(CUSTODY_REF_MAX), free_spki = WRIT_BUF(SPKI_MAX);

	(void)state;
	custody_close(TAKE(custody));
	expect_ok(open_bound(false));
	expect_refused(
		loads_and_signs(), WRIT_INVALID,
		"loading a key: key file: it was made bound to approved PCRs, and custody.tpm says none: what a key is "
		"bound to is for ever");
	expect_ok(custody_make_key(custody, KEY_P256, "free", &free_ref, &free_spki));
	custody_close(TAKE(custody));
	expect_ok(open_bound(true));
	expect_ok(loads_and_signs());
	writ_buf_clear(&ref);
	writ_buf_clear(&spki);
	expect_ok(writ_buf_add(&ref, writ_view(&free_ref)));
	expect_ok(writ_buf_add(&spki, writ_view(&free_spki)));
	expect_refused(
		loads_and_signs(), WRIT_INVALID,
		"loading a key: key file: it was made bound to no PCRs, and custody.tpm says approved PCRs: what a key "
		"is bound to is for ever");
}

static void
another_tool_satisfies_the_policy_with_our_approval_and_not_without(void **state)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(KEYFILE_MAX), text = WRIT_BUF(APPROVAL_FILE_MAX);
	uint8_t message[APPROVAL_MESSAGE_LEN];
	struct approval approval;
	struct keyfile file;
	char path[256];

	(void)state;
	new_kernel(); /* so that not all PCRs are zero */
	approve_now("second.approval");
	expect_ok(loads_and_signs());
	custody_close(TAKE(custody));
	expect_ok(keyfile_read(writ_view(&ref), &der, &file));
	snprintf(path, sizeof(path), "%s/second.approval", approver.folder);
	expect_ok(file_read(path, FILE_ANY, &text));
	expect_ok(approval_read(writ_view(&text), &approval));
	approval_message(approval.policy, approval.ref, message);
#define put(name, bytes_, len_)                                                                                        \
	(snprintf(path, sizeof(path), "%s/" name, machine.dir),                                                        \
	 file_replace(path, 0600, (struct writ_bytes){ bytes_, len_ }))
	expect_ok(put("key.pub", file.public.data, file.public.len));
	expect_ok(put("key.priv", file.private.data, file.private.len));
	expect_ok(put("approved", approval.policy, SHA256_LEN));
	expect_ok(put("ref", message + SHA256_LEN, SHA256_LEN));
	expect_ok(put("message", message, sizeof(message)));
	expect_ok(put("sig", approval.signature, approval.signature_len));
	tools("tpm2_loadexternal -C o -G ecc -u approver.pem -c a.ctx -n a.name && "
	      "tpm2_verifysignature -c a.ctx -g sha256 -m message -s sig -f ecdsa -t ticket; tpm2_flushcontext -t; "
	      "tpm2_createprimary " SRK
	      " -c srk.ctx && tpm2_flushcontext -t && tpm2_load -C srk.ctx -u key.pub -r key.priv -c key.ctx && "
	      "tpm2_flushcontext -t && printf '\\0\\0\\0\\0\\0\\0\\0\\1' > one && echo m > m");
	/* The same digests, step by step; and what stands in the key is what they come to. */
	tools("tpm2_startauthsession --policy-session -S s.ctx && tpm2_policypcr -S s.ctx -l sha256:7,11 && "
	      "tpm2_policynv -S s.ctx -i one -P " AUTH " -L nv.policy 0x1805702 ule && cmp nv.policy approved && "
	      "tpm2_policyauthorize -S s.ctx -i approved -q ref -n a.name -t ticket && "
	      "tpm2_policyauthvalue -S s.ctx -L all.policy && "
	      "tpm2_print -t TPM2B_PUBLIC key.pub | grep -q \"authorization policy: $(od -An -v -tx1 all.policy | tr -d ' \\n')\"");
	tools("tpm2_sign -c key.ctx -g sha256 -s ecdsa -p session:s.ctx+" AUTH " -o m.sig m; rc=$?; "
	      "tpm2_flushcontext -t; tpm2_flushcontext -l; exit $rc");
	/* By the auth value alone, as for keys that are not bound, it does not open. */
	tools("tpm2_startauthsession --policy-session -S s.ctx && tpm2_policyauthvalue -S s.ctx && "
	      "! tpm2_sign -c key.ctx -g sha256 -s ecdsa -p session:s.ctx+" AUTH " -o no.sig m; rc=$?; "
	      "tpm2_flushcontext -t; tpm2_flushcontext -l; tpm2_flushcontext -s; exit $rc");
	/* With the next kernel the TPM itself refuses what was approved. */
	new_kernel();
	tools("tpm2_startauthsession --policy-session -S s.ctx && tpm2_policypcr -S s.ctx -l sha256:7,11 && "
	      "tpm2_policynv -S s.ctx -i one -P " AUTH " 0x1805702 ule && "
	      "! tpm2_policyauthorize -S s.ctx -i approved -q ref -n a.name -t ticket; rc=$?; tpm2_flushcontext -l; "
	      "exit $rc");
}

#define claim(test) cmocka_unit_test_setup_teardown(test, claim_start, claim_end)
#define claim_with_key(test) cmocka_unit_test_setup_teardown(test, claim_start_with_key, claim_end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		claim(without_an_approval_no_key_is_made_and_the_message_says_what_was_looked_at),
		claim(what_the_machine_says_of_itself_is_what_other_tools_read),
		claim_with_key(after_a_kernel_update_the_same_key_signs_with_a_new_approval_only),
		claim_with_key(a_sealed_secret_is_bound_as_the_keys_are),
		claim_with_key(raising_the_counter_ends_older_approvals_for_good),
		claim_with_key(nobody_locks_himself_out_by_raising_the_counter),
		claim_with_key(what_is_not_ours_or_damaged_is_passed_over),
		claim_with_key(a_folder_with_too_many_approvals_or_none_at_all_is_said),
		claim_with_key(a_key_keeps_what_it_was_bound_to),
		claim_with_key(another_tool_satisfies_the_policy_with_our_approval_and_not_without),
	};

	signal(SIGPIPE, SIG_IGN);
	event_start(STDERR_FILENO, "contract", EVENT_ALARM);
	if (writ_secret_start())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
