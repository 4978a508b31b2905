/*
 * The grammar of a request's head: request line, headers, empty line (RFC 9112, cut down to what our clients need).
 *
 * Refuses instead of interpreting, since every leniency has been somebody's request smuggling: what two parsers could
 * read in two ways is not read at all.  A head is parsed whole, from its first byte, each time more of it has come; it
 * is at most HTTP_HEADERS_MAX bytes. Knows no connection, no route and no body.
 */
#include "issuer/http/http.h"

#include <stdarg.h>
#include <stdio.h>

#define LENGTH_DIGITS_MAX 18 /* of a Content-Length: fits 63 bits; what is longer is too large anyway */

/* Classes of bytes. */
enum {
	TOKEN = 1,  /* RFC 9110 5.6.2 */
	TARGET = 2, /* path and query: pchar, '/' and '?' (RFC 3986 3.3), '%' apart */
	HOST = 4,   /* RFC 3986 3.2.2 with a port */
	DIGIT = 8,
	HEX = 16,
};

/* clang-format off */
static const uint8_t class_of[256] = {
	 0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0, /* controls */
	 0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0, /* controls */
	 0,  7,  0,  1,  7,  5,  7,  7,  6,  6,  7,  7,  6,  7,  7,  2, /* from 'space' */
	31, 31, 31, 31, 31, 31, 31, 31, 31, 31,  6,  6,  0,  6,  0,  2, /* from '0' */
	 2, 23, 23, 23, 23, 23, 23,  7,  7,  7,  7,  7,  7,  7,  7,  7, /* from '@' */
	 7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  4,  0,  4,  1,  7, /* from 'P' */
	 1, 23, 23, 23, 23, 23, 23,  7,  7,  7,  7,  7,  7,  7,  7,  7, /* from '`' */
	 7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  0,  1,  0,  7,  0, /* from 'p' */
};
/* clang-format on */

struct fields {
	struct http_head *head;
	unsigned seen; /* a bit for each enum field */
	bool has_transfer_encoding, is_1_1, close;
};

enum field {
	FIELD_OTHER,
	FIELD_HOST,
	FIELD_ACCEPT,
	FIELD_EXPECT,
	FIELD_CONNECTION,
	FIELD_CONTENT_TYPE,
	FIELD_IF_NONE_MATCH,
	FIELD_CONTENT_LENGTH,
	FIELD_IDEMPOTENCY_KEY,
	FIELD_CONTENT_ENCODING,
	FIELD_TRANSFER_ENCODING,
};

