/*
 * What unit tests say most: this succeeds; this is refused, with that code and that message.
 */
#ifndef WRIT_TESTS_EXPECT_H
#define WRIT_TESTS_EXPECT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"

/* Prints the whole error when there is one, and fails. */
#define expect_ok(expression)                                                            \
	do {                                                                             \
		struct writ_err *expect_err_ = (expression);                             \
		char expect_text_[1000];                                                 \
		if (expect_err_) {                                                       \
			writ_err_text(expect_err_, expect_text_, sizeof(expect_text_));  \
			writ_err_free(expect_err_);                                      \
			fail_msg("%s: %s", #expression, expect_text_);                   \
		}                                                                        \
	} while (0)

/* The code, and the message word for word with its causes. */
#define expect_refused(expression, code_, message_)                                      \
	do {                                                                             \
		struct writ_err *expect_err_ = (expression);                             \
		char expect_text_[1000];                                                 \
		enum writ_code expect_code_;                                             \
		if (!expect_err_)                                                        \
			fail_msg("%s was accepted", #expression);                        \
		expect_code_ = expect_err_->code;                                        \
		writ_err_text(expect_err_, expect_text_, sizeof(expect_text_));          \
		writ_err_free(expect_err_);                                              \
		assert_string_equal(expect_text_, (message_));                           \
		assert_string_equal(writ_code_name(expect_code_), writ_code_name(code_)); \
	} while (0)

#define expect_bytes(bytes_, want_)                                                      \
	do {                                                                             \
		const struct writ_bytes expect_a_ = (bytes_), expect_b_ = (want_);       \
		assert_int_equal(expect_a_.len, expect_b_.len);                          \
		if (expect_b_.len > 0)                                                   \
			assert_memory_equal(expect_a_.data, expect_b_.data, expect_b_.len); \
	} while (0)

#endif
