/*
 * CRLs of the issuing CAs: one each, or shards of it once it could become too long (writ.yaml,
 * status.crl_shard_entries).
 *
 * (1) A list without issuingDistributionPoint is complete: while a generation has one shard, it has none.  From the
 * second on every list of it names its own URL, which is what its leaves name, byte for byte.	I10 (2) A leaf's shard
 * is in the leaf, in its journal entry and in the ledger; a shard is published until all of its leaves have expired.
 * (3) Numbers never go back, whatever was restored: the time is in them.
 * (4) A list is journalled and durable before it is signed.	I2	Nobody waits meanwhile but who asked for it.
 *
 * In the sealed tier a list is made in slices of a millisecond, one a wake-up, so that leaves and revocations do not
 * wait for a million entries: the entries, encoded when they were revoked, are copied into a memfd and hashed; then it
 * is signed; then what has expired leaves the ledger's list.  What is revoked meanwhile stands behind what is copied,
 * and in the next list.  A resident key's message goes to the device as a whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/der.h"
#include "base/event.h"
#include "base/file.h"
#include "issuer/signer/signer.h"
#include "issuer/x509/parts.h"

#define SLICE_BYTES (512 * 1024) /* copied and hashed a wake-up: half a millisecond */
#define SLICE_ENTRIES 16384	 /* looked at a wake-up, whether they have expired: the same */
#define SIGN_TRIES                                                                                                     \
	64 /* a signature has 70 to 72 bytes; a length of the whole just at a border may want the shorter ones */
#define SIGNATURE_USUAL 71 /* of P-256, DER */
#define OUTER_MAX 512	   /* algorithm and signature */
#define HEADER_ROOM 8	   /* a DER header */
#define CRL_BYTES_MAX (512u * 1024 * 1024)

void
crl_made_done(struct crl_made *made)
{
	if (made->fd >= 0)
		close(made->fd);
	*made = (struct crl_made){ .fd = -1 };
}

/* ---- shards ---- */

void
lists_free(struct generation *g)
{
	for (size_t i = 0; i < g->n_lists; i++)
		crl_made_done(&g->lists[i].made);
	free(g->lists);
	g->lists = NULL;
	g->n_lists = 0;
}

/* The lists that the ledger has shards for. */
WRIT_CHECKED static struct writ_err *
lists_follow(struct signer *s, struct generation *g)
{
	struct ledger_shards shards;
	struct crl_list *lists;
	size_t gone = 0;

	ledger_shards(s->ledger, g->cert.key_id, s->now.wall, &shards);
	while (gone < g->n_lists && g->lists[gone].shard < shards.first)
		crl_made_done(&g->lists[gone++].made);
	g->n_lists -= gone;
	if (gone > 0)
		memmove(g->lists, g->lists + gone, g->n_lists * sizeof(*g->lists));
	if (g->n_lists == shards.last - shards.first + 1)
		return NULL;
	lists = realloc(g->lists, (shards.last - shards.first + 1) * sizeof(*lists));
	if (!lists)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the lists of generation %llu",
				 (unsigned long long)g->number);
	g->lists = lists;
	for (unsigned shard = shards.first + (unsigned)g->n_lists; shard <= shards.last; shard++)
		g->lists[g->n_lists++] = (struct crl_list){ .shard = shard, .made.fd = -1 };
	return NULL;
}

/* WRIT_NOT_FOUND: it has no such shard, or none any more. */
WRIT_CHECKED static struct writ_err *
list_find(struct signer *s, const uint8_t key_id[20], unsigned shard, struct generation **ret_g, struct crl_list **ret)
{
	struct generation *g = keys_find(s, key_id);
	struct writ_err *err;

	if (!g)
		return writ_fail(WRIT_NOT_FOUND, "no CA of ours has that key id");
	err = lists_follow(s, g);
	if (err)
		return err;
	*ret_g = g;
	for (size_t i = 0; i < g->n_lists; i++)
		if (g->lists[i].shard == shard) {
			*ret = &g->lists[i];
			return NULL;
		}
	return writ_fail(WRIT_NOT_FOUND, "that CA has the lists %u to %u, and not %u", g->lists[0].shard,
			 g->lists[g->n_lists - 1].shard, shard);
}

