/*
 * Corporate revocation lists: see lists.h.  OpenSSL reads them (they may be signed with RSA); what is kept is a sorted
 * array.
 */
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/file.h"
#include "issuer/auth/lists.h"

#define LISTS_FILE_MAX (64u * 1024 * 1024)
#define LISTS_SERIAL_MAX 32 /* octets; RFC 5280 4.1.2.2 allows 20 */

struct revoked {
	uint8_t len;
	uint8_t serial[LISTS_SERIAL_MAX];
};

struct list {
	struct list *next;
	uint8_t *issuer; /* DER Name */
	size_t issuer_len;
	writ_time this_update, next_update; /* next_update 0: not said */
	struct revoked *revoked;	    /* ascending */
	size_t n_revoked;
};

struct lists {
	const char *path;
	uint32_t max_age_s;
	X509 *const *anchors;
	size_t n_anchors;
	struct stat seen; /* of the file when it was read last; refreshing thread only */
	pthread_rwlock_t lock;
	struct list *first; /* under the lock */
};

static void
list_free(struct list *list)
{
	while (list) {
		struct list *next = list->next;

		free(list->issuer);
		free(list->revoked);
		free(list);
		list = next;
	}
}

static void
list_freep(struct list **list)
{
	list_free(*list);
}

static void
crl_done(X509_CRL **crl)
{
	X509_CRL_free(*crl);
}

static void
bio_done(BIO **bio)
{
	BIO_free(*bio);
}

static int
revoked_order(const void *a, const void *b)
{
	const struct revoked *x = a, *y = b;

	return writ_order((struct writ_bytes){ x->serial, x->len }, (struct writ_bytes){ y->serial, y->len });
}

static bool
seconds(const ASN1_TIME *from, writ_time *ret)
{
	struct tm tm;

	if (!from || !ASN1_TIME_to_tm(from, &tm))
		return false;
	*ret = (writ_time)timegm(&tm);
	return true;
}

WRIT_CHECKED static struct writ_err *
signed_by_anchor(const struct lists *lists, X509_CRL *crl)
{
	for (size_t i = 0; i < lists->n_anchors; i++)
		if (X509_NAME_cmp(X509_get_subject_name(lists->anchors[i]), X509_CRL_get_issuer(crl)) == 0 &&
		    X509_CRL_verify(crl, X509_get0_pubkey(lists->anchors[i])) == 1)
			return NULL;
	return writ_fail(WRIT_INVALID, "%s: a list that none of the configured anchors signed", lists->path);
}

WRIT_CHECKED static struct writ_err *
list_fill(const struct lists *lists, X509_CRL *crl, struct list *list)
{
	STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(crl);
	const int n = entries ? sk_X509_REVOKED_num(entries) : 0;
	const int issuer_len = i2d_X509_NAME(X509_CRL_get_issuer(crl), &list->issuer);

	if (issuer_len <= 0)
		return writ_fail(WRIT_INVALID, "%s: a list without an issuer", lists->path);
	list->issuer_len = (size_t)issuer_len;
	if (!seconds(X509_CRL_get0_lastUpdate(crl), &list->this_update))
		return writ_fail(WRIT_INVALID, "%s: thisUpdate is not a time", lists->path);
	if (X509_CRL_get0_nextUpdate(crl) && !seconds(X509_CRL_get0_nextUpdate(crl), &list->next_update))
		return writ_fail(WRIT_INVALID, "%s: nextUpdate is not a time", lists->path);

	list->revoked = calloc((size_t)n + 1, sizeof(*list->revoked));
	if (!list->revoked)
		return writ_fail(WRIT_EXHAUSTED, "%s: no memory for %d entries", lists->path, n);
	for (int i = 0; i < n; i++) {
		const ASN1_INTEGER *serial = X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(entries, i));
		const int len = ASN1_STRING_length(serial);

		if (len > LISTS_SERIAL_MAX)
			return writ_fail(WRIT_INVALID, "%s: a serial of %d octets is over %d", lists->path, len,
					 LISTS_SERIAL_MAX);
		list->revoked[i].len = (uint8_t)len;
		memcpy(list->revoked[i].serial, ASN1_STRING_get0_data(serial), (size_t)len);
	}
	list->n_revoked = (size_t)n;
	qsort(list->revoked, list->n_revoked, sizeof(*list->revoked), revoked_order);
	return NULL;
}

WRIT_CHECKED static struct writ_err *
list_add(const struct lists *lists, X509_CRL *crl, struct list **first)
{
	AUTO(list_freep) struct list *list = NULL;
	struct writ_err *err;

	if (X509_CRL_get_ext_by_critical(crl, 1, -1) >= 0)
		return writ_fail(WRIT_INVALID,
				 "%s: the list has a critical extension (delta or partial lists are not taken)",
				 lists->path);
	err = signed_by_anchor(lists, crl);
	if (err)
		return err;
	list = calloc(1, sizeof(*list));
	if (!list)
		return writ_fail(WRIT_EXHAUSTED, "%s: no memory", lists->path);
	err = list_fill(lists, crl, list);
	if (err)
		return err;
	list->next = *first;
	*first = TAKE(list);
	return NULL;
}

