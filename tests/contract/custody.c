/*
 * The custody contract: the same claims of every backend, in this process and through writ-deviced.  A new backend is
 * finished when it passes.  Devices: a software TPM on a unix socket, and a SoftHSM token, both made here.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/event.h"
#include "hsm/wire.h"
#include "tests/contract/rig.h"
#include "tests/unit/expect.h"

/* ---- how a claim speaks ---- */

/* Refused, with this code, and a message with these words in it. */
static void
assert_refused(struct writ_err *err, enum writ_code code, const char *words)
{
	char text[1024];

	assert_non_null(err);
	writ_err_text(err, text, sizeof(text));
	if (err->code != code || !strstr(text, words))
		fail_msg("refused as %s \"%s\", and not as %s with \"%s\"", writ_code_name(err->code), text,
			 writ_code_name(code), words);
	writ_err_free(err);
}

static void
assert_code(struct writ_err *err, enum writ_code code)
{
	assert_refused(err, code, "");
}

/* Somebody else's verdict: OpenSSL's own decoder and verifier, none of our code. */
static bool
openssl_verifies(struct writ_bytes spki, struct writ_bytes message, struct writ_bytes sig, const EVP_MD *md)
{
	const unsigned char *at = spki.data;
	EVP_PKEY *const pkey = d2i_PUBKEY(NULL, &at, (long)spki.len);
	EVP_MD_CTX *const ctx = EVP_MD_CTX_new();
	bool ok;

	assert_non_null(pkey);
	ok = EVP_DigestVerifyInit(ctx, NULL, md, NULL, pkey) == 1 &&
	     EVP_DigestVerify(ctx, sig.data, sig.len, message.data, message.len) == 1;
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(pkey);
	return ok;
}

struct made {
	struct writ_buf ref, spki;
	uint32_t handle;
};

#define MADE ((struct made){ .ref = WRIT_BUF(CUSTODY_REF_MAX), .spki = WRIT_BUF(SPKI_MAX) })

static void
made_done(struct made *made)
{
	writ_buf_done(&made->ref);
	writ_buf_done(&made->spki);
}

static void
make_and_load(struct rig *rig, enum key_kind kind, struct made *ret)
{
	expect_ok(rig_make(rig, kind, "contract", &ret->ref, &ret->spki));
	expect_ok(rig_load(rig, writ_view(&ret->ref), writ_view(&ret->spki), &ret->handle));
}

static void
assert_signs(struct rig *rig, const struct made *made, const EVP_MD *md)
{
	const struct writ_bytes message = WRIT_LIT("to be signed");
	AUTO(writ_buf_done) struct writ_buf sig = WRIT_BUF(SIGNATURE_MAX);

	expect_ok(rig_sign(rig, made->handle, message, &sig));
	assert_true(openssl_verifies(writ_view(&made->spki), message, writ_view(&sig), md));
	sig.data[sig.len - 1] ^= 1;
	assert_false(openssl_verifies(writ_view(&made->spki), message, writ_view(&sig), md));
}

/* A number that the counter has not passed: destroying in one claim leaves the next one its own. */
static uint64_t
lasting(struct rig *rig)
{
	uint64_t value = 0;
	struct writ_err *err = rig_counter_make(rig, COUNTER_SEALED, &value);

	writ_err_free(err); /* a device that refuses says so at the seal */
	return value + 1;
}

/* ---- the claims ---- */

static void
p256_signs(void **state)
{
	AUTO(made_done) struct made made = MADE;

	make_and_load(*state, KEY_P256, &made);
	assert_signs(*state, &made, EVP_sha256());
	rig_unload(*state, made.handle);
}

static void
p384_signs(void **state)
{
	AUTO(made_done) struct made made = MADE;

	make_and_load(*state, KEY_P384, &made);
	assert_signs(*state, &made, EVP_sha384());
	rig_unload(*state, made.handle);
}

