/*
 * writ.yaml: custody.  One device, named by path or TCTI, and no secret in the file (I11).
 */
#include "issuer/conf/reader.h"

#include "base/text.h"

#define ENVIRONMENT_MAX 16
#define ROTATION_S 14400 /* reference: far inside any cryptoperiod */
#define ROTATION_MIN_S                                                                                                 \
	10 /* a generation lives 1,200 s longer than it signs: some 122 at once, of the 256 there is room for */
#define ROTATION_MAX_S 604800 /* a week: what is lost with a sealed key is the rest of its generation's life */
#define PATHS_MAX 16
#define PCR_END 24 /* PCRs are numbered below this */
#define PCRS_MAX 8

/* The PCRs that keys are bound to; any program may reset 16 and 23. */
static struct writ_err *
read_pcrs(const struct conf_reader *r, const struct yaml_node *map, uint32_t *ret)
{
	struct yaml_node *list;
	struct writ_err *err;

	err = conf_find(r, map, "custody.tpm.pcrs", READER_OPTIONAL, &list);
	if (err || !list)
		return err;
	err = yaml_kind_is(r->yaml, list, "custody.tpm.pcrs", YAML_LIST);
	if (err)
		return err;
	if (list->n_items == 0 || list->n_items > PCRS_MAX)
		return yaml_fail(r->yaml, list, "custody.tpm.pcrs has %zu entries, wanted are 1 to %d", list->n_items,
				 PCRS_MAX);
	for (const struct yaml_node *node = list->first; node; node = node->next) {
		uint64_t n;

		err = yaml_number(r->yaml, node, "custody.tpm.pcrs", 0, PCR_END - 1, &n);
		if (err)
			return err;
		if (n == 16 || n == 23)
			return yaml_fail(r->yaml, node,
					 "custody.tpm.pcrs: any program may reset PCR %u, so it tells nothing",
					 (unsigned)n);
		if (*ret >> n & 1)
			return yaml_fail(r->yaml, node, "custody.tpm.pcrs: PCR %u is there twice", (unsigned)n);
		*ret |= UINT32_C(1) << n;
	}
	return NULL;
}

/* All three or none: a binding that lacks a part binds nothing. */
static struct writ_err *
read_approvals(const struct conf_reader *r, const struct yaml_node *map)
{
	static const char *const names[] = { "custody.tpm.pcrs", "custody.tpm.approval_key", "custody.tpm.approvals" };
	struct conf *conf = r->conf;
	const char *missing = NULL, *there = NULL;
	struct writ_err *err;

	for (size_t i = 0; i < N_OF(names); i++) {
		if (yaml_get(map, conf_key(names[i])))
			there = names[i];
		else
			missing = names[i];
	}
	if (!there)
		return NULL;
	if (missing)
		return yaml_fail(r->yaml, map, "%s is missing: it goes with %s", missing, there);
	err = read_pcrs(r, map, &conf->custody.pcrs);
	if (!err)
		err = conf_file_path(r, map, "custody.tpm.approval_key", &conf->custody.approval_key);
	if (!err)
		err = conf_file_path(r, map, "custody.tpm.approvals", &conf->custody.approvals);
	return err;
}

/* A file; or `credential:NAME` and `fd:N`, by which a service manager hands it over.  Nothing else: a secret has no
 * place in this file, in an argument or in the environment (I11). */
