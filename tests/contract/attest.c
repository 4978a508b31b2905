/*
 * Attestation, of a TPM with an endorsement key's certificate and of a token that has nothing of the kind; what is said
 * is read by hsm/statement.h, and challenges are made by hsm/credential.h, neither of which knows a TPM.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/x509.h>

#include "base/event.h"
#include "base/text.h"
#include "hsm/credential.h"
#include "hsm/statement.h"
#include "tests/contract/rig.h"
#include "tests/unit/expect.h"

static struct machine machine;
static struct custody *custody;
static struct key *key;
static struct writ_buf ref = { .limit = CUSTODY_REF_MAX }, spki = { .limit = SPKI_MAX };
static uint8_t nonce[ATTEST_QUALIFYING_LEN];

/* As a maker does: endorsement keys, certified by a CA of its own. */
static void
manufacture(void)
{
	machine_away(&machine);
	run("cd %s && mkdir ca && printf 'statedir = %s/ca\\nsigningkey = %s/ca/key.pem\\nissuercert = "
	    "%s/ca/cert.pem\\ncertserial = "
	    "%s/ca/serial\\n' > ca.conf && : > ca.options && printf 'create_certs_tool = "
	    "%%s\\ncreate_certs_tool_config = "
	    "%s/ca.conf\\ncreate_certs_tool_options = %s/ca.options\\n' \"$(command -v swtpm_localca)\" > setup.conf "
	    "&& "
	    "swtpm_setup --tpm2 --tpmstate state --create-ek-cert --config setup.conf --overwrite > setup.log 2>&1",
	    machine.dir, machine.dir, machine.dir, machine.dir, machine.dir, machine.dir, machine.dir);
	machine_back(&machine);
}

static void
open_device(void)
{
	const struct rig rig = { .tpm = machine.tpm };
	AUTO(writ_secret_done) struct writ_secret auth = { 0 };
	static struct custody_conf conf;
	uint8_t value[32];

	conf = rig_conf(&rig, &machine);
	assert_true(writ_unhex(writ_str(rig_auth), value, 32));
	if (machine.tpm)
		expect_ok(writ_secret_set(&auth, (struct writ_bytes){ value, 32 }));
	else
		expect_ok(writ_secret_set(&auth, WRIT_LIT(RIG_PIN)));
	expect_ok(custody_open(machine.tpm ? "tpm2" : "pkcs11", &conf, &auth, &custody));
	expect_ok(custody_make_key(custody, KEY_P256, "attested", &ref, &spki));
	expect_ok(custody_load(custody, writ_view(&ref), writ_view(&spki), &key));
}

static void
close_device(void)
{
	custody_unload(TAKE(key));
	custody_close(TAKE(custody));
	writ_buf_done(&ref);
	writ_buf_done(&spki);
}

/* Somebody else's work, while we do not hold the TPM. */
static void
tools(const char *command)
{
	close_device();
	run("cd %s && export TPM2TOOLS_TCTI=%s TSS2_LOG=all+NONE && { %s; } > tools.log 2>&1 || { cat tools.log; "
	    "false; }",
	    machine.dir, machine.tcti, command);
	open_device();
}

static int
tpm_start(void **state)
{
	(void)state;
	machine_make(&machine, true);
	manufacture();
	open_device();
	return 0;
}

static int
token_start(void **state)
{
	char path[RIG_PATH_MAX];

	(void)state;
	machine_make(&machine, false);
	snprintf(path, sizeof(path), "%s/softhsm2.conf", machine.dir);
	assert_int_equal(setenv("SOFTHSM2_CONF", path, 1), 0);
	open_device();
	return 0;
}

static int
end(void **state)
{
	(void)state;
	close_device();
	machine_done(&machine, false);
	return 0;
}

/* ---- who attests ---- */

static EVP_PKEY *
ek_of(const struct attester *attester)
{
	const unsigned char *at = attester->ek;
	X509 *const cert = d2i_X509(NULL, &at, (long)attester->ek_len);
	EVP_PKEY *pkey;

	assert_non_null(cert);
	assert_ptr_equal(at, attester->ek + attester->ek_len);
	pkey = X509_get_pubkey(cert);
	assert_non_null(pkey);
	X509_free(cert);
	return pkey;
}

