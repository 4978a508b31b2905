// Reads what Writ emits with Node's own libraries: X509Certificate, and a mutual TLS handshake with and without the CRLs.
//
// usage: node check.js DIR good|revoked   (files as check.go; issuing.crl.pem and anchor.crl.pem beside them)
"use strict";
const fs = require("fs");
const path = require("path");
const tls = require("tls");
const { X509Certificate } = require("crypto");

const dir = process.argv[2];
const want = process.argv[3];
const read = (name) => fs.readFileSync(path.join(dir, name));
const fail = (text) => { console.log("FAILED " + text); process.exit(1); };

const leaf = new X509Certificate(read("leaf.pem"));
const issuing = new X509Certificate(read("issuing.pem"));
const anchor = new X509Certificate(read("anchor.pem"));
if (!leaf.verify(issuing.publicKey) || !issuing.verify(anchor.publicKey)) fail("signatures");
if (leaf.ca || !issuing.ca) fail("basicConstraints");
const host = read("host").toString().trim();
if (leaf.checkHost(host)) fail("the leaf was taken for a server named " + host);
console.log("ok certificate; not a server named " + host);

const server = tls.createServer({
	cert: read("erp.pem"), key: read("erp.key"), ca: [read("anchor.pem")], requestCert: true, rejectUnauthorized: true,
	crl: [read("issuing.crl.pem"), read("anchor.crl.pem")], minVersion: "TLSv1.3",
}, (socket) => {
	console.log("ok handshake with " + socket.getPeerCertificate().subject.CN);
	socket.end("hello");
	server.close();
	if (want !== "good") fail("a revoked leaf was accepted");
});
server.on("tlsClientError", (error) => {
	if (want === "good") fail("handshake: " + error.message);
	console.log("ok refused: " + error.message);
	server.close();
	process.exit(0);
});
server.listen(0, "127.0.0.1", () => {
	const client = tls.connect({
		port: server.address().port, host: "127.0.0.1", servername: "localhost", ca: [read("corp.pem")],
		cert: Buffer.concat([read("leaf.pem"), read("issuing.pem")]), key: read("leaf.key"),
	});
	client.on("error", () => {});
	client.resume();
});
setTimeout(() => fail("nothing happened within 10 s"), 10000).unref();
