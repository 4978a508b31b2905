/*
 * What only a TPM can be asked: attributes, other tools, slots that a dead process filled, a persistent storage root
 * key, a TPM that was cleared.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/event.h"
#include "base/file.h"
#include "base/text.h"
#include "hsm/tpm2_keyfile.h"
#include "hsm/tpm2_object.h"
#include "tests/contract/rig.h"
#include "tests/unit/expect.h"

/* The standard storage root key, as tpm2-tools make it when told its attributes. */
#define SRK                                                                                                            \
	"-C o -G ecc256:aes128cfb -g sha256 -a "                                                                       \
	"'restricted|decrypt|fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda'"

static struct machine machine;
static struct custody *custody;
static struct writ_buf ref = { .limit = CUSTODY_REF_MAX }, spki = { .limit = SPKI_MAX };

static struct writ_err *
open_with(const char *tcti, bool allow_software, size_t auth_len)
{
	AUTO(writ_secret_done) struct writ_secret auth = { 0 };
	static struct custody_conf conf;
	uint8_t value[64] = { 0 };

	conf = (struct custody_conf){ .tcti = tcti, .allow_software_tpm = allow_software };
	assert_true(writ_unhex(writ_str(rig_auth), value, 32));
	expect_ok(writ_secret_set(&auth, (struct writ_bytes){ value, auth_len }));
	return custody_open("tpm2", &conf, &auth, &custody);
}

static void
tools(const char *command)
{
	run("cd %s && export TPM2TOOLS_TCTI=%s TSS2_LOG=all+NONE && { %s; } > tools.log 2>&1", machine.dir,
	    machine.tcti, command);
}

static int
claim_start(void **state)
{
	(void)state;
	machine_make(&machine, true);
	expect_ok(open_with(machine.tcti, true, 32));
	expect_ok(custody_make_key(custody, KEY_P256, "tpm", &ref, &spki));
	return 0;
}

static int
claim_end(void **state)
{
	(void)state;
	custody_close(TAKE(custody));
	writ_buf_done(&ref);
	writ_buf_done(&spki);
	machine_done(&machine, false);
	return 0;
}

static struct writ_err *
loads_and_signs(struct writ_bytes key_ref, struct writ_bytes key_spki)
{
	AUTO(writ_buf_done) struct writ_buf sig = WRIT_BUF(SIGNATURE_MAX);
	struct writ_err *err;
	struct key *key;

	err = custody_load(custody, key_ref, key_spki, &key);
	if (err)
		return err;
	err = custody_sign(key, WRIT_LIT("m"), &sig);
	custody_unload(key);
	return err;
}

/* Writes the two areas where the tools find them. */
static void
areas_write(void)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(KEYFILE_MAX);
	struct keyfile file;
	char path[160];

	expect_ok(keyfile_read(writ_view(&ref), &der, &file));
	snprintf(path, sizeof(path), "%s/key.pub", machine.dir);
	expect_ok(file_replace(path, 0600, file.public));
	snprintf(path, sizeof(path), "%s/key.priv", machine.dir);
	expect_ok(file_replace(path, 0600, file.private));
}

static void
a_key_is_fixed_to_its_tpm_and_was_born_there(void **state)
{
	(void)state;
	areas_write();
	tools("tpm2_print -t TPM2B_PUBLIC key.pub > print.txt");
	tools("grep -A1 '^attributes' print.txt | grep -qx '  value: "
	      "fixedtpm|fixedparent|sensitivedataorigin|noda|sign'");
	/* PolicyAuthValue: SHA-256 of 32 zero bytes and its command code, 0000016b. */
	tools("grep -q 'authorization policy: 8fcd2169ab92694e0c633f1ab772842b8241bbc20288981fc7ac1eddc1fddb0e' "
	      "print.txt");
}

/* The reference is no secret format of ours: with the same storage root key other tools load it, and need the auth
 * value by policy. */
