# issuer/x509/: what we write is read back by OpenSSL; what we refuse is refused by name.
foreach(name csr delegation leaf ca bundle crl ocsp verify writ status)
	writ_test(test_x509_${name} SOURCES unit/test_x509_${name}.c
		DEPS writ_x509 PkgConfig::CRYPTO PkgConfig::JANSSON LABELS unit)
endforeach()
foreach(name csr delegation leaf ca crl ocsp_request ocsp_response)
	writ_fuzz(${name} DEPS writ_x509 PkgConfig::CRYPTO)
endforeach()
foreach(name chain view)
	writ_fuzz(${name} DEPS writ_x509 PkgConfig::JANSSON)
endforeach()
writ_fuzz(allow DEPS writ_x509)