static void
the_attestation_key_is_restricted_and_the_same_at_every_question(void **state)
{
	struct attester first, second;
	struct tpm_area area;

	(void)state;
	expect_ok(custody_attester(custody, &first));
	expect_ok(custody_attester(custody, &second));
	assert_memory_equal(&first, &second, sizeof(first));
	expect_ok(tpm_area_read((struct writ_bytes){ first.ak, first.ak_len }, &area));
	assert_int_equal(area.attributes, TPM_RESTRICTED | TPM_SIGN | TPM_FIXED_TPM | TPM_FIXED_PARENT |
						  TPM_SENSITIVE_DATA_ORIGIN | TPM_USER_WITH_AUTH | TPM_NO_DA);
}

/* ---- statements ---- */

static void
check_item(const struct attest_item *item, const struct attester *attester, struct tpm_attest *ret)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(SIGNATURE_MAX);
	AUTO(pubkey_done) struct pubkey public = { 0 };
	uint8_t qualified[TPM_NAME_LEN];
	struct tpm_area ak;

	expect_ok(tpm_area_read((struct writ_bytes){ attester->ak, attester->ak_len }, &ak));
	expect_ok(pubkey_load((struct writ_bytes){ ak.spki, ak.spki_len }, &public));
	expect_ok(tpm_signature_read(attest_signature(item), &der));
	expect_ok(pubkey_verify(&public, attest_said(item), writ_view(&der)));
	expect_ok(tpm_attest_read(attest_said(item), ret));
	expect_bytes(ret->extra, ((struct writ_bytes){ nonce, sizeof(nonce) }));
	tpm_qualified_primary(TPM_ENDORSEMENT, ak.name, qualified);
	expect_bytes(ret->signer, ((struct writ_bytes){ qualified, sizeof(qualified) }));
}

static void
key_parent_and_pcrs_are_stated(void **state)
{
	uint8_t parent[TPM_NAME_LEN], qualified[TPM_NAME_LEN], digest[SHA256_LEN], policy[SHA256_LEN];
	struct attestation said;
	struct attester attester;
	struct tpm_attest one;
	struct tpm_area area;

	(void)state;
	writ_random(nonce, sizeof(nonce));
	expect_ok(custody_attester(custody, &attester));
	expect_ok(custody_attest(custody, nonce, &key, 1, &said));
	assert_int_equal(said.n, 3);
	assert_int_equal(said.item[0].what, ATTESTED_KEY);
	assert_int_equal(said.item[1].what, ATTESTED_PARENT);
	assert_int_equal(said.item[2].what, ATTESTED_PCRS);

	check_item(&said.item[1], &attester, &one);
	expect_ok(tpm_area_read(attest_about(&said.item[1]), &area));
	assert_true(area.storage && !area.ecdsa);
	expect_bytes(one.name, ((struct writ_bytes){ area.name, TPM_NAME_LEN }));
	tpm_qualified_primary(TPM_OWNER, area.name, parent);
	expect_bytes(one.qualified, ((struct writ_bytes){ parent, TPM_NAME_LEN }));

	check_item(&said.item[0], &attester, &one);
	expect_ok(tpm_area_read(attest_about(&said.item[0]), &area));
	expect_bytes(((struct writ_bytes){ area.spki, area.spki_len }), writ_view(&spki));
	expect_bytes(one.name, ((struct writ_bytes){ area.name, TPM_NAME_LEN }));
	tpm_qualified_child(parent, area.name, qualified);
	expect_bytes(one.qualified, ((struct writ_bytes){ qualified, TPM_NAME_LEN }));
	tpm_policy_auth_value(policy);
	expect_bytes(area.policy, ((struct writ_bytes){ policy, sizeof(policy) }));

	check_item(&said.item[2], &attester, &one);
	assert_int_equal(one.pcrs, 0xffff);
	writ_sha256(attest_about(&said.item[2]), digest);
	expect_bytes(one.pcr_digest, ((struct writ_bytes){ digest, sizeof(digest) }));
	assert_true(one.firmware != 0);
}

static void
counters_that_were_made_are_stated_with_their_value(void **state)
{
	struct tpm_counter_area area;
	struct attestation said;
	struct attester attester;
	struct tpm_attest one;
	uint64_t value;

	(void)state;
	expect_ok(custody_attester(custody, &attester));
	expect_ok(custody_attest(custody, nonce, &key, 1, &said));
	assert_int_equal(said.n, 3); /* none was made */
	expect_ok(custody_counter_make(custody, COUNTER_SEALED, &value));
	expect_ok(custody_counter_make(custody, COUNTER_STATE, &value));
	expect_ok(custody_counter_raise(custody, COUNTER_STATE, &value));
	expect_ok(custody_attest(custody, nonce, &key, 1, &said));
	assert_int_equal(said.n, 5);
	assert_int_equal(said.item[4].what, ATTESTED_COUNTER);
	check_item(&said.item[4], &attester, &one);
	expect_ok(tpm_counter_read(attest_about(&said.item[4]), &area));
	assert_true(area.counter && area.written);
	expect_bytes(one.name, ((struct writ_bytes){ area.name, TPM_NAME_LEN }));
	assert_int_equal(one.contents.len, 8);
	assert_int_equal(writ_get64(one.contents.data), value);
}

