/*
 * Requests to the issuer: see web.h.
 *
 * All that is secret or trusted is read before the sandbox is entered and given to libcurl as memory: later no file of
 * ours is opened.
 */
#include "issuer/responder/web.h"

#include <unistd.h>

#include "base/file.h"

#define CONNECT_TIMEOUT_MS 2000L
#define PEM_MAX ((size_t)256 * 1024)
#define KEY_MAX ((size_t)16 * 1024) /* bytes of PEM: an RSA key of 8,192 bits has 6,400 */
#define CONNECTIONS_MAX 32L	    /* to each of the two listeners */

/* ---- what is read once ---- */

WRIT_CHECKED static struct writ_err *
key_read(int fd, struct writ_buf *ret)
{
	uint8_t piece[1024];
	ssize_t n;
	struct writ_err *err = NULL;

	while (!err && (n = read(fd, piece, sizeof(piece))) != 0)
		err = n < 0 ? writ_fail(WRIT_UNAVAILABLE, "the client's key cannot be read")
			    : writ_buf_add(ret, (struct writ_bytes){ piece, (size_t)n });
	explicit_bzero(piece, sizeof(piece));
	close(fd);
	return err;
}

struct writ_err *
web_init(struct web *web, const struct conf_responder *conf, int key_fd)
{
	struct writ_err *err;

	*web = (struct web){ .ca = WRIT_BUF(PEM_MAX), .certificate = WRIT_BUF(PEM_MAX), .key = WRIT_BUF(KEY_MAX) };
	err = key_read(key_fd, &web->key);
	if (!err)
		err = file_read(conf->ca, FILE_CONFIG, &web->ca);
	if (!err)
		err = file_read(conf->certificate, FILE_CONFIG, &web->certificate);
	if (err)
		return err;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
		return writ_fail(WRIT_UNAVAILABLE, "libcurl cannot be used");
	web->multi = curl_multi_init();
	web->ocsp_headers = curl_slist_append(NULL, "Content-Type: application/ocsp-request");
	if (!web->multi || !web->ocsp_headers ||
	    curl_multi_setopt(web->multi, CURLMOPT_MAX_HOST_CONNECTIONS, CONNECTIONS_MAX) != CURLM_OK)
		return writ_fail(WRIT_EXHAUSTED, "no memory for requests");
	return NULL;
}

void
web_done(struct web *web)
{
	curl_slist_free_all(web->ocsp_headers);
	if (web->multi)
		curl_multi_cleanup(web->multi);
	writ_buf_done(&web->ca);
	writ_buf_done(&web->certificate);
	writ_buf_done(&web->key);
	curl_global_cleanup();
}

/* ---- one way ---- */

static bool
blob_set(CURL *easy, CURLoption option, const struct writ_buf *pem)
{
	struct curl_blob blob = { .data = pem->data, .len = pem->len, .flags = CURL_BLOB_NOCOPY };

	return curl_easy_setopt(easy, option, &blob) == CURLE_OK;
}

static bool
options_set(const struct way *way, const struct web *web)
{
	CURL *c = way->exchange.easy;
	bool ok = true;

	ok &= curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK;
	ok &= blob_set(c, CURLOPT_CAINFO_BLOB, &web->ca);
	ok &= curl_easy_setopt(c, CURLOPT_CAPATH, NULL) == CURLE_OK;
	if (way->client) {
		ok &= curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3) == CURLE_OK;
		ok &= blob_set(c, CURLOPT_SSLCERT_BLOB, &web->certificate);
		ok &= blob_set(c, CURLOPT_SSLKEY_BLOB, &web->key);
	}
	return ok;
}

struct writ_err *
way_init(struct way *way, struct web *web, bool client, size_t answer_max)
{
	const struct exchange_conf conf = { .agent = "writ-responderd",
					    .protocols = client ? "https" : "http,https",
					    .connect_ms = CONNECT_TIMEOUT_MS };

	way->client = client;
	way->exchange.answer = WRIT_BUF(answer_max);
	if (!exchange_open(&way->exchange, &conf, way) || !options_set(way, web))
		return writ_fail(WRIT_EXHAUSTED, "no memory for requests to the issuer");
	return NULL;
}

void
way_done(struct way *way, struct web *web)
{
	if (way->busy)
		curl_multi_remove_handle(web->multi, way->exchange.easy);
	way->busy = false;
	exchange_close(&way->exchange);
	writ_buf_done(&way->exchange.answer);
}

struct writ_err *
way_begin(struct way *way, struct web *web, const char *url, struct writ_bytes body, long timeout_ms)
{
	if (!exchange_set(&way->exchange, url, timeout_ms, web->ocsp_headers, body) ||
	    curl_multi_add_handle(web->multi, way->exchange.easy) != CURLM_OK)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a request to the issuer");
	way->busy = true;
	return NULL;
}

WRIT_CHECKED static struct writ_err *
result(const struct way *way, CURLcode code)
{
	long status;
	struct writ_err *err = exchange_result(&way->exchange, code, &status);

	if (err)
		return err;
	if (status == 401 || status == 403)
		return writ_fail(
			WRIT_UNAUTHENTICATED,
			"the issuer answered %ld: our certificate must be of a principal whom its policy gives the "
			"role responder",
			status);
	if (status != 200)
		return writ_fail(WRIT_UNAVAILABLE, "the issuer answered %ld", status);
	return NULL;
}

/* ---- all of them ---- */

/* Moves what can be moved, and ends what has ended; how many did. */
static unsigned
move(struct web *web)
{
	int running, left;
	CURLMsg *message;
	unsigned n = 0;

	curl_multi_perform(web->multi, &running);
	while ((message = curl_multi_info_read(web->multi, &left))) {
		const CURLcode code = message->data.result;
		struct way *way = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&way);
		curl_multi_remove_handle(web->multi, way->exchange.easy);
		way->busy = false;
		way->done(way, result(way, code));
		n++;
	}
	return n;
}

void
web_turn(struct web *web, int fd, int wait_ms)
{
	struct curl_waitfd other = { .fd = fd, .events = CURL_WAIT_POLLIN };

	if (move(web) > 0) /* there may be something to do now */
		return;
	curl_multi_poll(web->multi, &other, 1, wait_ms, NULL);
	move(web);
}

void
web_wake(struct web *web)
{
	curl_multi_wakeup(web->multi);
}
