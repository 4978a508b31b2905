# issuer/auth/: certificates made by OpenSSL, mapped by us.
writ_test(test_auth SOURCES unit/test_auth.c DEPS writ_auth PkgConfig::CRYPTO LABELS unit)
writ_test(test_auth_jws SOURCES unit/test_auth_jws.c DEPS writ_auth PkgConfig::CRYPTO LABELS unit)
writ_test(test_auth_grantkeys SOURCES unit/test_auth_grantkeys.c DEPS writ_auth PkgConfig::CRYPTO LABELS unit)
writ_fuzz(jws DEPS writ_auth)
writ_test(test_auth_oidc SOURCES unit/test_auth_oidc.c DEPS writ_auth PkgConfig::CRYPTO LABELS unit)
writ_fuzz(jwks DEPS writ_auth)
writ_fuzz(id_token DEPS writ_auth PkgConfig::CRYPTO)
