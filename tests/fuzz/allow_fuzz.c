/*
 * Input: the length of a HopGrant in two octets, big endian, the HopGrant, then a request's texts with NULs between:
 * action, resource, peer, and name and value of parameters.  What is allowed is allowed by that entitlement alone, and
 * still when no constraint stood at the top; what is refused has a rule and one printable line.
 */
#include <string.h>

#include "issuer/x509/delegation.h"
#include "policy/allow.h"
#include "tests/fuzz/fuzz.h"

#define NOW INT64_C(1795467097)

static struct writ_bytes
next_text(struct writ_bytes *rest)
{
	const uint8_t *nul = rest->len ? memchr(rest->data, '\0', rest->len) : NULL;
	const struct writ_bytes text = { rest->data, nul ? (size_t)(nul - rest->data) : rest->len };

	rest->data += text.len + (nul != NULL);
	rest->len -= text.len + (nul != NULL);
	return text;
}

static enum allow_result
asked(const struct grant *grant, const struct allow_request *request, struct allow *ret)
{
	allow_request(grant, request, NOW, ret);
	FUZZ_CHECK(ret->rule != NULL && strlen(ret->rule) < 16);
	FUZZ_CHECK((ret->reason[0] == '\0') == (ret->result == ALLOW_YES));
	for (const char *c = ret->reason; *c; c++)
		FUZZ_CHECK((unsigned char)*c >= 0x20 && *c != 0x7f);
	return ret->result;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const size_t said = len < 2 ? 0 : (size_t)data[0] << 8 | data[1];
	struct writ_arena arena = WRIT_ARENA(128 * 1024);
	struct allow_parameter parameters[ALLOW_PARAMETERS_MAX + 1];
	struct allow_request request = { .parameters = parameters };
	struct writ_bytes rest;
	struct grant grant, one;
	struct allow answer;

	if (len < 2 || said > len - 2)
		return 0;
	rest = (struct writ_bytes){ data + 2 + said, len - 2 - said };
	request.action = next_text(&rest);
	request.resource = next_text(&rest);
	request.peer = next_text(&rest);
	while (rest.len && request.n_parameters < N_OF(parameters)) {
		struct allow_parameter *p = &parameters[request.n_parameters++];

		p->name = next_text(&rest);
		p->value = next_text(&rest);
	}
	if (fuzz_accepted(hop_grant_read((struct writ_bytes){ data + 2, said }, &arena, &grant)) &&
	    asked(&grant, &request, &answer) == ALLOW_YES) {
		FUZZ_CHECK(answer.entitlement < grant.n_entitlements);
		one = grant;
		one.entitlements += answer.entitlement;
		one.n_entitlements = 1;
		FUZZ_CHECK(asked(&one, &request, &answer) == ALLOW_YES);
		one.constraints.n = 0;
		FUZZ_CHECK(asked(&one, &request, &answer) == ALLOW_YES);
		one.n_entitlements = 0;
		FUZZ_CHECK(asked(&one, &request, &answer) == ALLOW_NOT_COVERED);
	}
	writ_arena_done(&arena);
	return 0;
}
