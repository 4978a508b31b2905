# Three words for the whole build: a folder's library, a program, a test.

# writ_library(NAME SOURCES a.c b.c DEPS writ_base PkgConfig::CRYPTO)
function(writ_library name)
	cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
	add_library(${name} STATIC ${ARG_SOURCES})
	target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
	target_link_libraries(${name} PUBLIC ${ARG_DEPS})
	if(WRIT_FUZZ)
		target_compile_options(${name} PRIVATE -fsanitize=fuzzer-no-link)
	endif()
endfunction()

# writ_program(writ-signerd SOURCES main.c DEPS writ_signer): all programs end up in one folder, bin/
function(writ_program name)
	cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
	add_executable(${name} ${ARG_SOURCES})
	target_link_libraries(${name} PRIVATE ${ARG_DEPS})
	set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
	install(TARGETS ${name} RUNTIME DESTINATION bin)
endfunction()

# writ_test(test_der SOURCES unit/test_der.c DEPS writ_base LABELS unit): a cmocka program that ctest runs
function(writ_test name)
	cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
	add_executable(${name} ${ARG_SOURCES})
	target_link_libraries(${name} PRIVATE ${ARG_DEPS} cmocka)
	add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
	# Ends what hangs, no more: with a sanitizer on a busy machine a test takes ten times its usual time.
	if(NOT ARG_TIMEOUT)
		set(ARG_TIMEOUT 600)
	endif()
	set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT})
endfunction()

# writ_fuzz(der DEPS writ_base): tests/fuzz/der_fuzz.c.  With WRIT_FUZZ a libFuzzer program fuzz/der; otherwise a program
# that replays tests/fuzz/corpus/der, as an ordinary test.
function(writ_fuzz name)
	cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
	set(source ${PROJECT_SOURCE_DIR}/tests/fuzz/${name}_fuzz.c)
	if(WRIT_FUZZ)
		add_executable(fuzz_${name} ${source})
		target_link_libraries(fuzz_${name} PRIVATE ${ARG_DEPS})
		target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
		set_target_properties(fuzz_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz)
	else()
		add_executable(replay_${name} ${source} ${PROJECT_SOURCE_DIR}/tests/fuzz/replay.c)
		target_link_libraries(replay_${name} PRIVATE ${ARG_DEPS})
		add_test(NAME fuzz_replay_${name}
			COMMAND replay_${name} ${PROJECT_SOURCE_DIR}/tests/fuzz/corpus/${name})
		set_tests_properties(fuzz_replay_${name} PROPERTIES LABELS "fuzz" TIMEOUT 600)
	endif()
endfunction()
