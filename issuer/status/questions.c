/*
 * Each question is in its bucket from its birth to its end, and until it is put in the line of those that wait.
 */
#include "issuer/status/questions.h"

#include <stdlib.h>

void
questions_init(struct questions *questions, bool (*ask)(void *, struct writ_bytes, struct writ_bytes, void *),
	       void *ctx)
{
	*questions = (struct questions){ .ask = ask, .ctx = ctx };
	for (size_t i = 0; i < QUESTION_BUCKETS; i++)
		LIST_INIT(&questions->by_hash[i]);
	TAILQ_INIT(&questions->turns);
}

void
questions_done(struct questions *questions)
{
	for (size_t i = 0; i < QUESTION_BUCKETS; i++)
		while (!LIST_EMPTY(&questions->by_hash[i]))
			questions_drop(questions, LIST_FIRST(&questions->by_hash[i]));
}

struct question *
questions_find(const struct questions *questions, uint64_t hash, struct writ_bytes cert_id)
{
	struct question *question;

	LIST_FOREACH(question, &questions->by_hash[hash % QUESTION_BUCKETS], same_bucket)
	if (question->hash == hash && question->nonce_len == 0 && writ_equal(question_id(question), cert_id))
		return question;
	return NULL;
}

static bool
put(struct questions *questions, struct question *question)
{
	const struct writ_bytes nonce = { question->bytes + question->cert_id_len, question->nonce_len };

	question->put = questions->ask(questions->ctx, question_id(question), nonce, question);
	questions->n_put += question->put;
	return question->put;
}

/* In line; nobody overtakes those that wait already. */
static bool
put_or_wait(struct questions *questions, struct question *question)
{
	if (questions->n_waiting == 0 && put(questions, question))
		return true;
	if (questions->n_put == 0 || questions->n_waiting >= QUESTIONS_WAITING_MAX)
		return false;
	TAILQ_INSERT_TAIL(&questions->turns, question, turn);
	questions->n_waiting++;
	return true;
}

struct question *
questions_new(struct questions *questions, const struct question *about, struct writ_bytes cert_id,
	      struct writ_bytes nonce)
{
	struct question *question = malloc(sizeof(*question) + cert_id.len + nonce.len);

	if (!question)
		return NULL;
	*question = *about;
	question->put = false;
	question->waiters = NULL;
	question->cert_id_len = cert_id.len;
	question->nonce_len = nonce.len;
	memcpy(question->bytes, cert_id.data, cert_id.len);
	if (nonce.len > 0)
		memcpy(question->bytes + cert_id.len, nonce.data, nonce.len);
	if (!put_or_wait(questions, question)) {
		free(question);
		return NULL;
	}
	LIST_INSERT_HEAD(&questions->by_hash[question->hash % QUESTION_BUCKETS], question, same_bucket);
	return question;
}

void
questions_again(struct questions *questions, struct question *question)
{
	questions->n_put--;
	if (put(questions, question))
		return;
	TAILQ_INSERT_HEAD(&questions->turns, question, turn); /* over the limit by what was put: a window of `ask` */
	questions->n_waiting++;
}

void
questions_drop(struct questions *questions, struct question *question)
{
	if (question->put) {
		questions->n_put--;
	} else {
		TAILQ_REMOVE(&questions->turns, question, turn);
		questions->n_waiting--;
	}
	LIST_REMOVE(question, same_bucket);
	while (question->waiters) {
		struct waiter *next = question->waiters->next;

		free(question->waiters);
		question->waiters = next;
	}
	free(question);
}

void
questions_pump(struct questions *questions)
{
	struct question *first;

	while ((first = TAILQ_FIRST(&questions->turns)) && put(questions, first)) {
		TAILQ_REMOVE(&questions->turns, first, turn);
		questions->n_waiting--;
	}
}

struct question *
questions_stranded(const struct questions *questions)
{
	return questions->n_put == 0 ? TAILQ_FIRST(&questions->turns) : NULL;
}
