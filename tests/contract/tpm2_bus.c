/*
 * What somebody on the TPM's bus sees, and what he can do: a relay stands between us and the TPM, keeps every byte that
 * passes, and changes what it is told to.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <tss2/tss2_esys.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/event.h"
#include "base/text.h"
#include "tests/contract/approver.h"
#include "tests/contract/rig.h"
#include "tests/unit/expect.h"

#define SEEN_MAX (1024 * 1024)
#define CC_SIGN 0x15d
#define CC_LOAD 0x157
#define CC_CREATE 0x153
#define CC_UNSEAL 0x15e
#define CC_READ_PUBLIC 0x173
#define CC_START_SESSION 0x176
#define CC_NV_INCREMENT 0x134
#define CC_NV_READ 0x14e
#define CC_NV_READ_PUBLIC 0x169
#define CC_POLICY_NV 0x149

enum attack { ATTACK_NONE, FLIP_COMMAND, FLIP_ANSWER, CUT_ANSWER, NO_ANSWER, EXTEND_PCR };

static struct {
	struct machine machine;
	char path[RIG_PATH_MAX];
	int listener;
	pthread_t thread;
	atomic_int attack;
	atomic_uint command;	/* the one that is attacked */
	atomic_uint from_end;	/* which byte of it, counted from its end */
	atomic_uint pcr, times; /* EXTEND_PCR: which, and before how many of these commands */
	atomic_uint n_attacked; /* commands of the attacked kind, since attack() */
	atomic_uint n_sessions; /* started */
	uint8_t seen[SEEN_MAX];
	size_t n_seen;
} bus;

static struct custody *custody;
static struct writ_buf ref = { .limit = CUSTODY_REF_MAX }, spki = { .limit = SPKI_MAX };
static struct custody_conf conf;
static struct approver approver;

/* ---- the relay ---- */

static void
keep(const uint8_t *data, size_t len)
{
	if (len > SEEN_MAX - bus.n_seen)
		len = SEEN_MAX - bus.n_seen;
	memcpy(bus.seen + bus.n_seen, data, len);
	bus.n_seen += len;
}

static bool
seen(const void *data, size_t len)
{
	return memmem(bus.seen, bus.n_seen, data, len) != NULL;
}

static int
socket_at(const char *path, bool listens)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int rc;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (listens)
		rc = bind(sock, (struct sockaddr *)&address, sizeof(address)) || listen(sock, 8);
	else
		rc = connect(sock, (struct sockaddr *)&address, sizeof(address));
	if (rc == 0)
		return sock;
	close(sock);
	return -1;
}

/* TPM2_PCR_Extend by whoever is on the host: needs no secret. */
static bool
extend_pcr(int tpm, unsigned pcr)
{
	uint8_t command[65] = { 0x80, 0x02, 0, 0, 0, 65, 0, 0, 0x01, 0x82 }, answer[64];

	command[13] = (uint8_t)pcr;
	command[17] = 9; /* an empty password */
	command[18] = 0x40;
	command[21] = 9;
	command[30] = 1; /* one digest, */
	command[32] = 0x0b;
	command[33] = 1; /* and it is not zero */
	return send(tpm, command, sizeof(command), MSG_NOSIGNAL) == (ssize_t)sizeof(command) &&
	       recv(tpm, answer, sizeof(answer), 0) >= 10 && writ_get32(answer + 6) == 0;
}

