writ_test(contract_store SOURCES contract/store.c DEPS writ_store LABELS contract)
