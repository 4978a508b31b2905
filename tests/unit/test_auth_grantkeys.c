/* The keys that sign grants: files made by OpenSSL, read by us; one key is one principal's. */
#include "issuer/auth/grantkeys.h"
#include "tests/unit/jws_make.h"

#include <openssl/pem.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ALICE "spiffe://agents.corp.example/human/corp/alice"
#define TD WRIT_LIT("agents.corp.example")

static char folder[] = "/tmp/writ-grantkeys-XXXXXX";

static int
folder_make(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int
folder_drop(void **state)
{
	char command[100];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

enum how { PUBLIC, PRIVATE, CERTIFICATE, NOTHING };

static void
write_cert(FILE *f, EVP_PKEY *pkey)
{
	X509 *cert = X509_new();

	X509_set_version(cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), 0);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, pkey);
	assert_true(X509_sign(cert, pkey, EVP_PKEY_is_a(pkey, "ED25519") ? NULL : EVP_sha256()) > 0);
	assert_int_equal(PEM_write_X509(f, cert), 1);
	X509_free(cert);
}

static const char *
file(const char *name, EVP_PKEY *pkey, enum how how)
{
	static char paths[8][100];
	static unsigned n;
	char *path = paths[n++ % 8];
	FILE *f;

	snprintf(path, 100, "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	if (how == PUBLIC)
		assert_int_equal(PEM_write_PUBKEY(f, pkey), 1);
	else if (how == PRIVATE)
		assert_int_equal(PEM_write_PrivateKey(f, pkey, NULL, NULL, 0, NULL, NULL), 1);
	else if (how == CERTIFICATE)
		write_cert(f, pkey);
	fclose(f);
	assert_int_equal(chmod(path, 0600), 0);
	return path;
}

static void
a_signature_counts_for_the_principal_of_its_kid(void **state)
{
	EVP_PKEY *p256 = EVP_EC_gen("P-256"), *ed = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	const struct grantkey_conf confs[] = {
		{ "alice-1", PRINCIPAL_HUMAN, ALICE, file("p256.pub", p256, PUBLIC) },
		{ "ci", PRINCIPAL_SERVICE, "spiffe://agents.corp.example/service/ci/b",
		  file("ed.pem", ed, CERTIFICATE) },
	};
	struct grantkeys *keys;
	const struct grantkey *key;

	(void)state;
	expect_ok(grantkeys_new(TD, confs, 2, &keys));
	key = grantkeys_find(keys, WRIT_LIT("ci"));
	assert_non_null(key);
	expect_bytes(key->principal, WRIT_LIT("spiffe://agents.corp.example/service/ci/b"));
	assert_int_equal(key->kind, PRINCIPAL_SERVICE);
	assert_int_equal(EVP_PKEY_eq(key->key.pkey, ed), 1);
	key = grantkeys_find(keys, WRIT_LIT("alice-1"));
	assert_int_equal(key->kind, PRINCIPAL_HUMAN);
	assert_int_equal(EVP_PKEY_eq(key->key.pkey, p256), 1);
	assert_null(grantkeys_find(keys, WRIT_LIT("alice")));
	assert_null(grantkeys_find(keys, WRIT_LIT("alice-1\0")));
	assert_null(grantkeys_find(keys, WRIT_LIT("../alice-1")));
	assert_null(grantkeys_find(keys, WRIT_LIT("")));
	assert_null(grantkeys_find(NULL, WRIT_LIT("alice-1")));
	grantkeys_free(keys);
	EVP_PKEY_free(p256);
	EVP_PKEY_free(ed);
}

static void
a_key_that_must_not_count_is_refused_with_its_entry(void **state)
{
	EVP_PKEY *good = EVP_EC_gen("P-256"), *p384 = EVP_EC_gen("P-384"), *rsa = EVP_RSA_gen(2048);
	const struct {
		const char *what;
		struct grantkey_conf conf;
		const char *message; /* behind "grants.keys: kid K, PATH: " */
	} rows[] = {
		{ "a private key",
		  { "k", PRINCIPAL_HUMAN, ALICE, file("1", good, PRIVATE) },
		  "it holds a private key: give the public one, and keep the other away" },
		{ "nothing",
		  { "k", PRINCIPAL_HUMAN, ALICE, file("2", NULL, NOTHING) },
		  "it holds neither a PUBLIC KEY nor a CERTIFICATE in PEM" },
		{ "P-384",
		  { "k", PRINCIPAL_HUMAN, ALICE, file("3", p384, PUBLIC) },
		  "public key: P-384 signs none of ES256, EdDSA, RS256, PS256: use P-256 or Ed25519" },
		{ "RSA",
		  { "k", PRINCIPAL_HUMAN, ALICE, file("4", rsa, CERTIFICATE) },
		  "RSA signs no grant: use P-256 or Ed25519" },
		{ "an agent",
		  { "k", PRINCIPAL_AGENT, "spiffe://agents.corp.example/agent/bot/i-1", file("5", good, PUBLIC) },
		  "principal spiffe://agents.corp.example/agent/bot/i-1 is not of kind agent" },
		{ "another kind",
		  { "k", PRINCIPAL_SERVICE, ALICE, file("6", good, PUBLIC) },
		  "principal " ALICE " is not of kind service" },
		{ "another trust domain",
		  { "k", PRINCIPAL_HUMAN, "spiffe://other.example/human/corp/alice", file("7", good, PUBLIC) },
		  "principal spiffe://other.example/human/corp/alice is of trust domain other.example; ours is "
		  "agents.corp.example" },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct grantkeys *keys;
		char message[600];

		print_message("  %s\n", rows[i].what);
		snprintf(message, sizeof(message), "grants.keys: kid k, %s: %s", rows[i].conf.path, rows[i].message);
		expect_refused(grantkeys_new(TD, &rows[i].conf, 1, &keys), WRIT_INVALID, message);
	}
	EVP_PKEY_free(good);
	EVP_PKEY_free(p384);
	EVP_PKEY_free(rsa);
}

static void
one_key_and_one_kid_are_one_principals(void **state)
{
	EVP_PKEY *one = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256");
	struct grantkey_conf confs[] = {
		{ "a", PRINCIPAL_HUMAN, ALICE, file("one", one, PUBLIC) },
		{ "b", PRINCIPAL_HUMAN, "spiffe://agents.corp.example/human/corp/bob",
		  file("again", one, CERTIFICATE) },
	};
	struct grantkeys *keys;
	char message[600];

	(void)state;
	snprintf(message, sizeof(message),
		 "grants.keys: kid b, %s: its key is that of kid a already: one key is one principal's", confs[1].path);
	expect_refused(grantkeys_new(TD, confs, 2, &keys), WRIT_INVALID, message);
	confs[1].path = file("other", other, PUBLIC);
	confs[1].kid = "a";
	snprintf(message, sizeof(message), "grants.keys: kid a, %s: kid a is there twice", confs[1].path);
	expect_refused(grantkeys_new(TD, confs, 2, &keys), WRIT_INVALID, message);
	confs[1].kid = "b";
	expect_ok(grantkeys_new(TD, confs, 2, &keys));
	grantkeys_free(keys);
	EVP_PKEY_free(one);
	EVP_PKEY_free(other);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_signature_counts_for_the_principal_of_its_kid),
		cmocka_unit_test(a_key_that_must_not_count_is_refused_with_its_entry),
		cmocka_unit_test(one_key_and_one_kid_are_one_principals),
	};

	return cmocka_run_group_tests(tests, folder_make, folder_drop);
}