/* One command and its answer; false when either side is done.  The library sends a command in one piece. */
static bool
relay_one(int client, int tpm)
{
	static uint8_t buf[8192];
	unsigned command;
	bool attacked;
	ssize_t n;

	n = recv(client, buf, sizeof(buf), 0);
	if (n < 10)
		return false;
	keep(buf, (size_t)n);
	command = writ_get32(buf + 6);
	bus.n_sessions += command == CC_START_SESSION;
	attacked = command == bus.command;
	bus.n_attacked += attacked;
	if (attacked && bus.attack == EXTEND_PCR && bus.times > 0) {
		bus.times--;
		if (!extend_pcr(tpm, bus.pcr))
			return false;
	}
	if (attacked && bus.attack == FLIP_COMMAND && bus.from_end <= (size_t)n)
		buf[(size_t)n - bus.from_end] ^= 1;
	if (send(tpm, buf, (size_t)n, MSG_NOSIGNAL) != n)
		return false;
	n = recv(tpm, buf, sizeof(buf), 0);
	if (n < 10)
		return false;
	keep(buf, (size_t)n);
	if (attacked && bus.attack == NO_ANSWER)
		return false;
	if (attacked && bus.attack == FLIP_ANSWER && bus.from_end <= (size_t)n) /* an error's answer may be shorter */
		buf[(size_t)n - bus.from_end] ^= 1;
	if (attacked && bus.attack == CUT_ANSWER)
		n -= bus.from_end;
	if (send(client, buf, (size_t)n, MSG_NOSIGNAL) != n)
		return false;
	return !(attacked && bus.attack == CUT_ANSWER);
}

static void *
relay(void *unused)
{
	char path[RIG_PATH_MAX + 8];
	int client;

	(void)unused;
	snprintf(path, sizeof(path), "%s/tpm", bus.machine.dir);
	while ((client = accept(bus.listener, NULL, NULL)) >= 0) {
		const int tpm = socket_at(path, false);

		while (tpm >= 0 && relay_one(client, tpm))
			;
		close(client);
		if (tpm >= 0)
			close(tpm);
	}
	return NULL;
}

static void
approve_now(void)
{
	AUTO(writ_buf_done) struct writ_buf report = WRIT_BUF(CUSTODY_REPORT_MAX);

	expect_ok(custody_pcrs(custody, &report));
	approver_agree(&approver, "now.approval", writ_view(&report));
	for (int i = 0; i < 100 && custody->latched; i++) { /* half a second, and it looks again */
		nanosleep(&(struct timespec){ .tv_nsec = 50 * 1000 * 1000 }, NULL);
		writ_err_free(custody_health(custody));
	}
}

static void
start(bool bound)
{
	AUTO(writ_secret_done) struct writ_secret auth = { 0 };
	static char tcti[RIG_PATH_MAX + 16];
	uint8_t value[32];

	machine_make(&bus.machine, true);
	snprintf(bus.path, sizeof(bus.path), "%s/bus", bus.machine.dir);
	run("ln -s tpm.ctrl %s.ctrl", bus.path);
	bus.attack = ATTACK_NONE;
	bus.n_seen = 0;
	bus.n_sessions = 0;
	bus.listener = socket_at(bus.path, true);
	assert_true(bus.listener >= 0);
	assert_int_equal(pthread_create(&bus.thread, NULL, relay, NULL), 0);
	snprintf(tcti, sizeof(tcti), "swtpm:path=%s", bus.path);
	conf = (struct custody_conf){ .tcti = tcti, .allow_software_tpm = true };
	if (bound) {
		approver_make(&approver, bus.machine.dir);
		approver_bind(&approver, &conf);
	}
	assert_true(writ_unhex(writ_str(rig_auth), value, sizeof(value)));
	expect_ok(writ_secret_set(&auth, (struct writ_bytes){ value, sizeof(value) }));
	expect_ok(custody_open("tpm2", &conf, &auth, &custody));
	if (bound)
		approve_now();
	expect_ok(custody_make_key(custody, KEY_P256, "bus", &ref, &spki));
}

static int
claim_start(void **state)
{
	(void)state;
	start(false);
	return 0;
}

static int
claim_start_bound(void **state)
{
	(void)state;
	start(true);
	return 0;
}

static int
claim_end(void **state)
{
	(void)state;
	custody_close(TAKE(custody));
	approver_done(&approver);
	writ_buf_done(&ref);
	writ_buf_done(&spki);
	shutdown(bus.listener, SHUT_RDWR);
	pthread_join(bus.thread, NULL);
	close(bus.listener);
	machine_done(&bus.machine, false);
	return 0;
}

