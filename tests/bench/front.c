/*
 * The status front alone, for tests/bench: a table of serials, and instead of the signer a stub that answers at once
 * with bytes of a real answer's size. What it measures is ours: the loop, the parsers, the table, the cache. Usage:
 * front PORT SERIALS DIRECTORY: writes 1,000 requests, post-N and get-N, into DIRECTORY, and serves until it is killed.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/digest.h"
#include "base/text.h"
#include "issuer/status/status.h"

#define N_REQUESTS 1000
#define RESPONSE_LEN 779 /* delegated, byKey, certificate included, SHA-256 (P-256) */

struct stub {
	struct loop *loop;
	struct status_front *front;
	struct status_table *table;
};

struct answer {
	struct stub *stub;
	void *token;
};

static void
must(struct writ_err *err)
{
	char text[1000];

	if (!err)
		return;
	fprintf(stderr, "front: %s\n", writ_err_text(err, text, sizeof(text)));
	exit(1);
}

static void
answer(void *arg)
{
	static uint8_t response[RESPONSE_LEN];
	struct answer *a = arg;
	const writ_time now = loop_now(a->stub->loop).wall;

	status_front_answer(a->stub->front, a->token, NULL, true, (struct writ_bytes){ response, sizeof(response) },
			    now - 30, now + 120);
	free(a);
}

static bool
ask(void *ctx, struct writ_bytes cert_id, struct writ_bytes nonce, void *token)
{
	struct answer *a = malloc(sizeof(*a));

	(void)cert_id, (void)nonce;
	if (!a)
		return false;
	*a = (struct answer){ ctx, token };
	loop_post(a->stub->loop, answer, a);
	return true;
}

static void
quiet(struct clock now, void *ctx)
{
	(void)now;
	status_quiet(((struct stub *)ctx)->table, 0);
}

static void
write_file(const char *directory, const char *kind, unsigned n, const struct writ_buf *bytes)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s-%u", directory, kind, n);
	f = fopen(path, "w");
	if (!f || fwrite(bytes->data, bytes->len, 1, f) != 1 || fclose(f) != 0) {
		perror(path);
		exit(1);
	}
}

static void
write_requests(const char *directory, unsigned n, const struct ocsp_issuer *issuer, const uint8_t serial[16])
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(OCSP_REQUEST_MAX);
	AUTO(writ_buf_done) struct writ_buf post = WRIT_BUF(8192);
	AUTO(writ_buf_done) struct writ_buf get = WRIT_BUF(8192);

	must(ocsp_request_build(issuer, n % 2 == 0, (struct writ_bytes){ serial, 16 }, (struct writ_bytes){ 0 }, &der));
	must(writ_buf_printf(&post,
			     "POST /ocsp HTTP/1.1\r\nHost: status.example\r\nContent-Type: application/ocsp-request\r\n"
			     "Content-Length: %zu\r\n\r\n",
			     der.len));
	must(writ_buf_add(&post, writ_view(&der)));
	write_file(directory, "post", n, &post);
	must(writ_buf_printf(&get, "GET /ocsp/"));
	must(writ_base64(writ_view(&der), &get));
	must(writ_buf_printf(&get, " HTTP/1.1\r\nHost: status.example\r\n\r\n"));
	write_file(directory, "get", n, &get);
}

int
main(int argc, char **argv)
{
	struct stub stub = { 0 };
	struct ocsp_issuer issuer;
	struct http_handler handler = { .body_max = OCSP_REQUEST_MAX, .request = status_front_request };
	const writ_time now = clock_read().wall;
	unsigned long n_serials;

	if (argc != 4) {
		fprintf(stderr, "usage: front PORT SERIALS DIRECTORY\n");
		return 2;
	}
	n_serials = strtoul(argv[2], NULL, 10);
	writ_random((uint8_t *)&issuer, sizeof(issuer));
	must(status_table_new(1, &stub.table));
	for (unsigned long i = 0; i < n_serials; i++) {
		uint8_t serial[16];

		writ_random(serial, sizeof(serial));
		writ_put32(serial, (uint32_t)(now / 60) - (uint32_t)(i % 15));
		must(status_set(stub.table, serial, STATUS_GOOD, now + 3600));
		if (i < N_REQUESTS)
			write_requests(argv[3], (unsigned)i, &issuer, serial);
	}
	must(loop_new(&(struct loop_conf){ 0 }, &stub.loop));
	must(status_front_new(
		&(struct status_front_conf){
			.table = stub.table, .ask = ask, .ctx = &stub, .cache_bytes_max = 64 << 20 },
		&stub.front));
	must(status_front_issuers(stub.front, &issuer, 1));
	handler.ctx = stub.front;
	must(loop_listen(stub.loop, "127.0.0.1", (uint16_t)strtoul(argv[1], NULL, 10), false, &handler, NULL));
	loop_at_end(stub.loop, quiet, &stub);
	printf("ready\n");
	fflush(stdout);
	must(loop_run(stub.loop));
	return 0;
}
