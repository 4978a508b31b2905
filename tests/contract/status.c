/*
 * The status front over real sockets, with a stub for the signer: what is answered from the cache, what is asked, what
 * is refused; and that nothing that was signed for another state of the table ever leaves.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/digest.h"
#include "base/text.h"
#include "issuer/status/status.h"

enum stub_mode {
	STUB_ANSWERS, /* at once */
	STUB_HOLDS,   /* until release() */
	STUB_REFUSES, /* takes no question */
	STUB_NOT_FOUND,
	STUB_UNAVAILABLE,
};

struct held {
	struct rig *rig;
	void *token;
	unsigned number;
	struct held *next;
};

struct rig {
	struct loop *loop;
	struct status_table *table;
	struct publish *publish;
	struct status_front *front;
	struct http_handler handler;
	struct ocsp_issuer issuer;
	pthread_t thread;
	uint16_t port;
	_Atomic enum stub_mode mode;
	atomic_bool says_good;
	atomic_uint n_asked, n_with_nonce;
	atomic_int valid_s; /* of the stub's answers */
	atomic_uint window; /* so many questions it takes at once */
	unsigned n_taken;   /* the loop thread's, and */
	struct held *held;
};

static void
must(struct writ_err *err)
{
	char text[1000];

	if (err)
		fail_msg("%s", writ_err_text(err, text, sizeof(text)));
}

static void
sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

/* ---- the signer's stub: its answers say which question they answer ---- */

static void
stub_answer(void *arg)
{
	struct held *held = arg;
	struct rig *rig = held->rig;
	const writ_time now = loop_now(rig->loop).wall;
	struct writ_err *err = NULL;
	char text[32];

	snprintf(text, sizeof(text), "signed-%u.", held->number);
	if (atomic_load(&rig->mode) == STUB_NOT_FOUND)
		err = writ_fail(WRIT_NOT_FOUND, "no such serial");
	if (atomic_load(&rig->mode) == STUB_UNAVAILABLE)
		err = writ_fail(WRIT_UNAVAILABLE, "the signer is away");
	rig->n_taken--;
	status_front_answer(rig->front, held->token, err, atomic_load(&rig->says_good), writ_str(text), now - 30,
			    now + atomic_load(&rig->valid_s));
	free(held);
}

static bool
stub_ask(void *ctx, struct writ_bytes cert_id, struct writ_bytes nonce, void *token)
{
	struct rig *rig = ctx;
	struct held *held;

	if (cert_id.len == 0)
		abort();
	if (atomic_load(&rig->mode) == STUB_REFUSES || rig->n_taken >= atomic_load(&rig->window))
		return false;
	rig->n_taken++;
	held = malloc(sizeof(*held));
	*held = (struct held){ .rig = rig, .token = token, .number = atomic_fetch_add(&rig->n_asked, 1) + 1 };
	if (nonce.len > 0)
		atomic_fetch_add(&rig->n_with_nonce, 1);
	if (atomic_load(&rig->mode) == STUB_HOLDS) {
		held->next = rig->held;
		rig->held = held;
	} else {
		loop_post(rig->loop, stub_answer, held);
	}
	return true;
}

static void
stub_release(void *arg)
{
	struct rig *rig = arg;
	struct held *held = TAKE(rig->held);

	while (held) {
		struct held *next = held->next;

		stub_answer(held);
		held = next;
	}
}

static bool
other(void *ctx, struct http_request *request)
{
	(void)ctx;
	if (!writ_equal(request->path, WRIT_LIT("/healthz")))
		return false;
	http_answer(request, &(struct http_answer){ .status = 200, .body = WRIT_LIT("well\n") });
	return true;
}

/* ---- the rig ---- */

static void *
run(void *arg)
{
	struct writ_err *err = loop_run(((struct rig *)arg)->loop);

	if (err)
		abort();
	return NULL;
}

static void
rig_start_budgets(struct rig *rig, unsigned nonces_per_s, unsigned misses_per_s, size_t cache_bytes_max)
{
	*rig = (struct rig){ .valid_s = 120, .window = 1000 };
	must(status_table_new(1, &rig->table));
	must(publish_new(&rig->publish));
	must(loop_new(&(struct loop_conf){ 0 }, &rig->loop));
	must(status_front_new(&(struct status_front_conf){ .table = rig->table,
							   .publish = rig->publish,
							   .ask = stub_ask,
							   .other = other,
							   .ctx = rig,
							   .nonces_per_s = nonces_per_s,
							   .misses_per_s = misses_per_s,
							   .cache_bytes_max = cache_bytes_max },
			      &rig->front));
	writ_random((uint8_t *)&rig->issuer, sizeof(rig->issuer));
	must(status_front_issuers(rig->front, &rig->issuer, 1));
	rig->handler = (struct http_handler){ .body_max = OCSP_REQUEST_MAX,
					      .request = status_front_request,
					      .ctx = rig->front };
	must(loop_listen(rig->loop, "127.0.0.1", 0, false, &rig->handler, &rig->port));
	assert_int_equal(pthread_create(&rig->thread, NULL, run, rig), 0);
}

static void
rig_start(struct rig *rig, unsigned nonces_per_s, size_t cache_bytes_max)
{
	rig_start_budgets(rig, nonces_per_s, 0, cache_bytes_max);
}

