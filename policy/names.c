/*
 * Names and patterns, as delegation.md 4.1, 4.2 and 7 write them down.  The checks read in the order of the grammar;
 * whoever asks what covers what may assume that both texts passed them.
 */
#include "policy/names.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static struct writ_err *
bad(const char *what, struct writ_bytes text, const char *why)
{
	return writ_fail(WRIT_INVALID, "%s '%.*s': %s", what, WRIT_FMT(text), why);
}

static bool
is_lower(uint8_t c)
{
	return c >= 'a' && c <= 'z';
}

static bool
is_upper(uint8_t c)
{
	return c >= 'A' && c <= 'Z';
}

static bool
is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

/* [A-Za-z0-9._-]: segments of SPIFFE IDs, task ids. */
static bool
is_plain(uint8_t c)
{
	return is_lower(c) || is_upper(c) || is_digit(c) || c == '.' || c == '_' || c == '-';
}

/* RFC 3986 2.3 */
static bool
is_unreserved(uint8_t c)
{
	return is_plain(c) || c == '~';
}

/* What may stand in a segment as it is: pchar of RFC 3986 without '*' and '%'. */
static bool
is_pchar(uint8_t c)
{
	return is_unreserved(c) || (c != 0 && strchr("!$&'()+,;=:@", c));
}

static bool
is_text(struct writ_bytes bytes, const char *text)
{
	return writ_equal(bytes, writ_str(text));
}

static bool
is_dots(struct writ_bytes segment)
{
	return is_text(segment, ".") || is_text(segment, "..");
}

static bool
starts_with(struct writ_bytes text, struct writ_bytes prefix)
{
	return text.len >= prefix.len && memcmp(text.data, prefix.data, prefix.len) == 0;
}

static bool
ends_with(struct writ_bytes text, struct writ_bytes suffix)
{
	return text.len >= suffix.len && memcmp(text.data + text.len - suffix.len, suffix.data, suffix.len) == 0;
}

static struct writ_bytes
first_of(struct writ_bytes text, size_t len)
{
	return (struct writ_bytes){ text.data, len };
}

static struct writ_bytes
without(struct writ_bytes text, size_t len)
{
	return (struct writ_bytes){ text.data + len, text.len - len };
}

/* What stands before the first `c`: all of it, when there is none. */
static struct writ_bytes
until(struct writ_bytes text, char c)
{
	const uint8_t *at = text.len ? memchr(text.data, c, text.len) : NULL;

	return at ? first_of(text, (size_t)(at - text.data)) : text;
}

/* Cuts "/segment" off a path that starts with '/'. */
static struct writ_bytes
cut_segment(struct writ_bytes *path)
{
	struct writ_bytes segment = until(without(*path, 1), '/');

	*path = without(*path, 1 + segment.len);
	return segment;
}

/* A pattern apart: what stands before its wildcard, and how far the wildcard reaches below that. */
struct pattern {
	struct writ_bytes base;
	enum { REACH_NOTHING, REACH_ONE, REACH_ALL } reach;
};

static struct pattern
resource_pattern(struct writ_bytes text)
{
	if (ends_with(text, WRIT_LIT("/**")))
		return (struct pattern){ first_of(text, text.len - 3), REACH_ALL };
	if (ends_with(text, WRIT_LIT("/*")))
		return (struct pattern){ first_of(text, text.len - 2), REACH_ONE };
	return (struct pattern){ text, REACH_NOTHING };
}

static struct pattern
action_pattern(struct writ_bytes text)
{
	if (ends_with(text, WRIT_LIT(":*")))
		return (struct pattern){ first_of(text, text.len - 2), REACH_ALL };
	return (struct pattern){ text, REACH_NOTHING };
}

