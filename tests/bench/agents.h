/*
 * Agents for the loads of tests/bench: their keys, their tasks, and a connection to the API.
 *
 * Knows the API as deploy/api/v1.yaml describes it.  Whatever fails here ends the program: nothing is measured without
 * it.
 */
#ifndef WRIT_TESTS_AGENTS_H
#define WRIT_TESTS_AGENTS_H

#include <openssl/evp.h>
#include <openssl/ssl.h>

#define ANSWER_MAX (64 * 1024)

struct agent {
	EVP_PKEY *key;
	char task[64];
	char *request; /* the leaf request, whole */
	size_t request_len;
	char *item; /* the same, as an item of POST /v1/batch */
	char *leaf; /* PEM of leaf and issuing CA; mode renew */
};

/* Where the API is, and what tasks are about. */
struct target {
	const char *host, *ca, *agent_class, *action, *resource, *audience;
	int port;
};
extern struct target target;

void die(const char *what) __attribute__((noreturn));
double now_s(void);

SSL_CTX *client_ctx(void);
SSL *dial(SSL_CTX *);
void hang_up(SSL *);

/* Sends a request and reads its whole answer; returns the status, 0 when the connection is gone.  ask(): into
 * ANSWER_MAX. */
int ask_into(SSL *, const char *request, size_t len, char *answer, size_t answer_max, size_t *answer_len);
int ask(SSL *, const char *request, size_t len, char *answer, size_t *answer_len);

/* The string value of a member, unescaping \n only; enough for our own server's answers. */
char *member(const char *json, const char *name);

/* A key, a task that the delegator opens for it, and the request for its leaf. */
void make_agent(struct agent *, SSL *delegator, char *answer);

#endif
