/*
 * The grammar of a request's head: what is read, and each refusal with its status and its message.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "issuer/http/http.h"

#define H "Host: w\r\n"

struct refusal {
	const char *name;
	struct writ_bytes in;
	unsigned status;
	const char *message;
};

/* WRIT_LIT() for static tables: a compound literal is no constant. */
#define IN(s)                                                                                                          \
	{                                                                                                              \
		(const uint8_t *)("" s ""), sizeof(s) - 1                                                              \
	}

static const struct refusal refusals[] = {
	/* request line */
	{ "a bare LF ends the request line", IN("GET / HTTP/1.1\nHost: w\r\n\r\n"), 400,
	  "a line ends in a bare LF: lines end in CR LF" },
	{ "an empty line comes first", IN("\r\nGET / HTTP/1.1\r\n" H "\r\n"), 400,
	  "the request line does not begin with a method" },
	{ "an LF comes first", IN("\nGET / HTTP/1.1\r\n" H "\r\n"), 400,
	  "a line ends in a bare LF: lines end in CR LF" },
	{ "a space comes first", IN(" GET / HTTP/1.1\r\n" H "\r\n"), 400,
	  "the request line does not begin with a method" },
	{ "the method is no token", IN("G@T / HTTP/1.1\r\n" H "\r\n"), 400,
	  "the request line does not begin with a method" },
	{ "nothing follows the method", IN("GET\r\n" H "\r\n"), 400, "the request line does not begin with a method" },
	{ "two spaces stand before the target", IN("GET  / HTTP/1.1\r\n" H "\r\n"), 400,
	  "the request line is not 'METHOD /path HTTP/1.1'" },
	{ "there is no version", IN("GET /\r\n" H "\r\n"), 400, "the request line is not 'METHOD /path HTTP/1.1'" },
	{ "a space follows the version", IN("GET / HTTP/1.1 \r\n" H "\r\n"), 400,
	  "the request line does not end in a protocol version" },
	{ "two spaces stand before the version", IN("GET /  HTTP/1.1\r\n" H "\r\n"), 400,
	  "the request line does not end in a protocol version" },
	{ "the version is in lower case", IN("GET / http/1.1\r\n" H "\r\n"), 400,
	  "the request line does not end in a protocol version" },
	{ "the version has two digits", IN("GET / HTTP/1.10\r\n" H "\r\n"), 400,
	  "the request line does not end in a protocol version" },
	{ "the version is 0.9", IN("GET / HTTP/0.9\r\n\r\n"), 505,
	  "version HTTP/0.9 is not spoken here: use HTTP/1.1" },
	{ "the version is 1.2", IN("GET / HTTP/1.2\r\n" H "\r\n"), 505,
	  "version HTTP/1.2 is not spoken here: use HTTP/1.1" },
	{ "the preface of HTTP/2", IN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505,
	  "version HTTP/2.0 is not spoken here: use HTTP/1.1" },
	{ "the target is absolute", IN("GET http://w/ HTTP/1.1\r\n" H "\r\n"), 400,
	  "the target does not begin with '/': only the origin form is accepted" },
	{ "the target is an authority", IN("CONNECT w:443 HTTP/1.1\r\n" H "\r\n"), 400,
	  "the target does not begin with '/': only the origin form is accepted" },
	{ "the target is a star", IN("OPTIONS * HTTP/1.1\r\n" H "\r\n"), 400,
	  "the target does not begin with '/': only the origin form is accepted" },
	{ "the target has a fragment", IN("GET /#x HTTP/1.1\r\n" H "\r\n"), 400,
	  "the target holds what no path or query may: /#x" },
	{ "the target has a backslash", IN("GET /a\\b HTTP/1.1\r\n" H "\r\n"), 400,
	  "the target holds what no path or query may: /a\\b" },
	{ "an escape has one digit", IN("GET /%4 HTTP/1.1\r\n" H "\r\n"), 400,
	  "the target holds what no path or query may: /%4" },
	{ "an escape has no hex digits", IN("GET /%zz HTTP/1.1\r\n" H "\r\n"), 400,
	  "the target holds what no path or query may: /%zz" },
	{ "NUL in the path", IN("GET /a\0b HTTP/1.1\r\n" H "\r\n"), 400,
	  "byte 0x00 in the head of the request: only printable ASCII is accepted" },
	{ "a bare CR in the request line", IN("GET /\rx HTTP/1.1\r\n" H "\r\n"), 400,
	  "byte 0x0D in the head of the request: only printable ASCII is accepted" },
	{ "UTF-8 in the path", IN("GET /\xc3\xa9 HTTP/1.1\r\n" H "\r\n"), 400,
	  "byte 0xC3 in the head of the request: only printable ASCII is accepted" },
	/* header lines */
	{ "a bare LF ends a header", IN("GET / HTTP/1.1\r\nHost: w\nX: y\r\n\r\n"), 400,
	  "a line ends in a bare LF: lines end in CR LF" },
	{ "a bare LF ends the head", IN("GET / HTTP/1.1\r\n" H "\n"), 400,
	  "a line ends in a bare LF: lines end in CR LF" },
	{ "NUL in a header",
	  IN("GET / HTTP/1.1\r\n" H "X: 123456789\0"
	     "123456789\r\n\r\n"),
	  400, "byte 0x00 in the head of the request: only printable ASCII is accepted" },
	{ "DEL in a header", IN("GET / HTTP/1.1\r\n" H "X: 1234567\x7f\r\n\r\n"), 400,
	  "byte 0x7F in the head of the request: only printable ASCII is accepted" },
	{ "a bare CR in a header", IN("GET / HTTP/1.1\r\n" H "X: a\rY: b\r\n\r\n"), 400,
	  "byte 0x0D in the head of the request: only printable ASCII is accepted" },
	{ "Latin-1 in a header", IN("GET / HTTP/1.1\r\n" H "User-Agent: M\xfcller\r\n\r\n"), 400,
	  "byte 0xFC in the head of the request: only printable ASCII is accepted" },
	{ "a folded line", IN("GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n"), 400,
	  "a folded header line: a header is one line" },
	{ "a line folded with a tab, first of all", IN("GET / HTTP/1.1\r\n\tX: a\r\n" H "\r\n"), 400,
	  "a folded header line: a header is one line" },
	{ "a space before the colon", IN("GET / HTTP/1.1\r\n" H "Content-Length : 5\r\n\r\n"), 400,
	  "a header line is not 'Name: value': Content-Length : 5" },
	{ "no colon", IN("GET / HTTP/1.1\r\n" H "Nonsense\r\n\r\n"), 400,
	  "a header line is not 'Name: value': Nonsense" },
	{ "no name", IN("GET / HTTP/1.1\r\n" H ": x\r\n\r\n"), 400, "a header line is not 'Name: value': : x" },
	/* what headers say */
	{ "no Host", IN("GET / HTTP/1.1\r\n\r\n"), 400, "HTTP/1.1 without a Host header" },
	{ "two Hosts", IN("GET / HTTP/1.1\r\n" H "host: w\r\n\r\n"), 400, "header host stands twice" },
	{ "a Host with a space", IN("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), 400, "Host 'a b' is not a host" },
	{ "a Host with a path", IN("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), 400, "Host 'a/b' is not a host" },
	{ "a Host with a user", IN("GET / HTTP/1.1\r\nHost: u@h\r\n\r\n"), 400, "Host 'u@h' is not a host" },
	{ "two different Content-Lengths", IN("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"),
	  400, "header Content-Length stands twice" },
	{ "two equal Content-Lengths", IN("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\ncontent-length: 5\r\n\r\n"),
	  400, "header content-length stands twice" },
	{ "a list of Content-Lengths", IN("POST / HTTP/1.1\r\n" H "Content-Length: 5, 5\r\n\r\n"), 400,
	  "Content-Length '5, 5' is not a number" },
	{ "a sign in Content-Length", IN("POST / HTTP/1.1\r\n" H "Content-Length: +5\r\n\r\n"), 400,
	  "Content-Length '+5' is not a number" },
	{ "a negative Content-Length", IN("POST / HTTP/1.1\r\n" H "Content-Length: -1\r\n\r\n"), 400,
	  "Content-Length '-1' is not a number" },
	{ "a hexadecimal Content-Length", IN("POST / HTTP/1.1\r\n" H "Content-Length: 0x5\r\n\r\n"), 400,
	  "Content-Length '0x5' is not a number" },
	{ "an empty Content-Length", IN("POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n"), 400,
	  "Content-Length '' is not a number" },
	{ "a Content-Length past 64 bits", IN("POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551621\r\n\r\n"),
	  413, "Content-Length 18446744073709551621 is larger than any body accepted here" },
	{ "chunks", IN("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"), 411,
	  "Transfer-Encoding is not accepted: send Content-Length" },
	{ "chunks of an unknown spelling", IN("POST / HTTP/1.1\r\n" H "tRANSFER-eNCODING: xchunked\r\n\r\n"), 411,
	  "Transfer-Encoding is not accepted: send Content-Length" },
	{ "chunks with a length", IN("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
	  400, "Transfer-Encoding beside Content-Length: one of them lies" },
	{ "a length with chunks",
	  IN("POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\n"), 400,
	  "Transfer-Encoding beside Content-Length: one of them lies" },
	{ "a GET with a body", IN("GET / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\n"), 400,
	  "a GET or HEAD request with a body of 5 bytes" },
	{ "a HEAD with a body", IN("HEAD / HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\n"), 400,
	  "a GET or HEAD request with a body of 1 bytes" },
	{ "an unknown expectation", IN("POST / HTTP/1.1\r\n" H "Expect: 200-ok\r\n\r\n"), 417,
	  "expectation '200-ok' cannot be met: only 100-continue" },
	{ "a compressed body", IN("POST / HTTP/1.1\r\n" H "Content-Encoding: gzip\r\n\r\n"), 415,
	  "Content-Encoding 'gzip' is not decoded here: send the body as it is" },
	{ "two Content-Types", IN("POST / HTTP/1.1\r\n" H "Content-Type: a\r\nContent-Type: b\r\n\r\n"), 400,
	  "header Content-Type stands twice" },
	{ "an empty Idempotency-Key", IN("POST / HTTP/1.1\r\n" H "Idempotency-Key: \r\n\r\n"), 400,
	  "Idempotency-Key is empty: give it a value, or leave it out" },
	{ "two Idempotency-Keys", IN("POST / HTTP/1.1\r\n" H "Idempotency-Key: a\r\nIdempotency-Key: b\r\n\r\n"), 400,
	  "header Idempotency-Key stands twice" },
};

static void
what_is_not_the_grammar_is_refused_with_status_and_reason(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_OF(refusals); i++) {
		const struct refusal *r = &refusals[i];
		struct http_head head;
		size_t len;
		struct writ_err *err = http_parse(r->in, &head, &len);

		if (!err)
			fail_msg("%s: was accepted", r->name);
		if (head.refusal != r->status || strcmp(err->message, r->message) != 0)
			fail_msg("%s: %u '%s', not %u '%s'", r->name, head.refusal, err->message, r->status,
				 r->message);
		assert_int_equal(err->code, WRIT_INVALID);
		writ_err_free(err);
	}
}

static void
parse(struct writ_bytes in, struct http_head *head, size_t *len)
{
	struct writ_err *err = http_parse(in, head, len);

	if (err)
		fail_msg("refused: %s", err->message);
}

static void
a_head_is_read_into_its_parts(void **state)
{
	const struct writ_bytes in =
		IN("POST /v1/tasks?dry=1 HTTP/1.1\r\nHost: [::1]:8443\r\nUser-Agent: x\ty\r\nCONTENT-type:\t "
		   "application/json \t\r\nAccept: */*\r\nIf-None-Match: \"a\", W/\"b\"\r\nContent-Length: 007\r\n"
		   "idempotency-KEY: k-1\r\nExpect: 100-Continue\r\n\r\n{...}XXGET");
	struct http_head head;
	size_t len;

	(void)state;
	parse(in, &head, &len);
	assert_int_equal(len, in.len - 10);
	assert_int_equal(head.method, HTTP_POST);
	assert_true(writ_equal(head.path, WRIT_LIT("/v1/tasks")));
	assert_true(head.has_query);
	assert_true(writ_equal(head.query, WRIT_LIT("dry=1")));
	assert_true(writ_equal(head.content_type, WRIT_LIT("application/json")));
	assert_true(writ_equal(head.accept, WRIT_LIT("*/*")));
	assert_true(writ_equal(head.if_none_match, WRIT_LIT("\"a\", W/\"b\"")));
	assert_true(writ_equal(head.idempotency_key, WRIT_LIT("k-1")));
	assert_true(head.has_length);
	assert_int_equal(head.content_length, 7);
	assert_true(head.expect_continue);
	assert_true(head.keep_alive);
	assert_int_equal(head.refusal, 0);
}

static void
the_path_is_left_as_it_was_sent(void **state)
{
	struct http_head head;
	size_t len;

	(void)state;
	parse(WRIT_LIT("GET /ocsp//MFEw%2b/../%2F+= HTTP/1.1\r\n" H "\r\n"), &head, &len);
	assert_true(writ_equal(head.path, WRIT_LIT("/ocsp//MFEw%2b/../%2F+=")));
	assert_false(head.has_query);
	parse(WRIT_LIT("GET /? HTTP/1.1\r\n" H "\r\n"), &head, &len);
	assert_true(head.has_query);
	assert_int_equal(head.query.len, 0);
}

static void
connections_are_kept_by_1_1_unless_closed_and_never_by_1_0(void **state)
{
	static const struct {
		struct writ_bytes in;
		bool keep;
	} cases[] = {
		{ IN("GET / HTTP/1.1\r\n" H "\r\n"), true },
		{ IN("GET / HTTP/1.1\r\n" H "Connection: keep-alive, TE\r\n\r\n"), true },
		{ IN("GET / HTTP/1.1\r\n" H "Connection: not-close\r\n\r\n"), true },
		{ IN("GET / HTTP/1.1\r\n" H "Connection: Close\r\n\r\n"), false },
		{ IN("GET / HTTP/1.1\r\n" H "Connection: TE ,\tclose , x\r\n\r\n"), false },
		{ IN("GET / HTTP/1.1\r\n" H "Connection: x\r\nConnection: close\r\n\r\n"), false },
		{ IN("GET / HTTP/1.0\r\n\r\n"), false },
		{ IN("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), false },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(cases); i++) {
		struct http_head head;
		size_t len;

		parse(cases[i].in, &head, &len);
		assert_int_equal(head.keep_alive, cases[i].keep);
	}
}

static void
other_methods_are_read_and_left_to_the_application(void **state)
{
	struct http_head head;
	size_t len;

	(void)state;
	parse(WRIT_LIT("DELETE /x HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\n"), &head, &len);
	assert_int_equal(head.method, HTTP_OTHER);
	parse(WRIT_LIT("get /x HTTP/1.1\r\n" H "\r\n"), &head, &len);
	assert_int_equal(head.method, HTTP_OTHER); /* methods are case-sensitive */
	parse(WRIT_LIT("HEAD /x HTTP/1.0\r\nExpect: 100-continue\r\n\r\n"), &head, &len);
	assert_int_equal(head.method, HTTP_HEAD);
	assert_false(head.expect_continue); /* 1.0 knows none */
}

static void
a_head_cut_anywhere_waits_for_more(void **state)
{
	const struct writ_bytes in = IN("POST /v1/tasks HTTP/1.1\r\nHost: w\r\nContent-Length: 5\r\n\r\n");

	(void)state;
	for (size_t n = 0; n < in.len; n++) {
		struct http_head head;
		size_t len;

		parse((struct writ_bytes){ in.data, n }, &head, &len);
		assert_int_equal(len, 0);
	}
}

static void
a_head_of_the_limit_is_read_and_one_byte_more_is_not(void **state)
{
	static const char begin[] = "GET / HTTP/1.1\r\n" H "X: ";
	uint8_t in[HTTP_HEADERS_MAX + 10];
	struct http_head head;
	struct writ_err *err;
	size_t len;

	(void)state;
	memset(in, 'x', sizeof(in));
	memcpy(in, begin, sizeof(begin) - 1);
	memcpy(in + HTTP_HEADERS_MAX - 4, "\r\n\r\n", 4);
	parse((struct writ_bytes){ in, sizeof(in) }, &head, &len);
	assert_int_equal(len, HTTP_HEADERS_MAX);

	memcpy(in + HTTP_HEADERS_MAX - 4, "x\r\n\r\n", 5);
	err = http_parse((struct writ_bytes){ in, HTTP_HEADERS_MAX + 1 }, &head, &len);
	assert_non_null(err);
	assert_int_equal(head.refusal, 431);
	assert_string_equal(err->message, "request line and headers are longer than 8192 bytes");
	writ_err_free(err);

	memset(in, 'x', sizeof(in));
	parse((struct writ_bytes){ in, HTTP_HEADERS_MAX - 1 }, &head, &len);
	assert_int_equal(len, 0);
	err = http_parse((struct writ_bytes){ in, HTTP_HEADERS_MAX }, &head, &len);
	assert_non_null(err);
	assert_int_equal(head.refusal, 414);
	assert_string_equal(err->message, "the request line is longer than 8192 bytes");
	writ_err_free(err);
}

static void
every_byte_is_refused_or_accepted_wherever_it_stands(void **state)
{
	(void)state;
	for (unsigned c = 0; c < 256; c++) {
		for (unsigned at = 0; at < 20;
		     at++) { /* the check goes by words of eight: no place in them may be blind */
			char in[] = "GET / HTTP/1.1\r\nHost: w\r\nX: aaaaaaaaaaaaaaaaaaaa\r\n\r\n";
			struct http_head head;
			struct writ_err *err;
			size_t len;

			in[sizeof("GET / HTTP/1.1\r\nHost: w\r\nX: ") - 1 + at] = (char)c;
			err = http_parse(writ_str("") /* empty */, &head, &len);
			assert_null(err);
			err = http_parse((struct writ_bytes){ (const uint8_t *)in, sizeof(in) - 1 }, &head, &len);
			assert_int_equal(err == NULL, c == '\t' || (c >= 0x20 && c <= 0x7e));
			writ_err_free(err);
		}
	}
}

static void
a_response_is_composed_whole(void **state)
{
	AUTO(writ_buf_done) struct writ_buf buf = WRIT_BUF(1000);
	struct writ_err *err;

	(void)state;
	err = http_response(&(struct http_answer){ .status = 200,
						   .content_type = "text/plain",
						   .body = WRIT_LIT("body"),
						   .headers = WRIT_LIT("X: y\r\n"),
						   .close = true },
			    784111777, &buf);
	assert_null(err);
	err = writ_buf_add(&buf, WRIT_LIT("\0"));
	assert_null(err);
	assert_string_equal((const char *)buf.data,
			    "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n"
			    "Content-Length: 4\r\nConnection: close\r\nX: y\r\n\r\nbody");
	writ_buf_clear(&buf);
	err = http_response(
		&(struct http_answer){ .status = 304, .content_type = "text/plain", .body = WRIT_LIT("body") }, 0,
		&buf);
	assert_null(err);
	assert_null(memmem(buf.data, buf.len, "Content", 7));
	assert_null(memmem(buf.data, buf.len, "body", 4));
	buf.limit = buf.len + 10;
	err = http_response(&(struct http_answer){ .status = 200 }, 0, &buf);
	assert_non_null(err);
	assert_int_equal(err->code, WRIT_EXHAUSTED);
	writ_err_free(err);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_the_grammar_is_refused_with_status_and_reason),
		cmocka_unit_test(a_head_is_read_into_its_parts),
		cmocka_unit_test(the_path_is_left_as_it_was_sent),
		cmocka_unit_test(connections_are_kept_by_1_1_unless_closed_and_never_by_1_0),
		cmocka_unit_test(other_methods_are_read_and_left_to_the_application),
		cmocka_unit_test(a_head_cut_anywhere_waits_for_more),
		cmocka_unit_test(a_head_of_the_limit_is_read_and_one_byte_more_is_not),
		cmocka_unit_test(every_byte_is_refused_or_accepted_wherever_it_stands),
		cmocka_unit_test(a_response_is_composed_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
