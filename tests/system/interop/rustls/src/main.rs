//! An agent's peer by rustls: chain, purpose and CRLs by rustls-webpki, in a verifier of our own, since the one that comes with rustls
//! demands a host name of servers; the SPIFFE ID in the same place.  See peers.py for what a peer is.
use std::io::{BufRead, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{ring, verify_tls13_signature, CryptoProvider};
use rustls::pki_types::{pem::PemObject, CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use webpki::{anchor_from_trusted_cert, CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy};

#[derive(Debug)]
struct Verifier {
    anchor: TrustAnchor<'static>,
    crls: Vec<CertRevocationList<'static>>,
    id: Mutex<String>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn check(&self, leaf: &CertificateDer<'_>, others: &[CertificateDer<'_>], now: UnixTime, usage: KeyUsage) -> Result<(), Error> {
        let refused = |why: String| Error::General(why);
        let cert = EndEntityCert::try_from(leaf).map_err(|e| refused(e.to_string()))?;
        let lists: Vec<&CertRevocationList> = self.crls.iter().collect();
        let revocation = if lists.is_empty() {
            None
        } else {
            let options = RevocationOptionsBuilder::new(&lists).expect("not empty");
            Some(options.with_depth(RevocationCheckDepth::Chain).with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce).build())
        };
        cert.verify_for_usage(self.provider.signature_verification_algorithms.all, std::slice::from_ref(&self.anchor), others, now, usage,
            revocation, None).map_err(|e| refused(format!("{e:?}")))?;
        let names: Vec<&str> = cert.valid_uri_names().collect();
        if names != [self.id.lock().unwrap().as_str()] || cert.valid_dns_names().next().is_some() {
            return Err(refused("another SPIFFE ID".into()));
        }
        Ok(())
    }

    fn signature(&self, message: &[u8], cert: &CertificateDer<'_>, dss: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }
}

const TLS12: Error = Error::InvalidCertificate(CertificateError::BadSignature);

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(&self, leaf: &CertificateDer<'_>, others: &[CertificateDer<'_>], _: &ServerName<'_>, _: &[u8], now: UnixTime)
        -> Result<ServerCertVerified, Error> {
        self.check(leaf, others, now, KeyUsage::server_auth()).map(|_| ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        Err(TLS12)
    }
    fn verify_tls13_signature(&self, m: &[u8], c: &CertificateDer<'_>, d: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        self.signature(m, c, d)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(&self, leaf: &CertificateDer<'_>, others: &[CertificateDer<'_>], now: UnixTime) -> Result<ClientCertVerified, Error> {
        self.check(leaf, others, now, KeyUsage::client_auth()).map(|_| ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        Err(TLS12)
    }
    fn verify_tls13_signature(&self, m: &[u8], c: &CertificateDer<'_>, d: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        self.signature(m, c, d)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// One conversation over a connected socket; prints what came of it.
fn talk<S: Read + Write>(mut tls: S, id: &str, is_server: bool) {
    let mut line = [0u8; 6];
    let mut run = || -> std::io::Result<()> {
        if !is_server {
            tls.write_all(b"hello\n")?;
        }
        tls.read_exact(&mut line)?;
        if is_server {
            tls.write_all(b"hello\n")?;
        }
        tls.flush()
    };
    match run() {
        Ok(()) => println!("ok {id}"),
        Err(e) => println!("refused {}", e.to_string().replace('\n', " ")),
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let dir = Path::new(&arguments[2]);
    let provider = Arc::new(ring::default_provider());
    let anchor = CertificateDer::from_pem_file(dir.join("anchor.pem")).expect("anchor.pem");
    let chain: Vec<_> = CertificateDer::pem_file_iter(dir.join("chain.pem")).expect("chain.pem").map(|c| c.expect("chain.pem")).collect();
    let key = PrivateKeyDer::from_pem_file(dir.join("leaf.key")).expect("leaf.key");
    let mut crls = Vec::new();
    if dir.join("crls.pem").exists() {
        for der in CertificateRevocationListDer::pem_file_iter(dir.join("crls.pem")).expect("crls.pem") {
            crls.push(OwnedCertRevocationList::from_der(&der.expect("crls.pem")).expect("a CRL that webpki reads").into());
        }
    }
    let verifier = Arc::new(Verifier {
        anchor: anchor_from_trusted_cert(&anchor).expect("an anchor that webpki reads").to_owned(),
        crls,
        id: Mutex::new(arguments.get(3).cloned().unwrap_or_default()),
        provider: provider.clone(),
    });
    let patience = Some(Duration::from_secs(30));

    if arguments[1] == "server" {
        let mut config = rustls::ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]).unwrap()
            .with_client_cert_verifier(verifier).with_single_cert(chain, key).unwrap();
        config.send_tls13_tickets = 0;
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        println!("port {}", listener.local_addr().unwrap().port());
        for socket in listener.incoming() {
            let socket = socket.unwrap();
            socket.set_read_timeout(patience).unwrap();
            talk(rustls::StreamOwned::new(rustls::ServerConnection::new(config.clone()).unwrap(), socket), &arguments[3], true);
        }
        return;
    }
    let config = Arc::new(rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]).unwrap()
        .dangerous().with_custom_certificate_verifier(verifier.clone()).with_client_auth_cert(chain, key).unwrap());
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let (port, id) = line.split_once(' ').expect("PORT ID");
        *verifier.id.lock().unwrap() = id.to_string();
        let socket = TcpStream::connect(("127.0.0.1", port.parse::<u16>().unwrap())).unwrap();
        socket.set_read_timeout(patience).unwrap();
        let name = ServerName::try_from("agent.invalid").unwrap(); // SNI wants one; nobody looks at it
        talk(rustls::StreamOwned::new(rustls::ClientConnection::new(config.clone(), name).unwrap(), socket), id, false);
    }
}
