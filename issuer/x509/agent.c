/*
 * What a verified leaf says, and whether it allows a request (delegation.md 6.1 step 8; policy/allow.h decides).
 */
#include "issuer/x509/agent.h"

#include <stdlib.h>

#include "base/digest.h"
#include "issuer/x509/refuse.h"
#include "issuer/x509/verify.h"
#include "policy/allow.h"

#define AGENT_ARENA (LEAF_ARENA + 4096) /* bytes: and three names of its own */
#define JSON_MAX (1024 * 1024)	/* bytes: 32 entitlements that each repeat 4 KiB of constraints, every octet escaped */

enum writ_refusal
agent_read(struct writ_bytes certificate, struct writ_agent **ret, struct writ_why *why)
{
	AUTO(writ_agent_freep) struct writ_agent *agent = NULL;
	struct writ_err *err;

	if (certificate.len > LEAF_MAX)
		return refuse(why, WRIT_REFUSED_ENCODING, "E1", "leaf: %zu bytes, the limit is %d", certificate.len,
			      LEAF_MAX);
	agent = calloc(1, sizeof(*agent));
	if (!agent)
		return refuse(why, WRIT_REFUSED_MEMORY, "", "no memory for a leaf");
	agent->der = WRIT_BUF(LEAF_MAX);
	agent->json = WRIT_BUF(JSON_MAX);
	agent->arena = WRIT_ARENA(AGENT_ARENA);
	err = writ_buf_add(&agent->der, certificate);
	if (err)
		return refuse_err(why, WRIT_REFUSED_MEMORY, "", "leaf", err);
	err = leaf_read(writ_view(&agent->der), &agent->arena, &agent->leaf);
	if (err)
		return verify_unread(writ_view(&agent->der), err, why);
	*ret = TAKE(agent);
	return WRIT_OK;
}

enum writ_refusal
agent_finish(struct writ_agent *agent, writ_time expires_at, struct writ_why *why)
{
	const struct delegation *d = &agent->leaf.delegation;
	struct writ_err *err;

	agent->expires_at = expires_at;
	writ_sha256(writ_view(&agent->der), agent->sha256);
	/* Followed by a NUL each; our grammar has none inside. */
	agent->id = (char *)(uintptr_t)writ_arena_copy(&agent->arena, agent->leaf.san).data;
	agent->root = (char *)(uintptr_t)writ_arena_copy(&agent->arena, d->hops[0].principal).data;
	agent->task = (char *)(uintptr_t)writ_arena_copy(&agent->arena, d->task_id).data;
	if (!agent->id || !agent->root || !agent->task)
		return refuse(why, WRIT_REFUSED_MEMORY, "", "no memory for a leaf's names");
	err = leaf_json(&agent->leaf, writ_view(&agent->der), &agent->json);
	if (!err)
		err = writ_buf_add(&agent->json, (struct writ_bytes){ (const uint8_t *)"", 1 });
	return err ? refuse_err(why, WRIT_REFUSED_MEMORY, "", "JSON", err) : WRIT_OK;
}

void
writ_agent_free(struct writ_agent *agent)
{
	if (!agent)
		return;
	writ_arena_done(&agent->arena);
	writ_buf_done(&agent->json);
	writ_buf_done(&agent->der);
	free(agent);
}

void
writ_agent_freep(struct writ_agent **agent)
{
	writ_agent_free(*agent);
}

const char *
writ_agent_id(const struct writ_agent *agent)
{
	return agent ? agent->id : NULL;
}

const char *
writ_agent_root(const struct writ_agent *agent)
{
	return agent ? agent->root : NULL;
}

const char *
writ_agent_task(const struct writ_agent *agent)
{
	return agent ? agent->task : NULL;
}

const uint8_t *
writ_agent_sha256(const struct writ_agent *agent)
{
	return agent ? agent->sha256 : NULL;
}

int64_t
writ_agent_expires_at(const struct writ_agent *agent)
{
	return agent ? agent->expires_at : INT64_MIN;
}

const char *
writ_agent_json(const struct writ_agent *agent)
{
	return agent ? (const char *)agent->json.data : NULL;
}

/* ---- one request ---- */

/* What the caller wrote, as policy/allow.h wants it. */
static enum writ_refusal
request_taken(const struct writ_request *from, struct allow_parameter parameters[ALLOW_PARAMETERS_MAX],
	      struct allow_request *ret, struct writ_why *why)
{
	if (!from->action || !from->resource)
		return refuse(why, WRIT_REFUSED_REQUEST, "request", "no action or no resource");
	if (from->n_parameters > ALLOW_PARAMETERS_MAX)
		return refuse(why, WRIT_REFUSED_REQUEST, "request", "%zu parameters, at most %d", from->n_parameters,
			      ALLOW_PARAMETERS_MAX);
	if (from->n_parameters && !from->parameters)
		return refuse(why, WRIT_REFUSED_REQUEST, "request", "%zu parameters are said, and none given",
			      from->n_parameters);
	for (size_t i = 0; i < from->n_parameters; i++) {
		const struct writ_parameter *p = &from->parameters[i];

		if (!p->name || !p->value)
			return refuse(why, WRIT_REFUSED_REQUEST, "request", "parameter %zu has no name or no value",
				      i + 1);
		parameters[i] = (struct allow_parameter){ writ_str(p->name), writ_str(p->value) };
	}
	*ret = (struct allow_request){
		.action = writ_str(from->action),
		.resource = writ_str(from->resource),
		.peer = { from->peer, from->peer ? from->peer_len : 0 },
		.n_parameters = from->n_parameters,
		.parameters = parameters,
	};
	return WRIT_OK;
}

enum writ_refusal
writ_allow(const struct writ_agent *agent, const struct writ_request *request, int64_t now, unsigned *ret_entitlement,
	   struct writ_why *why)
{
	static const enum writ_refusal refusals[] = {
		[ALLOW_BAD_REQUEST] = WRIT_REFUSED_REQUEST,
		[ALLOW_NOT_COVERED] = WRIT_REFUSED_NOT_ALLOWED,
		[ALLOW_CONSTRAINED] = WRIT_REFUSED_CONSTRAINT,
		[ALLOW_YES] = WRIT_OK,
	};
	struct allow_parameter parameters[ALLOW_PARAMETERS_MAX];
	struct allow_request asked;
	struct allow answer;
	enum writ_refusal no;

	if (!agent || !request)
		return refuse(why, WRIT_REFUSED_MISUSE, "", "no agent, or no request");
	if (!time_is_sane(now))
		return refuse(why, WRIT_REFUSED_MISUSE, "", NO_SUCH_TIME);
	if (now > agent->expires_at)
		return refuse(why, WRIT_REFUSED_EXPIRED, "6.1.9",
			      "ended %lld s ago: the connection must be dropped or the leaf verified anew",
			      (long long)(now - agent->expires_at));
	if (now < agent->leaf.not_before)
		return refuse(why, WRIT_REFUSED_TIME, "6.1.1", "leaf: not valid yet: begins in %lld s",
			      (long long)(agent->leaf.not_before - now));
	no = request_taken(request, parameters, &asked, why);
	if (no)
		return no;
	allow_request(&agent->leaf.delegation.grant, &asked, now, &answer);
	if (answer.result != ALLOW_YES)
		return refuse(why, refusals[answer.result], answer.rule, "%s", answer.reason);
	if (ret_entitlement)
		*ret_entitlement = (unsigned)answer.entitlement;
	return WRIT_OK;
}
