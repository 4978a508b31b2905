/*
 * The writer's chores: see chores.h.
 */
#include "issuer/serve/chores.h"

#include <stdlib.h>

#include "base/event.h"
#include "issuer/log/journal.h"
#include "issuer/log/json.h"
#include "issuer/serve/control.h"

#define ARENA_MAX ((size_t)CHORES_MAX * (SIGNER_SAID_MAX + 64)) /* bytes */

/* ---- notes ---- */

struct notes {
	struct writ_arena arena;
	struct control_note notes[CHORES_MAX];
	size_t n;
	uint64_t last;
};

static void
notes_freep(struct notes **notes)
{
	if (*notes)
		writ_arena_done(&(*notes)->arena);
	free(*notes);
}

static struct writ_err *
note_take(uint64_t number, unsigned type, struct writ_bytes text, void *ctx)
{
	struct notes *notes = ctx;
	struct control_note *note = &notes->notes[notes->n];

	*note = (struct control_note){ .type = (uint8_t)type, .said = writ_arena_copy(&notes->arena, text) };
	if (!note->said.data)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the journal's notes");
	notes->last = number;
	notes->n++;
	return NULL;
}

/* A note that the signer will never have must not keep the others waiting. */
static bool
is_hopeless(const struct writ_err *refused)
{
	return refused->code != WRIT_EXHAUSTED && refused->code != WRIT_UNAVAILABLE;
}

/* Store trouble is told and tried again; it is no trouble of the connection. */
static void
put_off(const char *what, struct writ_err *err)
{
	event(EVENT_WARN, what, EV_ERR(err));
	writ_err_free(err);
}

struct writ_err *
chores_notes(struct store *store, int control, writ_time now, unsigned *ret_n, bool *ret_all)
{
	AUTO(notes_freep) struct notes *notes = calloc(1, sizeof(*notes));
	AUTO(writ_err_freep) struct writ_err *refused = NULL;
	struct store_item item = { .op = STORE_NOTED, .now = now };
	struct writ_err *err;

	*ret_n = 0;
	*ret_all = false;
	if (!notes)
		return NULL;
	notes->arena = WRIT_ARENA(ARENA_MAX);
	err = store_notes(store, CHORES_MAX, note_take, notes);
	if (err) {
		put_off("writer.notes", err);
		return NULL;
	}
	*ret_all = notes->n == 0;
	if (notes->n == 0)
		return NULL;
	err = control_notes(control, notes->notes, notes->n, &refused);
	if (err)
		return err;
	if (refused) {
		event(EVENT_ALARM, "writer.note_refused", EV_NUM("notes", notes->n), EV_ERR(refused));
		if (!is_hopeless(refused))
			return NULL;
	}
	item.noted = notes->last;
	err = store_commit(store, &item, 1);
	if (!err)
		err = TAKE(item.result);
	if (err) {
		put_off("writer.notes", err);
		return NULL;
	}
	*ret_n = (unsigned)notes->n;
	*ret_all = notes->n < CHORES_MAX;
	return NULL;
}

/* ---- the end of a task's time ---- */

struct ended {
	struct writ_arena arena;
	struct store_task tasks[CHORES_MAX];
	struct store_item items[CHORES_MAX];
	unsigned n;
	writ_time now;
};

static void
ended_freep(struct ended **ended)
{
	if (*ended)
		writ_arena_done(&(*ended)->arena);
	free(*ended);
}

static struct writ_err *
ended_take(struct writ_bytes task, writ_time ends, void *ctx)
{
	AUTO(writ_buf_done) struct writ_buf said = WRIT_BUF(SIGNER_SAID_MAX);
	struct canon_out out = canon_write(&said);
	struct ended *ended = ctx;
	struct store_item *item = &ended->items[ended->n];
	struct writ_err *err;

	canon_object(&out, NULL);
	canon_int(&out, "ended", ends);
	canon_text(&out, "state", WRIT_LIT("expired"));
	canon_text(&out, "task", task);
	canon_end(&out);
	err = canon_finish(&out);
	if (err)
		return err;
	ended->tasks[ended->n].id = writ_arena_copy(&ended->arena, task);
	*item = (struct store_item){ .op = STORE_CLOSE,
				     .task = &ended->tasks[ended->n],
				     .note = writ_arena_copy(&ended->arena, writ_view(&said)),
				     .note_type = ENTRY_TASK,
				     .now = ended->now };
	if (!item->task->id.data || !item->note.data)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the tasks that have ended");
	ended->n++;
	return NULL;
}

struct writ_err *
chores_close(struct store *store, writ_time now, unsigned *ret_n)
{
	AUTO(ended_freep) struct ended *ended = calloc(1, sizeof(*ended));
	struct writ_err *err;

	*ret_n = 0;
	if (!ended)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the tasks that have ended");
	ended->arena = WRIT_ARENA(ARENA_MAX);
	ended->now = now;
	err = store_ended(store, now, CHORES_MAX, ended_take, ended);
	if (!err && ended->n > 0)
		err = store_commit(store, ended->items, ended->n);
	for (unsigned i = 0; i < ended->n && !err; i++) {
		err = TAKE(ended->items[i].result);
		*ret_n += !err;
	}
	return err;
}

/* ---- freezes ---- */

static struct writ_err *
freeze_count(const struct store_freeze *freeze, void *ctx)
{
	(void)freeze;
	(*(unsigned *)ctx)++;
	return NULL;
}

struct writ_err *
chores_frozen(struct store *store, unsigned *ret_n)
{
	*ret_n = 0;
	return store_freezes(store, freeze_count, ret_n);
}