WRIT_PRINTF(3, 4)
static struct writ_err *
refuse(struct http_head *head, unsigned status, const char *fmt, ...)
{
	char message[WRIT_MESSAGE_MAX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(message, sizeof(message), fmt, args);
	va_end(args);
	head->refusal = status;
	return writ_fail(WRIT_INVALID, "%s", message);
}

static struct writ_bytes
bytes_between(const uint8_t *from, const uint8_t *to)
{
	return (struct writ_bytes){ from, (size_t)(to - from) };
}

/* Eight bytes at a time, since headers are most of what we read.  False also for some that are clean: those are looked
 * at closely. */
static bool
is_clean_word(const uint8_t *at)
{
	const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
	uint64_t w;

	memcpy(&w, at, 8);
	/* A high bit, a byte below 0x20 (a tab too), or 0x7f. */
	return ((w | (w - ones * 0x20) | ((w ^ ones * 0x7f) - ones)) & highs) == 0;
}

/* The first byte that is no printable ASCII and no tab, or NULL. */
static const uint8_t *
find_unprintable(const uint8_t *at, const uint8_t *end)
{
	const bool has_word = end - at >= 8;

	while (end - at >= 8 && is_clean_word(at))
		at += 8;
	if (has_word && end - at < 8 && is_clean_word(end - 8))
		return NULL;
	for (; at < end; at++)
		if ((*at < 0x20 && *at != '\t') || *at > 0x7e)
			return at;
	return NULL;
}

/* Takes the next line, without its CRLF.  `*ret_more`: its end is not there yet. */
static struct writ_err *
take_line(struct writ_bytes *in, struct http_head *head, struct writ_bytes *ret, bool *ret_more)
{
	const uint8_t *lf = in->len > 0 ? memchr(in->data, '\n', in->len) : NULL;
	const uint8_t *bad;

	*ret_more = !lf;
	if (!lf)
		return NULL;
	if (lf == in->data || lf[-1] != '\r')
		return refuse(head, 400, "a line ends in a bare LF: lines end in CR LF");
	bad = find_unprintable(in->data, lf - 1);
	if (bad)
		return refuse(head, 400, "byte 0x%02X in the head of the request: only printable ASCII is accepted",
			      *bad);
	*ret = bytes_between(in->data, lf - 1);
	*in = bytes_between(lf + 1, in->data + in->len);
	return NULL;
}

static size_t
class_span(struct writ_bytes text, unsigned class)
{
	size_t n = 0;

	while (n < text.len && (class_of[text.data[n]] & class))
		n++;
	return n;
}

/* Each '%' is followed by two hex digits; what they stand for is the application's business. */
static bool
is_target(struct writ_bytes text)
{
	for (;;) {
		const size_t n = class_span(text, TARGET);

		if (n == text.len)
			return true;
		if (text.data[n] != '%' || text.len - n < 3)
			return false;
		if (!(class_of[text.data[n + 1]] & HEX) || !(class_of[text.data[n + 2]] & HEX))
			return false;
		text = (struct writ_bytes){ text.data + n + 3, text.len - n - 3 };
	}
}

static enum http_method
method_of(struct writ_bytes name)
{
	if (writ_equal(name, WRIT_LIT("GET")))
		return HTTP_GET;
	if (writ_equal(name, WRIT_LIT("POST")))
		return HTTP_POST;
	if (writ_equal(name, WRIT_LIT("HEAD")))
		return HTTP_HEAD;
	return HTTP_OTHER;
}

/* Takes what stands before the next space, and the space. */
static bool
take_word(struct writ_bytes *line, struct writ_bytes *ret)
{
	const uint8_t *space = line->len > 0 ? memchr(line->data, ' ', line->len) : NULL;

	if (!space)
		return false;
	*ret = bytes_between(line->data, space);
	*line = bytes_between(space + 1, line->data + line->len);
	return true;
}

/* method SP origin-form SP "HTTP/1." ("0" / "1") */
static struct writ_err *
request_line(struct writ_bytes line, struct http_head *head, bool *ret_is_1_1)
{
	struct writ_bytes method, target;
	const uint8_t *query;

	if (!take_word(&line, &method) || method.len == 0 || class_span(method, TOKEN) != method.len)
		return refuse(head, 400, "the request line does not begin with a method");
	if (!take_word(&line, &target) || target.len == 0)
		return refuse(head, 400, "the request line is not 'METHOD /path HTTP/1.1'");
	if (line.len != 8 || memcmp(line.data, "HTTP/", 5) != 0 || !(class_of[line.data[5]] & DIGIT) ||
	    line.data[6] != '.' || !(class_of[line.data[7]] & DIGIT))
		return refuse(head, 400, "the request line does not end in a protocol version");
	if (line.data[5] != '1' || line.data[7] > '1')
		return refuse(head, 505, "version %.*s is not spoken here: use HTTP/1.1", WRIT_FMT(line));
	if (target.data[0] != '/')
		return refuse(head, 400, "the target does not begin with '/': only the origin form is accepted");
	if (!is_target(target))
		return refuse(head, 400, "the target holds what no path or query may: %.*s", WRIT_FMT(target));

	query = memchr(target.data, '?', target.len);
	head->method = method_of(method);
	head->has_query = query != NULL;
	head->path = bytes_between(target.data, query ? query : target.data + target.len);
	if (query)
		head->query = bytes_between(query + 1, target.data + target.len);
	*ret_is_1_1 = line.data[7] == '1';
	return NULL;
}

/* `lower` is in lower case; `text` are token characters, of which setting bit 5 makes lower case and no other letter.
 */
static bool
is_word(struct writ_bytes text, struct writ_bytes lower)
{
	if (text.len != lower.len)
		return false;
	for (size_t i = 0; i < text.len; i++)
		if ((text.data[i] | 0x20) != lower.data[i])
			return false;
	return true;
}

static enum field
field_of(struct writ_bytes name)
{
#define FIELD_IS(text, field) return is_word(name, WRIT_LIT(text)) ? (field) : FIELD_OTHER
	switch (name.len) {
	case 4:
		FIELD_IS("host", FIELD_HOST);
	case 6:
		if (is_word(name, WRIT_LIT("accept")))
			return FIELD_ACCEPT;
		FIELD_IS("expect", FIELD_EXPECT);
	case 10:
		FIELD_IS("connection", FIELD_CONNECTION);
	case 12:
		FIELD_IS("content-type", FIELD_CONTENT_TYPE);
	case 13:
		FIELD_IS("if-none-match", FIELD_IF_NONE_MATCH);
	case 14:
		FIELD_IS("content-length", FIELD_CONTENT_LENGTH);
	case 15:
		FIELD_IS("idempotency-key", FIELD_IDEMPOTENCY_KEY);
	case 16:
		FIELD_IS("content-encoding", FIELD_CONTENT_ENCODING);
	case 17:
		FIELD_IS("transfer-encoding", FIELD_TRANSFER_ENCODING);
	default:
		return FIELD_OTHER;
	}
#undef FIELD_IS
}

static struct writ_bytes
trim(struct writ_bytes text)
{
	while (text.len > 0 && (text.data[0] == ' ' || text.data[0] == '\t'))
		text = (struct writ_bytes){ text.data + 1, text.len - 1 };
	while (text.len > 0 && (text.data[text.len - 1] == ' ' || text.data[text.len - 1] == '\t'))
		text.len--;
	return text;
}

static struct writ_err *
content_length(struct http_head *head, struct writ_bytes value)
{
	if (value.len == 0 || class_span(value, DIGIT) != value.len)
		return refuse(head, 400, "Content-Length '%.*s' is not a number", WRIT_FMT(value));
	if (value.len > LENGTH_DIGITS_MAX)
		return refuse(head, 413, "Content-Length %.*s is larger than any body accepted here", WRIT_FMT(value));
	for (size_t i = 0; i < value.len; i++)
		head->content_length = head->content_length * 10 + (uint64_t)(value.data[i] - '0');
	head->has_length = true;
	return NULL;
}

/* A list of tokens; only "close" means anything to us. */
static void
connection(struct fields *fields, struct writ_bytes value)
{
	while (value.len > 0) {
		const uint8_t *comma = memchr(value.data, ',', value.len);
		const uint8_t *end = value.data + value.len;

		if (is_word(trim(bytes_between(value.data, comma ? comma : end)), WRIT_LIT("close")))
			fields->close = true;
		value = comma ? bytes_between(comma + 1, end) : bytes_between(end, end);
	}
}

static struct writ_err *
field_value(struct fields *fields, enum field field, struct writ_bytes name, struct writ_bytes value)
{
	struct http_head *head = fields->head;
	const unsigned bit = 1u << field;

	/* Twice is once too often for all that we read, also where a list could be made of them. */
	if ((fields->seen & bit) && field != FIELD_CONNECTION && field != FIELD_TRANSFER_ENCODING)
		return refuse(head, 400, "header %.*s stands twice", WRIT_FMT(name));
	fields->seen |= bit;

	switch (field) {
	case FIELD_HOST:
		if (class_span(value, HOST) != value.len)
			return refuse(head, 400, "Host '%.*s' is not a host", WRIT_FMT(value));
		return NULL;
	case FIELD_ACCEPT:
		head->accept = value;
		return NULL;
	case FIELD_EXPECT:
		if (!is_word(value, WRIT_LIT("100-continue")))
			return refuse(head, 417, "expectation '%.*s' cannot be met: only 100-continue",
				      WRIT_FMT(value));
		head->expect_continue = true;
		return NULL;
	case FIELD_CONNECTION:
		connection(fields, value);
		return NULL;
	case FIELD_CONTENT_TYPE:
		head->content_type = value;
		return NULL;
	case FIELD_IF_NONE_MATCH:
		head->if_none_match = value;
		return NULL;
	case FIELD_CONTENT_LENGTH:
		return content_length(head, value);
	case FIELD_IDEMPOTENCY_KEY:
		/* Whoever sends it relies on it: an empty one must not pass for none. */
		if (value.len == 0)
			return refuse(head, 400, "Idempotency-Key is empty: give it a value, or leave it out");
		head->idempotency_key = value;
		return NULL;
	case FIELD_CONTENT_ENCODING:
		if (!is_word(value, WRIT_LIT("identity")))
			return refuse(head, 415, "Content-Encoding '%.*s' is not decoded here: send the body as it is",
				      WRIT_FMT(value));
		return NULL;
	case FIELD_TRANSFER_ENCODING:
		fields->has_transfer_encoding = true;
		return NULL;
	case FIELD_OTHER:
		return NULL;
	}
	return NULL;
}

/* field-name ":" OWS field-value OWS; a space before the colon and a folded line are no field-name. */
static struct writ_err *
field_line(struct fields *fields, struct writ_bytes line)
{
	const size_t n = class_span(line, TOKEN);
	const struct writ_bytes name = { line.data, n };
	enum field field;

	if (line.data[0] == ' ' || line.data[0] == '\t')
		return refuse(fields->head, 400, "a folded header line: a header is one line");
	if (n == line.len || line.data[n] != ':' || n == 0)
		return refuse(fields->head, 400, "a header line is not 'Name: value': %.*s", WRIT_FMT(line));
	field = field_of(name);
	if (field == FIELD_OTHER)
		return NULL;
	return field_value(fields, field, name, trim((struct writ_bytes){ line.data + n + 1, line.len - n - 1 }));
}

/* What can be said only when all headers are there. */
static struct writ_err *
fields_end(const struct fields *fields)
{
	struct http_head *head = fields->head;

	if (fields->has_transfer_encoding && head->has_length)
		return refuse(head, 400, "Transfer-Encoding beside Content-Length: one of them lies");
	if (fields->has_transfer_encoding)
		return refuse(head, 411, "Transfer-Encoding is not accepted: send Content-Length");
	if (fields->is_1_1 && !(fields->seen & 1u << FIELD_HOST))
		return refuse(head, 400, "HTTP/1.1 without a Host header");
	if (head->content_length > 0 && (head->method == HTTP_GET || head->method == HTTP_HEAD))
		return refuse(head, 400, "a GET or HEAD request with a body of %llu bytes",
			      (unsigned long long)head->content_length);
	head->keep_alive = fields->is_1_1 && !fields->close;
	head->expect_continue = head->expect_continue && fields->is_1_1; /* RFC 9110 10.1.1 */
	return NULL;
}

unsigned
http_field(const struct http_request *request, const char *lower, struct writ_bytes *ret)
{
	struct writ_bytes rest = request->fields;
	unsigned n = 0;

	*ret = (struct writ_bytes){ 0 };
	while (rest.len > 0) { /* the parser has seen to it that each line is "name: value" CR LF */
		const uint8_t *lf = memchr(rest.data, '\n', rest.len);
		const struct writ_bytes line = bytes_between(rest.data, lf - 1);
		const size_t len = class_span(line, TOKEN);

		if (is_word((struct writ_bytes){ line.data, len }, writ_str(lower))) {
			*ret = trim((struct writ_bytes){ line.data + len + 1, line.len - len - 1 });
			n++;
		}
		rest = bytes_between(lf + 1, rest.data + rest.len);
	}
	return n;
}

/* The end of the head is not there yet: is there still room for it? */
static struct writ_err *
incomplete(struct writ_bytes in, struct http_head *head, bool in_request_line)
{
	if (in.len < HTTP_HEADERS_MAX)
		return NULL;
	if (in_request_line)
		return refuse(head, 414, "the request line is longer than %d bytes", HTTP_HEADERS_MAX);
	return refuse(head, 431, "request line and headers are longer than %d bytes", HTTP_HEADERS_MAX);
}

struct writ_err *
http_parse(struct writ_bytes in, struct http_head *ret, size_t *ret_len)
{
	struct fields fields = { .head = ret };
	struct writ_bytes rest = { in.data, in.len < HTTP_HEADERS_MAX ? in.len : HTTP_HEADERS_MAX };
	struct writ_bytes line;
	struct writ_err *err;
	bool more;

	*ret = (struct http_head){ 0 };
	*ret_len = 0;

	err = take_line(&rest, ret, &line, &more);
	if (err)
		return err;
	if (more)
		return incomplete(in, ret, true);
	err = request_line(line, ret, &fields.is_1_1);
	if (err)
		return err;
	ret->fields.data = rest.data;

	for (;;) {
		err = take_line(&rest, ret, &line, &more);
		if (err)
			return err;
		if (more)
			return incomplete(in, ret, false);
		if (line.len == 0)
			break;
		ret->fields.len = (size_t)(rest.data - ret->fields.data);
		err = field_line(&fields, line);
		if (err)
			return err;
	}
	err = fields_end(&fields);
	if (err)
		return err;
	*ret_len = (size_t)(rest.data - in.data);
	return NULL;
}
