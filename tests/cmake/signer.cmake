# A real signer over a real device process and a software TPM.
writ_test(contract_signer
	SOURCES contract/signer.c contract/rig.c
	DEPS writ_signer_wire writ_x509 writ_log writ_conf writ_hsm writ_hsm_wire PkgConfig::CRYPTO
	LABELS contract threads TIMEOUT 1200)
target_compile_definitions(contract_signer PRIVATE
	WRIT_DEVICED="$<TARGET_FILE:writ-deviced>" WRIT_SIGNERD="$<TARGET_FILE:writ-signerd>")
add_dependencies(contract_signer writ-deviced writ-signerd)

foreach(name device_state gate ledger queue rotate wire)
	writ_test(test_signer_${name} SOURCES unit/test_signer_${name}.c DEPS writ_signer PkgConfig::CRYPTO LABELS unit)
endforeach()
writ_fuzz(signer_wire DEPS writ_signer_wire)

# A state of any size, made in seconds, for tests/growth.
add_executable(grow bench/grow.c)
target_link_libraries(grow PRIVATE writ_signer writ_store)
# CRLs of many entries as the signer makes them, for tests/bench/crl.
add_executable(crlbench bench/crlbench.c)
target_link_libraries(crlbench PRIVATE writ_signer PkgConfig::CRYPTO)