static void
rig_stop(struct rig *rig)
{
	loop_stop(rig->loop);
	pthread_join(rig->thread, NULL);
	while (rig->held) {
		struct held *next = rig->held->next;

		free(rig->held);
		rig->held = next;
	}
	status_front_free(rig->front);
	loop_free(rig->loop);
	publish_free(rig->publish);
	status_table_free(rig->table);
}

static struct status_front_counts
counts(const struct rig *rig)
{
	struct status_front_counts ret = { 0 };

	status_front_counts(rig->front, &ret);
	return ret;
}

static writ_time
now(void)
{
	return clock_read().wall;
}

static void
serial_new(uint8_t serial[16])
{
	writ_random(serial, 16);
	writ_put32(serial, (uint32_t)(now() / 60));
}

static void
issue(struct rig *rig, uint8_t serial[16])
{
	serial_new(serial);
	must(status_set(rig->table, serial, STATUS_GOOD, now() + 900));
}

/* ---- clients ---- */

static int
dial(const struct rig *rig)
{
	const struct sockaddr_in at = { .sin_family = AF_INET,
					.sin_port = htons(rig->port),
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct timeval patience = { .tv_sec = 10 };
	const int fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static void
say(int fd, struct writ_bytes request)
{
	assert_int_equal(send(fd, request.data, request.len, MSG_NOSIGNAL), request.len);
}

struct reply {
	char text[8192];
	size_t len;
	const char *body;
};

/* All until the server closes: each request here asks for that. */
static struct reply *
hear(int fd)
{
	static struct reply reply;
	ssize_t n;

	reply = (struct reply){ 0 };
	while ((n = recv(fd, reply.text + reply.len, sizeof(reply.text) - 1 - reply.len, 0)) > 0)
		reply.len += (size_t)n;
	assert_int_equal(n, 0);
	close(fd);
	reply.body = strstr(reply.text, "\r\n\r\n");
	assert_non_null(reply.body);
	reply.body += 4;
	return &reply;
}

static void
request_der(const struct ocsp_issuer *issuer, bool sha1, const uint8_t *serial, size_t serial_len, const char *nonce,
	    struct writ_buf *ret)
{
	must(ocsp_request_build(issuer, sha1, (struct writ_bytes){ serial, serial_len }, writ_str(nonce), ret));
}

static int
post_send(struct rig *rig, struct writ_bytes der, const char *headers)
{
	AUTO(writ_buf_done) struct writ_buf request = WRIT_BUF(16384);
	const int fd = dial(rig);

	must(writ_buf_printf(&request,
			     "POST /ocsp HTTP/1.1\r\nHost: s\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n",
			     headers, der.len));
	must(writ_buf_add(&request, der));
	say(fd, writ_view(&request));
	return fd;
}

#define TYPE "Content-Type: application/ocsp-request\r\n"

static struct reply *
post(struct rig *rig, const uint8_t serial[16])
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(OCSP_REQUEST_MAX);

	request_der(&rig->issuer, false, serial, 16, "", &der);
	return hear(post_send(rig, writ_view(&der), TYPE));
}

static struct reply *
say_hear(struct rig *rig, const char *method, const char *path, const char *headers)
{
	AUTO(writ_buf_done) struct writ_buf request = WRIT_BUF(16384);
	const int fd = dial(rig);

	must(writ_buf_printf(&request, "%s %s HTTP/1.1\r\nHost: s\r\nConnection: close\r\n%s\r\n", method, path,
			     headers));
	say(fd, writ_view(&request));
	return hear(fd);
}

static void
assert_has(const struct reply *reply, const char *part)
{
	if (!strstr(reply->text, part))
		fail_msg("'%s' is not in '%s'", part, reply->text);
}

static void
assert_unsigned(const struct reply *reply, enum ocsp_error error)
{
	assert_has(reply, "HTTP/1.1 200 OK\r\n");
	assert_has(reply, "\r\nCache-Control: no-store\r\n");
	assert_has(reply, "\r\nContent-Type: application/ocsp-response\r\n");
	assert_int_equal(reply->len - (size_t)(reply->body - reply->text), 5);
	assert_memory_equal(reply->body, "\x30\x03\x0a\x01", 4);
	assert_int_equal(reply->body[4], error);
}

/* ---- OCSP ---- */

static void
a_miss_is_asked_once_and_then_answered_from_the_cache(void **state)
{
	struct rig rig;
	uint8_t serial[16], digest[SHA256_LEN];
	char etag[2 * SHA256_LEN + 1], wanted[200], date[WRIT_HTTP_DATE_LEN + 1];
	struct reply *reply;

	(void)state;
	rig_start(&rig, 0, 1 << 20);
	issue(&rig, serial);
	for (unsigned i = 0; i < 5; i++)
		assert_string_equal(post(&rig, serial)->body, "signed-1.");
	assert_int_equal(atomic_load(&rig.n_asked), 1);
	assert_int_equal(counts(&rig).misses, 1);
	assert_int_equal(counts(&rig).hits, 4);

	reply = post(&rig, serial);
	assert_has(reply, "HTTP/1.1 200 OK\r\nDate: ");
	assert_has(reply, "\r\nContent-Type: application/ocsp-response\r\nContent-Length: 9\r\nLast-Modified: ");
	assert_has(reply, "\r\nCache-Control: max-age=30, public, no-transform, must-revalidate\r\n\r\nsigned-1.");
	writ_sha256(WRIT_LIT("signed-1."), digest);
	writ_hex((struct writ_bytes){ digest, sizeof(digest) }, etag);
	snprintf(wanted, sizeof(wanted), "\r\nETag: \"%s\"\r\n", etag);
	assert_has(reply, wanted);
	snprintf(wanted, sizeof(wanted), "Date: %s", writ_time_http(now(), date));
	sleep_ms(1100);
	reply = post(&rig, serial);
	assert_null(strstr(reply->text, wanted)); /* the Date is that of the answer, not of the signature */
	rig_stop(&rig);
}

static void
those_who_miss_together_are_answered_by_one_question(void **state)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(OCSP_REQUEST_MAX);
	struct rig rig;
	uint8_t serial[16];
	int fd[5];

	(void)state;
	rig_start(&rig, 0, 1 << 20);
	issue(&rig, serial);
	request_der(&rig.issuer, false, serial, 16, "", &der);
	atomic_store(&rig.mode, STUB_HOLDS);
	for (unsigned i = 0; i < 5; i++)
		fd[i] = post_send(&rig, writ_view(&der), TYPE);
	sleep_ms(100);
	loop_post(rig.loop, stub_release, &rig);
	for (unsigned i = 0; i < 5; i++)
		assert_string_equal(hear(fd[i])->body, "signed-1.");
	assert_int_equal(atomic_load(&rig.n_asked), 1);
	rig_stop(&rig);
}

