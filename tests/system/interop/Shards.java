// Judges leaves of three shards by Java's own PKIX path validation, with CRLs alone.
//
// usage: java Shards.java DIR   (good-N.pem, revoked-N.pem, shard-N.crl, issuing.pem, anchor.pem, anchor.crl)
// Prints "LEAF: LISTS: ok" or the reason of the refusal; fetched: over HTTP, from where the leaf says; else from a store, and from nowhere else.
import java.io.ByteArrayInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.cert.*;
import java.util.*;

public class Shards {
	static Path dir;
	static CertificateFactory factory;

	static ByteArrayInputStream bytes(String name) throws Exception {
		return new ByteArrayInputStream(Files.readAllBytes(dir.resolve(name)));
	}

	static X509Certificate cert(String name) throws Exception {
		return (X509Certificate) factory.generateCertificate(bytes(name));
	}

	static void judge(String leaf, String how, List<String> lists) throws Exception {
		CertPathValidator validator = CertPathValidator.getInstance("PKIX");
		PKIXParameters parameters = new PKIXParameters(Set.of(new TrustAnchor(cert("anchor.pem"), null)));
		parameters.setRevocationEnabled(true);
		if (lists.isEmpty()) {
			PKIXRevocationChecker checker = (PKIXRevocationChecker) validator.getRevocationChecker();
			checker.setOptions(EnumSet.of(PKIXRevocationChecker.Option.PREFER_CRLS, PKIXRevocationChecker.Option.NO_FALLBACK));
			parameters.addCertPathChecker(checker);
		} else { // without a checker of its own, Java follows no URL
			List<CRL> crls = new ArrayList<>(List.of(factory.generateCRL(bytes("anchor.crl"))));
			for (String name : lists)
				crls.add(factory.generateCRL(bytes(name)));
			parameters.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(crls)));
		}
		String said = "ok";
		try {
			validator.validate(factory.generateCertPath(List.of(cert(leaf + ".pem"), cert("issuing.pem"))), parameters);
		} catch (CertPathValidatorException e) {
			said = e.getReason().toString();
		}
		System.out.println(leaf + ": " + how + ": " + said);
	}

	public static void main(String[] args) throws Exception {
		dir = Path.of(args[0]);
		factory = CertificateFactory.getInstance("X.509");
		for (int shard = 0; shard < 3; shard++) {
			List<String> others = new ArrayList<>(List.of("shard-0.crl", "shard-1.crl", "shard-2.crl")), own = List.of("shard-" + shard + ".crl");
			others.removeAll(own);
			for (List<String> lists : Arrays.asList(List.<String>of(), own, others))
				for (String leaf : List.of("good-", "revoked-"))
					judge(leaf + shard, lists.isEmpty() ? "fetched" : lists == own ? "own shard" : "other shards", lists);
		}
	}
}