/* One list in DER, or any number in PEM. */
WRIT_CHECKED static struct writ_err *
lists_parse(const struct lists *lists, struct writ_bytes text, struct list **first)
{
	AUTO(bio_done) BIO *bio = NULL;
	struct writ_err *err = NULL;
	size_t n = 0;

	if (text.len > 0 && text.data[0] == 0x30) {
		const unsigned char *at = text.data;
		AUTO(crl_done) X509_CRL *crl = d2i_X509_CRL(NULL, &at, (long)text.len);

		if (!crl || at != text.data + text.len)
			return writ_fail(WRIT_INVALID, "%s: not a revocation list in DER", lists->path);
		return list_add(lists, crl, first);
	}
	bio = BIO_new_mem_buf(text.data, (int)text.len);
	if (!bio)
		return writ_fail(WRIT_EXHAUSTED, "%s: no memory", lists->path);
	for (; !err; n++) {
		AUTO(crl_done) X509_CRL *crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL);

		if (!crl)
			break;
		err = list_add(lists, crl, first);
	}
	if (!err && n == 0)
		err = writ_fail(WRIT_INVALID, "%s: holds no revocation list in PEM or DER", lists->path);
	return err;
}

struct writ_err *
lists_new(const char *path, uint32_t max_age_s, X509 *const *anchors, size_t n_anchors, struct lists **ret)
{
	struct lists *lists = calloc(1, sizeof(*lists));

	if (!lists)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the lists of %s", path);
	lists->path = path;
	lists->max_age_s = max_age_s;
	lists->anchors = anchors;
	lists->n_anchors = n_anchors;
	pthread_rwlock_init(&lists->lock, NULL);
	*ret = lists;
	return NULL;
}

void
lists_free(struct lists *lists)
{
	if (!lists)
		return;
	list_free(lists->first);
	pthread_rwlock_destroy(&lists->lock);
	free(lists);
}

static bool
unchanged(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

struct writ_err *
lists_refresh(struct lists *lists)
{
	AUTO(writ_buf_done) struct writ_buf text = WRIT_BUF(LISTS_FILE_MAX);
	AUTO(list_freep) struct list *fresh = NULL;
	struct list *old;
	struct writ_err *err;
	struct stat now;

	if (stat(lists->path, &now) == 0 && lists->first && unchanged(&now, &lists->seen))
		return NULL;
	err = file_read(lists->path, FILE_CONFIG, &text);
	if (!err)
		err = lists_parse(lists, writ_view(&text), &fresh);
	if (err)
		return err;

	pthread_rwlock_wrlock(&lists->lock);
	old = lists->first;
	lists->first = TAKE(fresh);
	pthread_rwlock_unlock(&lists->lock);
	list_free(old);
	lists->seen = now;
	return NULL;
}

WRIT_CHECKED static struct writ_err *
check_locked(const struct lists *lists, struct writ_bytes issuer, struct writ_bytes serial, writ_time now)
{
	const struct list *list = lists->first;
	struct revoked wanted = { .len = (uint8_t)serial.len };

	while (list && !writ_equal((struct writ_bytes){ list->issuer, list->issuer_len }, issuer))
		list = list->next;
	if (!list)
		return writ_fail(WRIT_UNAVAILABLE, "%s has no revocation list of the CA that issued this certificate",
				 lists->path);
	if (now - list->this_update > lists->max_age_s)
		return writ_fail(WRIT_UNAVAILABLE, "the revocation list in %s is %lld s old, over its max_age of %u s",
				 lists->path, (long long)(now - list->this_update), lists->max_age_s);
	if (list->next_update != 0 && now > list->next_update)
		return writ_fail(WRIT_UNAVAILABLE, "the revocation list in %s ended %lld s ago", lists->path,
				 (long long)(now - list->next_update));
	if (serial.len > LISTS_SERIAL_MAX)
		return writ_fail(WRIT_UNAUTHENTICATED, "the certificate's serial has %zu octets, over %d", serial.len,
				 LISTS_SERIAL_MAX);
	memcpy(wanted.serial, serial.data, serial.len);
	if (bsearch(&wanted, list->revoked, list->n_revoked, sizeof(wanted), revoked_order))
		return writ_fail(WRIT_UNAUTHENTICATED, "the certificate is on its CA's revocation list (%s)",
				 lists->path);
	return NULL;
}

struct writ_err *
lists_check(struct lists *lists, struct writ_bytes issuer, struct writ_bytes serial, writ_time now)
{
	struct writ_err *err;

	pthread_rwlock_rdlock(&lists->lock);
	err = check_locked(lists, issuer, serial, now);
	pthread_rwlock_unlock(&lists->lock);
	return err;
}
