/*
 * What each request does to the device: see deviced_answers.h.  The numbers are deviced.c's.
 */
#include "hsm/deviced_answers.h"

#include <stdlib.h>

#include <openssl/crypto.h>

#include "base/event.h"
#include "base/fault.h"
#include "base/text.h"
#include "hsm/watchdog.h"

#define TPM_AUTH_LEN 32

struct writ_err *
deviced_auth_read(const struct settings *settings, struct writ_secret *ret)
{
	AUTO(writ_secret_done) struct writ_secret text = { 0 };
	uint8_t value[TPM_AUTH_LEN];
	struct writ_err *err;

	err = writ_secret_read(&text, settings->secret_file);
	if (err)
		return err;
	if (!settings->secret_is_hex)
		return writ_secret_set(ret, (struct writ_bytes){ text.data, text.len });
	if (!writ_unhex((struct writ_bytes){ text.data, text.len }, value, sizeof(value)))
		err = writ_fail(WRIT_INVALID, "%.80s: an auth value is %d hex digits on one line",
				settings->secret_file, 2 * TPM_AUTH_LEN);
	else
		err = writ_secret_set(ret, (struct writ_bytes){ value, sizeof(value) });
	OPENSSL_cleanse(value, sizeof(value));
	return err;
}

struct writ_err *
deviced_open(struct server *server)
{
	char text[WRIT_MESSAGE_MAX];
	struct writ_err *err;

	if (server->custody)
		return NULL;
	if (server->refused)
		return writ_fail(server->refused->code, "%s", server->refused->message);
	err = custody_open(server->settings->scheme, &server->settings->device, &server->auth, &server->custody);
	if (!err || err->code == WRIT_UNAVAILABLE || err->code == WRIT_EXHAUSTED)
		return err;
	writ_err_text(err, text, sizeof(text));
	server->refused = writ_fail(err->code, "%s", text);
	event(EVENT_ALARM, "device.refused", EV_ERR(err));
	return err;
}

static struct writ_err *
answer_make(struct server *server, const struct device_request *request, struct writ_buf *ret_body)
{
	AUTO(writ_buf_done) struct writ_buf ref = WRIT_BUF(CUSTODY_REF_MAX);
	AUTO(writ_buf_done) struct writ_buf spki = WRIT_BUF(SPKI_MAX);
	struct writ_err *err;

	err = custody_make_key(server->custody, request->kind, request->label, &ref, &spki);
	if (err)
		return err;
	return device_answer_encode(
		DEVICE_MAKE, &(struct device_answer){ .ref = writ_view(&ref), .spki = writ_view(&spki) }, ret_body);
}

static struct writ_err *
answer_load(struct server *server, struct connection *connection, const struct device_request *request,
	    struct writ_buf *ret_body)
{
	struct writ_err *err;
	size_t i = 0;

	while (i < KEYS_MAX && connection->keys[i].handle != 0)
		i++;
	if (i == KEYS_MAX)
		return writ_fail(WRIT_EXHAUSTED, "%d keys are loaded over this connection, which is the limit",
				 KEYS_MAX);
	if (connection->last_handle == UINT32_MAX)
		return writ_fail(WRIT_EXHAUSTED, "this connection has used all its handles: connect anew");
	err = custody_load(server->custody, request->ref, request->spki, &connection->keys[i].key);
	if (err)
		return err;
	connection->keys[i].handle = ++connection->last_handle; /* never given twice: a stale one finds nothing */
	return device_answer_encode(DEVICE_LOAD, &(struct device_answer){ .handle = connection->keys[i].handle },
				    ret_body);
}

/* The slot of a key, or KEYS_MAX. */
static size_t
key_slot(const struct connection *connection, uint32_t handle)
{
	size_t i = 0;

	while (i < KEYS_MAX && (handle == 0 || connection->keys[i].handle != handle))
		i++;
	return i;
}

static struct writ_err *
no_such_key(uint32_t handle)
{
	return writ_fail(WRIT_NOT_FOUND, "no key %u is loaded over this connection", handle);
}

