/*
 * Input: the bytes of a client.  What parses must lie inside what was parsed, must not depend on what follows it, must
 * be unreadable when cut short, and must read the same when it is written out again.
 */
#include <stdio.h>

#include "issuer/http/http.h"
#include "tests/fuzz/fuzz.h"

static void
check_inside(struct writ_bytes part, struct writ_bytes whole)
{
	if (part.len > 0)
		FUZZ_CHECK(part.data >= whole.data && part.data + part.len <= whole.data + whole.len);
}

static void
check_again(const struct http_head *head)
{
	AUTO(writ_buf_done) struct writ_buf again = WRIT_BUF(4 * HTTP_HEADERS_MAX);
	static const char *const methods[] = { "GET", "HEAD", "POST", "OTHER" };
	struct http_head second;
	size_t len;

	FUZZ_CHECK(fuzz_accepted(writ_buf_printf(&again, "%s %.*s%s%.*s HTTP/1.1\r\nHost:\r\n", methods[head->method],
						 (int)head->path.len, (const char *)head->path.data,
						 head->has_query ? "?" : "", (int)head->query.len,
						 (const char *)head->query.data)));
	if (head->has_length)
		FUZZ_CHECK(fuzz_accepted(
			writ_buf_printf(&again, "Content-Length: %llu\r\n", (unsigned long long)head->content_length)));
	FUZZ_CHECK(fuzz_accepted(writ_buf_printf(&again, "Content-Type: %.*s\r\nAccept:%.*s\r\n\r\n",
						 (int)head->content_type.len, (const char *)head->content_type.data,
						 (int)head->accept.len, (const char *)head->accept.data)));
	if (again.len > HTTP_HEADERS_MAX)
		return;
	FUZZ_CHECK(fuzz_accepted(http_parse(writ_view(&again), &second, &len)));
	FUZZ_CHECK(len == again.len && second.method == head->method && second.content_length == head->content_length);
	FUZZ_CHECK(writ_equal(second.path, head->path) && writ_equal(second.query, head->query));
	FUZZ_CHECK(writ_equal(second.content_type, head->content_type) && writ_equal(second.accept, head->accept));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct writ_bytes in = { data, size };
	struct http_head head, cut;
	size_t len, cut_len;

	if (!fuzz_accepted(http_parse(in, &head, &len))) {
		FUZZ_CHECK(head.refusal >= 400 && head.refusal < 600);
		return 0;
	}
	if (len == 0) {
		FUZZ_CHECK(size < HTTP_HEADERS_MAX);
		return 0;
	}
	FUZZ_CHECK(len <= size && len <= HTTP_HEADERS_MAX && head.refusal == 0);
	FUZZ_CHECK(head.path.len > 0 && head.path.data[0] == '/');
	check_inside(head.path, in);
	check_inside(head.query, in);
	check_inside(head.content_type, in);
	check_inside(head.accept, in);
	check_inside(head.if_none_match, in);
	check_inside(head.idempotency_key, in);
	FUZZ_CHECK(fuzz_accepted(http_parse((struct writ_bytes){ data, len - 1 }, &cut, &cut_len)) && cut_len == 0);
	FUZZ_CHECK(fuzz_accepted(http_parse((struct writ_bytes){ data, len }, &cut, &cut_len)) && cut_len == len);
	check_again(&head);
	return 0;
}
