/*
 * The loop over real sockets: what it promises to clients, honest and otherwise.  Deadlines are shortened through
 * loop_conf.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/file.h"
#include "issuer/http/http.h"

#define BODY_MAX 70000
#define LENT_LEN (8 << 20)
#define PATIENCE_MS 10000 /* of a client: far beyond what any test waits for */

/* ---- certificates, made here ---- */

struct identity {
	EVP_PKEY *key;
	X509 *cert;
};

static struct identity root, middle, server_id, client_id, stranger_root, stranger_id;
static char server_pem[] = "/tmp/writ-http-cert-XXXXXX", server_key[] = "/tmp/writ-http-key-XXXXXX";

static void
extend(X509 *cert, int nid, const char *value)
{
	X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(ext);
	assert_int_equal(X509_add_ext(cert, ext, -1), 1);
	X509_EXTENSION_free(ext);
}

static struct identity
identity_make(const char *name, const struct identity *issuer, bool ca)
{
	static long serial = 1;
	struct identity id = { .key = EVP_EC_gen("P-256"), .cert = X509_new() };
	X509_NAME *subject = X509_get_subject_name(id.cert);

	X509_set_version(id.cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(id.cert), serial++);
	X509_gmtime_adj(X509_getm_notBefore(id.cert), -60);
	X509_gmtime_adj(X509_getm_notAfter(id.cert), 3600);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(id.cert, issuer ? X509_get_subject_name(issuer->cert) : subject);
	X509_set_pubkey(id.cert, id.key);
	extend(id.cert, NID_basic_constraints, ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
	extend(id.cert, NID_key_usage, ca ? "critical,keyCertSign" : "critical,digitalSignature");
	assert_true(X509_sign(id.cert, issuer ? issuer->key : id.key, EVP_sha256()) > 0);
	return id;
}

static void
identity_done(struct identity *id)
{
	EVP_PKEY_free(id->key);
	X509_free(id->cert);
}

static struct writ_bytes
der_of(const struct identity *id)
{
	unsigned char *der = NULL;
	const int len = i2d_X509(id->cert, &der);

	assert_true(len > 0);
	return (struct writ_bytes){ der, (size_t)len };
}

static int
make_identities(void **state)
{
	FILE *f;

	(void)state;
	root = identity_make("root", NULL, true);
	middle = identity_make("middle", &root, true);
	server_id = identity_make("server", &root, false);
	client_id = identity_make("client", &middle, false);
	stranger_root = identity_make("stranger root", NULL, true);
	stranger_id = identity_make("stranger", &stranger_root, false);
	f = fdopen(mkstemp(server_pem), "w");
	PEM_write_X509(f, server_id.cert);
	fclose(f);
	f = fdopen(mkstemp(server_key), "w");
	PEM_write_PrivateKey(f, server_id.key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
	return 0;
}

static int
drop_identities(void **state)
{
	struct identity *all[] = { &root, &middle, &server_id, &client_id, &stranger_root, &stranger_id };

	(void)state;
	for (size_t i = 0; i < N_OF(all); i++)
		identity_done(all[i]);
	unlink(server_pem);
	unlink(server_key);
	return 0;
}

/* ---- the server ---- */

struct server {
	struct loop *loop;
	struct http_handler handler;
	pthread_t thread;
	uint16_t port, tls_port;
	struct writ_bytes anchor;
	_Atomic(struct http_later *) later; /* of the last /later */
	atomic_uint n_later, n_app_done, n_lent_done, n_at_end;
	uint8_t *lent;
	char gone; /* 'y' or 'n', as the late answer found it */
	char late_peer[64];
	char scratch[100]; /* each answer of /scratch, in the place of the one before */
};

static void
app_done(void *app)
{
	atomic_fetch_add((atomic_uint *)app, 1);
}

static void
lent_done(void *arg)
{
	atomic_fetch_add((atomic_uint *)arg, 1);
}

static void
answer_text(struct http_request *request, unsigned status, const char *text)
{
	http_answer(request,
		    &(struct http_answer){ .status = status, .content_type = "text/plain", .body = writ_str(text) });
}

static void
on_request(struct http_request *request, void *ctx)
{
	struct server *server = ctx;

	if (writ_equal(request->path, WRIT_LIT("/echo"))) {
		http_answer(request, &(struct http_answer){
					     .status = 200, .content_type = "text/plain", .body = request->body });
		return;
	}
	if (writ_equal(request->path, WRIT_LIT("/later"))) {
		request->peer->app = &server->n_app_done;
		request->peer->app_done = app_done;
		atomic_store(&server->later, http_defer(request));
		atomic_fetch_add(&server->n_later, 1);
		return;
	}
	if (writ_equal(request->path, WRIT_LIT("/lent"))) {
		http_answer_lent(request, &(struct http_answer){ .status = 200, .body = { server->lent, LENT_LEN } },
				 lent_done, &server->n_lent_done);
		return;
	}
	if (writ_equal(request->path, WRIT_LIT("/peer"))) {
		char text[200];

		snprintf(text, sizeof(text), "%s tls=%d cert=%zu anchor=%s", request->peer->address, request->peer->tls,
			 request->peer->cert.len, writ_equal(request->peer->anchor, server->anchor) ? "ours" : "none");
		answer_text(request, 200, text);
		return;
	}
	if (writ_equal(request->path, WRIT_LIT("/fields"))) {
		struct writ_bytes value;
		const unsigned n = http_field(request, "x-writ-test", &value);
		char text[200];

		snprintf(text, sizeof(text), "%u '%.*s'", n, WRIT_FMT(value));
		answer_text(request, 200, text);
		return;
	}
	if (writ_equal(request->path, WRIT_LIT("/prefer"))) {
		http_prefer(request);
		answer_text(request, 200, "preferred");
		return;
	}
	if (writ_equal(request->path, WRIT_LIT("/rest"))) {
		http_rest(request, 300);
		answer_text(request, 503, "later");
		return;
	}
	if (writ_equal(request->path, WRIT_LIT("/nothing"))) {
		http_answer(request, &(struct http_answer){ .status = 204, .headers = WRIT_LIT("X-Writ: yes\r\n") });
		return;
	}
	if (writ_equal(request->path, WRIT_LIT("/raw"))) {
		http_answer_raw(request, WRIT_LIT("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nraw\n"));
		return;
	}
	if (writ_equal(request->path, WRIT_LIT("/scratch"))) {
		const int n = snprintf(server->scratch, sizeof(server->scratch),
				       "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n%.*s", WRIT_FMT(request->body));

		http_answer_raw(request, (struct writ_bytes){ (uint8_t *)server->scratch, (size_t)n });
		return;
	}
	if (writ_equal(request->path, WRIT_LIT("/forgotten")))
		return; /* neither answers nor defers */
	answer_text(request, 404, "no such page");
}

static void
at_end(struct clock now, void *ctx)
{
	struct server *server = ctx;

	(void)now;
	atomic_fetch_add(&server->n_at_end, 1);
}

static void *
run_server(void *arg)
{
	struct server *server = arg;
	struct writ_err *err;
	sigset_t pipe_only;

	/* The clients of main() do not want to die of it; the loop must see to that by itself. */
	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	pthread_sigmask(SIG_UNBLOCK, &pipe_only, NULL);
	err = loop_run(server->loop);
	if (err) {
		fprintf(stderr, "loop_run: %s\n", err->message);
		abort();
	}
	return NULL;
}

static void
must(struct writ_err *err)
{
	char text[1000];

	if (err)
		fail_msg("%s", writ_err_text(err, text, sizeof(text)));
}

static void
server_prepare(struct server *server, const struct loop_conf *conf)
{
	*server = (struct server){ 0 };
	server->handler = (struct http_handler){ .body_max = BODY_MAX, .request = on_request, .ctx = server };
	server->lent = malloc(LENT_LEN);
	memset(server->lent, 'L', LENT_LEN);
	server->anchor = der_of(&root);
	must(loop_new(conf, &server->loop));
	loop_at_end(server->loop, at_end, server);
}

static void
server_go(struct server *server)
{
	must(loop_listen(server->loop, "127.0.0.1", 0, false, &server->handler, &server->port));
	assert_int_equal(pthread_create(&server->thread, NULL, run_server, server), 0);
}

static void
server_start(struct server *server, const struct loop_conf *conf)
{
	server_prepare(server, conf);
	server_go(server);
}

static void
server_start_tls(struct server *server, const struct loop_conf *conf, const struct writ_bytes *anchors,
		 size_t n_anchors)
{
	server_prepare(server, conf);
	must(loop_tls(server->loop, &(struct tls_conf){ .certificate = server_pem,
							.key = server_key,
							.n_anchors = n_anchors,
							.anchors = anchors }));
	must(loop_listen(server->loop, "127.0.0.1", 0, true, &server->handler, &server->tls_port));
	server_go(server);
}

static void
server_stop(struct server *server)
{
	loop_stop(server->loop);
	assert_int_equal(pthread_join(server->thread, NULL), 0);
	loop_free(server->loop);
	free(server->lent);
	OPENSSL_free((void *)(uintptr_t)server->anchor.data);
}

static struct loop_counts
counts(const struct server *server)
{
	struct loop_counts ret = { 0 };

	loop_counts(server->loop, &ret);
	return ret;
}

/* ---- clients ---- */

static int64_t
ms_now(void)
{
	return clock_read().mono_ms;
}

static void
sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 }, NULL);
}