/* delegation.md 4.2.  A wildcard never matches its own base, so "/a/" "**" reaches "/a/" "*" but not "/a". */
static bool
pattern_covers(struct pattern parent, struct pattern child, char separator)
{
	const bool begins = starts_with(child.base, parent.base);
	const bool same = begins && child.base.len == parent.base.len;
	const bool below = begins && !same && child.base.data[parent.base.len] == separator;

	switch (parent.reach) {
	case REACH_NOTHING:
		return same && child.reach == REACH_NOTHING;
	case REACH_ONE:
		if (child.reach != REACH_NOTHING)
			return same && child.reach == REACH_ONE;
		return below &&
		       !memchr(child.base.data + parent.base.len + 1, separator, child.base.len - parent.base.len - 1);
	case REACH_ALL:
		return below || (same && child.reach != REACH_NOTHING);
	}
	return false;
}

bool
action_covers(struct writ_bytes parent, struct writ_bytes child)
{
	return pattern_covers(action_pattern(parent), action_pattern(child), ':');
}

bool
resource_covers(struct writ_bytes parent, struct writ_bytes child)
{
	return pattern_covers(resource_pattern(parent), resource_pattern(child), '/');
}

bool
action_is_pattern(struct writ_bytes text)
{
	return action_pattern(text).reach != REACH_NOTHING;
}

bool
resource_is_pattern(struct writ_bytes text)
{
	return resource_pattern(text).reach != REACH_NOTHING;
}

bool
principal_matches(struct writ_bytes pattern, struct writ_bytes principal)
{
	return !resource_is_pattern(principal) && resource_covers(pattern, principal);
}

const char *
principal_kind_name(enum principal_kind kind)
{
	switch (kind) {
	case PRINCIPAL_HUMAN:
		return "human";
	case PRINCIPAL_SERVICE:
		return "service";
	case PRINCIPAL_AGENT:
		return "agent";
	}
	return "unknown";
}

bool
principal_kind_from(struct writ_bytes text, enum principal_kind *ret)
{
	for (unsigned kind = PRINCIPAL_HUMAN; kind <= PRINCIPAL_AGENT; kind++) {
		if (is_text(text, principal_kind_name((enum principal_kind)kind))) {
			*ret = (enum principal_kind)kind;
			return true;
		}
	}
	return false;
}

struct writ_err *
trust_domain_check(struct writ_bytes text)
{
	if (text.len == 0)
		return writ_fail(WRIT_INVALID, "trust domain is empty");
	if (text.len > TRUST_DOMAIN_MAX)
		return writ_fail(WRIT_INVALID, "trust domain '%.*s' has %zu octets, at most %d", WRIT_FMT(text),
				 text.len, TRUST_DOMAIN_MAX);
	for (size_t i = 0; i < text.len; i++) {
		const uint8_t c = text.data[i];

		if (!is_plain(c) || is_upper(c))
			return bad("trust domain", text, "only lower-case a-z, 0-9, '.', '_' and '-'");
		if (c == '.' && (i == 0 || i + 1 == text.len || text.data[i - 1] == '.'))
			return bad("trust domain", text, "a label is empty");
	}
	return NULL;
}

struct writ_err *
task_id_check(struct writ_bytes text)
{
	if (text.len == 0)
		return writ_fail(WRIT_INVALID, "task id is empty");
	if (text.len > TASK_ID_LEN_MAX)
		return writ_fail(WRIT_INVALID, "task id '%.*s' has %zu octets, at most %d", WRIT_FMT(text), text.len,
				 TASK_ID_LEN_MAX);
	for (size_t i = 0; i < text.len; i++)
		if (!is_plain(text.data[i]))
			return bad("task id", text, "only A-Z, a-z, 0-9, '.', '_' and '-'");
	return NULL;
}

/* What every SPIFFE ID and pattern begins with; the path after it must have good segments, of which the first 3 are
 * kept. */
