/*
 * A state directory as an issuer has it after hours of work, made in seconds: journal, ledger and store by the
 *functions that the signer and the store writer use, with the time as a parameter.
 *
 * usage: grow --config FILE [--live N] [--expired N] [--gone N] [--tree N] [--leaves-per-edge N] [--age S] [--spread S]
 *	[--ready-in S]
 *
 * The state must be initialised, must hold one leaf that came in by the front door, on an edge that may delegate, and
 * nobody may serve it.  That leaf should have expired when the state is served: its entry becomes older than it is.
 * It is the pattern: each one made has its form with a serial, times and a log entry of its
 * own.  Its signature is the pattern's, so that a relying party would refuse it; no process of ours looks at it again.
 *
 *	--expired	issued --age seconds ago, and expired; with an age of more than a day, to be pruned
 *	--gone		entries of the journal from there on, whose rows were pruned
 *	--live		live: issued within the last --spread seconds, 900 s each
 *	--tree		so many of the live ones on edges below the pattern's, which is renewed each second; the others
 *each hang on a task's first edge
 *
 * The journal grows older by --age seconds first, so that its times stay in order.  Its last leaf is issued --ready-in
 * seconds from now: growing takes time, and the live ones shall be live then.  The result is what a kill -9 leaves.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/event.h"
#include "base/text.h"
#include "issuer/signer/signer.h"
#include "issuer/store/store.h"

#define LIFE_S 900
#define GROUP 2048	  /* leaves of one fdatasync and one transaction */
#define SETTLE_EVERY 4096 /* leaves */

struct options {
	const char *config;
	uint64_t live, expired, gone, tree, per_edge, age_s, spread_s, ready_in_s;
};

struct grow {
	struct options opt;
	struct conf conf;
	struct signer *s;
	struct store *store;
	struct writ_arena arena;

	/* the pattern: */
	struct leaf leaf;
	uint8_t *der; /* a copy that is written over */
	size_t der_len, tbs_at;
	struct store_cert cert;
	struct store_edge edge;
	struct store_task task;
	struct writ_buf said, said_grant;

	/* the edge that takes the next leaves: */
	struct store_edge on;
	uint64_t left, n_made;
	bool on_pattern; /* it is the pattern's own, renewed last: */
	writ_time pattern_at;

	/* a group: */
	size_t n_items, n_certs;
	struct store_item items[3 * GROUP];
	struct store_cert certs[GROUP];
	struct store_edge edges[GROUP];
	struct store_task tasks[GROUP];
	struct store_evidence evidence[GROUP];
	size_t n_edges;
	struct writ_arena texts;
	writ_time pruned;
};

static void
must(struct writ_err *err, const char *doing)
{
	char text[WRIT_MESSAGE_MAX];

	if (!err)
		return;
	fprintf(stderr, "grow: %s: %s\n", doing, writ_err_text(err, text, sizeof(text)));
	exit(1);
}

static void *
must_have(void *p)
{
	if (!p)
		must(writ_fail(WRIT_EXHAUSTED, "no memory"), "growing");
	return p;
}

static void
options_read(int argc, char **argv, struct options *ret)
{
	static const struct option known[] = {
		{ "config", required_argument, NULL, 'c' },   { "live", required_argument, NULL, 'l' },
		{ "expired", required_argument, NULL, 'e' },  { "gone", required_argument, NULL, 'g' },
		{ "tree", required_argument, NULL, 't' },     { "leaves-per-edge", required_argument, NULL, 'p' },
		{ "age", required_argument, NULL, 'a' },      { "spread", required_argument, NULL, 's' },
		{ "ready-in", required_argument, NULL, 'r' }, { NULL, 0, NULL, 0 }
	};
	uint64_t *number[128] = {
		['l'] = &ret->live,	['e'] = &ret->expired, ['g'] = &ret->gone,     ['t'] = &ret->tree,
		['p'] = &ret->per_edge, ['a'] = &ret->age_s,   ['s'] = &ret->spread_s, ['r'] = &ret->ready_in_s
	};
	int c;

	*ret = (struct options){ .per_edge = 2, .age_s = 7200, .spread_s = 300 };
	while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
		if (c == 'c')
			ret->config = optarg;
		else if (c == '?' || !writ_decimal(writ_str(optarg), 100000000, number[c]))
			exit(2);
	}
	if (!ret->config || optind != argc || ret->tree > ret->live || ret->per_edge == 0 || ret->spread_s >= LIFE_S ||
	    ret->age_s < ret->spread_s + 2 * LIFE_S) {
		fprintf(stderr, "usage: grow --config FILE [--live N] [--expired N] [--gone N] [--tree N] "
				"[--leaves-per-edge N] [--age S] [--spread S] [--ready-in S]\n");
		exit(2);
	}
}