static void
keys_sign_on_as_before(void **state)
{
	AUTO(writ_buf_done) struct writ_buf sig = WRIT_BUF(SIGNATURE_MAX);
	struct attestation said;

	(void)state;
	for (int i = 0; i < 3; i++) {
		expect_ok(custody_attest(custody, nonce, &key, 1, &said));
		expect_ok(custody_sign(key, WRIT_LIT("message"), &sig));
	}
	expect_ok(custody_health(custody));
}

/* ---- challenges ---- */

static struct writ_err *
challenge(EVP_PKEY *ek, const uint8_t *name, const struct writ_secret *secret, struct writ_secret *ret)
{
	AUTO(writ_buf_done)
	struct writ_buf object = WRIT_BUF(ATTEST_ID_OBJECT_MAX), encrypted = WRIT_BUF(ATTEST_ENCRYPTED_MAX);

	expect_ok(credential_make(ek, name, secret, &object, &encrypted));
	return custody_activate(custody, writ_view(&object), writ_view(&encrypted), ret);
}

static void
challenge_comes_back(int kind)
{
	AUTO(writ_secret_done) struct writ_secret secret = { 0 }, back = { 0 };
	struct attester attester;
	struct tpm_area ak;
	EVP_PKEY *ek;

	expect_ok(writ_secret_random(&secret, ATTEST_SECRET_LEN));
	expect_ok(custody_attester(custody, &attester));
	expect_ok(tpm_area_read((struct writ_bytes){ attester.ak, attester.ak_len }, &ak));
	ek = ek_of(&attester);
	assert_int_equal(EVP_PKEY_get_bits(ek), kind);
	expect_ok(challenge(ek, ak.name, &secret, &back));
	EVP_PKEY_free(ek);
	assert_true(
		writ_same((struct writ_bytes){ secret.data, secret.len }, (struct writ_bytes){ back.data, back.len }));
}

static void
a_challenge_to_a_p384_endorsement_key_comes_back(void **state)
{
	(void)state;
	challenge_comes_back(384);
}

/* What the maker wrote is his platform's to take away. */
static void
a_challenge_to_an_rsa_endorsement_key_comes_back(void **state)
{
	(void)state;
	tools("tpm2_nvundefine -C p 0x01c00016");
	challenge_comes_back(2048);
}

/* No maker of software TPMs certifies it: here any certificate with its public key will do. */
static void
a_challenge_to_a_p256_endorsement_key_comes_back(void **state)
{
	(void)state;
	tools("tpm2_createek -c ek.ctx -G ecc -u ek.pem -f pem && tpm2_flushcontext "
	      "-t && "
	      "openssl ecparam -name prime256v1 -genkey -noout -out own.pem && "
	      "openssl req -new -x509 -key own.pem -subj /CN=maker -out maker.pem && "
	      "openssl x509 -new -force_pubkey ek.pem -CA maker.pem -CAkey own.pem -subj /CN=ek -days 9 -out "
	      "ek.cert.pem && "
	      "openssl x509 -in ek.cert.pem -outform der -out ek.der && "
	      "tpm2_nvdefine -C o -s $(stat -c %s ek.der) -a 'ownerwrite|authwrite|authread|ownerread|no_da' "
	      "0x01c0000a && "
	      "tpm2_nvwrite -C o -i ek.der 0x01c0000a");
	challenge_comes_back(256);
}