static struct writ_err *
signs(struct key *key)
{
	AUTO(writ_buf_done) struct writ_buf sig = WRIT_BUF(SIGNATURE_MAX);
	struct writ_err *err;

	err = custody_sign(key, WRIT_LIT("what is signed"), &sig);
	assert_int_equal(sig.len > 0, err == NULL);
	return err;
}

static void
attack(enum attack how, unsigned command, unsigned from_end)
{
	bus.command = command;
	bus.from_end = from_end;
	bus.n_attacked = 0;
	bus.attack = how;
}

/* ---- the claims ---- */

static void
no_secret_crosses_the_bus(void **state)
{
	AUTO(writ_secret_done) struct writ_secret secret = { 0 }, again = { 0 };
	AUTO(writ_buf_done) struct writ_buf blob = WRIT_BUF(CUSTODY_BLOB_MAX);
	uint8_t auth[32], digest[SHA256_LEN];
	struct key *key;

	(void)state;
	expect_ok(custody_load(custody, writ_view(&ref), writ_view(&spki), &key));
	expect_ok(signs(key));
	expect_ok(writ_secret_random(&secret, CUSTODY_SECRET_LEN));
	expect_ok(custody_seal(custody, 1000, &secret, &blob));
	expect_ok(custody_unseal(custody, writ_view(&blob), &again));
	expect_ok(custody_destroy(custody, 3));
	assert_memory_equal(again.data, secret.data, CUSTODY_SECRET_LEN);
	custody_unload(key);

	assert_true(bus.n_seen > 1000 && bus.n_seen < SEEN_MAX);
	assert_true(seen(spki.data + spki.len - 32, 32)); /* the public key does: the relay sees what passes */
	assert_true(writ_unhex(writ_str(rig_auth), auth, sizeof(auth)));
	assert_false(seen(auth, sizeof(auth)));
	assert_false(seen(secret.data, secret.len));
	writ_sha256(WRIT_LIT("what is signed"), digest);
	assert_false(seen(digest, sizeof(digest)));
}

static void
a_changed_command_or_answer_is_noticed_and_latches(void **state)
{
	static const struct {
		enum attack how;
		unsigned from_end;
		const char *words;
	} cases[] = {
		{ FLIP_COMMAND, 20, "TPM2_Sign" }, /* the ticket, after the digest: what the HMAC covers */
		{ FLIP_ANSWER, 40, "TPM2_Sign" },  /* the session's answer */
		{ FLIP_ANSWER, 80, "TPM2_Sign" },  /* the signature's s */
	};

	for (size_t i = 0; i < N_OF(cases); i++) {
		struct writ_err *err;
		char text[1000];
		struct key *key;

		expect_ok(custody_load(custody, writ_view(&ref), writ_view(&spki), &key));
		attack(cases[i].how, CC_SIGN, cases[i].from_end);
		err = signs(key);
		assert_non_null(err);
		writ_err_text(err, text, sizeof(text));
		if (err->code != WRIT_LOCKED || !strstr(text, cases[i].words))
			fail_msg("case %zu: %s %s", i, writ_code_name(err->code), text);
		writ_err_free(err);
		attack(ATTACK_NONE, 0, 0);
		err = signs(key);
		assert_true(err && err->code == WRIT_LOCKED);
		writ_err_free(err);
		custody_unload(key);
		claim_end(state);
		claim_start(state);
	}
}

/* Somebody who got past the session - inside the TPM, or in the library - has another digest signed, and well. */
static bool digest_swapped;

TSS2_RC __real_Esys_Sign(ESYS_CONTEXT *, ESYS_TR, ESYS_TR, ESYS_TR, ESYS_TR, const TPM2B_DIGEST *,
			 const TPMT_SIG_SCHEME *, const TPMT_TK_HASHCHECK *, TPMT_SIGNATURE **);
TSS2_RC __wrap_Esys_Sign(ESYS_CONTEXT *, ESYS_TR, ESYS_TR, ESYS_TR, ESYS_TR, const TPM2B_DIGEST *,
			 const TPMT_SIG_SCHEME *, const TPMT_TK_HASHCHECK *, TPMT_SIGNATURE **);

