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

	/* What an HTTPS client says of the leaf as a server of that name: a real handshake against a server that shows the leaf. */
	static void refuseAsServer(String host) throws Exception {
		char[] password = "x".toCharArray();
		java.security.KeyStore own = java.security.KeyStore.getInstance("PKCS12"), trusted = java.security.KeyStore.getInstance("PKCS12");
		own.load(null, null);
		trusted.load(null, null);
		String pem = Files.readString(dir.resolve("leaf.key")).replaceAll("-----[A-Z ]+-----|\\s", "");
		java.security.PrivateKey key = java.security.KeyFactory.getInstance("EC")
			.generatePrivate(new java.security.spec.PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem)));
		own.setKeyEntry("leaf", key, password, new X509Certificate[] { cert("leaf.pem"), cert("issuing.pem") });
		trusted.setCertificateEntry("anchor", cert("anchor.pem"));
		javax.net.ssl.KeyManagerFactory keys = javax.net.ssl.KeyManagerFactory.getInstance("PKIX");
		keys.init(own, password);
		javax.net.ssl.TrustManagerFactory trust = javax.net.ssl.TrustManagerFactory.getInstance("PKIX");
		trust.init(trusted);
		javax.net.ssl.SSLContext context = javax.net.ssl.SSLContext.getInstance("TLSv1.3");
		context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
		javax.net.ssl.SSLServerSocket server = (javax.net.ssl.SSLServerSocket) context.getServerSocketFactory().createServerSocket(0, 1, java.net.InetAddress.getLoopbackAddress());
		Thread serving = new Thread(() -> {
			try (java.net.Socket peer = server.accept()) {
				peer.getInputStream().read();
			} catch (java.io.IOException e) {
				/* the client hung up, as it should */
			}
		});
		serving.setDaemon(true);
		serving.start();
		java.net.Socket plain = new java.net.Socket(java.net.InetAddress.getLoopbackAddress(), server.getLocalPort());
		try (javax.net.ssl.SSLSocket socket = (javax.net.ssl.SSLSocket) context.getSocketFactory().createSocket(plain, host, server.getLocalPort(), true)) {
			javax.net.ssl.SSLParameters parameters = socket.getSSLParameters();
			parameters.setEndpointIdentificationAlgorithm("HTTPS");
			socket.setSSLParameters(parameters);
			socket.startHandshake();
		} catch (javax.net.ssl.SSLHandshakeException e) {
			System.out.println("ok the leaf as server " + host + ": " + e.getMessage());
			return;
		}
		throw new Exception("FAILED: the leaf was taken for a server of that name");
	}

	public static void main(String[] args) throws Exception {
		dir = Path.of(args[0]);
		X509Certificate leaf = cert("leaf.pem"), issuing = cert("issuing.pem"), anchor = cert("anchor.pem");
		X509CRL crl = (X509CRL) CertificateFactory.getInstance("X.509").generateCRL(new ByteArrayInputStream(Files.readAllBytes(dir.resolve("issuing.crl"))));
		crl.verify(issuing.getPublicKey());
		System.out.println("ok CRL " + crl.getThisUpdate());
		refuseAsServer(Files.readString(dir.resolve("host")).trim());
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
