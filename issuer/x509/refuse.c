/*
 * Refusals put into words, and their names.
 */
#include "issuer/x509/refuse.h"

#include <stdio.h>

WRIT_PRINTF(3, 0)
static void
why_set(struct writ_why *why, const char *rule, const char *fmt, va_list args)
{
	const size_t room = sizeof(why->text);
	const int n = vsnprintf(why->text, room, fmt, args);

	(void)snprintf(why->rule, sizeof(why->rule), "%s", rule);
	for (char *c = why->text; *c; c++)
		if ((uint8_t)*c < 0x20 || *c == 0x7f)
			*c = '?';
	if (n >= 0 && (size_t)n >= room)
		memcpy(why->text + room - 4, "...", 4);
}

enum writ_refusal
refuse(struct writ_why *why, enum writ_refusal code, const char *rule, const char *fmt, ...)
{
	va_list args;

	if (!why)
		return code;
	va_start(args, fmt);
	why_set(why, rule, fmt, args);
	va_end(args);
	return code;
}

enum writ_refusal
refuse_err(struct writ_why *why, enum writ_refusal code, const char *rule, const char *who, struct writ_err *err)
{
	char text[sizeof(why->text)];

	if (err->code == WRIT_EXHAUSTED)
		code = WRIT_REFUSED_MEMORY;
	writ_err_text(err, text, sizeof(text));
	writ_err_free(err);
	return refuse(why, code, rule, "%s%s%s", who, *who ? ": " : "", text);
}

const char *
writ_refusal_name(enum writ_refusal refusal)
{
	static const char *const names[] = {
		[WRIT_OK] = "OK",
		[WRIT_REFUSED_MISUSE] = "MISUSE",
		[WRIT_REFUSED_MEMORY] = "MEMORY",
		[WRIT_REFUSED_ENCODING] = "ENCODING",
		[WRIT_REFUSED_PROFILE] = "PROFILE",
		[WRIT_REFUSED_NO_DELEGATION] = "NO_DELEGATION",
		[WRIT_REFUSED_DELEGATION] = "DELEGATION",
		[WRIT_REFUSED_PATH] = "PATH",
		[WRIT_REFUSED_TIME] = "TIME",
		[WRIT_REFUSED_TRUST_DOMAIN] = "TRUST_DOMAIN",
		[WRIT_REFUSED_SOFTWARE] = "SOFTWARE",
		[WRIT_REFUSED_STATUS] = "STATUS",
		[WRIT_REFUSED_REVOKED] = "REVOKED",
		[WRIT_REFUSED_AUDIENCE] = "AUDIENCE",
		[WRIT_REFUSED_POLICY] = "POLICY",
		[WRIT_REFUSED_DEMAND] = "DEMAND",
		[WRIT_REFUSED_REQUEST] = "REQUEST",
		[WRIT_REFUSED_NOT_ALLOWED] = "NOT_ALLOWED",
		[WRIT_REFUSED_CONSTRAINT] = "CONSTRAINT",
		[WRIT_REFUSED_EXPIRED] = "EXPIRED",
	};

	return (size_t)refusal < N_OF(names) ? names[refusal] : "?";
}

const char *
writ_version(void)
{
	return WRIT_VERSION;
}
