/* TPM 2.0 key files: what is read is what we write, and nothing else. */
#include "tests/unit/expect.h"

#include <stdlib.h>

#include "base/der.h"
#include "base/text.h"
#include "hsm/tpm2_keyfile.h"

static const uint8_t oid_loadable[] = { 0x67, 0x81, 0x05, 0x0a, 0x01, 0x03 };
static const uint8_t oid_importable[] = { 0x67, 0x81, 0x05, 0x0a, 0x01, 0x04 };
static const uint8_t oid_other[] = { 0x67, 0x81, 0x05, 0x0a, 0x01, 0x06 };
static const uint8_t area[] = { 0, 2, 'a', 'b' };

#define BYTES(array) ((struct writ_bytes){ (array), sizeof(array) })

static const struct keyfile plain = {
	.type = KEYFILE_LOADABLE,
	.policy = { .n = 1, .steps = { { .kind = TPM2_STEP_AUTH_VALUE } } },
	.description = { (const uint8_t *)"a key", 5 },
	.parent = KEYFILE_PARENT_OWNER,
	.public = { area, sizeof(area) },
	.private = { area, sizeof(area) },
};

/* A key file as others might write it: `plain` with one thing changed. */
struct shape {
	const char *name;
	const uint8_t *oid; /* NULL: loadable */
	bool empty_auth, no_policy, no_step, second_step, secret, auth_policy, no_description, rsa_parent, trailing,
		negative_parent;
	uint32_t command; /* 0: PolicyAuthValue */
	struct writ_bytes parameters;
	unsigned n_counters;	     /* steps of PolicyNV before it */
	const char *description;     /* NULL: "a key" */
	uint32_t parent;	     /* 0: owner */
	size_t area_len;	     /* 0: 4 */
	const char *message, *cause; /* cause: below "key file: policy" */
};

/* PolicyNV of counter 1, not over 7. */
static const uint8_t counter_seven_bytes[] = { 0x01, 0x80, 0x57, 0x01, 0, 8, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 9 };
static const struct writ_bytes counter_seven = { counter_seven_bytes, sizeof(counter_seven_bytes) };

static void
step_write(struct der_out *out, const struct shape *shape)
{
	der_open(out, DER_SEQUENCE);
	der_open(out, DER_CONTEXT_CONS(0));
	der_put_int(out, DER_INTEGER, shape->command ? shape->command : 0x16b);
	der_close(out);
	der_open(out, DER_CONTEXT_CONS(1));
	der_put(out, DER_OCTET_STRING, shape->parameters);
	der_close(out);
	der_close(out);
}

static void
policy_write(struct der_out *out, const struct shape *shape)
{
	if (shape->no_policy)
		return;
	der_open(out, DER_CONTEXT_CONS(1));
	der_open(out, DER_SEQUENCE);
	for (unsigned i = 0; i < shape->n_counters; i++)
		step_write(out, &(struct shape){ .command = 0x149, .parameters = counter_seven });
	if (!shape->no_step)
		step_write(out, shape);
	if (shape->second_step)
		step_write(out, shape);
	der_close(out);
	der_close(out);
}

static void
shape_write(const struct shape *shape, struct writ_buf *ret_der)
{
	static const uint8_t big[KEYFILE_AREA_MAX + 1];
	const struct writ_bytes area_bytes =
		shape->area_len ? (struct writ_bytes){ big, shape->area_len } : BYTES(area);
	struct der_out out = der_write(ret_der);

	der_open(&out, DER_SEQUENCE);
	der_put_oid(&out, (struct writ_bytes){ shape->oid ? shape->oid : oid_loadable, 6 });
	if (shape->empty_auth) {
		der_open(&out, DER_CONTEXT_CONS(0));
		der_put_bool(&out, DER_BOOLEAN, true);
		der_close(&out);
	}
	policy_write(&out, shape);
	if (shape->secret)
		der_put(&out, DER_CONTEXT_CONS(2), WRIT_LIT("\004\001s"));
	if (shape->auth_policy)
		der_put(&out, DER_CONTEXT_CONS(3), WRIT_LIT("\060\000"));
	if (!shape->no_description) {
		der_open(&out, DER_CONTEXT_CONS(4));
		der_put(&out, DER_UTF8, writ_str(shape->description ? shape->description : "a key"));
		der_close(&out);
	}
	if (shape->rsa_parent)
		der_put(&out, DER_CONTEXT_CONS(5), WRIT_LIT("\001\001\377"));
	der_put_int(&out, DER_INTEGER,
		    shape->negative_parent ? -1 : (int64_t)(shape->parent ? shape->parent : KEYFILE_PARENT_OWNER));
	der_put(&out, DER_OCTET_STRING, area_bytes);
	der_put(&out, DER_OCTET_STRING, BYTES(area));
	if (shape->trailing)
		der_put_null(&out);
	der_close(&out);
	expect_ok(der_finish(&out, "shape"));
}

