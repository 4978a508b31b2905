/* Input: a page of the status feed, or a list of documents.  What is read, written again, is the same bytes. */
#include "issuer/status/feed.h"
#include "tests/fuzz/fuzz.h"

static void
page_check(struct writ_bytes in)
{
	static struct status_change changes[FEED_RECORDS_MAX];
	AUTO(writ_buf_done) struct writ_buf again = WRIT_BUF(FEED_PAGE_MAX);
	struct writ_bytes records;
	struct feed_head head;

	if (!fuzz_accepted(feed_read(in, &head, &records)))
		return;
	for (uint32_t i = 0; i < head.count; i++)
		changes[i] = feed_record(records, i);
	FUZZ_CHECK(fuzz_accepted(feed_write(&head, changes, &again)));
	FUZZ_CHECK(writ_equal(writ_view(&again), in));
}

static void
list_check(struct writ_bytes in)
{
	AUTO(writ_buf_done) struct writ_buf again = WRIT_BUF(2 * FEED_DOCUMENTS_MAX);
	struct writ_bytes rest = in;
	struct feed_document doc;

	while (fuzz_accepted(feed_document_read(&rest, &doc)))
		FUZZ_CHECK(fuzz_accepted(feed_document_write(&doc, &again)));
	FUZZ_CHECK(again.len == in.len - rest.len &&
		   memcmp(again.data ? again.data : in.data, in.data, again.len) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct writ_bytes in = { data, len };

	if (len > FEED_DOCUMENTS_MAX)
		return 0;
	page_check(in);
	list_check(in);
	return 0;
}