static void
each_form_of_a_certid_has_its_own_answer(void **state)
{
	AUTO(writ_buf_done) struct writ_buf sha1 = WRIT_BUF(OCSP_REQUEST_MAX);
	struct rig rig;
	uint8_t serial[16];

	(void)state;
	rig_start(&rig, 0, 1 << 20);
	issue(&rig, serial);
	request_der(&rig.issuer, true, serial, 16, "", &sha1);
	assert_string_equal(post(&rig, serial)->body, "signed-1.");
	assert_string_equal(hear(post_send(&rig, writ_view(&sha1), TYPE))->body, "signed-2.");
	assert_string_equal(post(&rig, serial)->body, "signed-1.");
	rig_stop(&rig);
}

static void
a_revocation_ends_what_was_ready(void **state)
{
	struct rig rig;
	uint8_t serial[16];

	(void)state;
	rig_start(&rig, 0, 1 << 20);
	issue(&rig, serial);
	assert_string_equal(post(&rig, serial)->body, "signed-1.");
	must(status_set(rig.table, serial, STATUS_REVOKED, now() + 900));
	assert_string_equal(post(&rig, serial)->body, "signed-2.");
	assert_string_equal(post(&rig, serial)->body, "signed-2.");
	rig_stop(&rig);
}

struct swap {
	struct rig *rig;
	struct status_table *to;
	atomic_bool done;
};

static void
swap_run(void *arg)
{
	struct swap *swap = arg;

	status_front_table(swap->rig->front, swap->to);
	atomic_store(&swap->done, true);
}

/* Another table instead, which says `state` of the serial, or nothing. */
static void
swap_table(struct rig *rig, const uint8_t serial[16], enum status_state state)
{
	struct status_table *before = rig->table;
	struct swap swap = { .rig = rig };

	must(status_table_after(before, &swap.to));
	if (state != STATUS_UNKNOWN)
		must(status_set(swap.to, serial, state, now() + 900));
	loop_post(rig->loop, swap_run, &swap);
	for (unsigned i = 0; i < 2000 && !atomic_load(&swap.done); i++)
		sleep_ms(5);
	assert_true(atomic_load(&swap.done));
	rig->table = swap.to;
	status_table_free(before);
}

static void
no_answer_that_was_ready_outlives_the_table_it_was_about(void **state)
{
	struct rig rig;
	uint8_t serial[16];

	(void)state;
	rig_start(&rig, 0, 1 << 20);
	issue(&rig, serial);
	assert_string_equal(post(&rig, serial)->body, "signed-1.");
	swap_table(&rig, serial, STATUS_REVOKED); /* its first state there, as good was here */
	assert_string_equal(post(&rig, serial)->body, "signed-2.");
	swap_table(&rig, serial, STATUS_REVOKED);
	assert_string_equal(post(&rig, serial)->body, "signed-3.");
	assert_string_equal(post(&rig, serial)->body, "signed-3.");
	swap_table(&rig, serial, STATUS_UNKNOWN);
	assert_unsigned(post(&rig, serial), OCSP_UNAUTHORIZED);
	rig_stop(&rig);
}

static void
an_answer_that_a_revocation_overtook_is_asked_for_again(void **state)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(OCSP_REQUEST_MAX);
	AUTO(writ_buf_done) struct writ_buf with_nonce = WRIT_BUF(OCSP_REQUEST_MAX);
	struct rig rig;
	uint8_t serial[16];
	int fd, fd2;

	(void)state;
	rig_start(&rig, 10, 1 << 20);
	issue(&rig, serial);
	request_der(&rig.issuer, false, serial, 16, "", &der);
	request_der(&rig.issuer, false, serial, 16, "nonce", &with_nonce);
	atomic_store(&rig.mode, STUB_HOLDS);
	fd = post_send(&rig, writ_view(&der), TYPE);
	fd2 = post_send(&rig, writ_view(&with_nonce), TYPE);
	for (unsigned i = 0; i < 600 && atomic_load(&rig.n_asked) < 2; i++)
		sleep_ms(5);
	must(status_set(rig.table, serial, STATUS_REVOKED, now() + 900));
	atomic_store(&rig.mode, STUB_ANSWERS);
	loop_post(rig.loop, stub_release, &rig); /* what was signed for the good state comes now */
	assert_true(strcmp(hear(fd)->body, "signed-2.") > 0);
	assert_true(strcmp(hear(fd2)->body, "signed-2.") > 0);
	assert_int_equal(atomic_load(&rig.n_asked), 4);
	rig_stop(&rig);
}

