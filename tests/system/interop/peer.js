// An agent's peer by Node's tls: chain and CRLs by the `ca` and `crl` options, the SPIFFE ID by checkServerIdentity (client) or after the
// handshake (server).  See peers.py for what a peer is.
"use strict";
const fs = require("fs");
const tls = require("tls");
const readline = require("readline");

const [role, dir, expected] = process.argv.slice(2);
const read = (name) => fs.readFileSync(dir + "/" + name);
const options = { cert: read("chain.pem"), key: read("leaf.key"), ca: [read("anchor.pem")], minVersion: "TLSv1.3", timeout: 30000 };
if (fs.existsSync(dir + "/crls.pem"))
	options.crl = read("crls.pem").toString().split(/(?=-----BEGIN)/); // one CRL each

const isNamed = (cert, id) => cert.subjectaltname === "URI:" + id;

function serve() {
	const server = tls.createServer({ ...options, requestCert: true, rejectUnauthorized: true }, (socket) => {
		socket.on("error", () => {});
		if (!isNamed(socket.getPeerCertificate(), expected)) {
			console.log("refused another SPIFFE ID");
			socket.destroy();
			return;
		}
		socket.once("data", () => {
			console.log("ok " + expected);
			socket.end("hello\n");
		});
	});
	server.on("tlsClientError", (error, socket) => console.log("refused " + (socket.authorizationError || error.message)));
	server.listen(0, "127.0.0.1", () => console.log("port " + server.address().port));
}

function ask(port, id) {
	return new Promise((done) => {
		const say = (text) => { if (done) { console.log(text); done(); } done = null; };
		const socket = tls.connect({
			...options, port, host: "127.0.0.1",
			checkServerIdentity: (host, cert) => isNamed(cert, id) ? undefined : new Error("another SPIFFE ID"),
		}, () => socket.write("hello\n"));
		socket.once("data", () => { say("ok " + id); socket.end(); });
		socket.on("error", (error) => say("refused " + error.message));
		socket.on("close", () => say("refused by the peer"));
	});
}

async function client() {
	for await (const line of readline.createInterface({ input: process.stdin })) {
		const [port, id] = line.split(" ");
		await ask(Number(port), id);
	}
}

if (role === "server")
	serve();
else
	client();