static void
ed25519_is_refused(void **state)
{
	AUTO(made_done) struct made made = MADE;

	assert_refused(rig_make(*state, KEY_ED25519, "contract", &made.ref, &made.spki), WRIT_INVALID,
		       "a device holds P-256 and P-384 keys, not Ed25519");
	assert_code(rig_make(*state, KEY_NONE, "contract", &made.ref, &made.spki), WRIT_INVALID);
}

static void
labels_are_bounded(void **state)
{
	AUTO(made_done) struct made made = MADE;
	char label[CUSTODY_LABEL_MAX + 2];

	memset(label, 'x', sizeof(label));
	label[CUSTODY_LABEL_MAX] = '\0';
	expect_ok(rig_make(*state, KEY_P256, label, &made.ref, &made.spki));
	label[CUSTODY_LABEL_MAX] = 'x';
	label[CUSTODY_LABEL_MAX + 1] = '\0';
	assert_refused(rig_make(*state, KEY_P256, label, &made.ref, &made.spki), WRIT_INVALID, "1 to 64 bytes, not 65");
	assert_refused(rig_make(*state, KEY_P256, "", &made.ref, &made.spki), WRIT_INVALID, "1 to 64 bytes, not 0");
	assert_refused(rig_make(*state, KEY_P256, "a\nb", &made.ref, &made.spki), WRIT_INVALID, "byte 2 is 0x0a");
}

static void
keys_outlive_the_process(void **state)
{
	struct rig *const rig = *state;
	AUTO(made_done) struct made made = MADE;

	expect_ok(rig_make(rig, KEY_P256, "contract", &made.ref, &made.spki));
	rig_close(rig);
	expect_ok(rig_open(rig, &rig->here));
	expect_ok(rig_load(rig, writ_view(&made.ref), writ_view(&made.spki), &made.handle));
	assert_signs(rig, &made, EVP_sha256());
	rig_unload(rig, made.handle);
}

static void
another_pinned_key_is_locked(void **state)
{
	AUTO(made_done) struct made a = MADE, b = MADE, big = MADE;
	uint32_t handle;

	make_and_load(*state, KEY_P256, &a);
	expect_ok(rig_make(*state, KEY_P256, "contract", &b.ref, &b.spki));
	expect_ok(rig_make(*state, KEY_P384, "contract", &big.ref, &big.spki));
	assert_code(rig_load(*state, writ_view(&a.ref), writ_view(&b.spki), &handle), WRIT_LOCKED);
	assert_code(rig_load(*state, writ_view(&a.ref), writ_view(&big.spki), &handle), WRIT_LOCKED);
	assert_code(rig_load(*state, writ_view(&a.ref), WRIT_LIT("no key"), &handle), WRIT_INVALID);
	assert_signs(*state, &a, EVP_sha256()); /* that key is refused, the device is not */
	rig_unload(*state, a.handle);
}

static void
damaged_references_are_refused(void **state)
{
	AUTO(made_done) struct made made = MADE;
	AUTO(writ_buf_done) struct writ_buf big = WRIT_BUF(CUSTODY_REF_MAX + 1);
	const struct writ_bytes garbage[] = {
		WRIT_LIT("garbage"), WRIT_LIT("pkcs11:"), WRIT_LIT("pkcs11:object=contract"),
		WRIT_LIT("-----BEGIN TSS2 PRIVATE KEY-----\nAAAA\n-----END TSS2 PRIVATE KEY-----\n"), WRIT_LIT("a\0b")
	};
	uint32_t handle;
	uint8_t *p;

	expect_ok(rig_make(*state, KEY_P256, "contract", &made.ref, &made.spki));
	for (size_t i = 0; i < N_OF(garbage); i++)
		assert_code(rig_load(*state, garbage[i], writ_view(&made.spki), &handle), WRIT_INVALID);
	/* Cut off anywhere before what names the key. */
	for (size_t len = 1; len < made.ref.len / 2; len += 13)
		assert_code(rig_load(*state, (struct writ_bytes){ made.ref.data, len }, writ_view(&made.spki), &handle),
			    WRIT_INVALID);
	assert_code(rig_load(*state, (struct writ_bytes){ made.ref.data, 0 }, writ_view(&made.spki), &handle),
		    WRIT_INVALID);
	expect_ok(writ_buf_grow(&big, CUSTODY_REF_MAX + 1, &p));
	memset(p, 'x', CUSTODY_REF_MAX + 1);
	assert_code(rig_load(*state, writ_view(&big), writ_view(&made.spki), &handle), WRIT_INVALID);
	expect_ok(rig_load(*state, writ_view(&made.ref), writ_view(&made.spki), &handle));
	rig_unload(*state, handle);
}

