# base/: errors, bytes, text, DER, YAML, events, keys, files, signals, frames.
foreach(name bytes text der yaml pubkey frame file signals event)
	writ_test(test_base_${name} SOURCES unit/test_base_${name}.c DEPS writ_base PkgConfig::JANSSON LABELS unit)
endforeach()
set_property(TEST test_base_event APPEND PROPERTY LABELS threads)
foreach(name der yaml frame)
	writ_fuzz(${name} DEPS writ_base)
endforeach()
writ_fuzz(text DEPS writ_base PkgConfig::JANSSON)
