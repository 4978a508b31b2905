# Devices for the contract: swtpm, SoftHSM; writ-deviced by path.
writ_test(contract_custody
	SOURCES contract/custody.c contract/rig.c
	DEPS writ_hsm writ_hsm_wire PkgConfig::CRYPTO
	LABELS contract TIMEOUT 1200)
target_compile_definitions(contract_custody PRIVATE WRIT_DEVICED="$<TARGET_FILE:writ-deviced>")
add_dependencies(contract_custody writ-deviced)

foreach(name approval codes keyfile wire)
	writ_test(test_hsm_${name} SOURCES unit/test_hsm_${name}.c DEPS writ_hsm writ_hsm_wire LABELS unit)
endforeach()
writ_fuzz(keyfile DEPS writ_hsm)
writ_fuzz(approval DEPS writ_hsm_approval)
writ_fuzz(device_wire DEPS writ_hsm_wire)
writ_fuzz(statement DEPS writ_hsm_statement)

# A PKCS#11 module that fails and lies when told to.
add_library(pkcs11_shim MODULE contract/pkcs11_shim.c contract/shim_order.c)
target_include_directories(pkcs11_shim PRIVATE ${PROJECT_SOURCE_DIR})
target_link_libraries(pkcs11_shim PRIVATE PkgConfig::P11 PkgConfig::CRYPTO ${CMAKE_DL_LIBS})
target_link_options(pkcs11_shim PRIVATE -Wl,--no-as-needed)

# A TCTI that drops, delays and alters what passes between us and a TPM; its name is the one that tcti_check() knows.
add_library(tcti_shim MODULE contract/tcti_shim.c contract/shim_order.c)
set_target_properties(tcti_shim PROPERTIES OUTPUT_NAME tss2-tcti-writshim)
target_include_directories(tcti_shim PRIVATE ${PROJECT_SOURCE_DIR})
target_link_libraries(tcti_shim PRIVATE PkgConfig::TSS2)
writ_test(contract_pkcs11
	SOURCES contract/pkcs11.c contract/rig.c
	DEPS writ_hsm writ_hsm_wire ${CMAKE_DL_LIBS}
	LABELS contract)
target_compile_definitions(contract_pkcs11 PRIVATE
	WRIT_DEVICED="$<TARGET_FILE:writ-deviced>" WRIT_SHIM="$<TARGET_FILE:pkcs11_shim>")
add_dependencies(contract_pkcs11 pkcs11_shim)

writ_test(contract_tpm2
	SOURCES contract/tpm2.c contract/rig.c
	DEPS writ_hsm writ_hsm_wire
	LABELS contract)
target_compile_definitions(contract_tpm2 PRIVATE WRIT_DEVICED="$<TARGET_FILE:writ-deviced>")
writ_test(contract_deviced
	SOURCES contract/deviced.c contract/rig.c
	DEPS writ_hsm writ_hsm_wire
	LABELS contract threads)
target_compile_definitions(contract_deviced PRIVATE WRIT_DEVICED="$<TARGET_FILE:writ-deviced>")
add_dependencies(contract_deviced writ-deviced)
writ_test(contract_tpm2_bus
	SOURCES contract/tpm2_bus.c contract/approver.c contract/rig.c
	DEPS writ_hsm writ_hsm_wire PkgConfig::CRYPTO Threads::Threads
	LABELS contract threads)
target_link_options(contract_tpm2_bus PRIVATE -Wl,--wrap=Esys_Sign)
target_compile_definitions(contract_tpm2_bus PRIVATE WRIT_DEVICED="$<TARGET_FILE:writ-deviced>")
# Attestation: swtpm with certified endorsement keys; SoftHSM without any.
writ_test(contract_attest
	SOURCES contract/attest.c contract/rig.c
	DEPS writ_hsm writ_hsm_wire writ_hsm_statement PkgConfig::CRYPTO
	LABELS contract)
target_compile_definitions(contract_attest PRIVATE WRIT_DEVICED="$<TARGET_FILE:writ-deviced>")
writ_test(test_hsm_statement SOURCES unit/test_hsm_statement.c DEPS writ_hsm_statement LABELS unit)
writ_test(contract_approvals
	SOURCES contract/approvals.c contract/approver.c contract/rig.c
	DEPS writ_hsm writ_hsm_wire PkgConfig::CRYPTO
	LABELS contract)
target_compile_definitions(contract_approvals PRIVATE WRIT_DEVICED="$<TARGET_FILE:writ-deviced>")
