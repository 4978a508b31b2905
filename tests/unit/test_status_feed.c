/*
 * The feed of status: what a page and a list of documents are, and what is refused of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "issuer/status/feed.h"
#include "tests/unit/expect.h"

#define DIGEST "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static struct status_change
change_of(uint8_t n, enum status_state state)
{
	struct status_change change = { .state = state, .life_s = 900u + n };

	memset(change.serial, n, sizeof(change.serial));
	return change;
}

static void
page_of(const struct feed_head *head, struct writ_buf *ret)
{
	const struct status_change changes[] = { change_of(1, STATUS_GOOD), change_of(2, STATUS_REVOKED) };

	expect_ok(feed_write(head, changes, ret));
}

static const struct feed_head two_changes = { .kind = FEED_CHANGES,
					      .epoch = { 7 },
					      .from = 40,
					      .next = 42,
					      .newest = 50,
					      .documents = 3,
					      .time_ms = 1795467097123,
					      .count = 2 };

static void
test_a_page_comes_back_as_it_was_written(void **state)
{
	AUTO(writ_buf_done) struct writ_buf page = WRIT_BUF(FEED_PAGE_MAX);
	struct status_change second;
	struct writ_bytes records;
	struct feed_head head;

	(void)state;
	page_of(&two_changes, &page);
	assert_int_equal(page.len, FEED_HEAD_LEN + 2 * FEED_RECORD_LEN);
	expect_ok(feed_read(writ_view(&page), &head, &records));
	assert_memory_equal(&head, &two_changes, sizeof(head));
	second = feed_record(records, 1);
	assert_int_equal(second.state, STATUS_REVOKED);
	assert_int_equal(second.life_s, 902);
	assert_int_equal(second.serial[15], 2);
}

/* One octet of a good page made another. */
static void
test_what_is_no_page_is_refused(void **state)
{
	static const struct {
		const char *what;
		size_t at;
		uint8_t octet;
		const char *message;
	} cases[] = {
		{ "other letters", 0, 'X', "status feed: it does not begin as a page does" },
		{ "a later form", 3, '2', "status feed: it does not begin as a page does" },
		{ "something where zeroes are", 6, 1, "status feed: it does not begin as a page does" },
		{ "a kind of nothing", 4, 0, "status feed: a kind that is not known here" },
		{ "a fourth kind", 4, 4, "status feed: a kind that is not known here" },
		{ "one record more than there is", 67, 3, "status feed: it has not the length of its records" },
		{ "one record less", 67, 1, "status feed: it has not the length of its records" },
		{ "millions of records", 64, 0xff, "status feed: it has not the length of its records" },
		{ "a gap behind", 39, 43, "status feed: the numbers of its changes do not follow each other" },
		{ "a gap before", 31, 39, "status feed: the numbers of its changes do not follow each other" },
		{ "changes of the future", 47, 41, "status feed: the numbers of its changes do not follow each other" },
		{ "a number that wraps", 24, 0xff, "status feed: the numbers of its changes do not follow each other" },
		{ "a beginning with records", 4, 2,
		  "status feed: a beginning has no records, and is no later than the newest change" },
		{ "a state unknown", FEED_HEAD_LEN + 16, 0, "status feed: a state that is neither good nor revoked" },
		{ "a third state", FEED_HEAD_LEN + FEED_RECORD_LEN + 16, 3,
		  "status feed: a state that is neither good nor revoked" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		AUTO(writ_buf_done) struct writ_buf page = WRIT_BUF(FEED_PAGE_MAX);
		struct writ_bytes records;
		struct feed_head head;

		print_message("%s\n", cases[i].what);
		page_of(&two_changes, &page);
		page.data[cases[i].at] = cases[i].octet;
		expect_refused(feed_read(writ_view(&page), &head, &records), WRIT_INVALID, cases[i].message);
	}
}

static void
test_a_page_of_the_table_leads_on_or_is_the_last(void **state)
{
	static const struct {
		uint64_t from, next;
		bool good;
	} cases[] = {
		{ 0, 1, true },	 { 0, FEED_TABLE_END, true },	   { 5, 5, false },
		{ 5, 4, false }, { 0, FEED_TABLE_END + 1, false }, { FEED_TABLE_END, FEED_TABLE_END, false },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		AUTO(writ_buf_done) struct writ_buf page = WRIT_BUF(FEED_PAGE_MAX);
		struct feed_head head = {
			.kind = FEED_TABLE, .from = cases[i].from, .next = cases[i].next, .count = 2
		};
		struct writ_bytes records;

		page_of(&head, &page);
		if (cases[i].good)
			expect_ok(feed_read(writ_view(&page), &head, &records));
		else
			expect_refused(feed_read(writ_view(&page), &head, &records), WRIT_INVALID,
				       "status feed: a page of the table does not lead on");
	}
}

static void
test_a_list_of_documents_comes_back_line_by_line(void **state)
{
	AUTO(writ_buf_done) struct writ_buf list = WRIT_BUF(FEED_DOCUMENTS_MAX);
	struct feed_document doc = { .path = "/crl/0a1b.crl",
				     .content_type = "application/pkix-crl",
				     .sha256 = DIGEST,
				     .len = 50000000,
				     .last_modified = 1795467097,
				     .expires = 1795467277,
				     .max_age_s = 30 },
			     back;
	struct writ_bytes rest;

	(void)state;
	expect_ok(feed_document_write(&doc, &list));
	snprintf(doc.path, sizeof(doc.path), "/ca/anchor.cer");
	expect_ok(feed_document_write(&doc, &list));
	rest = writ_view(&list);
	expect_ok(feed_document_read(&rest, &back));
	assert_string_equal(back.path, "/crl/0a1b.crl");
	assert_int_equal(back.len, 50000000);
	expect_ok(feed_document_read(&rest, &back));
	assert_memory_equal(&back, &doc, sizeof(doc));
	expect_refused(feed_document_read(&rest, &back), WRIT_NOT_FOUND, "no more documents");
}

static void
test_what_is_no_document_is_refused(void **state)
{
	static const char *const lines[] = {
		"\n",
		DIGEST " 1 1 1 1 t/t /ca/a",	       /* does not end */
		DIGEST " 1 1 1 1 t/t /ca/a \n",	       /* a blank behind */
		DIGEST " 1 1 1 1 t/t /ca/a b\n",       /* a word more */
		DIGEST "  1 1 1 1 t/t /ca/a\n",	       /* two blanks */
		DIGEST " 01 1 1 1 t/t /ca/a\n",	       /* not as it is written */
		DIGEST " 536870913 1 1 1 t/t /ca/a\n", /* over 512 MiB */
		DIGEST " -1 1 1 1 t/t /ca/a\n",
		DIGEST " 1 1 1 86401 t/t /ca/a\n",
		"AA112233445566778899aabbccddeeff00112233445566778899aabbccddeeff 1 1 1 1 t/t /ca/a\n",
		"0011 1 1 1 1 t/t /ca/a\n",
		DIGEST " 1 1 1 1 t/t /ocsp/a\n", /* a path of another's */
		DIGEST " 1 1 1 1 t/t /ca/\n",
		DIGEST " 1 1 1 1 t/t /ca/..\n",
		DIGEST " 1 1 1 1 t/t /ca/a/b\n",
		DIGEST " 1 1 1 1 t/t /ca/a?b\n",
		DIGEST " 1 1 1 1 t/t /ca/a\r\n",
		DIGEST " 1 1 1 1 t\x01t /ca/a\n",
	};

	(void)state;
	for (size_t i = 0; i < N_OF(lines); i++) {
		struct writ_bytes rest = writ_str(lines[i]);
		struct feed_document doc;
		struct writ_err *err = feed_document_read(&rest, &doc);

		if (!err)
			fail_msg("accepted: %s", lines[i]);
		assert_int_equal(err->code, WRIT_INVALID);
		writ_err_free(err);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_page_comes_back_as_it_was_written),
		cmocka_unit_test(test_what_is_no_page_is_refused),
		cmocka_unit_test(test_a_page_of_the_table_leads_on_or_is_the_last),
		cmocka_unit_test(test_a_list_of_documents_comes_back_line_by_line),
		cmocka_unit_test(test_what_is_no_document_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
