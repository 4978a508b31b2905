/* The device wire: messages in and out, and the signer's side against answers that lie. */
#include "tests/unit/expect.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "hsm/wire_codec.h"

static int server; /* the other end of `device` */
static struct device *device;

static int
setup(void **state)
{
	int pair[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	server = pair[1];
	expect_ok(device_adopt(pair[0], &device));
	return 0;
}

static int
teardown(void **state)
{
	(void)state;
	device_close(TAKE(device));
	if (server >= 0)
		close(server);
	return 0;
}

static int
start(void **state)
{
	(void)state;
	return writ_secret_start() == NULL ? 0 : 1;
}

/* What the server will have answered when the client looks. */
static void
will_answer(uint64_t id, unsigned type, struct writ_bytes body)
{
	expect_ok(frame_send(server, (uint16_t)type, id, body, -1, 1000));
}

static void
will_say(uint64_t id, enum device_message asked, const struct device_answer *answer)
{
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX);

	expect_ok(device_answer_encode(asked, answer, &body));
	will_answer(id, asked | DEVICE_ANSWER, writ_view(&body));
}

static void
will_fail(uint64_t id, enum writ_code code, const char *text)
{
	AUTO(writ_err_freep) struct writ_err *err = writ_fail(code, "%s", text);
	AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX);

	expect_ok(device_error_encode(err, &body));
	will_answer(id, DEVICE_ERROR, writ_view(&body));
}

/* ---- messages ---- */

static struct writ_err *
decode(unsigned type, struct writ_bytes body, struct device_request *ret)
{
	const struct frame frame = { .type = (uint16_t)type, .body = body };

	return device_request_decode(&frame, ret);
}

static void
every_request_is_decoded_as_it_was_encoded(void **state)
{
	static uint8_t secret[CUSTODY_SECRET_LEN] = { 1, 2, 3 }, message[DEVICE_INLINE_MAX], ref[CUSTODY_REF_MAX];
	const struct device_request requests[] = {
		{ .type = DEVICE_INFO },
		{ .type = DEVICE_MAKE, .kind = KEY_P384, .label = "anchor" },
		{ .type = DEVICE_LOAD, .ref = { ref, sizeof(ref) }, .spki = { secret, 32 } },
		{ .type = DEVICE_SIGN, .handle = 0xfffffffe, .message = { message, sizeof(message) } },
		{ .type = DEVICE_SIGN, .handle = 3 }, /* its message comes in a memfd */
		{ .type = DEVICE_SEAL, .number = UINT64_MAX, .secret = { secret, sizeof(secret) } },
		{ .type = DEVICE_COUNTER_MAKE, .counter = COUNTER_SEALED },
		{ .type = DEVICE_COUNTER_READ, .counter = COUNTER_APPROVAL },
		{ .type = DEVICE_COUNTER_RAISE, .counter = COUNTER_STATE },
		{ .type = DEVICE_DESTROY, .number = 1 },
		{ .type = DEVICE_UNSEAL, .blob = { message, CUSTODY_BLOB_MAX } },
		{ .type = DEVICE_HEALTH },
		{ .type = DEVICE_PCRS },
		{ .type = DEVICE_UNLOAD, .handle = 7 },
		{ .type = DEVICE_ATTESTER },
		{ .type = DEVICE_ATTEST, .qualifying = { secret, 32 } },
		{ .type = DEVICE_ATTEST, .qualifying = { secret, 32 }, .n_handles = 3, .handles = { 1, 2, 0xffffffff } },
		{ .type = DEVICE_ACTIVATE, .id_object = { message, ATTEST_ID_OBJECT_MAX }, .encrypted = { message, 1 } },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(requests); i++) {
		AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX);
		struct device_request again;

		expect_ok(device_request_encode(&requests[i], &body));
		expect_ok(decode(requests[i].type, writ_view(&body), &again));
		assert_int_equal(again.kind, requests[i].kind);
		assert_int_equal(again.handle, requests[i].handle);
		assert_string_equal(again.label, requests[i].label);
		expect_bytes(again.ref, requests[i].ref);
		expect_bytes(again.spki, requests[i].spki);
		expect_bytes(again.message, requests[i].message);
		assert_int_equal(again.counter, requests[i].counter);
		assert_true(again.number == requests[i].number);
		expect_bytes(again.secret, requests[i].secret);
		expect_bytes(again.blob, requests[i].blob);
		expect_bytes(again.qualifying, requests[i].qualifying);
		expect_bytes(again.id_object, requests[i].id_object);
		expect_bytes(again.encrypted, requests[i].encrypted);
		assert_int_equal(again.n_handles, requests[i].n_handles);
		assert_memory_equal(again.handles, requests[i].handles, sizeof(again.handles));
	}
}