static struct writ_err *
answer_sign(struct connection *connection, const struct device_request *request, struct writ_buf *ret_body)
{
	AUTO(writ_buf_done) struct writ_buf sig = WRIT_BUF(SIGNATURE_MAX);
	const size_t i = key_slot(connection, request->handle);
	struct writ_err *err;

	if (i == KEYS_MAX)
		return no_such_key(request->handle);
	FAULT("device:sign");
	err = custody_sign(connection->keys[i].key, request->message, &sig);
	if (err)
		return err;
	FAULT("device:signed");
	return device_answer_encode(DEVICE_SIGN, &(struct device_answer){ .signature = writ_view(&sig) }, ret_body);
}

static struct writ_err *
answer_seal(struct server *server, const struct device_request *request, struct writ_buf *ret_body)
{
	AUTO(writ_buf_done) struct writ_buf blob = WRIT_BUF(CUSTODY_BLOB_MAX);
	AUTO(writ_secret_done) struct writ_secret secret = { 0 };
	struct writ_err *err;

	err = writ_secret_set(&secret, request->secret);
	if (err)
		return err;
	err = custody_seal(server->custody, request->number, &secret, &blob);
	if (err)
		return err;
	return device_answer_encode(DEVICE_SEAL, &(struct device_answer){ .blob = writ_view(&blob) }, ret_body);
}

static struct writ_err *
answer_unseal(struct server *server, const struct device_request *request, struct writ_buf *ret_body)
{
	AUTO(writ_secret_done) struct writ_secret secret = { 0 };
	struct writ_err *err;

	err = custody_unseal(server->custody, request->blob, &secret);
	if (err)
		return err;
	return device_answer_encode(DEVICE_UNSEAL, &(struct device_answer){ .secret = { secret.data, secret.len } },
				    ret_body);
}

static struct writ_err *
answer_counter(struct server *server, const struct device_request *request, struct writ_buf *ret_body)
{
	struct device_answer answer = { 0 };
	struct writ_err *err;

	if (request->type == DEVICE_COUNTER_MAKE) {
		err = custody_counter_make(server->custody, request->counter, &answer.value);
	} else if (request->type == DEVICE_COUNTER_READ) {
		err = custody_counter_read(server->custody, request->counter, &answer.value);
	} else {
		FAULT("device:raise");
		err = custody_counter_raise(server->custody, request->counter, &answer.value);
	}
	if (err)
		return err;
	return device_answer_encode(request->type, &answer, ret_body);
}

static struct writ_err *
answer_pcrs(struct server *server, struct writ_buf *ret_body)
{
	AUTO(writ_buf_done) struct writ_buf report = WRIT_BUF(CUSTODY_REPORT_MAX);
	struct writ_err *err = custody_pcrs(server->custody, &report);

	if (err)
		return err;
	return device_answer_encode(DEVICE_PCRS, &(struct device_answer){ .report = writ_view(&report) }, ret_body);
}

static struct writ_err *
answer_unload(struct connection *connection, uint32_t handle)
{
	const size_t i = key_slot(connection, handle);

	if (i == KEYS_MAX)
		return no_such_key(handle);
	custody_unload(connection->keys[i].key);
	connection->keys[i].handle = 0;
	return NULL;
}

static struct writ_err *
answer_attester(struct server *server, struct writ_buf *ret_body)
{
	struct attester attester;
	struct writ_err *err = custody_attester(server->custody, &attester);

	if (err)
		return err;
	return device_answer_encode(DEVICE_ATTESTER,
				    &(struct device_answer){ .ak = { attester.ak, attester.ak_len },
							     .ek = { attester.ek, attester.ek_len } },
				    ret_body);
}

static struct writ_err *
answer_attest(struct server *server, struct connection *connection, const struct device_request *request,
	      struct writ_buf *ret_body)
{
	struct key *keys[ATTEST_KEYS_MAX];
	struct device_answer answer = { 0 };
	struct attestation attestation;
	struct writ_err *err;

	for (size_t i = 0; i < request->n_handles; i++) {
		const size_t slot = key_slot(connection, request->handles[i]);

		if (slot == KEYS_MAX)
			return no_such_key(request->handles[i]);
		keys[i] = connection->keys[slot].key;
	}
	err = custody_attest(server->custody, request->qualifying.data, keys, request->n_handles, &attestation);
	if (err)
		return err;
	answer.n_items = attestation.n;
	for (size_t i = 0; i < attestation.n; i++)
		answer.items[i] =
			(struct device_attested){ attestation.item[i].what, attest_about(&attestation.item[i]),
						  attest_said(&attestation.item[i]),
						  attest_signature(&attestation.item[i]) };
	return device_answer_encode(DEVICE_ATTEST, &answer, ret_body);
}

