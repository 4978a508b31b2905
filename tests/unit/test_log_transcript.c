/* A ceremony's transcript: what is written reads back, and nothing else reads as one. */
#include "base/text.h"
#include "issuer/log/transcript.h"
#include "tests/unit/expect.h"

#define SHA "anchor certificate sha256: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
#define KEY_A                                                                                                          \
	"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE5PmjyqkK2VxcaSotqXBHGbE8KjeIMmVeMyQyCuGc2vFoXtpJDZ20+TaBjrpPX36//3BiM2a6" \
	"ViiaT0v8hMjqcA=="
#define KEY_B                                                                                                          \
	"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEc0i07NbRdkNfWTrc6Y65kMu0Ci7G5phDsGgdPiOlghvrOS1eqbhxmHoFtt8KHbbzVH3H5N4G" \
	"o7M9IGpd4ORjyQ=="
#define WITNESS_A "witness: anna, P-256, " KEY_A "\n"
#define WITNESS_B "witness: bert, P-256, " KEY_B "\n"

static struct writ_err *
read_text(const char *text, struct transcript *ret)
{
	return transcript_read(writ_str(text), ret);
}

static void
a_whole_one_names_the_anchor_and_every_witness(void **state)
{
	struct transcript t;

	(void)state;
	expect_ok(read_text(TRANSCRIPT_TITLE "device: x\n" WITNESS_A WITNESS_B SHA "ended: now\n", &t));
	assert_true(t.ended);
	assert_int_equal(t.n_witnesses, 2);
	assert_string_equal(t.witnesses[0].name, "anna");
	assert_string_equal(t.witnesses[1].name, "bert");
	assert_int_equal(t.witnesses[1].spki_len, 91);
	assert_int_equal(t.anchor_sha256[1], 0x23);
}

static void
one_that_has_not_ended_reads_too_and_says_so(void **state)
{
	struct transcript t;

	(void)state;
	expect_ok(read_text(TRANSCRIPT_TITLE, &t));
	assert_false(t.ended);
	assert_int_equal(t.n_witnesses, 0);
}

static void
a_witness_is_written_as_it_is_read(void **state)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(TRANSCRIPT_MAX);
	struct transcript t;

	(void)state;
	expect_ok(read_text(TRANSCRIPT_TITLE WITNESS_A, &t));
	expect_ok(transcript_witness(&text, &t.witnesses[0]));
	expect_bytes(writ_view(&text), writ_str(WITNESS_A));
}

static void
nothing_from_a_device_begins_a_line_of_its_own(void **state)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(TRANSCRIPT_MAX);
	char longer[TRANSCRIPT_LINE_MAX + 100];

	(void)state;
	expect_ok(transcript_line(&text, "device: TPM\nwitness: eve\x1b[1m \xc3\xa4"));
	expect_bytes(writ_view(&text), writ_str("device: TPM?witness: eve?[1m ??\n"));
	memset(longer, 'a', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	writ_buf_clear(&text);
	expect_ok(transcript_line(&text, longer));
	assert_int_equal(text.len, TRANSCRIPT_LINE_MAX + 1);
}

static void
what_is_no_transcript_is_refused_by_its_line(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{ "", "this is no transcript of a ceremony: at most 8192 bytes, and the title first" },
		{ "0" TRANSCRIPT_TITLE,
		  "this is no transcript of a ceremony: at most 8192 bytes, and the title first" },
		{ TRANSCRIPT_TITLE "a: b", "transcript line 2 has no end" },
		{ TRANSCRIPT_TITLE "a: b\n\n", "transcript line 3: a line has 1 to 512 characters, not 0" },
		{ TRANSCRIPT_TITLE "a: \tb\n", "transcript line 2: a character that is not printable ASCII" },
		{ TRANSCRIPT_TITLE "ended: now\n", "transcript line 2: it ends and names no anchor certificate" },
		{ TRANSCRIPT_TITLE SHA "ended: now\nmore: x\n", "transcript line 4: something follows the end" },
		{ TRANSCRIPT_TITLE SHA SHA, "transcript line 3: the anchor's digest is 64 hex digits, once" },
		{ TRANSCRIPT_TITLE "anchor certificate sha256: 00\n",
		  "transcript line 2: the anchor's digest is 64 hex digits, once" },
		{ TRANSCRIPT_TITLE "witness: anna\n",
		  "transcript line 2: a witness is a name, a kind of key, and the key" },
		{ TRANSCRIPT_TITLE "witness: anna, P-384, " KEY_A "\n",
		  "transcript line 2: a witness is a name, a kind of key, and the key" },
		{ TRANSCRIPT_TITLE "witness: anna, P-256,  " KEY_A "\n",
		  "transcript line 2: a witness is a name, a kind of key, and the key" },
		{ TRANSCRIPT_TITLE "witness: Anna, P-256, " KEY_A "\n",
		  "transcript line 2: witness 'Anna': a name has 1 to 32 of a-z, 0-9, '.', '_' and '-', a letter "
		  "first" },
		{ TRANSCRIPT_TITLE "witness: anchor, P-256, " KEY_A "\n",
		  "transcript line 2: witness 'anchor': that name is taken" },
		{ TRANSCRIPT_TITLE WITNESS_A "witness: anna, P-256, " KEY_B "\n",
		  "transcript line 3: witness anna stands there twice" },
		{ TRANSCRIPT_TITLE WITNESS_A "witness: bert, P-256, " KEY_A "\n",
		  "transcript line 3: witnesses anna and bert have one key: two persons have two" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		struct transcript t;

		expect_refused(read_text(cases[i].text, &t), WRIT_INVALID, cases[i].message);
	}
}

static void
a_name_is_one_that_a_file_may_have(void **state)
{
	static const char *const bad[] = {
		"", "../x", "a/b", "Anna", "1a", "a b", "a23456789012345678901234567890123"
	};

	(void)state;
	expect_ok(witness_name_check(WRIT_LIT("anna.b-c_2")));
	for (size_t i = 0; i < N_OF(bad); i++) {
		struct writ_err *err = witness_name_check(writ_str(bad[i]));

		assert_non_null(err);
		writ_err_free(err);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_whole_one_names_the_anchor_and_every_witness),
		cmocka_unit_test(one_that_has_not_ended_reads_too_and_says_so),
		cmocka_unit_test(a_witness_is_written_as_it_is_read),
		cmocka_unit_test(nothing_from_a_device_begins_a_line_of_its_own),
		cmocka_unit_test(what_is_no_transcript_is_refused_by_its_line),
		cmocka_unit_test(a_name_is_one_that_a_file_may_have),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
