# libwrit, for relying parties: base, policy and issuer/x509 without YAML and without what only an issuer needs, behind
# issuer/x509/writ.h.  Both libraries offer the names of libwrit.map and no other, so that ours collide with nobody's.
# Compiled anew, not taken out of the folders' libraries: no fault points, sections of their own so that what is not
# used is left out.
include(GNUInstallDirs)

add_library(writ_relying OBJECT
	base/err.c base/bytes.c base/text.c base/clock.c base/der.c base/digest.c base/pubkey.c
	policy/names.c policy/grant.c policy/within.c policy/allow.c
	issuer/x509/oid.c issuer/x509/parts.c issuer/x509/delegation_read.c issuer/x509/delegation_rules.c
	issuer/x509/leaf.c issuer/x509/leaf_read.c issuer/x509/ca.c issuer/x509/pem.c issuer/x509/crl.c
	issuer/x509/crl_index.c issuer/x509/ocsp.c issuer/x509/verify.c issuer/x509/tell.c issuer/x509/json.c
	issuer/x509/refuse.c issuer/x509/agent.c issuer/x509/verifier.c issuer/x509/verifier_lists.c
	issuer/x509/verifier_chain.c)
target_include_directories(writ_relying PRIVATE ${PROJECT_SOURCE_DIR})
target_compile_definitions(writ_relying PRIVATE WRIT_VERSION="${PROJECT_VERSION}")
target_compile_options(writ_relying PRIVATE -ffunction-sections -fdata-sections)
target_link_libraries(writ_relying PRIVATE PkgConfig::CRYPTO)

# nodelete: base/digest keeps a context a thread, whose destructor must outlive a dlclose().
set(libwrit_map ${PROJECT_SOURCE_DIR}/deploy/cmake/libwrit.map)
add_library(libwrit SHARED $<TARGET_OBJECTS:writ_relying>)
get_target_property(libwrit_options libwrit LINK_OPTIONS)
list(REMOVE_ITEM libwrit_options -pie) # of programs
set_target_properties(libwrit PROPERTIES LINK_OPTIONS "${libwrit_options}")
target_link_libraries(libwrit PRIVATE PkgConfig::CRYPTO)
target_link_options(libwrit PRIVATE -Wl,--version-script=${libwrit_map} -Wl,--gc-sections -Wl,--as-needed -Wl,-z,nodelete)
if(NOT WRIT_SANITIZE)
	target_link_options(libwrit PRIVATE -Wl,--no-undefined)
endif()
set_target_properties(libwrit PROPERTIES OUTPUT_NAME writ VERSION ${PROJECT_VERSION} SOVERSION 0 LINKER_LANGUAGE C
	LINK_DEPENDS ${libwrit_map} LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)

# The static one is one object, in which every name that is not the header's was made local.
file(STRINGS ${libwrit_map} libwrit_names REGEX "^\twrit_")
list(TRANSFORM libwrit_names REPLACE "[^a-z_0-9]" "")
list(JOIN libwrit_names "\n" libwrit_names)
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/lib/libwrit.names CONTENT "${libwrit_names}\n" @ONLY)
add_custom_command(OUTPUT ${PROJECT_BINARY_DIR}/lib/libwrit.a
	COMMAND ${CMAKE_C_COMPILER} -r -nostdlib -o libwrit.o $<TARGET_OBJECTS:writ_relying>
	COMMAND ${CMAKE_OBJCOPY} --keep-global-symbols=libwrit.names libwrit.o
	COMMAND ${CMAKE_COMMAND} -E rm -f libwrit.a
	COMMAND ${CMAKE_AR} qc libwrit.a libwrit.o
	COMMAND ${CMAKE_COMMAND} -E rm libwrit.o
	DEPENDS $<TARGET_OBJECTS:writ_relying> ${PROJECT_BINARY_DIR}/lib/libwrit.names
	WORKING_DIRECTORY ${PROJECT_BINARY_DIR}/lib COMMAND_EXPAND_LISTS VERBATIM)
add_custom_target(libwrit_static ALL DEPENDS ${PROJECT_BINARY_DIR}/lib/libwrit.a)

# `cmake --install build/release --component libwrit`: libraries, header, writ.pc and the manual.
file(RELATIVE_PATH libwrit_up /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(deploy/cmake/writ.pc.in ${PROJECT_BINARY_DIR}/lib/writ.pc @ONLY)
install(TARGETS libwrit LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT libwrit)
install(FILES ${PROJECT_BINARY_DIR}/lib/libwrit.a DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT libwrit)
install(FILES ${PROJECT_BINARY_DIR}/lib/writ.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT libwrit)
install(FILES issuer/x509/writ.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT libwrit)
install(FILES deploy/man/libwrit.3 DESTINATION ${CMAKE_INSTALL_MANDIR}/man3 COMPONENT libwrit)