static void
pem_wrap(struct writ_bytes der, struct writ_buf *ret)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(2 * KEYFILE_MAX);

	expect_ok(writ_base64(der, &text));
	expect_ok(writ_buf_add(ret, WRIT_LIT("-----BEGIN TSS2 PRIVATE KEY-----\n")));
	for (size_t at = 0; at < text.len; at += 64)
		expect_ok(writ_buf_printf(ret, "%.*s\n", (int)(text.len - at < 64 ? text.len - at : 64),
					  (char *)text.data + at));
	expect_ok(writ_buf_add(ret, WRIT_LIT("-----END TSS2 PRIVATE KEY-----\n")));
}

static void
what_is_written_is_read_again(void **state)
{
	static uint8_t big[KEYFILE_AREA_MAX];
	struct keyfile file = plain;
	struct tpm2_authority authority;

	(void)state;
	for (size_t i = 0; i < sizeof(authority); i++)
		((uint8_t *)&authority)[i] = (uint8_t)(i + 1);
	for (int i = 0; i < 8; i++) {
		const struct tpm2_authority *const by = i & 4 ? &authority : NULL;
		AUTO(writ_buf_done) struct writ_buf pem = WRIT_BUF(KEYFILE_MAX), der = WRIT_BUF(KEYFILE_MAX);
		struct keyfile again;

		file.type = i & 1 ? KEYFILE_SEALED : KEYFILE_LOADABLE;
		file.policy = i & 1 ? tpm2_policy_of_sealed(by, 1ULL << (7 * i)) : tpm2_policy_of_key(by);
		file.parent = i & 2 ? KEYFILE_PARENT_PERSISTENT : KEYFILE_PARENT_OWNER;
		file.public = i & 2 ? BYTES(big) : plain.public;
		expect_ok(keyfile_write(&file, &pem));
		expect_ok(keyfile_read(writ_view(&pem), &der, &again));
		assert_int_equal(again.type, file.type);
		assert_int_equal(again.policy.n, file.policy.n);
		assert_true(tpm2_policy_same(&again.policy, &file.policy));
		assert_memory_equal(again.policy.steps, file.policy.steps, file.policy.n * sizeof(file.policy.steps[0]));
		assert_int_equal(again.policy.steps[file.policy.n - 1].kind, TPM2_STEP_AUTH_VALUE);
		assert_int_equal(again.parent, file.parent);
		expect_bytes(again.description, file.description);
		expect_bytes(again.public, file.public);
		expect_bytes(again.private, file.private);
	}
}

