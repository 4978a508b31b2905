# tests/vectors/judge.c: libwrit's answers for tests/system/test_vectors.py.
add_executable(judge vectors/judge.c)
target_link_libraries(judge PRIVATE writ_x509 writ_policy PkgConfig::CRYPTO)
