writ_test(contract_http SOURCES contract/http.c DEPS writ_http LABELS contract)
add_executable(httpload bench/httpload.c)
