/*
 * An approver for tests; OpenSSL signs, as an offline machine's might.
 */
#include "tests/contract/approver.h"

#include <stdio.h>
#include <sys/stat.h>

#include <openssl/evp.h>
#include <openssl/pem.h>

#include "base/file.h"
#include "tests/unit/expect.h"

void
approver_make(struct approver *approver, const char *dir)
{
	FILE *file;

	approver->key = EVP_EC_gen("P-256");
	assert_non_null(approver->key);
	snprintf(approver->public, sizeof(approver->public), "%s/approver.pem", dir);
	snprintf(approver->folder, sizeof(approver->folder), "%s/approvals", dir);
	assert_int_equal(mkdir(approver->folder, 0755), 0);
	file = fopen(approver->public, "w");
	assert_non_null(file);
	assert_int_equal(PEM_write_PUBKEY(file, approver->key), 1);
	fclose(file);
	assert_int_equal(chmod(approver->public, 0644), 0);
}

void
approver_done(struct approver *approver)
{
	EVP_PKEY_free(approver->key);
	*approver = (struct approver){ 0 };
}

void
approver_bind(const struct approver *approver, struct custody_conf *conf)
{
	conf->pcrs = 1 << 7 | 1 << 11;
	conf->approval_key = approver->public;
	conf->approvals = approver->folder;
	conf->approvals_for = APPROVER_FOR;
}

void
approver_sign(const struct approver *approver, const char *name, const char *ref, const struct pcr_values *pcrs,
	      uint64_t version)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(APPROVAL_FILE_MAX);
	struct approval approval = { .version = version, .pcrs = *pcrs };
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t message[APPROVAL_MESSAGE_LEN];
	char path[256];

	snprintf(approval.ref, sizeof(approval.ref), "%s", ref);
	approval_policy(pcrs, version, approval.policy);
	approval_message(approval.policy, ref, message);
	approval.signature_len = sizeof(approval.signature);
	assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, approver->key, NULL), 1);
	assert_int_equal(EVP_DigestSign(ctx, approval.signature, &approval.signature_len, message, sizeof(message)), 1);
	EVP_MD_CTX_free(ctx);
	expect_ok(approval_write(&approval, &text));
	snprintf(path, sizeof(path), "%s/%s", approver->folder, name);
	expect_ok(file_replace(path, 0644, writ_view(&text)));
}

void
approver_agree(const struct approver *approver, const char *name, struct writ_bytes text)
{
	struct pcr_report report;

	expect_ok(pcr_report_read(text, &report));
	approver_sign(approver, name, report.ref, &report.pcrs, report.counter);
}