/* ---- the journal made older ---- */

struct older {
	struct journal *to;
	writ_time by;
};

static struct writ_err *
entry_older(const struct entry *e, void *ctx)
{
	struct older *older = ctx;
	struct entry copy = *e;

	copy.time -= older->by;
	return journal_add(older->to, &copy);
}

/* The same entries, hashes and chain; only the time in their headers is another. */
static void
journal_older(struct grow *g, const char *dir)
{
	char old[PATH_MAX + 8], command[PATH_MAX + 32];
	struct older older = { .by = (writ_time)g->opt.age_s };
	struct journal_cut cut;
	struct stat st;

	snprintf(old, sizeof(old), "%s.old", dir);
	if (stat(dir, &st) != 0 || rename(dir, old) != 0)
		must(writ_fail_errno(errno, "%s", dir), "moving the journal away");
	must(journal_create(dir, writ_str(g->conf.log_origin)), "making a journal");
	if (chown(dir, st.st_uid, st.st_gid) != 0 || chmod(dir, st.st_mode & 07777) != 0)
		must(writ_fail_errno(errno, "%s", dir), "giving it its mode");
	must(journal_open(dir, writ_str(g->conf.log_origin), NULL, NULL, &cut, &older.to), "opening it");
	must(journal_read(old, 0, entry_older, &older), "copying the journal");
	journal_sync(older.to);
	journal_close(older.to);
	snprintf(command, sizeof(command), "rm -r '%s'", old);
	if (system(command) != 0)
		must(writ_fail(WRIT_BROKEN, "%s", old), "removing");
}

/* ---- the pattern ---- */

static struct writ_err *
first_good(const struct store_cert *cert, void *ctx)
{
	struct grow *g = ctx;

	if (cert->state == CERT_GOOD && g->cert.state == 0)
		g->cert = *cert;
	return NULL;
}

static struct writ_err *
first_said(const struct entry *e, void *ctx)
{
	struct grow *g = ctx;
	struct writ_buf *to = e->type == ENTRY_ISSUE ? &g->said : e->type == ENTRY_GRANT ? &g->said_grant : NULL;
	const char *text = (const char *)e->json.data, *from, *end;

	if (!to || to->len > 0)
		return NULL;
	from = memmem(text, e->json.len, "\"said\":", 7);
	if (!from)
		return NULL;
	from += 7;
	end = memmem(from, (size_t)(text + e->json.len - from), e->type == ENTRY_ISSUE ? ",\"san\":" : ",\"t\":", 5);
	return writ_buf_add(to, (struct writ_bytes){ (const uint8_t *)from, end ? (size_t)(end - from) : 0 });
}

static void
pattern_read(struct grow *g, const char *journal)
{
	const writ_time now = clock_read().wall;
	struct writ_bytes der;

	must(store_live_certs(g->store, now, first_good, g), "looking for a leaf");
	if (g->cert.state == 0)
		must(writ_fail(WRIT_NOT_FOUND, "the store has no live leaf to go by"), "looking for a leaf");
	must(store_cert(g->store, g->cert.serial, &g->arena, &g->cert), "its row");
	must(store_cert_der(g->store, g->cert.serial, &g->arena, &der), "its certificate");
	must(store_edge(g->store, g->cert.edge, &g->arena, &g->edge), "its edge");
	must(store_task(g->store, g->edge.task, &g->arena, &g->task), "its task");
	must(journal_read(journal, 0, first_said, g), "its entry");
	g->der = must_have(malloc(der.len));
	memcpy(g->der, der.data, der.len);
	g->der_len = der.len;
	must(leaf_read((struct writ_bytes){ g->der, g->der_len }, &g->arena, &g->leaf), "reading it");
	g->tbs_at = (size_t)(g->leaf.tbs.data - g->der);
}

/* UTCTime, which leaves have until 2049: 13 octets. */
static void
time_put(struct grow *g, writ_time is, writ_time to)
{
	char from[WRIT_GENERALIZED_LEN + 1], with[WRIT_GENERALIZED_LEN + 1];
	uint8_t *at;

	writ_time_generalized(is, from);
	writ_time_generalized(to, with);
	at = memmem(g->der, g->der_len, from + 2, 13);
	if (at)
		memcpy(at, with + 2, 13);
}

/* ---- growing ---- */

static void
group_end(struct grow *g)
{
	struct signer *s = g->s;

	journal_sync(s->journal);
	if (g->n_items > 0)
		must(store_commit(g->store, g->items, g->n_items), "a transaction");
	for (size_t i = 0; i < g->n_items; i++)
		must(g->items[i].result, "a row");
	g->n_items = g->n_certs = g->n_edges = 0;
	writ_arena_clear(&g->texts);
}

