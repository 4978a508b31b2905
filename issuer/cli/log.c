/*
 * writ log: journal entries as an auditor reads them: what the signer saw, and below it what the issuer said of it;
 * --task keeps those that speak of one task.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "issuer/cli/api.h"
#include "policy/names.h"

#define PAGE 100 /* entries asked for at once: the API's limit */

/* Is this text a value anywhere inside? */
static bool
mentions(const json_t *value, const char *text)
{
	const char *key;
	json_t *item;
	size_t i;

	if (json_is_string(value))
		return strcmp(json_string_value(value), text) == 0;
	if (json_is_array(value)) {
		json_array_foreach((json_t *)value, i, item)
		{
			if (mentions(item, text))
				return true;
		}
	}
	if (json_is_object(value)) {
		json_object_foreach((json_t *)value, key, item)
		{
			if (mentions(item, text))
				return true;
		}
	}
	return false;
}

/* An entry of that task, or of a serial or edge that such an entry brought in. */
struct filter {
	const char *task; /* NULL: everything */
	json_t *serials;  /* object: serial -> true */
};

static bool
wanted(struct filter *f, const json_t *entry)
{
	const char *serial = api_text(entry, "serial");

	if (!f->task)
		return true;
	if (mentions(entry, f->task)) {
		if (*serial)
			json_object_set_new(f->serials, serial, json_true());
		return true;
	}
	return *serial && json_object_get(f->serials, serial);
}

/* " name value" for every member but those a reader of lines can do without; times as dates. */
static void
print_members(const json_t *object)
{
	static const char *const skipped[] = { "t", "v", "clock", "said" };
	char date[WRIT_RFC3339_LEN + 1];
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)object, name, value)
	{
		bool skip = false;
		char *text;

		for (size_t i = 0; i < N_OF(skipped); i++)
			skip |= strcmp(name, skipped[i]) == 0;
		if (skip)
			continue;
		if (json_is_string(value)) {
			printf("  %s %s", name, json_string_value(value));
		} else if (json_is_integer(value) && json_integer_value(value) > 1000000000) {
			printf("  %s %s", name, writ_time_rfc3339(json_integer_value(value), date));
		} else {
			text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
			printf("  %s %s", name, text ? text : "?");
			free(text);
		}
	}
}

/* What the signer saw for itself, then what the issuer said: the reader should know which is which. */
static void
print(const struct options *o, const json_t *item)
{
	const json_t *entry = json_object_get(item, "entry"), *said = json_object_get(entry, "said");
	char date[WRIT_RFC3339_LEN + 1];

	if (option_given(o, "--json")) {
		char *text = json_dumps(item, JSON_COMPACT | JSON_SORT_KEYS);

		puts(text ? text : "{}");
		free(text);
		return;
	}
	printf("%lld %s %s", api_number(item, "index"),
	       writ_time_rfc3339(api_number(json_object_get(entry, "clock"), "wall_ms") / 1000, date),
	       api_text(entry, "t"));
	print_members(entry);
	if (said) {
		printf("\n    said:");
		print_members(said);
	}
	putchar('\n');
}

/* One page; `*ret_next` is where to go on, `*ret_n` how many there were. */
static int
page(const struct options *o, uint64_t from, uint64_t count, struct filter *filter, uint64_t *ret_next, uint64_t *ret_n)
{
	AUTO(api_answer_done) struct api_answer answer = { 0 };
	char path[128];
	json_t *item;
	size_t i;
	int code;
	struct writ_err *err;

	snprintf(path, sizeof(path), "/v1/log/entries?from=%llu&count=%llu", (unsigned long long)from,
		 (unsigned long long)count);
	err = api_ask_json(o, "GET", path, NULL, &answer);
	if (err)
		return cli_fail("log", err);
	code = api_verdict("log", &answer);
	if (code != CLI_DONE)
		return code;
	json_array_foreach(json_object_get(answer.json, "entries"), i, item)
	{
		if (wanted(filter, json_object_get(item, "entry")))
			print(o, item);
	}
	*ret_n = json_array_size(json_object_get(answer.json, "entries"));
	*ret_next = (uint64_t)api_number(answer.json, "next");
	return CLI_DONE;
}

int
cmd_log(int argc, char **argv)
{
	static const struct option_spec specs[] = {
		{ "--from", OPTION_VALUE, false, NULL },
		{ "--count", OPTION_VALUE, false, NULL },
		{ "--task", OPTION_VALUE, false, NULL },
		API_OPTIONS,
	};
	struct options o;
	struct filter filter = { 0 };
	uint64_t from = 0, left = UINT64_MAX, n = 0;
	int code = CLI_DONE;
	struct writ_err *err = options_read(argc, argv, specs, N_OF(specs), 0, &o);

	if (!err)
		err = option_number(&o, "--from", INT64_MAX, &from);
	if (!err)
		err = option_number(&o, "--count", INT64_MAX, &left);
	if (!err && option_given(&o, "--task"))
		err = task_id_check(writ_str(option(&o, "--task")));
	if (err)
		return cli_misused("log", err);
	filter.task = option(&o, "--task");
	filter.serials = json_object();
	do {
		code = page(&o, from, left < PAGE ? left : PAGE, &filter, &from, &n);
		left -= n < left ? n : left;
	} while (code == CLI_DONE && n > 0 && left > 0);
	json_decref(filter.serials);
	return code;
}
