/*
 * SQLite's own page cache, spared one walk through all of it.
 *
 * When a page of an index is split and the new order of its siblings is not that of their numbers, SQLite sorts them by
 * way of a number far beyond the file, that of the page which holds its locks.  The cache then believes that it may
 * hold pages beyond the file's end and looks for them, in every page that it has, when the transaction ends: 16,000 of
 * them, for most groups of leaves, 5 % of what a renewal costs.  Here it is remembered which numbers the cache may
 * really hold, and what would be looked for in vain is not.
 *
 * Knows nothing of what the pages are.  Threading: a cache is its connection's; what is shared is the original's.
 */
#include "issuer/store/sqlite.h"

#include <stdlib.h>

struct pages {
	sqlite3_pcache *real;
	unsigned newest; /* no page has a greater number, but `aside` */
	unsigned aside;	 /* a page was given this number, to be sorted; 0: none */
};

static sqlite3_pcache_methods2 real; /* the original's; once set it stays */

static struct pages *
pages_of(sqlite3_pcache *cache)
{
	return (struct pages *)cache;
}

static sqlite3_pcache *
pages_create(int page_len, int extra_len, int purgeable)
{
	struct pages *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->real = real.xCreate(page_len, extra_len, purgeable);
	if (p->real)
		return (sqlite3_pcache *)p;
	free(p);
	return NULL;
}

static void
pages_destroy(sqlite3_pcache *cache)
{
	real.xDestroy(pages_of(cache)->real);
	free(cache);
}

static void
pages_limit(sqlite3_pcache *cache, int n)
{
	real.xCachesize(pages_of(cache)->real, n);
}

static int
pages_count(sqlite3_pcache *cache)
{
	return real.xPagecount(pages_of(cache)->real);
}

static sqlite3_pcache_page *
pages_fetch(sqlite3_pcache *cache, unsigned number, int create)
{
	struct pages *p = pages_of(cache);
	sqlite3_pcache_page *page = real.xFetch(p->real, number, create);

	if (page && number > p->newest)
		p->newest = number;
	return page;
}

static void
pages_unpin(sqlite3_pcache *cache, sqlite3_pcache_page *page, int discard)
{
	real.xUnpin(pages_of(cache)->real, page, discard);
}

static void
pages_rekey(sqlite3_pcache *cache, sqlite3_pcache_page *page, unsigned from, unsigned to)
{
	struct pages *p = pages_of(cache);

	real.xRekey(p->real, page, from, to);
	if (from == p->aside)
		p->aside = 0;
	if (to <= p->newest)
		return;
	if (p->aside != 0) /* two at once is not how it sorts: then the greater counts as any other */
		p->newest = to < p->aside ? p->aside : to;
	else
		p->aside = to;
}

static void
pages_truncate(sqlite3_pcache *cache, unsigned from)
{
	struct pages *p = pages_of(cache);

	if (from > p->newest && p->aside == 0)
		return;
	real.xTruncate(p->real, from);
	if (from <= p->newest)
		p->newest = from - 1;
	if (from <= p->aside)
		p->aside = 0;
}

static void
pages_shrink(sqlite3_pcache *cache)
{
	real.xShrink(pages_of(cache)->real);
}

void
sqlite_pages_setup(void)
{
	sqlite3_pcache_methods2 ours;

	if (sqlite3_config(SQLITE_CONFIG_GETPCACHE2, &real) != SQLITE_OK)
		return; /* SQLite works without us */
	ours = real; /* its version, its argument, its beginning and end */
	ours.xCreate = pages_create;
	ours.xDestroy = pages_destroy;
	ours.xCachesize = pages_limit;
	ours.xPagecount = pages_count;
	ours.xFetch = pages_fetch;
	ours.xUnpin = pages_unpin;
	ours.xRekey = pages_rekey;
	ours.xTruncate = pages_truncate;
	ours.xShrink = pages_shrink;
	sqlite3_config(SQLITE_CONFIG_PCACHE2, &ours);
}
