# issuer/authz/: URLs, headers, configuration; its decisions about leaves are tests/system/test_authz.py.
writ_test(test_authz SOURCES unit/test_authz.c DEPS writ_authz LABELS unit)
writ_test(test_authz_agents SOURCES unit/test_authz_agents.c DEPS writ_authz LABELS unit)
writ_fuzz(authz_url DEPS writ_authz)
