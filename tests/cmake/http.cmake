writ_test(test_http SOURCES unit/test_http.c DEPS writ_http LABELS unit)
writ_test(contract_http SOURCES contract/http.c DEPS writ_http LABELS contract threads)
writ_fuzz(http DEPS writ_http)
# A closed-loop load of plain HTTP, for tests/bench.
add_executable(httpload bench/httpload.c)
