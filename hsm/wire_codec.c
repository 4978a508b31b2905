/*
 * The device wire's messages, encoded and decoded.
 */
#include "hsm/wire_codec.h"


/* Bytes of at least one and at most `max`; else the cursor fails. */
static struct writ_bytes
get_bounded(struct body_in *in, size_t max)
{
	const struct writ_bytes bytes = body_get_bytes(in);

	if (bytes.len == 0 || bytes.len > max)
		in->failed = true;
	return bytes;
}

/* As get_bounded(), and none at all is well too. */
static struct writ_bytes
get_optional(struct body_in *in, size_t max)
{
	const struct writ_bytes bytes = body_get_bytes(in);

	if (bytes.len > max)
		in->failed = true;
	return bytes;
}

static struct writ_bytes
get_fixed(struct body_in *in, size_t len)
{
	struct writ_bytes bytes = { in->at, len };

	if (in->failed || (size_t)(in->end - in->at) < len) {
		in->failed = true;
		return (struct writ_bytes){ 0 };
	}
	in->at += len;
	return bytes;
}

static void
get_handles(struct body_in *in, struct device_request *ret)
{
	ret->n_handles = body_get8(in);
	if (ret->n_handles > ATTEST_KEYS_MAX) {
		ret->n_handles = 0;
		in->failed = true;
	}
	for (size_t i = 0; i < ret->n_handles; i++)
		ret->handles[i] = body_get32(in);
}

static void
get_items(struct body_in *in, struct device_answer *ret)
{
	ret->n_items = body_get8(in);
	if (ret->n_items > ATTEST_ITEMS_MAX) {
		ret->n_items = 0;
		in->failed = true;
	}
	for (size_t i = 0; i < ret->n_items; i++) {
		const uint8_t what = body_get8(in);

		if (what < ATTESTED_KEY || what > ATTESTED_CLAIM)
			in->failed = true;
		ret->items[i] = (struct device_attested){ .what = (enum attested)what };
		ret->items[i].about = get_optional(in, ATTEST_ABOUT_MAX);
		ret->items[i].said = get_optional(in, ATTEST_SAID_MAX);
		ret->items[i].signature = get_optional(in, ATTEST_SIGNATURE_MAX);
	}
}

static void
put_items(struct body_out *out, const struct device_answer *answer)
{
	body_put8(out, (uint8_t)answer->n_items);
	for (size_t i = 0; i < answer->n_items; i++) {
		body_put8(out, (uint8_t)answer->items[i].what);
		body_put_bytes(out, answer->items[i].about);
		body_put_bytes(out, answer->items[i].said);
		body_put_bytes(out, answer->items[i].signature);
	}
}

static void
get_text(struct body_in *in, char *out, size_t out_len, bool printable)
{
	const struct writ_bytes text = body_get_bytes(in);

	if (in->failed || text.len >= out_len || (text.len > 0 && memchr(text.data, 0, text.len))) {
		in->failed = true;
		return;
	}
	for (size_t i = 0; printable && i < text.len; i++)
		if (text.data[i] < 0x20 || text.data[i] > 0x7e)
			in->failed = true;
	if (text.len > 0)
		memcpy(out, text.data, text.len);
	out[text.len] = '\0';
}

/* 0 or 1. */
static bool
get_flag(struct body_in *in)
{
	const uint8_t flag = body_get8(in);

	if (flag > 1)
		in->failed = true;
	return flag == 1;
}

static enum custody_counter
get_counter(struct body_in *in)
{
	const uint8_t which = body_get8(in);

	if (which < COUNTER_SEALED || which > COUNTER_STATE)
		in->failed = true;
	return (enum custody_counter)which;
}

const char *
device_message_name(unsigned type)
{
	switch (type) {
	case DEVICE_INFO:
		return "INFO";
	case DEVICE_MAKE:
		return "MAKE";
	case DEVICE_LOAD:
		return "LOAD";
	case DEVICE_SIGN:
		return "SIGN";
	case DEVICE_SEAL:
		return "SEAL";
	case DEVICE_UNSEAL:
		return "UNSEAL";
	case DEVICE_HEALTH:
		return "HEALTH";
	case DEVICE_UNLOAD:
		return "UNLOAD";
	case DEVICE_COUNTER_MAKE:
		return "COUNTER_MAKE";
	case DEVICE_COUNTER_READ:
		return "COUNTER_READ";
	case DEVICE_COUNTER_RAISE:
		return "COUNTER_RAISE";
	case DEVICE_DESTROY:
		return "DESTROY";
	case DEVICE_ATTESTER:
		return "ATTESTER";
	case DEVICE_ATTEST:
		return "ATTEST";
	case DEVICE_ACTIVATE:
		return "ACTIVATE";
	case DEVICE_RESUME:
		return "RESUME";
	case DEVICE_PCRS:
		return "PCRS";
	default:
		return NULL;
	}
}

