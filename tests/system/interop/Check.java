// Reads what Writ emits with Java's own libraries: PKIX path validation with revocation checking on (OCSP, then CRL), CRL, names.
//
// usage: java Check.java DIR good|revoked   (files as check.go; the responder and CRLs are asked over HTTP, as Java does)
import java.io.ByteArrayInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.*;
import java.util.*;

public class Check {
	static Path dir;

	static X509Certificate cert(String name) throws Exception {
		return (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(new ByteArrayInputStream(Files.readAllBytes(dir.resolve(name))));
	}

	static void validate(X509Certificate leaf, X509Certificate issuing, X509Certificate anchor, PKIXRevocationChecker.Option... options) throws Exception {
		CertPathValidator validator = CertPathValidator.getInstance("PKIX");
		PKIXRevocationChecker checker = (PKIXRevocationChecker) validator.getRevocationChecker();
		checker.setOptions(options.length == 0 ? EnumSet.noneOf(PKIXRevocationChecker.Option.class) : EnumSet.copyOf(Arrays.asList(options)));
		PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(anchor, null)));
		parameters.setRevocationEnabled(true);
		parameters.addCertPathChecker(checker);
		validator.validate(CertificateFactory.getInstance("X.509").generateCertPath(List.of(leaf, issuing)), parameters);
	}

	static boolean nameMatches(X509Certificate leaf, String host) throws Exception {
		javax.net.ssl.SSLContext context = javax.net.ssl.SSLContext.getDefault();
		try {
			Collection<List<?>> names = leaf.getSubjectAlternativeNames();
			for (List<?> name : names)
				if (name.get(0).equals(2) && name.get(1).equals(host))
					return true;
			sun_match(leaf, host);
			return true;
		} catch (CertificateException e) {
			System.out.println("ok the leaf as server " + host + ": " + e.getMessage());
			return false;
		}
	}

	/* The check that HttpsURLConnection makes, reached through the default hostname verifier's public face: an SSLEngine with endpoint identification. */
	static void sun_match(X509Certificate leaf, String host) throws Exception {
		javax.net.ssl.TrustManagerFactory factory = javax.net.ssl.TrustManagerFactory.getInstance("PKIX");
		java.security.KeyStore store = java.security.KeyStore.getInstance("PKCS12");
		store.load(null, null);
		store.setCertificateEntry("anchor", cert("anchor.pem"));
		factory.init(store);
		javax.net.ssl.X509ExtendedTrustManager manager = (javax.net.ssl.X509ExtendedTrustManager) factory.getTrustManagers()[0];
		javax.net.ssl.SSLContext context = javax.net.ssl.SSLContext.getInstance("TLS");
		context.init(null, null, null);
		javax.net.ssl.SSLEngine engine = context.createSSLEngine(host, 443);
		engine.setUseClientMode(true);
		javax.net.ssl.SSLParameters parameters = engine.getSSLParameters();
		parameters.setEndpointIdentificationAlgorithm("HTTPS");
		parameters.setServerNames(List.of(new javax.net.ssl.SNIHostName(host)));
		engine.setSSLParameters(parameters);
		manager.checkServerTrusted(new X509Certificate[] { leaf, cert("issuing.pem") }, "UNKNOWN", engine);
	}

	public static void main(String[] args) throws Exception {
		dir = Path.of(args[0]);
		X509Certificate leaf = cert("leaf.pem"), issuing = cert("issuing.pem"), anchor = cert("anchor.pem");
		X509CRL crl = (X509CRL) CertificateFactory.getInstance("X.509").generateCRL(new ByteArrayInputStream(Files.readAllBytes(dir.resolve("issuing.crl"))));
		crl.verify(issuing.getPublicKey());
		System.out.println("ok CRL " + crl.getThisUpdate());
		if (nameMatches(leaf, Files.readString(dir.resolve("host")).trim()))
			throw new Exception("FAILED: the leaf was taken for a server of that name");
		PKIXRevocationChecker.Option[][] ways = { {}, { PKIXRevocationChecker.Option.PREFER_CRLS, PKIXRevocationChecker.Option.NO_FALLBACK } };
		for (PKIXRevocationChecker.Option[] way : ways) {
			try {
				validate(leaf, issuing, anchor, way);
				if (!args[1].equals("good"))
					throw new Exception("FAILED: a revoked leaf was accepted");
				System.out.println("ok path with revocation checking " + Arrays.toString(way));
			} catch (CertPathValidatorException e) {
				if (args[1].equals("good") || e.getReason() != CertPathValidatorException.BasicReason.REVOKED)
					throw e;
				System.out.println("ok refused: " + e.getMessage());
			}
		}
	}
}
