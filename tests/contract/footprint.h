/*
 * What a process holds: its own memory, what of it is locked, descriptors.  For tests that work it for long and look
 * whether it grew.
 */
#ifndef WRIT_TESTS_FOOTPRINT_H
#define WRIT_TESTS_FOOTPRINT_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

struct footprint {
	long anon_kb, locked_kb;
	long fds; /* open; where only root may count them (the process forbids dumps), the size of their table */
};

static inline struct footprint
footprint_of(pid_t pid)
{
	struct footprint ret = { -1, -1, -1 };
	char path[64], line[256];
	FILE *f;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "RssAnon: %ld", &ret.anon_kb);
		sscanf(line, "VmLck: %ld", &ret.locked_kb);
		sscanf(line, "FDSize: %ld", &ret.fds);
	}
	if (f)
		fclose(f);
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	d = opendir(path);
	if (!d)
		return ret;
	ret.fds = -2; /* "." and ".." */
	while (readdir(d))
		ret.fds++;
	closedir(d);
	return ret;
}

/* An address sanitizer keeps what was freed for a while: its memory says nothing. */
#ifdef __SANITIZE_ADDRESS__
#define FOOTPRINT_TELLS_MEMORY 0
#else
#define FOOTPRINT_TELLS_MEMORY 1
#endif

/* How long to go on: WRIT_ENDURANCE, which tests/endurance sets, or what the ordinary run has time for. */
static inline unsigned long
endurance(const char *name, unsigned long ordinary)
{
	const char *const text = getenv(name);

	return text ? strtoul(text, NULL, 10) : ordinary;
}

#endif