static void
a_nonce_is_signed_each_time_within_its_budget(void **state)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(OCSP_REQUEST_MAX);
	struct rig rig;
	uint8_t serial[16];
	unsigned asked;
	struct reply *reply;

	(void)state;
	rig_start(&rig, 2, 1 << 20);
	issue(&rig, serial);
	assert_string_equal(post(&rig, serial)->body, "signed-1.");
	request_der(&rig.issuer, false, serial, 16, "0123456789abcdef0123456789abcdef", &der);
	reply = hear(post_send(&rig, writ_view(&der), TYPE));
	assert_string_equal(reply->body, "signed-2.");
	assert_has(reply, "\r\nCache-Control: no-store\r\n");
	for (unsigned i = 0; i < 20; i++)
		(void)hear(post_send(&rig, writ_view(&der), TYPE));
	asked = atomic_load(&rig.n_with_nonce);
	assert_in_range(asked, 2, 8); /* two a second */
	assert_int_equal(counts(&rig).nonces, asked);
	assert_int_equal(counts(&rig).hits, 21 - asked); /* the others: true as well, without the nonce */
	assert_int_equal(counts(&rig).nonces_over, 21 - asked);
	rig_stop(&rig);
}

static int
post_begin(struct rig *rig, uint8_t serial[16])
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(OCSP_REQUEST_MAX);

	issue(rig, serial);
	request_der(&rig->issuer, false, serial, 16, "", &der);
	return post_send(rig, writ_view(&der), TYPE);
}

static void
wait_asked(struct rig *rig, unsigned n)
{
	for (unsigned i = 0; i < 2000 && atomic_load(&rig->n_asked) < n; i++)
		sleep_ms(5);
	assert_int_equal(atomic_load(&rig->n_asked), n);
}

static void
nothing(void *arg)
{
	atomic_store((atomic_bool *)arg, true);
}

/* All that was sent before has been read, and what follows from it done. */
static void
wait_read(struct rig *rig, unsigned n_requests)
{
	struct loop_counts seen = { 0 };
	atomic_bool done = false;

	for (unsigned i = 0; i < 2000 && seen.requests < n_requests; i++, sleep_ms(5)) {
		seen = (struct loop_counts){ 0 };
		loop_counts(rig->loop, &seen);
	}
	loop_post(rig->loop, nothing, &done);
	for (unsigned i = 0; i < 2000 && !atomic_load(&done); i++)
		sleep_ms(5);
	assert_true(atomic_load(&done));
}

static void
questions_that_are_not_taken_yet_wait_their_turn_and_none_is_forgotten(void **state)
{
	enum { N = 7 };
	struct rig rig;
	uint8_t serial[N][16];
	int fd[N], again;
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(OCSP_REQUEST_MAX);

	(void)state;
	rig_start(&rig, 0, 1 << 20);
	atomic_store(&rig.window, 2);
	atomic_store(&rig.mode, STUB_HOLDS);
	for (unsigned i = 0; i < N; i++) {
		fd[i] = post_begin(&rig, serial[i]);
		wait_read(&rig, i + 1);
	}
	assert_int_equal(atomic_load(&rig.n_asked), 2);
	request_der(&rig.issuer, false, serial[6], 16, "", &der); /* who asks for what waits joins it there */
	again = post_send(&rig, writ_view(&der), TYPE);
	wait_read(&rig, N + 1);
	for (unsigned n = 4; n <= 6; n += 2) {
		loop_post(rig.loop, stub_release, &rig);
		wait_asked(&rig, n);
	}
	atomic_store(&rig.mode, STUB_ANSWERS);
	loop_post(rig.loop, stub_release, &rig);
	for (unsigned i = 0; i < N; i++) {
		char said[32];

		snprintf(said, sizeof(said), "signed-%u.", i + 1);
		assert_string_equal(hear(fd[i])->body, said);
	}
	assert_string_equal(hear(again)->body, "signed-7.");
	assert_int_equal(atomic_load(&rig.n_asked), N);
	assert_int_equal(counts(&rig).try_later, 0);
	rig_stop(&rig);
}

static void
questions_that_wait_for_a_signer_that_went_away_are_told_to_come_back(void **state)
{
	struct rig rig;
	uint8_t serial[3][16];
	int fd[3];

	(void)state;
	rig_start(&rig, 0, 1 << 20);
	atomic_store(&rig.window, 1);
	atomic_store(&rig.mode, STUB_HOLDS);
	for (unsigned i = 0; i < 3; i++) {
		fd[i] = post_begin(&rig, serial[i]);
		wait_read(&rig, i + 1);
	}
	atomic_store(&rig.window, 0); /* it takes none any more, and this is its last answer */
	loop_post(rig.loop, stub_release, &rig);
	assert_string_equal(hear(fd[0])->body, "signed-1.");
	for (unsigned i = 1; i < 3; i++) {
		struct reply *reply = hear(fd[i]);

		assert_unsigned(reply, OCSP_TRY_LATER);
		assert_has(reply, "\r\nRetry-After: 1\r\n");
	}
	rig_stop(&rig);
}

