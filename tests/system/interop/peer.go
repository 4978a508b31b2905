// An agent's peer by Go's crypto/tls: the chain by crypto/x509, CRLs and the SPIFFE ID in VerifyConnection, as Go looks at neither by
// itself.  See peers.py for what a peer is.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

var dir = os.Args[2] + "/"

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func lists() (found []*x509.RevocationList) {
	rest, err := os.ReadFile(dir + "crls.pem")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	must(err)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return found
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		must(err)
		found = append(found, list)
	}
}

// Each certificate of the path but the anchor is on a current list of its issuer, and is not listed.
func unrevoked(path []*x509.Certificate, lists []*x509.RevocationList) error {
	for i := 0; i+1 < len(path); i++ {
		current := false
		for _, list := range lists {
			if list.CheckSignatureFrom(path[i+1]) != nil || time.Now().After(list.NextUpdate) {
				continue
			}
			current = true
			for _, entry := range list.RevokedCertificates {
				if entry.SerialNumber.Cmp(path[i].SerialNumber) == 0 {
					return errors.New("certificate is revoked")
				}
			}
		}
		if !current {
			return errors.New("no current CRL of " + path[i+1].Subject.String())
		}
	}
	return nil
}

func config(id *string, usage x509.ExtKeyUsage) *tls.Config {
	pair, err := tls.LoadX509KeyPair(dir+"chain.pem", dir+"leaf.key")
	must(err)
	anchor, err := os.ReadFile(dir + "anchor.pem")
	must(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(anchor)
	crls := lists()
	return &tls.Config{
		MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, Certificates: []tls.Certificate{pair},
		ClientAuth: tls.RequireAnyClientCert, InsecureSkipVerify: true, // no host name to look for; instead, for client and server alike:
		VerifyConnection: func(state tls.ConnectionState) error {
			leaf, others := state.PeerCertificates[0], x509.NewCertPool()
			for _, c := range state.PeerCertificates[1:] {
				others.AddCert(c)
			}
			paths, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: others, KeyUsages: []x509.ExtKeyUsage{usage}})
			if err != nil {
				return err
			}
			if crls != nil {
				if err := unrevoked(paths[0], crls); err != nil {
					return err
				}
			}
			if len(leaf.URIs) != 1 || len(leaf.DNSNames)+len(leaf.IPAddresses)+len(leaf.EmailAddresses) != 0 || leaf.URIs[0].String() != *id {
				return errors.New("another SPIFFE ID")
			}
			return nil
		}}
}

func talk(connection *tls.Conn, id string, isServer bool) {
	connection.SetDeadline(time.Now().Add(30 * time.Second))
	err := connection.Handshake()
	if err == nil && !isServer {
		_, err = connection.Write([]byte("hello\n"))
	}
	if err == nil {
		_, err = bufio.NewReader(connection).ReadString('\n')
	}
	if err == nil && isServer {
		_, err = connection.Write([]byte("hello\n"))
	}
	if err != nil {
		fmt.Println("refused", err)
	} else {
		fmt.Println("ok", id)
	}
	connection.Close()
}

func main() {
	var id string
	if os.Args[1] == "server" {
		id = os.Args[3]
		settings := config(&id, x509.ExtKeyUsageClientAuth)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		must(err)
		fmt.Println("port", listener.Addr().(*net.TCPAddr).Port)
		for {
			connection, err := listener.Accept()
			must(err)
			talk(tls.Server(connection, settings), id, true)
		}
	}
	settings := config(&id, x509.ExtKeyUsageServerAuth)
	for {
		var port int
		if n, _ := fmt.Scan(&port, &id); n != 2 {
			return
		}
		connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		must(err)
		talk(tls.Client(connection, settings), id, false)
	}
}
