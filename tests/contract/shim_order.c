/*
 * What a shim is told.
 */
#include "tests/contract/shim_order.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct shim_order *order;

bool
shim_order_open(const char *path)
{
	const int fd = path && !order ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *map = MAP_FAILED;
	struct stat st;

	if (fd < 0)
		return order != NULL;
	if (fstat(fd, &st) == 0 && (size_t)st.st_size >= sizeof(*order))
		map = mmap(NULL, sizeof(*order), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		order = map;
	return order != NULL;
}

static void
sleep_ms(uint64_t ms)
{
	struct timespec left = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };

	while (nanosleep(&left, &left) != 0)
		;
}

const char *
shim_ordered(const char *call, uint64_t *ret_value)
{
	if (!order)
		return NULL;
	atomic_fetch_add(&order->calls, 1);
	if (atomic_load(&order->left) == 0 || (strcmp(order->call, "*") != 0 && strcmp(order->call, call) != 0))
		return NULL;
	if (atomic_load(&order->left) != SHIM_FOREVER)
		atomic_fetch_sub(&order->left, 1);
	atomic_fetch_add(&order->faults, 1);
	while (strcmp(order->fault, "hang") == 0 || strcmp(order->fault, "delay") == 0) {
		const bool delay = order->fault[0] == 'd';

		sleep_ms(delay ? order->value : 1000);
		if (delay)
			return NULL;
	}
	*ret_value = order->value;
	return order->fault;
}

void
shim_signed(void)
{
	if (order)
		atomic_fetch_add(&order->signs, 1);
}

void
shim_login_tried(void)
{
	if (order)
		atomic_fetch_add(&order->logins, 1);
}
