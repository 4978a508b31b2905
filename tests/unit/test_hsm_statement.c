/* A TPM's statements, read without one: what tpm2-tools got of a software TPM, cut short, made longer, with one field
 * wrong. */
#include "tests/unit/expect.h"

#include <stdlib.h>

#include "base/text.h"
#include "hsm/statement.h"

#define AK                                                                                                             \
	"0023000b00050472000000100018000b0003001000201dca3e4d82fa301dc45d63cf54eb9cbf84673de5b0a7f2239fc6f08fbc215c6a" \
	"00209c79411234fd92ed05c65f5300d3371da6c0e44978f3923da038ca69cd95101d"
#define AK_NAME "000bc7428197051b5cc55bc040b1e887eecea90b53947b651cb8e36f964acab80a21"
#define AK_QUALIFIED "000bd1a7bcddcd89770b78612e423453d35a8b63c7d459cd4c54a5cff1df073c69df"
#define SRK                                                                                                            \
	"0023000b0003007200000006008000430010000300100020ea467765b09de526b9aed035b6a528f1edf6929b0eda6eadae45664f038f" \
	"1b"                                                                                                           \
	"5a00202cdec72ba597899b5a2ceea98497eacabc00ca3d962709a2868a431a527cda2f"
#define SRK_NAME "000b71209f53ecca9ad28ef58df21558ff798ca77ee45cbe82db20cebb19ce6ea05d"
#define SRK_QUALIFIED "000b58fa2adb1dfa4150491e87c0d506a8e83ac7c6875b99ba35153c4464ec381414"
#define KEY                                                                                                            \
	"0023000b0004043200208fcd2169ab92694e0c633f1ab772842b8241bbc20288981fc7ac1eddc1fddb0e00100018000b000300100020" \
	"73"                                                                                                           \
	"59ad6dded920f3313a14aa829c48b042e12939d384ac14e7d04a3e2ef33af700208517a9ec6e6763d2651ea389df8e0498a2740e796a" \
	"09"                                                                                                           \
	"5e5812fb7e3731020d61"
#define KEY_NAME "000baf43e78cb741df67807f3d52f5c2d1ec8ead2999c0b953f327bdb64fb3717b7f"
#define KEY_QUALIFIED "000b8badb2619a945ac971fd73d9f31dff42009e9576c2322919dbd5eb17cb38d8ac"
#define HEAD(type, extra) "ff544347" type "0022" AK_QUALIFIED extra
#define CLOCK                                                                                                          \
	"00000000000e1f5b"                                                                                             \
	"00000002"                                                                                                     \
	"00000000"                                                                                                     \
	"01"                                                                                                           \
	"2019102300163636"
#define CERTIFY HEAD("8017", "000400ff55aa") CLOCK "0022" KEY_NAME "0022" KEY_QUALIFIED
#define QUOTE                                                                                                          \
	HEAD("8018", "0000")                                                                                           \
	CLOCK "00000001000b03ffff00002007"                                                                             \
	      "6a27c79e5ace2a3d47f9dd2e83e4ff6ea8872b3c2218f66c92b89b55f36560"
#define NV                                                                                                             \
	HEAD("8014", "0000")                                                                                           \
	CLOCK "0022000b3afd5889e451c4f03de69ba812cc8502e14d02403e4ecc2f7265ed4f5b7d1d34"                               \
	      "0000"                                                                                                   \
	      "00080000000000000001"
#define SIGNATURE                                                                                                      \
	"0018000b0020130922bf955fbf500c660b04d99573fead4da2f81a1424c583238b79ce7924770020ce5c0405b60f83c2097119026548" \
	"d4"                                                                                                           \
	"16d1e118591b8db65f366470777cc5db11"
#define COUNTER "01500016000b2206001600000008"

struct bytes {
	uint8_t data[512];
	size_t len;
};

static struct bytes
hex(const char *text)
{
	struct bytes ret = { .len = strlen(text) / 2 };

	assert_true(ret.len < sizeof(ret.data) && writ_unhex(writ_str(text), ret.data, ret.len));
	return ret;
}

static struct writ_bytes
view(const struct bytes *b)
{
	return (struct writ_bytes){ b->data, b->len };
}

