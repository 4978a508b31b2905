# issuer/cli/: options, the counting of writ load; everything else of writ(1) is run as a program by tests/system/test_cli.py.
writ_test(test_cli_options
	SOURCES unit/test_cli_options.c ${PROJECT_SOURCE_DIR}/issuer/cli/options.c
	DEPS writ_base LABELS unit)
writ_test(test_cli_load
	SOURCES unit/test_cli_load.c ${PROJECT_SOURCE_DIR}/issuer/cli/load_stats.c ${PROJECT_SOURCE_DIR}/issuer/cli/load_watch.c
	DEPS writ_x509 writ_base PkgConfig::CURL PkgConfig::JANSSON PkgConfig::CRYPTO LABELS unit)
# What judges a custody statement, without what prints it.
writ_library(writ_custody_judge
	SOURCES ${PROJECT_SOURCE_DIR}/issuer/cli/custody_bundle.c ${PROJECT_SOURCE_DIR}/issuer/cli/custody_check.c ${PROJECT_SOURCE_DIR}/issuer/cli/custody_ek.c
	DEPS writ_log writ_hsm_statement writ_x509 writ_base PkgConfig::JANSSON PkgConfig::CRYPTO)
writ_fuzz(custody_bundle DEPS writ_custody_judge)