static void
a_malformed_request_is_refused_by_name(void **state)
{
	static const struct {
		unsigned type;
		struct writ_bytes body;
		const char *message;
	} cases[] = {
		{ 0, { NULL, 0 }, "device wire: 0 is no request" },
		{ 64, { NULL, 0 }, "device wire: 64 is no request" },
		{ DEVICE_INFO | DEVICE_ANSWER, { NULL, 0 }, "device wire: 129 is no request" },
		{ DEVICE_ERROR, { NULL, 0 }, "device wire: 255 is no request" },
		{ 0x0101, { NULL, 0 }, "device wire: 257 is no request" },
		{ DEVICE_INFO, { (const uint8_t *)"x", 1 }, "device wire: malformed INFO request of 1 bytes" },
		{ DEVICE_HEALTH, { (const uint8_t *)"x", 1 }, "device wire: malformed HEALTH request of 1 bytes" },
		{ DEVICE_MAKE, { NULL, 0 }, "device wire: malformed MAKE request of 0 bytes" },
		{ DEVICE_MAKE,
		  { (const uint8_t *)"\4\0\0\0\1a", 6 },
		  "device wire: malformed MAKE request of 6 bytes" },
		{ DEVICE_MAKE,
		  { (const uint8_t *)"\1\0\0\0\2a", 6 },
		  "device wire: malformed MAKE request of 6 bytes" },
		{ DEVICE_MAKE,
		  { (const uint8_t *)"\1\0\0\0\1ab", 7 },
		  "device wire: malformed MAKE request of 7 bytes" },
		{ DEVICE_MAKE,
		  { (const uint8_t *)"\1\0\0\0\3a\0b", 8 },
		  "device wire: malformed MAKE request of 8 bytes" },
		{ DEVICE_LOAD,
		  { (const uint8_t *)"\0\0\0\1a\0\0\0\0", 9 },
		  "device wire: malformed LOAD request of 9 bytes" },
		{ DEVICE_LOAD,
		  { (const uint8_t *)"\0\0\0\0\0\0\0\1a", 9 },
		  "device wire: malformed LOAD request of 9 bytes" },
		{ DEVICE_LOAD,
		  { (const uint8_t *)"\377\377\377\377a", 5 },
		  "device wire: malformed LOAD request of 5 bytes" },
		{ DEVICE_SIGN,
		  { (const uint8_t *)"\0\0\0\1\0\0\0\0m", 9 },
		  "device wire: malformed SIGN request of 9 bytes" },
		{ DEVICE_SIGN, { (const uint8_t *)"\0\0\0\1", 4 }, "device wire: malformed SIGN request of 4 bytes" },
		{ DEVICE_SEAL,
		  { (const uint8_t *)"012345670123456789012345678901234567890", 39 },
		  "device wire: malformed SEAL request of 39 bytes" },
		{ DEVICE_SEAL,
		  { (const uint8_t *)"01234567012345678901234567890123456789012", 41 },
		  "device wire: malformed SEAL request of 41 bytes" },
		{ DEVICE_COUNTER_READ,
		  { (const uint8_t *)"\0", 1 },
		  "device wire: malformed COUNTER_READ request of 1 bytes" },
		{ DEVICE_COUNTER_RAISE,
		  { (const uint8_t *)"\4", 1 },
		  "device wire: malformed COUNTER_RAISE request of 1 bytes" },
		{ DEVICE_COUNTER_MAKE,
		  { (const uint8_t *)"\1\1", 2 },
		  "device wire: malformed COUNTER_MAKE request of 2 bytes" },
		{ DEVICE_DESTROY,
		  { (const uint8_t *)"\0\0\0\0\0\0\1", 7 },
		  "device wire: malformed DESTROY request of 7 bytes" },
		{ DEVICE_UNSEAL,
		  { (const uint8_t *)"\0\0\0\0", 4 },
		  "device wire: malformed UNSEAL request of 4 bytes" },
		{ DEVICE_UNLOAD, { (const uint8_t *)"\0\0\0", 3 }, "device wire: malformed UNLOAD request of 3 bytes" },
		{ DEVICE_ATTESTER, { (const uint8_t *)"x", 1 }, "device wire: malformed ATTESTER request of 1 bytes" },
		{ DEVICE_ATTEST,
		  { (const uint8_t *)"01234567890123456789012345678901", 32 },
		  "device wire: malformed ATTEST request of 32 bytes" },
		{ DEVICE_ATTEST,
		  { (const uint8_t *)"01234567890123456789012345678901\4", 33 },
		  "device wire: malformed ATTEST request of 33 bytes" },
		{ DEVICE_ATTEST,
		  { (const uint8_t *)"01234567890123456789012345678901\1\0\0\0", 36 },
		  "device wire: malformed ATTEST request of 36 bytes" },
		{ DEVICE_ACTIVATE,
		  { (const uint8_t *)"\0\0\0\0\0\0\0\1a", 9 },
		  "device wire: malformed ACTIVATE request of 9 bytes" },
	};
	struct device_request request;

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++)
		expect_refused(decode(cases[i].type, cases[i].body, &request), WRIT_INVALID, cases[i].message);
}