static void
another_tool_loads_the_key_and_a_bare_password_does_not_open_it(void **state)
{
	(void)state;
	custody_close(TAKE(custody));
	areas_write();
	tools("tpm2_createprimary " SRK
	      " -c srk.ctx && tpm2_flushcontext -t && tpm2_load -C srk.ctx -u key.pub -r key.priv -c key.ctx && "
	      "tpm2_flushcontext -t && echo m > m");
	tools("! tpm2_sign -c key.ctx -g sha256 -s ecdsa -p "
	      "hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f "
	      "-o sig m");
	tools("grep -q '0x12f\\|authValue or authPolicy is not available' tools.log || tpm2_flushcontext -t");
	tools("tpm2_flushcontext -t; tpm2_startauthsession --policy-session -S s.ctx && tpm2_policyauthvalue -S s.ctx "
	      "&& "
	      "tpm2_sign -c key.ctx -g sha256 -s ecdsa "
	      "-p session:s.ctx+hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f -o sig m");
	tools("tpm2_flushcontext -t; tpm2_flushcontext -l; tpm2_flushcontext -s");
}

static void
slots_that_a_dead_process_filled_are_emptied(void **state)
{
	(void)state;
	custody_close(TAKE(custody));
	for (int i = 0; i < 3; i++)
		tools("tpm2_createprimary -C o -c litter.ctx");
	tools("! tpm2_createprimary -C o -c litter.ctx"); /* full indeed */
	expect_ok(open_with(machine.tcti, true, 32));
	expect_ok(loads_and_signs(writ_view(&ref), writ_view(&spki)));
}

static void
a_persistent_storage_root_key_is_used_when_it_is_the_template(void **state)
{
	AUTO(writ_buf_done)
	struct writ_buf ref2 = WRIT_BUF(CUSTODY_REF_MAX), spki2 = WRIT_BUF(SPKI_MAX), der = WRIT_BUF(KEYFILE_MAX);
	struct keyfile file;

	(void)state;
	custody_close(TAKE(custody));
	tools("tpm2_createprimary " SRK
	      " -c srk.ctx && tpm2_evictcontrol -C o -c srk.ctx 0x81000001 && tpm2_flushcontext -t");
	expect_ok(open_with(machine.tcti, true, 32));
	expect_ok(custody_make_key(custody, KEY_P256, "tpm", &ref2, &spki2));
	expect_ok(keyfile_read(writ_view(&ref2), &der, &file));
	assert_int_equal(file.parent, KEYFILE_PARENT_PERSISTENT);
	expect_ok(loads_and_signs(writ_view(&ref2), writ_view(&spki2)));
	expect_ok(loads_and_signs(writ_view(&ref), writ_view(&spki))); /* made before, under the owner hierarchy */

	/* Gone again: the key that was made under it says so. */
	custody_close(TAKE(custody));
	tools("tpm2_evictcontrol -C o -c 0x81000001");
	expect_ok(open_with(machine.tcti, true, 32));
	expect_refused(loads_and_signs(writ_view(&ref2), writ_view(&spki2)), WRIT_LOCKED,
		       "loading a key: the key was made under the storage root key at 0x81000001, which is no longer "
		       "there or another");
	expect_ok(loads_and_signs(writ_view(&ref), writ_view(&spki)));
}

static void
another_object_at_that_handle_is_left_alone(void **state)
{
	AUTO(writ_buf_done)
	struct writ_buf ref2 = WRIT_BUF(CUSTODY_REF_MAX), spki2 = WRIT_BUF(SPKI_MAX), der = WRIT_BUF(KEYFILE_MAX);
	struct keyfile file;

	(void)state;
	custody_close(TAKE(custody));
	/* The same but for one attribute: noda. */
	tools("tpm2_createprimary -C o -G ecc256:aes128cfb -g sha256 -c srk.ctx && tpm2_evictcontrol -C o -c srk.ctx "
	      "0x81000001 && "
	      "tpm2_flushcontext -t");
	expect_ok(open_with(machine.tcti, true, 32));
	expect_ok(custody_make_key(custody, KEY_P256, "tpm", &ref2, &spki2));
	expect_ok(keyfile_read(writ_view(&ref2), &der, &file));
	assert_int_equal(file.parent, KEYFILE_PARENT_OWNER);
	expect_ok(loads_and_signs(writ_view(&ref), writ_view(&spki)));
}

static void
a_cleared_tpm_is_another_tpm(void **state)
{
	(void)state;
	custody_close(TAKE(custody));
	tools("tpm2_clear -c p");
	expect_ok(open_with(machine.tcti, true, 32));
	expect_refused(loads_and_signs(writ_view(&ref), writ_view(&spki)), WRIT_LOCKED,
		       "loading a key: it was made under another storage root key: it belongs to another TPM, or this "
		       "one was cleared");
}

