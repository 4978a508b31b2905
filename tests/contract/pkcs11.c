/*
 * What only a PKCS#11 token can be asked: its URI, its flags, its lies.  Faults come from a module of our own before
 * SoftHSM.
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/event.h"
#include "tests/contract/pkcs11_shim.h"
#include "tests/contract/rig.h"
#include "tests/unit/expect.h"

static struct machine machine;
static struct shim *shim_at; /* in the loaded module */
static struct custody *custody;
static struct writ_buf ref = { .limit = CUSTODY_REF_MAX }, spki = { .limit = SPKI_MAX };

static struct writ_err *
open_with(const char *module, const char *uri)
{
	AUTO(writ_secret_done) struct writ_secret pin = { 0 };
	static struct custody_conf conf;

	conf = (struct custody_conf){ .module = module, .uri = uri };
	expect_ok(writ_secret_set(&pin, writ_str(RIG_PIN)));
	return custody_open("pkcs11", &conf, &pin, &custody);
}

static int
start(void **state)
{
	struct shim *at;
	char conf[160];
	void *module;

	(void)state;
	expect_ok(writ_secret_start());
	machine_make(&machine, false);
	snprintf(conf, sizeof(conf), "%s/softhsm2.conf", machine.dir);
	setenv("SOFTHSM2_CONF", conf, 1);
	module = dlopen(WRIT_SHIM, RTLD_NOW | RTLD_LOCAL);
	assert_non_null(module);
	at = dlsym(module, "shim");
	assert_non_null(at);
	shim_at = at;
	expect_ok(open_with(WRIT_SHIM, machine.uri));
	expect_ok(custody_make_key(custody, KEY_P256, "shim", &ref, &spki));
	custody_close(TAKE(custody));
	return 0;
}

static int
end(void **state)
{
	(void)state;
	writ_buf_done(&ref);
	writ_buf_done(&spki);
	machine_done(&machine, false);
	return 0;
}

static int
claim_start(void **state)
{
	(void)state;
	*shim_at = (struct shim){ 0 };
	return 0;
}

static int
claim_end(void **state)
{
	(void)state;
	custody_close(TAKE(custody));
	return 0;
}

static void
opened(struct key **ret)
{
	expect_ok(open_with(WRIT_SHIM, machine.uri));
	expect_ok(custody_load(custody, writ_view(&ref), writ_view(&spki), ret));
}

static struct writ_err *
signs(struct key *key)
{
	AUTO(writ_buf_done) struct writ_buf sig = WRIT_BUF(SIGNATURE_MAX);

	return custody_sign(key, WRIT_LIT("m"), &sig);
}

/* ---- naming the token ---- */