static void
expect_name(const uint8_t name[TPM_NAME_LEN], const char *want)
{
	char text[2 * TPM_NAME_LEN + 1];

	assert_string_equal(writ_hex((struct writ_bytes){ name, TPM_NAME_LEN }, text), want);
}

/* ---- what is read ---- */

static void
names_are_computed_from_areas_and_qualified_by_what_is_above(void **state)
{
	const struct bytes ak = hex(AK), srk = hex(SRK), key = hex(KEY);
	uint8_t parent[TPM_NAME_LEN], name[TPM_NAME_LEN];
	struct tpm_area area;

	(void)state;
	expect_ok(tpm_area_read(view(&ak), &area));
	expect_name(area.name, AK_NAME);
	tpm_qualified_primary(TPM_ENDORSEMENT, area.name, name);
	expect_name(name, AK_QUALIFIED);
	assert_true(area.ecdsa && !area.storage && (area.attributes & TPM_RESTRICTED));

	expect_ok(tpm_area_read(view(&srk), &area));
	expect_name(area.name, SRK_NAME);
	tpm_qualified_primary(TPM_OWNER, area.name, parent);
	expect_name(parent, SRK_QUALIFIED);
	assert_true(area.storage && !area.ecdsa && (area.attributes & TPM_DECRYPT));

	expect_ok(tpm_area_read(view(&key), &area));
	expect_name(area.name, KEY_NAME);
	tpm_qualified_child(parent, area.name, name);
	expect_name(name, KEY_QUALIFIED);
	tpm_policy_auth_value(name);
	expect_bytes(area.policy, ((struct writ_bytes){ name, SHA256_LEN }));
}

static void
statements_are_read_whole(void **state)
{
	const struct bytes certify = hex(CERTIFY), quote = hex(QUOTE), nv = hex(NV), counter = hex(COUNTER);
	struct tpm_counter_area area;
	struct tpm_attest said;

	(void)state;
	expect_ok(tpm_attest_read(view(&certify), &said));
	expect_name(said.signer.data, AK_QUALIFIED);
	expect_name(said.name.data, KEY_NAME);
	expect_name(said.qualified.data, KEY_QUALIFIED);
	expect_bytes(said.extra, ((struct writ_bytes){ (const uint8_t *)"\x00\xff\x55\xaa", 4 }));
	assert_true(said.firmware == 0x2019102300163636 && said.clock_ms == 0xe1f5b && said.resets == 2 &&
		    said.restarts == 0 && said.clock_safe);

	expect_ok(tpm_attest_read(view(&quote), &said));
	assert_int_equal(said.pcrs, 0xffff);
	assert_int_equal(said.pcr_digest.len, SHA256_LEN);

	expect_ok(tpm_attest_read(view(&nv), &said));
	expect_ok(tpm_counter_read(view(&counter), &area));
	assert_int_equal(writ_get64(said.contents.data), 1);
	assert_int_equal(area.index, 0x01500016);
	assert_true(area.counter && area.written);
	expect_bytes(said.name, ((struct writ_bytes){ area.name, TPM_NAME_LEN }));
}

/* ---- what is not ---- */

typedef struct writ_err *reader(struct writ_bytes);

static struct writ_err *
read_area(struct writ_bytes bytes)
{
	struct tpm_area area;

	return tpm_area_read(bytes, &area);
}

static struct writ_err *
read_attest(struct writ_bytes bytes)
{
	struct tpm_attest said;

	return tpm_attest_read(bytes, &said);
}

static struct writ_err *
read_signature(struct writ_bytes bytes)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(SIGNATURE_MAX);

	return tpm_signature_read(bytes, &der);
}

static struct writ_err *
read_counter(struct writ_bytes bytes)
{
	struct tpm_counter_area area;

	return tpm_counter_read(bytes, &area);
}