static void
a_key_of_another_device_is_locked(void **state)
{
	struct rig *const rig = *state;
	AUTO(made_done) struct made made = MADE;

	expect_ok(rig_make(rig, KEY_P256, "contract", &made.ref, &made.spki));
	rig_close(rig);
	expect_ok(rig_open(rig, &rig->other));
	assert_code(rig_load(rig, writ_view(&made.ref), writ_view(&made.spki), &made.handle), WRIT_LOCKED);
	expect_ok(rig_health(rig));
}

/* As a CRL of some thousand entries: too long for a frame of the wire, and just too long. */
static void
long_messages_are_signed_whole(void **state)
{
	static const struct {
		enum key_kind kind;
		size_t len;
	} cases[] = { { KEY_P256, DEVICE_INLINE_MAX },
		      { KEY_P256, DEVICE_INLINE_MAX + 1 },
		      { KEY_P256, 300000 },
		      { KEY_P384, 300000 } };
	static uint8_t message[300000];

	for (size_t i = 0; i < sizeof(message); i++)
		message[i] = (uint8_t)(i * 7 + i / 251);
	for (size_t i = 0; i < N_OF(cases); i++) {
		const EVP_MD *const md = cases[i].kind == KEY_P256 ? EVP_sha256() : EVP_sha384();
		const struct writ_bytes whole = { message, cases[i].len };
		AUTO(writ_buf_done) struct writ_buf sig = WRIT_BUF(SIGNATURE_MAX);
		AUTO(made_done) struct made made = MADE;

		make_and_load(*state, cases[i].kind, &made);
		expect_ok(rig_sign(*state, made.handle, whole, &sig));
		assert_true(openssl_verifies(writ_view(&made.spki), whole, writ_view(&sig), md));
		message[cases[i].len - 1] ^= 1; /* its last byte counts */
		assert_false(openssl_verifies(writ_view(&made.spki), whole, writ_view(&sig), md));
		message[cases[i].len - 1] ^= 1;
		rig_unload(*state, made.handle);
	}
}

static void
messages_are_bounded(void **state)
{
	static uint8_t message[CUSTODY_MESSAGE_MAX + 1];
	AUTO(writ_buf_done) struct writ_buf sig = WRIT_BUF(SIGNATURE_MAX);
	AUTO(made_done) struct made made = MADE;

	make_and_load(*state, KEY_P256, &made);
	expect_ok(rig_sign(*state, made.handle, (struct writ_bytes){ message, CUSTODY_MESSAGE_MAX }, &sig));
	assert_true(openssl_verifies(writ_view(&made.spki), (struct writ_bytes){ message, CUSTODY_MESSAGE_MAX },
				     writ_view(&sig), EVP_sha256()));
	assert_refused(rig_sign(*state, made.handle, (struct writ_bytes){ message, CUSTODY_MESSAGE_MAX + 1 }, &sig),
		       WRIT_INVALID, "a message to sign has 1 to 67108864 bytes, not 67108865");
	assert_refused(rig_sign(*state, made.handle, (struct writ_bytes){ message, 0 }, &sig), WRIT_INVALID,
		       "a message to sign has 1 to 67108864 bytes, not 0");
	rig_unload(*state, made.handle);
}

