/*
 * What a shim is told.
 */
#include "tests/contract/shim_order.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static struct shim_orders *orders;

bool
shim_order_open(const char *path)
{
	const int fd = path && !orders ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *map = MAP_FAILED;
	struct stat st;

	if (fd < 0)
		return orders != NULL;
	if (fstat(fd, &st) == 0 && (size_t)st.st_size >= sizeof(*orders))
		map = mmap(NULL, sizeof(*orders), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		orders = map;
	return orders != NULL;
}

static void
sleep_ms(uint64_t ms)
{
	struct timespec left = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };

	while (nanosleep(&left, &left) != 0)
		;
}

/* The order for this call, one of its passes used up; NULL: none. */
static const struct shim_order *
order_of(const char *call)
{
	for (size_t i = 0; i < SHIM_ORDERS; i++) {
		struct shim_order *const order = &orders->order[i];

		if (atomic_load(&order->left) == 0 || (strcmp(order->call, "*") != 0 && strcmp(order->call, call) != 0))
			continue;
		if (atomic_load(&order->left) != SHIM_FOREVER)
			atomic_fetch_sub(&order->left, 1);
		return order;
	}
	return NULL;
}

const char *
shim_ordered(const char *call, uint64_t *ret_value)
{
	const struct shim_order *order;

	if (!orders)
		return NULL;
	atomic_fetch_add(&orders->calls, 1);
	order = order_of(call);
	if (!order)
		return NULL;
	atomic_fetch_add(&orders->faults, 1);
	if (strcmp(order->fault, "hang") == 0)
		for (;;) /* whatever becomes of the order */
			sleep_ms(1000);
	*ret_value = order->value;
	if (strcmp(order->fault, "delay") == 0) {
		sleep_ms(order->value);
		return NULL;
	}
	if (strcmp(order->fault, "sigpipe") == 0) {
		raise(SIGPIPE);
		return "rv";
	}
	return order->fault;
}

void
shim_signed(void)
{
	if (orders)
		atomic_fetch_add(&orders->signs, 1);
}

void
shim_login_tried(void)
{
	if (orders)
		atomic_fetch_add(&orders->logins, 1);
}
