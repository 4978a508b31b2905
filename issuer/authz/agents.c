/*
 * A hash table with chains, and a list in the order of arrival: see agents.h.
 */
#include "issuer/authz/agents.h"

#include <stdlib.h>
#include <sys/queue.h>

#include "base/text.h"
#include "issuer/x509/leaf.h"

#define ARENA_MAX (64 * 1024) /* leaf.h */
#define HOPS_TEXT_MAX (HOPS_MAX * (PRINCIPAL_MAX + 1))

struct entry {
	LIST_ENTRY(entry) chain;
	TAILQ_ENTRY(entry) age;
	uint8_t sha256[32];
	struct agent_seen seen;
	struct writ_buf ids, principals;
};

LIST_HEAD(chain, entry);

struct agents {
	uint32_t max, n, n_chains;  /* chains: a power of two */
	TAILQ_HEAD(, entry) by_age; /* oldest first */
	struct chain *chains;
};

static struct chain *
chain_of(const struct agents *agents, const uint8_t sha256[32])
{
	return &agents->chains[writ_get32(sha256) & (agents->n_chains - 1)]; /* a digest is spread evenly */
}

static void
entry_free(struct entry *entry)
{
	writ_agent_free(entry->seen.agent);
	writ_buf_done(&entry->ids);
	writ_buf_done(&entry->principals);
	free(entry);
}

static void
entry_drop(struct agents *agents, struct entry *entry)
{
	LIST_REMOVE(entry, chain);
	TAILQ_REMOVE(&agents->by_age, entry, age);
	agents->n--;
	entry_free(entry);
}

struct writ_err *
agents_new(uint32_t max, struct agents **ret)
{
	struct agents *agents = calloc(1, sizeof(*agents));

	*ret = NULL;
	if (!agents)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the agents");
	agents->max = max;
	for (agents->n_chains = 64; agents->n_chains < max; agents->n_chains *= 2)
		continue;
	TAILQ_INIT(&agents->by_age);
	agents->chains = calloc(agents->n_chains, sizeof(*agents->chains));
	if (!agents->chains) {
		free(agents);
		return writ_fail(WRIT_EXHAUSTED, "no memory for %u agents", max);
	}
	*ret = agents;
	return NULL;
}

void
agents_clear(struct agents *agents)
{
	while (!TAILQ_EMPTY(&agents->by_age))
		entry_drop(agents, TAILQ_FIRST(&agents->by_age));
}

void
agents_free(struct agents *agents)
{
	if (!agents)
		return;
	agents_clear(agents);
	free(agents->chains);
	free(agents);
}

void
agents_freep(struct agents **agents)
{
	agents_free(*agents);
}

uint32_t
agents_count(const struct agents *agents)
{
	return agents->n;
}

const struct agent_seen *
agents_find(struct agents *agents, const uint8_t sha256[32], writ_time now)
{
	struct entry *entry;

	LIST_FOREACH(entry, chain_of(agents, sha256), chain)
	{
		if (memcmp(entry->sha256, sha256, 32) != 0)
			continue;
		if (now <= writ_agent_expires_at(entry->seen.agent))
			return &entry->seen;
		entry_drop(agents, entry); /* a newer list may carry it further: it is verified anew */
		return NULL;
	}
	return NULL;
}

/* Who stands behind it: read once, told at each decision. */
static struct writ_err *
hops_tell(struct entry *entry, struct writ_bytes der)
{
	AUTO(writ_arena_done) struct writ_arena arena = WRIT_ARENA(ARENA_MAX);
	char hex[2 * EDGE_ID + 1];
	struct writ_err *err;
	struct leaf leaf;

	err = leaf_read(der, &arena, &leaf);
	for (size_t i = 0; !err && i < leaf.delegation.n_hops; i++) {
		const struct hop *hop = &leaf.delegation.hops[i];
		const char *const space = i > 0 ? " " : "";

		err = writ_buf_printf(&entry->ids, "%s%s", space, writ_hex(hop->id, hex));
		if (!err)
			err = writ_buf_printf(&entry->principals, "%s%.*s", space, (int)hop->principal.len,
					      (const char *)hop->principal.data);
	}
	entry->seen.hop_ids = writ_view(&entry->ids);
	entry->seen.hop_principals = writ_view(&entry->principals);
	return err;
}

struct writ_err *
agents_add(struct agents *agents, struct writ_agent *agent, struct writ_bytes der, const struct agent_seen **ret)
{
	struct entry *entry = calloc(1, sizeof(*entry));
	struct writ_err *err;

	*ret = NULL;
	if (!entry) {
		writ_agent_free(agent);
		return writ_fail(WRIT_EXHAUSTED, "no memory for an agent");
	}
	entry->seen.agent = agent;
	entry->ids = WRIT_BUF(HOPS_TEXT_MAX);
	entry->principals = WRIT_BUF(HOPS_TEXT_MAX);
	memcpy(entry->sha256, writ_agent_sha256(agent), sizeof(entry->sha256));
	err = hops_tell(entry, der);
	if (err) {
		entry_free(entry);
		return writ_because(err, "the hops of a verified leaf");
	}
	while (agents->n >= agents->max)
		entry_drop(agents, TAILQ_FIRST(&agents->by_age));
	LIST_INSERT_HEAD(chain_of(agents, entry->sha256), entry, chain);
	TAILQ_INSERT_TAIL(&agents->by_age, entry, age);
	agents->n++;
	*ret = &entry->seen;
	return NULL;
}