static void
every_other_shape_is_refused_by_name(void **state)
{
	char long_text[KEYFILE_DESCRIPTION_MAX + 2];
	const struct shape shapes[] = {
		{ .name = "importable",
		  .oid = oid_importable,
		  .message = "key file: the key is importable, so it was outside a TPM once: not used" },
		{ .name = "other type",
		  .oid = oid_other,
		  .message = "key file: type is neither a loadable key nor a sealed secret" },
		{ .name = "emptyAuth", .empty_auth = true, .message = "key file: field 'emptyAuth' is not supported" },
		{ .name = "no policy",
		  .no_policy = true,
		  .message = "key file: no policy; a key that needs none is not used" },
		{ .name = "no step", .no_step = true, .message = "key file: malformed policy" },
		{ .name = "PolicyPCR",
		  .command = 0x17f,
		  .cause = "command 0x17f: PolicyAuthValue (0x16b), PolicyNV (0x149) and PolicyAuthorize (0x16a) are known" },
		{ .name = "two steps",
		  .second_step = true,
		  .message = "key file: PolicyAuthValue is the last step of a policy, and that alone" },
		{ .name = "a counter last",
		  .command = 0x149,
		  .parameters = counter_seven,
		  .message = "key file: PolicyAuthValue is the last step of a policy, and that alone" },
		{ .name = "many steps", .n_counters = 4, .message = "key file: a policy has at most 4 steps" },
		{ .name = "parameters",
		  .parameters = WRIT_LIT("p"),
		  .cause = "PolicyAuthValue has no parameters, and here are 1 bytes" },
		{ .name = "short parameters",
		  .command = 0x149,
		  .parameters = { counter_seven.data, 17 },
		  .cause = "PolicyNV is known as an index's 8 bytes, not over a limit: 17 bytes" },
		{ .name = "another operation",
		  .command = 0x149,
		  .parameters = WRIT_LIT("\x01\x80\x57\x01"
					 "\x00\x08"
					 "\0\0\0\0\0\0\0\7"
					 "\0\0"
					 "\0\x08"),
		  .cause = "PolicyNV is known as an index's 8 bytes, not over a limit: 18 bytes" },
		{ .name = "another offset",
		  .command = 0x149,
		  .parameters = WRIT_LIT("\x01\x80\x57\x01"
					 "\x00\x08"
					 "\0\0\0\0\0\0\0\7"
					 "\0\1"
					 "\0\x09"),
		  .cause = "PolicyNV is known as an index's 8 bytes, not over a limit: 18 bytes" },
		{ .name = "another index",
		  .command = 0x149,
		  .parameters = WRIT_LIT("\x01\x80\x57\x04"
					 "\x00\x08"
					 "\0\0\0\0\0\0\0\7"
					 "\0\0"
					 "\0\x09"),
		  .cause = "PolicyNV over index 0x1805704, which is no counter of ours" },
		{ .name = "secret", .secret = true, .message = "key file: field 'secret' is not supported" },
		{ .name = "authPolicy",
		  .auth_policy = true,
		  .message = "key file: field 'authPolicy' is not supported" },
		{ .name = "no description",
		  .no_description = true,
		  .message =
			  "key file: no description: it was not made by Writ, which names the storage root key there" },
		{ .name = "empty description",
		  .description = "",
		  .message = "key file: the description has 0 bytes: 1 to 256 of UTF-8 without controls" },
		{ .name = "control",
		  .description = "a\033[2J",
		  .message = "key file: the description has 5 bytes: 1 to 256 of UTF-8 without controls" },
		{ .name = "long description",
		  .description = long_text,
		  .message = "key file: the description has 257 bytes: 1 to 256 of UTF-8 without controls" },
		{ .name = "rsaParent", .rsa_parent = true, .message = "key file: field 'rsaParent' is not supported" },
		{ .name = "endorsement",
		  .parent = 0x4000000b,
		  .message = "key file: parent 0x4000000b is neither the owner hierarchy (0x40000001) nor 0x81000001" },
		{ .name = "negative", .negative_parent = true, .message = "key file: malformed parent" },
		{ .name = "big area",
		  .area_len = KEYFILE_AREA_MAX + 1,
		  .message = "key file: the public area has 2049 bytes: 1 to 2048" },
		{ .name = "trailing", .trailing = true, .message = "key file: bytes follow the private area" },
	};

	(void)state;
	memset(long_text, 'x', sizeof(long_text));
	long_text[KEYFILE_DESCRIPTION_MAX + 1] = '\0';
	for (size_t i = 0; i < N_OF(shapes); i++) {
		AUTO(writ_buf_done) struct writ_buf made = WRIT_BUF(2 * KEYFILE_MAX), pem = WRIT_BUF(2 * KEYFILE_MAX);
		AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(KEYFILE_MAX);
		struct keyfile file;

		shape_write(&shapes[i], &made);
		pem_wrap(writ_view(&made), &pem);
		if (shapes[i].cause) {
			struct writ_err *const err = keyfile_read(writ_view(&pem), &der, &file);

			assert_non_null(err);
			assert_int_equal(err->code, WRIT_INVALID);
			assert_string_equal(err->message, "key file: policy");
			assert_string_equal(err->cause->message, shapes[i].cause);
			writ_err_free(err);
			continue;
		}
		expect_refused(keyfile_read(writ_view(&pem), &der, &file), WRIT_INVALID, shapes[i].message);
	}
}