/* Which shards the gate takes: the last, and those before it that were replaced a moment ago. */
void
lists_accepted(const struct signer *s, const struct generation *g, unsigned *ret_from, unsigned *ret_to)
{
	struct ledger_shards shards;

	ledger_shards(s->ledger, g->cert.key_id, s->now.wall, &shards);
	*ret_from = *ret_to = shards.last;
	for (size_t i = g->n_lists; i-- > 0;)
		if (g->lists[i].shard >= shards.first && g->lists[i].replaced_at != 0 &&
		    g->lists[i].replaced_at + GENERATION_OVERLAP_S >= s->now.wall)
			*ret_from = g->lists[i].shard;
}

/* Time goes by: the gate must not take what the ledger is about to forget. */
void
lists_tick(struct signer *s)
{
	for (size_t i = 0; i < s->gate.n_issuers; i++) {
		struct gate_issuer *known = &s->gate_issuers[i];
		const struct generation *g = keys_find(s, known->key_id.data);

		if (g)
			lists_accepted(s, g, &known->shard_from, &known->shard);
	}
}

/* The issuer hears of it as of a new generation (`changes`), and publishes its list before a leaf names it. */
WRIT_CHECKED static struct writ_err *
shard_begin(struct signer *s, struct generation *g)
{
	struct writ_err *err;

	err = lists_follow(s, g);
	if (!err)
		err = ledger_shard_begin(s->ledger, g->cert.key_id);
	if (err)
		return err;
	g->lists[g->n_lists - 1].replaced_at = s->now.wall;
	err = lists_follow(s, g);
	if (err)
		return err;
	s->keys.changes++;
	lists_tick(s);
	event(EVENT_INFO, "signer.shard", EV_NUM("generation", g->number),
	      EV_NUM("shard", g->lists[g->n_lists - 1].shard), EV_NUM("live", g->n_lists));
	return NULL;
}

void
lists_shard(struct signer *s)
{
	struct generation *g = s->keys.current;
	struct ledger_shards shards;
	struct writ_err *err;

	if (s->conf->crl_shard_entries == 0 || !g)
		return;
	ledger_shards(s->ledger, g->cert.key_id, s->now.wall, &shards);
	if (shards.n_live < s->conf->crl_shard_entries || shards.last == LEDGER_SHARD_MAX)
		return;
	if (shards.last - shards.first + 1 >= SHARDS_MAX) {
		if (s->now.mono_ms >= s->next_shards_ms)
			event(EVENT_WARN, "signer.shards-full", EV_NUM("shards", SHARDS_MAX),
			      EV_NUM("live_in_the_last", shards.n_live),
			      EV_STR("hint", "the last list grows beyond status.crl_shard_entries: raise it"));
		s->next_shards_ms = s->now.mono_ms + (s->now.mono_ms >= s->next_shards_ms ? 60000 : 0);
		return;
	}
	err = shard_begin(s, g);
	if (err)
		event(EVENT_ALARM, "signer.shard-not-begun", EV_ERR(err));
	writ_err_free(err);
}

/* ---- what a list says ---- */

static bool
list_stale(const struct signer *s, const struct generation *g, const struct crl_list *list)
{
	const writ_time age_s = s->now.wall - (list->made.is.this_update + SIGNER_BACKDATE_S);
	struct ledger_list now;

	if (list->made.fd < 0 || list->with_idp != (g->lists[g->n_lists - 1].shard > 0)) /* (1) */
		return true;
	ledger_list(s->ledger, g->cert.key_id, list->shard, &now);
	return now.changes != list->made.changes || age_s >= CRL_AGE_MAX_S || age_s < 0;
}

/* `url` holds what the facts name. */
static struct crl_facts
list_facts(const struct signer *s, const struct generation *g, unsigned shard, const struct ledger_list *list,
	   char url[SIGNER_URL_MAX])
{
	struct crl_facts facts = {
		.issuer_name = g->cert.subject,
		.issuer_key_id = { g->cert.key_id, 20 },
		.kind = g->cert.kind,
		.number = crl_number_next(s),
		.this_update = s->now.wall - SIGNER_BACKDATE_S,
		.next_update = s->now.wall + CRL_LIFE_S,
		.entries = list->entries,
		.n_edges = list->n_edges,
		.edges = list->edges,
	};

	if (g->lists[g->n_lists - 1].shard > 0) /* (1) */
		facts.idp_url = writ_str(signer_crl_url(s->conf->status_url, g->cert.key_id, shard, url));
	return facts;
}

static void
list_take(struct crl_list *list, struct crl_made *made, bool with_idp)
{
	crl_made_done(&list->made);
	list->made = *made;
	list->with_idp = with_idp;
	*made = (struct crl_made){ .fd = -1 };
}