TSS2_RC
__wrap_Esys_Sign(ESYS_CONTEXT *ctx, ESYS_TR key, ESYS_TR s1, ESYS_TR s2, ESYS_TR s3, const TPM2B_DIGEST *digest,
		 const TPMT_SIG_SCHEME *scheme, const TPMT_TK_HASHCHECK *ticket, TPMT_SIGNATURE **ret)
{
	TPM2B_DIGEST other = *digest;

	other.buffer[0] ^= digest_swapped ? 1 : 0;
	return __real_Esys_Sign(ctx, key, s1, s2, s3, &other, scheme, ticket, ret);
}

static void
a_signature_over_a_swapped_digest_is_caught_by_verifying_it(void **state)
{
	struct key *key;

	(void)state;
	expect_ok(custody_load(custody, writ_view(&ref), writ_view(&spki), &key));
	digest_swapped = true;
	expect_refused(signs(key), WRIT_LOCKED,
		       "the device signed, but not this message with the pinned key: the signature is not this P-256 "
		       "key's over these bytes");
	digest_swapped = false;
	custody_unload(key);
}

static void
a_lost_or_cut_answer_costs_that_request_only(void **state)
{
	static const struct {
		enum attack how;
		unsigned from_end;
	} cases[] = { { NO_ANSWER, 0 }, { CUT_ANSWER, 1 }, { CUT_ANSWER, 30 }, { CUT_ANSWER, 100 } };
	struct key *key;

	(void)state;
	expect_ok(custody_load(custody, writ_view(&ref), writ_view(&spki), &key));
	for (size_t i = 0; i < N_OF(cases); i++) {
		struct writ_err *err;

		attack(cases[i].how, CC_SIGN, cases[i].from_end);
		err = signs(key);
		assert_non_null(err);
		assert_int_equal(err->code, WRIT_UNAVAILABLE);
		writ_err_free(err);
		attack(ATTACK_NONE, 0, 0);
		expect_ok(signs(key));
	}
	custody_unload(key);
}

/* Whatever he changes in whatever command: no signature that does not verify, no secret that is not ours, and no crash.
 */
static void
no_flipped_bit_gets_past_us(void **state)
{
	static const unsigned commands[] = { CC_CREATE,	     CC_LOAD,	 CC_SIGN,	    CC_UNSEAL,
					     CC_READ_PUBLIC, CC_NV_READ, CC_NV_READ_PUBLIC, CC_POLICY_NV };
	AUTO(writ_secret_done) struct writ_secret secret = { 0 };

	expect_ok(writ_secret_random(&secret, CUSTODY_SECRET_LEN));
	for (unsigned i = 0; i < 64; i++) {
		AUTO(writ_buf_done) struct writ_buf blob = WRIT_BUF(CUSTODY_BLOB_MAX), sig = WRIT_BUF(SIGNATURE_MAX);
		AUTO(writ_secret_done) struct writ_secret again = { 0 };
		struct key *key = NULL;
		struct writ_err *err;

		attack(i & 1 ? FLIP_ANSWER : FLIP_COMMAND, commands[i / 2 % N_OF(commands)], 1 + i / 16 * 13 % 60);
		err = custody_load(custody, writ_view(&ref), writ_view(&spki), &key);
		writ_err_free(err);
		if (key) {
			writ_err_free(custody_sign(key, WRIT_LIT("m"), &sig));
			if (sig.len > 0)
				expect_ok(pubkey_verify(&key->public, WRIT_LIT("m"), writ_view(&sig)));
		}
		custody_unload(key);
		writ_err_free(custody_seal(custody, 1000, &secret, &blob));
		if (blob.len > 0)
			writ_err_free(custody_unseal(custody, writ_view(&blob), &again));
		if (again.len > 0)
			assert_memory_equal(again.data, secret.data, secret.len);
		attack(ATTACK_NONE, 0, 0);
		if (custody->latched) {
			claim_end(state);
			claim_start(state);
		}
	}
}

