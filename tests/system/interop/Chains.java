// Validates many chains in one run of Java: PKIX with revocation checking on, once by OCSP (falling back to nothing) and once by CRL alone.
//
// usage: java Chains.java DIR	DIR has anchor.pem and, for each chain, NAME.leaf.pem and NAME.issuing.pem; a NAME that begins with "revoked" must be refused as such
import java.io.ByteArrayInputStream;
import java.nio.file.*;
import java.security.cert.*;
import java.util.*;

public class Chains {
	static X509Certificate cert(Path path) throws Exception {
		return (X509Certificate) CertificateFactory.getInstance("X.509").generateCertificate(new ByteArrayInputStream(Files.readAllBytes(path)));
	}

	static void validate(List<X509Certificate> chain, X509Certificate anchor, PKIXRevocationChecker.Option... options) throws Exception {
		CertPathValidator validator = CertPathValidator.getInstance("PKIX");
		PKIXRevocationChecker checker = (PKIXRevocationChecker) validator.getRevocationChecker();
		checker.setOptions(EnumSet.copyOf(Arrays.asList(options)));
		PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(anchor, null)));
		parameters.setRevocationEnabled(true);
		parameters.addCertPathChecker(checker);
		validator.validate(CertificateFactory.getInstance("X.509").generateCertPath(chain), parameters);
	}

	public static void main(String[] args) throws Exception {
		Path dir = Path.of(args[0]);
		X509Certificate anchor = cert(dir.resolve("anchor.pem"));
		// Only the leaf's status by OCSP: the anchor has a CRL and no responder.
		PKIXRevocationChecker.Option[][] ways = {
			{ PKIXRevocationChecker.Option.ONLY_END_ENTITY, PKIXRevocationChecker.Option.NO_FALLBACK },
			{ PKIXRevocationChecker.Option.PREFER_CRLS, PKIXRevocationChecker.Option.NO_FALLBACK } };
		int good = 0, revoked = 0;
		try (DirectoryStream<Path> leaves = Files.newDirectoryStream(dir, "*.leaf.pem")) {
			for (Path leaf : leaves) {
				String name = leaf.getFileName().toString().replace(".leaf.pem", "");
				List<X509Certificate> chain = List.of(cert(leaf), cert(dir.resolve(name + ".issuing.pem")));
				for (PKIXRevocationChecker.Option[] way : ways) {
					try {
						validate(chain, anchor, way);
						if (name.startsWith("revoked"))
							throw new Exception("FAILED: " + name + " was accepted");
						good++;
					} catch (CertPathValidatorException e) {
						if (!name.startsWith("revoked") || e.getReason() != CertPathValidatorException.BasicReason.REVOKED)
							throw new Exception("FAILED: " + name + " " + Arrays.toString(way), e);
						revoked++;
					}
				}
			}
		}
		System.out.println("ok " + good + " accepted, " + revoked + " refused as revoked");
	}
}
