/*
 * Input: an anchor, an issuing CA, a leaf, a CRL and an OCSP response, all that libwrit is ever given: four lengths of
 * two octets, big endian, then the five, the last taking what is left.  Whatever they are: an agent comes out exactly
 * when nothing was refused, a refusal has a name and one printable line, and what is believed prints as JSON.
 */
#include <string.h>

#include <jansson.h>

#include "issuer/x509/writ.h"
#include "tests/fuzz/fuzz.h"

#define NOW INT64_C(1795467097)
#define PIECES 5

static enum writ_refusal
checked(enum writ_refusal no, const struct writ_why *why)
{
	if (no == WRIT_OK)
		return no;
	FUZZ_CHECK(strcmp(writ_refusal_name(no), "?") != 0);
	FUZZ_CHECK(memchr(why->rule, '\0', sizeof(why->rule)) && memchr(why->text, '\0', sizeof(why->text)));
	FUZZ_CHECK(why->text[0] != '\0');
	for (const char *c = why->text; *c; c++)
		FUZZ_CHECK((unsigned char)*c >= 0x20 && *c != 0x7f);
	return no;
}

static void
check_agent(const struct writ_agent *agent)
{
	const struct writ_request request = { .action = "invoices:read", .resource = "https://erp.corp.example/v2" };
	json_t *json = json_loads(writ_agent_json(agent), JSON_REJECT_DUPLICATES, NULL);
	struct writ_why why;

	FUZZ_CHECK(json != NULL);
	FUZZ_CHECK(strcmp(json_string_value(json_object_get(json, "sub")), writ_agent_root(agent)) == 0);
	FUZZ_CHECK(strcmp(json_string_value(json_object_get(json, "txn")), writ_agent_task(agent)) == 0);
	json_decref(json);
	FUZZ_CHECK(writ_agent_expires_at(agent) >= NOW);
	(void)checked(writ_allow(agent, &request, NOW, NULL, &why), &why);
	FUZZ_CHECK(writ_allow(agent, &request, writ_agent_expires_at(agent) + 1, NULL, &why) == WRIT_REFUSED_EXPIRED);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct writ_bytes piece[PIECES];
	struct writ_presented presented = { .n = 2 };
	struct writ_verifier *v;
	struct writ_agent *agent = NULL; /* as is `no`: gcc at -O2 does not see that the first turn sets them */
	struct writ_why why;
	enum writ_refusal no = WRIT_OK;

	if (len < 2 * (PIECES - 1))
		return 0;
	for (size_t i = 0, at = 2 * (PIECES - 1); i < PIECES; i++) {
		const size_t said = i < PIECES - 1 ? (size_t)data[2 * i] << 8 | data[2 * i + 1] : len;

		piece[i] = (struct writ_bytes){ data + at, said < len - at ? said : len - at };
		at += piece[i].len;
	}
	v = writ_verifier_new();
	FUZZ_CHECK(v != NULL);
	(void)checked(writ_verifier_anchor(v, piece[0].data, piece[0].len, "agents.corp.example", &why), &why);
	FUZZ_CHECK(writ_verifier_set(v, WRIT_ANY_AUDIENCE, 1, NULL) == WRIT_OK);
	FUZZ_CHECK(writ_verifier_set(v, WRIT_ALLOW_SOFTWARE, 1, NULL) == WRIT_OK);
	FUZZ_CHECK(writ_verifier_set(v, WRIT_DEMAND_STATUS, len & 1, NULL) == WRIT_OK);
	(void)checked(writ_verifier_issuing(v, piece[1].data, piece[1].len, NOW, &why), &why);
	(void)checked(writ_verifier_crl(v, piece[3].data, piece[3].len, NOW, &why), &why);
	presented.certificate[0] = (struct writ_bytes_in){ piece[2].data, piece[2].len };
	presented.certificate[1] = (struct writ_bytes_in){ piece[1].data, piece[1].len };
	presented.ocsp = (struct writ_bytes_in){ piece[4].data, piece[4].len };
	for (unsigned again = 0; again < 2; again++) { /* cold, then warm: the same answer */
		struct writ_agent *before = again ? agent : NULL;
		const enum writ_refusal no_before = no;

		no = checked(writ_verify(v, &presented, NOW, &agent, &why), &why);
		FUZZ_CHECK((no == WRIT_OK) == (agent != NULL));
		FUZZ_CHECK(!again || no == no_before);
		writ_agent_free(before);
	}
	if (agent)
		check_agent(agent);
	writ_agent_free(agent);
	writ_verifier_free(v);
	return 0;
}