static void
many_keys_take_turns(void **state)
{
	struct made made[6];

	for (size_t i = 0; i < N_OF(made); i++) {
		made[i] = MADE;
		make_and_load(*state, i % 2 ? KEY_P384 : KEY_P256, &made[i]);
	}
	for (size_t round = 0; round < 2; round++)
		for (size_t i = 0; i < N_OF(made); i++)
			assert_signs(*state, &made[i], i % 2 ? EVP_sha384() : EVP_sha256());
	for (size_t i = 0; i < N_OF(made); i++) {
		rig_unload(*state, made[i].handle);
		made_done(&made[i]);
	}
}

static void
a_secret_comes_back(void **state)
{
	struct rig *const rig = *state;
	AUTO(writ_secret_done) struct writ_secret secret = { 0 }, again = { 0 };
	AUTO(writ_buf_done) struct writ_buf blob = WRIT_BUF(CUSTODY_BLOB_MAX), second = WRIT_BUF(CUSTODY_BLOB_MAX);

	expect_ok(writ_secret_random(&secret, CUSTODY_SECRET_LEN));
	expect_ok(rig_seal(rig, lasting(rig), &secret, &blob));
	assert_null(memmem(blob.data, blob.len, secret.data, secret.len));
	expect_ok(rig_seal(rig, lasting(rig), &secret, &second));
	assert_false(writ_equal(writ_view(&blob), writ_view(&second)));
	rig_close(rig);
	expect_ok(rig_open(rig, &rig->here));
	expect_ok(rig_unseal(rig, writ_view(&blob), &again));
	assert_int_equal(again.len, CUSTODY_SECRET_LEN);
	assert_memory_equal(again.data, secret.data, CUSTODY_SECRET_LEN);
}

static void
a_secret_has_32_bytes(void **state)
{
	AUTO(writ_buf_done) struct writ_buf blob = WRIT_BUF(CUSTODY_BLOB_MAX);
	AUTO(writ_secret_done) struct writ_secret secret = { 0 };

	expect_ok(writ_secret_random(&secret, CUSTODY_SECRET_LEN - 1));
	assert_refused(rig_seal(*state, lasting(*state), &secret, &blob), WRIT_INVALID, "seals 32 bytes, not 31");
	expect_ok(writ_secret_random(&secret, CUSTODY_SECRET_LEN + 1));
	assert_refused(rig_seal(*state, lasting(*state), &secret, &blob), WRIT_INVALID, "seals 32 bytes, not 33");
}

static void
a_flipped_bit_is_refused(void **state)
{
	AUTO(writ_secret_done) struct writ_secret secret = { 0 }, again = { 0 };
	AUTO(writ_buf_done) struct writ_buf blob = WRIT_BUF(CUSTODY_BLOB_MAX);
	struct rig *const rig = *state;

	expect_ok(writ_secret_random(&secret, CUSTODY_SECRET_LEN));
	expect_ok(rig_seal(rig, lasting(rig), &secret, &blob));
	for (size_t i = 0; i<blob.len; i += blob.len> 200 ? 5 : 1) {
		struct writ_err *err;

		blob.data[i] ^= 1;
		err = rig_unseal(rig, writ_view(&blob), &again);
		if (!err)
			fail_msg("byte %zu of %zu flipped, and unsealed all the same", i, blob.len);
		assert_true(err->code == WRIT_INVALID || err->code == WRIT_LOCKED || err->code == WRIT_NOT_FOUND);
		writ_err_free(err);
		assert_int_equal(again.len, 0);
		blob.data[i] ^= 1;
	}
	assert_code(rig_unseal(rig, (struct writ_bytes){ blob.data, blob.len - 1 }, &again), WRIT_INVALID);
	assert_code(rig_unseal(rig, WRIT_LIT("garbage"), &again), WRIT_INVALID);
	expect_ok(rig_unseal(rig, writ_view(&blob), &again));
}

