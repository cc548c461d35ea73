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

		// The daemon.
		"instance with a dot":  {node("instance: a.b"), `xlb.yaml:1:11: instance: "a.b" is not the name of an instance: write up to 31 of a-z, 0-9, '-' and '_', beginning with a letter or digit`},
		"instance as path":     {node("instance: ../a"), `xlb.yaml:1:11: instance: "../a" is not the name of an instance: write up to 31 of a-z, 0-9, '-' and '_', beginning with a letter or digit`},
		"relative state":       {node("state_dir: state"), `xlb.yaml:1:12: state_dir: "state" is not the path of a directory: write a plain absolute path such as /var/lib/xlb`},
		"state with detours":   {node("state_dir: /var/../lib"), `xlb.yaml:1:12: state_dir: "/var/../lib" is not the path of a directory: write a plain absolute path such as /var/lib/xlb`},
		"group of spaces":      {node("api: {group: 'a b'}"), `xlb.yaml:1:14: api.group: "a b" is not the name of a group: write one such as xlb`},
		"readers":              {node("api: {read: none}"), `xlb.yaml:1:13: api.read: "none" is not a choice of readers: write group or all`},
		"death in words":       {node("dead_daemon: stop"), `xlb.yaml:1:14: dead_daemon: "stop" is not an action while no daemon runs: write keep, pass-after 60s or drop-after 60s`},
		"keep for a while":     {node("dead_daemon: keep 60s"), `xlb.yaml:1:14: dead_daemon: "keep 60s" is not an action while no daemon runs: write keep, pass-after 60s or drop-after 60s`},
		"pass at once":         {node("dead_daemon: pass-after"), `xlb.yaml:1:14: dead_daemon: "pass-after" is not an action while no daemon runs: write keep, pass-after 60s or drop-after 60s`},
		"pass after a blink":   {node("dead_daemon: pass-after 1s"), "xlb.yaml:1:14: dead_daemon: 1s is too short: write at least 5s"},
		"drop after a week":    {node("dead_daemon: drop-after 168h"), "xlb.yaml:1:14: dead_daemon: 168h is too long: write at most 24h"},
		"programs maybe":       {node("health: {allow_exec: maybe}"), `xlb.yaml:1:22: health.allow_exec: "maybe" is not true or false: write true or false, without quotes`},
		"idle for a day":       {node("flows: {idle: 24h}"), "xlb.yaml:1:15: flows.idle: 24h is too long: write at most 1h"},
		"learning for nothing": {node("flows: {learn: 1ms}"), "xlb.yaml:1:16: flows.learn: 1ms is too short: write at least 1s"},
		"learning for longer":  {node("flows: {learn: 2m, max_transition: 1m}"), "xlb.yaml:1:36: flows.max_transition: 1m is shorter than flows.learn, 2m: write more, or less for flows.learn"},
		"endless transition":   {node("flows: {max_transition: 25h}"), "xlb.yaml:1:25: flows.max_transition: 25h is too long: write at most 24h"},
		"flows of limits":      {node("limits: {flows: 67108865}"), "xlb.yaml:1:17: limits.flows: 67108865 is not a number of flow records: write 1 to 67108864"},
		"include nowhere":      {node("include: conf.d"), "xlb.yaml:1:10: include: only a configuration that is read from a file may include others: write the services into the configuration"},
		"include a mapping":    {node("include: {dir: conf.d}"), "xlb.yaml:1:10: include: a mapping is not the path of a directory: write one such as conf.d, whose *.yaml files hold services"},

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
