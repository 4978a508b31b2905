// An agent's peer by Java's JSSE: chain and CRLs by the PKIX trust manager, told to check; the SPIFFE ID after the handshake.  No endpoint
// identification, since there is no host name.  See peers.py for what a peer is.
import java.io.*;
import java.net.*;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.security.cert.Certificate;
import java.util.*;
import javax.net.ssl.*;

public class Peer {
	static Path dir;

	static Collection<? extends Certificate> certificates(String name) throws Exception {
		try (InputStream in = Files.newInputStream(dir.resolve(name))) {
			return CertificateFactory.getInstance("X.509").generateCertificates(in);
		}
	}

	static SSLContext context() throws Exception {
		char[] password = "x".toCharArray();
		String pem = Files.readString(dir.resolve("leaf.key")).replaceAll("-----[A-Z ]+-----|\\s", "");
		PrivateKey key = KeyFactory.getInstance("EC").generatePrivate(new java.security.spec.PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem)));
		KeyStore own = KeyStore.getInstance("PKCS12");
		own.load(null, null);
		own.setKeyEntry("leaf", key, password, certificates("chain.pem").toArray(new Certificate[0]));
		KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
		keys.init(own, password);

		TrustAnchor anchor = new TrustAnchor((X509Certificate) certificates("anchor.pem").iterator().next(), null);
		PKIXBuilderParameters parameters = new PKIXBuilderParameters(Set.of(anchor), null);
		parameters.setRevocationEnabled(Files.exists(dir.resolve("crls.pem")));
		if (parameters.isRevocationEnabled()) {
			try (InputStream in = Files.newInputStream(dir.resolve("crls.pem"))) {
				Collection<? extends CRL> crls = CertificateFactory.getInstance("X.509").generateCRLs(in);
				parameters.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(crls)));
			}
			PKIXRevocationChecker checker = (PKIXRevocationChecker) CertPathBuilder.getInstance("PKIX").getRevocationChecker();
			checker.setOptions(EnumSet.of(PKIXRevocationChecker.Option.PREFER_CRLS, PKIXRevocationChecker.Option.NO_FALLBACK));
			parameters.addCertPathChecker(checker);
		}
		TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
		trust.init(new CertPathTrustManagerParameters(parameters));
		SSLContext context = SSLContext.getInstance("TLSv1.3");
		context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
		return context;
	}

	static boolean isNamed(SSLSession session, String id) throws Exception {
		Collection<List<?>> names = ((X509Certificate) session.getPeerCertificates()[0]).getSubjectAlternativeNames();
		List<?> only = names != null && names.size() == 1 ? names.iterator().next() : List.of(-1);
		return only.get(0).equals(6) && only.get(1).equals(id);	/* 6: uniformResourceIdentifier */
	}

	static void talk(SSLSocket socket, String id, boolean isServer) throws Exception {
		try (socket) {
			socket.setSoTimeout(30000);
			socket.setEnabledProtocols(new String[] { "TLSv1.3" });
			socket.startHandshake();
			if (!isNamed(socket.getSession(), id)) {
				System.out.println("refused another SPIFFE ID");
				return;
			}
			OutputStream out = socket.getOutputStream();
			if (!isServer)
				out.write("hello\n".getBytes());
			if (socket.getInputStream().readNBytes(6).length != 6)
				throw new EOFException("the peer hung up");
			if (isServer)
				out.write("hello\n".getBytes());
			System.out.println("ok " + id);
		} catch (IOException e) {
			StringBuilder why = new StringBuilder();
			for (Throwable t = e; t != null; t = t.getCause())
				why.append(t.getMessage()).append("; ");
			System.out.println("refused " + why.toString().replace('\n', ' '));
		}
	}

	public static void main(String[] args) throws Exception {
		dir = Path.of(args[1]);
		SSLContext context = context();
		if (args[0].equals("server")) {
			SSLServerSocket server = (SSLServerSocket) context.getServerSocketFactory().createServerSocket(0, 16, InetAddress.getLoopbackAddress());
			server.setNeedClientAuth(true);
			System.out.println("port " + server.getLocalPort());
			while (true)
				talk((SSLSocket) server.accept(), args[2], true);
		}
		Scanner in = new Scanner(System.in);
		while (in.hasNextInt()) {
			int port = in.nextInt();
			talk((SSLSocket) context.getSocketFactory().createSocket(InetAddress.getLoopbackAddress(), port), in.next(), false);
		}
	}
}