static void
one_byte_less_or_more_is_refused_at_every_length(void **state)
{
	static const struct {
		reader *read;
		const char *text;
	} all[] = { { read_area, AK },
		    { read_area, SRK },
		    { read_area, KEY },
		    { read_attest, CERTIFY },
		    { read_attest, QUOTE },
		    { read_attest, NV },
		    { read_signature, SIGNATURE },
		    { read_counter, COUNTER } };

	(void)state;
	for (size_t i = 0; i < N_OF(all); i++) {
		struct bytes whole = hex(all[i].text);
		struct writ_err *err;

		for (size_t len = 0; len < whole.len; len++) {
			uint8_t *const cut = malloc(len > 0 ? len : 1); /* so that a tool sees one byte too far */

			memcpy(cut, whole.data, len);
			err = all[i].read((struct writ_bytes){ cut, len });
			free(cut);
			assert_non_null(err);
			assert_int_equal(err->code, WRIT_INVALID);
			writ_err_free(err);
		}
		expect_ok(all[i].read(view(&whole)));
		whole.len++;
		err = all[i].read(view(&whole));
		assert_non_null(err);
		writ_err_free(err);
	}
}

/* One field of a good one replaced, at that byte. */
static void
with(reader *read, const char *text, size_t at, const char *field, const char *message)
{
	struct bytes whole = hex(text);
	const struct bytes other = hex(field);

	memcpy(whole.data + at, other.data, other.len);
	expect_refused(read(view(&whole)), WRIT_INVALID, message);
}

static void
what_is_not_of_our_kinds_is_refused_by_name(void **state)
{
	(void)state;
	with(read_area, AK, 0, "0001", "TPMT_PUBLIC: type 0x1 is not one of ours");
	with(read_area, AK, 2, "000c", "TPMT_PUBLIC: nameAlg 0xc is not one of ours");
	with(read_area, AK, 16, "0001", "TPMT_PUBLIC: curve 0x1 is not one of ours");
	with(read_area, AK, 18, "0007", "TPMT_PUBLIC: kdf 0x7 is not one of ours");
	with(read_area, AK, 14, "000c", "TPMT_PUBLIC: hash 0xc is not one of ours");
	with(read_area, AK, 12, "001a", "TPMT_PUBLIC: its symmetric algorithm or signature scheme is not one of ours");
	with(read_area, SRK, 12, "0100", "TPMT_PUBLIC: its symmetric algorithm or signature scheme is not one of ours");
	with(read_attest, CERTIFY, 0, "ff544346", "TPMS_ATTEST: it does not begin as what a TPM made itself");
	with(read_attest, CERTIFY, 4, "8019", "TPMS_ATTEST: type 0x8019 is neither Certify, Quote nor NV_Certify");
	with(read_attest, CERTIFY, 4, "8018", "TPMS_ATTEST: 145 bytes are not one statement of type 0x8018");
	with(read_attest, CERTIFY, 8, "000c", "TPMS_ATTEST: 145 bytes are not one statement of type 0x8017");
	with(read_attest, CERTIFY, 64, "02", "TPMS_ATTEST: 145 bytes are not one statement of type 0x8017");
	with(read_attest, QUOTE, 73, "000c", "TPMS_ATTEST: 113 bytes are not one statement of type 0x8018");
	with(read_signature, SIGNATURE, 0, "0014",
	     "TPMT_SIGNATURE: 72 bytes are not one ECDSA P-256 signature with SHA-256");
	with(read_signature, SIGNATURE, 2, "000c",
	     "TPMT_SIGNATURE: 72 bytes are not one ECDSA P-256 signature with SHA-256");
	with(read_signature, SIGNATURE, 6, "0000000000000000000000000000000000000000000000000000000000000000",
	     "TPMT_SIGNATURE: 72 bytes are not one ECDSA P-256 signature with SHA-256");
	with(read_counter, COUNTER, 4, "000c", "TPMS_NV_PUBLIC: nameAlg 0xc is not SHA-256");
	with(read_counter, COUNTER, 12, "0010", "TPMS_NV_PUBLIC: a counter has 8 bytes, not 16");
}

static void
an_index_that_is_written_at_will_is_no_counter(void **state)
{
	struct bytes ordinary = hex(COUNTER);
	struct tpm_counter_area area;

	(void)state;
	ordinary.data[9] = 0x06;
	expect_ok(tpm_counter_read(view(&ordinary), &area));
	assert_false(area.counter);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_computed_from_areas_and_qualified_by_what_is_above),
		cmocka_unit_test(statements_are_read_whole),
		cmocka_unit_test(one_byte_less_or_more_is_refused_at_every_length),
		cmocka_unit_test(what_is_not_of_our_kinds_is_refused_by_name),
		cmocka_unit_test(an_index_that_is_written_at_will_is_no_counter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