static void
a_challenge_for_another_name_or_key_is_refused_and_locks_nothing(void **state)
{
	AUTO(writ_secret_done) struct writ_secret secret = { 0 }, back = { 0 };
	EVP_PKEY *const other = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-384");
	struct attester attester;
	struct writ_err *err;
	struct tpm_area ak;
	EVP_PKEY *ek;

	(void)state;
	expect_ok(writ_secret_random(&secret, ATTEST_SECRET_LEN));
	expect_ok(custody_attester(custody, &attester));
	expect_ok(tpm_area_read((struct writ_bytes){ attester.ak, attester.ak_len }, &ak));
	ek = ek_of(&attester);
	err = challenge(other, ak.name, &secret, &back);
	assert_non_null(err);
	assert_int_equal(err->code, WRIT_INVALID);
	writ_err_free(err);
	ak.name[TPM_NAME_LEN - 1] ^= 1;
	err = challenge(ek, ak.name, &secret, &back);
	assert_non_null(err);
	assert_int_equal(err->code, WRIT_INVALID);
	assert_non_null(
		strstr(err->cause->message, "the challenge is not for this TPM's endorsement key and attestation key"));
	writ_err_free(err);
	expect_refused(custody_activate(custody, WRIT_LIT("no object"), WRIT_LIT("no seed"), &back), WRIT_INVALID,
		       "activating a challenge's credential: the challenge is not one TPM2B_ID_OBJECT and one "
		       "TPM2B_ENCRYPTED_SECRET");
	EVP_PKEY_free(ek);
	EVP_PKEY_free(other);
	expect_ok(custody_health(custody));
	challenge_comes_back(384);
}

static void
a_closed_endorsement_hierarchy_is_told_and_locks_nothing(void **state)
{
	struct attester attester;

	(void)state;
	tools("tpm2_changeauth -c e secret");
	expect_refused(
		custody_attester(custody, &attester), WRIT_INVALID,
		"asking who attests: the TPM's endorsement hierarchy has an auth value: attestation needs it empty, as "
		"makers deliver it");
	expect_ok(custody_health(custody));
}

/* ---- tokens ---- */

static void
a_token_has_no_attester_and_says_what_it_says(void **state)
{
	struct attestation said;
	struct attester attester;
	char text[ATTEST_ABOUT_MAX + 1] = "";

	(void)state;
	expect_ok(custody_attester(custody, &attester));
	assert_int_equal(attester.ak_len + attester.ek_len, 0);
	expect_ok(custody_attest(custody, nonce, &key, 1, &said));
	assert_int_equal(said.n, 1);
	assert_int_equal(said.item[0].what, ATTESTED_CLAIM);
	assert_int_equal(said.item[0].said_len + said.item[0].signature_len, 0);
	memcpy(text, said.item[0].about, said.item[0].about_len);
	assert_non_null(strstr(text, "token.manufacturer: SoftHSM project\n"));
	assert_non_null(strstr(text, "key 1: CKA_NEVER_EXTRACTABLE true\n"));
	assert_non_null(strstr(text, "key 1: CKA_EXTRACTABLE false\n"));
}

static void
a_token_cannot_be_challenged(void **state)
{
	AUTO(writ_secret_done) struct writ_secret back = { 0 };

	(void)state;
	expect_refused(custody_activate(custody, WRIT_LIT("x"), WRIT_LIT("y"), &back), WRIT_INVALID,
		       "this device has no attestation key: there is nothing to challenge");
}

int
main(void)
{
	/* One TPM for all; its maker's certificates are taken away in the order in which they are preferred. */
	const struct CMUnitTest tpm[] = {
		cmocka_unit_test(the_attestation_key_is_restricted_and_the_same_at_every_question),
		cmocka_unit_test(key_parent_and_pcrs_are_stated),
		cmocka_unit_test(counters_that_were_made_are_stated_with_their_value),
		cmocka_unit_test(keys_sign_on_as_before),
		cmocka_unit_test(a_challenge_to_a_p384_endorsement_key_comes_back),
		cmocka_unit_test(a_challenge_for_another_name_or_key_is_refused_and_locks_nothing),
		cmocka_unit_test(a_challenge_to_an_rsa_endorsement_key_comes_back),
		cmocka_unit_test(a_challenge_to_a_p256_endorsement_key_comes_back),
		cmocka_unit_test(a_closed_endorsement_hierarchy_is_told_and_locks_nothing),
	};
	const struct CMUnitTest token[] = {
		cmocka_unit_test(a_token_has_no_attester_and_says_what_it_says),
		cmocka_unit_test(a_token_cannot_be_challenged),
	};
	int failed;

	signal(SIGPIPE, SIG_IGN);
	event_start(STDERR_FILENO, "contract", EVENT_ALARM);
	if (writ_secret_start())
		return 1;
	failed = cmocka_run_group_tests(tpm, tpm_start, end);
	return failed + cmocka_run_group_tests(token, token_start, end);
}