static void
a_blob_of_another_device_is_refused(void **state)
{
	AUTO(writ_secret_done) struct writ_secret secret = { 0 }, again = { 0 };
	AUTO(writ_buf_done) struct writ_buf blob = WRIT_BUF(CUSTODY_BLOB_MAX);
	struct rig *const rig = *state;

	expect_ok(writ_secret_random(&secret, CUSTODY_SECRET_LEN));
	expect_ok(rig_seal(rig, lasting(rig), &secret, &blob));
	rig_close(rig);
	expect_ok(rig_open(rig, &rig->other));
	assert_code(rig_unseal(rig, writ_view(&blob), &again), WRIT_LOCKED);
	assert_int_equal(again.len, 0);
}

static void
a_key_is_no_blob_and_a_blob_no_key(void **state)
{
	AUTO(writ_secret_done) struct writ_secret secret = { 0 };
	AUTO(writ_buf_done) struct writ_buf blob = WRIT_BUF(CUSTODY_BLOB_MAX);
	AUTO(made_done) struct made made = MADE;

	expect_ok(writ_secret_random(&secret, CUSTODY_SECRET_LEN));
	expect_ok(rig_seal(*state, lasting(*state), &secret, &blob));
	expect_ok(rig_make(*state, KEY_P256, "contract", &made.ref, &made.spki));
	assert_code(rig_load(*state, writ_view(&blob), writ_view(&made.spki), &made.handle), WRIT_INVALID);
	assert_code(rig_unseal(*state, writ_view(&made.ref), &secret), WRIT_INVALID);
}

/* ---- counters, and destroying ---- */

static void
a_counter_grows_by_one_and_lasts(void **state)
{
	struct rig *const rig = *state;
	uint64_t first = 0, value = 0;

	for (int which = COUNTER_SEALED; which <= COUNTER_STATE; which++) {
		expect_ok(rig_counter_make(rig, (enum custody_counter)which, &first));
		assert_true(first >= 1);
		expect_ok(rig_counter_make(rig, (enum custody_counter)which, &value)); /* made once */
		assert_int_equal(value, first);
		expect_ok(rig_counter_raise(rig, (enum custody_counter)which, &value));
		assert_int_equal(value, first + 1);
		expect_ok(rig_counter_read(rig, (enum custody_counter)which, &value));
		assert_int_equal(value, first + 1);
	}
	rig_close(rig);
	machine_away(&rig->here);
	machine_back(&rig->here);
	expect_ok(rig_open(rig, &rig->here));
	expect_ok(rig_counter_read(rig, COUNTER_STATE, &first));
	assert_int_equal(first, value);
}

static void
counters_are_three_and_do_not_touch_each_other(void **state)
{
	uint64_t sealed = 0, state_value = 0, value = 0;

	expect_ok(rig_counter_make(*state, COUNTER_SEALED, &sealed));
	expect_ok(rig_counter_make(*state, COUNTER_STATE, &state_value));
	expect_ok(rig_counter_raise(*state, COUNTER_STATE, &value));
	expect_ok(rig_counter_read(*state, COUNTER_SEALED, &value));
	assert_int_equal(value, sealed);
}

static void
a_counter_that_was_never_made_is_not_found(void **state)
{
	struct rig *const rig = *state;
	uint64_t value;

	rig_close(rig);
	expect_ok(rig_open(rig, &rig->other));
	assert_refused(rig_counter_read(rig, COUNTER_APPROVAL, &value), WRIT_NOT_FOUND, "never made here");
	assert_refused(rig_counter_raise(rig, COUNTER_APPROVAL, &value), WRIT_NOT_FOUND,
		       "the device's counter 'approval'");
	expect_ok(rig_health(rig));
}