/* Whoever changes a counter's value on its way, or swallows a raise, is found out; a value that was told is true. */
static void
a_counter_cannot_be_lied_about(void **state)
{
	static const struct {
		enum attack how;
		unsigned command, from_end;
	} cases[] = {
		{ FLIP_ANSWER, CC_NV_READ, 38 },       /* in the session's answer */
		{ FLIP_ANSWER, CC_NV_READ, 70 },       /* in the value */
		{ FLIP_COMMAND, CC_NV_READ, 1 },       /* the offset */
		{ FLIP_COMMAND, CC_NV_INCREMENT, 10 }, /* the HMAC */
		{ FLIP_ANSWER, CC_NV_READ_PUBLIC, 40 },
	};
	uint64_t before = 0, value = 0;

	for (size_t i = 0; i < N_OF(cases); i++) {
		struct writ_err *err;

		expect_ok(custody_counter_make(custody, COUNTER_STATE, &before));
		attack(cases[i].how, cases[i].command, cases[i].from_end);
		err = custody_counter_raise(custody, COUNTER_STATE, &value);
		attack(ATTACK_NONE, 0, 0);
		if (!err)
			fail_msg("case %zu went unnoticed", i);
		writ_err_free(err);
		claim_end(state);
		claim_start(state);
	}
}

/* No session a signature, and none for ever: /dev/tpmrm0 stops at a context gap of 65,535. */
static void
sessions_are_kept_and_renewed_after_10000_commands(void **state)
{
	struct key *key;

	(void)state;
	expect_ok(custody_load(custody, writ_view(&ref), writ_view(&spki), &key));
	for (int i = 0; i < 50; i++)
		expect_ok(signs(key));
	assert_int_equal(bus.n_sessions, 2);
	for (int i = 0; i < 10000; i++)
		expect_ok(custody_health(custody));
	assert_int_equal(bus.n_sessions, 4);
	expect_ok(signs(key));
	custody_unload(key);
}

/* ---- PCRs that somebody extends just then ---- */

static void
extend_before(unsigned command, unsigned pcr, unsigned times)
{
	bus.pcr = pcr;
	bus.times = times;
	attack(EXTEND_PCR, command, 0);
}

static void
pcrs_extended_between_policy_and_signature_cost_one_retry(void **state)
{
	struct key *key;

	(void)state;
	expect_ok(custody_load(custody, writ_view(&ref), writ_view(&spki), &key));
	extend_before(CC_SIGN, 10, 1); /* none that we are bound to: the TPM counts any change */
	expect_ok(signs(key));
	assert_int_equal(bus.n_attacked, 2);
	custody_unload(key);
}

static void
whoever_extends_pcrs_all_the_time_gets_no_signature_and_breaks_nothing(void **state)
{
	struct writ_err *err;
	struct key *key;

	(void)state;
	expect_ok(custody_load(custody, writ_view(&ref), writ_view(&spki), &key));
	extend_before(CC_SIGN, 10, 100);
	err = signs(key);
	assert_true(err && err->code == WRIT_UNAVAILABLE);
	writ_err_free(err);
	assert_int_equal(bus.n_attacked, 2); /* once, and once again */
	assert_false(custody->latched);
	attack(ATTACK_NONE, 0, 0);
	expect_ok(signs(key));
	custody_unload(key);
}

static void
the_pcr_itself_extended_between_policy_and_signature_locks(void **state)
{
	struct writ_err *err;
	char text[1000];
	struct key *key;

	(void)state;
	expect_ok(custody_load(custody, writ_view(&ref), writ_view(&spki), &key));
	extend_before(CC_SIGN, 11, 1);
	err = signs(key);
	assert_true(err && err->code == WRIT_LOCKED);
	writ_err_text(err, text, sizeof(text));
	assert_non_null(strstr(text, "policy: PCRs 7=00000000 11="));
	writ_err_free(err);
	assert_int_equal(bus.n_attacked, 1); /* refused by the TPM; the retry found that nothing is approved */
	assert_true(custody->latched);
	attack(ATTACK_NONE, 0, 0);
	approve_now();
	expect_ok(signs(key));
	custody_unload(key);
}