static void
a_tpm_that_is_replaced_under_us_is_locked_for_good(void **state)
{
	struct writ_err *err = NULL;
	struct key *key;

	(void)state;
	expect_ok(custody_load(custody, writ_view(&ref), writ_view(&spki), &key));
	machine_away(&machine);
	run("rm -rf %s/state/*", machine.dir);
	machine_back(&machine);
	for (int i = 0; i < 3; i++) { /* away first, then seen to be another */
		AUTO(writ_buf_done) struct writ_buf sig = WRIT_BUF(SIGNATURE_MAX);

		writ_err_free(err);
		err = custody_sign(key, WRIT_LIT("m"), &sig);
		assert_non_null(err);
	}
	expect_refused(err, WRIT_LOCKED,
		       "the device is not asked again until an operator resumes: the TPM's storage root "
		       "key is another one "
		       "than before: the TPM was replaced or cleared");
	expect_refused(custody_health(custody), WRIT_LOCKED,
		       "the device is not asked again until an operator resumes: the TPM's storage root "
		       "key is another one "
		       "than before: the TPM was replaced or cleared");
	custody_unload(key);
}

static void
an_owner_password_is_told(void **state)
{
	struct writ_err *err;

	(void)state;
	custody_close(TAKE(custody));
	tools("tpm2_changeauth -c o owner");
	err = open_with(machine.tcti, true, 32);
	assert_non_null(err);
	assert_int_equal(err->code, WRIT_LOCKED);
	assert_non_null(strstr(err->cause->message, "make the storage root key persistent at 0x81000001"));
	writ_err_free(err);
}

/* Dictionary attack protection is one counter for the whole TPM: a neighbour's wrong guesses must not stop us. */
static void
a_lockout_that_a_neighbour_caused_does_not_stop_us(void **state)
{
	(void)state;
	custody_close(TAKE(custody));
	tools("tpm2_createprimary -C o -c p.ctx && tpm2_create -C p.ctx -p right -u n.pub -r n.priv && "
	      "tpm2_flushcontext -t && "
	      "tpm2_load -C p.ctx -u n.pub -r n.priv -c n.ctx && tpm2_flushcontext -t && echo m > m && "
	      "for i in 1 2 3 4 5; do tpm2_sign -c n.ctx -g sha256 -p wrong -o sig m; tpm2_flushcontext -t; done; "
	      "tpm2_sign -c n.ctx -g sha256 -p right -o sig m; test $? != 0; tpm2_flushcontext -t");
	expect_ok(open_with(machine.tcti, true, 32));
	expect_ok(loads_and_signs(writ_view(&ref), writ_view(&spki)));
}

static void
a_software_tpm_is_refused_unless_it_is_allowed_by_name(void **state)
{
	char message[300];

	(void)state;
	custody_close(TAKE(custody));
	snprintf(message, sizeof(message),
		 "opening the tpm2 device: 'IBM' 'SW   TPM' at %s is a software TPM, only as safe as its host: for "
		 "tests and "
		 "demonstrations set allow_software_tpm",
		 machine.tcti);
	expect_refused(open_with(machine.tcti, false, 32), WRIT_LOCKED, message);
	assert_null(custody);
}

static void
a_tcti_is_named_and_leads_to_a_tpm(void **state)
{
	static const char *const refused[] = { "",	  "pcap:swtpm", "cmd:tpm2_send",	  "device",
					       "device:", "swtpm",	"libtss2-tcti-swtpm.so.0" };

	(void)state;
	custody_close(TAKE(custody));
	for (size_t i = 0; i < N_OF(refused); i++) {
		char message[300];

		snprintf(message, sizeof(message),
			 "opening the tpm2 device: TCTI '%s': name one of device:/dev/..., tabrmd:..., swtpm:... and "
			 "mssim:...",
			 refused[i]);
		expect_refused(open_with(refused[i], true, 32), WRIT_INVALID, message);
	}
	expect_refused(
		open_with(NULL, true, 32), WRIT_INVALID,
		"opening the tpm2 device: TCTI '': name one of device:/dev/..., tabrmd:..., swtpm:... and mssim:...");
}

