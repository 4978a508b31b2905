/*
 * Denied requests on their way to the store: see denied.h.
 */
#include "issuer/serve/denied.h"

#include <stdlib.h>

#include "base/digest.h"
#include "base/event.h"
#include "issuer/serve/work.h"

struct denied {
	struct job job; /* first */
	struct store_denied what;
	uint8_t texts[];
};

static void
denied_stored(struct job *job)
{
	struct denied *d = (struct denied *)job;

	if (job->item.result)
		event(EVENT_WARN, "serve.denied_not_kept", EV_ERR(job->item.result));
	writ_err_free(job->item.result);
	free(d);
}

/* The same request again, at another time, falls on the same slot. */
static uint8_t
slot_of(const struct store_denied *what)
{
	const uint8_t numbers[] = { what->kind, (uint8_t)what->depth };
	const struct writ_bytes pieces[] = {
		what->agent, WRIT_LIT("\n"), what->grant, { what->parent, EDGE_ID_LEN }, { numbers, sizeof(numbers) }
	};
	uint8_t digest[SHA256_LEN];

	writ_sha256v(pieces, N_OF(pieces), digest);
	return digest[0] % STORE_DENIED_SLOTS;
}

static struct writ_bytes
copied(uint8_t **at, struct writ_bytes text)
{
	const struct writ_bytes copy = { *at, text.len };

	memcpy(*at, text.data, text.len);
	*at += text.len;
	return copy;
}

void
denied_keep(struct serve_loop *on, const struct store_denied *what)
{
	struct denied *d = calloc(1, sizeof(*d) + what->delegator.len + what->agent.len + what->grant.len);
	uint8_t *at;

	if (!d)
		return;
	at = d->texts;
	d->what = *what;
	d->what.delegator = copied(&at, what->delegator);
	d->what.agent = copied(&at, what->agent);
	d->what.grant = copied(&at, what->grant);
	d->what.slot = slot_of(what);
	d->job.item.op = STORE_DENIED;
	d->job.item.denied = &d->what;
	d->job.done = denied_stored;
	work_put_job(on, &d->job);
}