static void
unsealing_goes_through_the_same(void **state)
{
	AUTO(writ_secret_done) struct writ_secret secret = { 0 }, again = { 0 };
	AUTO(writ_buf_done) struct writ_buf blob = WRIT_BUF(CUSTODY_BLOB_MAX);
	struct writ_err *err;
	uint64_t number;

	(void)state;
	expect_ok(writ_secret_random(&secret, CUSTODY_SECRET_LEN));
	expect_ok(custody_counter_make(custody, COUNTER_SEALED, &number));
	expect_ok(custody_seal(custody, number, &secret, &blob));
	extend_before(CC_UNSEAL, 10, 1);
	expect_ok(custody_unseal(custody, writ_view(&blob), &again));
	assert_int_equal(bus.n_attacked, 2);
	extend_before(CC_UNSEAL, 10, 100);
	err = custody_unseal(custody, writ_view(&blob), &again);
	assert_true(err && err->code == WRIT_UNAVAILABLE);
	writ_err_free(err);
	assert_int_equal(bus.n_attacked, 2);
	attack(ATTACK_NONE, 0, 0);
	expect_ok(custody_unseal(custody, writ_view(&blob), &again));
	assert_memory_equal(again.data, secret.data, CUSTODY_SECRET_LEN);
}

/* Whatever he tells us of PCRs, counter and ticket: what is not approved does not sign. */
static void
a_lie_about_pcrs_or_the_ticket_opens_nothing(void **state)
{
	static const unsigned commands[] = { 0x17e, 0x177, 0x16a, 0x17f, 0x149, 0x167 };
	struct key *key;

	expect_ok(custody_load(custody, writ_view(&ref), writ_view(&spki), &key));
	custody_unload(key);
	for (unsigned i = 0; i < 2 * N_OF(commands); i++) {
		AUTO(writ_buf_done) struct writ_buf sig = WRIT_BUF(SIGNATURE_MAX);
		struct writ_err *err;

		key = NULL;
		attack(i & 1 ? FLIP_ANSWER : FLIP_COMMAND, commands[i / 2],
		       1 + i % 4); /* not the length: who cuts answers off is met above */
		err = custody_load(custody, writ_view(&ref), writ_view(&spki), &key);
		writ_err_free(err);
		if (key) {
			writ_err_free(custody_sign(key, WRIT_LIT("m"), &sig));
			if (sig.len > 0)
				expect_ok(pubkey_verify(&key->public, WRIT_LIT("m"), writ_view(&sig)));
		}
		custody_unload(key);
		attack(ATTACK_NONE, 0, 0);
		if (custody->latched) {
			claim_end(state);
			claim_start_bound(state);
		}
		expect_ok(custody_load(custody, writ_view(&ref), writ_view(&spki), &key));
		expect_ok(signs(key));
		custody_unload(key);
	}
}

#define claim(test) cmocka_unit_test_setup_teardown(test, claim_start, claim_end)
#define claim_bound(test) cmocka_unit_test_setup_teardown(test, claim_start_bound, claim_end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		claim(no_secret_crosses_the_bus),
		claim(a_changed_command_or_answer_is_noticed_and_latches),
		claim(a_signature_over_a_swapped_digest_is_caught_by_verifying_it),
		claim(a_lost_or_cut_answer_costs_that_request_only),
		claim(no_flipped_bit_gets_past_us),
		claim(a_counter_cannot_be_lied_about),
		claim_bound(pcrs_extended_between_policy_and_signature_cost_one_retry),
		claim_bound(whoever_extends_pcrs_all_the_time_gets_no_signature_and_breaks_nothing),
		claim_bound(the_pcr_itself_extended_between_policy_and_signature_locks),
		claim_bound(unsealing_goes_through_the_same),
		claim_bound(a_lie_about_pcrs_or_the_ticket_opens_nothing),
		claim(sessions_are_kept_and_renewed_after_10000_commands),
	};

	signal(SIGPIPE, SIG_IGN);
	event_start(STDERR_FILENO, "contract", EVENT_ALARM);
	if (writ_secret_start())
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
