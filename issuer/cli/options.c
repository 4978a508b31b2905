/*
 * Strict options, and the way every command prints and fails.  An option that is unknown, doubled, or lacks its value
 * is named.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/text.h"
#include "issuer/cli/cli.h"

static size_t
spec_of(const struct options *o, const char *name, size_t len)
{
	for (size_t i = 0; i < o->n_specs; i++) {
		if (strlen(o->specs[i].name) == len && memcmp(o->specs[i].name, name, len) == 0)
			return i;
	}
	return o->n_specs;
}

static struct writ_err *
take_value(struct options *o, size_t at, const char *value)
{
	const struct option_spec *spec = &o->specs[at];

	if (spec->kind != OPTION_LIST && o->n_values[at] > 0)
		return writ_fail(WRIT_INVALID, "%s is given twice", spec->name);
	if (o->n_values[at] == OPTION_VALUES_MAX)
		return writ_fail(WRIT_INVALID, "%s is given more than %d times", spec->name, OPTION_VALUES_MAX);
	o->values[at][o->n_values[at]++] = value;
	return NULL;
}

static struct writ_err *
take_option(struct options *o, int argc, char **argv, int *i)
{
	const char *text = argv[*i], *equals = strchr(text, '=');
	size_t len = equals ? (size_t)(equals - text) : strlen(text);
	size_t at = spec_of(o, text, len);

	if (at == o->n_specs)
		return writ_fail(WRIT_INVALID, "no option %.*s: man writ lists them", (int)(len > 40 ? 40 : len), text);
	if (o->specs[at].kind == OPTION_FLAG) {
		if (equals)
			return writ_fail(WRIT_INVALID, "%s takes no value", o->specs[at].name);
		return take_value(o, at, "");
	}
	if (equals)
		return take_value(o, at, equals + 1);
	if (*i + 1 >= argc)
		return writ_fail(WRIT_INVALID, "%s needs a value", o->specs[at].name);
	return take_value(o, at, argv[++*i]);
}

static struct writ_err *
fill_defaults(struct options *o)
{
	for (size_t i = 0; i < o->n_specs; i++) {
		const struct option_spec *spec = &o->specs[i];
		const char *value = spec->env ? getenv(spec->env) : NULL;

		if (o->n_values[i] == 0 && value && *value)
			o->values[i][o->n_values[i]++] = value;
		if (o->n_values[i] == 0 && spec->required)
			return writ_fail(WRIT_INVALID, "%s is missing%s%s", spec->name,
					 spec->env ? "; it may also come from " : "", spec->env ? spec->env : "");
	}
	return NULL;
}

struct writ_err *
options_read(int argc, char **argv, const struct option_spec *specs, size_t n, size_t arguments, struct options *ret)
{
	bool options_ended = false;

	*ret = (struct options){ .specs = specs, .n_specs = n };
	for (int i = 1; i < argc; i++) {
		struct writ_err *err = NULL;

		if (!options_ended && strcmp(argv[i], "--") == 0) {
			options_ended = true;
		} else if (!options_ended && strncmp(argv[i], "--", 2) == 0) {
			err = take_option(ret, argc, argv, &i);
		} else if (ret->n_arguments == arguments) {
			err = writ_fail(WRIT_INVALID, "'%.40s' is one argument too many", argv[i]);
		} else {
			ret->arguments[ret->n_arguments++] = argv[i];
		}
		if (err)
			return err;
	}
	if (ret->n_arguments < arguments)
		return writ_fail(WRIT_INVALID, "%zu argument%s wanted, %zu given", arguments,
				 arguments == 1 ? " is" : "s are", ret->n_arguments);
	return fill_defaults(ret);
}

bool
option_given(const struct options *o, const char *name)
{
	return option(o, name) != NULL;
}

const char *
option(const struct options *o, const char *name)
{
	size_t at = spec_of(o, name, strlen(name));

	return at < o->n_specs && o->n_values[at] ? o->values[at][0] : NULL;
}

size_t
option_list(const struct options *o, const char *name, const char *const **ret)
{
	size_t at = spec_of(o, name, strlen(name));

	*ret = at < o->n_specs ? o->values[at] : NULL;
	return at < o->n_specs ? o->n_values[at] : 0;
}

struct writ_err *
option_number(const struct options *o, const char *name, uint64_t max, uint64_t *ret)
{
	const char *value = option(o, name);

	if (value && !writ_decimal(writ_str(value), max, ret))
		return writ_fail(WRIT_INVALID, "%s: '%.40s' is not a number from 0 to %llu", name, value,
				 (unsigned long long)max);
	return NULL;
}

struct writ_err *
option_seconds(const struct options *o, const char *name, uint32_t max_s, uint32_t *ret_s)
{
	const char *value = option(o, name);

	if (value && !writ_duration(writ_str(value), max_s, ret_s))
		return writ_fail(WRIT_INVALID, "%s: '%.40s' is not a duration (90s, 5m, 1h) up to %u s", name, value,
				 max_s);
	return NULL;
}

void
cli_say(const char *name, const char *fmt, ...)
{
	char text[2048];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	/* What a server said is not trusted with our terminal. */
	for (char *c = text; *c; c++) {
		if (iscntrl((unsigned char)*c))
			*c = '?';
	}
	printf("%s: %s\n", name, text);
}

int
cli_fail(const char *command, struct writ_err *err)
{
	char text[1024];
	int code = CLI_FAILED;

	if (err->code == WRIT_UNAVAILABLE || err->code == WRIT_EXHAUSTED)
		code = CLI_LATER;
	fprintf(stderr, "writ %s: %s\n", command, writ_err_text(err, text, sizeof(text)));
	writ_err_free(err);
	return code;
}

int
cli_misused(const char *command, struct writ_err *err)
{
	(void)cli_fail(command, err);
	return CLI_MISUSED;
}

struct writ_err *
cli_write(const char *path, unsigned mode, struct writ_bytes bytes)
{
	if (strcmp(path, "-") != 0)
		return file_replace(path, (mode_t)mode, bytes);
	if (bytes.len > 0 && fwrite(bytes.data, 1, bytes.len, stdout) != bytes.len)
		return writ_fail_errno(errno, "stdout");
	return NULL;
}