static void
misses_over_their_budget_are_told_to_come_back_and_what_is_ready_is_served(void **state)
{
	struct rig rig;
	uint8_t ready[16], serial[16];
	unsigned n = 1;

	(void)state;
	rig_start_budgets(&rig, 0, 1, 1 << 20);
	issue(&rig, ready);
	assert_string_equal(post(&rig, ready)->body, "signed-1.");
	for (; n < 1000 && counts(&rig).try_later == 0; n++) /* one a second: the next, unless each takes a second */
		(void)hear(post_begin(&rig, serial));
	assert_int_equal(counts(&rig).try_later, 1);
	assert_int_equal(atomic_load(&rig.n_asked), n - 1);
	assert_string_equal(post(&rig, ready)->body, "signed-1.");
	assert_int_equal(counts(&rig).unauthorized, 0);
	rig_stop(&rig);
}

static void
what_we_do_not_know_is_unauthorized_without_asking(void **state)
{
	AUTO(writ_buf_done) struct writ_buf foreign = WRIT_BUF(OCSP_REQUEST_MAX);
	AUTO(writ_buf_done) struct writ_buf shorter = WRIT_BUF(OCSP_REQUEST_MAX);
	struct ocsp_issuer other_issuer;
	struct rig rig;
	uint8_t serial[16], never[16], expired[16];

	(void)state;
	rig_start(&rig, 10, 1 << 20);
	issue(&rig, serial);
	serial_new(never);
	serial_new(expired);
	writ_put32(expired, (uint32_t)(now() / 60 - 1)); /* nothing expires before the minute of its serial */
	must(status_set(rig.table, expired, STATUS_GOOD, now() - 2));
	assert_unsigned(post(&rig, never), OCSP_UNAUTHORIZED);
	assert_unsigned(post(&rig, expired), OCSP_UNAUTHORIZED);
	other_issuer = rig.issuer;
	other_issuer.key_sha256[31] ^= 1;
	request_der(&other_issuer, false, serial, 16, "", &foreign);
	assert_unsigned(hear(post_send(&rig, writ_view(&foreign), TYPE)), OCSP_UNAUTHORIZED);
	request_der(&rig.issuer, false, serial, 15, "nonce", &shorter);
	assert_unsigned(hear(post_send(&rig, writ_view(&shorter), TYPE)), OCSP_UNAUTHORIZED);
	assert_int_equal(atomic_load(&rig.n_asked), 0);
	assert_int_equal(counts(&rig).unauthorized, 4);
	must(status_front_issuers(rig.front, NULL, 0)); /* no request is under way */
	assert_unsigned(post(&rig, serial), OCSP_UNAUTHORIZED);
	rig_stop(&rig);
}

static void
what_is_no_request_is_malformed(void **state)
{
	static const char *const paths[] = { "/ocsp/!!!!", "/ocsp/MAQCAgP7", "/ocsp//", "/ocsp/../crl" };
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(OCSP_REQUEST_MAX);
	AUTO(writ_buf_done) struct writ_buf path = WRIT_BUF(8192);
	struct rig rig;
	uint8_t serial[16];

	(void)state;
	rig_start(&rig, 0, 1 << 20);
	issue(&rig, serial);
	assert_unsigned(hear(post_send(&rig, WRIT_LIT("junk"), TYPE)), OCSP_MALFORMED);
	assert_unsigned(hear(post_send(&rig, WRIT_LIT(""), TYPE)), OCSP_MALFORMED);
	request_der(&rig.issuer, false, serial, 16, "", &der);
	must(writ_buf_add(&der, WRIT_LIT("\0")));
	assert_unsigned(hear(post_send(&rig, writ_view(&der), TYPE)), OCSP_MALFORMED);
	for (size_t i = 0; i < N_OF(paths); i++)
		assert_unsigned(say_hear(&rig, "GET", paths[i], ""), OCSP_MALFORMED);
	der.len--;
	must(writ_buf_printf(&path, "/ocsp/"));
	must(writ_base64(writ_view(&der), &path));
	must(writ_buf_add(&path, WRIT_LIT("?x=y\0")));
	assert_unsigned(say_hear(&rig, "GET", (const char *)path.data, ""), OCSP_MALFORMED);
	path.len = sizeof("/ocsp/") - 1;
	while (path.len < 4000)
		must(writ_buf_add(&path, WRIT_LIT("MMMMMMMM")));
	must(writ_buf_add(&path, WRIT_LIT("\0")));
	assert_unsigned(say_hear(&rig, "GET", (const char *)path.data, ""), OCSP_MALFORMED);
	assert_int_equal(atomic_load(&rig.n_asked), 0);
	assert_int_equal(counts(&rig).malformed, 9);
	rig_stop(&rig);
}

static void
escape(struct writ_bytes text, const char *letters, struct writ_buf *ret)
{
	for (size_t i = 0; i < text.len; i++)
		must(writ_buf_printf(ret, letters && strchr(letters, text.data[i]) ? "%%%02X" : "%c", text.data[i]));
	must(writ_buf_add(ret, WRIT_LIT("\0")));
}

