/*
 * Who stands at the root of a task: the human or service that opened it, the same for every delegation below.
 *
 * Asked at each request for a certificate, before anything of it is read, so it is remembered, from the task's opening
 * on where that came to the same loop: a task's opener never changes.  The memory is a table of fixed size (1 MB), where
 * the newer takes the older's place.  Threading: the loop's.
 */
#ifndef WRIT_ISSUER_SERVE_ROOTS_H
#define WRIT_ISSUER_SERVE_ROOTS_H

#include "issuer/serve/admission.h"
#include "issuer/store/store.h"

struct roots;

WRIT_CHECKED struct writ_err *roots_new(struct roots **ret);
void roots_free(struct roots *);

/* The opener's name as admission has it; 0: there is no such task, or the store cannot be read.  The arena is for the
 * way there. */
uint64_t roots_of_task(struct roots *, const struct admission *, struct store *, struct writ_bytes task,
		       struct writ_arena *);

/* What the store would say: `task` was opened. */
void roots_opened(struct roots *, const struct admission *, const struct store_task *task);

#endif