static void
what_is_destroyed_never_unseals_and_later_numbers_do(void **state)
{
	AUTO(writ_buf_done)
	struct writ_buf old = WRIT_BUF(CUSTODY_BLOB_MAX), now = WRIT_BUF(CUSTODY_BLOB_MAX),
			next = WRIT_BUF(CUSTODY_BLOB_MAX);
	AUTO(writ_secret_done) struct writ_secret secret = { 0 }, again = { 0 };
	struct rig *const rig = *state;
	const uint64_t n = lasting(rig);

	expect_ok(writ_secret_random(&secret, CUSTODY_SECRET_LEN));
	expect_ok(rig_seal(rig, n, &secret, &old));
	expect_ok(rig_seal(rig, n + 1, &secret, &now));
	expect_ok(rig_seal(rig, n + 2, &secret, &next));
	expect_ok(rig_unseal(rig, writ_view(&old), &again));
	expect_ok(rig_destroy(rig, n + 1));
	writ_secret_done(&again);
	assert_refused(rig_unseal(rig, writ_view(&old), &again), WRIT_NOT_FOUND,
		       "it is destroyed: the device's counter");
	assert_refused(rig_unseal(rig, writ_view(&now), &again), WRIT_NOT_FOUND, "it is destroyed");
	assert_int_equal(again.len, 0);
	expect_ok(rig_destroy(rig, n + 1)); /* again: as after a crash in the middle */
	expect_ok(rig_destroy(rig, n));
	expect_ok(rig_unseal(rig, writ_view(&next), &again));
	assert_memory_equal(again.data, secret.data, CUSTODY_SECRET_LEN);

	rig_close(rig); /* and in another process */
	machine_away(&rig->here);
	machine_back(&rig->here);
	expect_ok(rig_open(rig, &rig->here));
	assert_code(rig_unseal(rig, writ_view(&old), &again), WRIT_NOT_FOUND);
	expect_ok(rig_unseal(rig, writ_view(&next), &again));
}

static void
a_number_behind_or_too_far_ahead_is_refused(void **state)
{
	AUTO(writ_buf_done) struct writ_buf blob = WRIT_BUF(CUSTODY_BLOB_MAX);
	AUTO(writ_secret_done) struct writ_secret secret = { 0 };
	uint64_t value = 0;

	expect_ok(writ_secret_random(&secret, CUSTODY_SECRET_LEN));
	expect_ok(rig_counter_make(*state, COUNTER_SEALED, &value));
	expect_ok(rig_counter_raise(*state, COUNTER_SEALED, &value));
	assert_refused(rig_seal(*state, value - 1, &secret, &blob), WRIT_INVALID, "is below the device's counter");
	assert_refused(rig_seal(*state, 0, &secret, &blob), WRIT_INVALID, "number 0 is below the device's counter");
	assert_refused(rig_seal(*state, value + CUSTODY_AHEAD_MAX + 1, &secret, &blob), WRIT_INVALID,
		       "is more than 1024 ahead of the device's counter");
	assert_refused(rig_destroy(*state, value + CUSTODY_AHEAD_MAX + 1), WRIT_INVALID,
		       "is more than 1024 ahead of the device's counter");
	assert_refused(rig_destroy(*state, UINT64_MAX), WRIT_INVALID, "is more than 1024 ahead");
	assert_int_equal(blob.len, 0);
	expect_ok(rig_seal(*state, value + CUSTODY_AHEAD_MAX, &secret, &blob));
}

static void
software_is_seen(void **state)
{
	struct custody_info info = { 0 };

	expect_ok(rig_info(*state, &info));
	assert_true(info.software);
	assert_true(info.can_seal);
	assert_string_equal(info.maker, ((struct rig *)*state)->tpm ? "IBM" : "SoftHSM project");
	assert_true(strlen(info.model) > 0);
	assert_int_equal(strlen(info.serial), 16);
	assert_true(strlen(info.firmware) > 0);
}

static void
away_is_unavailable_and_back_is_healed(void **state)
{
	AUTO(writ_buf_done) struct writ_buf sig = WRIT_BUF(SIGNATURE_MAX);
	struct rig *const rig = *state;
	AUTO(made_done) struct made made = MADE;

	make_and_load(rig, KEY_P256, &made);
	machine_away(&rig->here);
	assert_code(rig_sign(rig, made.handle, WRIT_LIT("m"), &sig), WRIT_UNAVAILABLE);
	assert_code(rig_sign(rig, made.handle, WRIT_LIT("m"), &sig), WRIT_UNAVAILABLE);
	assert_code(rig_health(rig), WRIT_UNAVAILABLE);
	machine_back(&rig->here);
	expect_ok(rig_health(rig));
	assert_signs(rig, &made, EVP_sha256());
	rig_unload(rig, made.handle);
}

