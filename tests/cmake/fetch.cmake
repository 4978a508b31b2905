# issuer/fetch/: what the issuer may ask of writ-fetchd.
writ_fuzz(fetch_ask DEPS writ_fetch_wire)
