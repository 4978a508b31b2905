/*
 * What `writ delegate` and `writ grant` both read from their options: agent, scope, audience, constraints, depth, end.
 */
#ifndef WRIT_ISSUER_CLI_DELEGATE_H
#define WRIT_ISSUER_CLI_DELEGATE_H

#include <jansson.h>

#include "issuer/cli/cli.h"

#define DELEGATE_ENDS_MAX_S 28800

#define DELEGATE_OPTIONS                                                                                               \
	{ "--agent", OPTION_VALUE, true, NULL }, { "--key-of", OPTION_VALUE, false, NULL },                            \
		{ "--spki", OPTION_VALUE, false, NULL }, { "--allow", OPTION_LIST, false, NULL },                      \
		{ "--allow-delegable", OPTION_LIST, false, NULL }, { "--audience", OPTION_LIST, true, NULL },          \
		{ "--constraint", OPTION_LIST, false, NULL }, { "--depth", OPTION_VALUE, false, NULL },                \
		{ "--ends", OPTION_VALUE, false, NULL }, { "--purpose", OPTION_VALUE, false, NULL },                   \
	{                                                                                                              \
		"--task", OPTION_VALUE, false, NULL                                                                    \
	}

/* Scope, audience, constraints, depth and end: a delegation but for the agent and its key. */
WRIT_CHECKED struct writ_err *delegate_terms(const struct options *, json_t *body);

/* The members of POST /v1/tasks (or, by an agent, of /v1/delegations), set in `body`. */
WRIT_CHECKED struct writ_err *delegate_body(const struct options *, bool by_agent, json_t *body);

#endif