static struct writ_err *
spiffe_split(struct writ_bytes whole, struct writ_bytes uri, struct spiffe_id *ret, struct writ_bytes segments[3],
	     unsigned *ret_n)
{
	struct writ_err *err;
	struct writ_bytes rest;

	if (whole.len > PRINCIPAL_MAX)
		return writ_fail(WRIT_INVALID, "SPIFFE ID '%.*s' has %zu octets, at most %d", WRIT_FMT(whole),
				 whole.len, PRINCIPAL_MAX);
	if (!starts_with(uri, WRIT_LIT("spiffe://")))
		return bad("SPIFFE ID", whole, "does not begin with spiffe://");
	rest = without(uri, strlen("spiffe://"));
	ret->trust_domain = until(rest, '/');
	err = trust_domain_check(ret->trust_domain);
	if (err)
		return writ_because(err, "SPIFFE ID '%.*s'", WRIT_FMT(whole));

	ret->path = without(rest, ret->trust_domain.len);
	*ret_n = 0;
	for (rest = ret->path; rest.len > 0; (*ret_n)++) {
		const struct writ_bytes segment = cut_segment(&rest);

		if (segment.len == 0)
			return bad("SPIFFE ID", whole, "a segment is empty");
		if (is_dots(segment))
			return bad("SPIFFE ID", whole, "has a '.' or '..' segment");
		for (size_t i = 0; i < segment.len; i++)
			if (!is_plain(segment.data[i]))
				return bad("SPIFFE ID", whole,
					   "a segment holds more than A-Z, a-z, 0-9, '.', '_' and '-'");
		if (*ret_n < 3)
			segments[*ret_n] = segment;
	}
	return NULL;
}

#define SPIFFE_FORMS "is not /human/ALIAS/SUB, /service/PATH or /agent/CLASS[/INSTANCE]"

struct writ_err *
spiffe_parse(struct writ_bytes uri, struct spiffe_id *ret)
{
	struct writ_bytes segments[3];
	struct writ_err *err;
	unsigned n;

	*ret = (struct spiffe_id){ 0 };
	err = spiffe_split(uri, uri, ret, segments, &n);
	if (err)
		return err;
	if (n < 2 || !principal_kind_from(segments[0], &ret->kind) || (ret->kind == PRINCIPAL_HUMAN && n != 3) ||
	    (ret->kind == PRINCIPAL_AGENT && n > 3))
		return bad("SPIFFE ID", uri, SPIFFE_FORMS);
	if (ret->kind == PRINCIPAL_AGENT) {
		ret->class_name = segments[1];
		ret->class_uri = first_of(uri, (size_t)(segments[1].data - uri.data) + segments[1].len);
		if (n == 3)
			ret->instance = segments[2];
	}
	return NULL;
}

struct writ_err *
principal_pattern_check(struct writ_bytes text)
{
	const struct pattern pattern = resource_pattern(text);
	struct writ_bytes segments[3];
	enum principal_kind kind;
	struct spiffe_id id;
	struct writ_err *err;
	unsigned n;

	if (pattern.reach == REACH_NOTHING)
		return spiffe_parse(text, &id);
	err = spiffe_split(text, pattern.base, &id, segments, &n);
	if (err)
		return err;
	if (n == 0)
		return pattern.reach == REACH_ALL ? NULL
						  : bad("pattern", text, "matches nobody: no id has one segment");
	if (!principal_kind_from(segments[0], &kind))
		return bad("pattern", text, "matches nobody: the first segment is not human, service or agent");
	if (kind != PRINCIPAL_SERVICE && n > 2)
		return bad("pattern", text, "matches nobody: no id of that kind is so long");
	if (kind == PRINCIPAL_HUMAN && n == 1 && pattern.reach == REACH_ONE)
		return bad("pattern", text, "matches nobody: a human is /human/ALIAS/SUB");
	return NULL;
}

/* seg *( ":" seg ) [ ":" "*" ] */
struct writ_err *
action_check(struct writ_bytes text)
{
	struct writ_bytes rest = action_pattern(text).base;

	if (text.len == 0)
		return writ_fail(WRIT_INVALID, "action is empty");
	if (text.len > ACTION_MAX)
		return writ_fail(WRIT_INVALID, "action '%.*s' has %zu octets, at most %d", WRIT_FMT(text), text.len,
				 ACTION_MAX);
	for (;;) {
		const struct writ_bytes segment = until(rest, ':');

		if (segment.len == 0)
			return bad("action", text, "a segment is empty");
		for (size_t i = 0; i < segment.len; i++) {
			const uint8_t c = segment.data[i];

			if (c == '*')
				return bad("action", text, "'*' stands only at the end, after ':'");
			if (!is_lower(c) && !is_digit(c) && c != '_' && c != '-')
				return bad("action", text, "only lower-case a-z, 0-9, '_', '-', and ':' between");
		}
		if (segment.len == rest.len)
			return NULL;
		rest = without(rest, segment.len + 1);
	}
}