static void
the_shape_itself_is_read(void **state)
{
	AUTO(writ_buf_done)
	struct writ_buf made = WRIT_BUF(KEYFILE_MAX), pem = WRIT_BUF(KEYFILE_MAX), der = WRIT_BUF(KEYFILE_MAX);
	struct keyfile file;

	(void)state;
	shape_write(&(struct shape){ .name = "plain" }, &made);
	pem_wrap(writ_view(&made), &pem);
	expect_ok(keyfile_read(writ_view(&pem), &der, &file));
}

#define B64 "MAUGA2eBBQ=="

static void
pem_is_strict(void **state)
{
	static const struct {
		const char *pem, *message;
	} cases[] = {
		{ "", "key file: not PEM from 'BEGIN TSS2 PRIVATE KEY' to its END, with LF line ends and nothing "
		      "around it" },
		{ "-----BEGIN PRIVATE KEY-----\n" B64 "\n-----END PRIVATE KEY-----\n",
		  "key file: not PEM from 'BEGIN TSS2 PRIVATE KEY' to its END, with LF line ends and nothing around "
		  "it" },
		{ "\n-----BEGIN TSS2 PRIVATE KEY-----\n" B64 "\n-----END TSS2 PRIVATE KEY-----\n",
		  "key file: not PEM from 'BEGIN TSS2 PRIVATE KEY' to its END, with LF line ends and nothing around "
		  "it" },
		{ "-----BEGIN TSS2 PRIVATE KEY-----\n" B64 "\n-----END TSS2 PRIVATE KEY-----\n\n",
		  "key file: not PEM from 'BEGIN TSS2 PRIVATE KEY' to its END, with LF line ends and nothing around "
		  "it" },
		{ "-----BEGIN TSS2 PRIVATE KEY-----\r\n" B64 "\r\n-----END TSS2 PRIVATE KEY-----\r\n",
		  "key file: not PEM from 'BEGIN TSS2 PRIVATE KEY' to its END, with LF line ends and nothing around "
		  "it" },
		{ "-----BEGIN TSS2 PRIVATE KEY-----\n" B64 "-----END TSS2 PRIVATE KEY-----\n",
		  "key file: base64 line 1 has 12 characters: 64 in each but the last" },
		{ "-----BEGIN TSS2 PRIVATE KEY-----\n\n" B64 "\n-----END TSS2 PRIVATE KEY-----\n",
		  "key file: base64 line 1 has 0 characters: 64 in each but the last" },
		{ "-----BEGIN TSS2 PRIVATE KEY-----\nMAUG\n" B64 "\n-----END TSS2 PRIVATE KEY-----\n",
		  "key file: base64 line 1 has 4 characters: 64 in each but the last" },
		{ "-----BEGIN TSS2 PRIVATE KEY-----\n" B64 "\n-----END TSS2 PRIVATE KEY-----\n",
		  "key file: type is neither a loadable key nor a sealed secret" },
		{ "-----BEGIN TSS2 PRIVATE KEY-----\nMAA=\n-----END TSS2 PRIVATE KEY-----\n",
		  "key file: malformed type" },
		{ "-----BEGIN TSS2 PRIVATE KEY-----\nMAAA\n-----END TSS2 PRIVATE KEY-----\n",
		  "key file: not one DER SEQUENCE" },
		{ "-----BEGIN TSS2 PRIVATE KEY-----\n-----END TSS2 PRIVATE KEY-----\n",
		  "key file: not one DER SEQUENCE" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(KEYFILE_MAX);
		struct keyfile file;

		expect_refused(keyfile_read(writ_str(cases[i].pem), &der, &file), WRIT_INVALID, cases[i].message);
	}
}

static void
base64_is_strict(void **state)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(KEYFILE_MAX);
	struct keyfile file;
	struct writ_err *err;

	(void)state;
	err = keyfile_read(WRIT_LIT("-----BEGIN TSS2 PRIVATE KEY-----\nMA A\n-----END TSS2 PRIVATE KEY-----\n"), &der,
			   &file);
	assert_non_null(err);
	assert_int_equal(err->code, WRIT_INVALID);
	assert_string_equal(err->message, "key file");
	writ_err_free(err);
}