static void
a_uri_with_a_secret_or_a_setting_in_it_is_refused(void **state)
{
	static const struct {
		const char *uri, *message;
	} cases[] = {
		{ "pkcs11:serial=1?pin-value=1234",
		  "opening the pkcs11 device: PKCS#11 URI: pin-value is refused: a PIN belongs in the PIN file" },
		{ "pkcs11:serial=1?pin-source=file:/x", "opening the pkcs11 device: PKCS#11 URI: pin-source is "
							"refused: name the PIN file in its own setting" },
		{ "pkcs11:serial=1?module-path=/x",
		  "opening the pkcs11 device: PKCS#11 URI: module-name and module-path are "
		  "refused: name the module in its own setting" },
		{ "pkcs11:serial=1?module-name=x",
		  "opening the pkcs11 device: PKCS#11 URI: module-name and module-path are "
		  "refused: name the module in its own setting" },
		{ "pkcs11:serial=1;colour=red", "opening the pkcs11 device: PKCS#11 URI: an attribute is unknown" },
		{ "pkcs11:token=x",
		  "opening the pkcs11 device: PKCS#11 URI: a token is named by serial, or by token and "
		  "manufacturer" },
		{ "pkcs11:",
		  "opening the pkcs11 device: PKCS#11 URI: a token is named by serial, or by token and manufacturer" },
		{ "pkcs11:serial=1;id=%01",
		  "opening the pkcs11 device: PKCS#11 URI: a token's has no object, id or type" },
		{ "http://x", "opening the pkcs11 device: PKCS#11 URI: URI scheme must be 'pkcs11:'" },
		{ NULL, "opening the pkcs11 device: PKCS#11 URI: one of at most 1024 bytes is needed" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++)
		expect_refused(open_with(WRIT_SHIM, cases[i].uri), WRIT_INVALID, cases[i].message);
}

static void
a_key_uri_without_serial_id_and_type_is_refused(void **state)
{
	static const struct {
		const char *uri, *message;
	} cases[] = {
		{ "pkcs11:serial=1;type=private",
		  "loading a key: PKCS#11 URI: a key is named by serial, id and type=private" },
		{ "pkcs11:serial=1;id=%01",
		  "loading a key: PKCS#11 URI: a key is named by serial, id and type=private" },
		{ "pkcs11:token=x;manufacturer=y;id=%01;type=private",
		  "loading a key: PKCS#11 URI: a key is named by serial, id and type=private" },
		{ "pkcs11:serial=1;id=%01;type=public", "loading a key: PKCS#11 URI: a key's type is private" },
		{ "pkcs11:serial=1;id=%01;type=private?pin-value=1",
		  "loading a key: PKCS#11 URI: pin-value is refused: a PIN belongs in the PIN file" },
	};
	struct key *key;

	(void)state;
	expect_ok(open_with(WRIT_SHIM, machine.uri));
	for (size_t i = 0; i < N_OF(cases); i++)
		expect_refused(custody_load(custody, writ_str(cases[i].uri), writ_view(&spki), &key), WRIT_INVALID,
			       cases[i].message);
}

static void
a_key_that_the_token_lacks_is_not_found(void **state)
{
	AUTO(writ_buf_done) struct writ_buf other = WRIT_BUF(CUSTODY_REF_MAX);
	const char *id;
	uint8_t *digit;
	struct key *key;

	(void)state;
	expect_ok(open_with(WRIT_SHIM, machine.uri));
	expect_ok(writ_buf_add(&other, writ_view(&ref)));
	expect_ok(writ_buf_add(&other, WRIT_LIT("\0")));
	id = strstr((const char *)other.data, "id=%");
	assert_non_null(id);
	digit = &other.data[(size_t)((const uint8_t *)id - other.data) + 4];
	*digit = *digit == '0' ? '1' : '0';
	expect_refused(custody_load(custody, (struct writ_bytes){ other.data, other.len - 1 }, writ_view(&spki), &key),
		       WRIT_NOT_FOUND, "loading a key: the token holds no private EC key of that id");
}

static void
two_tokens_that_match_are_refused(void **state)
{
	struct machine two;
	char conf[160];

	(void)state;
	machine_make(&two, false);
	run("SOFTHSM2_CONF=%s/softhsm2.conf softhsm2-util --init-token --free --label writ-test --so-pin 87654321 "
	    "--pin " RIG_PIN " > /dev/null",
	    two.dir);
	snprintf(conf, sizeof(conf), "%s/softhsm2.conf", two.dir);
	setenv("SOFTHSM2_CONF", conf, 1);
	expect_refused(open_with(WRIT_SHIM, two.uri), WRIT_INVALID,
		       "opening the pkcs11 device: 2 tokens match the URI: add the serial of one");
	assert_int_equal(shim_at->logins, 0);
	snprintf(conf, sizeof(conf), "%s/softhsm2.conf", machine.dir);
	setenv("SOFTHSM2_CONF", conf, 1);
	machine_done(&two, false);
}

static void
a_module_by_relative_path_absent_or_writable_by_others_is_refused(void **state)
{
	char path[160], message[300];

	(void)state;
	expect_refused(open_with("libsofthsm2.so", machine.uri), WRIT_INVALID,
		       "opening the pkcs11 device: PKCS#11 module 'libsofthsm2.so': an absolute path is needed");
	expect_refused(open_with("/nonexistent.so", machine.uri), WRIT_INVALID,
		       "opening the pkcs11 device: PKCS#11 module '/nonexistent.so' is no file");
	snprintf(path, sizeof(path), "%s/module.so", machine.dir);
	run("cp %s %s && chmod 777 %s", WRIT_SHIM, path, path);
	snprintf(message, sizeof(message),
		 "opening the pkcs11 device: PKCS#11 module '%s' is not owned by root or us alone: uid %u, mode 777",
		 path, (unsigned)geteuid());
	expect_refused(open_with(path, machine.uri), WRIT_INVALID, message);
	run("chmod 755 %s && echo no ELF > %s", path, path);
	{
		struct writ_err *const err = open_with(path, machine.uri);

		assert_non_null(err);
		assert_int_equal(err->code, WRIT_INVALID);
		writ_err_free(err);
	}
}

/* ---- the PIN ---- */

static void
a_refused_pin_is_tried_once(void **state)
{
	static const struct {
		CK_RV rv;
		const char *message;
	} cases[] = {
		{ CKR_PIN_INCORRECT, "opening the pkcs11 device: C_Login: CKR_PIN_INCORRECT (0xa0)" },
		{ CKR_PIN_INVALID, "opening the pkcs11 device: C_Login: CKR_PIN_INVALID (0xa1)" },
		{ CKR_PIN_EXPIRED, "opening the pkcs11 device: C_Login: CKR_PIN_EXPIRED (0xa3)" },
		{ CKR_PIN_LOCKED, "opening the pkcs11 device: C_Login: CKR_PIN_LOCKED (0xa4)" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		*shim_at = (struct shim){ .login = cases[i].rv };
		expect_refused(open_with(WRIT_SHIM, machine.uri), WRIT_LOCKED, cases[i].message);
		assert_int_equal(shim_at->logins, 1);
	}
}

static void
no_pin_is_spent_on_a_last_try_or_a_locked_token(void **state)
{
	(void)state;
	shim_at->flags = CKF_USER_PIN_FINAL_TRY;
	expect_refused(open_with(WRIT_SHIM, machine.uri), WRIT_LOCKED,
		       "opening the pkcs11 device: one more wrong PIN would lock the token: no login is tried until "
		       "somebody logged in "
		       "by hand");
	shim_at->flags = CKF_USER_PIN_LOCKED;
	expect_refused(open_with(WRIT_SHIM, machine.uri), WRIT_LOCKED,
		       "opening the pkcs11 device: the token's user PIN is locked: no login is tried");
	assert_int_equal(shim_at->logins, 0);
}

static void
a_pin_that_is_refused_at_a_reconnection_latches(void **state)
{
	struct key *key;

	(void)state;
	opened(&key);
	shim_at->sign_init = CKR_DEVICE_ERROR;
	expect_refused(signs(key), WRIT_UNAVAILABLE, "C_SignInit: CKR_DEVICE_ERROR (0x30); a new session follows");
	shim_at->sign_init = CKR_OK;
	shim_at->login = CKR_PIN_INCORRECT;
	expect_refused(signs(key), WRIT_LOCKED, "C_Login: CKR_PIN_INCORRECT (0xa0)");
	assert_int_equal(shim_at->logins, 2);
	shim_at->login = CKR_OK;
	for (int i = 0; i < 3; i++)
		expect_refused(signs(key), WRIT_LOCKED,
			       "the device is not asked again until an operator resumes: C_Login: "
			       "CKR_PIN_INCORRECT (0xa0)");
	assert_int_equal(shim_at->logins, 2);
	custody_unload(key);
}

/* ---- faults ---- */

static void
a_fault_is_told_once_and_healed_by_one_new_session(void **state)
{
	static const CK_RV faults[] = { CKR_DEVICE_ERROR,	    CKR_DEVICE_REMOVED,
					CKR_SESSION_HANDLE_INVALID, CKR_TOKEN_NOT_PRESENT,
					CKR_OBJECT_HANDLE_INVALID,  CKR_KEY_HANDLE_INVALID,
					CKR_USER_NOT_LOGGED_IN,	    CKR_CRYPTOKI_NOT_INITIALIZED,
					CKR_GENERAL_ERROR,	    CKR_FUNCTION_FAILED,
					CKR_OPERATION_ACTIVE,	    CKR_VENDOR_DEFINED };
	struct key *key;

	(void)state;
	opened(&key);
	for (size_t i = 0; i < 2 * N_OF(faults); i++) {
		const unsigned before = shim_at->logins;
		struct writ_err *err;

		shim_at->sign_init = i < N_OF(faults) ? faults[i] : CKR_OK;
		shim_at->sign = i < N_OF(faults) ? CKR_OK : faults[i - N_OF(faults)];
		err = signs(key);
		assert_non_null(err);
		assert_int_equal(err->code, WRIT_UNAVAILABLE);
		writ_err_free(err);
		assert_int_equal(shim_at->logins, before);
		shim_at->sign_init = shim_at->sign = CKR_OK;
		expect_ok(signs(key));
		expect_ok(signs(key));
		assert_int_equal(shim_at->logins, before + 1);
	}
	custody_unload(key);
}

static void
an_algorithm_that_the_token_lacks_is_invalid_and_costs_no_session(void **state)
{
	struct key *key;

	(void)state;
	opened(&key);
	shim_at->sign_init = CKR_MECHANISM_INVALID;
	expect_refused(signs(key), WRIT_INVALID, "this token does not do it: C_SignInit: CKR_MECHANISM_INVALID (0x70)");
	shim_at->sign_init = CKR_DEVICE_MEMORY;
	expect_refused(signs(key), WRIT_EXHAUSTED, "C_SignInit: CKR_DEVICE_MEMORY (0x31)");
	shim_at->sign_init = CKR_OK;
	expect_ok(signs(key));
	assert_int_equal(shim_at->logins, 1);
	custody_unload(key);
}

static void
a_bad_signature_never_leaves_and_quarantines_the_key(void **state)
{
	static const struct {
		enum shim_signature how;
		const char *message;
	} cases[] = {
		{ SIGN_SHORT, "the token's signature has 63 bytes; r and s of P-256 have 64" },
		{ SIGN_LONG, "the token's signature has 65 bytes; r and s of P-256 have 64" },
		{ SIGN_ZERO_R, "the device gave r of 32 and s of 32 bytes: neither may be zero or over 32 bytes" },
		{ SIGN_ANOTHER_DIGEST, "the device signed, but not this message with the pinned key" },
		{ SIGN_FOREIGN, "the device signed, but not this message with the pinned key" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		AUTO(writ_buf_done) struct writ_buf sig = WRIT_BUF(SIGNATURE_MAX);
		char text[1000];
		struct writ_err *err;
		struct key *key;

		*shim_at = (struct shim){ 0 };
		opened(&key);
		shim_at->signature = cases[i].how;
		err = custody_sign(key, WRIT_LIT("m"), &sig);
		assert_non_null(err);
		assert_int_equal(err->code, WRIT_LOCKED);
		writ_err_text(err, text, sizeof(text));
		assert_non_null(strstr(text, cases[i].message));
		writ_err_free(err);
		assert_int_equal(sig.len, 0);
		shim_at->signature = SIGN_WELL;
		err = signs(key);
		assert_true(err && err->code == WRIT_LOCKED);
		writ_err_free(err);
		custody_unload(key);
		custody_close(TAKE(custody));
	}
}

static void
a_quarantined_key_is_not_loaded_again_and_the_tokens_other_keys_go_on(void **state)
{
	static const char refusal[] =
		"the key is not used again until an operator resumes: a signature of it was wrong";
	AUTO(writ_buf_done) struct writ_buf ref2 = WRIT_BUF(CUSTODY_REF_MAX), spki2 = WRIT_BUF(SPKI_MAX);
	AUTO(writ_buf_done) struct writ_buf blob = WRIT_BUF(CUSTODY_BLOB_MAX);
	AUTO(writ_secret_done) struct writ_secret secret = { 0 };
	struct key *bad, *good, *again;
	struct writ_err *err;

	(void)state;
	opened(&bad);
	expect_ok(custody_make_key(custody, KEY_P256, "other", &ref2, &spki2));
	expect_ok(custody_load(custody, writ_view(&ref2), writ_view(&spki2), &good));
	shim_at->signature = SIGN_FOREIGN;
	err = signs(bad);
	assert_true(err && err->code == WRIT_LOCKED);
	writ_err_free(err);
	shim_at->signature = SIGN_WELL;
	expect_refused(signs(bad), WRIT_LOCKED, refusal);
	expect_refused(custody_load(custody, writ_view(&ref), writ_view(&spki), &again), WRIT_LOCKED, refusal);
	expect_ok(signs(good));
	expect_ok(custody_health(custody));
	expect_ok(writ_secret_random(&secret, CUSTODY_SECRET_LEN));
	expect_ok(custody_seal(custody, 1000, &secret, &blob));
	custody_unload(bad);
	custody_unload(good);
	custody_close(TAKE(custody));
	opened(&bad); /* which is what resuming does */
	expect_ok(signs(bad));
	custody_unload(bad);
}

/* ---- what the token says of its keys ---- */

static void
a_key_that_may_leave_is_neither_made_nor_loaded(void **state)
{
	static const struct {
		CK_ATTRIBUTE_TYPE type;
		const char *name, *want;
	} cases[] = {
		{ CKA_TOKEN, "CKA_TOKEN", "true" },
		{ CKA_PRIVATE, "CKA_PRIVATE", "true" },
		{ CKA_SENSITIVE, "CKA_SENSITIVE", "true" },
		{ CKA_ALWAYS_SENSITIVE, "CKA_ALWAYS_SENSITIVE", "true" },
		{ CKA_NEVER_EXTRACTABLE, "CKA_NEVER_EXTRACTABLE", "true" },
		{ CKA_LOCAL, "CKA_LOCAL", "true" },
		{ CKA_EXTRACTABLE, "CKA_EXTRACTABLE", "false" },
		{ CKA_MODIFIABLE, "CKA_MODIFIABLE", "false" },
		{ CKA_UNWRAP, "CKA_UNWRAP", "false" },
		{ CKA_DERIVE, "CKA_DERIVE", "false" },
		{ CKA_SIGN, "CKA_SIGN", "true" },
		{ CKA_DECRYPT, "CKA_DECRYPT", "false" },
	};

	(void)state;
	expect_ok(open_with(WRIT_SHIM, machine.uri));
	for (size_t i = 0; i < N_OF(cases); i++) {
		AUTO(writ_buf_done) struct writ_buf a = WRIT_BUF(CUSTODY_REF_MAX), b = WRIT_BUF(SPKI_MAX);
		struct key *key;
		char text[200];

		shim_at->lie = cases[i].type;
		snprintf(text, sizeof(text), "loading a key: the token's %s of the key is not %s: the key is not used",
			 cases[i].name, cases[i].want);
		expect_refused(custody_load(custody, writ_view(&ref), writ_view(&spki), &key), WRIT_LOCKED, text);
		snprintf(text, sizeof(text),
			 "making a P-256 key: the token's %s of the key is not %s: the key is not used", cases[i].name,
			 cases[i].want);
		expect_refused(custody_make_key(custody, KEY_P256, "x", &a, &b), WRIT_LOCKED, text);
		assert_int_equal(a.len + b.len, 0);
	}
	run("test $(pkcs11-tool --module /usr/lib/softhsm/libsofthsm2.so -l -p " RIG_PIN
	    " -O --type privkey 2> /dev/null | grep -c 'Private Key') = 1"); /* those refused are not left behind */
}

static void
a_key_whose_value_is_given_is_not_used(void **state)
{
	struct key *key;

	(void)state;
	expect_ok(open_with(WRIT_SHIM, machine.uri));
	shim_at->give_value = true;
	expect_refused(custody_load(custody, writ_view(&ref), writ_view(&spki), &key), WRIT_LOCKED,
		       "loading a key: the token gives the key's secret value away (CKA_VALUE): the key is not used");
}

static void
a_key_that_wants_a_login_each_time_is_not_used(void **state)
{
	struct key *key;

	(void)state;
	expect_ok(open_with(WRIT_SHIM, machine.uri));
	shim_at->lie = CKA_ALWAYS_AUTHENTICATE;
	expect_refused(
		custody_load(custody, writ_view(&ref), writ_view(&spki), &key), WRIT_LOCKED,
		"loading a key: the key wants a login for each signature (CKA_ALWAYS_AUTHENTICATE): it is not used");
}

static void
a_point_without_its_octet_string_is_read_too(void **state)
{
	AUTO(writ_buf_done) struct writ_buf a = WRIT_BUF(CUSTODY_REF_MAX), b = WRIT_BUF(SPKI_MAX);
	struct key *key;

	(void)state;
	shim_at->raw_point = true;
	opened(&key);
	expect_ok(signs(key));
	custody_unload(key);
	expect_ok(custody_make_key(custody, KEY_P384, "raw", &a, &b));
	assert_int_equal(b.len, 120);
}

/* Another reader of the token: OpenSC's. */
static void
another_tool_reads_the_same_attributes(void **state)
{
	(void)state;
	run("pkcs11-tool --module /usr/lib/softhsm/libsofthsm2.so -l -p " RIG_PIN
	    " -O --type privkey 2> /dev/null | grep -q 'Access: *sensitive, always sensitive, never extractable, "
	    "local'");
	run("! pkcs11-tool --module /usr/lib/softhsm/libsofthsm2.so -l -p " RIG_PIN
	    " -O --type privkey 2> /dev/null | grep 'Usage:' | grep -Eq 'decrypt|unwrap|derive'");
}

/* ---- counters and sealing keys ---- */

#define TOOL "pkcs11-tool --module /usr/lib/softhsm/libsofthsm2.so -l -p " RIG_PIN

static void
a_number_has_a_key_of_its_own_which_is_destroyed(void **state)
{
	AUTO(writ_buf_done) struct writ_buf one = WRIT_BUF(CUSTODY_BLOB_MAX), two = WRIT_BUF(CUSTODY_BLOB_MAX);
	AUTO(writ_secret_done) struct writ_secret secret = { 0 };
	uint64_t value = 0;

	(void)state;
	expect_ok(open_with(WRIT_SHIM, machine.uri));
	expect_ok(custody_counter_make(custody, COUNTER_SEALED, &value));
	assert_int_equal(value, 1);
	expect_ok(writ_secret_random(&secret, CUSTODY_SECRET_LEN));
	expect_ok(custody_seal(custody, 1, &secret, &one));
	expect_ok(custody_seal(custody, 2, &secret, &two));
	run(TOOL " -O --type secrkey 2> /dev/null | grep -q 'writ sealed 1'");
	run(TOOL " --keygen --key-type aes:32 --label 'writ sealed 1 of others' > /dev/null 2>&1");
	expect_ok(custody_destroy(custody, 1));
	run("! " TOOL " -O --type secrkey 2> /dev/null | grep -q 'writ sealed 1$'");
	run(TOOL " -O --type secrkey 2> /dev/null | grep -q 'writ sealed 1 of others'");
	run(TOOL " -O --type secrkey 2> /dev/null | grep -q 'writ sealed 2$'");
}

/* A crash while the new object is there and the old one too. */
static void
of_two_copies_of_a_counter_the_higher_counts(void **state)
{
	uint64_t value = 0;

	(void)state;
	expect_ok(open_with(WRIT_SHIM, machine.uri));
	expect_ok(custody_counter_make(custody, COUNTER_APPROVAL, &value));
	run("printf '\\000\\000\\000\\000\\000\\000\\000\\011' > %s/nine && " TOOL
	    " -w %s/nine --type data --application-label writ --label 'writ counter approval' > /dev/null 2>&1",
	    machine.dir, machine.dir);
	custody_close(TAKE(custody));
	expect_ok(open_with(WRIT_SHIM, machine.uri));
	expect_ok(custody_counter_read(custody, COUNTER_APPROVAL, &value));
	assert_int_equal(value, 9);
	expect_ok(custody_counter_raise(custody, COUNTER_APPROVAL, &value));
	assert_int_equal(value, 10);
	run("test $(" TOOL " -O --type data 2> /dev/null | grep -c 'writ counter approval') = 1");
}

static void
an_object_that_is_no_counter_is_refused(void **state)
{
	uint64_t value = 0;

	(void)state;
	run("printf x > %s/x && " TOOL
	    " -w %s/x --type data --application-label writ --label 'writ counter state' > /dev/null 2>&1",
	    machine.dir, machine.dir);
	expect_ok(open_with(WRIT_SHIM, machine.uri));
	expect_refused(custody_counter_make(custody, COUNTER_STATE, &value), WRIT_LOCKED,
		       "the device's counter 'state': the token's object has a value of 1 bytes that is no counter's: "
		       "it is not ours");
}

/* A token shares its sessions with a child silently (SoftHSM does): the child must not get so far. */
static void
a_process_forked_after_the_module_was_loaded_gets_nothing_from_it(void **state)
{
	AUTO(writ_buf_done) struct writ_buf signature = WRIT_BUF(SIGNATURE_MAX);
	struct key *key = NULL;
	int status = 0;
	pid_t pid;

	(void)state;
	expect_ok(open_with(WRIT_SHIM, machine.uri));
	expect_ok(custody_load(custody, writ_view(&ref), writ_view(&spki), &key));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct writ_err *err = custody_sign(key, WRIT_LIT("a message"), &signature);

		_exit(err && err->code == WRIT_BROKEN && strstr(err->message, "forked after") && signature.len == 0 ? 7 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	expect_ok(custody_sign(key, WRIT_LIT("a message"), &signature)); /* and the parent goes on */
	custody_unload(key);
}

#define claim(test) cmocka_unit_test_setup_teardown(test, claim_start, claim_end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		claim(a_uri_with_a_secret_or_a_setting_in_it_is_refused),
		claim(a_key_uri_without_serial_id_and_type_is_refused),
		claim(a_key_that_the_token_lacks_is_not_found),
		claim(two_tokens_that_match_are_refused),
		claim(a_module_by_relative_path_absent_or_writable_by_others_is_refused),
		claim(a_refused_pin_is_tried_once),
		claim(no_pin_is_spent_on_a_last_try_or_a_locked_token),
		claim(a_pin_that_is_refused_at_a_reconnection_latches),
		claim(a_fault_is_told_once_and_healed_by_one_new_session),
		claim(an_algorithm_that_the_token_lacks_is_invalid_and_costs_no_session),
		claim(a_bad_signature_never_leaves_and_quarantines_the_key),
		claim(a_key_that_may_leave_is_neither_made_nor_loaded),
		claim(a_key_whose_value_is_given_is_not_used),
		claim(a_key_that_wants_a_login_each_time_is_not_used),
		claim(another_tool_reads_the_same_attributes),
		claim(a_point_without_its_octet_string_is_read_too),
		claim(a_number_has_a_key_of_its_own_which_is_destroyed),
		claim(of_two_copies_of_a_counter_the_higher_counts),
		claim(an_object_that_is_no_counter_is_refused),
		claim(a_process_forked_after_the_module_was_loaded_gets_nothing_from_it),
		claim(a_quarantined_key_is_not_loaded_again_and_the_tokens_other_keys_go_on),
	};

	event_start(STDERR_FILENO, "contract", EVENT_ALARM);
	return cmocka_run_group_tests(tests, start, end);
}