struct writ_err *
device_request_decode(const struct frame *frame, struct device_request *ret)
{
	struct body_in in = body_read(frame->body);

	*ret = (struct device_request){ 0 };
	if (!device_message_name(frame->type))
		return writ_fail(WRIT_INVALID, "device wire: %u is no request", frame->type);
	ret->type = (enum device_message)frame->type;
	switch (frame->type) {
	case DEVICE_MAKE:
		ret->kind = (enum key_kind)body_get8(&in);
		get_text(&in, ret->label, sizeof(ret->label), false);
		if (ret->kind > KEY_ED25519)
			in.failed = true;
		break;
	case DEVICE_LOAD:
		ret->ref = get_bounded(&in, CUSTODY_REF_MAX);
		ret->spki = get_bounded(&in, SPKI_MAX);
		break;
	case DEVICE_SIGN:
		ret->handle = body_get32(&in);
		ret->message = body_get_bytes(&in);
		if (ret->message.len > DEVICE_INLINE_MAX)
			in.failed = true;
		break;
	case DEVICE_SEAL:
		ret->number = body_get64(&in);
		ret->secret = get_fixed(&in, CUSTODY_SECRET_LEN);
		break;
	case DEVICE_UNSEAL:
		ret->blob = get_bounded(&in, CUSTODY_BLOB_MAX);
		break;
	case DEVICE_UNLOAD:
		ret->handle = body_get32(&in);
		break;
	case DEVICE_ATTEST:
		ret->qualifying = get_fixed(&in, ATTEST_QUALIFYING_LEN);
		get_handles(&in, ret);
		break;
	case DEVICE_ACTIVATE:
		ret->id_object = get_bounded(&in, ATTEST_ID_OBJECT_MAX);
		ret->encrypted = get_bounded(&in, ATTEST_ENCRYPTED_MAX);
		break;
	case DEVICE_COUNTER_MAKE:
	case DEVICE_COUNTER_READ:
	case DEVICE_COUNTER_RAISE:
		ret->counter = get_counter(&in);
		break;
	case DEVICE_DESTROY:
		ret->number = body_get64(&in);
		break;
	default: /* INFO, HEALTH, RESUME, ATTESTER, PCRS: no body */
		break;
	}
	if (!body_done(&in))
		return writ_fail(WRIT_INVALID, "device wire: malformed %s request of %zu bytes",
				 device_message_name(frame->type), frame->body.len);
	return NULL;
}

struct writ_err *
device_request_encode(const struct device_request *request, struct writ_buf *ret_body)
{
	struct body_out out = { ret_body, false };

	switch (request->type) {
	case DEVICE_MAKE:
		body_put8(&out, (uint8_t)request->kind);
		body_put_bytes(&out, writ_str(request->label));
		break;
	case DEVICE_LOAD:
		body_put_bytes(&out, request->ref);
		body_put_bytes(&out, request->spki);
		break;
	case DEVICE_SIGN:
		body_put32(&out, request->handle);
		body_put_bytes(&out, request->message);
		break;
	case DEVICE_SEAL:
		body_put64(&out, request->number);
		body_put(&out, request->secret);
		break;
	case DEVICE_UNSEAL:
		body_put_bytes(&out, request->blob);
		break;
	case DEVICE_UNLOAD:
		body_put32(&out, request->handle);
		break;
	case DEVICE_ATTEST:
		body_put(&out, request->qualifying);
		body_put8(&out, (uint8_t)request->n_handles);
		for (size_t i = 0; i < request->n_handles; i++)
			body_put32(&out, request->handles[i]);
		break;
	case DEVICE_ACTIVATE:
		body_put_bytes(&out, request->id_object);
		body_put_bytes(&out, request->encrypted);
		break;
	case DEVICE_COUNTER_MAKE:
	case DEVICE_COUNTER_READ:
	case DEVICE_COUNTER_RAISE:
		body_put8(&out, (uint8_t)request->counter);
		break;
	case DEVICE_DESTROY:
		body_put64(&out, request->number);
		break;
	case DEVICE_INFO:
	case DEVICE_HEALTH:
	case DEVICE_ATTESTER:
	case DEVICE_RESUME:
	case DEVICE_PCRS:
	case DEVICE_ANSWER:
	case DEVICE_ERROR:
		break;
	}
	if (out.failed)
		return writ_fail(WRIT_INVALID, "device wire: a %s request is over a frame's %d bytes",
				 device_message_name(request->type), FRAME_BODY_MAX);
	return NULL;
}

static struct writ_err *
error_decode(struct body_in *in)
{
	char text[DEVICE_TEXT_MAX + 1];
	uint8_t code;

	code = body_get8(in);
	get_text(in, text, sizeof(text), false);
	if (!body_done(in) || code > WRIT_BROKEN)
		return NULL;
	return writ_fail((enum writ_code)code, "%s", text);
}

static void
info_decode(struct body_in *in, struct custody_info *ret)
{
	ret->software = get_flag(in);
	ret->can_seal = get_flag(in);
	get_text(in, ret->maker, sizeof(ret->maker), true);
	get_text(in, ret->model, sizeof(ret->model), true);
	get_text(in, ret->serial, sizeof(ret->serial), true);
	get_text(in, ret->firmware, sizeof(ret->firmware), true);
}

