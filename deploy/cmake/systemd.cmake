# `cmake --install build/release --component systemd`: units and sockets, users, folders.  The paths of the programs are those of this
# installation; folders are /etc/writ, /var/lib/writ and /run/writ wherever it is.
include(GNUInstallDirs)
set(BINDIR ${CMAKE_INSTALL_FULL_BINDIR})
foreach(role device signer issuer fetch responder)
	configure_file(deploy/systemd/writ-${role}.service.in ${PROJECT_BINARY_DIR}/systemd/writ-${role}.service @ONLY)
	install(FILES ${PROJECT_BINARY_DIR}/systemd/writ-${role}.service DESTINATION lib/systemd/system COMPONENT systemd)
endforeach()
foreach(unit writ-device.socket writ-signer.socket writ-admin.socket writ-fetch.socket writ.target)
	install(FILES deploy/systemd/${unit} DESTINATION lib/systemd/system COMPONENT systemd)
endforeach()
install(FILES deploy/systemd/writ.sysusers.conf DESTINATION lib/sysusers.d RENAME writ.conf COMPONENT systemd)
install(FILES deploy/systemd/writ.tmpfiles.conf DESTINATION lib/tmpfiles.d RENAME writ.conf COMPONENT systemd)
