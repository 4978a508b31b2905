/*
 * Input: one writ.yaml, or one configuration of a responder.  What is accepted keeps every promise that its readers rely
 * on without looking again.
 */
#include "issuer/conf/responder.h"
#include "tests/fuzz/fuzz.h"

static void
check(const struct conf *conf)
{
	FUZZ_CHECK(strlen(conf->trust_domain) >= 1 && strlen(conf->trust_domain) <= 64);
	FUZZ_CHECK(conf->state[0] == '/' && conf->run[0] == '/' && conf->policy[0] == '/');
	FUZZ_CHECK(strlen(conf->run) <= 90 && strlen(conf->state) <= 1024);
	FUZZ_CHECK(conf->api.port > 0 && conf->status.port > 0);
	FUZZ_CHECK(conf->status_url[strlen(conf->status_url) - 1] != '/');
	FUZZ_CHECK(conf->threads >= 1 && conf->threads <= 64);
	FUZZ_CHECK(conf->limits.connections >= 1 && conf->limits.leaves_per_edge >= 1);
	FUZZ_CHECK(conf->log_origin[0] != '\0');
	FUZZ_CHECK(!conf->custody.tcti != !conf->custody.module);
	FUZZ_CHECK(conf->custody.tcti ? conf->custody.auth_file[0] == '/' : conf->custody.pin_file[0] == '/');
	FUZZ_CHECK(conf->n_delegators >= 1 && conf->n_delegators <= 32);
	for (size_t i = 0; i < conf->n_delegators; i++) {
		const struct conf_delegators *d = &conf->delegators[i];

		FUZZ_CHECK(d->kind == CONF_HUMAN || d->kind == CONF_SERVICE);
		FUZZ_CHECK(d->anchors[0] == '/' && strchr(d->principal, '{'));
		FUZZ_CHECK((d->revocation == CONF_REVOCATION_CRL) == (d->crl != NULL));
	}
}

static void
responder_check(const struct conf_responder *conf)
{
	FUZZ_CHECK(conf->common.status.port > 0 && conf->common.threads >= 1 && conf->common.threads <= 64);
	FUZZ_CHECK(strncmp(conf->issuer, "https://", 8) == 0 && conf->issuer[strlen(conf->issuer) - 1] != '/');
	FUZZ_CHECK(strncmp(conf->upstream, "http", 4) == 0 && conf->upstream[strlen(conf->upstream) - 1] != '/');
	FUZZ_CHECK(strlen(conf->issuer) <= 256 && strlen(conf->upstream) <= 256);
	FUZZ_CHECK(conf->ca[0] == '/' && conf->certificate[0] == '/' && conf->key[0] != '\0');
	FUZZ_CHECK(conf->lag_max_s >= 1 && conf->entries_max >= 1 && conf->connections >= 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(conf_responder_done) struct conf_responder responder = { 0 };
	AUTO(conf_done) struct conf conf = { 0 };

	if (fuzz_accepted(conf_parse("writ.yaml", "/etc/writ", (struct writ_bytes){ data, len }, &conf)))
		check(&conf);
	if (fuzz_accepted(conf_responder_parse("responder.yaml", "/etc/writ", (struct writ_bytes){ data, len }, &responder)))
		responder_check(&responder);
	return 0;
}