static int
dial_to(uint16_t port)
{
	const struct sockaddr_in at = { .sin_family = AF_INET,
					.sin_port = htons(port),
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static int
dial(const struct server *server)
{
	return dial_to(server->port);
}

static void
say_bytes(int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		const ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

		if (n <= 0)
			return; /* the server has had enough: what it answered is the test's business */
		bytes += n;
		len -= (size_t)n;
	}
}

static void
say(int fd, const char *text)
{
	say_bytes(fd, text, strlen(text));
}

static char heard[64 * 1024];

/* Until `n` times `end` was heard, or the server closed. */
static const char *
hear(int fd, const char *end, unsigned n)
{
	size_t len = 0;

	heard[0] = '\0';
	while (len < sizeof(heard) - 1) {
		ssize_t got;
		unsigned found = 0;

		for (const char *at = heard; end && (at = strstr(at, end)); at += strlen(end))
			found++;
		if (end && found >= n)
			break;
		got = recv(fd, heard + len, sizeof(heard) - 1 - len, 0);
		if (got <= 0)
			break;
		len += (size_t)got;
		heard[len] = '\0';
	}
	return heard;
}

/* All that comes until the server closes; fails when it does not. */
static const char *
hear_out(int fd)
{
	char more;
	const char *text = hear(fd, NULL, 0);

	assert_int_equal(recv(fd, &more, 1, 0), 0);
	close(fd);
	return text;
}

static void
assert_contains(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("'%s' is not in '%s'", part, text);
}

static void
assert_begins(const char *text, const char *begin)
{
	if (strncmp(text, begin, strlen(begin)) != 0)
		fail_msg("'%s' does not begin with '%s'", text, begin);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: writ\r\n\r\n"
#define GET_CLOSE(path) "GET " path " HTTP/1.1\r\nHost: writ\r\nConnection: close\r\n\r\n"
#define ECHO_OF(n, body) "POST /echo HTTP/1.1\r\nHost: writ\r\nContent-Length: " n "\r\n\r\n" body

static unsigned
times(const char *text, const char *part)
{
	unsigned n = 0;

	for (; (text = strstr(text, part)); text += strlen(part))
		n++;
	return n;
}

static void
wait_later(struct server *server, unsigned n)
{
	for (unsigned i = 0; i < 1000 && atomic_load(&server->n_later) < n; i++)
		sleep_ms(5);
	assert_true(atomic_load(&server->n_later) >= n);
}

static void
answer_the_later(void *arg)
{
	struct server *server = arg;
	struct http_later *later = atomic_load(&server->later);
	struct http_request *request = http_deferred(later);

	server->gone = http_client_gone(later) ? 'y' : 'n';
	memcpy(server->late_peer, request->peer->address, sizeof(server->late_peer));
	http_answer_later(later, &(struct http_answer){ .status = 200, .body = request->body });
}

/* ---- requests ---- */

static void
who_is_told_to_rest_is_not_read_before_he_has(void **state)
{
	struct server server;
	struct timespec began, ended;
	int fd, other;

	(void)state;
	server_start(&server, &(struct loop_conf){ 0 });
	fd = dial(&server);
	other = dial(&server);
	clock_gettime(CLOCK_MONOTONIC, &began);
	say(fd, GET("/rest") GET("/nothing"));
	assert_begins(hear(fd, "later", 1), "HTTP/1.1 503 Service Unavailable\r\n");
	say(other, GET("/nothing")); /* nobody else is kept waiting */
	assert_begins(hear(other, "\r\n\r\n", 1), "HTTP/1.1 204 No Content\r\n");
	assert_begins(hear(fd, "\r\n\r\n", 1), "HTTP/1.1 204 No Content\r\n");
	clock_gettime(CLOCK_MONOTONIC, &ended);
	assert_true((ended.tv_sec - began.tv_sec) * 1000 + (ended.tv_nsec - began.tv_nsec) / 1000000 >= 290);
	assert_int_equal(counts(&server).timeouts, 0);
	close(fd);
	close(other);
	server_stop(&server);
}

static void
a_request_is_answered_and_its_connection_kept(void **state)
{
	struct server server;
	int fd;

	(void)state;
	server_start(&server, &(struct loop_conf){ 0 });
	fd = dial(&server);
	say(fd, ECHO_OF("5", "hello"));
	assert_begins(hear(fd, "hello", 1), "HTTP/1.1 200 OK\r\nDate: ");
	assert_contains(heard, " GMT\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello");
	say(fd, ECHO_OF("3", "two"));
	assert_contains(hear(fd, "two", 1), "\r\n\r\ntwo");
	say(fd, GET("/nothing"));
	assert_begins(hear(fd, "\r\n\r\n", 1), "HTTP/1.1 204 No Content\r\n");
	assert_contains(heard, "\r\nX-Writ: yes\r\n\r\n");
	assert_null(strstr(heard, "Content-Length"));
	say(fd, GET_CLOSE("/absent"));
	assert_begins(hear_out(fd), "HTTP/1.1 404 Not Found\r\n");
	assert_contains(heard, "\r\nConnection: close\r\n");
	assert_int_equal(counts(&server).requests, 4);
	assert_int_equal(counts(&server).answers_2xx, 3);
	assert_int_equal(counts(&server).answers_4xx, 1);
	server_stop(&server);
}

static void
pipelined_requests_are_answered_in_their_order(void **state)
{
	struct server server;
	char all[20 * 120];
	size_t len = 0;
	int fd;

	(void)state;
	server_start(&server, &(struct loop_conf){ 0 });
	for (unsigned i = 0; i < 20; i++)
		len += (size_t)snprintf(all + len, sizeof(all) - len,
					"POST /echo HTTP/1.1\r\nHost: w\r\nContent-Length: 4\r\n\r\nn%02u.", i);
	fd = dial(&server);
	/* In two pieces, cut inside a head, then inside a body. */
	say_bytes(fd, all, 100);
	sleep_ms(50);
	say_bytes(fd, all + 100, len - 102);
	sleep_ms(50);
	say_bytes(fd, all + len - 2, 2);
	assert_int_equal(times(hear(fd, "HTTP/1.1 200", 20), "HTTP/1.1 200"), 20);
	close(fd);
	fd = dial(&server);
	say_bytes(fd, all, len);
	hear(fd, "n19.", 1);
	for (unsigned i = 0; i + 1 < 20; i++) {
		char one[8], next[8];

		snprintf(one, sizeof(one), "n%02u.", i);
		snprintf(next, sizeof(next), "n%02u.", i + 1);
		assert_non_null(strstr(heard, one));
		assert_true(strstr(heard, one) < strstr(heard, next));
	}
	close(fd);
	server_stop(&server);
}

static void
a_raw_answer_is_sent_before_its_owner_writes_the_next_in_its_place(void **state)
{
#define SCRATCH_OF(body) "POST /scratch HTTP/1.1\r\nHost: w\r\nContent-Length: 4\r\n\r\n" body
	struct server server;
	int fd;

	(void)state;
	server_start(&server, &(struct loop_conf){ 0 });
	fd = dial(&server);
	say(fd, SCRATCH_OF("one ") SCRATCH_OF("two ") GET("/nothing") SCRATCH_OF("four") SCRATCH_OF("five"));
	hear(fd, "five", 1);
	assert_non_null(strstr(heard, "one "));
	assert_true(strstr(heard, "one ") < strstr(heard, "two "));
	assert_true(strstr(heard, "two ") < strstr(heard, "204 No Content"));
	assert_true(strstr(heard, "204 No Content") < strstr(heard, "four"));
	assert_true(strstr(heard, "four") < strstr(heard, "five"));
	say(fd, SCRATCH_OF("six ") "GARBAGE\n");
	assert_contains(hear_out(fd), "six HTTP/1.1 400 Bad Request\r\n");
	server_stop(&server);
}

static void
a_head_said_before_is_read_as_then_and_one_that_differs_anew(void **state)
{
	/* All of them of one length, so that they would stand in each other's place. */
	static const char *const first = "POST /echo HTTP/1.1\r\nHost: w\r\nX: 1\r\nContent-Length: 4\r\n\r\nabcd";
	static const struct {
		const char *request, *answer;
	} others[] = {
		{ "POST /echo HTTP/1.1\r\nHost: w\r\nX: 1\r\nContent-Length: 4\r\n\r\nefgh", "\r\n\r\nefgh" },
		{ "POST /echo HTTP/1.1\r\nHost: w\r\nX: 1\r\nContent-Length: 3\r\n\r\nijk", "\r\n\r\nijk" },
		{ "POST /ecHo HTTP/1.1\r\nHost: w\r\nX: 1\r\nContent-Length: 4\r\n\r\nlmno", "404 Not Found" },
		{ "POST /echo HTTP/1.1\r\nHost: w\r\nX: 1\r\nContent-Length: 4\r\n\r\nefgh", "\r\n\r\nefgh" },
		{ "POST /echo HTTP/1.1\r\nHost: w\r\nX  1\r\nContent-Length: 4\r\n\r\nabcd", "400 Bad Request" },
	};
	struct server server;
	int fd;

	(void)state;
	server_start(&server, &(struct loop_conf){ 0 });
	for (size_t i = 0; i < N_OF(others); i++) {
		fd = dial(&server);
		for (unsigned twice = 0; twice < 3; twice++) {
			say(fd, first);
			assert_contains(hear(fd, "abcd", 1), "\r\n\r\nabcd");
		}
		say(fd, others[i].request);
		assert_contains(hear(fd, others[i].answer, 1), others[i].answer);
		close(fd);
	}
	/* The same head in pieces, whatever of it has come. */
	fd = dial(&server);
	say_bytes(fd, first, 30);
	sleep_ms(20);
	say(fd, first + 30);
	assert_contains(hear(fd, "abcd", 1), "\r\n\r\nabcd");
	close(fd);
	server_stop(&server);
}

static void
more_pipelined_requests_than_the_answers_room_are_all_answered(void **state)
{
	enum { N = 3000 };
	static const char one[] = GET("/raw");
	struct server server;
	unsigned n = 0;
	size_t len = 0;
	int fd;
	char *all = malloc(N * sizeof(one));

	(void)state;
	for (unsigned i = 0; i < N; i++, len += sizeof(one) - 1)
		memcpy(all + len, one, sizeof(one) - 1);
	server_start(&server, &(struct loop_conf){ 0 });
	fd = dial(&server);
	say_bytes(fd, all, len);
	for (size_t got = 0; got < N * (sizeof("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nraw\n") - 1);) {
		const ssize_t r = recv(fd, heard, sizeof(heard), 0);

		assert_true(r > 0);
		for (ssize_t i = 0; i < r; i++)
			n += heard[i] == 'w';
		got += (size_t)r;
	}
	assert_int_equal(n, N);
	close(fd);
	free(all);
	server_stop(&server);
}

static void
http_1_0_is_answered_and_closed_even_when_asked_to_keep(void **state)
{
	struct server server;
	int fd;

	(void)state;
	server_start(&server, &(struct loop_conf){ 0 });
	fd = dial(&server);
	say(fd, "GET /raw HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	assert_contains(hear_out(fd), "raw\n");
	server_stop(&server);
}

static void
head_is_answered_like_get_without_the_body(void **state)
{
	struct server server;
	int fd;

	(void)state;
	server_start(&server, &(struct loop_conf){ 0 });
	fd = dial(&server);
	say(fd, "HEAD /absent HTTP/1.1\r\nHost: w\r\n\r\nHEAD /raw HTTP/1.1\r\nHost: w\r\n\r\nHEAD /lent "
		"HTTP/1.1\r\nHost: w\r\n\r\n" GET_CLOSE("/raw"));
	hear_out(fd);
	assert_contains(heard,
			"Content-Length: 12\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nHTTP/1.1 200 OK\r\n");
	assert_contains(heard, "Content-Length: 8388608\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nraw\n");
	assert_int_equal(atomic_load(&server.n_lent_done), 1);
	server_stop(&server);
}

static void
a_body_that_waits_for_leave_gets_it(void **state)
{
	struct server server;
	int fd;

	(void)state;
	server_start(&server, &(struct loop_conf){ 0 });
	fd = dial(&server);
	say(fd, "POST /echo HTTP/1.1\r\nHost: w\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
	assert_string_equal(hear(fd, "\r\n\r\n", 1), "HTTP/1.1 100 Continue\r\n\r\n");
	say(fd, "b");
	sleep_ms(20);
	say(fd, "ody");
	assert_begins(hear(fd, "body", 1), "HTTP/1.1 200 OK\r\n");
	say(fd, "POST /echo HTTP/1.1\r\nHost: w\r\nExpect: 100-continue\r\nContent-Length: 70001\r\n\r\n");
	assert_begins(hear_out(fd), "HTTP/1.1 413 ");
	server_stop(&server);
}

static void
a_body_of_the_limit_is_taken_and_one_byte_more_is_not(void **state)
{
	struct server server;
	char *body = malloc(BODY_MAX + 1);
	size_t got = 0;
	int fd;

	(void)state;
	memset(body, 'b', BODY_MAX + 1);
	server_start(&server, &(struct loop_conf){ 0 });
	fd = dial(&server);
	say(fd, "POST /echo HTTP/1.1\r\nHost: w\r\nConnection: close\r\nContent-Length: 70000\r\n\r\n");
	say_bytes(fd, body, BODY_MAX);
	for (ssize_t n; (n = recv(fd, heard, sizeof(heard), 0)) > 0;)
		for (ssize_t i = 0; i < n; i++)
			got += heard[i] == 'b';
	assert_int_equal(got, BODY_MAX);
	close(fd);

	fd = dial(&server);
	say(fd, "POST /echo HTTP/1.1\r\nHost: w\r\nContent-Length: 70001\r\n\r\n");
	say_bytes(fd, body, BODY_MAX + 1);
	assert_begins(hear_out(fd), "HTTP/1.1 413 Content Too Large\r\n");
	assert_contains(heard, "\r\n\r\na body of 70001 bytes: at most 70000 are accepted here\n");
	free(body);
	server_stop(&server);
}

/* A path of its own may have more, and the rest of the paths no more than before. */
static size_t
longer(struct writ_bytes path)
{
	return writ_equal(path, WRIT_LIT("/echo")) ? BODY_MAX + 2 : 0;
}

static void
long_bodies_on_their_way_are_few_and_one_that_ends_makes_room(void **state)
{
	static const char head[] = "POST /echo HTTP/1.1\r\nHost: w\r\nContent-Length: 70001\r\n\r\n";
	char *body = malloc(BODY_MAX + 1);
	int fds[HTTP_LONG_BODIES_MAX], fd;
	struct server server;

	(void)state;
	memset(body, 'b', BODY_MAX + 1);
	server_prepare(&server, &(struct loop_conf){ 0 });
	server.handler.body_max_of = longer;
	server_go(&server);
	for (size_t i = 0; i < N_OF(fds); i++) {
		fds[i] = dial(&server);
		say(fds[i], "POST /echo HTTP/1.1\r\nHost: w\r\nExpect: 100-continue\r\nContent-Length: 70001\r\n\r\n");
		assert_begins(hear(fds[i], "\r\n\r\n", 1), "HTTP/1.1 100 Continue\r\n"); /* it is counted now */
	}
	fd = dial(&server);
	say(fd, head);
	assert_begins(hear_out(fd), "HTTP/1.1 503 Service Unavailable\r\n");
	assert_contains(heard, "too many long bodies are on their way: try again in a moment, or send less\n");

	fd = dial(&server); /* a short one has its room */
	say(fd, ECHO_OF("4", "body"));
	assert_begins(hear(fd, "body", 1), "HTTP/1.1 200 OK\r\n");
	close(fd);

	say_bytes(fds[0], body, BODY_MAX + 1); /* one that is whole has gone its way, */
	assert_begins(hear(fds[0], "\r\n\r\n", 1), "HTTP/1.1 200 OK\r\n");
	fd = dial(&server);
	say(fd, "POST /echo HTTP/1.1\r\nHost: w\r\nExpect: 100-continue\r\nContent-Length: 70001\r\n\r\n");
	assert_begins(hear(fd, "\r\n\r\n", 1), "HTTP/1.1 100 Continue\r\n");
	close(fd); /* and so has one whose sender left */
	while (counts(&server).connections_open > N_OF(fds))
		sleep_ms(1);
	fd = dial(&server);
	say(fd, "POST /echo HTTP/1.1\r\nHost: w\r\nExpect: 100-continue\r\nContent-Length: 70001\r\n\r\n");
	assert_begins(hear(fd, "\r\n\r\n", 1), "HTTP/1.1 100 Continue\r\n");
	close(fd);
	for (size_t i = 0; i < N_OF(fds); i++)
		close(fds[i]);
	free(body);
	server_stop(&server);
}

/* ---- refusals ---- */

static void
headers_of_64_kib_are_refused_and_the_refusal_is_read(void **state)
{
	struct server server;
	char *all = malloc(64 * 1024);
	int fd;

	(void)state;
	memset(all, 'h', 64 * 1024);
	memcpy(all, "GET / HTTP/1.1\r\nX: ", 19);
	server_start(&server, &(struct loop_conf){ 0 });
	fd = dial(&server);
	say_bytes(fd, all, 64 * 1024);
	assert_begins(hear_out(fd), "HTTP/1.1 431 Request Header Fields Too Large\r\n");
	assert_contains(heard, "\r\nConnection: close\r\n");
	assert_contains(heard, "\r\n\r\nrequest line and headers are longer than 8192 bytes\n");
	assert_int_equal(counts(&server).refused_parse, 1);
	free(all);
	server_stop(&server);
}

static void
a_refused_request_ends_its_connection_and_nothing_behind_it_is_served(void **state)
{
	static const struct {
		const char *request, *answer;
	} cases[] = {
		{ "POST /echo HTTP/1.1\r\nHost: w\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		  "HTTP/1.1 400 Bad Request\r\n" },
		{ "GET /echo HTTP/1.1\nHost: w\n\n", "HTTP/1.1 400 Bad Request\r\n" },
		{ "POST /echo HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		  "HTTP/1.1 411 Length Required\r\n" },
		{ "GET /raw HTTP/2.0\r\n\r\n", "HTTP/1.1 505 HTTP Version Not Supported\r\n" },
	};
	struct server server;

	(void)state;
	server_start(&server, &(struct loop_conf){ 0 });
	for (size_t i = 0; i < N_OF(cases); i++) {
		const int fd = dial(&server);

		say(fd, cases[i].request);
		say(fd, GET("/raw"));
		assert_begins(hear_out(fd), cases[i].answer);
		assert_null(strstr(heard, "raw\n"));
		assert_int_equal(times(heard, "\r\nDate: "), 1);
	}
	assert_int_equal(counts(&server).refused_parse, N_OF(cases));
	assert_int_equal(counts(&server).requests, 0);
	server_stop(&server);
}

static void
a_request_that_the_application_forgets_is_answered_500(void **state)
{
	struct server server;
	int fd;

	(void)state;
	server_start(&server, &(struct loop_conf){ 0 });
	fd = dial(&server);
	say(fd, GET("/forgotten"));
	assert_begins(hear_out(fd), "HTTP/1.1 500 Internal Server Error\r\n");
	server_stop(&server);
}

/* ---- slow clients ---- */

static void
headers_that_come_too_slowly_are_refused(void **state)
{
	struct server server;
	int64_t began_ms;
	int fd;

	(void)state;
	server_start(&server, &(struct loop_conf){ .header_deadline_ms = 200 });
	began_ms = ms_now();
	fd = dial(&server);
	/* A byte now and then does not win time: the deadline is that of the whole head. */
	for (unsigned i = 0; i < 6; i++) {
		say_bytes(fd, &"GET / HTTP"[i], 1);
		sleep_ms(50);
	}
	assert_begins(hear_out(fd), "HTTP/1.1 408 Request Timeout\r\n");
	assert_contains(heard, "the headers did not arrive within 200 ms\n");
	assert_in_range(ms_now() - began_ms, 150, 1500);
	assert_int_equal(counts(&server).timeouts, 1);
	server_stop(&server);
}

static void
a_body_that_comes_too_slowly_is_refused(void **state)
{
	struct server server;
	int fd;

	(void)state;
	server_start(&server, &(struct loop_conf){ .body_deadline_ms = 200 });
	fd = dial(&server);
	say(fd, ECHO_OF("5", "hel"));
	assert_begins(hear_out(fd), "HTTP/1.1 408 Request Timeout\r\n");
	assert_contains(heard, "the body did not arrive within 200 ms\n");
	server_stop(&server);
}

static void
an_idle_connection_is_closed_without_a_word(void **state)
{
	struct server server;
	int fd;

	(void)state;
	server_start(&server, &(struct loop_conf){ .idle_ms = 150 });
	fd = dial(&server);
	say(fd, GET("/raw"));
	assert_int_equal(times(hear_out(fd), "HTTP/1.1"), 1);
	assert_int_equal(counts(&server).timeouts, 0);
	server_stop(&server);
}

static void
a_reader_that_takes_nothing_is_dropped_and_the_lent_body_given_back(void **state)
{
	struct server server;
	int fd;

	(void)state;
	server_start(&server, &(struct loop_conf){ .write_deadline_ms = 200 });
	fd = dial(&server);
	say(fd, GET("/lent"));
	for (unsigned i = 0; i < 600 && atomic_load(&server.n_lent_done) == 0; i++)
		sleep_ms(5);
	assert_int_equal(atomic_load(&server.n_lent_done), 1);
	assert_int_equal(counts(&server).timeouts, 1);
	close(fd);
	server_stop(&server);
}

static void
a_reader_that_takes_its_time_but_takes_gets_all(void **state)
{
	struct server server;
	size_t got = 0;
	int fd;

	(void)state;
	server_start(&server, &(struct loop_conf){ .write_deadline_ms = 300 });
	fd = dial(&server);
	say(fd, GET_CLOSE("/lent"));
	for (ssize_t n; (n = recv(fd, heard, sizeof(heard), 0)) > 0;) {
		got += (size_t)n;
		if (got < 2000000)
			sleep_ms(20);
	}
	assert_true(got > LENT_LEN);
	assert_int_equal(atomic_load(&server.n_lent_done), 1);
	close(fd);
	server_stop(&server);
}

/* ---- later ---- */

static void
a_deferred_request_is_answered_later_and_those_behind_it_wait(void **state)
{
	struct server server;
	struct timeval brief = { .tv_usec = 100000 };
	int fd;
	char c;

	(void)state;
	server_start(&server, &(struct loop_conf){ 0 });
	fd = dial(&server);
	say(fd, "POST /later HTTP/1.1\r\nHost: w\r\nContent-Length: 4\r\n\r\nlate" GET("/raw"));
	wait_later(&server, 1);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &brief, sizeof(brief));
	assert_int_equal(recv(fd, &c, 1, 0), -1);
	brief.tv_sec = 5;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &brief, sizeof(brief));
	loop_post(server.loop, answer_the_later, &server);
	assert_contains(hear(fd, "raw\n", 1), "\r\n\r\nlateHTTP/1.1 200 OK\r\n");
	assert_int_equal(server.gone, 'n');
	assert_true(atomic_load(&server.n_at_end) > 0);
	close(fd);
	server_stop(&server);
	assert_int_equal(atomic_load(&server.n_app_done), 1);
}

static void
a_deferred_request_on_a_connection_to_be_closed_is_answered_first(void **state)
{
	struct server server;
	int fd;

	(void)state;
	server_start(&server, &(struct loop_conf){ 0 });
	fd = dial(&server);
	say(fd, "POST /later HTTP/1.1\r\nHost: w\r\nConnection: close\r\nContent-Length: 4\r\n\r\nlate");
	shutdown(fd, SHUT_WR); /* says no more, but listens */
	wait_later(&server, 1);
	sleep_ms(50);
	loop_post(server.loop, answer_the_later, &server);
	assert_contains(hear_out(fd), "\r\nConnection: close\r\n\r\nlate");
	server_stop(&server);
}

static void
the_answer_to_a_client_that_went_away_is_dropped(void **state)
{
	const struct linger reset = { .l_onoff = 1 };
	struct server server;
	int fd;

	(void)state;
	server_start(&server, &(struct loop_conf){ 0 });
	fd = dial(&server);
	say(fd, "POST /later HTTP/1.1\r\nHost: w\r\nContent-Length: 4\r\n\r\nlate");
	wait_later(&server, 1);
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(fd);
	for (unsigned i = 0; i < 600 && counts(&server).connections_open > 0; i++)
		sleep_ms(5);
	assert_int_equal(counts(&server).connections_open, 0);
	assert_int_equal(atomic_load(&server.n_app_done), 0); /* the token still speaks of the peer */
	loop_post(server.loop, answer_the_later, &server);
	for (unsigned i = 0; i < 600 && atomic_load(&server.n_app_done) == 0; i++)
		sleep_ms(5);
	assert_int_equal(atomic_load(&server.n_app_done), 1);
	assert_int_equal(server.gone, 'y');
	assert_string_equal(server.late_peer, "127.0.0.1");
	server_stop(&server);
}

static void
a_request_that_waits_too_long_gets_503_and_its_token_stays(void **state)
{
	struct server server;
	int fd;

	(void)state;
	server_start(&server, &(struct loop_conf){ .request_deadline_ms = 200 });
	fd = dial(&server);
	say(fd, "POST /later HTTP/1.1\r\nHost: w\r\nContent-Length: 4\r\n\r\nlate");
	assert_begins(hear_out(fd), "HTTP/1.1 503 Service Unavailable\r\n");
	assert_contains(heard, "no answer within 200 ms: try later\n");
	loop_post(server.loop, answer_the_later, &server);
	fd = dial(&server);
	say(fd, GET_CLOSE("/raw"));
	assert_contains(hear_out(fd), "raw\n");
	assert_int_equal(server.gone, 'y');
	server_stop(&server);
}

static void
a_token_that_is_never_answered_ends_with_the_loop(void **state)
{
	struct server server;
	int fd;

	(void)state;
	server_start(&server, &(struct loop_conf){ .request_deadline_ms = 300 });
	fd = dial(&server);
	say(fd, GET("/later"));
	wait_later(&server, 1);
	server_stop(&server);
	assert_int_equal(atomic_load(&server.n_app_done), 1);
	close(fd);
}

static void
a_loop_that_is_stopped_answers_what_is_in_flight(void **state)
{
	struct server server;
	int fd, idle;

	(void)state;
	server_start(&server, &(struct loop_conf){ 0 });
	idle = dial(&server);
	say(idle, GET("/raw"));
	hear(idle, "raw\n", 1);
	fd = dial(&server);
	say(fd, "POST /later HTTP/1.1\r\nHost: w\r\nContent-Length: 4\r\n\r\nlate");
	wait_later(&server, 1);
	loop_stop(server.loop);
	assert_int_equal(recv(idle, heard, 1, 0), 0);
	close(idle);
	loop_post(server.loop, answer_the_later, &server);
	assert_contains(hear_out(fd), "\r\nConnection: close\r\n\r\nlate");
	server_stop(&server);
}

/* ---- limits ---- */

static void
an_address_over_its_share_is_turned_away(void **state)
{
	struct server server;
	int fd[3];

	(void)state;
	server_start(&server, &(struct loop_conf){ .connections_per_address_max = 2 });
	for (unsigned i = 0; i < 3; i++) {
		fd[i] = dial(&server);
		say(fd[i], GET("/raw"));
		hear(fd[i], "raw\n", 1);
		assert_int_equal(times(heard, "raw\n"), i < 2 ? 1 : 0);
	}
	assert_int_equal(counts(&server).refused_limit, 1);
	close(fd[2]);
	close(fd[0]);
	for (unsigned i = 0; i < 600 && counts(&server).connections_open > 1; i++)
		sleep_ms(5);
	fd[0] = dial(&server); /* there is room again */
	say(fd[0], GET_CLOSE("/raw"));
	assert_contains(hear_out(fd[0]), "raw\n");
	close(fd[1]);
	server_stop(&server);
}

static void
at_the_limit_the_oldest_idle_connection_makes_room(void **state)
{
	struct server server;
	int fd[3];

	(void)state;
	server_start(&server, &(struct loop_conf){ .connections_max = 2 });
	for (unsigned i = 0; i < 3; i++) {
		fd[i] = dial(&server);
		say(fd[i], GET("/raw"));
		assert_contains(hear(fd[i], "raw\n", 1), "raw\n");
		sleep_ms(5);
		if (i == 1) { /* used again: now the second is the oldest */
			say(fd[0], GET("/raw"));
			hear(fd[0], "raw\n", 1);
			sleep_ms(5);
		}
	}
	assert_int_equal(recv(fd[1], heard, 1, 0), 0);
	say(fd[0], GET_CLOSE("/raw"));
	assert_contains(hear_out(fd[0]), "raw\n");
	assert_int_equal(counts(&server).connections_open, 1);
	close(fd[1]);
	close(fd[2]);
	server_stop(&server);
}

static void
without_descriptors_the_loop_neither_spins_nor_dies(void **state)
{
	struct rlimit before, low;
	struct server server;
	struct timespec cpu0, cpu1;
	clockid_t cpu;
	int fd[6], first;

	(void)state;
	server_start(&server, &(struct loop_conf){ 0 });
	/* The clients' descriptors are made before the limit; connecting needs none. */
	for (unsigned i = 0; i < N_OF(fd); i++)
		fd[i] = socket(AF_INET, SOCK_STREAM, 0);
	first = dup(0);
	close(first);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	low = before;
	low.rlim_cur = (rlim_t)first + 1; /* one connection fits */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	for (unsigned i = 0; i < N_OF(fd); i++) {
		const struct sockaddr_in at = { .sin_family = AF_INET,
						.sin_port = htons(server.port),
						.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

		assert_int_equal(connect(fd[i], (const struct sockaddr *)&at, sizeof(at)), 0);
		say(fd[i], i == 0 ? GET("/later") : GET("/raw"));
		sleep_ms(20);
	}
	wait_later(&server, 1);
	pthread_getcpuclockid(server.thread, &cpu);
	clock_gettime(cpu, &cpu0);
	sleep_ms(300);
	clock_gettime(cpu, &cpu1);
	assert_true((cpu1.tv_sec - cpu0.tv_sec) * 1000 + (cpu1.tv_nsec - cpu0.tv_nsec) / 1000000 < 100);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_true(counts(&server).refused_limit > 0);
	loop_post(server.loop, answer_the_later, &server);
	assert_begins(hear(fd[0], "\r\n\r\n", 1), "HTTP/1.1 200 OK");
	first = dial(&server);
	say(first, GET_CLOSE("/raw"));
	assert_contains(hear_out(first), "raw\n");
	for (unsigned i = 0; i < N_OF(fd); i++)
		close(fd[i]);
	server_stop(&server);
}

static void
a_thousand_idle_connections_are_small(void **state)
{
	enum { N = 1000 };
	static int fd[N];
	struct server server;
	struct mallinfo2 before, after;
	size_t each;

	(void)state;
	server_start(&server, &(struct loop_conf){ 0 });
	before = mallinfo2();
	for (unsigned i = 0; i < N; i++) {
		fd[i] = dial(&server);
		say(fd[i], GET("/raw"));
		hear(fd[i], "raw\n", 1);
	}
	assert_int_equal(counts(&server).connections_open, N);
	after = mallinfo2();
	each = (after.uordblks - before.uordblks) / N;
	print_message("%zu bytes of heap an idle plain connection\n", each);
	assert_true(each < 2048);
	for (unsigned i = 0; i < N; i++)
		close(fd[i]);
	server_stop(&server);
}

/* ---- posts ---- */

struct sequence {
	struct server *server;
	unsigned next[4];
	atomic_uint n;
	atomic_bool wrong;
};

struct step {
	struct sequence *sequence;
	unsigned thread, number;
};

static void
take_step(void *arg)
{
	struct step *step = arg;

	if (step->sequence->next[step->thread]++ != step->number)
		atomic_store(&step->sequence->wrong, true);
	atomic_fetch_add(&step->sequence->n, 1);
	free(step);
}

struct poster {
	struct sequence *sequence;
	unsigned thread;
};

static void *
post_many(void *arg)
{
	const struct poster *poster = arg;

	for (unsigned i = 0; i < 1000; i++) {
		struct step *step = malloc(sizeof(*step));

		*step = (struct step){ poster->sequence, poster->thread, i };
		loop_post(poster->sequence->server->loop, take_step, step);
	}
	return NULL;
}

static void
what_threads_post_runs_on_the_loop_each_in_its_order(void **state)
{
	struct server server;
	struct sequence sequence = { .server = &server };
	struct poster posters[4];
	pthread_t threads[4];

	(void)state;
	server_start(&server, &(struct loop_conf){ 0 });
	for (unsigned i = 0; i < 4; i++) {
		posters[i] = (struct poster){ &sequence, i };
		pthread_create(&threads[i], NULL, post_many, &posters[i]);
	}
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < 600 && atomic_load(&sequence.n) < 4000; i++)
		sleep_ms(5);
	assert_int_equal(atomic_load(&sequence.n), 4000);
	assert_false(atomic_load(&sequence.wrong));
	server_stop(&server);
}

struct ticks {
	atomic_uint n, n_read;
	struct loop *loop;
};

static void
tick(struct clock now, void *ctx)
{
	(void)now;
	atomic_fetch_add(&((struct ticks *)ctx)->n, 1);
}

static void
watched(int fd, struct clock now, void *ctx)
{
	struct ticks *ticks = ctx;
	char c;

	(void)now;
	if (recv(fd, &c, 1, MSG_DONTWAIT) == 1)
		atomic_fetch_add(&ticks->n_read, 1);
	if (c == 'q')
		loop_unwatch(ticks->loop, fd);
}

static void
timers_and_watched_descriptors_are_called(void **state)
{
	struct server server;
	struct ticks ticks = { 0 };
	int pair[2];

	(void)state;
	server_prepare(&server, &(struct loop_conf){ 0 });
	ticks.loop = server.loop;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	must(loop_every(server.loop, 20, tick, &ticks));
	must(loop_watch(server.loop, pair[0], watched, &ticks));
	server_go(&server);
	assert_int_equal(send(pair[1], "a", 1, 0), 1);
	sleep_ms(100);
	assert_int_equal(send(pair[1], "q", 1, 0), 1);
	sleep_ms(100);
	assert_int_equal(send(pair[1], "b", 1, 0), 1);
	sleep_ms(100);
	assert_int_equal(atomic_load(&ticks.n_read), 2); /* not watched any more */
	assert_in_range(atomic_load(&ticks.n), 5, 20);
	server_stop(&server);
	close(pair[0]);
	close(pair[1]);
}

static void
a_host_name_is_no_address_to_listen_on(void **state)
{
	AUTO(writ_err_freep) struct writ_err *err = NULL;
	struct loop *loop;

	(void)state;
	must(loop_new(&(struct loop_conf){ 0 }, &loop));
	err = loop_listen(loop, "localhost", 0, false, NULL, NULL);
	assert_non_null(err);
	assert_string_equal(err->message, "'localhost' is not an IP address to listen on: names are not looked up");
	loop_free(loop);
}

static void
any_header_can_be_asked_for_by_its_name(void **state)
{
	static const struct {
		const char *headers, *want;
	} asked[] = {
		{ "", "0 ''" },
		{ "X-Writ-Test: a b\r\n", "1 'a b'" },
		{ "x-WRIT-test:\t a \r\nX-Other: b\r\n", "1 'a'" },
		{ "X-Writ-Test:\r\n", "1 ''" },
		{ "X-Writ-Test: a\r\nx-writ-test: b\r\n", "2 'b'" },
		{ "X_Writ_Test: a\r\n", "0 ''" },
		{ "X-Writ-Test-2: a\r\nX-Writ-Tes: a\r\n", "0 ''" },
	};
	struct server server;

	(void)state;
	server_start(&server, &(struct loop_conf){ 0 });
	for (size_t i = 0; i < N_OF(asked); i++) {
		const int fd = dial(&server);
		char request[400];

		snprintf(request, sizeof(request), "GET /fields HTTP/1.1\r\n%sHost: w\r\nConnection: close\r\n\r\n",
			 asked[i].headers);
		say(fd, request);
		assert_contains(hear_out(fd), asked[i].want);
		close(fd);
	}
	server_stop(&server);
}

static int
dial_unix(const char *path)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static void
a_socket_in_the_file_system_is_listened_on(void **state)
{
	char dir[] = "/tmp/writ-http-unix-XXXXXX", path[100], other[100], text[1000];
	struct server server, second;
	struct writ_err *err;
	struct stat st;
	FILE *file;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/sock", dir);
	snprintf(other, sizeof(other), "%s/file", dir);
	for (unsigned start = 0; start < 2; start++) { /* the second time over what the first left behind */
		server_prepare(&server, &(struct loop_conf){ 0 });
		must(loop_listen_unix(server.loop, path, NULL, &server.handler));
		assert_int_equal(stat(path, &st), 0);
		assert_int_equal(st.st_mode & 0777, 0660);
		server_go(&server);
		for (unsigned i = 0; i < 2; i++) {
			fd = dial_unix(path);
			say(fd, "GET /peer HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n");
			assert_contains(hear_out(fd), "unix tls=0 cert=0");
			close(fd);
		}
		if (start == 0)
			server_stop(&server);
	}

	server_prepare(&second, &(struct loop_conf){ 0 });
	err = loop_listen_unix(second.loop, path, NULL, &second.handler);
	assert_non_null(err);
	assert_contains(writ_err_text(err, text, sizeof(text)), "another process answers on it");
	writ_err_free(err);
	file = fopen(other, "w");
	assert_non_null(file);
	fclose(file);
	err = loop_listen_unix(second.loop, other, NULL, &second.handler);
	assert_non_null(err);
	assert_contains(writ_err_text(err, text, sizeof(text)), "a file that is no socket is in its place");
	writ_err_free(err);
	unlink(other);
	err = loop_listen_unix(second.loop, other, "no-such-group-here", &second.handler);
	assert_non_null(err);
	assert_contains(writ_err_text(err, text, sizeof(text)), "there is no group 'no-such-group-here'");
	writ_err_free(err);
	server_go(&second);
	server_stop(&second);
	server_stop(&server);
	unlink(path);
	assert_int_equal(rmdir(dir), 0);
}

/* ---- TLS ---- */

struct tls_client {
	SSL_CTX *ctx;
	SSL *ssl;
	int fd;
};

struct tls_wish {
	const struct identity *id, *sends_also; /* NULL: none */
	int max_version;
	const char *alpn; /* with its length byte */
	int port;	  /* 0: the server's */
};

/* True when the handshake, and with TLS 1.3 a first read or write behind it, went well. */
static bool
tls_dial(struct tls_client *client, const struct server *server, const struct tls_wish *wish)
{
	client->ctx = SSL_CTX_new(TLS_client_method());
	if (wish->max_version)
		SSL_CTX_set_max_proto_version(client->ctx, wish->max_version);
	if (wish->alpn)
		SSL_CTX_set_alpn_protos(client->ctx, (const unsigned char *)wish->alpn, (unsigned)strlen(wish->alpn));
	if (wish->id) {
		assert_int_equal(SSL_CTX_use_certificate(client->ctx, wish->id->cert), 1);
		assert_int_equal(SSL_CTX_use_PrivateKey(client->ctx, wish->id->key), 1);
	}
	if (wish->sends_also)
		assert_int_equal(SSL_CTX_add1_chain_cert(client->ctx, wish->sends_also->cert), 1);
	client->ssl = SSL_new(client->ctx);
	client->fd = dial_to(server->tls_port);
	SSL_set_fd(client->ssl, client->fd);
	return SSL_connect(client->ssl) == 1;
}

static void
tls_hang_up(struct tls_client *client)
{
	SSL_free(client->ssl);
	SSL_CTX_free(client->ctx);
	close(client->fd);
}

/* What the server answers to a GET; empty when it hung up. */
static const char *
tls_get(struct tls_client *client, const char *request)
{
	size_t len = 0;

	heard[0] = '\0';
	if (SSL_write(client->ssl, request, (int)strlen(request)) <= 0)
		return heard;
	for (;;) {
		const int n = SSL_read(client->ssl, heard + len, (int)(sizeof(heard) - 1 - len));

		if (n <= 0)
			return heard;
		len += (size_t)n;
		heard[len] = '\0';
		if (strstr(heard, "\r\n\r\n") && !strstr(heard, "\r\nConnection: close"))
			return heard;
	}
}

static void
a_client_certificate_is_verified_and_its_anchor_known(void **state)
{
	const struct writ_bytes anchor = der_of(&root), leaf = der_of(&client_id);
	struct server server;
	struct tls_client client;
	char wanted[100];

	(void)state;
	server_start_tls(&server, &(struct loop_conf){ 0 }, &anchor, 1);
	assert_true(
		tls_dial(&client, &server,
			 &(struct tls_wish){ .id = &client_id, .sends_also = &middle, .alpn = "\x02h2\x08http/1.1" }));
	assert_int_equal(SSL_version(client.ssl), TLS1_3_VERSION);
	snprintf(wanted, sizeof(wanted), "127.0.0.1 tls=1 cert=%zu anchor=ours", leaf.len);
	assert_contains(tls_get(&client, GET("/peer")), wanted);
	{
		const unsigned char *proto;
		unsigned len;

		SSL_get0_alpn_selected(client.ssl, &proto, &len);
		assert_int_equal(len, 8);
		assert_memory_equal(proto, "http/1.1", 8);
	}
	assert_false(SSL_SESSION_has_ticket(SSL_get_session(client.ssl)));
	assert_contains(tls_get(&client, GET_CLOSE("/absent")), "no such page");
	assert_int_equal(SSL_get_shutdown(client.ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
	tls_hang_up(&client);
	assert_int_equal(counts(&server).handshakes, 1);
	server_stop(&server);
	OPENSSL_free((void *)(uintptr_t)anchor.data);
	OPENSSL_free((void *)(uintptr_t)leaf.data);
}

static void
a_client_without_a_certificate_is_served_as_nobody(void **state)
{
	const struct writ_bytes anchor = der_of(&root);
	struct server server;
	struct tls_client client;

	(void)state;
	server_start_tls(&server, &(struct loop_conf){ 0 }, &anchor, 1);
	assert_true(tls_dial(&client, &server, &(struct tls_wish){ 0 }));
	assert_contains(tls_get(&client, GET("/peer")), "tls=1 cert=0 anchor=none");
	tls_hang_up(&client);
	server_stop(&server);
	OPENSSL_free((void *)(uintptr_t)anchor.data);
}

static void
strangers_old_versions_and_other_protocols_are_refused(void **state)
{
	const struct tls_wish wishes[] = {
		{ .id = &stranger_id },
		{ .id = &client_id }, /* its CA is not sent along, and is no anchor */
		{ .max_version = TLS1_2_VERSION },
		{ .alpn = "\x02h2" },
	};
	const struct writ_bytes anchor = der_of(&root);
	struct server server;

	(void)state;
	server_start_tls(&server, &(struct loop_conf){ 0 }, &anchor, 1);
	for (size_t i = 0; i < N_OF(wishes); i++) {
		struct tls_client client;

		if (tls_dial(&client, &server, &wishes[i]))
			assert_string_equal(tls_get(&client, GET("/raw")), "");
		tls_hang_up(&client);
	}
	{ /* and plain HTTP on the TLS port */
		const int fd = dial_to(server.tls_port);

		say(fd, GET("/raw"));
		assert_null(strstr(hear(fd, NULL, 0), "raw\n"));
		close(fd);
	}
	assert_int_equal(counts(&server).handshakes_failed, N_OF(wishes) + 1);
	assert_int_equal(counts(&server).requests, 0);
	server_stop(&server);
	OPENSSL_free((void *)(uintptr_t)anchor.data);
}

static void
an_anchor_that_is_not_self_signed_ends_a_path(void **state)
{
	const struct writ_bytes anchor = der_of(&middle);
	struct server server;
	struct tls_client client;

	(void)state;
	server_start_tls(&server, &(struct loop_conf){ 0 }, &anchor, 1);
	OPENSSL_free((void *)(uintptr_t)server.anchor.data);
	server.anchor = der_of(&middle);
	assert_true(tls_dial(&client, &server, &(struct tls_wish){ .id = &client_id }));
	assert_contains(tls_get(&client, GET("/peer")), "anchor=ours");
	tls_hang_up(&client);
	server_stop(&server);
	OPENSSL_free((void *)(uintptr_t)anchor.data);
}

static void
a_silent_client_does_not_hold_a_handshake_open(void **state)
{
	struct server server;
	int fd;

	(void)state;
	server_start_tls(&server, &(struct loop_conf){ .handshake_deadline_ms = 200 }, NULL, 0);
	fd = dial_to(server.tls_port);
	assert_string_equal(hear_out(fd), "");
	assert_int_equal(counts(&server).timeouts, 1);
	server_stop(&server);
}

static void
a_flood_of_key_updates_ends_the_connection(void **state)
{
	struct server server;
	struct tls_client client;
	bool closed = false;

	(void)state;
	server_start_tls(&server, &(struct loop_conf){ 0 }, NULL, 0);
	assert_true(tls_dial(&client, &server, &(struct tls_wish){ 0 }));
	for (unsigned i = 0; i < 3; i++) { /* a few are fine */
		assert_int_equal(SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
		assert_contains(tls_get(&client, GET("/raw")), "raw\n");
	}
	for (unsigned i = 0; i < 50 && !closed; i++)
		closed = SSL_key_update(client.ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1 ||
			 !strstr(tls_get(&client, GET("/raw")), "raw\n");
	assert_true(closed);
	tls_hang_up(&client);
	server_stop(&server);
}

static void
handshakes_over_the_budget_wait_their_turn(void **state)
{
	struct server server;
	const int64_t began_ms = ms_now();

	(void)state;
	server_start_tls(&server, &(struct loop_conf){ .handshakes_per_s = 10 }, NULL, 0);
	for (unsigned i = 0; i < 14; i++) {
		struct tls_client client;

		assert_true(tls_dial(&client, &server, &(struct tls_wish){ 0 }));
		tls_hang_up(&client);
	}
	assert_in_range(ms_now() - began_ms, 250, 5000); /* ten at once, then one in 100 ms */
	assert_int_equal(counts(&server).refused_limit, 0);
	server_stop(&server);
}

/* A client at 127.0.0.`low` that has said hello; `blocking`: and has come to the end of its handshake. */
static SSL *
hello_from(SSL_CTX *ctx, const struct server *server, uint8_t low, bool blocking)
{
	const struct sockaddr_in from = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000000u | low) };
	const struct sockaddr_in at = { .sin_family = AF_INET,
					.sin_port = htons(server->tls_port),
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const struct timeval patience = { .tv_sec = PATIENCE_MS / 1000 };
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	SSL *ssl = SSL_new(ctx);

	assert_int_equal(bind(fd, (const struct sockaddr *)&from, sizeof(from)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
	if (!blocking)
		assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	SSL_set_fd(ssl, fd);
	assert_true(SSL_connect(ssl) == 1 || !blocking);
	return ssl;
}

/* How many the server has answered. */
static unsigned
helloed(SSL *const *clients, unsigned n)
{
	unsigned count = 0;
	char byte;

	for (unsigned i = 0; i < n; i++)
		count += recv(SSL_get_fd(clients[i]), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
	return count;
}

static void
hang_up_all(SSL **clients, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		close(SSL_get_fd(clients[i]));
		SSL_free(clients[i]);
	}
}

static void
a_flood_of_handshakes_by_one_address_leaves_another_its_turn(void **state)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct server server;
	SSL *flood[24], *other;

	(void)state;
	server_start_tls(&server, &(struct loop_conf){ .handshakes_per_s = 2 }, NULL, 0);
	for (unsigned i = 0; i < 24; i++)
		flood[i] = hello_from(ctx, &server, 2, false);
	other = hello_from(ctx, &server, 3, true);
	assert_true(helloed(flood, 24) < 16); /* all of them would have taken eleven seconds */
	hang_up_all(&other, 1);
	hang_up_all(flood, 24);
	SSL_CTX_free(ctx);
	server_stop(&server);
}

static void
who_is_preferred_comes_before_a_flood_from_many_addresses(void **state)
{
	static const char request[] = GET("/prefer");
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct server server;
	SSL *flood[24], *operator_s;
	char answer[500];

	(void)state;
	server_start_tls(&server, &(struct loop_conf){ .handshakes_per_s = 2 }, NULL, 0);
	operator_s = hello_from(ctx, &server, 3, true);
	assert_int_equal(SSL_write(operator_s, request, sizeof(request) - 1), sizeof(request) - 1);
	assert_true(SSL_read(operator_s, answer, sizeof(answer)) > 0);
	hang_up_all(&operator_s, 1);
	for (unsigned i = 0; i < 24; i++)
		flood[i] = hello_from(ctx, &server, (uint8_t)(10 + i), false);
	operator_s = hello_from(ctx, &server, 3, true);
	assert_true(helloed(flood, 24) < 16);
	hang_up_all(&operator_s, 1);
	hang_up_all(flood, 24);
	SSL_CTX_free(ctx);
	server_stop(&server);
}

static void
at_the_limit_of_connections_handshakes_that_wait_give_way_of_who_has_most(void **state)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	struct server server;
	static const char request[] = GET("/nothing");
	SSL *flood[12], *other;
	char answer[500];

	(void)state;
	server_start_tls(&server, &(struct loop_conf){ .handshakes_per_s = 2, .connections_max = 8, .handshake_deadline_ms = 60000 }, NULL, 0);
	for (unsigned i = 0; i < 12; i++)
		flood[i] = hello_from(ctx, &server, 2, false);
	other = hello_from(ctx, &server, 3, true);
	assert_true(counts(&server).connections_open <= 8);
	assert_int_equal(SSL_write(other, request, sizeof(request) - 1), sizeof(request) - 1);
	assert_true(SSL_read(other, answer, sizeof(answer)) > 0);
	hang_up_all(&other, 1);
	hang_up_all(flood, 12);
	SSL_CTX_free(ctx);
	server_stop(&server);
}

static void
reload_again(void *arg)
{
	struct server *server = arg;

	must(loop_tls(server->loop, &(struct tls_conf){ .certificate = server_pem, .key = server_key }));
}

static void
after_a_reload_old_connections_go_on_and_new_ones_have_the_new_anchors(void **state)
{
	const struct writ_bytes anchor = der_of(&root);
	struct server server;
	struct tls_client old, new;

	(void)state;
	server_start_tls(&server, &(struct loop_conf){ 0 }, &anchor, 1);
	assert_true(tls_dial(&old, &server, &(struct tls_wish){ .id = &client_id, .sends_also = &middle }));
	assert_contains(tls_get(&old, GET("/peer")), "anchor=ours");
	loop_post(server.loop, reload_again, &server);
	sleep_ms(50);
	assert_contains(tls_get(&old, GET("/peer")), "anchor=ours");
	if (tls_dial(&new, &server, &(struct tls_wish){ .id = &client_id, .sends_also = &middle }))
		assert_string_equal(tls_get(&new, GET("/peer")), "");
	tls_hang_up(&old);
	tls_hang_up(&new);
	server_stop(&server);
	OPENSSL_free((void *)(uintptr_t)anchor.data);
}

static void
a_large_body_and_a_large_answer_pass_through_tls(void **state)
{
	struct server server;
	struct tls_client client;
	size_t got = 0;

	(void)state;
	server_start_tls(&server, &(struct loop_conf){ 0 }, NULL, 0);
	assert_true(tls_dial(&client, &server, &(struct tls_wish){ 0 }));
	assert_true(SSL_write(client.ssl, GET_CLOSE("/lent"), sizeof(GET_CLOSE("/lent")) - 1) > 0);
	for (int n; (n = SSL_read(client.ssl, heard, sizeof(heard))) > 0;) {
		if (got == 0)
			sleep_ms(100); /* so that the server has to wait for us */
		got += (size_t)n;
	}
	assert_true(got > LENT_LEN);
	tls_hang_up(&client);
	server_stop(&server);
}

static void
a_key_that_is_not_the_certificates_is_refused_by_name(void **state)
{
	char path[] = "/tmp/writ-http-other-XXXXXX";
	AUTO(writ_err_freep) struct writ_err *err = NULL;
	AUTO(writ_err_freep) struct writ_err *absent = NULL;
	struct loop *loop;
	FILE *f = fdopen(mkstemp(path), "w");
	char text[400];

	(void)state;
	PEM_write_PrivateKey(f, client_id.key, NULL, NULL, 0, NULL, NULL);
	fclose(f);
	must(loop_new(&(struct loop_conf){ 0 }, &loop));
	err = loop_tls(loop, &(struct tls_conf){ .certificate = server_pem, .key = path });
	assert_non_null(err);
	assert_contains(writ_err_text(err, text, sizeof(text)), path);
	absent = loop_tls(loop, &(struct tls_conf){ .certificate = "/absent.pem", .key = path });
	assert_non_null(absent);
	assert_string_equal(absent->message, "certificate /absent.pem");
	loop_free(loop);
	unlink(path);
}

static void
idle_tls_connections_are_small_enough(void **state)
{
	enum { N = 100 };
	static struct tls_client client[N];
	struct server server;
	size_t rss[2], each;

	(void)state;
	server_start_tls(&server, &(struct loop_conf){ 0 }, NULL, 0);
	for (unsigned i = 0; i < N; i++) {
		assert_true(tls_dial(&client[i], &server, &(struct tls_wish){ 0 }));
		assert_contains(tls_get(&client[i], GET("/raw")), "raw\n");
	}
	rss[0] = mallinfo2().uordblks;
	loop_stop(server.loop);
	pthread_join(server.thread, NULL); /* lets go of the server's half */
	rss[1] = mallinfo2().uordblks;
	each = (rss[0] - rss[1]) / N;
	print_message("%zu bytes of heap an idle TLS connection\n", each);
	assert_true(each < 64 * 1024);
	for (unsigned i = 0; i < N; i++)
		tls_hang_up(&client[i]);
	loop_free(server.loop);
	free(server.lent);
	OPENSSL_free((void *)(uintptr_t)server.anchor.data);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_is_told_to_rest_is_not_read_before_he_has),
		cmocka_unit_test(a_request_is_answered_and_its_connection_kept),
		cmocka_unit_test(pipelined_requests_are_answered_in_their_order),
		cmocka_unit_test(a_raw_answer_is_sent_before_its_owner_writes_the_next_in_its_place),
		cmocka_unit_test(a_head_said_before_is_read_as_then_and_one_that_differs_anew),
		cmocka_unit_test(more_pipelined_requests_than_the_answers_room_are_all_answered),
		cmocka_unit_test(http_1_0_is_answered_and_closed_even_when_asked_to_keep),
		cmocka_unit_test(head_is_answered_like_get_without_the_body),
		cmocka_unit_test(a_body_that_waits_for_leave_gets_it),
		cmocka_unit_test(a_body_of_the_limit_is_taken_and_one_byte_more_is_not),
		cmocka_unit_test(long_bodies_on_their_way_are_few_and_one_that_ends_makes_room),
		cmocka_unit_test(headers_of_64_kib_are_refused_and_the_refusal_is_read),
		cmocka_unit_test(a_refused_request_ends_its_connection_and_nothing_behind_it_is_served),
		cmocka_unit_test(a_request_that_the_application_forgets_is_answered_500),
		cmocka_unit_test(headers_that_come_too_slowly_are_refused),
		cmocka_unit_test(a_body_that_comes_too_slowly_is_refused),
		cmocka_unit_test(an_idle_connection_is_closed_without_a_word),
		cmocka_unit_test(a_reader_that_takes_nothing_is_dropped_and_the_lent_body_given_back),
		cmocka_unit_test(a_reader_that_takes_its_time_but_takes_gets_all),
		cmocka_unit_test(a_deferred_request_is_answered_later_and_those_behind_it_wait),
		cmocka_unit_test(a_deferred_request_on_a_connection_to_be_closed_is_answered_first),
		cmocka_unit_test(the_answer_to_a_client_that_went_away_is_dropped),
		cmocka_unit_test(a_request_that_waits_too_long_gets_503_and_its_token_stays),
		cmocka_unit_test(a_token_that_is_never_answered_ends_with_the_loop),
		cmocka_unit_test(a_loop_that_is_stopped_answers_what_is_in_flight),
		cmocka_unit_test(an_address_over_its_share_is_turned_away),
		cmocka_unit_test(at_the_limit_the_oldest_idle_connection_makes_room),
		cmocka_unit_test(without_descriptors_the_loop_neither_spins_nor_dies),
		cmocka_unit_test(a_thousand_idle_connections_are_small),
		cmocka_unit_test(what_threads_post_runs_on_the_loop_each_in_its_order),
		cmocka_unit_test(timers_and_watched_descriptors_are_called),
		cmocka_unit_test(a_host_name_is_no_address_to_listen_on),
		cmocka_unit_test(any_header_can_be_asked_for_by_its_name),
		cmocka_unit_test(a_socket_in_the_file_system_is_listened_on),
		cmocka_unit_test(a_client_certificate_is_verified_and_its_anchor_known),
		cmocka_unit_test(a_client_without_a_certificate_is_served_as_nobody),
		cmocka_unit_test(strangers_old_versions_and_other_protocols_are_refused),
		cmocka_unit_test(an_anchor_that_is_not_self_signed_ends_a_path),
		cmocka_unit_test(a_silent_client_does_not_hold_a_handshake_open),
		cmocka_unit_test(a_flood_of_key_updates_ends_the_connection),
		cmocka_unit_test(handshakes_over_the_budget_wait_their_turn),
		cmocka_unit_test(a_flood_of_handshakes_by_one_address_leaves_another_its_turn),
		cmocka_unit_test(who_is_preferred_comes_before_a_flood_from_many_addresses),
		cmocka_unit_test(at_the_limit_of_connections_handshakes_that_wait_give_way_of_who_has_most),
		cmocka_unit_test(after_a_reload_old_connections_go_on_and_new_ones_have_the_new_anchors),
		cmocka_unit_test(a_large_body_and_a_large_answer_pass_through_tls),
		cmocka_unit_test(a_key_that_is_not_the_certificates_is_refused_by_name),
		cmocka_unit_test(idle_tls_connections_are_small_enough),
	};

	sigset_t pipe_only;

	/* A thousand connections have two ends each here, and a login's soft limit may be 1,024. */
	if (file_descriptors_raise(4096) < 4096)
		print_message("few descriptors: the hard limit is too low for a thousand connections\n");
	sigemptyset(&pipe_only);
	sigaddset(&pipe_only, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_only, NULL);
	return cmocka_run_group_tests(tests, make_identities, drop_identities);
}
