/*
 * Requests of writ load: see load_calls.h.
 */
#include "issuer/cli/load_calls.h"

#include <stdlib.h>
#include <strings.h>

#define LIST_MAX (64 * 1024 * 1024)
#define CONNECT_TIMEOUT_MS 10000L
#define TIMEOUT_MS 30000L

int64_t
load_now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static size_t
take_body(char *data, size_t size, size_t n, void *ctx)
{
	struct load_call *call = ctx;
	struct writ_err *err = writ_buf_add(&call->answer, (struct writ_bytes){ (const uint8_t *)data, size * n });

	if (!err)
		return size * n;
	writ_err_free(err);
	return 0;
}

static size_t
take_header(char *data, size_t size, size_t n, void *ctx)
{
	static const char name[] = "retry-after:";
	struct load_call *call = ctx;
	const size_t len = size * n;
	char number[12] = "";

	if (len > sizeof(name) && len < sizeof(name) + sizeof(number) &&
	    strncasecmp(data, name, sizeof(name) - 1) == 0) {
		memcpy(number, data + sizeof(name) - 1, len - sizeof(name) + 1);
		call->retry_after_s = strtol(number, NULL, 10);
	}
	return len;
}

void
load_call_free(struct load *l, struct load_call *call)
{
	*call->at = call->next;
	if (call->next)
		call->next->at = call->at;
	if (call->curl) {
		curl_multi_remove_handle(l->multi, call->curl);
		curl_easy_cleanup(call->curl);
	}
	curl_slist_free_all(call->headers);
	writ_buf_done(&call->body);
	writ_buf_done(&call->answer);
	free(call->question);
	free(call);
	l->n_calls--;
}

struct writ_err *
load_call_new(struct load *l, enum load_what what, struct load_agent *agent, struct load_call **ret)
{
	struct load_call *call = calloc(1, sizeof(*call));

	if (call)
		call->curl = curl_easy_init();
	if (!call || !call->curl) {
		free(call);
		return writ_fail(WRIT_EXHAUSTED, "no memory for a request");
	}
	call->what = what;
	call->agent = agent;
	call->body = WRIT_BUF(LOAD_ANSWER_MAX);
	call->answer = WRIT_BUF(what == LOAD_CRL ? LIST_MAX : LOAD_ANSWER_MAX);
	call->retry_after_s = -1;
	call->next = l->calls;
	call->at = &l->calls;
	if (call->next)
		call->next->at = &call->next;
	l->calls = call;
	l->n_calls++;
	*ret = call;
	return NULL;
}

struct writ_err *
load_call_send(struct load *l, struct load_call *call, const char *base, const char *path, const char *kind)
{
	char url[1024], type[80];
	CURL *curl = call->curl;

	snprintf(url, sizeof(url), "%s%s", base, path);
	call->headers = curl_slist_append(NULL, "Expect:");
	if (kind) {
		snprintf(type, sizeof(type), "Content-Type: %s", kind);
		call->headers = curl_slist_append(call->headers, type);
		curl_easy_setopt(curl, CURLOPT_POST, 1L);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, call->body.len > 0 ? (const char *)call->body.data : "");
	}
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, call->headers);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3);
	curl_easy_setopt(curl, CURLOPT_CAINFO, l->plan->ca);
	curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, call);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, call);
	curl_easy_setopt(curl, CURLOPT_PRIVATE, call);
	call->began_us = load_now_us();
	call->asked_ms = clock_read().mono_ms;
	if (curl_multi_add_handle(l->multi, curl) != CURLM_OK)
		return writ_fail(WRIT_EXHAUSTED, "no memory for a request");
	return NULL;
}

struct writ_err *
load_call_json(struct load_call *call, json_t *body)
{
	char *text = json_dumps(body, JSON_COMPACT);
	struct writ_err *err =
		text ? writ_buf_add(&call->body, writ_str(text)) : writ_fail(WRIT_EXHAUSTED, "no memory for a request");

	free(text);
	json_decref(body);
	return err;
}

void
load_call_as_delegator(const struct load *l, struct load_call *call)
{
	curl_easy_setopt(call->curl, CURLOPT_SSLCERT, l->plan->cert);
	curl_easy_setopt(call->curl, CURLOPT_SSLKEY, l->plan->key);
}

void
load_call_as_agent(struct load_call *call, struct writ_bytes leaf_pem, struct writ_bytes key_pem)
{
	struct curl_blob leaf = { (void *)(uintptr_t)leaf_pem.data, leaf_pem.len, CURL_BLOB_COPY };
	struct curl_blob key = { (void *)(uintptr_t)key_pem.data, key_pem.len, CURL_BLOB_COPY };

	curl_easy_setopt(call->curl, CURLOPT_SSLCERT_BLOB, &leaf);
	curl_easy_setopt(call->curl, CURLOPT_SSLKEY_BLOB, &key);
}
