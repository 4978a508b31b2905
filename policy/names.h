/*
 * Names and patterns: SPIFFE IDs, actions, resources; what matches and what covers (delegation.md 4.1, 4.2, 7).
 *
 * Input not in canonical form is refused, never normalised: normalising is how two parsers come to disagree.  Comparison is
 * bytewise, on segments.  Knows no files, clock, network or keys.  Thread-safe: no state.
 */
#ifndef WRIT_POLICY_NAMES_H
#define WRIT_POLICY_NAMES_H

#include "base/bytes.h"

#define ACTION_MAX 128		/* octets; delegation.md 3.2 */
#define RESOURCE_MAX 512
#define PRINCIPAL_MAX 512
#define TRUST_DOMAIN_MAX 64	/* it is an X.520 O as well */
#define TASK_ID_LEN_MAX 59

enum principal_kind { PRINCIPAL_HUMAN = 0, PRINCIPAL_SERVICE = 1, PRINCIPAL_AGENT = 2 };	/* PrincipalKind's values */

const char *principal_kind_name(enum principal_kind);	/* "human", "service", "agent" */
bool principal_kind_from(struct writ_bytes, enum principal_kind *ret);

/* A SPIFFE ID of ours taken apart; views into the text. */
struct spiffe_id {
	struct writ_bytes trust_domain;
	enum principal_kind kind;
	struct writ_bytes path;		/* from its first '/' on */
	struct writ_bytes class_uri;	/* agents: "spiffe://TD/agent/CLASS" */
	struct writ_bytes class_name, instance;		/* agents; instance empty for a class */
};

/* spiffe://TD/human/ALIAS/SUB, /service/PATH..., /agent/CLASS[/INSTANCE]; segments [A-Za-z0-9._-], never "." or "..". */
WRIT_CHECKED struct writ_err *spiffe_parse(struct writ_bytes uri, struct spiffe_id *ret);

WRIT_CHECKED struct writ_err *trust_domain_check(struct writ_bytes);
WRIT_CHECKED struct writ_err *task_id_check(struct writ_bytes);		/* [A-Za-z0-9._-]{1,59} */
WRIT_CHECKED struct writ_err *action_check(struct writ_bytes);		/* pattern or plain */
WRIT_CHECKED struct writ_err *resource_check(struct writ_bytes);	/* pattern or plain */
bool action_is_pattern(struct writ_bytes);
bool resource_is_pattern(struct writ_bytes);

/* Does every name that `child` matches also match `parent`?  Both in canonical form.  Reflexive, transitive, antisymmetric. */
bool action_covers(struct writ_bytes parent, struct writ_bytes child);
bool resource_covers(struct writ_bytes parent, struct writ_bytes child);

/* A rule's pattern of principals: a SPIFFE ID, or one ending in "/" "*" or "/" "**" (as resources; "spiffe://TD/" "**" is everybody). */
WRIT_CHECKED struct writ_err *principal_pattern_check(struct writ_bytes);
bool principal_matches(struct writ_bytes pattern, struct writ_bytes principal);

#endif