static void
an_auth_value_has_32_bytes(void **state)
{
	(void)state;
	custody_close(TAKE(custody));
	expect_refused(open_with(machine.tcti, true, 31), WRIT_INVALID,
		       "opening the tpm2 device: the auth value of a TPM's keys has 32 bytes, not 31");
	expect_refused(open_with(machine.tcti, true, 33), WRIT_INVALID,
		       "opening the tpm2 device: the auth value of a TPM's keys has 32 bytes, not 33");
}

/* ---- counters and policies ---- */

#define AUTH "hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define COUNTER_STATE_INDEX "0x1805703"

/* What the tools compute in a trial session is what we compute without a TPM. */
static void
a_policy_has_the_digest_that_another_tool_computes(void **state)
{
	AUTO(writ_buf_done) struct writ_buf tool = WRIT_BUF(64);
	static const uint64_t numbers[] = { 1, 0x123456789a, UINT64_MAX };
	uint8_t operand[8];
	char path[160];
	uint64_t value;

	(void)state;
	expect_ok(custody_counter_make(custody, COUNTER_SEALED, &value));
	custody_close(TAKE(custody));
	for (size_t i = 0; i < N_OF(numbers); i++) {
		const uint64_t number = numbers[i];
		const struct tpm2_policy policy = tpm2_policy_of_sealed(NULL, number);
		TPM2B_DIGEST digest;

		writ_put64(operand, number);
		snprintf(path, sizeof(path), "%s/operand", machine.dir);
		expect_ok(file_replace(path, 0600, (struct writ_bytes){ operand, sizeof(operand) }));
		tools("tpm2_startauthsession -S s.ctx && "
		      "tpm2_policynv -S s.ctx -C 0x1805701 -P " AUTH " -i operand 0x1805701 ule > /dev/null && "
		      "tpm2_policyauthvalue -S s.ctx -L policy > /dev/null; r=$?; tpm2_flushcontext s.ctx; exit $r");
		snprintf(path, sizeof(path), "%s/policy", machine.dir);
		writ_buf_clear(&tool);
		expect_ok(file_read(path, FILE_ANY, &tool));
		tpm2_policy_digest(&policy, &digest);
		expect_bytes(((struct writ_bytes){ digest.buffer, digest.size }), writ_view(&tool));
	}
}

static void
a_counter_is_read_and_raised_by_the_auth_value_alone(void **state)
{
	uint64_t value = 0, again = 0;

	(void)state;
	expect_ok(custody_counter_make(custody, COUNTER_STATE, &value));
	custody_close(TAKE(custody));
	tools("tpm2_nvreadpublic " COUNTER_STATE_INDEX " > nv.txt && "
	      "grep -q 'friendly: authwrite|nt=0x1|authread|no_da|written$' nv.txt && grep -q 'size: 8' nv.txt");
	tools("! tpm2_nvincrement -C o " COUNTER_STATE_INDEX);
	tools("! tpm2_nvread -C o " COUNTER_STATE_INDEX);
	tools("! tpm2_nvincrement -C " COUNTER_STATE_INDEX " " COUNTER_STATE_INDEX);
	tools("! tpm2_nvwrite -C " COUNTER_STATE_INDEX " -P " AUTH " -i m " COUNTER_STATE_INDEX);
	tools("tpm2_nvincrement -C " COUNTER_STATE_INDEX " -P " AUTH " " COUNTER_STATE_INDEX);
	expect_ok(open_with(machine.tcti, true, 32));
	expect_ok(custody_counter_read(custody, COUNTER_STATE, &again));
	assert_int_equal(again, value + 1);
}

/* Whoever owns the TPM can delete it: that destroys what it guards, and never brings it back. */
static void
a_counter_made_again_begins_beyond_the_old_one(void **state)
{
	AUTO(writ_secret_done) struct writ_secret secret = { 0 }, again = { 0 };
	AUTO(writ_buf_done) struct writ_buf blob = WRIT_BUF(CUSTODY_BLOB_MAX);
	uint64_t value = 0, made = 0;

	(void)state;
	expect_ok(writ_secret_random(&secret, CUSTODY_SECRET_LEN));
	expect_ok(custody_counter_make(custody, COUNTER_SEALED, &value));
	expect_ok(custody_seal(custody, value, &secret, &blob));
	custody_close(TAKE(custody));
	tools("tpm2_nvundefine -C o 0x1805701");
	expect_ok(open_with(machine.tcti, true, 32));
	expect_refused(custody_unseal(custody, writ_view(&blob), &again), WRIT_NOT_FOUND,
		       "unsealing: this TPM has no NV index 0x1805701: the counter was never made here");
	expect_ok(custody_counter_make(custody, COUNTER_SEALED, &made));
	assert_true(made > value);
	expect_refused(custody_unseal(custody, writ_view(&blob), &again), WRIT_NOT_FOUND,
		       "unsealing: it is destroyed: the device's counter 'sealed' has passed 1, its number");
}

