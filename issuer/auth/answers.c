/*
 * OCSP answers about delegators: see answers.h.  OpenSSL reads and verifies them (they may be signed with RSA); what
 * was found is kept until the file changes.
 */
#include "issuer/auth/answers.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/file.h"
#include "issuer/fetch/wire.h"

#define ANSWER_MAX (32 * 1024) /* octets, with a responder's chain */
#define KEPT 256	       /* answers in memory; another takes the place of one */
#define AHEAD_S 60	       /* how far a responder's clock may be before ours */

struct found {
	uint8_t key[SHA256_LEN]; /* of the request */
	bool taken;
	struct stat seen;
	writ_time this_update, next_update; /* next_update 0: not said */
	int status;			    /* V_OCSP_CERTSTATUS_* */
	char why[WRIT_MESSAGE_MAX];	    /* the file proves nothing; empty: it does */
};

struct answers {
	const char *state, *url;
	uint32_t max_age_s;
	X509 *const *anchors;
	size_t n_anchors;
	pthread_mutex_t lock;
	X509_STORE *store; /* under the lock: its time is set at each reading */
	struct found found[KEPT];
};

static void
request_done(OCSP_REQUEST **request)
{
	OCSP_REQUEST_free(*request);
}

static void
response_done(OCSP_RESPONSE **response)
{
	OCSP_RESPONSE_free(*response);
}

static void
basic_done(OCSP_BASICRESP **basic)
{
	OCSP_BASICRESP_free(*basic);
}

static void
stack_done(STACK_OF(X509) * *stack)
{
	sk_X509_free(*stack);
}

static void
der_free(unsigned char **der)
{
	OPENSSL_free(*der);
}

static void
answers_freep(struct answers **answers)
{
	answers_free(*answers);
}

struct writ_err *
answers_new(const char *state, const char *url, uint32_t max_age_s, X509 *const *anchors, size_t n_anchors,
	    struct answers **ret)
{
	AUTO(answers_freep) struct answers *answers = calloc(1, sizeof(*answers));

	if (!answers)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the answers of %s", url);
	answers->state = state;
	answers->url = url;
	answers->max_age_s = max_age_s;
	answers->anchors = anchors;
	answers->n_anchors = n_anchors;
	pthread_mutex_init(&answers->lock, NULL);
	answers->store = X509_STORE_new();
	if (!answers->store || X509_STORE_set_flags(answers->store, X509_V_FLAG_PARTIAL_CHAIN) != 1)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the answers of %s", url);
	for (size_t i = 0; i < n_anchors; i++)
		if (X509_STORE_add_cert(answers->store, anchors[i]) != 1)
			return writ_fail(WRIT_EXHAUSTED, "no memory for the answers of %s", url);
	*ret = TAKE(answers);
	return NULL;
}

void
answers_free(struct answers *answers)
{
	if (!answers)
		return;
	X509_STORE_free(answers->store);
	pthread_mutex_destroy(&answers->lock);
	free(answers);
}

struct writ_err *
answers_request(const struct answers *answers, X509 *cert, struct writ_buf *ret)
{
	AUTO(request_done) OCSP_REQUEST *request = OCSP_REQUEST_new();
	AUTO(der_free) unsigned char *der = NULL;
	OCSP_CERTID *id = NULL;
	int len;

	/* SHA-1 is only a name here, and the one that every responder knows (RFC 5019 2.1.1). */
	for (size_t i = 0; i < answers->n_anchors && !id; i++)
		if (X509_check_issued(answers->anchors[i], cert) == X509_V_OK)
			id = OCSP_cert_to_id(EVP_sha1(), cert, answers->anchors[i]);
	ERR_clear_error();
	if (!id)
		return writ_fail(WRIT_UNAUTHENTICATED,
				 "the CA that issued the certificate is not among the anchors of its "
				 "delegators entry: no OCSP answer could be checked");
	if (!request || !OCSP_request_add0_id(request, id)) {
		OCSP_CERTID_free(id);
		return writ_fail(WRIT_EXHAUSTED, "no memory for an OCSP request");
	}
	len = i2d_OCSP_REQUEST(request, &der);
	if (len <= 0)
		return writ_fail(WRIT_EXHAUSTED, "no memory for an OCSP request");
	return writ_buf_add(ret, (struct writ_bytes){ der, (size_t)len });
}

/* ---- one answer ---- */

static bool
seconds(const ASN1_GENERALIZEDTIME *from, writ_time *ret)
{
	struct tm tm;

	if (!from || !ASN1_TIME_to_tm(from, &tm))
		return false;
	*ret = (writ_time)timegm(&tm);
	return true;
}

/* What it says of the one certificate that was asked for. */
WRIT_CHECKED static struct writ_err *
status_of(OCSP_BASICRESP *basic, struct writ_bytes request, struct found *f)
{
	const unsigned char *at = request.data;
	AUTO(request_done) OCSP_REQUEST *asked = d2i_OCSP_REQUEST(NULL, &at, (long)request.len);
	OCSP_ONEREQ *one = asked ? OCSP_request_onereq_get0(asked, 0) : NULL;
	ASN1_GENERALIZEDTIME *this_update, *next_update, *revoked;
	int reason;

	if (!one)
		return writ_fail(WRIT_BROKEN, "an OCSP request of ours cannot be read");
	if (OCSP_resp_find_status(basic, OCSP_onereq_get0_id(one), &f->status, &reason, &revoked, &this_update,
				  &next_update) != 1)
		return writ_fail(WRIT_INVALID, "it is about another certificate");
	f->next_update = 0;
	if (!seconds(this_update, &f->this_update) || (next_update && !seconds(next_update, &f->next_update)))
		return writ_fail(WRIT_INVALID, "its times are none");
	return NULL;
}