static struct writ_err *
answer_activate(struct server *server, const struct device_request *request, struct writ_buf *ret_body)
{
	AUTO(writ_secret_done) struct writ_secret secret = { 0 };
	struct writ_err *err;

	err = custody_activate(server->custody, request->id_object, request->encrypted, &secret);
	if (err)
		return err;
	return device_answer_encode(DEVICE_ACTIVATE, &(struct device_answer){ .secret = { secret.data, secret.len } },
				    ret_body);
}

static struct writ_err *
answer_info(struct server *server, struct writ_buf *ret_body)
{
	struct device_answer answer = { 0 };
	struct writ_err *err;

	err = custody_info(server->custody, &answer.info);
	if (err)
		return err;
	return device_answer_encode(DEVICE_INFO, &answer, ret_body);
}

void
deviced_keys_unload(struct connection *connection)
{
	for (size_t i = 0; i < KEYS_MAX; i++)
		if (connection->keys[i].handle != 0)
			custody_unload(connection->keys[i].key);
	memset(connection->keys, 0, sizeof(connection->keys));
}

/* (5) */
static struct writ_err *
answer_resume(struct server *server)
{
	struct writ_err *err;

	for (size_t i = 0; i < CONNECTIONS_MAX; i++)
		deviced_keys_unload(&server->connections[i]);
	custody_close(TAKE(server->custody));
	writ_err_free(TAKE(server->refused));
	writ_secret_done(&server->auth);
	event(EVENT_WARN, "device.resumed", EV_STR("text", "an operator has what locked the device forgotten"));
	err = deviced_auth_read(server->settings, &server->auth);
	if (err) { /* nothing to authenticate with: not tried */
		server->refused = writ_fail(WRIT_LOCKED, "%s", err->message);
		return writ_recode(err, WRIT_LOCKED, "resuming");
	}
	watchdog_arm(DEVICE_OPEN_TIMEOUT_MS, "open the device");
	err = deviced_open(server);
	return err ? err : custody_health(server->custody);
}

struct writ_err *
deviced_answer(struct server *server, struct connection *connection, const struct device_request *request,
	       struct writ_buf *ret_body)
{
	struct writ_err *err;

	if (request->type == DEVICE_RESUME)
		return answer_resume(server);
	err = deviced_open(server);
	if (err)
		return err;
	switch (request->type) {
	case DEVICE_INFO:
		return answer_info(server, ret_body);
	case DEVICE_MAKE:
		return answer_make(server, request, ret_body);
	case DEVICE_LOAD:
		return answer_load(server, connection, request, ret_body);
	case DEVICE_SIGN:
		return answer_sign(connection, request, ret_body);
	case DEVICE_SEAL:
		return answer_seal(server, request, ret_body);
	case DEVICE_UNSEAL:
		return answer_unseal(server, request, ret_body);
	case DEVICE_HEALTH:
		return custody_health(server->custody);
	case DEVICE_PCRS:
		return answer_pcrs(server, ret_body);
	case DEVICE_UNLOAD:
		return answer_unload(connection, request->handle);
	case DEVICE_COUNTER_MAKE:
	case DEVICE_COUNTER_READ:
	case DEVICE_COUNTER_RAISE:
		return answer_counter(server, request, ret_body);
	case DEVICE_DESTROY:
		return custody_destroy(server->custody, request->number);
	case DEVICE_ATTESTER:
		return answer_attester(server, ret_body);
	case DEVICE_ATTEST:
		return answer_attest(server, connection, request, ret_body);
	case DEVICE_ACTIVATE:
		return answer_activate(server, request, ret_body);
	case DEVICE_RESUME: /* answered above: the device need not be here */
	case DEVICE_ANSWER:
	case DEVICE_ERROR:
		break;
	}
	return writ_fail(WRIT_BROKEN, "request %d has no answer", request->type);
}