static void
a_foreign_index_is_not_used(void **state)
{
	static const char *const made[] = {
		"tpm2_nvdefine -C o -s 8 -a 'nt=counter|authread|authwrite' -p " AUTH " " COUNTER_STATE_INDEX,
		"tpm2_nvdefine -C o -s 8 -a 'nt=counter|authread|authwrite|ownerwrite|no_da' -p " AUTH
		" " COUNTER_STATE_INDEX,
		"tpm2_nvdefine -C o -s 8 -a 'authread|authwrite|no_da' -p " AUTH " " COUNTER_STATE_INDEX,
		"tpm2_nvdefine -C o -s 8 -a 'nt=counter|authread|authwrite|no_da' -g sha384 -p " AUTH
		" " COUNTER_STATE_INDEX,
	};
	uint64_t value = 0;

	(void)state;
	for (size_t i = 0; i < N_OF(made); i++) {
		custody_close(TAKE(custody));
		tools(made[i]);
		expect_ok(open_with(machine.tcti, true, 32));
		expect_refused(custody_counter_make(custody, COUNTER_STATE, &value), WRIT_LOCKED,
			       "the device's counter 'state': NV index 0x1805703 is there with other attributes than "
			       "ours: it is somebody else's, and is not used");
		expect_refused(custody_health(custody), WRIT_LOCKED,
			       "the device is not asked again until an operator resumes: NV index "
			       "0x1805703 is there with other attributes than ours: it is somebody else's, and is not "
			       "used");
		custody_close(TAKE(custody));
		tools("tpm2_nvundefine -C o " COUNTER_STATE_INDEX);
		expect_ok(open_with(machine.tcti, true, 32));
	}
}

static void
another_custody_s_counter_is_told_and_tried_once(void **state)
{
	struct writ_err *err;
	uint64_t value = 0;
	char text[1000];

	(void)state;
	custody_close(TAKE(custody));
	tools("tpm2_nvdefine -C o -s 8 -a 'nt=counter|authread|authwrite|no_da' -p theirs " COUNTER_STATE_INDEX
	      " && tpm2_nvincrement -C " COUNTER_STATE_INDEX " -P theirs " COUNTER_STATE_INDEX);
	expect_ok(open_with(machine.tcti, true, 32));
	err = custody_counter_read(custody, COUNTER_STATE, &value);
	assert_non_null(err);
	assert_int_equal(err->code, WRIT_LOCKED);
	writ_err_text(err, text, sizeof(text));
	assert_non_null(strstr(text, "it is another custody's counter, or the auth value is wrong"));
	writ_err_free(err);
	assert_true(custody->latched);
}

/* A crash between the two commands that make it. */
static void
a_counter_that_was_defined_and_never_raised_has_no_value_until_it_is_made(void **state)
{
	uint64_t value = 0;

	(void)state;
	custody_close(TAKE(custody));
	tools("tpm2_nvdefine -C o -s 8 -a 'nt=counter|authread|authwrite|no_da' -p " AUTH " " COUNTER_STATE_INDEX);
	expect_ok(open_with(machine.tcti, true, 32));
	expect_refused(custody_counter_read(custody, COUNTER_STATE, &value), WRIT_NOT_FOUND,
		       "the device's counter 'state': NV index 0x1805703 was defined and never raised: the counter has "
		       "no value");
	expect_refused(custody_counter_raise(custody, COUNTER_STATE, &value), WRIT_NOT_FOUND,
		       "the device's counter 'state': NV index 0x1805703 was defined and never raised: the counter has "
		       "no value");
	expect_ok(custody_counter_make(custody, COUNTER_STATE, &value));
	assert_true(value >= 1);
}