static void
a_field_one_byte_over_its_limit_is_refused(void **state)
{
	static uint8_t big[DEVICE_INLINE_MAX + 1];
	const struct device_request requests[] = {
		{ .type = DEVICE_LOAD, .ref = { big, CUSTODY_REF_MAX + 1 }, .spki = { big, 91 } },
		{ .type = DEVICE_LOAD, .ref = { big, 1 }, .spki = { big, SPKI_MAX + 1 } },
		{ .type = DEVICE_SIGN, .message = { big, DEVICE_INLINE_MAX + 1 } },
		{ .type = DEVICE_UNSEAL, .blob = { big, CUSTODY_BLOB_MAX + 1 } },
		{ .type = DEVICE_ACTIVATE, .id_object = { big, ATTEST_ID_OBJECT_MAX + 1 }, .encrypted = { big, 1 } },
		{ .type = DEVICE_ACTIVATE, .id_object = { big, 1 }, .encrypted = { big, ATTEST_ENCRYPTED_MAX + 1 } },
	};
	struct device_request again;

	(void)state;
	for (size_t i = 0; i < N_OF(requests); i++) {
		AUTO(writ_buf_done) struct writ_buf body = WRIT_BUF(FRAME_BODY_MAX);
		struct writ_err *err;

		expect_ok(device_request_encode(&requests[i], &body));
		err = decode(requests[i].type, writ_view(&body), &again);
		assert_non_null(err);
		assert_int_equal(err->code, WRIT_INVALID);
		writ_err_free(err);
	}
}

/* ---- the signer's side ---- */

