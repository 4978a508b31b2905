/*
 * Entitlements are tried in their order; the first whose names cover the request and whose constraints all hold allows
 * it.  The quick answer forms no text: words are made once, for a refusal.
 *
 * K(e), what must hold, is the grant's own constraints and the entitlement's, together (4.4).
 */
#include "policy/allow.h"

#include "base/text.h"
#include "policy/within.h"

#define INTEGER_DIGITS_MAX 16		  /* of 2^53 - 1 */
#define INTEGER_LIMIT 9007199254740991ULL /* exact in JSON and everywhere else, as in a grant */

/* ---- the request ---- */

static void refuse(struct allow *ret, enum allow_result result, const char *rule, const char *fmt, ...)
	WRIT_PRINTF(4, 5);

static void
refuse(struct allow *ret, enum allow_result result, const char *rule, const char *fmt, ...)
{
	va_list args;

	ret->result = result;
	ret->rule = rule;
	va_start(args, fmt);
	words_va(ret->reason, sizeof(ret->reason), fmt, args);
	va_end(args);
	for (char *c = ret->reason; *c; c++)
		if ((uint8_t)*c < 0x20 || *c == 0x7f)
			*c = '?';
}

/* Takes `err`. */
static void
refuse_name(struct allow *ret, struct writ_err *err)
{
	refuse(ret, ALLOW_BAD_REQUEST, "request", "%s", err->message);
	writ_err_free(err);
}

static bool
request_is_canonical(const struct allow_request *request, struct allow *ret)
{
	struct writ_err *err = action_check(request->action);

	if (!err)
		err = resource_check(request->resource);
	if (err) {
		refuse_name(ret, err);
		return false;
	}
	if (action_is_pattern(request->action) || resource_is_pattern(request->resource)) {
		refuse(ret, ALLOW_BAD_REQUEST, "request",
		       "%.*s on %.*s: a request names one thing, a pattern names many (a literal '*' is %%2A)",
		       ALL(request->action), ALL(request->resource));
		return false;
	}
	if (request->peer.len != 0 && request->peer.len != 4 && request->peer.len != 16) {
		refuse(ret, ALLOW_BAD_REQUEST, "request", "a peer address of %zu octets, 4 or 16 are one",
		       request->peer.len);
		return false;
	}
	if (request->n_parameters > ALLOW_PARAMETERS_MAX) {
		refuse(ret, ALLOW_BAD_REQUEST, "request", "%zu parameters, at most %d", request->n_parameters,
		       ALLOW_PARAMETERS_MAX);
		return false;
	}
	return true;
}

/* ---- constraints ---- */

/* The one parameter of that name; NULL when there is none or more than one. */
static const struct allow_parameter *
parameter(const struct allow_request *request, struct writ_bytes name, size_t *ret_n)
{
	const struct allow_parameter *found = NULL;

	*ret_n = 0;
	for (size_t i = 0; i < request->n_parameters; i++) {
		if (!writ_equal(request->parameters[i].name, name))
			continue;
		found = &request->parameters[i];
		++*ret_n;
	}
	return *ret_n == 1 ? found : NULL;
}

/* -?(0|[1-9][0-9]*) within +-(2^53 - 1), "-0" apart: one integer has one spelling. */
static bool
integer(struct writ_bytes text, int64_t *ret)
{
	const bool negative = text.len > 0 && text.data[0] == '-';
	uint64_t magnitude;

	if (negative)
		text = (struct writ_bytes){ text.data + 1, text.len - 1 };
	if (text.len == 0 || text.len > INTEGER_DIGITS_MAX || !writ_decimal(text, INTEGER_LIMIT, &magnitude) ||
	    (negative && magnitude == 0))
		return false;
	*ret = negative ? -(int64_t)magnitude : (int64_t)magnitude;
	return true;
}

static bool
in_net(struct writ_bytes peer, struct writ_bytes net)
{
	if (net.len != 2 * peer.len) /* another family */
		return false;
	for (size_t i = 0; i < peer.len; i++)
		if ((peer.data[i] & net.data[peer.len + i]) != net.data[i])
			return false;
	return true;
}

static bool
holds(const struct constraint *c, const struct allow_request *request, writ_time now)
{
	const struct allow_parameter *p;
	int64_t value;
	size_t n;

	switch (c->kind) {
	case CONSTRAINT_SOURCE_NET:
		for (size_t i = 0; request->peer.len > 0 && i < c->n_values; i++)
			if (in_net(request->peer, c->values[i]))
				return true;
		return false;
	case CONSTRAINT_WINDOW:
		return now >= c->not_before && now <= c->not_after;
	case CONSTRAINT_PARAM_IN:
		p = parameter(request, c->name, &n);
		for (size_t i = 0; p && i < c->n_values; i++)
			if (writ_equal(p->value, c->values[i]))
				return true;
		return false;
	case CONSTRAINT_PARAM_MAX:
		p = parameter(request, c->name, &n);
		return p && integer(p->value, &value) && value <= c->max;
	}
	return false; /* of a kind that nobody here can evaluate */
}