WRIT_CHECKED static struct writ_err *
signature_check(struct answers *answers, OCSP_BASICRESP *basic, writ_time now)
{
	AUTO(stack_done) STACK_OF(X509) *certs = sk_X509_new_null();

	for (size_t i = 0; certs && i < answers->n_anchors; i++)
		if (sk_X509_push(certs, answers->anchors[i]) <= 0)
			return writ_fail(WRIT_EXHAUSTED, "no memory for an OCSP answer");
	if (!certs)
		return writ_fail(WRIT_EXHAUSTED, "no memory for an OCSP answer");
	X509_VERIFY_PARAM_set_time(X509_STORE_get0_param(answers->store), (time_t)now);
	if (OCSP_basic_verify(basic, certs, answers->store, 0) != 1)
		return writ_fail(WRIT_INVALID,
				 "none of the anchors signed it, nor a responder that one of them certified for OCSP");
	return NULL;
}

WRIT_CHECKED static struct writ_err *
answer_read(struct answers *answers, const char *path, struct writ_bytes request, writ_time now, struct found *f)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(ANSWER_MAX);
	AUTO(response_done) OCSP_RESPONSE *response = NULL;
	AUTO(basic_done) OCSP_BASICRESP *basic = NULL;
	const unsigned char *at;
	struct writ_err *err;
	int status;

	err = file_read(path, FILE_PEER, &der);
	if (err)
		return err;
	at = der.data;
	response = d2i_OCSP_RESPONSE(NULL, &at, (long)der.len);
	if (!response || at != der.data + der.len)
		return writ_fail(WRIT_INVALID, "it is no OCSP response in DER");
	status = OCSP_response_status(response);
	if (status != OCSP_RESPONSE_STATUS_SUCCESSFUL)
		return writ_fail(WRIT_UNAVAILABLE, "the responder says %s", OCSP_response_status_str(status));
	basic = OCSP_response_get1_basic(response);
	if (!basic)
		return writ_fail(WRIT_INVALID, "it is not a basic OCSP response");
	err = signature_check(answers, basic, now);
	return err ? err : status_of(basic, request, f);
}

/* What the file says now.  Under the lock. */
static void
refresh(struct answers *answers, struct writ_bytes request, writ_time now, struct found *f)
{
	uint8_t key[SHA256_LEN];
	char path[4096];
	struct writ_err *err;
	struct stat st;

	writ_sha256(request, key);
	if (!f->taken || memcmp(f->key, key, sizeof(key)) != 0) {
		*f = (struct found){ .taken = true };
		memcpy(f->key, key, sizeof(key));
	}
	if (stat(fetch_ocsp_path(answers->state, answers->url, request, path), &st) != 0) {
		f->seen = (struct stat){ 0 };
		snprintf(f->why, sizeof(f->why), "it was not asked yet, or has not answered");
		return;
	}
	if (st.st_ino == f->seen.st_ino && st.st_mtim.tv_sec == f->seen.st_mtim.tv_sec &&
	    st.st_mtim.tv_nsec == f->seen.st_mtim.tv_nsec)
		return;
	f->seen = st;
	f->why[0] = '\0';
	err = answer_read(answers, path, request, now, f);
	ERR_clear_error();
	if (err)
		writ_err_text(err, f->why, sizeof(f->why));
	writ_err_free(err);
}

WRIT_CHECKED static struct writ_err *
judge(const struct answers *answers, const struct found *f, writ_time now, bool *ret_ask)
{
	const writ_time age = now - f->this_update;

	*ret_ask = true;
	if (f->why[0])
		return writ_fail(WRIT_UNAVAILABLE, "no OCSP answer of %.80s about the certificate: %.120s",
				 answers->url, f->why);
	if (f->status == V_OCSP_CERTSTATUS_REVOKED) { /* for good: an old answer says it as well as a new one */
		*ret_ask = false;
		return writ_fail(WRIT_UNAUTHENTICATED, "the certificate was revoked: OCSP, %.80s", answers->url);
	}
	if (f->status != V_OCSP_CERTSTATUS_GOOD)
		return writ_fail(WRIT_UNAVAILABLE, "%.80s does not know the certificate", answers->url);
	if (age > answers->max_age_s || (f->next_update && now > f->next_update))
		return writ_fail(WRIT_UNAVAILABLE,
				 "the OCSP answer of %.80s is %lld s old, over its max_age of %u s or its "
				 "nextUpdate",
				 answers->url, (long long)age, answers->max_age_s);
	if (age < -AHEAD_S)
		return writ_fail(WRIT_UNAVAILABLE, "the OCSP answer of %.80s is of a time %lld s ahead", answers->url,
				 (long long)-age);
	*ret_ask = age > answers->max_age_s / 2 ||
		   (f->next_update && now - f->this_update > (f->next_update - f->this_update) / 2);
	return NULL;
}

struct writ_err *
answers_check(struct answers *answers, struct writ_bytes request, writ_time now, bool *ret_ask)
{
	uint8_t key[SHA256_LEN];
	struct found *f;
	struct writ_err *err;

	writ_sha256(request, key);
	f = &answers->found[key[0] % KEPT];
	pthread_mutex_lock(&answers->lock);
	refresh(answers, request, now, f);
	err = judge(answers, f, now, ret_ask);
	pthread_mutex_unlock(&answers->lock);
	return err;
}
