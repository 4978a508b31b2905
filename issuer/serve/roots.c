/*
 * Openers of tasks, remembered: see roots.h.  Names are keyed hashes, so nobody can push out whom he likes.
 */
#include "issuer/serve/roots.h"

#include <stdlib.h>

#define ROOTS 65536 /* tasks that one loop has at once; the store is asked at 25 us each, a fifteenth of an issuance */

struct roots {
	struct {
		uint64_t task, root; /* 0: free */
	} known[ROOTS];
};

struct writ_err *
roots_new(struct roots **ret)
{
	*ret = calloc(1, sizeof(**ret));
	return *ret ? NULL : writ_fail(WRIT_EXHAUSTED, "no memory for the openers of tasks");
}

void
roots_free(struct roots *roots)
{
	free(roots);
}

static size_t
place_of(uint64_t task)
{
	return (task >> 1) % ROOTS;
}

void
roots_opened(struct roots *roots, const struct admission *admission, const struct store_task *task)
{
	const uint64_t name = admission_name(admission, task->id);
	const size_t at = place_of(name);

	roots->known[at].task = name;
	roots->known[at].root = admission_name(admission, task->opener);
}

uint64_t
roots_of_task(struct roots *roots, const struct admission *admission, struct store *store, struct writ_bytes id,
	      struct writ_arena *arena)
{
	const uint64_t name = admission_name(admission, id);
	const size_t at = place_of(name);
	struct store_task task;
	struct writ_err *err;

	if (roots->known[at].task == name)
		return roots->known[at].root;
	err = store_task(store, id, arena, &task);
	if (err) { /* whoever asks for it hears why, when its turn has come */
		writ_err_free(err);
		return 0;
	}
	roots_opened(roots, admission, &task);
	return roots->known[at].root;
}
