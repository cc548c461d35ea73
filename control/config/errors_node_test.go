package config

import "testing"

func TestBadNodeSettingsAreRefused(t *testing.T) {
	node := func(text string) string { return text + "\ninterfaces: [eth0]\nservices: []\n" }
	refused(t, map[string]example{
		// Outer sources.
		"IPv4 as IPv6 source": {node("source: {ipv6: 10.0.0.1}"), "xlb.yaml:1:16: source.ipv6: 10.0.0.1 is not an IPv6 address: write an IPv6 address"},
		"link-local source":   {node("source: {ipv6: fe80::1}"), "xlb.yaml:1:16: source.ipv6: fe80::1 is one of the link-local addresses, fe80::/10: write the unicast address of a machine, such as 10.1.0.1"},
		"source with a zone":  {node("source: {ipv6: fe80::1%eth0}"), `xlb.yaml:1:16: source.ipv6: "fe80::1%eth0" is not an IP address: write one such as 10.1.0.1, without port or prefix length`},
		"mapped source":       {node("source: {ipv6: '::ffff:10.0.0.1'}"), "xlb.yaml:1:16: source.ipv6: ::ffff:10.0.0.1 is IPv4 written as IPv6: write 10.0.0.1"},
		"address to vary":     {node("source: {ipip_ipv4: 172.31.0.0}"), "xlb.yaml:1:21: source.ipip_ipv4: 172.31.0.0 does not leave 1 to 24 bits to vary: write a prefix of /8 to /31"},
		"prefix too wide":     {node("source: {ipip_ipv6: 2001:db8::/95}"), "xlb.yaml:1:21: source.ipip_ipv6: 2001:db8::/95 does not leave 1 to 32 bits to vary: write a prefix of /96 to /127"},
		"prefix with host":    {node("source: {ipip_ipv4: 172.31.5.1/16}"), "xlb.yaml:1:21: source.ipip_ipv4: 172.31.5.1/16 has bits set behind its length: write 172.31.0.0/16, or 172.31.5.1 for the one address"},
		"IPv6 to vary":        {node("source: {ipip_ipv4: 100::/96}"), "xlb.yaml:1:21: source.ipip_ipv4: 100::/96 is not an IPv4 prefix: write an IPv4 prefix"},
		"multicast to vary":   {node("source: {ipip_ipv4: 224.0.0.0/8}"), "xlb.yaml:1:21: source.ipip_ipv4: 224.0.0.0/8 overlaps the multicast addresses, 224.0.0.0/4: write a prefix of unicast addresses"},

		// Switches.
		"GUE on port 0":       {node("gue: {port: 0}"), "xlb.yaml:1:13: gue.port: port 0 is reserved and no tunnel can end there: write 1 to 65535"},
		"GUE as number":       {node("gue: 6080"), "xlb.yaml:1:6: gue: 6080 is not a mapping: write gue: {port: 6080}"},
		"checksum yes":        {node("gue: {ipv6_checksum: yes}"), `xlb.yaml:1:22: gue.ipv6_checksum: "yes" is not true or false: write true or false, without quotes`},
		"truth in quotes":     {node("verify_checksum: 'true'"), `xlb.yaml:1:18: verify_checksum: "true" is not true or false: write true or false, without quotes`},
		"bad echo":            {node("icmp: {echo: ignore}"), `xlb.yaml:1:14: icmp.echo: "ignore" is not a treatment of echo requests: write reply, pass or drop`},
		"no answers":          {node("icmp: {too_big_rate: 0}"), "xlb.yaml:1:22: icmp.too_big_rate: 0 is not a number of answers per second: write 1 to 1000000"},
		"orphans kept":        {node("fragments: {orphans: keep}"), `xlb.yaml:1:22: fragments.orphans: "keep" is not a treatment of orphans: write drop or pass`},
		"short MAC":           {node("gateway_mac: 02:00:00:00:01"), `xlb.yaml:1:14: gateway_mac: "02:00:00:00:01" is not a MAC address: write one such as "02:00:00:00:00:01"`},
		"MAC with hyphens":    {node("gateway_mac: 02-00-00-00-00-01"), `xlb.yaml:1:14: gateway_mac: "02-00-00-00-00-01" is not a MAC address: write one such as "02:00:00:00:00:01"`},
		"MAC of a group":      {node("gateway_mac: 01:00:5e:00:00:01"), `xlb.yaml:1:14: gateway_mac: 01:00:5e:00:00:01 is an address of a group: write one such as "02:00:00:00:00:01"`},
		"fragments of limits": {node("limits: {fragments: 16777217}"), "xlb.yaml:1:21: limits.fragments: 16777217 is not a number of fragment records: write 1 to 16777216"},

		// Deny list.
		"deny as text":           {node("deny: 198.51.100.0/24"), `xlb.yaml:1:7: deny: "198.51.100.0/24" is not a list of prefixes: write one such as [198.51.100.0/24]`},
		"deny a name":            {node("deny: [10.0.0.0/8, example.org]"), `xlb.yaml:1:20: deny[1]: "example.org" is not a prefix or an address: write one such as 198.51.100.0/24 or 2001:db8::/32`},
		"deny with a host":       {node("deny: [example.org, 10.0.0.0/8, 10.0.0.0/8, 198.51.100.7/24]"), "xlb.yaml:1:8: deny[0]: \"example.org\" is not a prefix or an address: write one such as 198.51.100.0/24 or 2001:db8::/32\nxlb.yaml:1:45: deny[3]: 198.51.100.7/24 has bits set behind its length: write 198.51.100.0/24, or 198.51.100.7 for the one address"},
		"deny a mapped prefix":   {node("deny: ['::ffff:10.0.0.0/104']"), "xlb.yaml:1:8: deny[0]: ::ffff:10.0.0.0/104 is IPv4 written as IPv6: write 10.0.0.0/8"},
		"deny a long prefix":     {node("deny: [10.0.0.0/33]"), `xlb.yaml:1:8: deny[0]: "10.0.0.0/33" is not a prefix or an address: write one such as 198.51.100.0/24 or 2001:db8::/32`},
		"deny more than allowed": {node("limits: {rules: 1}\ndeny: [10.0.0.1, 10.0.0.2]"), "xlb.yaml:2:7: deny: up to here there are 2 source prefixes, and limits.rules is 1: raise limits.rules"},
		"files in a list":        {node("deny_file: [denied.txt]"), "xlb.yaml:1:12: deny_file: a list is not the path of a file: " + wantList.remedy},
		"file without a folder":  {node("deny_file: denied.txt"), "xlb.yaml:1:12: deny_file: only a configuration that is read from a file may name others: write the prefixes into the configuration"},
	})
}