static void
attestations_come_back_whole_and_bounded(void **state)
{
	static uint8_t big[ATTEST_ABOUT_MAX + 1];
	struct device_answer answer = { .ak = { big, 5 }, .ek = { big, ATTEST_EK_MAX / 4 }, .n_items = 2 };
	AUTO(writ_secret_done) struct writ_secret out = { 0 };
	static struct attestation said;
	const uint32_t handle = 4;
	struct attester attester;
	struct writ_err *err;

	(void)state;
	memset(big, 0x5a, sizeof(big));
	will_say(1, DEVICE_ATTESTER, &answer);
	expect_ok(device_attester(device, &attester));
	expect_bytes(((struct writ_bytes){ attester.ak, attester.ak_len }), answer.ak);
	expect_bytes(((struct writ_bytes){ attester.ek, attester.ek_len }), answer.ek);

	answer.items[0] = (struct device_attested){ ATTESTED_CLAIM, { big, ATTEST_ABOUT_MAX }, { NULL, 0 }, { NULL, 0 } };
	answer.items[1] = (struct device_attested){ ATTESTED_PCRS,
						    { NULL, 0 },
						    { big, ATTEST_SAID_MAX },
						    { big, ATTEST_SIGNATURE_MAX } };
	will_say(2, DEVICE_ATTEST, &answer);
	expect_ok(device_attest(device, big, &handle, 1, &said));
	assert_int_equal(said.n, 2);
	assert_int_equal(said.item[0].what, ATTESTED_CLAIM);
	expect_bytes(attest_about(&said.item[0]), answer.items[0].about);
	expect_bytes(attest_said(&said.item[1]), answer.items[1].said);
	expect_bytes(attest_signature(&said.item[1]), answer.items[1].signature);

	will_say(3, DEVICE_ACTIVATE, &(struct device_answer){ .secret = { big, 32 } });
	expect_ok(device_activate(device, WRIT_LIT("object"), WRIT_LIT("seed"), &out));
	assert_int_equal(out.len, 32);

	answer.items[0].about.len++;
	will_say(4, DEVICE_ATTEST, &answer);
	err = device_attest(device, big, &handle, 1, &said);
	assert_non_null(err);
	assert_int_equal(err->code, WRIT_UNAVAILABLE); /* such a connection is not used again */
	assert_int_equal(said.n, 0);
	writ_err_free(err);
}

static void
answers_come_back_whole(void **state)
{
	static uint8_t secret[CUSTODY_SECRET_LEN] = { 9 };
	AUTO(writ_buf_done)
	struct writ_buf a = WRIT_BUF(CUSTODY_REF_MAX), b = WRIT_BUF(SPKI_MAX), sig = WRIT_BUF(SIGNATURE_MAX),
			blob = WRIT_BUF(CUSTODY_BLOB_MAX), report = WRIT_BUF(CUSTODY_REPORT_MAX);
	AUTO(writ_secret_done) struct writ_secret out = { 0 };
	struct custody_info info;
	uint32_t handle = 0;
	uint64_t value = 0;

	(void)state;
	will_say(1, DEVICE_INFO,
		 &(struct device_answer){ .info = { .software = true, .maker = "IBM", .serial = "s" } });
	expect_ok(device_info(device, &info));
	assert_true(info.software && !info.can_seal);
	assert_string_equal(info.maker, "IBM");
	assert_string_equal(info.model, "");
	will_say(2, DEVICE_MAKE, &(struct device_answer){ .ref = WRIT_LIT("ref"), .spki = WRIT_LIT("spki") });
	expect_ok(device_make_key(device, KEY_P256, "x", &a, &b));
	expect_bytes(writ_view(&a), WRIT_LIT("ref"));
	expect_bytes(writ_view(&b), WRIT_LIT("spki"));
	will_say(3, DEVICE_LOAD, &(struct device_answer){ .handle = 77 });
	expect_ok(device_load(device, WRIT_LIT("ref"), WRIT_LIT("spki"), &handle));
	assert_int_equal(handle, 77);
	will_say(4, DEVICE_SIGN, &(struct device_answer){ .signature = WRIT_LIT("sig") });
	expect_ok(device_sign(device, handle, WRIT_LIT("m"), &sig));
	expect_bytes(writ_view(&sig), WRIT_LIT("sig"));
	expect_ok(writ_secret_random(&out, CUSTODY_SECRET_LEN));
	will_say(5, DEVICE_SEAL, &(struct device_answer){ .blob = WRIT_LIT("blob") });
	expect_ok(device_seal(device, 3, &out, &blob));
	expect_bytes(writ_view(&blob), WRIT_LIT("blob"));
	will_say(6, DEVICE_UNSEAL, &(struct device_answer){ .secret = { secret, sizeof(secret) } });
	expect_ok(device_unseal(device, writ_view(&blob), &out));
	assert_memory_equal(out.data, secret, sizeof(secret));
	will_say(7, DEVICE_HEALTH, &(struct device_answer){ 0 });
	expect_ok(device_health(device));
	will_say(8, DEVICE_UNLOAD, &(struct device_answer){ 0 });
	expect_ok(device_unload(device, handle));
	will_say(9, DEVICE_COUNTER_MAKE, &(struct device_answer){ .value = 1 });
	expect_ok(device_counter_make(device, COUNTER_SEALED, &value));
	assert_int_equal(value, 1);
	will_say(10, DEVICE_COUNTER_READ, &(struct device_answer){ .value = UINT64_MAX });
	expect_ok(device_counter_read(device, COUNTER_STATE, &value));
	assert_true(value == UINT64_MAX);
	will_say(11, DEVICE_COUNTER_RAISE, &(struct device_answer){ .value = 2 });
	expect_ok(device_counter_raise(device, COUNTER_STATE, &value));
	assert_int_equal(value, 2);
	will_say(12, DEVICE_DESTROY, &(struct device_answer){ 0 });
	expect_ok(device_destroy(device, 7));
	will_say(13, DEVICE_PCRS, &(struct device_answer){ .report = WRIT_LIT("report") });
	expect_ok(device_pcrs(device, &report));
	expect_bytes(writ_view(&report), WRIT_LIT("report"));
}