/* Restarted between two requests: nobody noticed that it was away, but all that it had loaded is gone. */
static void
a_restart_costs_one_request_at_most(void **state)
{
	AUTO(writ_secret_done) struct writ_secret secret = { 0 }, again = { 0 };
	AUTO(writ_buf_done) struct writ_buf blob = WRIT_BUF(CUSTODY_BLOB_MAX), sig = WRIT_BUF(SIGNATURE_MAX);
	struct rig *const rig = *state;
	const uint64_t number = lasting(rig);
	AUTO(made_done) struct made made = MADE;

	expect_ok(writ_secret_random(&secret, CUSTODY_SECRET_LEN));
	expect_ok(rig_seal(rig, number, &secret, &blob));
	make_and_load(rig, KEY_P256, &made);
	for (int i = 0; i < 4; i++) {
		struct writ_err *err = NULL;

		machine_away(&rig->here);
		machine_back(&rig->here);
		if (i == 0)
			err = rig_sign(rig, made.handle, WRIT_LIT("m"), &sig);
		else if (i == 1)
			err = rig_unseal(rig, writ_view(&blob), &again);
		else if (i == 2)
			err = rig_seal(rig, number, &secret, &sig);
		else
			expect_ok(rig_health(rig)); /* asked in between, it heals at once */
		if (err)
			assert_code(err, WRIT_UNAVAILABLE);
		assert_signs(rig, &made, EVP_sha256());
		writ_secret_done(&again);
		expect_ok(rig_unseal(rig, writ_view(&blob), &again));
	}
	rig_unload(rig, made.handle);
}

static void
a_wrong_secret_is_tried_once(void **state)
{
	AUTO(writ_secret_done) struct writ_secret secret = { 0 };
	AUTO(writ_buf_done) struct writ_buf blob = WRIT_BUF(CUSTODY_BLOB_MAX);
	struct rig *const rig = *state;
	AUTO(made_done) struct made made = MADE;
	struct writ_err *err;

	expect_ok(rig_make(rig, KEY_P256, "contract", &made.ref, &made.spki));
	rig_close(rig);

	/* A TPM asks at the first use of a key, a token at once. */
	rig->secret = rig->tpm ? "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" : "7654321";
	err = rig_open(rig, &rig->here);
	if (rig->tpm) {
		expect_ok(err);
		err = rig_load(rig, writ_view(&made.ref), writ_view(&made.spki), &made.handle);
	}
	assert_refused(err, WRIT_LOCKED, rig->tpm ? "TPM2_Sign" : "CKR_PIN_INCORRECT");

	/* From now on nothing is asked of the device: it may even be away. */
	machine_away(&rig->here);
	if (rig->tpm || rig->wire) {
		expect_ok(writ_secret_random(&secret, CUSTODY_SECRET_LEN));
		assert_code(rig_load(rig, writ_view(&made.ref), writ_view(&made.spki), &made.handle), WRIT_LOCKED);
		assert_code(rig_seal(rig, lasting(rig), &secret, &blob), WRIT_LOCKED);
		assert_code(rig_health(rig), WRIT_LOCKED);
	}
	machine_back(&rig->here);
	rig_close(rig);

	rig->secret = NULL;
	expect_ok(rig_open(rig, &rig->here));
	expect_ok(rig_load(rig, writ_view(&made.ref), writ_view(&made.spki), &made.handle));
	rig_unload(rig, made.handle);
}

/* ---- running them ---- */

