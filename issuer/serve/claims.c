/*
 * The claims of a signed grant: see claims.h.
 */
#include "issuer/serve/claims.h"

#include "base/text.h"
#include "issuer/serve/members.h"

#define TEXT_MAX 512 /* octets of iss and aud */

/* Seconds since 1970; a float, a text, or an absent one is refused. */
WRIT_CHECKED static struct writ_err *
time_take(json_t *json, const char *name, writ_time *ret)
{
	int64_t value;
	struct writ_err *err;

	if (!json_object_get(json, name))
		return member_missing("", name);
	err = member_number(json, "", name, 0, MEMBER_INTEGER_MAX, 0, &value);
	*ret = value;
	return err;
}

WRIT_CHECKED static struct writ_err *
jti_take(json_t *json, struct writ_arena *arena, struct writ_bytes *ret)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	struct writ_err *err = member_text(json, "", "jti", MEMBER_REQUIRED, CLAIMS_JTI_MAX, arena, ret);
	bool good = !err && ret->len >= CLAIMS_JTI_MIN;

	if (err)
		return err;
	for (size_t i = 0; i < ret->len; i++)
		good = good && ret->data[i] != 0 && strchr(allowed, ret->data[i]);
	if (!good)
		return writ_fail(WRIT_INVALID, "member 'jti' must be %d to %d of A-Z a-z 0-9 . _ -, 128 random bits",
				 CLAIMS_JTI_MIN, CLAIMS_JTI_MAX);
	return NULL;
}

WRIT_CHECKED static struct writ_err *
task_take(json_t *json, struct writ_arena *arena, struct request_delegation *ret)
{
	static const char *const names[] = { "id", "purpose" };
	json_t *task = json_object_get(json, "task");
	struct writ_err *err;

	if (!task)
		return member_missing("", "task");
	if (!json_is_object(task))
		return member_wrong("", "task", "an object");
	err = members_only(task, "task.", names, N_OF(names));
	return err ? err : member_task(task, "task.", arena, ret);
}

WRIT_CHECKED static struct writ_err *
context_take(json_t *json, struct writ_arena *arena, struct request_delegation *ret)
{
	const bool type = json_object_get(json, "context_type"), digest = json_object_get(json, "context_digest");

	if (!type && !digest)
		return NULL;
	if (!type || !digest)
		return member_missing("", type ? "context_digest" : "context_type");
	return member_context(json, "", "context_type", "context_digest", arena, ret);
}

WRIT_CHECKED static struct writ_err *
claims_take(json_t *json, struct writ_arena *arena, struct claims *ret)
{
	struct request_delegation *asked = &ret->asked;
	struct writ_err *err;
	int64_t depth = 0;

	err = member_text(json, "", "iss", MEMBER_REQUIRED, TEXT_MAX, arena, &ret->iss);
	if (!err)
		err = member_text(json, "", "aud", MEMBER_REQUIRED, TEXT_MAX, arena, &ret->aud);
	if (!err)
		err = jti_take(json, arena, &ret->jti);
	if (!err)
		err = time_take(json, "iat", &ret->iat);
	if (!err)
		err = time_take(json, "nbf", &ret->nbf);
	if (!err)
		err = time_take(json, "exp", &ret->exp);
	if (!err)
		err = time_take(json, "grant_end", &ret->grant_end);
	if (!err)
		err = member_class(json, "", "agent", arena, &asked->agent_class);
	if (!err)
		err = member_hex(json, "", "spki_sha256", asked->spki_sha256, sizeof(asked->spki_sha256));
	if (!err)
		err = task_take(json, arena, asked);
	if (!err)
		err = members_grant(json, arena, &asked->grant);
	if (!err && !json_object_get(json, "depth"))
		err = member_missing("", "depth");
	if (!err)
		err = member_number(json, "", "depth", 0, DEPTH_MAX, 0, &depth);
	if (!err)
		err = context_take(json, arena, asked);
	asked->depth = (unsigned)depth;
	return err;
}

struct writ_err *
claims_read(struct writ_bytes payload, struct writ_arena *arena, struct claims *ret)
{
	static const char *const names[] = { "iss",   "aud",	   "jti",	   "iat",
					     "nbf",   "exp",	   "agent",	   "spki_sha256",
					     "task",  "scope",	   "audience",	   "constraints",
					     "depth", "grant_end", "context_type", "context_digest" };
	AUTO(members_done) json_t *json = NULL;
	struct writ_err *err;

	*ret = (struct claims){ 0 };
	err = members_parse(payload, "the payload", &json);
	if (!err)
		err = members_only(json, "", names, N_OF(names));
	if (!err)
		err = claims_take(json, arena, ret);
	return err ? writ_because(err, "grant") : NULL;
}

/* ---- may it be redeemed now? ---- */

static const char *
time_words(writ_time time, char out[WRIT_RFC3339_LEN + 1])
{
	return writ_time_rfc3339(time > WRIT_TIME_MAX ? WRIT_TIME_MAX : time, out);
}

WRIT_CHECKED static struct writ_err *
times_check(const struct claims *claims, uint32_t redeem_within_s, writ_time now)
{
	char at[WRIT_RFC3339_LEN + 1], here[WRIT_RFC3339_LEN + 1];

	if (claims->exp <= claims->iat)
		return writ_fail(WRIT_UNAUTHENTICATED, "grant: exp is not after iat");
	if (claims->exp - claims->iat > redeem_within_s)
		return writ_fail(WRIT_UNAUTHENTICATED,
				 "grant: exp is %lld s after iat, over the %u s within which a grant is redeemed",
				 (long long)(claims->exp - claims->iat), redeem_within_s);
	if (claims->iat > now + CLAIMS_AHEAD_S)
		return writ_fail(WRIT_UNAUTHENTICATED, "grant: issued at %s, and here it is %s",
				 time_words(claims->iat, at), time_words(now, here));
	if (claims->nbf > now + CLAIMS_AHEAD_S)
		return writ_fail(WRIT_UNAUTHENTICATED, "grant: not to be used before %s, and here it is %s",
				 time_words(claims->nbf, at), time_words(now, here));
	if (claims->exp <= now)
		return writ_fail(WRIT_UNAUTHENTICATED, "grant: expired at %s, and here it is %s",
				 time_words(claims->exp, at), time_words(now, here));
	return NULL;
}

struct writ_err *
claims_check(const struct claims *claims, const struct claims_wanted *wanted, writ_time now)
{
	if (!writ_equal(claims->iss, wanted->principal))
		return writ_fail(WRIT_UNAUTHENTICATED, "grant: iss is '%.*s', and kid '%.*s' is not its key",
				 WRIT_FMT(claims->iss), WRIT_FMT(wanted->kid));
	if (!writ_equal(claims->aud, wanted->audience))
		return writ_fail(WRIT_UNAUTHENTICATED, "grant: aud is '%.*s', and this issuer is '%.*s'",
				 WRIT_FMT(claims->aud), WRIT_FMT(wanted->audience));
	return times_check(claims, wanted->redeem_within_s, now);
}