static void
all_forms_of_a_get_share_one_answer_with_post(void **state)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(OCSP_REQUEST_MAX);
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(4096);
	AUTO(writ_buf_done) struct writ_buf plain = WRIT_BUF(4096);
	AUTO(writ_buf_done) struct writ_buf escaped = WRIT_BUF(4096);
	AUTO(writ_buf_done) struct writ_buf all = WRIT_BUF(4096);
	AUTO(writ_buf_done) struct writ_buf slash = WRIT_BUF(4096);
	AUTO(writ_buf_done) struct writ_buf unpadded = WRIT_BUF(4096);
	struct rig rig;
	uint8_t serial[16];
	struct reply *reply;
	char etag[100];

	(void)state;
	rig_start(&rig, 0, 1 << 20);
	issue(&rig, serial);
	request_der(&rig.issuer, true, serial, 16, "", &der);
	must(writ_base64(writ_view(&der), &text));
	must(writ_buf_printf(&plain, "/ocsp/"));
	must(writ_buf_printf(&escaped, "/ocsp/"));
	must(writ_buf_printf(&all, "/ocsp/"));
	must(writ_buf_printf(&slash, "/ocsp//"));
	must(writ_buf_printf(&unpadded, "/ocsp/"));
	escape(writ_view(&text), NULL, &plain);
	escape(writ_view(&text), "+/=", &escaped);
	escape(writ_view(&text), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=", &all);
	escape(writ_view(&text), NULL, &slash);
	while (text.data[text.len - 1] == '=')
		text.len--;
	escape(writ_view(&text), NULL, &unpadded);

	assert_string_equal(say_hear(&rig, "GET", (const char *)plain.data, "")->body, "signed-1.");
	assert_string_equal(say_hear(&rig, "GET", (const char *)escaped.data, "")->body, "signed-1.");
	assert_string_equal(say_hear(&rig, "GET", (const char *)all.data, "")->body, "signed-1.");
	assert_string_equal(say_hear(&rig, "GET", (const char *)slash.data, "")->body, "signed-1.");
	assert_string_equal(say_hear(&rig, "GET", (const char *)unpadded.data, "")->body, "signed-1.");
	assert_string_equal(hear(post_send(&rig, writ_view(&der), TYPE))->body, "signed-1.");
	assert_int_equal(atomic_load(&rig.n_asked), 1);

	reply = say_hear(&rig, "HEAD", (const char *)plain.data, "");
	assert_has(reply, "\r\nContent-Length: 9\r\n");
	assert_string_equal(reply->body, "");
	snprintf(etag, sizeof(etag), "If-None-Match: W/\"x\", %.66s\r\n", strstr(reply->text, "ETag: ") + 6);
	reply = say_hear(&rig, "GET", (const char *)plain.data, etag);
	assert_has(reply, "HTTP/1.1 304 Not Modified\r\n");
	assert_has(reply, "\r\nCache-Control: max-age=");
	assert_string_equal(reply->body, "");
	assert_has(say_hear(&rig, "GET", (const char *)plain.data, "If-None-Match: \"x\"\r\n"), "HTTP/1.1 200 OK\r\n");
	assert_int_equal(counts(&rig).not_modified, 1);
	rig_stop(&rig);
}

static void
the_wrong_method_or_type_is_told_so(void **state)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(OCSP_REQUEST_MAX);
	struct rig rig;
	uint8_t serial[16];

	(void)state;
	rig_start(&rig, 0, 1 << 20);
	issue(&rig, serial);
	request_der(&rig.issuer, true, serial, 16, "", &der);
	assert_has(hear(post_send(&rig, writ_view(&der), "")), "HTTP/1.1 415 Unsupported Media Type\r\n");
	assert_has(hear(post_send(&rig, writ_view(&der), "Content-Type: text/plain\r\n")),
		   "\r\n\r\nthe body must be application/ocsp-request\n");
	assert_has(hear(post_send(&rig, writ_view(&der), "Content-Type: application/ocsp-requests\r\n")),
		   "HTTP/1.1 415 ");
	assert_string_equal(
		hear(post_send(&rig, writ_view(&der), "Content-Type: Application/OCSP-Request; x=y\r\n"))->body,
		"signed-1.");
	assert_has(say_hear(&rig, "PUT", "/ocsp", ""), "HTTP/1.1 405 Method Not Allowed\r\n");
	assert_has(say_hear(&rig, "GET", "/ocsp", ""), "\r\nAllow: GET, HEAD, POST\r\n");
	assert_has(say_hear(&rig, "GET", "/ocspx", ""), "HTTP/1.1 404 Not Found\r\n");
	assert_has(say_hear(&rig, "GET", "/", ""), "\r\n\r\nnothing is published here\n");
	assert_string_equal(say_hear(&rig, "GET", "/healthz", "")->body, "well\n");
	rig_stop(&rig);
}

static void
what_the_signer_cannot_say_is_not_made_up(void **state)
{
	struct rig rig;
	uint8_t serial[16];

	(void)state;
	rig_start(&rig, 0, 1 << 20);
	issue(&rig, serial);
	atomic_store(&rig.mode, STUB_REFUSES);
	assert_unsigned(post(&rig, serial), OCSP_TRY_LATER);
	atomic_store(&rig.mode, STUB_UNAVAILABLE);
	assert_unsigned(post(&rig, serial), OCSP_TRY_LATER);
	atomic_store(&rig.mode, STUB_NOT_FOUND);
	assert_unsigned(post(&rig, serial), OCSP_UNAUTHORIZED);
	atomic_store(&rig.mode, STUB_ANSWERS);
	atomic_store(&rig.valid_s, 0); /* expired when it comes */
	assert_unsigned(post(&rig, serial), OCSP_TRY_LATER);
	atomic_store(&rig.valid_s, 120);
	assert_string_equal(post(&rig, serial)->body, "signed-4.");
	assert_int_equal(counts(&rig).try_later, 3);
	assert_int_equal(counts(&rig).unauthorized, 1);
	rig_stop(&rig);
}