/* An address must be as inet_ntop writes it, so that one host has one name. */
static bool
is_canonical_address(int family, struct writ_bytes text)
{
	char in[INET6_ADDRSTRLEN], out[INET6_ADDRSTRLEN];
	struct in6_addr address;

	if (text.len >= sizeof(in))
		return false;
	memcpy(in, text.data, text.len);
	in[text.len] = '\0';
	return inet_pton(family, in, &address) == 1 && inet_ntop(family, &address, out, sizeof(out)) &&
	       strcmp(in, out) == 0;
}

/* URL parsers read a last label of digits, or one that starts with 0x, as a number: 0x7f.1 is 127.0.0.1 to them. */
static bool
looks_like_ipv4(struct writ_bytes host)
{
	size_t start = host.len, i;

	while (start > 0 && host.data[start - 1] != '.')
		start--;
	if (starts_with(without(host, start), WRIT_LIT("0x")))
		return true;
	for (i = start; i < host.len && is_digit(host.data[i]); i++)
		;
	return i == host.len;
}

/* What is wrong with a host, or NULL. */
static const char *
host_fault(struct writ_bytes host)
{
	if (host.len == 0)
		return "the host is empty";
	if (host.data[0] == '[') {
		if (!is_canonical_address(AF_INET6, (struct writ_bytes){ host.data + 1, host.len - 2 }))
			return "not an IPv6 address in its shortest form";
		return NULL;
	}
	for (size_t i = 0; i < host.len; i++) {
		const uint8_t c = host.data[i];

		if (is_upper(c))
			return "the host must be lower case";
		if (c == '*')
			return "the host may not hold a wildcard";
		if (!is_plain(c))
			return "the host holds more than a-z, 0-9, '.', '_' and '-'";
		if (c == '.' && (i == 0 || i + 1 == host.len || host.data[i - 1] == '.'))
			return "a label of the host is empty";
	}
	if (looks_like_ipv4(host) && !is_canonical_address(AF_INET, host))
		return "the host is a number but not a plain IPv4 address";
	return NULL;
}

/* A port that is the scheme's own is left out, so that one place has one name. */
static const struct {
	const char *scheme, *port, *fault;
} default_ports[] = {
	{ "http", "80", "port 80 is the default of http: leave it out" },
	{ "https", "443", "port 443 is the default of https: leave it out" },
	{ "ws", "80", "port 80 is the default of ws: leave it out" },
	{ "wss", "443", "port 443 is the default of wss: leave it out" },
	{ "ftp", "21", "port 21 is the default of ftp: leave it out" },
	{ "ssh", "22", "port 22 is the default of ssh: leave it out" },
	{ "ldap", "389", "port 389 is the default of ldap: leave it out" },
	{ "ldaps", "636", "port 636 is the default of ldaps: leave it out" },
};

#define PORT_FORM "the port is not a number from 1 to 65535 without leading zeros"

static const char *
port_fault(struct writ_bytes scheme, struct writ_bytes port)
{
	unsigned value = 0;

	if (port.len == 0 || port.len > 5 || port.data[0] == '0')
		return PORT_FORM;
	for (size_t i = 0; i < port.len; i++) {
		if (!is_digit(port.data[i]))
			return PORT_FORM;
		value = value * 10 + (port.data[i] - '0');
	}
	if (value > 65535)
		return PORT_FORM;
	for (size_t i = 0; i < N_OF(default_ports); i++)
		if (is_text(scheme, default_ports[i].scheme) && is_text(port, default_ports[i].port))
			return default_ports[i].fault;
	return NULL;
}

