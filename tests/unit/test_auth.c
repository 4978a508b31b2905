/*
 * Who holds a certificate: the mapping of corporate ones, the reading of our leaves, revocation lists, and every
 * refusal.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "issuer/auth/auth.h"
#include "issuer/auth/map.h"
#include "tests/unit/x509_make.h"

#define CORP_TEMPLATE "spiffe://" TRUST_DOMAIN "/human/corp/{CN}"

static char dir[64];
static X509 *corp, *other;
static EVP_PKEY *corp_key, *other_key;
static struct pki pki;

/* ---- a corporate CA ---- */

static X509 *
new_cert(const char *cn, EVP_PKEY *key, X509 *issuer, long serial)
{
	X509 *cert = X509_new();
	X509_NAME *name = X509_NAME_new();

	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), serial);
	if (cn)
		X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0);
	X509_set_subject_name(cert, name);
	X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : name);
	ASN1_TIME_set(X509_getm_notBefore(cert), NOW - 3600);
	ASN1_TIME_set(X509_getm_notAfter(cert), NOW + 3600);
	X509_set_pubkey(cert, key);
	X509_NAME_free(name);
	return cert;
}

static void
extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *ext;
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(ext);
	X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
}

static X509 *
new_ca(const char *cn, EVP_PKEY *key)
{
	X509 *ca = new_cert(cn, key, NULL, 1);

	extend(ca, ca, NID_basic_constraints, "critical,CA:TRUE");
	extend(ca, ca, NID_key_usage, "critical,keyCertSign,cRLSign");
	extend(ca, ca, NID_subject_key_identifier, "hash");
	X509_sign(ca, key, EVP_sha256());
	return ca;
}

/* A person's certificate; NULL leaves a part away. */
struct person {
	const char *cn, *san, *eku, *ku, *bc;
	long serial;
	bool two_cns, version_1;
};

static struct writ_bytes
person_cert(const struct person *p)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = new_cert(p->cn, key, corp, p->serial ? p->serial : 77);
	struct writ_bytes kept;
	unsigned char *der = NULL;
	int len;

	if (p->two_cns)
		X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_UTF8,
					   (const unsigned char *)"second", -1, -1, 0);
	if (p->version_1) {
		X509_set_version(cert, X509_VERSION_1);
	} else {
		extend(cert, corp, NID_authority_key_identifier, "keyid:always");
		if (p->san)
			extend(cert, corp, NID_subject_alt_name, p->san);
		if (p->eku)
			extend(cert, corp, NID_ext_key_usage, p->eku);
		if (p->ku)
			extend(cert, corp, NID_key_usage, p->ku);
		if (p->bc)
			extend(cert, corp, NID_basic_constraints, p->bc);
	}
	X509_sign(cert, corp_key, EVP_sha256());
	len = i2d_X509(cert, &der);
	assert_true(len > 0);
	kept = writ_arena_copy(&make_arena, (struct writ_bytes){ der, (size_t)len });
	OPENSSL_free(der);
	X509_free(cert);
	EVP_PKEY_free(key);
	return kept;
}

static char *
path_of(const char *name)
{
	char *path = make_room(128);

	snprintf(path, 128, "%s/%s", dir, name);
	return path;
}

static const char *
write_pem(const char *name, X509 *cert)
{
	const char *path = path_of(name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	PEM_write_X509(f, cert);
	fclose(f);
	chmod(path, 0600);
	return path;
}

static struct writ_bytes
der_of(X509 *cert)
{
	unsigned char *der = NULL;
	const int len = i2d_X509(cert, &der);
	const struct writ_bytes kept = writ_arena_copy(&make_arena, (struct writ_bytes){ der, (size_t)len });

	OPENSSL_free(der);
	return kept;
}

static void
write_crl(const char *name, X509 *issuer, EVP_PKEY *key, writ_time this_update, long revoked, bool critical)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *time = ASN1_TIME_set(NULL, this_update);
	FILE *f;

	X509_CRL_set_version(crl, 1);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer));
	X509_CRL_set1_lastUpdate(crl, time);
	ASN1_TIME_set(time, this_update + 7200);
	X509_CRL_set1_nextUpdate(crl, time);
	if (revoked) {
		X509_REVOKED *entry = X509_REVOKED_new();
		ASN1_INTEGER *serial = ASN1_INTEGER_new();

		ASN1_INTEGER_set(serial, revoked);
		X509_REVOKED_set_serialNumber(entry, serial);
		X509_REVOKED_set_revocationDate(entry, time);
		X509_CRL_add0_revoked(crl, entry);
		ASN1_INTEGER_free(serial);
	}
	if (critical) {
		ASN1_INTEGER *base = ASN1_INTEGER_new();

		ASN1_INTEGER_set(base, 1);
		X509_CRL_add1_ext_i2d(crl, NID_delta_crl, base, 1, 0);
		ASN1_INTEGER_free(base);
	}
	X509_CRL_sign(crl, key, EVP_sha256());
	f = fopen(path_of(name), "w");
	assert_non_null(f);
	PEM_write_X509_CRL(f, crl);
	fclose(f);
	chmod(path_of(name), 0600);
	ASN1_TIME_free(time);
	X509_CRL_free(crl);
}

