# issuer/cli/: options; everything else of writ(1) is run as a program by tests/system/test_cli.py.
writ_test(test_cli_options
	SOURCES unit/test_cli_options.c ${PROJECT_SOURCE_DIR}/issuer/cli/options.c
	DEPS writ_base LABELS unit)