struct writ_err *
conf_secret_source(const struct conf_reader *r, const struct yaml_node *map, const char *what, const char **ret)
{
	const struct yaml_node *node = yaml_get(map, conf_key(what));
	const char *text;
	struct writ_err *err;
	uint64_t number;

	err = conf_text(r, map, what, READER_NEEDED, &text);
	if (err)
		return err;
	if (strncmp(text, "credential:", 11) == 0) {
		const size_t len = strlen(text + 11);

		if (len == 0 || len > 255 || text[11] == '.' ||
		    strspn(text + 11, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") != len)
			return yaml_fail(
				r->yaml, node,
				"%s: found \"%.80s\", wanted credential:NAME of letters, digits, '.', '_', '-'", what,
				text);
	} else if (strncmp(text, "fd:", 3) == 0) {
		if (!writ_decimal(writ_str(text + 3), 1023, &number) || number < 3)
			return yaml_fail(r->yaml, node, "%s: found \"%.80s\", wanted fd:N with N from 3 to 1023", what,
					 text);
	} else {
		return conf_file_path(r, map, what, ret);
	}
	*ret = text;
	return NULL;
}

static struct writ_err *
read_tpm(const struct conf_reader *r, const struct yaml_node *map)
{
	struct conf *conf = r->conf;
	struct yaml_node *node;
	struct writ_err *err;

	conf->custody.scheme = "tpm2";
	err = conf_text(r, map, "custody.tpm.tcti", READER_NEEDED, &conf->custody.tcti);
	if (err)
		return err;
	err = conf_find(r, map, "custody.tpm.allow_software_tpm", READER_OPTIONAL, &node);
	if (err)
		return err;
	if (node)
		err = yaml_bool(r->yaml, node, "custody.tpm.allow_software_tpm", &conf->custody.allow_software_tpm);
	if (err)
		return err;
	err = read_approvals(r, map);
	if (err)
		return err;
	return conf_secret_source(r, map, "custody.tpm.auth_file", &conf->custody.auth_file);
}

/* NAME=VALUE for the module's process.  The loader's own variables would make it another module than the one named. */
static struct writ_err *
environment_check(const struct conf_reader *r, const struct yaml_node *node, const char *text)
{
	const size_t name_len = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");

	if (name_len == 0 || text[name_len] != '=')
		return yaml_fail(r->yaml, node, "custody.pkcs11.environment: found \"%.80s\", wanted NAME=VALUE", text);
	if (strncmp(text, "LD_", 3) == 0)
		return yaml_fail(r->yaml, node,
				 "custody.pkcs11.environment sets %.*s, which tells the loader what to load: refused",
				 (int)name_len, text);
	if (memmem(text, name_len, "PIN", 3))
		return yaml_fail(r->yaml, node,
				 "custody.pkcs11.environment sets %.*s: a PIN comes by custody.pkcs11.pin_file only",
				 (int)name_len, text);
	return NULL;
}

static struct writ_err *
read_environment(const struct conf_reader *r, const struct yaml_node *map, const char *const **ret, size_t *ret_n)
{
	struct conf *conf = r->conf;
	struct yaml_node *list;
	struct writ_err *err;
	const char **texts;
	size_t n = 0;

	err = conf_find(r, map, "custody.pkcs11.environment", READER_OPTIONAL, &list);
	if (err || !list)
		return err;
	err = yaml_kind_is(r->yaml, list, "custody.pkcs11.environment", YAML_LIST);
	if (err)
		return err;
	if (list->n_items > ENVIRONMENT_MAX)
		return yaml_fail(r->yaml, list, "custody.pkcs11.environment has %zu entries, at most %d are allowed",
				 list->n_items, ENVIRONMENT_MAX);
	texts = writ_arena_take(&conf->arena, (list->n_items + 1) * sizeof(*texts));
	if (!texts)
		return writ_fail(WRIT_EXHAUSTED, "configuration: no memory for the environment");
	for (const struct yaml_node *node = list->first; node; node = node->next) {
		err = conf_text_of(r, node, "custody.pkcs11.environment", &texts[n]);
		if (err)
			return err;
		err = environment_check(r, node, texts[n++]);
		if (err)
			return err;
	}
	*ret = texts;
	*ret_n = n;
	return NULL;
}

/* Where the module keeps what it keeps, beside the files that its environment names. */
static struct writ_err *
read_paths(const struct conf_reader *r, const struct yaml_node *map)
{
	struct conf *conf = r->conf;
	struct yaml_node *list;
	struct writ_err *err;
	const char **texts;
	size_t n = 0;

	err = conf_find(r, map, "custody.pkcs11.paths", READER_OPTIONAL, &list);
	if (err || !list)
		return err;
	err = yaml_kind_is(r->yaml, list, "custody.pkcs11.paths", YAML_LIST);
	if (err)
		return err;
	if (list->n_items > PATHS_MAX)
		return yaml_fail(r->yaml, list, "custody.pkcs11.paths has %zu entries, at most %d are allowed",
				 list->n_items, PATHS_MAX);
	texts = writ_arena_take(&conf->arena, (list->n_items + 1) * sizeof(*texts));
	if (!texts)
		return writ_fail(WRIT_EXHAUSTED, "configuration: no memory for the paths");
	for (const struct yaml_node *node = list->first; node; node = node->next) {
		err = conf_text_of(r, node, "custody.pkcs11.paths", &texts[n]);
		if (err)
			return err;
		if (texts[n++][0] != '/')
			return yaml_fail(r->yaml, node, "custody.pkcs11.paths: found \"%.80s\", wanted absolute paths",
					 texts[n - 1]);
	}
	conf->custody.paths = texts;
	conf->custody.n_paths = n;
	return NULL;
}

static struct writ_err *
read_pkcs11(const struct conf_reader *r, const struct yaml_node *map)
{
	struct conf *conf = r->conf;
	struct writ_err *err;

	conf->custody.scheme = "pkcs11";
	err = conf_text(r, map, "custody.pkcs11.module", READER_NEEDED, &conf->custody.module);
	if (err)
		return err;
	if (conf->custody.module[0] != '/')
		return yaml_fail(
			r->yaml, yaml_get(map, "module"),
			"custody.pkcs11.module: found \"%.80s\", wanted an absolute path: nothing is searched for",
			conf->custody.module);
	err = conf_text(r, map, "custody.pkcs11.uri", READER_NEEDED, &conf->custody.uri);
	if (err)
		return err;
	if (strncmp(conf->custody.uri, "pkcs11:", 7) != 0)
		return yaml_fail(r->yaml, yaml_get(map, "uri"),
				 "custody.pkcs11.uri must begin with pkcs11: (RFC 7512)");
	if (strstr(conf->custody.uri, "pin-value") ||
	    strstr(conf->custody.uri, "pin-source")) /* I11: not shown again */
		return yaml_fail(
			r->yaml, yaml_get(map, "uri"),
			"custody.pkcs11.uri carries a PIN attribute: a PIN comes by custody.pkcs11.pin_file only");
	err = conf_secret_source(r, map, "custody.pkcs11.pin_file", &conf->custody.pin_file);
	if (err)
		return err;
	err = read_environment(r, map, &conf->custody.environment, &conf->custody.n_environment);
	return err ? err : read_paths(r, map);
}

static struct writ_err *
read_rotation(const struct conf_reader *r, const struct yaml_node *map)
{
	uint32_t *const rotation_s = &r->conf->custody.rotation_s;
	struct writ_err *err;

	*rotation_s = ROTATION_S;
	err = conf_number(r, map, "custody.rotation_s", ROTATION_MAX_S, rotation_s);
	if (err)
		return err;
	if (*rotation_s < ROTATION_MIN_S)
		return yaml_fail(
			r->yaml, yaml_get(map, "rotation_s"),
			"custody.rotation_s: found %u, wanted %d to %d: of faster rotations too many generations "
			"would live at once",
			*rotation_s, ROTATION_MIN_S, ROTATION_MAX_S);
	return NULL;
}

/* The operator's anchor is in a token of its own, with a PIN that this host does not have. */
static struct writ_err *
read_anchor_token(const struct conf_reader *r, const struct yaml_node *root)
{
	static const char *const keys[] = { "module", "uri", "environment", NULL };
	struct conf *conf = r->conf;
	struct yaml_node *map;
	struct writ_err *err;

	err = conf_map(r, root, "custody.operator", READER_OPTIONAL, keys, &map);
	if (err)
		return err;
	if (conf->custody.operator != (map != NULL))
		return yaml_fail(r->yaml, map ? map : root, "custody.anchor: operator and custody.operator go together");
	if (!map)
		return NULL;
	err = conf_text(r, map, "custody.operator.module", READER_NEEDED, &conf->custody.anchor_token.module);
	if (!err)
		err = conf_text(r, map, "custody.operator.uri", READER_NEEDED, &conf->custody.anchor_token.uri);
	if (err)
		return err;
	if (conf->custody.anchor_token.module[0] != '/')
		return yaml_fail(r->yaml, yaml_get(map, "module"),
				 "custody.operator.module: found \"%.80s\", wanted an absolute path: nothing is searched for",
				 conf->custody.anchor_token.module);
	if (strncmp(conf->custody.anchor_token.uri, "pkcs11:", 7) != 0 ||
	    strstr(conf->custody.anchor_token.uri, "pin-")) /* I11: not shown again */
		return yaml_fail(r->yaml, yaml_get(map, "uri"),
				 "custody.operator.uri is a token's pkcs11: URI (RFC 7512), without a PIN: that is given to writ rotate");
	if (conf->custody.uri && strcmp(conf->custody.anchor_token.uri, conf->custody.uri) == 0)
		return yaml_fail(r->yaml, yaml_get(map, "uri"),
				 "custody.operator.uri is custody.pkcs11.uri: one token has one PIN, and this host holds that");
	return read_environment(r, map, &conf->custody.anchor_token.environment,
				&conf->custody.anchor_token.n_environment);
}

struct writ_err *
conf_custody(const struct conf_reader *r, const struct yaml_node *root)
{
	static const char *const keys[] = { "tier", "anchor", "operator", "rotation_s", "standby", "retiring", "tpm", "pkcs11",
					    NULL };
	static const char *const tpm_keys[] = { "tcti", "allow_software_tpm", "auth_file", "pcrs", "approval_key", "approvals", NULL };
	static const char *const pkcs11_keys[] = { "module", "uri", "pin_file", "environment", "paths", NULL };
	struct conf *conf = r->conf;
	struct yaml_node *map, *node, *tpm, *pkcs11;
	struct writ_err *err;
	bool sealed;

	err = conf_map(r, root, "custody", READER_NEEDED, keys, &map);
	if (err)
		return err;

	err = conf_find(r, map, "custody.tier", READER_NEEDED, &node);
	if (err)
		return err;
	err = conf_word(r, node, "custody.tier", "resident", "sealed", &sealed);
	if (err)
		return err;
	conf->custody.tier = sealed ? TIER_SEALED : TIER_RESIDENT;

	err = conf_find(r, map, "custody.anchor", READER_OPTIONAL, &node);
	if (err)
		return err;
	if (node)
		err = conf_word(r, node, "custody.anchor", "device", "operator", &conf->custody.operator);
	if (err)
		return err;

	if (yaml_get(map, "standby")) {
		err = conf_file_path(r, map, "custody.standby", &conf->custody.standby);
		if (err)
			return err;
	}
	if (yaml_get(map, "retiring")) {
		err = conf_file_path(r, map, "custody.retiring", &conf->custody.retiring);
		if (err)
			return err;
	}

	err = read_rotation(r, map);
	if (err)
		return err;
	err = conf_map(r, map, "custody.tpm", READER_OPTIONAL, tpm_keys, &tpm);
	if (err)
		return err;
	err = conf_map(r, map, "custody.pkcs11", READER_OPTIONAL, pkcs11_keys, &pkcs11);
	if (err)
		return err;
	if (!tpm == !pkcs11)
		return yaml_fail(r->yaml, map, "custody has %s of tpm and pkcs11, wanted is one",
				 tpm ? "both" : "neither");
	err = tpm ? read_tpm(r, tpm) : read_pkcs11(r, pkcs11);
	return err ? err : read_anchor_token(r, map);
}