static const struct constraint *
first_broken(const struct grant *grant, const struct entitlement *e, const struct allow_request *request, writ_time now)
{
	const struct constraint *c;

	for (size_t i = 0; (c = constraint_at(grant, e, i)); i++)
		if (!holds(c, request, now))
			return c;
	return NULL;
}

/* ---- its words ---- */

static const char *
constraint_rule(const struct constraint *c)
{
	switch (c->kind) {
	case CONSTRAINT_SOURCE_NET:
		return "sourceNet";
	case CONSTRAINT_WINDOW:
		return "window";
	case CONSTRAINT_PARAM_IN:
		return "paramIn";
	case CONSTRAINT_PARAM_MAX:
		return "paramMax";
	}
	return "constraint";
}

static void
value_words(const struct constraint *c, const struct allow_request *request, writ_time now, char out[WORDS_MAX])
{
	const struct allow_parameter *p;
	char at[WRIT_RFC3339_LEN + 1];
	uint8_t net[32];
	int64_t value;
	size_t n;

	switch (c->kind) {
	case CONSTRAINT_SOURCE_NET:
		if (request->peer.len == 0) {
			words(out, WORDS_MAX, "the peer's address is not known");
			return;
		}
		memcpy(net, request->peer.data, request->peer.len);
		memset(net + request->peer.len, 0xff, request->peer.len);
		net_words((struct writ_bytes){ net, 2 * request->peer.len }, out);
		*strchrnul(out, '/') = '\0';
		return;
	case CONSTRAINT_WINDOW:
		words(out, WORDS_MAX, "it is %s", writ_time_rfc3339(now, at));
		return;
	case CONSTRAINT_PARAM_IN:
	case CONSTRAINT_PARAM_MAX:
		p = parameter(request, c->name, &n);
		if (!p)
			words(out, WORDS_MAX, n == 0 ? "no parameter '%.*s'" : "parameter '%.*s' stands there twice",
			      ALL(c->name));
		else if (c->kind == CONSTRAINT_PARAM_MAX && !integer(p->value, &value))
			words(out, WORDS_MAX, "parameter '%.*s' is no integer", ALL(c->name));
		else if (p->value.len <= PARAM_VALUE_MAX && writ_is_clean_utf8(p->value))
			words(out, WORDS_MAX, "'%.*s' is '%.*s'", ALL(c->name), ALL(p->value));
		else
			words(out, WORDS_MAX, "'%.*s' is longer than any value, or no clean text", ALL(c->name));
		return;
	}
	words(out, WORDS_MAX, "not understood");
}

static void
refuse_constraint(const struct constraint *c, size_t index, const struct allow_request *request, writ_time now,
		  struct allow *ret)
{
	char value[WORDS_MAX], limit[WORDS_MAX];

	value_words(c, request, now, value);
	constraint_words(c, limit);
	ret->entitlement = index;
	refuse(ret, ALLOW_CONSTRAINED, constraint_rule(c), "entitlement %zu: %s; it is allowed only with %s", index + 1,
	       value, limit);
}

/* ---- the answer ---- */

static bool
any_covers(const struct texts *patterns, struct writ_bytes name, covers_fn *covers)
{
	for (size_t i = 0; i < patterns->n; i++)
		if (covers(patterns->list[i], name))
			return true;
	return false;
}

void
allow_request(const struct grant *grant, const struct allow_request *request, writ_time now, struct allow *ret)
{
	const struct constraint *broken = NULL;
	size_t covering = 0;

	*ret = (struct allow){ .rule = "" };
	if (!request_is_canonical(request, ret))
		return;
	for (size_t i = 0; i < grant->n_entitlements; i++) {
		const struct entitlement *e = &grant->entitlements[i];
		const struct constraint *c;

		if (!any_covers(&e->actions, request->action, action_covers) ||
		    !any_covers(&e->resources, request->resource, resource_covers))
			continue;
		c = first_broken(grant, e, request, now);
		if (!c) {
			ret->result = ALLOW_YES;
			ret->entitlement = i;
			return;
		}
		if (!broken) {
			broken = c;
			covering = i;
		}
	}
	if (broken)
		refuse_constraint(broken, covering, request, now, ret);
	else
		refuse(ret, ALLOW_NOT_COVERED, "entitlement", "none of %zu covers %.*s on %.*s", grant->n_entitlements,
		       ALL(request->action), ALL(request->resource));
}
