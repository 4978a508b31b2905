/*
 * See lists.h.  A file is the same as long as inode, size and times are: whoever replaces it by rename changes all of
 * them.
 */
#include "issuer/authz/lists.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/event.h"
#include "base/file.h"

enum kind { KIND_NONE, KIND_CERTIFICATE, KIND_CRL };

struct file {
	char name[NAME_MAX + 1];
	enum kind kind;
	struct stat st;
	bool taken;
};

struct lists {
	const char *dir; /* borrowed */
	size_t n;
	struct file *files; /* as last seen, by name */
};

static enum kind
kind_of(const char *name)
{
	const char *dot = strrchr(name, '.');

	if (!dot || dot == name)
		return KIND_NONE;
	if (strcmp(dot, ".cer") == 0)
		return KIND_CERTIFICATE;
	return strcmp(dot, ".crl") == 0 ? KIND_CRL : KIND_NONE;
}

struct writ_err *
lists_new(const char *dir, struct lists **ret)
{
	*ret = calloc(1, sizeof(**ret));
	if (!*ret)
		return writ_fail(WRIT_EXHAUSTED, "no memory for the lists");
	(*ret)->dir = dir;
	return NULL;
}

void
lists_free(struct lists *lists)
{
	if (!lists)
		return;
	free(lists->files);
	free(lists);
}

void
lists_freep(struct lists **lists)
{
	lists_free(*lists);
}

void
lists_counts(const struct lists *lists, unsigned *ret_certificates, unsigned *ret_crls)
{
	*ret_certificates = *ret_crls = 0;
	for (size_t i = 0; i < lists->n; i++) {
		if (!lists->files[i].taken)
			continue;
		if (lists->files[i].kind == KIND_CRL)
			++*ret_crls;
		else
			++*ret_certificates;
	}
}

/* ---- what is there ---- */

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct file *)a)->name, ((const struct file *)b)->name);
}

static bool
is_same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static struct writ_err *
scan(const struct lists *lists, DIR *dir, struct file *files, size_t *ret_n)
{
	const struct dirent *entry;

	*ret_n = 0;
	while ((entry = readdir(dir))) {
		struct file *file = &files[*ret_n];

		if (kind_of(entry->d_name) == KIND_NONE)
			continue;
		if (*ret_n == LISTS_FILES_MAX)
			return writ_fail(WRIT_EXHAUSTED, "%s holds more than %d lists", lists->dir, LISTS_FILES_MAX);
		*file = (struct file){ .kind = kind_of(entry->d_name) };
		snprintf(file->name, sizeof(file->name), "%s", entry->d_name);
		if (fstatat(dirfd(dir), file->name, &file->st, 0) == 0)
			++*ret_n; /* else it went meanwhile */
	}
	qsort(files, *ret_n, sizeof(*files), by_name);
	return NULL;
}

/* Carries over what was known of files that are the same; true when any is not. */
static bool
compare(const struct lists *lists, struct file *files, size_t n)
{
	bool changed = n != lists->n;

	for (size_t i = 0; i < n; i++) {
		const struct file *before =
			lists->n > 0 ? bsearch(&files[i], lists->files, lists->n, sizeof(*files), by_name) : NULL;

		if (before && is_same(&before->st, &files[i].st))
			files[i].taken = before->taken;
		else
			changed = true;
	}
	return changed;
}

/* ---- taking it ---- */

static void
take(const struct lists *lists, struct writ_verifier *verifier, writ_time now, struct file *file)
{
	AUTO(writ_buf_done) struct writ_buf contents = WRIT_BUF(LISTS_FILE_MAX);
	AUTO(writ_err_freep) struct writ_err *err = NULL;
	enum writ_refusal refusal;
	struct writ_why why = { 0 };
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", lists->dir, file->name) >= (int)sizeof(path))
		return;
	err = file_read(path, FILE_ANY, &contents);
	if (err) {
		event(EVENT_WARN, "authz.list_refused", EV_STR("file", path), EV_ERR(err));
		return;
	}
	if (file->kind == KIND_CRL)
		refusal = writ_verifier_crl(verifier, contents.data, contents.len, now, &why);
	else
		refusal = writ_verifier_issuing(verifier, contents.data, contents.len, now, &why);
	file->taken = refusal == WRIT_OK;
	if (file->taken)
		event(EVENT_INFO, "authz.list", EV_STR("file", path), EV_NUM("bytes", contents.len));
	else
		event(EVENT_WARN, "authz.list_refused", EV_STR("file", path),
		      EV_STR("reason", writ_refusal_name(refusal)), EV_STR("why", why.text));
}

static void
take_new(const struct lists *lists, struct writ_verifier *verifier, writ_time now, struct file *files, size_t n,
	 enum kind kind, bool *changed)
{
	for (size_t i = 0; i < n; i++) {
		if (files[i].taken || files[i].kind != kind)
			continue;
		take(lists, verifier, now, &files[i]);
		*changed |= files[i].taken;
	}
}

struct writ_err *
lists_poll(struct lists *lists, struct writ_verifier *verifier, writ_time now, bool *ret_changed)
{
	struct file *files;
	struct writ_err *err;
	DIR *dir;
	size_t n;

	*ret_changed = false;
	dir = opendir(lists->dir);
	if (!dir)
		return writ_fail_errno(errno, "opening the folder of lists, %s", lists->dir);
	files = calloc(LISTS_FILES_MAX + 1, sizeof(*files));
	if (!files) {
		closedir(dir);
		return writ_fail(WRIT_EXHAUSTED, "no memory to look at %s", lists->dir);
	}
	err = scan(lists, dir, files, &n);
	closedir(dir);
	if (err || !compare(lists, files, n)) {
		free(files);
		return err;
	}
	/* A CRL is taken only when its issuer is known. */
	take_new(lists, verifier, now, files, n, KIND_CERTIFICATE, ret_changed);
	take_new(lists, verifier, now, files, n, KIND_CRL, ret_changed);
	free(lists->files);
	lists->files = files;
	lists->n = n;
	return NULL;
}
