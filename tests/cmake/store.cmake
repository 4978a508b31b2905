writ_test(contract_store SOURCES contract/store.c DEPS writ_store LABELS contract threads)
writ_test(test_sqlite SOURCES unit/test_sqlite.c DEPS writ_store LABELS unit)
writ_test(test_sqlite_pages SOURCES unit/test_sqlite_pages.c DEPS writ_store LABELS unit)
