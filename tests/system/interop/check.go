// Reads what Writ emits with Go's own libraries: crypto/x509, crypto/tls, x/crypto/ocsp.
//
// usage: check DIR: leaf.pem, issuing.pem, anchor.pem, issuing.crl, anchor.crl, leaf.key, erp.pem, erp.key, corp.pem, good.ocsp, revoked.ocsp, host
// (a name equal to the task id).  Prints one line a check; exits 1 at the first that fails.
package main

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"golang.org/x/crypto/ocsp"
)

var dir = os.Args[1] + "/"

func must(what string, err error) {
	if err != nil {
		fmt.Println("FAILED", what+":", err)
		os.Exit(1)
	}
	fmt.Println("ok", what)
}

func refused(what string, err error) {
	if err == nil {
		fmt.Println("FAILED", what+": was accepted")
		os.Exit(1)
	}
	fmt.Println("ok", what+":", err)
}

func read(name string) []byte {
	b, err := os.ReadFile(dir + name)
	if err != nil {
		fmt.Println("FAILED reading", name, err)
		os.Exit(1)
	}
	return b
}

func cert(name string) *x509.Certificate {
	block, _ := pem.Decode(read(name))
	c, err := x509.ParseCertificate(block.Bytes)
	must("parse "+name, err)
	return c
}

func pool(c ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, one := range c {
		p.AddCert(one)
	}
	return p
}

func checkStatus(what string, leaf, issuing *x509.Certificate, answer *http.Response, err error) {
	must(what, err)
	der, err := io.ReadAll(answer.Body)
	must(what, err)
	response, err := ocsp.ParseResponseForCert(der, leaf, issuing)
	must(what, err)
	if response.Status != ocsp.Good || answer.Header.Get("Content-Type") != "application/ocsp-response" {
		refused(what, nil)
	}
}

func main() {
	leaf, issuing, anchor, corp := cert("leaf.pem"), cert("issuing.pem"), cert("anchor.pem"), cert("corp.pem")
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		_, err := leaf.Verify(x509.VerifyOptions{Roots: pool(anchor), Intermediates: pool(issuing), KeyUsages: []x509.ExtKeyUsage{usage}})
		must("path of the leaf", err)
	}
	host := strings.TrimSpace(string(read("host")))
	_, err := leaf.Verify(x509.VerifyOptions{Roots: pool(anchor), Intermediates: pool(issuing), DNSName: host})
	refused("the leaf as server "+host, err)
	if len(leaf.URIs) != 1 || leaf.URIs[0].Scheme != "spiffe" {
		refused("exactly one SPIFFE URI", nil)
	}

	for name, by := range map[string]*x509.Certificate{"issuing.crl": issuing, "anchor.crl": anchor} {
		list, err := x509.ParseRevocationList(read(name))
		must("parse "+name, err)
		must("signature of "+name, list.CheckSignatureFrom(by))
	}

	for name, want := range map[string]int{"good.ocsp": ocsp.Good, "revoked.ocsp": ocsp.Revoked} {
		response, err := ocsp.ParseResponse(read(name), issuing)
		must("parse and verify "+name, err)
		if response.Status != want || response.NextUpdate.IsZero() {
			refused("status in "+name, nil)
		}
	}

	for _, hash := range []crypto.Hash{crypto.SHA1, crypto.SHA256} {
		request, err := ocsp.CreateRequest(leaf, issuing, &ocsp.RequestOptions{Hash: hash})
		must("make a request", err)
		responder := leaf.OCSPServer[0]
		posted, err := http.Post(responder, "application/ocsp-request", bytes.NewReader(request))
		checkStatus("asked by POST", leaf, issuing, posted, err)
		got, err := http.Get(responder + "/" + url.PathEscape(base64.StdEncoding.EncodeToString(request)))
		checkStatus("asked by GET", leaf, issuing, got, err)
	}

	pair, err := tls.LoadX509KeyPair(dir+"leaf.pem", dir+"leaf.key")
	must("load the leaf's key pair", err)
	pair.Certificate = append(pair.Certificate[:1], issuing.Raw)
	server, err := tls.LoadX509KeyPair(dir+"erp.pem", dir+"erp.key")
	must("load the server's key pair", err)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{server}, ClientCAs: pool(anchor),
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13})
	must("listen", err)
	go func() {
		connection, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{RootCAs: pool(corp), ServerName: "localhost",
			Certificates: []tls.Certificate{pair}})
		must("dial", err)
		io.WriteString(connection, "hello")
		connection.Close()
	}()
	var connection net.Conn
	connection, err = listener.Accept()
	must("accept", err)
	buffer := make([]byte, 5)
	_, err = io.ReadFull(connection, buffer)
	must("mutual TLS handshake", err)
	peer := connection.(*tls.Conn).ConnectionState().PeerCertificates[0]
	if peer.Subject.CommonName != leaf.Subject.CommonName {
		refused("peer's name", nil)
	}
}
