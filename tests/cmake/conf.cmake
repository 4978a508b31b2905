writ_test(test_conf SOURCES unit/test_conf.c DEPS writ_conf LABELS unit)
writ_test(test_conf_oidc SOURCES unit/test_conf_oidc.c DEPS writ_conf LABELS unit)
writ_test(test_conf_responder SOURCES unit/test_conf_responder.c DEPS writ_conf LABELS unit)
writ_fuzz(conf DEPS writ_conf)
