/*
 * What a shim before a device is told to do: a file that test and shim both map, so that faults are ordered while the
 * shim's process runs, and stay ordered when that process is killed and another one loads the shim.
 *
 * Of an order the writer sets `left` to 0, fills the other fields, and sets `left` last.  tests/system/faults.py writes
 * the same layout.
 */
#ifndef WRIT_TESTS_SHIM_ORDER_H
#define WRIT_TESTS_SHIM_ORDER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SHIM_ORDERS 4 /* at once, of different calls */
#define SHIM_FOREVER UINT64_MAX

struct shim_order {
	char call[32];		   /* "C_Sign", or a TPM's command code in hex, "15d"; "*": any */
	char fault[24];		   /* "rv", "delay", "hang", "sigpipe", and what the shim knows besides */
	uint64_t value;		   /* a code, milliseconds, or bytes from the end */
	atomic_uint_fast64_t left; /* calls that the fault is for */
};

struct shim_orders {
	atomic_uint_fast64_t calls, logins, signs, faults; /* counted by the shim */
	struct shim_order order[SHIM_ORDERS];
};

/* Maps the file; false: there is none, and nothing is ordered. */
bool shim_order_open(const char *path);

/* Counts the call, sleeps or hangs if that is ordered; the fault's name when another one is for this call. */
const char *shim_ordered(const char *call, uint64_t *ret_value);

/* One more signature, or login. */
void shim_signed(void);
void shim_login_tried(void);

#endif