static struct writ_bytes
kept(struct grow *g, const void *data, size_t len)
{
	const struct writ_bytes copy = writ_arena_copy(&g->texts, (struct writ_bytes){ data, len });

	must_have((void *)(uintptr_t)copy.data);
	return copy;
}

/* A new edge, in a task of its own or below the pattern's. */
static void
edge_next(struct grow *g, writ_time at, bool below)
{
	const char *slash = memrchr(g->edge.agent.data, '/', g->edge.agent.len);
	char name[STORE_PRINCIPAL_MAX + 40], id[TASK_ID_MAX + 1];
	uint8_t r[32], grant[512];
	struct store_edge *e = &g->edges[g->n_edges];
	struct store_task *t = &g->tasks[g->n_edges];
	struct store_evidence *evidence = &g->evidence[g->n_edges++];
	const size_t class_len = (size_t)(slash - (const char *)g->edge.agent.data);
	size_t len = g->edge.grant.len < sizeof(grant) ? g->edge.grant.len : sizeof(grant);

	writ_random(r, sizeof(r));
	*e = g->edge;
	writ_random(e->id, sizeof(e->id));
	memcpy(e->spki_sha256, r, sizeof(r));
	snprintf(name, sizeof(name), "%.*s/i-%016llx", (int)class_len, (const char *)g->edge.agent.data,
		 (unsigned long long)writ_get64(r));
	e->agent = kept(g, name, strlen(name));
	e->granted_at = at;
	memcpy(grant, g->edge.grant.data, len);
	writ_random(grant + len - 16, 16);
	e->grant = kept(g, grant, len);
	if (below) {
		memcpy(e->parent, g->edge.id, sizeof(e->parent));
		e->delegator = g->edge.agent;
		e->depth_remaining = g->edge.depth_remaining - 1;
	} else {
		e->not_after = at + 3600;
		snprintf(id, sizeof(id), "%08x-%04x-4%03x-8%03x-%012llx", writ_get32(r + 8), r[12] << 8 | r[13],
			 (unsigned)(r[14] << 4 | r[15] >> 4), (unsigned)(r[16] << 4 | r[17] >> 4),
			 (unsigned long long)writ_get64(r + 18) >> 16);
		*t = g->task;
		t->id = kept(g, id, strlen(id));
		t->created = at;
		t->ends = at + 3600;
		e->task = t->id;
	}
	*evidence = (struct store_evidence){ .kind = WRIT_LIT("hop-grant"),
					     .bytes = e->grant,
					     .expires = at + 400 * 86400 };
	writ_sha256(e->grant, evidence->digest);
	must(entry_note(g->s, ENTRY_GRANT, writ_view(&g->said_grant)), "a grant entry");
	g->items[g->n_items++] = (struct store_item){ .op = below ? STORE_ADD_EDGE : STORE_OPEN_TASK,
						      .task = below ? NULL : t,
						      .edge = e,
						      .evidence = evidence,
						      .n_evidence = 1,
						      .now = at };
	g->on = *e;
	g->left = g->opt.per_edge;
}

/* No leaf below the pattern's edge outlives that edge's own: it is renewed as the time goes on (I5). */
static void leaf_next(struct grow *g, writ_time at, bool rows, bool below);

static void
pattern_renew(struct grow *g, writ_time at)
{
	const struct store_edge on = g->on;
	const uint64_t left = g->left;

	g->on = g->edge;
	g->left = 1;
	g->on_pattern = true;
	g->pattern_at = at;
	leaf_next(g, at, true, true);
	g->on_pattern = false;
	g->on = on;
	g->left = left;
}

