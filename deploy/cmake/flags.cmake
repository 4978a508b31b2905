# Warnings and hardening, each flag probed: gcc 12 and clang 14 do not take the same ones.
# tests/layout reads the hardening back from the ELF files.
include(CheckCCompilerFlag)
include(CheckLinkerFlag)

add_compile_definitions(_GNU_SOURCE)

function(writ_flag flag)
	string(MAKE_C_IDENTIFIER "HAVE${flag}" have)
	check_c_compiler_flag("-Werror ${flag}" ${have})
	if(${have})
		add_compile_options(${flag})
	endif()
endfunction()

foreach(flag -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes
	-Wpointer-arith -Wvla -Wundef)
	writ_flag(${flag})
endforeach()
if(WRIT_WERROR)
	add_compile_options(-Werror)
endif()

foreach(flag -fstack-protector-strong -fstack-clash-protection -fcf-protection=full -fno-strict-overflow
	-fno-delete-null-pointer-checks -ftrivial-auto-var-init=zero -fzero-call-used-regs=used-gpr)
	writ_flag(${flag})
endforeach()
add_link_options(-pie)
foreach(flag -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,-z,separate-code)
	string(MAKE_C_IDENTIFIER "HAVE${flag}" have)
	check_linker_flag(C ${flag} ${have})
	if(${have})
		add_link_options(${flag})
	endif()
endforeach()

if(WRIT_SANITIZE)
	add_compile_options(-fsanitize=${WRIT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
	add_link_options(-fsanitize=${WRIT_SANITIZE})
elseif(CMAKE_BUILD_TYPE MATCHES "Release|RelWithDebInfo")
	# FORTIFY needs optimisation, and hides reads that the sanitizers should see.
	add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
endif()
if(WRIT_FAULTS)
	add_compile_definitions(WRIT_FAULTS)
endif()
