/*
 * Replays a corpus folder through one harness.  Each input is placed so that it ends against an unreadable page.
 * Usage: replay_NAME FOLDER...; a folder without an input is a failure, since a test that ran nothing proved nothing.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

static void
replay(const char *path)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct stat st;
	uint8_t *map, *at;
	size_t len, span, done = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) != 0) {
		perror(path);
		exit(1);
	}
	len = (size_t)st.st_size;
	span = (len + page - 1) / page * page + page;
	map = mmap(NULL, span, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED || mprotect(map + span - page, page, PROT_NONE) != 0) {
		perror("mmap");
		exit(1);
	}
	at = map + span - page - len;
	while (done < len) {
		ssize_t n = read(fd, at + done, len - done);

		if (n <= 0) {
			perror(path);
			exit(1);
		}
		done += (size_t)n;
	}
	close(fd);
	LLVMFuzzerTestOneInput(at, len);
	munmap(map, span);
}

int
main(int argc, char **argv)
{
	unsigned n = 0;

	for (int i = 1; i < argc; i++) {
		DIR *dir = opendir(argv[i]);
		struct dirent *entry;

		if (!dir) {
			perror(argv[i]);
			return 1;
		}
		while ((entry = readdir(dir))) {
			char path[4096];

			if (entry->d_name[0] == '.')
				continue;
			snprintf(path, sizeof(path), "%s/%s", argv[i], entry->d_name);
			replay(path);
			n++;
		}
		closedir(dir);
	}
	printf("%u inputs replayed\n", n);
	return n > 0 ? 0 : 1;
}
