writ_test(contract_http SOURCES contract/http.c DEPS writ_http LABELS contract)
