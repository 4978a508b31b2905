# Devices for the contract: swtpm, SoftHSM; writ-deviced by path.
writ_test(contract_custody
	SOURCES contract/custody.c contract/rig.c
	DEPS writ_hsm writ_hsm_wire PkgConfig::CRYPTO
	LABELS contract TIMEOUT 300)
target_compile_definitions(contract_custody PRIVATE WRIT_DEVICED="$<TARGET_FILE:writ-deviced>")
add_dependencies(contract_custody writ-deviced)