/* host [ ":" port ] */
static const char *
authority_fault(struct writ_bytes scheme, struct writ_bytes authority)
{
	struct writ_bytes host;
	const char *fault;

	if (authority.len > 0 && memchr(authority.data, '@', authority.len))
		return "user information may not stand before the host";
	if (authority.len > 0 && authority.data[0] == '[') {
		host = until(authority, ']');
		if (host.len == authority.len)
			return "']' is missing after the IPv6 address";
		host.len++;
	} else {
		host = until(authority, ':');
		if (host.len < authority.len && memchr(host.data + host.len + 1, ':', authority.len - host.len - 1))
			return "an IPv6 address stands in brackets";
	}
	fault = host_fault(host);
	if (fault || host.len == authority.len)
		return fault;
	if (authority.data[host.len] != ':')
		return "more than a port follows the IPv6 address";
	return port_fault(scheme, without(authority, host.len + 1));
}

/* The value of an upper-case hex digit; 16 for anything else. */
static unsigned
hex_value(uint8_t c)
{
	return is_digit(c) ? c - (unsigned)'0' : c >= 'A' && c <= 'F' ? c - (unsigned)'A' + 10 : 16;
}

static const char *
segment_fault(struct writ_bytes segment)
{
	if (segment.len == 0)
		return "a segment is empty, or it ends in '/'";
	if (is_dots(segment))
		return "has a '.' or '..' segment";
	for (size_t i = 0; i < segment.len; i++) {
		const uint8_t c = segment.data[i];
		unsigned high, low, value;

		if (c == '*')
			return "'*' and '**' stand only alone, as the last segment (a literal one is %2A)";
		if (c == '?')
			return "a query is no part of a resource";
		if (c == '#')
			return "a fragment is no part of a resource";
		if (c != '%') {
			if (!is_pchar(c))
				return "holds a character that must be percent-encoded";
			continue;
		}
		high = i + 1 < segment.len ? hex_value(segment.data[i + 1]) : 16;
		low = i + 2 < segment.len ? hex_value(segment.data[i + 2]) : 16;
		if (high > 15 || low > 15)
			return "'%' wants two digits 0-9 A-F after it";
		value = high << 4 | low;
		if (is_unreserved((uint8_t)value))
			return "percent-encodes a character that needs none";
		if (value == '/' || value == '\\' || value == 0)
			return "percent-encodes '/', '\\' or NUL";
		i += 2;
	}
	return NULL;
}

static const char *
scheme_fault(struct writ_bytes scheme)
{
	if (scheme.len == 0)
		return "the scheme is empty";
	for (size_t i = 0; i < scheme.len; i++) {
		const uint8_t c = scheme.data[i];

		if (is_upper(c))
			return "the scheme must be lower case";
		if (!is_lower(c) && (i == 0 || (!is_digit(c) && c != '+' && c != '-' && c != '.')))
			return "the scheme is not a-z, then a-z, 0-9, '+', '-' or '.'";
	}
	return NULL;
}

/* scheme "://" authority *( "/" pseg ) [ "/" "*" / "/" "**" ] */
struct writ_err *
resource_check(struct writ_bytes text)
{
	const struct writ_bytes base = resource_pattern(text).base;
	const struct writ_bytes scheme = until(base, ':');
	struct writ_bytes authority, path;
	const char *fault;

	if (text.len == 0)
		return writ_fail(WRIT_INVALID, "resource is empty");
	if (text.len > RESOURCE_MAX)
		return writ_fail(WRIT_INVALID, "resource '%.*s' has %zu octets, at most %d", WRIT_FMT(text), text.len,
				 RESOURCE_MAX);
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] < 0x21 || text.data[i] > 0x7e)
			return bad("resource", text, "holds a space, a control or a character outside ASCII");
	if (!starts_with(without(base, scheme.len), WRIT_LIT("://")))
		return bad("resource", text, "'://' is missing after the scheme");
	fault = scheme_fault(scheme);
	if (fault)
		return bad("resource", text, fault);

	authority = until(without(base, scheme.len + 3), '/');
	fault = authority_fault(scheme, authority);
	if (fault)
		return bad("resource", text, fault);

	for (path = without(base, scheme.len + 3 + authority.len); path.len > 0;) {
		fault = segment_fault(cut_segment(&path));
		if (fault)
			return bad("resource", text, fault);
	}
	return NULL;
}
