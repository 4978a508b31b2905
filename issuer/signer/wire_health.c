/*
 * HEALTH, the one message that is long: how the signer and its device are, how long things took, and the words for it.
 * Knows no socket.
 */
#include <string.h>

#include "base/text.h"
#include "issuer/signer/wire_body.h"

const unsigned signer_bounds_ms[SIGNER_BOUNDS] = { 1, 5, 10, 50, 100, 200, 500, 1000, 2000, 5000 };

void
signer_times_note(struct signer_times *times, int64_t ms)
{
	const uint64_t took_ms = ms > 0 ? (uint64_t)ms : 0;
	size_t i = 0;

	while (i < SIGNER_BOUNDS && took_ms > signer_bounds_ms[i])
		i++;
	times->n[i]++;
	times->sum_ms += took_ms;
}

const char *
device_refusal_name(enum device_refusal why)
{
	static const char *const names[DEVICE_REFUSALS] = { "full", "share", "late", "away", "gone" };

	return names[why];
}

const char *
signer_device_name(enum signer_device device)
{
	static const char *const names[] = { [SIGNER_DEVICE_DOWN] = "down",
					     [SIGNER_DEVICE_UP] = "up",
					     [SIGNER_DEVICE_DEGRADED] = "degraded",
					     [SIGNER_DEVICE_LOCKED] = "locked" };

	return names[device];
}

static void
times_put(struct body_out *out, const struct signer_times *times)
{
	for (size_t i = 0; i <= SIGNER_BOUNDS; i++)
		body_put64(out, times->n[i]);
	body_put64(out, times->sum_ms);
}

static void
times_get(struct body_in *in, struct signer_times *ret)
{
	for (size_t i = 0; i <= SIGNER_BOUNDS; i++)
		ret->n[i] = body_get64(in);
	ret->sum_ms = body_get64(in);
}

static void
put_text(struct body_out *out, const char *text, size_t max)
{
	body_put_bytes(out, (struct writ_bytes){ (const uint8_t *)text, strnlen(text, max) });
}

static void
get_text(struct body_in *in, bool *ok, char *out, size_t out_len)
{
	const struct writ_bytes text = body_get_bytes(in);

	*ok = *ok && text.len < out_len && writ_is_clean_utf8(text);
	if (*ok && text.len > 0)
		memcpy(out, text.data, text.len);
}

struct writ_err *
signer_health_write(const struct signer_health *m, struct writ_buf *ret)
{
	struct body_out out = body_write(ret);

	body_put8(&out, m->can_issue);
	body_put8(&out, m->device_up);
	body_put8(&out, (uint8_t)m->device);
	body_put64(&out, (uint64_t)m->device_since);
	body_put64(&out, m->device_latency_us);
	body_put64(&out, m->device_failed);
	body_put32(&out, m->keys_quarantined);
	put_text(&out, m->device_why, sizeof(m->device_why));
	put_text(&out, m->device_last_error, sizeof(m->device_last_error));
	body_put64(&out, m->entries);
	body_put64(&out, m->issued);
	body_put64(&out, m->revoked_live);
	body_put64(&out, m->owed);
	body_put64(&out, m->unknown_asked);
	body_put32(&out, m->device_queue);
	body_put32(&out, m->clock_accepted);
	for (size_t i = 0; i < DEVICE_REFUSALS; i++)
		body_put64(&out, m->device_refused[i]);
	times_put(&out, &m->device_waited);
	times_put(&out, &m->device_signed);
	body_put64(&out, (uint64_t)m->issuing_until);
	body_put64(&out, m->changes);
	put_text(&out, m->why, sizeof(m->why));
	return written(&out, "health");
}

struct writ_err *
signer_health_read(struct writ_bytes body, struct signer_health *ret)
{
	struct body_in in = body_read(body);
	bool ok = true;
	uint8_t state;

	*ret = (struct signer_health){ 0 };
	ret->can_issue = get_bool(&in, &ok);
	ret->device_up = get_bool(&in, &ok);
	state = body_get8(&in);
	ok = ok && state <= SIGNER_DEVICE_LOCKED;
	ret->device = (enum signer_device)state;
	ret->device_since = (writ_time)body_get64(&in);
	ret->device_latency_us = body_get64(&in);
	ret->device_failed = body_get64(&in);
	ret->keys_quarantined = body_get32(&in);
	get_text(&in, &ok, ret->device_why, sizeof(ret->device_why));
	get_text(&in, &ok, ret->device_last_error, sizeof(ret->device_last_error));
	ret->entries = body_get64(&in);
	ret->issued = body_get64(&in);
	ret->revoked_live = body_get64(&in);
	ret->owed = body_get64(&in);
	ret->unknown_asked = body_get64(&in);
	ret->device_queue = body_get32(&in);
	ret->clock_accepted = body_get32(&in);
	for (size_t i = 0; i < DEVICE_REFUSALS; i++)
		ret->device_refused[i] = body_get64(&in);
	times_get(&in, &ret->device_waited);
	times_get(&in, &ret->device_signed);
	ret->issuing_until = (writ_time)body_get64(&in);
	ret->changes = body_get64(&in);
	get_text(&in, &ok, ret->why, sizeof(ret->why));
	return read_all(&in, ok, "health");
}
