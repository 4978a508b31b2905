writ_test(test_status SOURCES unit/test_status.c DEPS writ_status LABELS unit threads)
writ_test(contract_status SOURCES contract/status.c DEPS writ_status LABELS contract threads)
writ_fuzz(ocsp_get DEPS writ_status)
# The status front with a stub for its signer, for tests/bench.
add_executable(bench_front bench/front.c)
target_link_libraries(bench_front PRIVATE writ_status)
# What responders follow.
writ_test(test_status_feed SOURCES unit/test_status_feed.c DEPS writ_status LABELS unit)
writ_test(contract_status_changes SOURCES contract/changes.c DEPS writ_status Threads::Threads LABELS contract threads)
writ_fuzz(status_feed DEPS writ_status)
