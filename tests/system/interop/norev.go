// Reads a leaf with noRevAvail with crypto/x509.
//
// usage: norev DIR: leaf.pem, issuing.pem, anchor.pem.  Prints ok.
package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
)

func cert(name string) *x509.Certificate {
	bytes, err := os.ReadFile(os.Args[1] + "/" + name)
	if err == nil {
		block, _ := pem.Decode(bytes)
		var c *x509.Certificate
		if c, err = x509.ParseCertificate(block.Bytes); err == nil {
			return c
		}
	}
	fmt.Println("FAILED", name, err)
	os.Exit(1)
	return nil
}

func main() {
	leaf, roots, between := cert("leaf.pem"), x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(cert("anchor.pem"))
	between.AddCert(cert("issuing.pem"))
	if len(leaf.CRLDistributionPoints)+len(leaf.OCSPServer)+len(leaf.UnhandledCriticalExtensions) != 0 {
		fmt.Println("FAILED: it names a status, or something critical that Go does not know")
		os.Exit(1)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		fmt.Println("FAILED", err)
		os.Exit(1)
	}
	fmt.Println("ok")
}