/* I8: it was away when the store took the revocation, and has not been told of it yet. */
static void
a_signer_that_calls_a_revoked_leaf_good_is_not_believed(void **state)
{
	struct rig rig;
	uint8_t serial[16];

	(void)state;
	rig_start(&rig, 0, 1 << 20);
	issue(&rig, serial);
	atomic_store(&rig.says_good, true);
	assert_string_equal(post(&rig, serial)->body, "signed-1.");
	must(status_set(rig.table, serial, STATUS_REVOKED, now() + 300));
	assert_unsigned(post(&rig, serial), OCSP_TRY_LATER);
	atomic_store(&rig.says_good, false);
	assert_string_equal(post(&rig, serial)->body, "signed-3.");
	rig_stop(&rig);
}

static void
past_half_its_time_an_answer_is_renewed_and_past_its_end_never_sent(void **state)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(OCSP_REQUEST_MAX);
	struct rig rig;
	uint8_t serial[16];
	struct reply *reply;
	int fd;

	(void)state;
	rig_start(&rig, 0, 1 << 20);
	issue(&rig, serial);
	request_der(&rig.issuer, false, serial, 16, "", &der);
	atomic_store(&rig.valid_s, 4);
	reply = post(&rig, serial);
	assert_string_equal(reply->body, "signed-1.");
	assert_has(reply, "max-age=03, ");
	atomic_store(&rig.mode, STUB_HOLDS);
	sleep_ms(2600);
	reply = post(&rig, serial); /* asked for again, but nobody waits */
	assert_string_equal(reply->body, "signed-1.");
	assert_null(strstr(reply->text, "max-age=03"));
	assert_string_equal(post(&rig, serial)->body, "signed-1.");
	assert_int_equal(atomic_load(&rig.n_asked), 2);
	sleep_ms(1800);
	fd = post_send(&rig, writ_view(&der), TYPE); /* its time is over: now one waits, for the question that is out */
	sleep_ms(100);
	assert_int_equal(atomic_load(&rig.n_asked), 2);
	atomic_store(&rig.mode, STUB_ANSWERS);
	loop_post(rig.loop, stub_release, &rig);
	assert_string_equal(hear(fd)->body, "signed-2.");
	assert_string_equal(post(&rig, serial)->body, "signed-2.");
	rig_stop(&rig);
}

static void
a_small_cache_answers_all_and_keeps_some(void **state)
{
	enum { N = 300 };
	static uint8_t serials[N][16];
	struct rig rig;

	(void)state;
	rig_start(&rig, 0, 1);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < N; i++) {
			if (round == 0)
				issue(&rig, serials[i]);
			assert_has(post(&rig, serials[i]), "\r\n\r\nsigned-");
		}
	}
	assert_int_equal(counts(&rig).misses,
			 2 * N); /* always the oldest goes, and that is always the next to be asked for */
	assert_has(post(&rig, serials[N - 1]), "\r\n\r\nsigned-");
	assert_int_equal(counts(&rig).hits, 1);
	rig_stop(&rig);
}

/* ---- documents ---- */

static void
documents_are_served_replaced_whole_and_not_sent_twice(void **state)
{
	struct rig rig;
	struct reply *reply;
	char etag[100];

	(void)state;
	rig_start(&rig, 0, 1 << 20);
	must(publish_put(rig.publish, "/crl/00ff.crl", "application/pkix-crl", WRIT_LIT("first list"), now() - 30,
			 now() + 180, 30));
	reply = say_hear(&rig, "GET", "/crl/00ff.crl", "");
	assert_has(reply, "\r\nContent-Type: application/pkix-crl\r\nContent-Length: 10\r\n");
	assert_has(reply, "\r\nCache-Control: max-age=30, public");
	assert_string_equal(reply->body, "first list");
	snprintf(etag, sizeof(etag), "If-None-Match: %.66s\r\n", strstr(reply->text, "ETag: ") + 6);
	reply = say_hear(&rig, "GET", "/crl/00ff.crl", etag);
	assert_has(reply, "HTTP/1.1 304 Not Modified\r\n");
	assert_string_equal(reply->body, "");
	assert_has(say_hear(&rig, "GET", "/crl/00ff.crl", "If-None-Match: *\r\n"), "HTTP/1.1 304 ");
	assert_has(say_hear(&rig, "GET", "/crl/00ff.crl", "If-None-Match: \"\r\n"), "HTTP/1.1 200 ");
	reply = say_hear(&rig, "HEAD", "/crl/00ff.crl", "");
	assert_has(reply, "\r\nContent-Length: 10\r\n");
	assert_string_equal(reply->body, "");

	must(publish_put(rig.publish, "/crl/00ff.crl", "application/pkix-crl", WRIT_LIT("second"), now(), now() + 10,
			 30));
	reply = say_hear(&rig, "GET", "/crl/00ff.crl", etag);
	assert_string_equal(reply->body, "second");
	assert_null(strstr(reply->text, "max-age=30")); /* not longer than it holds */
	assert_has(say_hear(&rig, "POST", "/crl/00ff.crl", ""), "HTTP/1.1 405 ");
	assert_has(say_hear(&rig, "GET", "/crl/00FF.crl", ""), "HTTP/1.1 404 ");
	assert_has(say_hear(&rig, "GET", "/crl/%30%30ff.crl", ""), "HTTP/1.1 404 "); /* nothing is decoded */
	assert_has(say_hear(&rig, "GET", "/crl//00ff.crl", ""), "HTTP/1.1 404 ");
	assert_int_equal(counts(&rig).documents, 4);
	rig_stop(&rig);
}

