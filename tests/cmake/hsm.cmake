# Devices for the contract: swtpm, SoftHSM; writ-deviced by path.
writ_test(contract_custody
	SOURCES contract/custody.c contract/rig.c
	DEPS writ_hsm writ_hsm_wire PkgConfig::CRYPTO
	LABELS contract TIMEOUT 300)
target_compile_definitions(contract_custody PRIVATE WRIT_DEVICED="$<TARGET_FILE:writ-deviced>")
add_dependencies(contract_custody writ-deviced)

foreach(name keyfile wire)
	writ_test(test_hsm_${name} SOURCES unit/test_hsm_${name}.c DEPS writ_hsm writ_hsm_wire LABELS unit)
endforeach()
writ_fuzz(keyfile DEPS writ_hsm)
writ_fuzz(device_wire DEPS writ_hsm_wire)