static void
leaf_next(struct grow *g, writ_time at, bool rows, bool below)
{
	static const uint8_t no_hash[32];
	struct signer *s = g->s;
	uint8_t *tbs = g->der + g->tbs_at, serial[16];
	struct entry entry;

	s->now = (struct clock){ .wall = at, .wall_ns = (int64_t)(g->n_made % 1000) * 1000000, .mono_ms = at * 1000 };
	if (at >= g->pruned + 60) {
		ledger_prune(s->ledger, at);
		g->pruned = at;
	}
	if (below && at > g->pattern_at)
		pattern_renew(g, at);
	if (rows && !g->on_pattern &&
	    (g->left == 0 || below != (memcmp(g->on.parent, g->edge.id, sizeof(g->on.parent)) == 0)))
		edge_next(g, at, below);
	must(serial_draw(s->ledger, at, writ_random, serial), "a serial");
	time_put(g, g->leaf.not_before, at - 30);
	time_put(g, g->leaf.not_after, at + LIFE_S - 1);
	g->leaf.not_before = at - 30;
	g->leaf.not_after = at + LIFE_S - 1;
	leaf_fill(tbs, &g->leaf, serial, 0, no_hash);
	must(entry_issue(s, &g->leaf, 0, serial, g->leaf.tbs, writ_view(&g->said), &entry), "an issue entry");
	must(ledger_issue(s->ledger, serial, g->leaf.authority_key_id.data, 0, g->leaf.not_after), "the ledger");
	leaf_fill(tbs, &g->leaf, serial, entry.index, entry.leaf_hash);
	if (rows) {
		struct store_cert *cert = &g->certs[g->n_certs++];

		*cert = (struct store_cert){ .log_index = entry.index,
					     .not_before = g->leaf.not_before,
					     .not_after = g->leaf.not_after,
					     .state = CERT_GOOD,
					     .der = kept(g, g->der, g->der_len) };
		memcpy(cert->serial, serial, 16);
		memcpy(cert->edge, g->on.id, sizeof(cert->edge));
		memcpy(cert->issuer_key_id, g->cert.issuer_key_id, sizeof(cert->issuer_key_id));
		writ_sha256(cert->der, cert->sha256);
		g->items[g->n_items++] = (struct store_item){ .op = STORE_ISSUE, .cert = cert, .now = at };
		g->left--;
	}
	if (++g->n_made % GROUP == 0)
		group_end(g);
	if (g->n_made % SETTLE_EVERY == 0) {
		must(entry_settled(s, entry.index + 1), "a settled entry");
		s->settled = entry.index + 1;
		journal_sync(s->journal);
		replay_housekeep(s);
	}
}

/* `n` leaves, evenly from `from` to `to`. */
static void
span(struct grow *g, uint64_t n, writ_time from, writ_time to, bool rows, uint64_t tree)
{
	for (uint64_t i = 0; i < n; i++)
		leaf_next(g, from + (writ_time)((double)(to - from) * (double)i / (double)n), rows,
			  i * tree / n != (i + 1) * tree / n || tree == n);
}

int
main(int argc, char **argv)
{
	static struct signer signer;
	static struct grow g;
	writ_time now = clock_read().wall;
	char dir[4096], uri[4200], folder[4096];
	writ_time begins, live_from;

	event_start(STDERR_FILENO, "grow", EVENT_WARN);
	options_read(argc, argv, &g.opt);
	now += (writ_time)g.opt.ready_in_s;
	g.arena = WRIT_ARENA(16 * 1024 * 1024);
	g.texts = WRIT_ARENA(64 * 1024 * 1024);
	g.said = WRIT_BUF(SIGNER_SAID_MAX);
	g.said_grant = WRIT_BUF(SIGNER_SAID_MAX);
	g.s = &signer;
	must(conf_read(g.opt.config, &g.conf), g.opt.config);
	conf_path(g.conf.state, "journal", dir);
	snprintf(uri, sizeof(uri), "sqlite:%s/writ.db", conf_path(g.conf.state, "store", folder));
	must(store_open(uri, STORE_WRITE, &g.store), "opening the store");
	pattern_read(&g, dir);
	journal_older(&g, dir);

	signer = (struct signer){ .conf = &g.conf,
				  .json = WRIT_BUF(JOURNAL_ENTRY_MAX),
				  .epoll = -1,
				  .listener = -1,
				  .signals = -1,
				  .keys.anchor_crl.fd = -1,
				  .admin = { .listener = -1, .sock = -1 } };
	signer.now = (struct clock){ .wall = now - (writ_time)g.opt.age_s };
	must(replay_open(&signer), "opening the journal");

	begins = now - (writ_time)g.opt.age_s + 10;
	live_from = now - (writ_time)g.opt.spread_s;
	g.pruned = begins;
	span(&g, g.opt.expired, begins, begins + 600, true, 0);
	g.left = 0;
	group_end(&g);
	span(&g, g.opt.gone, begins + 600, live_from - LIFE_S - 10, false, 0);
	group_end(&g);
	span(&g, g.opt.live, live_from, now - 1, true, g.opt.tree);
	group_end(&g);
	must(entry_settled(&signer, journal_next(signer.journal)), "a settled entry");
	journal_sync(signer.journal);
	printf("grown: %llu entries\n", (unsigned long long)journal_next(signer.journal));
	store_close(g.store);
	journal_close(signer.journal);
	ledger_free(signer.ledger);
	conf_done(&g.conf);
	return 0;
}