/* ---- resident tier: as a whole ---- */

WRIT_CHECKED static struct writ_err *
list_make_whole(struct signer *s, struct generation *g, struct crl_list *list)
{
	AUTO(writ_buf_done) struct writ_buf der = WRIT_BUF(CRL_BYTES_MAX);
	AUTO(crl_made_done) struct crl_made made = { .fd = -1 };
	char url[SIGNER_URL_MAX];
	struct ledger_list now;
	struct crl_facts facts;
	struct writ_err *err;
	bool with_idp;

	if (!device_ready(s)) /* before the journal has an entry of a list that nobody will see */
		return device_away(s);
	ledger_list(s->ledger, g->cert.key_id, list->shard, &now);
	facts = list_facts(s, g, list->shard, &now, url);
	made.changes = now.changes;
	with_idp = facts.idp_url.len > 0;
	err = crl_sign(s, g, list->shard, &facts, now.n_entries, &made.is, &der);
	if (!err)
		err = file_memfd("writ-crl", writ_view(&der), &made.fd);
	if (err)
		return err;
	list_take(list, &made, with_idp);
	while (!ledger_listed(s->ledger, g->cert.key_id, list->shard, list->made.is.this_update, SIZE_MAX))
		;
	return NULL;
}

/* ---- sealed tier: in slices ---- */

void
crl_build_done(struct crl_build *b)
{
	crl_made_done(&b->made);
	writ_sha256_done(&b->hash);
	writ_buf_done(&b->tail);
	b->stage = CRL_BUILD_NONE;
}

/* Into the memfd, and the hash. */
WRIT_CHECKED static struct writ_err *
build_write(struct crl_build *b, struct writ_bytes bytes)
{
	writ_sha256_add(&b->hash, bytes);
	while (bytes.len > 0) {
		const ssize_t n = pwrite(b->made.fd, bytes.data, bytes.len, (off_t)(b->begin + b->tbs_len));

		if (n < 0 && errno != EINTR)
			return writ_fail_errno(errno, "writing a CRL, %zu bytes left", bytes.len);
		bytes.data += n > 0 ? n : 0;
		bytes.len -= n > 0 ? (size_t)n : 0;
		b->tbs_len += n > 0 ? (size_t)n : 0;
	}
	return NULL;
}

