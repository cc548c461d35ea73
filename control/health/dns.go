package health

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// DNS passes when a query is answered as wanted. NewDNS makes one.
type DNS struct {
	Addr   netip.AddrPort
	Via    Via
	TCP    bool // over TCP, else over UDP
	Name   string
	Type   string // A, AAAA, ...
	RCode  string // wanted: NOERROR, NXDOMAIN, ...
	Answer string // data of a record that the answer must hold, as zone files write it; empty: any

	question dns.Question
	rcode    int
	record   dns.RR // of Answer, nil: none
}

// NewDNS returns p, ready to be sent. It returns an error if name, type, rcode or answer
// are none.
func NewDNS(p DNS) (*DNS, error) {
	kind, ok := dns.StringToType[p.Type]
	if !ok {
		return nil, fmt.Errorf("%q is not a type of DNS records", p.Type)
	}
	if p.rcode, ok = dns.StringToRcode[p.RCode]; !ok {
		return nil, fmt.Errorf("%q is not a response code of DNS", p.RCode)
	}
	if _, ok := dns.IsDomainName(p.Name); !ok {
		return nil, fmt.Errorf("%q is not a domain name", p.Name)
	}
	p.question = dns.Question{Name: dns.Fqdn(p.Name), Qtype: kind, Qclass: dns.ClassINET}
	if p.Answer != "" {
		var err error
		p.record, err = dns.NewRR(fmt.Sprintf(". 0 IN %s %s", p.Type, p.Answer))
		if err != nil || p.record == nil || strings.ContainsAny(p.Answer, "\r\n") {
			return nil, fmt.Errorf("%q is not the data of a record of type %s", p.Answer, p.Type)
		}
	}
	return &p, nil
}

// Probe asks from a port, or over a connection, of its own.
func (p *DNS) Probe(ctx context.Context) (string, error) {
	query := &dns.Msg{Question: []dns.Question{p.question}}
	query.Id, query.RecursionDesired = dns.Id(), true
	wire, err := query.Pack()
	if err != nil {
		return "", fmt.Errorf("build query: %w", err)
	}
	var answer *dns.Msg
	talk := func(conn net.Conn) (err error) {
		answer, err = p.exchange(conn, query, wire)
		return err
	}
	if p.TCP {
		err = converse(ctx, p.Via, p.Addr, talk)
	} else {
		err = converseUDP(ctx, p.Via, p.Addr, talk)
	}
	if err == nil {
		err = p.judge(answer)
	}
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", p.Name, p.Type, reason(ctx, err))
	}
	return p.RCode, nil
}

func (p *DNS) exchange(conn net.Conn, query *dns.Msg, wire []byte) (*dns.Msg, error) {
	if p.TCP {
		wire = append(binary.BigEndian.AppendUint16(nil, uint16(len(wire))), wire...)
	}
	if _, err := conn.Write(wire); err != nil {
		return nil, err
	}
	if p.TCP {
		b, err := readFramed(conn)
		if err != nil {
			return nil, err
		}
		return readAnswer(b, query)
	}
	var wrong error // what came instead of an answer: anybody can send that
	for {
		b, err := readDatagram(conn)
		if wrong != nil && errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, told{wrong}
		}
		if err != nil {
			return nil, err
		}
		m, err := readAnswer(b, query)
		if err == nil {
			return m, nil
		}
		wrong = err
	}
}

// readFramed reads a message behind its length.
func readFramed(conn net.Conn) ([]byte, error) {
	var length [2]byte
	if _, err := io.ReadFull(conn, length[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(conn, b)
	return b, err
}

// readAnswer returns an error if b is not an answer to the query.
func readAnswer(b []byte, query *dns.Msg) (*dns.Msg, error) {
	m := &dns.Msg{}
	if err := m.Unpack(b); err != nil {
		return nil, errors.New("answer is not DNS")
	}
	asked := query.Question[0]
	switch {
	case !m.Response || m.Opcode != dns.OpcodeQuery:
		return nil, errors.New("answer is not DNS")
	case m.Id != query.Id,
		len(m.Question) > 1,
		len(m.Question) == 0 && m.Rcode == dns.RcodeSuccess: // servers that cannot read a question may leave it out
		return nil, errors.New("answer to another question")
	case len(m.Question) == 1 && (m.Question[0].Qtype != asked.Qtype || m.Question[0].Qclass != asked.Qclass ||
		dns.CanonicalName(m.Question[0].Name) != dns.CanonicalName(asked.Name)):
		return nil, errors.New("answer to another question")
	}
	return m, nil
}

func (p *DNS) judge(m *dns.Msg) error {
	switch {
	case m.Rcode != p.rcode:
		if name, ok := dns.RcodeToString[m.Rcode]; ok {
			return errors.New(name)
		}
		return fmt.Errorf("response code %d", m.Rcode)
	case p.record == nil || slices.ContainsFunc(m.Answer, p.isRecord):
		return nil
	case m.Truncated:
		return errors.New("answer truncated")
	}
	return fmt.Errorf("answer does not hold %s", p.Answer)
}

// isRecord compares types and data; whose they are may have been changed by aliases.
func (p *DNS) isRecord(rr dns.RR) bool {
	header := *p.record.Header()
	header.Name = rr.Header().Name
	wanted := dns.Copy(p.record)
	*wanted.Header() = header
	return dns.IsDuplicate(rr, wanted)
}