/* Each rotation brings a list and a certificate: after months those of CAs long gone give way, not the newest. */
static void
with_no_more_room_what_expired_first_makes_way(void **state)
{
	char path[32];
	struct rig rig;

	(void)state;
	rig_start(&rig, 0, 1 << 20);
	for (int i = 0; i < 1024 + 10; i++) {
		snprintf(path, sizeof(path), "/crl/%04d.crl", i);
		must(publish_put(rig.publish, path, "application/pkix-crl", WRIT_LIT("a list"), now(), now() + i, 30));
	}
	assert_has(say_hear(&rig, "GET", "/crl/0009.crl", ""), "HTTP/1.1 404 ");
	assert_has(say_hear(&rig, "GET", "/crl/0010.crl", ""), "HTTP/1.1 200 ");
	assert_has(say_hear(&rig, "GET", "/crl/1033.crl", ""), "HTTP/1.1 200 ");
	rig_stop(&rig);
}

#define LIST_LEN (8 << 20)

/* As a copy, or as it comes from the signer: sealed, and mapped. */
static void
list_put(struct rig *rig, int c, bool mapped)
{
	struct writ_bytes mapping = { NULL, 0 };
	uint8_t *list = malloc(LIST_LEN);
	int fd;

	memset(list, c, LIST_LEN);
	if (!mapped) {
		must(publish_put(rig->publish, "/crl/x.crl", "application/pkix-crl", (struct writ_bytes){ list, LIST_LEN },
				 now(), now() + 180, 30));
	} else {
		must(file_memfd("list", (struct writ_bytes){ list, LIST_LEN }, &fd));
		must(file_memfd_map(fd, LIST_LEN, LIST_LEN, &mapping));
		must(publish_put_mapped(rig->publish, "/crl/x.crl", "application/pkix-crl", mapping, &mapping, now(),
					now() + 180, 30));
		assert_null(mapping.data);
		close(fd);
	}
	free(list);
}

static void
a_list_replaced_while_it_is_read_is_read_to_its_end(void **state)
{
	static char piece[65536];
	struct rig rig;

	(void)state;
	rig_start(&rig, 0, 1 << 20);
	for (unsigned way = 0; way < 4; way++) {
		size_t got = 0, old = 0;
		ssize_t n;
		int fd;

		list_put(&rig, 'o', way & 1);
		fd = dial(&rig);
		say(fd, WRIT_LIT("GET /crl/x.crl HTTP/1.1\r\nHost: s\r\nConnection: close\r\n\r\n"));
		assert_true(recv(fd, piece, 1, 0) == 1);
		list_put(&rig, 'n', way & 2);
		while ((n = recv(fd, piece, sizeof(piece), 0)) > 0) {
			for (ssize_t i = 0; i < n; i++)
				old += piece[i] == 'o';
			got += (size_t)n;
		}
		assert_true(got > LIST_LEN);
		assert_true(old >= LIST_LEN);
		close(fd);
	}
	rig_stop(&rig);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_miss_is_asked_once_and_then_answered_from_the_cache),
		cmocka_unit_test(those_who_miss_together_are_answered_by_one_question),
		cmocka_unit_test(each_form_of_a_certid_has_its_own_answer),
		cmocka_unit_test(a_revocation_ends_what_was_ready),
		cmocka_unit_test(no_answer_that_was_ready_outlives_the_table_it_was_about),
		cmocka_unit_test(an_answer_that_a_revocation_overtook_is_asked_for_again),
		cmocka_unit_test(a_nonce_is_signed_each_time_within_its_budget),
		cmocka_unit_test(questions_that_are_not_taken_yet_wait_their_turn_and_none_is_forgotten),
		cmocka_unit_test(questions_that_wait_for_a_signer_that_went_away_are_told_to_come_back),
		cmocka_unit_test(misses_over_their_budget_are_told_to_come_back_and_what_is_ready_is_served),
		cmocka_unit_test(what_we_do_not_know_is_unauthorized_without_asking),
		cmocka_unit_test(what_is_no_request_is_malformed),
		cmocka_unit_test(all_forms_of_a_get_share_one_answer_with_post),
		cmocka_unit_test(the_wrong_method_or_type_is_told_so),
		cmocka_unit_test(what_the_signer_cannot_say_is_not_made_up),
		cmocka_unit_test(a_signer_that_calls_a_revoked_leaf_good_is_not_believed),
		cmocka_unit_test(past_half_its_time_an_answer_is_renewed_and_past_its_end_never_sent),
		cmocka_unit_test(a_small_cache_answers_all_and_keeps_some),
		cmocka_unit_test(documents_are_served_replaced_whole_and_not_sent_twice),
		cmocka_unit_test(with_no_more_room_what_expired_first_makes_way),
		cmocka_unit_test(a_list_replaced_while_it_is_read_is_read_to_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