static void
a_request_s_own_error_comes_back_with_its_code_and_leaves_the_connection_usable(void **state)
{
	(void)state;
	will_fail(1, WRIT_LOCKED, "TPM2_Sign: 0x9a2");
	expect_refused(device_health(device), WRIT_LOCKED, "TPM2_Sign: 0x9a2");
	will_say(2, DEVICE_HEALTH, &(struct device_answer){ 0 });
	expect_ok(device_health(device));
}

static void
after_an_answer_that_lies_the_connection_is_lost(void **state)
{
	static const struct {
		uint64_t id;
		unsigned type;
		struct writ_bytes body;
		const char *message;
	} cases[] = {
		{ 2,
		  DEVICE_HEALTH | DEVICE_ANSWER,
		  { NULL, 0 },
		  "writ-deviced: an answer to another request than the one asked" },
		{ 1,
		  DEVICE_SIGN | DEVICE_ANSWER,
		  { NULL, 0 },
		  "writ-deviced: device wire: malformed answer of type 0x84 to HEALTH" },
		{ 1, DEVICE_HEALTH, { NULL, 0 }, "writ-deviced: device wire: malformed answer of type 0x7 to HEALTH" },
		{ 1,
		  DEVICE_HEALTH | DEVICE_ANSWER,
		  { (const uint8_t *)"x", 1 },
		  "writ-deviced: device wire: malformed answer of type 0x87 to HEALTH" },
		{ 1, DEVICE_ERROR, { NULL, 0 }, "writ-deviced: device wire: malformed answer of type 0xff to HEALTH" },
		{ 1,
		  DEVICE_ERROR,
		  { (const uint8_t *)"\10\0\0\0\1x", 6 },
		  "writ-deviced: device wire: malformed answer of type 0xff to HEALTH" },
		{ 1,
		  DEVICE_ERROR,
		  { (const uint8_t *)"\1\0\0\0\2x", 6 },
		  "writ-deviced: device wire: malformed answer of type 0xff to HEALTH" },
	};

	for (size_t i = 0; i < N_OF(cases); i++) {
		will_answer(cases[i].id, cases[i].type, cases[i].body);
		expect_refused(device_health(device), WRIT_UNAVAILABLE, cases[i].message);
		expect_refused(device_health(device), WRIT_UNAVAILABLE,
			       "the connection to writ-deviced is lost: connect anew");
		teardown(state);
		setup(state);
	}
}