static void
a_file_over_8_kib_is_refused_before_it_is_read(void **state)
{
	static uint8_t big[KEYFILE_MAX + 1];
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(KEYFILE_MAX);
	struct keyfile file;

	(void)state;
	expect_refused(keyfile_read(BYTES(big), &der, &file), WRIT_INVALID,
		       "key file: 8193 bytes are over the limit of 8192");
	assert_int_equal(der.len, 0);
}

static void
a_cut_file_is_refused(void **state)
{
	AUTO(writ_buf_done) struct writ_buf made = WRIT_BUF(KEYFILE_MAX);

	(void)state;
	shape_write(&(struct shape){ .name = "plain" }, &made);
	for (size_t len = 0; len < made.len; len++) {
		AUTO(writ_buf_done) struct writ_buf pem = WRIT_BUF(KEYFILE_MAX), der = WRIT_BUF(KEYFILE_MAX);
		struct keyfile file;

		pem_wrap((struct writ_bytes){ made.data, len }, &pem);
		expect_refused(keyfile_read(writ_view(&pem), &der, &file), WRIT_INVALID,
			       "key file: not one DER SEQUENCE");
	}
}

static void
policy_authorize_is_read_in_one_form_and_as_the_first_step(void **state)
{
	AUTO(writ_buf_done) struct writ_buf pem = WRIT_BUF(KEYFILE_MAX), der = WRIT_BUF(KEYFILE_MAX);
	AUTO(writ_buf_done) struct writ_buf p = WRIT_BUF(TPM2_STEP_PARAMETERS_MAX);
	const struct tpm2_authority authority = { .point = { 1 }, .ref = { 2 } };
	struct keyfile file = plain, again;
	struct tpm2_step step;
	uint32_t command;

	(void)state;
	file.policy = tpm2_policy_of_key(&authority);
	expect_ok(tpm2_step_write(&file.policy.steps[0], &command, &p));
	expect_ok(tpm2_step_read(command, writ_view(&p), &step));
	for (size_t i = 0; i < p.len; i++) {
		const bool ours = (i >= 22 && i < 54) || (i >= 56 && i < 88) || (i >= 90 && i < 122); /* x, y, policyRef */
		struct writ_err *err;

		p.data[i] ^= 1;
		err = tpm2_step_read(command, writ_view(&p), &step);
		assert_int_equal(!err, ours);
		writ_err_free(err);
		p.data[i] ^= 1;
	}
	expect_refused(tpm2_step_read(command, (struct writ_bytes){ p.data, p.len - 1 }, &step), WRIT_INVALID,
		       "PolicyAuthorize is known with a P-256 key, 32 bytes and no signature, not with these 123 bytes");
	file.policy = tpm2_policy_of_sealed(&authority, 3);
	step = file.policy.steps[0];
	file.policy.steps[0] = file.policy.steps[1];
	file.policy.steps[1] = step;
	expect_ok(keyfile_write(&file, &pem));
	expect_refused(keyfile_read(writ_view(&pem), &der, &again), WRIT_INVALID,
		       "key file: PolicyAuthorize is the first step of a policy: it forgets what was before");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read_again),
		cmocka_unit_test(the_shape_itself_is_read),
		cmocka_unit_test(every_other_shape_is_refused_by_name),
		cmocka_unit_test(pem_is_strict),
		cmocka_unit_test(base64_is_strict),
		cmocka_unit_test(a_file_over_8_kib_is_refused_before_it_is_read),
		cmocka_unit_test(a_cut_file_is_refused),
		cmocka_unit_test(policy_authorize_is_read_in_one_form_and_as_the_first_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