WRIT_CHECKED static struct writ_err *
build_begin(struct signer *s, const struct generation *g, const struct crl_list *list)
{
	AUTO(writ_buf_done) struct writ_buf head = WRIT_BUF(CRL_HEAD_MAX);
	struct crl_build *b = &s->build;
	char url[SIGNER_URL_MAX];
	struct ledger_list now;
	struct crl_facts facts;
	struct writ_err *err;
	size_t len;

	ledger_list(s->ledger, g->cert.key_id, list->shard, &now);
	facts = list_facts(s, g, list->shard, &now, url);
	*b = (struct crl_build){ .shard = list->shard,
				 .with_idp = facts.idp_url.len > 0,
				 .n_entries = now.n_entries,
				 .entries_len = now.entries.len,
				 .tail = WRIT_BUF(CRL_TAIL_MAX(now.n_edges)),
				 .made = { .fd = -1, .changes = now.changes } };
	memcpy(b->key_id, g->cert.key_id, sizeof(b->key_id));
	b->made.is = (struct signer_crl_is){ .number = facts.number,
					     .this_update = facts.this_update,
					     .next_update = facts.next_update };
	s->crl_number = facts.number; /* (3): others are made meanwhile */
	err = crl_frame(&facts, now.entries.len, &head, &b->tail);
	if (err)
		return err;
	len = head.len + now.entries.len + b->tail.len;
	b->begin = header_len(len + key_signature_alg(g->cert.kind).len + 3 + SIGNATURE_USUAL);
	writ_sha256_begin(&b->hash);
	b->made.fd = memfd_create("writ-crl", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (b->made.fd < 0)
		return writ_fail_errno(errno, "making a memfd");
	err = build_write(b, writ_view(&head));
	if (!err)
		b->stage = CRL_BUILD_COPY;
	return err;
}

WRIT_CHECKED static struct writ_err *
build_copy(struct signer *s, const struct crl_list *list)
{
	struct crl_build *b = &s->build;
	struct ledger_list now;
	size_t n = b->entries_len - b->at;

	ledger_list(s->ledger, b->key_id, list->shard, &now); /* its bytes may have moved */
	n = n < SLICE_BYTES ? n : SLICE_BYTES;
	b->at += n;
	return build_write(b, (struct writ_bytes){ now.entries.data + b->at - n, n });
}

/* All of it stands there, and its entry is on its way to the disk. */
WRIT_CHECKED static struct writ_err *
build_journal(struct signer *s)
{
	struct crl_build *b = &s->build;
	struct writ_err *err;

	err = build_write(b, writ_view(&b->tail));
	writ_sha256_end(&b->hash, b->digest);
	if (!err)
		err = entry_crl(s, b->key_id, b->shard, b->made.is.number, b->made.is.next_update, b->n_entries, b->digest);
	b->durable_at = journal_next(s->journal);
	b->stage = CRL_BUILD_JOURNALLED;
	return err;
}

/* The whole's header stands before the TBS, where `begin` left room for it: the signature must have a length that fits.
 */
WRIT_CHECKED static struct writ_err *
build_close(struct crl_build *b, struct generation *g, const uint8_t digest[SHA256_LEN])
{
	for (unsigned i = 0; i < SIGN_TRIES; i++) {
		AUTO(writ_buf_done) struct writ_buf head = WRIT_BUF(HEADER_ROOM), tail = WRIT_BUF(OUTER_MAX);
		uint8_t signature[SOFT_KEY_SIGNATURE_MAX];
		struct writ_err *err;
		size_t len;

		err = soft_key_sign_digest(&g->soft, digest, signature, &len);
		if (!err)
			err = x509_frame(b->tbs_len, g->cert.kind, (struct writ_bytes){ signature, len }, &head, &tail);
		if (err)
			return err;
		if (head.len != b->begin)
			continue;
		if (pwrite(b->made.fd, head.data, head.len, 0) != (ssize_t)head.len ||
		    pwrite(b->made.fd, tail.data, tail.len, (off_t)(b->begin + b->tbs_len)) != (ssize_t)tail.len)
			return writ_fail_errno(errno, "writing a CRL's ends");
		b->made.is.len = (uint32_t)(b->begin + b->tbs_len + tail.len);
		return file_memfd_seal(b->made.fd);
	}
	return writ_fail(WRIT_BROKEN, "%d signatures of a CRL had none of the usual lengths", SIGN_TRIES);
}

/* (4) */
WRIT_CHECKED static struct writ_err *
build_end(struct generation *g, struct crl_list *list, struct crl_build *b)
{
	struct writ_err *err;

	err = build_close(b, g, b->digest);
	if (err)
		return err;
	list_take(list, &b->made, b->with_idp);
	b->made.is = list->made.is; /* its thisUpdate says what may go */
	b->stage = CRL_BUILD_TRIM;
	return NULL;
}

/* One slice; after the last one of the copy, its entry; when that is durable, the signature. */
WRIT_CHECKED static struct writ_err *
build_step(struct signer *s)
{
	struct crl_build *b = &s->build;
	struct crl_list *list;
	struct generation *g;
	struct writ_err *err;

	err = list_find(s, b->key_id, b->shard, &g, &list);
	if (!err && b->stage == CRL_BUILD_JOURNALLED && b->durable_at <= journal_durable(s->journal))
		err = build_end(g, list, b);
	if (!err && b->stage == CRL_BUILD_COPY && b->at < b->entries_len)
		err = build_copy(s, list);
	if (!err && b->stage == CRL_BUILD_COPY && b->at == b->entries_len)
		err = build_journal(s);
	if (err)
		crl_build_done(b);
	return err;
}

static void
build_trim(struct signer *s)
{
	struct crl_build *b = &s->build;

	if (ledger_listed(s->ledger, b->key_id, b->shard, b->made.is.this_update, SLICE_ENTRIES))
		crl_build_done(b);
}

/* ---- who asks ---- */

static void
list_answer(struct signer *s, struct conn *conn, uint64_t id, const struct generation *g, const struct crl_list *list)
{
	AUTO(writ_buf_done) struct writ_buf answer = WRIT_BUF(FRAME_BODY_MAX);
	struct signer_crl_is is = list->made.is;
	struct writ_err *err;
	int fd;

	is.first = (uint16_t)g->lists[0].shard;
	is.last = (uint16_t)g->lists[g->n_lists - 1].shard;
	err = signer_crl_is_write(&is, &answer);
	fd = err ? -1 : fcntl(list->made.fd, F_DUPFD_CLOEXEC, 3);
	if (!err && fd < 0)
		err = writ_fail_errno(errno, "handing over a CRL");
	if (err)
		conn_refuse(s, conn, id, err);
	else
		conn_answer_now(conn, id, SIGNER_CRL, writ_view(&answer), fd); /* (4) */
	writ_err_free(err);
}

/* The old list is true until its nextUpdate. */
WRIT_CHECKED static struct writ_err *
not_renewed(const struct signer *s, const struct crl_made *made, struct writ_err *err)
{
	if (err && (made->fd < 0 || made->is.next_update <= s->now.wall))
		return writ_because(err, "the CRL");
	if (err)
		event(EVENT_ALARM, "signer.crl-not-renewed", EV_ERR(err), EV_NUM("next_update", made->is.next_update));
	writ_err_free(err);
	return NULL;
}

/* What became of the list that was begun for these. */
static void
asks_answer(struct signer *s, const uint8_t key_id[20], unsigned shard, struct writ_err *err)
{
	struct crl_list *list;
	struct generation *g;
	struct writ_err *gone = list_find(s, key_id, shard, &g, &list);
	size_t kept = 0;

	if (gone) {
		writ_err_free(err);
		err = gone;
	} else {
		err = not_renewed(s, &list->made, err);
	}
	for (size_t i = 0; i < s->n_crl_asks; i++) {
		const struct crl_ask ask = s->crl_asks[i];

		if (!ask.begun)
			s->crl_asks[kept++] = ask;
		else if (err)
			conn_refuse(s, ask.conn, ask.id, err);
		else
			list_answer(s, ask.conn, ask.id, g, list);
	}
	s->n_crl_asks = kept;
	writ_err_free(err);
}

/* The first that waits, and all who want the same: who asks later may know of a later revocation. */
static void
ask_begin(struct signer *s)
{
	const struct crl_ask first = s->crl_asks[0];
	struct crl_list *list;
	struct generation *g;
	struct writ_err *err;

	for (size_t i = 0; i < s->n_crl_asks; i++)
		s->crl_asks[i].begun = s->crl_asks[i].shard == first.shard &&
				       memcmp(s->crl_asks[i].key_id, first.key_id, sizeof(first.key_id)) == 0;
	err = list_find(s, first.key_id, first.shard, &g, &list);
	if (!err && list_stale(s, g, list)) {
		err = g->soft.pkey ? build_begin(s, g, list) : list_make_whole(s, g, list);
		if (!err && g->soft.pkey)
			return;
		crl_build_done(&s->build);
	}
	asks_answer(s, first.key_id, first.shard, err);
}

void
lists_step(struct signer *s)
{
	struct crl_build *b = &s->build;
	struct writ_err *err;

	if (b->stage == CRL_BUILD_TRIM) {
		build_trim(s);
		return;
	}
	if (b->stage == CRL_BUILD_NONE && s->n_crl_asks > 0)
		ask_begin(s);
	if (b->stage != CRL_BUILD_COPY && b->stage != CRL_BUILD_JOURNALLED)
		return;
	err = build_step(s);
	if (err || b->stage == CRL_BUILD_TRIM)
		asks_answer(s, b->key_id, b->shard, err);
}

bool
lists_busy(const struct signer *s)
{
	switch (s->build.stage) {
	case CRL_BUILD_NONE:
		return s->n_crl_asks > 0;
	case CRL_BUILD_COPY:
	case CRL_BUILD_TRIM:
		return true;
	case CRL_BUILD_JOURNALLED: /* the journal's event wakes us */
		return s->build.durable_at <= journal_durable(s->journal);
	}
	return false;
}

struct writ_err *
lists_ask(struct signer *s, struct conn *conn, uint64_t id, const struct signer_crl *asked)
{
	struct crl_list *list;
	struct generation *g;
	struct writ_err *err;

	err = list_find(s, asked->key_id, asked->shard, &g, &list);
	if (err)
		return err;
	if (s->n_crl_asks == CRL_ASKS_MAX)
		return writ_fail(WRIT_UNAVAILABLE, "%d lists are waited for already: try again", CRL_ASKS_MAX);
	s->crl_asks[s->n_crl_asks] = (struct crl_ask){ .conn = conn, .id = id, .shard = asked->shard };
	memcpy(s->crl_asks[s->n_crl_asks++].key_id, asked->key_id, sizeof(asked->key_id));
	return NULL;
}

void
lists_forget(struct signer *s, const struct conn *conn)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->n_crl_asks; i++)
		if (s->crl_asks[i].conn != conn)
			s->crl_asks[kept++] = s->crl_asks[i];
	s->n_crl_asks = kept;
}