static void
a_malformed_info_is_no_info(void **state)
{
	static const struct writ_bytes bodies[] = {
		{ NULL, 0 },
		{ (const uint8_t *)"\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 18 },   /* a flag of 2 */
		{ (const uint8_t *)"\1\1\0\0\0\1\n\0\0\0\0\0\0\0\0\0\0\0\0", 19 }, /* a control character */
		{ (const uint8_t *)"\1\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 17 },	   /* cut */
	};
	struct custody_info info;

	for (size_t i = 0; i < N_OF(bodies); i++) {
		will_answer(1, DEVICE_INFO | DEVICE_ANSWER, bodies[i]);
		expect_refused(device_info(device, &info), WRIT_UNAVAILABLE,
			       "writ-deviced: device wire: malformed answer of type 0x81 to INFO");
		teardown(state);
		setup(state);
	}
}

static void
a_closed_peer_is_unavailable(void **state)
{
	struct writ_err *err;

	(void)state;
	close(server);
	server = -1;
	err = device_health(device);
	assert_non_null(err);
	assert_int_equal(err->code, WRIT_UNAVAILABLE);
	writ_err_free(err);
}

static void
signatures_without_waiting_come_in_any_order(void **state)
{
	AUTO(writ_buf_done) struct writ_buf sig = WRIT_BUF(SIGNATURE_MAX);
	struct writ_err *failed;
	uint64_t id;
	bool any;

	(void)state;
	expect_ok(device_sign_next(device, &any, &id, &sig, &failed));
	assert_false(any);
	expect_ok(device_sign_start(device, 100, 1, WRIT_LIT("m")));
	expect_ok(device_sign_start(device, 200, 1, WRIT_LIT("m")));
	will_say(200, DEVICE_SIGN, &(struct device_answer){ .signature = WRIT_LIT("sig") });
	will_fail(100, WRIT_NOT_FOUND, "no key 1");
	expect_ok(device_sign_next(device, &any, &id, &sig, &failed));
	assert_true(any && id == 200 && !failed);
	expect_bytes(writ_view(&sig), WRIT_LIT("sig"));
	expect_ok(device_sign_next(device, &any, &id, &sig, &failed));
	assert_true(any && id == 100);
	expect_refused(failed, WRIT_NOT_FOUND, "no key 1");
	expect_ok(device_sign_next(device, &any, &id, &sig, &failed));
	assert_false(any);
}

static void
an_answer_that_nobody_asked_for_loses_the_connection(void **state)
{
	AUTO(writ_buf_done) struct writ_buf sig = WRIT_BUF(SIGNATURE_MAX);
	struct writ_err *failed;
	uint64_t id;
	bool any;

	(void)state;
	expect_ok(device_sign_start(device, 1, 1, WRIT_LIT("m")));
	will_say(1, DEVICE_SIGN, &(struct device_answer){ .signature = WRIT_LIT("sig") });
	will_say(1, DEVICE_SIGN, &(struct device_answer){ .signature = WRIT_LIT("sig") });
	expect_ok(device_sign_next(device, &any, &id, &sig, &failed));
	assert_true(any);
	expect_refused(device_sign_next(device, &any, &id, &sig, &failed), WRIT_UNAVAILABLE,
		       "writ-deviced: an answer to a request that was not asked");
	assert_false(any);
}

static void
the_65th_outstanding_signature_is_refused(void **state)
{
	(void)state;
	for (uint64_t id = 0; id < DEVICE_OUTSTANDING_MAX; id++)
		expect_ok(device_sign_start(device, id, 1, WRIT_LIT("m")));
	expect_refused(device_sign_start(device, 64, 1, WRIT_LIT("m")), WRIT_EXHAUSTED,
		       "64 signatures are outstanding at writ-deviced, which is the limit");
	expect_refused(device_health(device), WRIT_BROKEN,
		       "a blocking call to writ-deviced while 64 signatures are outstanding");
}

static void
an_id_that_is_outstanding_is_refused(void **state)
{
	(void)state;
	expect_ok(device_sign_start(device, 5, 1, WRIT_LIT("m")));
	expect_refused(device_sign_start(device, 5, 1, WRIT_LIT("m")), WRIT_BROKEN,
		       "a signature of id 5 is outstanding already");
}

static void
a_knock_is_answered_when_somebody_is_there(void **state)
{
	bool here = true;

	(void)state;
	expect_ok(device_knock(device));
	expect_ok(device_opened(device, &here));
	assert_false(here);
	will_say(1, DEVICE_HEALTH, &(struct device_answer){ 0 });
	expect_ok(device_opened(device, &here));
	assert_true(here);
	will_say(2, DEVICE_HEALTH, &(struct device_answer){ 0 }); /* and blocking calls follow */
	expect_ok(device_health(device));

	expect_ok(device_knock(device));
	will_fail(3, WRIT_LOCKED, "no");
	expect_refused(device_opened(device, &here), WRIT_LOCKED, "no");
	assert_false(here);
	expect_ok(device_knock(device));
	will_say(3, DEVICE_HEALTH, &(struct device_answer){ 0 }); /* an answer too late */
	expect_refused(device_opened(device, &here), WRIT_UNAVAILABLE,
		       "writ-deviced: an answer to another request than the one asked");
	assert_false(here);
	expect_refused(device_knock(device), WRIT_UNAVAILABLE, "the connection to writ-deviced is lost: connect anew");
}

static void
what_is_too_big_is_refused_before_it_is_sent(void **state)
{
	static uint8_t big[FRAME_BODY_MAX];
	AUTO(writ_buf_done) struct writ_buf a = WRIT_BUF(CUSTODY_REF_MAX), b = WRIT_BUF(SPKI_MAX);
	AUTO(writ_secret_done) struct writ_secret secret = { 0 };
	char label[CUSTODY_LABEL_MAX + 2];

	(void)state;
	memset(label, 'x', sizeof(label));
	label[CUSTODY_LABEL_MAX + 1] = '\0';
	expect_refused(device_make_key(device, KEY_P256, label, &a, &b), WRIT_INVALID,
		       "a key's label has 1 to 64 bytes, not 65");
	expect_refused(device_sign(device, 1, (struct writ_bytes){ big, CUSTODY_MESSAGE_MAX + 1 }, &a), WRIT_INVALID,
		       "a message to sign has 1 to 67108864 bytes, not 67108865");
	expect_refused(device_sign(device, 1, (struct writ_bytes){ big, 0 }, &a), WRIT_INVALID,
		       "a message to sign has 1 to 67108864 bytes, not 0");
	expect_refused(device_unseal(device, (struct writ_bytes){ big, sizeof(big) }, &secret), WRIT_INVALID,
		       "device wire: a UNSEAL request is over a frame's 16384 bytes");
	will_say(4, DEVICE_HEALTH, &(struct device_answer){ 0 }); /* the connection is as good as before */
	expect_ok(device_health(device));
}

#define claim(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_request_is_decoded_as_it_was_encoded),
		cmocka_unit_test(a_malformed_request_is_refused_by_name),
		cmocka_unit_test(a_field_one_byte_over_its_limit_is_refused),
		claim(answers_come_back_whole),
		claim(attestations_come_back_whole_and_bounded),
		claim(a_request_s_own_error_comes_back_with_its_code_and_leaves_the_connection_usable),
		claim(after_an_answer_that_lies_the_connection_is_lost),
		claim(a_malformed_info_is_no_info),
		claim(a_closed_peer_is_unavailable),
		claim(signatures_without_waiting_come_in_any_order),
		claim(an_answer_that_nobody_asked_for_loses_the_connection),
		claim(the_65th_outstanding_signature_is_refused),
		claim(an_id_that_is_outstanding_is_refused),
		claim(a_knock_is_answered_when_somebody_is_there),
		claim(what_is_too_big_is_refused_before_it_is_sent),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
