// Validates a leaf with noRevAvail by Java's PKIX, which does not know the extension: without revocation checking, and with it.
//
// usage: java NoRev.java DIR   (leaf.pem, issuing.pem, anchor.pem)
import java.io.ByteArrayInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.*;
import java.util.*;

public class NoRev {
	public static void main(String[] args) throws Exception {
		CertificateFactory factory = CertificateFactory.getInstance("X.509");
		List<X509Certificate> certs = new ArrayList<>();
		for (String name : List.of("leaf", "issuing", "anchor"))
			certs.add((X509Certificate) factory.generateCertificate(new ByteArrayInputStream(Files.readAllBytes(Path.of(args[0], name + ".pem")))));
		for (boolean revocation : new boolean[] { false, true }) {
			CertPathValidator validator = CertPathValidator.getInstance("PKIX");
			PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(certs.get(1), null)));
			parameters.setRevocationEnabled(revocation);
			if (revocation)
				parameters.addCertPathChecker((PKIXRevocationChecker) validator.getRevocationChecker());
			String said = "ok";
			try {
				validator.validate(factory.generateCertPath(List.of(certs.get(0))), parameters);
			} catch (CertPathValidatorException e) {
				said = "refused"; // no place to ask is no status: which reason it gives depends on its version
			}
			System.out.println((revocation ? "with" : "without") + " revocation: " + said);
		}
	}
}