static int
start(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/writ-auth-XXXXXX");
	assert_non_null(mkdtemp(dir));
	corp_key = EVP_EC_gen("P-256");
	other_key = EVP_EC_gen("P-256");
	corp = new_ca("Corp Example CA", corp_key);
	other = new_ca("Other CA", other_key);
	write_pem("corp.pem", corp);
	write_pem("other.pem", other);
	pki = make_pki();
	return 0;
}

static int
end(void **state)
{
	char command[128];

	(void)state;
	X509_free(corp);
	X509_free(other);
	EVP_PKEY_free(corp_key);
	EVP_PKEY_free(other_key);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static struct auth *
auth_with(const char *template_, enum principal_kind kind, const char *crl)
{
	const struct auth_delegators d = { .anchors = path_of("corp.pem"),
					   .kind = kind,
					   .principal = template_,
					   .check_crl = crl != NULL,
					   .crl = crl,
					   .crl_max_age_s = 3600 };
	struct auth *auth;

	expect_ok(auth_new(WRIT_LIT(TRUST_DOMAIN), &d, 1, pki.anchor, &auth));
	return auth;
}

#define GOOD .eku = "clientAuth", .ku = "critical,digitalSignature"

/* ---- people ---- */

static void
a_common_name_becomes_the_last_segment(void **state)
{
	struct auth *auth = auth_with(CORP_TEMPLATE, PRINCIPAL_HUMAN, NULL);
	const struct writ_bytes cert = person_cert(&(struct person){ .cn = "alice", GOOD });
	struct identity id;
	uint8_t digest[32];

	(void)state;
	expect_ok(auth_identify(auth, cert, der_of(corp), &id));
	expect_bytes(id.principal, WRIT_LIT("spiffe://" TRUST_DOMAIN "/human/corp/alice"));
	assert_int_equal(id.kind, PRINCIPAL_HUMAN);
	assert_false(id.is_leaf);
	assert_int_equal(id.not_after, NOW + 3600);
	assert_int_equal(id.authority.len, 40);
	expect_bytes(id.cert_serial, WRIT_LIT("\x4d"));
	writ_sha256(cert, digest);
	assert_memory_equal(id.cert_sha256, digest, 32);
	expect_ok(auth_check(auth, &id, NOW));
	expect_refused(auth_check(auth, &id, NOW + 3601), WRIT_UNAUTHENTICATED,
		       "certificate expired at 2026-11-23T21:51:37Z");
	expect_refused(auth_check(auth, &id, NOW - 3601), WRIT_UNAUTHENTICATED,
		       "certificate is not valid before 2026-11-23T19:51:37Z");
	identity_done(&id);
	auth_free(auth);
}

static void
a_name_outside_the_alphabet_is_encoded_and_never_collides(void **state)
{
	static const struct {
		const char *cn, *segment;
	} rows[] = {
		{ "al.ice_1-x", "al.ice_1-x" },
		{ "Alice Smith", "b64.QWxpY2UgU21pdGg" },
		{ "alice/../bob", "b64.YWxpY2UvLi4vYm9i" },
		{ "..", "b64.Li4" },
		{ ".", "b64.Lg" },
		{ "b64.Li4", "b64.YjY0LkxpNA" }, /* what looks encoded is encoded again */
		{ "\xc3\xa9lodie", "b64.w6lsb2RpZQ" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		AUTO(writ_buf_done) struct writ_buf segment = WRIT_BUF(200);

		expect_ok(map_segment(writ_str(rows[i].cn), &segment));
		expect_bytes(writ_view(&segment), writ_str(rows[i].segment));
	}
}

static void
names_of_the_alternative_name_are_mapped_too(void **state)
{
	static const struct {
		const char *template_, *san, *principal;
		enum principal_kind kind;
	} rows[] = {
		{ "spiffe://" TRUST_DOMAIN "/human/corp/{SAN:email}", "email:alice@corp.example",
		  "spiffe://" TRUST_DOMAIN "/human/corp/b64.YWxpY2VAY29ycC5leGFtcGxl", PRINCIPAL_HUMAN },
		{ "spiffe://" TRUST_DOMAIN "/service/ci/{SAN:dns}", "DNS:runner-1.corp.example,email:x@y",
		  "spiffe://" TRUST_DOMAIN "/service/ci/runner-1.corp.example", PRINCIPAL_SERVICE },
		{ "{SAN:URI}", "URI:spiffe://" TRUST_DOMAIN "/service/billing",
		  "spiffe://" TRUST_DOMAIN "/service/billing", PRINCIPAL_SERVICE },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct auth *auth = auth_with(rows[i].template_, rows[i].kind, NULL);
		struct identity id;

		expect_ok(auth_identify(auth, person_cert(&(struct person){ .cn = "x", .san = rows[i].san, GOOD }),
					der_of(corp), &id));
		expect_bytes(id.principal, writ_str(rows[i].principal));
		identity_done(&id);
		auth_free(auth);
	}
}

static void
a_certificate_without_exactly_one_such_name_is_refused(void **state)
{
	static const struct {
		const char *template_;
		struct person person;
		const char *message;
	} rows[] = {
		{ CORP_TEMPLATE, { .san = "DNS:alice", GOOD }, "the certificate has no CN in its subject" },
		{ CORP_TEMPLATE,
		  { .cn = "alice", .two_cns = true, GOOD },
		  "the certificate has more than one CN in its subject" },
		{ "spiffe://" TRUST_DOMAIN "/human/corp/{SAN:email}",
		  { .cn = "alice", GOOD },
		  "the certificate has no name of type {SAN:email}" },
		{ "spiffe://" TRUST_DOMAIN "/human/corp/{SAN:email}",
		  { .cn = "alice", .san = "email:a@b,email:c@d", GOOD },
		  "the certificate has more than one name of type {SAN:email}" },
		{ "{SAN:URI}",
		  { .cn = "alice", .san = "URI:spiffe://evil.example/human/corp/alice", GOOD },
		  "the certificate's {SAN:URI} gives no principal: 'spiffe://evil.example/human/corp/alice' is not of "
		  "trust domain "
		  "agents.corp.example" },
		{ "{SAN:URI}",
		  { .cn = "a", .san = "URI:spiffe://" TRUST_DOMAIN "/service/x", GOOD },
		  "the certificate's {SAN:URI} gives no principal: 'spiffe://agents.corp.example/service/x' is not of "
		  "kind human" },
		{ "{SAN:URI}",
		  { .cn = "a", .san = "URI:spiffe://" TRUST_DOMAIN "/agent/bot/i-1", GOOD },
		  "the certificate's {SAN:URI} gives no principal: 'spiffe://agents.corp.example/agent/bot/i-1' is not "
		  "of kind human" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct auth *auth = auth_with(rows[i].template_, PRINCIPAL_HUMAN, NULL);
		struct identity id;

		expect_refused(auth_identify(auth, person_cert(&rows[i].person), der_of(corp), &id),
			       WRIT_UNAUTHENTICATED, rows[i].message);
		auth_free(auth);
	}
}

static void
what_path_validation_lets_pass_is_refused_here(void **state)
{
	static const struct {
		struct person person;
		const char *message;
	} rows[] = {
		{ { .cn = "a", .ku = "critical,digitalSignature" },
		  "the certificate's extended key usage lacks clientAuth" },
		{ { .cn = "a", .eku = "serverAuth", .ku = "critical,digitalSignature" },
		  "the certificate's extended key usage lacks clientAuth" },
		{ { .cn = "a", .eku = "anyExtendedKeyUsage,clientAuth" },
		  "the certificate's extended key usage is 'any'" },
		{ { .cn = "a", .eku = "clientAuth", .ku = "critical,keyAgreement" },
		  "the certificate's key usage lacks digitalSignature" },
		{ { .cn = "a", .eku = "clientAuth", .bc = "critical,CA:TRUE" },
		  "the certificate is a CA's: an end-entity certificate is wanted" },
		{ { .cn = "a", .version_1 = true }, "the certificate is not of version 3" },
		{ { .cn = "a", .serial = -5, GOOD },
		  "the certificate's serial is not a positive number of 1 to 20 octets" },
	};
	struct auth *auth = auth_with(CORP_TEMPLATE, PRINCIPAL_HUMAN, NULL);

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct identity id;

		expect_refused(auth_identify(auth, person_cert(&rows[i].person), der_of(corp), &id),
			       WRIT_UNAUTHENTICATED, rows[i].message);
	}
	auth_free(auth);
}

static void
a_path_that_ended_elsewhere_maps_to_nobody(void **state)
{
	struct auth *auth = auth_with(CORP_TEMPLATE, PRINCIPAL_HUMAN, NULL);
	struct identity id;

	(void)state;
	expect_refused(auth_identify(auth, person_cert(&(struct person){ .cn = "alice", GOOD }), der_of(other), &id),
		       WRIT_UNAUTHENTICATED, "no delegators entry has the anchor of this certificate");
	auth_free(auth);
}

/* ---- agents ---- */

static void
a_leaf_of_ours_is_its_agent_with_edge_and_key(void **state)
{
	struct auth *auth = auth_with(CORP_TEMPLATE, PRINCIPAL_HUMAN, NULL);
	struct writ_arena arena = WRIT_ARENA(64 * 1024);
	const struct writ_bytes cert = make_leaf(&pki);
	struct identity id;
	struct leaf leaf;

	(void)state;
	expect_ok(leaf_read(cert, &arena, &leaf));
	expect_ok(auth_identify(auth, cert, pki.anchor, &id));
	assert_int_equal(id.kind, PRINCIPAL_AGENT);
	assert_true(id.is_leaf);
	expect_bytes(id.principal, leaf.san);
	expect_bytes(id.task, leaf.task_id);
	expect_bytes(id.spki, leaf.spki);
	assert_memory_equal(id.serial, leaf.serial.data, 16);
	assert_memory_equal(id.edge, leaf.delegation.hops[1].id.data, 16);
	expect_refused(auth_check(auth, &id, leaf.not_after + 1), WRIT_UNAUTHENTICATED,
		       "leaf expired at 2026-11-23T21:06:36Z");
	identity_done(&id);
	writ_arena_done(&arena);
	auth_free(auth);
}

static void
below_our_anchor_only_a_leaf_is_an_agent(void **state)
{
	struct auth *auth = auth_with(CORP_TEMPLATE, PRINCIPAL_HUMAN, NULL);
	const struct writ_bytes certs[] = { pki.anchor, pki.issuing, pki.responder,
					    person_cert(&(struct person){ .cn = "alice", GOOD }) };
	struct identity id;

	(void)state;
	for (size_t i = 0; i < N_OF(certs); i++) {
		struct writ_err *err = auth_identify(auth, certs[i], pki.anchor, &id);

		assert_non_null(err);
		assert_int_equal(err->code, WRIT_UNAUTHENTICATED);
		assert_string_equal(err->message, "the client certificate is below our anchor and no leaf");
		writ_err_free(err);
	}
	auth_free(auth);
}

static void
a_leaf_under_a_corporate_anchor_is_a_corporate_certificate(void **state)
{
	struct auth *auth = auth_with(CORP_TEMPLATE, PRINCIPAL_HUMAN, NULL);
	struct identity id;

	(void)state;
	/* Its CN is "task:...", which the template encodes: kind and name come from the entry, not from what is in the
	 * certificate (I7). */
	expect_ok(auth_identify(auth, make_leaf(&pki), der_of(corp), &id));
	assert_int_equal(id.kind, PRINCIPAL_HUMAN);
	assert_false(id.is_leaf);
	identity_done(&id);
	auth_free(auth);
}

/* ---- configuration ---- */

static void
templates_that_could_name_another_kind_are_refused(void **state)
{
	static const struct {
		const char *template_;
		const char *message;
	} rows[] = {
		{ "spiffe://" TRUST_DOMAIN "/human/corp/alice",
		  "delegators entry 1: principal template 'spiffe://agents.corp.example/human/corp/alice' has no "
		  "placeholder: one of {CN}, {SAN:URI}, "
		  "{SAN:email}, {SAN:dns}" },
		{ "spiffe://" TRUST_DOMAIN "/human/{CN}/{CN}",
		  "delegators entry 1: principal template 'spiffe://agents.corp.example/human/{CN}/{CN}' has more than "
		  "one placeholder" },
		{ "spiffe://" TRUST_DOMAIN "/service/{CN}",
		  "delegators entry 1: principal template 'spiffe://agents.corp.example/service/{CN}': "
		  "'spiffe://agents.corp.example/service/x' is "
		  "not of kind human" },
		{ "spiffe://evil.example/human/corp/{CN}",
		  "delegators entry 1: principal template 'spiffe://evil.example/human/corp/{CN}': "
		  "'spiffe://evil.example/human/corp/x' is not of "
		  "trust domain agents.corp.example" },
	};
	struct auth *auth;

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		const struct auth_delegators d = { .anchors = path_of("corp.pem"),
						   .kind = PRINCIPAL_HUMAN,
						   .principal = rows[i].template_ };

		expect_refused(auth_new(WRIT_LIT(TRUST_DOMAIN), &d, 1, pki.anchor, &auth), WRIT_INVALID,
			       rows[i].message);
	}
}

static void
an_anchor_belongs_to_one_entry_and_never_to_us(void **state)
{
	struct auth_delegators d[2] = {
		{ .anchors = path_of("corp.pem"), .kind = PRINCIPAL_HUMAN, .principal = CORP_TEMPLATE },
		{ .anchors = path_of("corp.pem"),
		  .kind = PRINCIPAL_SERVICE,
		  .principal = "spiffe://" TRUST_DOMAIN "/service/{CN}" },
	};
	struct writ_bytes ours;
	struct auth *auth;
	struct writ_err *err;

	(void)state;
	err = auth_new(WRIT_LIT(TRUST_DOMAIN), d, 2, pki.anchor, &auth);
	assert_non_null(err);
	assert_string_equal(err->message, "delegators entry 2");
	assert_non_null(strstr(err->cause->message, "an anchor may stand in one delegators entry only"));
	writ_err_free(err);
	ours = der_of(corp);
	err = auth_new(WRIT_LIT(TRUST_DOMAIN), d, 1, ours, &auth);
	assert_non_null(err);
	assert_non_null(strstr(err->cause->message, "never be ours"));
	writ_err_free(err);
	d[0].kind = PRINCIPAL_AGENT;
	err = auth_new(WRIT_LIT(TRUST_DOMAIN), d, 1, pki.anchor, &auth);
	assert_non_null(err);
	writ_err_free(err);
}

/* Which of the two certificates a path ends in is OpenSSL's choice: a human's could count as a service's. */
static void
a_cas_key_belongs_to_one_entry_however_often_it_was_certified(void **state)
{
	X509 *again = new_ca("Corp CA, renewed", corp_key);
	struct auth_delegators d[2] = {
		{ .anchors = path_of("corp.pem"), .kind = PRINCIPAL_HUMAN, .principal = CORP_TEMPLATE },
		{ .anchors = write_pem("again.pem", again),
		  .kind = PRINCIPAL_SERVICE,
		  .principal = "spiffe://" TRUST_DOMAIN "/service/{CN}" },
	};
	struct auth *auth;
	struct writ_err *err;

	(void)state;
	err = auth_new(WRIT_LIT(TRUST_DOMAIN), d, 2, pki.anchor, &auth);
	assert_non_null(err);
	assert_int_equal(err->code, WRIT_INVALID);
	assert_non_null(strstr(err->cause->message, "nor may its key"));
	writ_err_free(err);
	err = auth_new(WRIT_LIT(TRUST_DOMAIN), d, 1, der_of(again), &auth);
	assert_non_null(err);
	writ_err_free(err);
	X509_free(again);
}

static void
an_anchor_file_that_others_may_write_is_refused(void **state)
{
	const struct auth_delegators d = { .anchors = write_pem("loose.pem", corp),
					   .kind = PRINCIPAL_HUMAN,
					   .principal = CORP_TEMPLATE };
	struct auth *auth;
	struct writ_err *err;

	(void)state;
	chmod(d.anchors, 0666);
	err = auth_new(WRIT_LIT(TRUST_DOMAIN), &d, 1, pki.anchor, &auth);
	assert_non_null(err);
	assert_int_equal(err->code, WRIT_INVALID);
	writ_err_free(err);
}

/* ---- revocation lists ---- */

static void
a_certificate_on_its_cas_list_is_refused(void **state)
{
	struct auth *auth = auth_with(CORP_TEMPLATE, PRINCIPAL_HUMAN, path_of("corp.crl"));
	struct identity id, good;
	char message[300];

	(void)state;
	expect_ok(auth_identify(auth, person_cert(&(struct person){ .cn = "mallory", .serial = 666, GOOD }),
				der_of(corp), &id));
	expect_ok(auth_identify(auth, person_cert(&(struct person){ .cn = "alice", .serial = 7, GOOD }), der_of(corp),
				&good));

	snprintf(message, sizeof(message), "%s has no revocation list of the CA that issued this certificate",
		 path_of("corp.crl"));
	expect_refused(auth_check(auth, &good, NOW), WRIT_UNAVAILABLE, message);
	write_crl("corp.crl", corp, corp_key, NOW - 60, 666, false);
	expect_ok(auth_refresh(auth, NOW));
	expect_ok(auth_check(auth, &good, NOW));
	snprintf(message, sizeof(message), "the certificate is on its CA's revocation list (%s)", path_of("corp.crl"));
	expect_refused(auth_check(auth, &id, NOW), WRIT_UNAUTHENTICATED, message);
	snprintf(message, sizeof(message), "the revocation list in %s is 3601 s old, over its max_age of 3600 s",
		 path_of("corp.crl"));
	good.not_after = id.not_after = NOW + 10000;
	expect_refused(auth_check(auth, &good, NOW - 60 + 3601), WRIT_UNAVAILABLE, message);
	identity_done(&id);
	identity_done(&good);
	auth_free(auth);
}

static void
a_list_of_a_stranger_is_refused_and_the_one_in_use_stays(void **state)
{
	struct auth *auth = auth_with(CORP_TEMPLATE, PRINCIPAL_HUMAN, path_of("swap.crl"));
	struct identity id;
	char message[300];

	(void)state;
	expect_ok(auth_identify(auth, person_cert(&(struct person){ .cn = "mallory", .serial = 666, GOOD }),
				der_of(corp), &id));
	write_crl("swap.crl", corp, corp_key, NOW - 60, 666, false);
	expect_ok(auth_refresh(auth, NOW));

	unlink(path_of("swap.crl"));
	write_crl("swap.crl", corp, other_key, NOW - 30, 0, false); /* the right name, the wrong key */
	snprintf(message, sizeof(message), "%s: a list that none of the configured anchors signed",
		 path_of("swap.crl"));
	expect_refused(auth_refresh(auth, NOW), WRIT_INVALID, message);
	snprintf(message, sizeof(message), "the certificate is on its CA's revocation list (%s)", path_of("swap.crl"));
	expect_refused(auth_check(auth, &id, NOW), WRIT_UNAUTHENTICATED, message);

	unlink(path_of("swap.crl"));
	write_crl("swap.crl", corp, corp_key, NOW - 20, 0, true);
	snprintf(message, sizeof(message),
		 "%s: the list has a critical extension (delta or partial lists are not taken)", path_of("swap.crl"));
	expect_refused(auth_refresh(auth, NOW), WRIT_INVALID, message);
	identity_done(&id);
	auth_free(auth);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_common_name_becomes_the_last_segment),
		cmocka_unit_test(a_name_outside_the_alphabet_is_encoded_and_never_collides),
		cmocka_unit_test(names_of_the_alternative_name_are_mapped_too),
		cmocka_unit_test(a_certificate_without_exactly_one_such_name_is_refused),
		cmocka_unit_test(what_path_validation_lets_pass_is_refused_here),
		cmocka_unit_test(a_path_that_ended_elsewhere_maps_to_nobody),
		cmocka_unit_test(a_leaf_of_ours_is_its_agent_with_edge_and_key),
		cmocka_unit_test(below_our_anchor_only_a_leaf_is_an_agent),
		cmocka_unit_test(a_leaf_under_a_corporate_anchor_is_a_corporate_certificate),
		cmocka_unit_test(templates_that_could_name_another_kind_are_refused),
		cmocka_unit_test(an_anchor_belongs_to_one_entry_and_never_to_us),
		cmocka_unit_test(a_cas_key_belongs_to_one_entry_however_often_it_was_certified),
		cmocka_unit_test(an_anchor_file_that_others_may_write_is_refused),
		cmocka_unit_test(a_certificate_on_its_cas_list_is_refused),
		cmocka_unit_test(a_list_of_a_stranger_is_refused_and_the_one_in_use_stays),
	};

	return cmocka_run_group_tests(tests, start, end);
}
