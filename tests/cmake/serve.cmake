# issuer/serve/: what comes in, what goes out, and who gets how much; the whole is tests/system.
foreach(name request claims answer shares turns known live)
	writ_test(test_serve_${name} SOURCES unit/test_serve_${name}.c DEPS writ_serve PkgConfig::JANSSON LABELS unit)
endforeach()
set_property(TEST test_serve_known APPEND PROPERTY LABELS threads)
writ_fuzz(json_request DEPS writ_serve)
writ_fuzz(claims DEPS writ_serve)