static struct writ_err *
malformed_answer(unsigned type, enum device_message asked)
{
	return writ_fail(WRIT_INVALID, "device wire: malformed answer of type 0x%x to %s", type,
			 device_message_name(asked));
}

struct writ_err *
device_answer_decode(const struct frame *frame, enum device_message asked, struct device_answer *ret,
		     struct writ_err **ret_failed)
{
	struct body_in in = body_read(frame->body);

	*ret = (struct device_answer){ 0 };
	*ret_failed = NULL;
	if (frame->type == DEVICE_ERROR) {
		*ret_failed = error_decode(&in);
		return *ret_failed ? NULL : malformed_answer(frame->type, asked);
	}
	if (frame->type != (asked | DEVICE_ANSWER))
		return malformed_answer(frame->type, asked);
	switch (asked) {
	case DEVICE_INFO:
		info_decode(&in, &ret->info);
		break;
	case DEVICE_MAKE:
		ret->ref = get_bounded(&in, CUSTODY_REF_MAX);
		ret->spki = get_bounded(&in, SPKI_MAX);
		break;
	case DEVICE_LOAD:
		ret->handle = body_get32(&in);
		break;
	case DEVICE_SIGN:
		ret->signature = get_bounded(&in, SIGNATURE_MAX);
		break;
	case DEVICE_SEAL:
		ret->blob = get_bounded(&in, CUSTODY_BLOB_MAX);
		break;
	case DEVICE_UNSEAL:
	case DEVICE_ACTIVATE:
		ret->secret = get_fixed(&in, CUSTODY_SECRET_LEN);
		break;
	case DEVICE_ATTESTER:
		ret->ak = get_optional(&in, ATTEST_AREA_MAX);
		ret->ek = get_optional(&in, ATTEST_EK_MAX);
		break;
	case DEVICE_ATTEST:
		get_items(&in, ret);
		break;
	case DEVICE_COUNTER_MAKE:
	case DEVICE_COUNTER_READ:
	case DEVICE_COUNTER_RAISE:
		ret->value = body_get64(&in);
		break;
	case DEVICE_PCRS:
		ret->report = get_bounded(&in, CUSTODY_REPORT_MAX);
		break;
	case DEVICE_HEALTH:
	case DEVICE_UNLOAD:
	case DEVICE_DESTROY:
	case DEVICE_RESUME:
	case DEVICE_ANSWER:
	case DEVICE_ERROR:
		break;
	}
	if (!body_done(&in))
		return malformed_answer(frame->type, asked);
	return NULL;
}

static void
info_encode(struct body_out *out, const struct custody_info *info)
{
	body_put8(out, info->software);
	body_put8(out, info->can_seal);
	body_put_bytes(out, writ_str(info->maker));
	body_put_bytes(out, writ_str(info->model));
	body_put_bytes(out, writ_str(info->serial));
	body_put_bytes(out, writ_str(info->firmware));
}

struct writ_err *
device_answer_encode(enum device_message asked, const struct device_answer *answer, struct writ_buf *ret_body)
{
	struct body_out out = { ret_body, false };

	switch (asked) {
	case DEVICE_INFO:
		info_encode(&out, &answer->info);
		break;
	case DEVICE_MAKE:
		body_put_bytes(&out, answer->ref);
		body_put_bytes(&out, answer->spki);
		break;
	case DEVICE_LOAD:
		body_put32(&out, answer->handle);
		break;
	case DEVICE_SIGN:
		body_put_bytes(&out, answer->signature);
		break;
	case DEVICE_SEAL:
		body_put_bytes(&out, answer->blob);
		break;
	case DEVICE_UNSEAL:
	case DEVICE_ACTIVATE:
		body_put(&out, answer->secret);
		break;
	case DEVICE_ATTESTER:
		body_put_bytes(&out, answer->ak);
		body_put_bytes(&out, answer->ek);
		break;
	case DEVICE_ATTEST:
		put_items(&out, answer);
		break;
	case DEVICE_COUNTER_MAKE:
	case DEVICE_COUNTER_READ:
	case DEVICE_COUNTER_RAISE:
		body_put64(&out, answer->value);
		break;
	case DEVICE_PCRS:
		body_put_bytes(&out, answer->report);
		break;
	case DEVICE_HEALTH:
	case DEVICE_UNLOAD:
	case DEVICE_DESTROY:
	case DEVICE_RESUME:
	case DEVICE_ANSWER:
	case DEVICE_ERROR:
		break;
	}
	if (out.failed)
		return writ_fail(WRIT_BROKEN, "device wire: an answer to %s is over a frame's %d bytes",
				 device_message_name(asked), FRAME_BODY_MAX);
	return NULL;
}

struct writ_err *
device_error_encode(const struct writ_err *err, struct writ_buf *ret_body)
{
	struct body_out out = { ret_body, false };
	char text[DEVICE_TEXT_MAX + 1];

	writ_err_text(err, text, sizeof(text));
	body_put8(&out, (uint8_t)err->code);
	body_put_bytes(&out, writ_str(text));
	if (out.failed)
		return writ_fail(WRIT_BROKEN, "device wire: no room for an error's text");
	return NULL;
}