static const struct claim {
	const char *sentence;
	void (*test)(void **);
} claims[] = {
	{ "a P-256 key signs a message, and OpenSSL verifies it", p256_signs },
	{ "a P-384 key signs a message, and OpenSSL verifies it", p384_signs },
	{ "an Ed25519 key, or none, is refused by name", ed25519_is_refused },
	{ "a label has 1 to 64 printable bytes", labels_are_bounded },
	{ "a key's reference loads it again in another process", keys_outlive_the_process },
	{ "a key loads as its pinned public key only", another_pinned_key_is_locked },
	{ "garbage, cut and oversized references are refused", damaged_references_are_refused },
	{ "a key of another device is refused as LOCKED", a_key_of_another_device_is_locked },
	{ "a message longer than a frame is signed whole, and OpenSSL verifies it", long_messages_are_signed_whole },
	{ "a message has 1 byte to 64 MiB", messages_are_bounded },
	{ "more keys than a TPM has slots take turns", many_keys_take_turns },
	{ "a sealed secret comes back, in another process too", a_secret_comes_back },
	{ "31 and 33 bytes are not sealed", a_secret_has_32_bytes },
	{ "a blob with a flipped bit, or cut, is refused", a_flipped_bit_is_refused },
	{ "a blob of another device is refused as LOCKED", a_blob_of_another_device_is_refused },
	{ "a key is no blob, and a blob no key", a_key_is_no_blob_and_a_blob_no_key },
	{ "a counter grows by one, and lasts", a_counter_grows_by_one_and_lasts },
	{ "the counters are three, and do not touch each other", counters_are_three_and_do_not_touch_each_other },
	{ "a counter that was never made is NOT_FOUND", a_counter_that_was_never_made_is_not_found },
	{ "what is destroyed never unseals, and later numbers do",
	  what_is_destroyed_never_unseals_and_later_numbers_do },
	{ "a number behind the counter, or over 1024 ahead of it, is refused",
	  a_number_behind_or_too_far_ahead_is_refused },
	{ "a software device is seen to be one", software_is_seen },
	{ "a device that is away is UNAVAILABLE, and works again when it is back",
	  away_is_unavailable_and_back_is_healed },
	{ "a device that was restarted costs one request at most", a_restart_costs_one_request_at_most },
	{ "a wrong auth value or PIN is LOCKED after one attempt", a_wrong_secret_is_tried_once },
};

static int
claim_start(void **state)
{
	struct rig *const rig = *state;

	rig->secret = NULL;
	expect_ok(rig_open(rig, &rig->here));
	return 0;
}

static int
claim_end(void **state)
{
	rig_close(*state);
	return 0;
}

/* All claims of one backend, reached in one way.  `only`: sentences that contain it. */
static int
claims_run(struct rig *rig, const char *only)
{
	static char names[N_OF(claims)][160];
	struct CMUnitTest tests[N_OF(claims)];
	size_t n = 0;
	int failed;

	for (size_t i = 0; i < N_OF(claims); i++) {
		snprintf(names[i], sizeof(names[i]), "%s: %s", rig->name, claims[i].sentence);
		if (only && !strstr(names[i], only))
			continue;
		tests[n++] = (struct CMUnitTest){ names[i], claims[i].test, claim_start, claim_end, rig };
	}
	machine_make(&rig->here, rig->tpm);
	machine_make(&rig->other, rig->tpm);
	failed = _cmocka_run_group_tests(rig->name, tests, n, NULL, NULL);
	machine_done(&rig->here, failed > 0);
	machine_done(&rig->other, failed > 0);
	return failed;
}

int
main(int argc, char **argv)
{
	struct rig rigs[] = {
		{ .name = "tpm2", .tpm = true },
		{ .name = "pkcs11" },
		{ .name = "tpm2 in writ-deviced", .tpm = true, .wire = true },
		{ .name = "pkcs11 in writ-deviced", .wire = true },
	};
	int failed = 0;

	signal(SIGPIPE, SIG_IGN);
	event_start(STDERR_FILENO, "contract", EVENT_ALARM);
	if (writ_secret_start())
		return 1;
	for (size_t i = 0; i < N_OF(rigs); i++)
		failed += claims_run(&rigs[i], argc > 1 ? argv[1] : NULL);
	return failed > 0;
}