/* With an owner's auth value the index is made by hand, as the message says. */
static void
an_owner_who_has_a_password_defines_the_counter_by_hand(void **state)
{
	struct writ_err *err;
	uint64_t value = 0;
	char text[1000];

	(void)state;
	custody_close(TAKE(custody));
	tools("tpm2_createprimary " SRK " -c srk.ctx && tpm2_evictcontrol -C o -c srk.ctx 0x81000001 && "
	      "tpm2_flushcontext -t && tpm2_changeauth -c o owner");
	expect_ok(open_with(machine.tcti, true, 32));
	err = custody_counter_make(custody, COUNTER_STATE, &value);
	assert_non_null(err);
	writ_err_text(err, text, sizeof(text));
	assert_non_null(strstr(text, "the owner hierarchy has an auth value: define NV index 0x1805703 by hand, with "
				     "nt=counter|authread|authwrite|no_da and the auth value of the keys"));
	writ_err_free(err);
	custody_close(TAKE(custody));
	tools("tpm2_nvdefine -C o -P owner -s 8 -a 'nt=counter|authread|authwrite|no_da' -p " AUTH
	      " " COUNTER_STATE_INDEX);
	expect_ok(open_with(machine.tcti, true, 32));
	expect_ok(custody_counter_make(custody, COUNTER_STATE, &value));
}

/* A file that says another number than the object has is found out before the TPM is asked. */
static void
a_policy_that_the_file_alone_says_is_refused(void **state)
{
	AUTO(writ_buf_done)
	struct writ_buf blob = WRIT_BUF(CUSTODY_BLOB_MAX), der = WRIT_BUF(KEYFILE_MAX),
			lie = WRIT_BUF(CUSTODY_BLOB_MAX);
	AUTO(writ_secret_done) struct writ_secret secret = { 0 }, again = { 0 };
	struct keyfile file;

	(void)state;
	expect_ok(writ_secret_random(&secret, CUSTODY_SECRET_LEN));
	expect_ok(custody_seal(custody, 5, &secret, &blob));
	expect_ok(keyfile_read(writ_view(&blob), &der, &file));
	assert_int_equal(file.policy.n, 2);
	assert_true(file.policy.steps[0].limit == 5);
	file.policy = tpm2_policy_of_sealed(NULL, 500);
	expect_ok(keyfile_write(&file, &lie));
	expect_refused(custody_unseal(custody, writ_view(&lie), &again), WRIT_INVALID,
		       "unsealing: key file: the policy that it says is not the one in the public area");
	writ_buf_clear(&lie);
	file.policy = tpm2_policy_of_key(NULL);
	expect_ok(keyfile_write(&file, &lie));
	expect_refused(custody_unseal(custody, writ_view(&lie), &again), WRIT_INVALID,
		       "unsealing: key file: the policy that it says is not the one in the public area");
	expect_ok(custody_unseal(custody, writ_view(&blob), &again));
}

#define claim(test) cmocka_unit_test_setup_teardown(test, claim_start, claim_end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		claim(a_key_is_fixed_to_its_tpm_and_was_born_there),
		claim(another_tool_loads_the_key_and_a_bare_password_does_not_open_it),
		claim(slots_that_a_dead_process_filled_are_emptied),
		claim(a_persistent_storage_root_key_is_used_when_it_is_the_template),
		claim(another_object_at_that_handle_is_left_alone),
		claim(a_cleared_tpm_is_another_tpm),
		claim(a_tpm_that_is_replaced_under_us_is_locked_for_good),
		claim(an_owner_password_is_told),
		claim(a_lockout_that_a_neighbour_caused_does_not_stop_us),
		claim(a_software_tpm_is_refused_unless_it_is_allowed_by_name),
		claim(a_tcti_is_named_and_leads_to_a_tpm),
		claim(an_auth_value_has_32_bytes),
		claim(a_policy_has_the_digest_that_another_tool_computes),
		claim(a_counter_is_read_and_raised_by_the_auth_value_alone),
		claim(a_counter_made_again_begins_beyond_the_old_one),
		claim(a_foreign_index_is_not_used),
		claim(another_custody_s_counter_is_told_and_tried_once),
		claim(a_counter_that_was_defined_and_never_raised_has_no_value_until_it_is_made),
		claim(an_owner_who_has_a_password_defines_the_counter_by_hand),
		claim(a_policy_that_the_file_alone_says_is_refused),
	};

	signal(SIGPIPE, SIG_IGN);
	event_start(STDERR_FILENO, "contract", EVENT_ALARM);
	if (writ_secret_start())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
