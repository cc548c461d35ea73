package config

// want describes a kind of value: "eighty" is not {a port}: {write 1 to 65535}.
type want struct {
	what, remedy string
}

// wantWord is a kind of value that is one of a few words.
type wantWord struct {
	want
	words []string
}

// wantNumber is a kind of value that is a whole number within bounds.
type wantNumber struct {
	want
	least, most int
}

func word[T ~string](what, remedy string, words ...T) wantWord {
	w := wantWord{want: want{what, remedy}}
	for _, one := range words {
		w.words = append(w.words, string(one))
	}
	return w
}

func whole(what, remedy string, least, most int) wantNumber {
	return wantNumber{want{what, remedy}, least, most}
}

// What each kind of value is called, and how it is written.
var (
	wantFile       = want{"a mapping of fields", "write fields such as interfaces: [eth0]"}
	wantInterfaces = want{"a list of interfaces", "write interfaces: [eth0]"}
	wantInterface  = want{"the name of an interface", "write one such as eth0"}
	wantMode       = word("an XDP mode", "write native or generic", Native, Generic)
	wantKey        = want{"a hash key", "write 32 hexadecimal digits in quotes"}
	wantMetrics    = want{"a mapping", `write metrics: {listen: "` + DefaultMetricsListen + `"}`}
	wantListen     = want{"an address with a port", `write one such as "` + DefaultMetricsListen + `", or off`}
	wantInstance   = want{"the name of an instance", "write one such as default"}
	wantStateDir   = want{"the path of a directory", "write a plain absolute path such as " + DefaultStateDir}
	wantInclude    = want{"the path of a directory", "write one such as conf.d, whose *.yaml files hold services"}
	wantIncluded   = want{"a mapping of fields", "write fields such as services, each with a list"}
	wantGroup      = want{"the name of a group", "write one such as " + DefaultAPIGroup}
	wantRead       = word("a choice of readers", "write group or all", ReadGroup, ReadAll)
	wantDead       = want{"an action while no daemon runs", "write keep, pass-after 60s or drop-after 60s"}
	wantChecks     = want{"a mapping", "write health: {allow_exec: true}"}
	wantFlows      = want{"a mapping", "write flows: {idle: 15m}"}
	wantAPI        = want{"a mapping", "write api: {socket: " + DefaultAPISocket + "}"}
	wantSocket     = want{"the path of a socket", "write one such as " + DefaultAPISocket}
	wantSource     = want{"a mapping", "write source: {ipv4: 10.0.0.1}"}
	wantAddress    = want{"an IP address", "write one such as 10.1.0.1, without port or prefix length"}
	wantVarying    = want{"a prefix", "write one such as 172.31.0.0/16 or 100::/96"}
	wantGUE        = want{"a mapping", "write gue: {port: 6080}"}
	wantICMP       = want{"a mapping", "write icmp: {echo: reply}"}
	wantEcho       = word("a treatment of echo requests", "write reply, pass or drop", EchoReply, EchoPass, EchoDrop)
	wantTooBig     = whole("a number of answers per second", "write 1 to 1000000, without quotes", 1, MaxTooBigRate)
	wantFragments  = want{"a mapping", "write fragments: {orphans: drop}"}
	wantOrphans    = word("a treatment of orphans", "write drop or pass", "drop", "pass")
	wantBool       = want{"true or false", "write true or false, without quotes"}
	wantPrefixes   = want{"a list of prefixes", "write one such as [198.51.100.0/24]"}
	wantPrefix     = want{"a prefix or an address", "write one such as 198.51.100.0/24 or 2001:db8::/32"}
	wantList       = want{"the path of a file", "write one such as denied.txt, which holds one prefix in each line"}
	wantMAC        = want{"a MAC address", `write one such as "02:00:00:00:00:01"`}
	wantLimits     = want{"a mapping", "write limits: {services: 1024, backends: 16384, slots: 8388608}"}
	wantLimit      = want{"a number of entries", "write a whole number such as 1024, without quotes"}

	wantServices  = want{"a list of services", `begin each service with "- name: ..."`}
	wantService   = want{"a mapping of the fields of a service", `begin it with "- name: ..."`}
	wantName      = want{"a name", "write one such as web-1"}
	wantVIP       = want{"an address or a prefix", "write one such as 192.0.2.10 or 192.0.2.0/24, without port"}
	wantPort      = want{"a port", "write 1 to 65535, without quotes"}
	wantPorts     = want{"a port", "write 1 to 65535 without quotes, a range such as 8000-8999, a list such as [80, 443], or any"}
	wantProtocol  = word("a protocol", "write tcp, udp or [tcp, udp]", TCP, UDP)
	wantForward   = word("a forwarding mode", "write l2, ipip, gre or gue", L2, IPIP, GRE, GUE)
	wantOwnGUE    = want{"a mapping", "write gue: {port: 6080}, or remove it for the node's port"}
	wantSlots     = whole("a number of slots", "write a prime number such as 65537, without quotes", 2, MaxTable)
	wantAffinity  = word("an affinity", "write flow, source or {source_prefix: 24}", "flow", "source")
	wantBits      = whole("the length of a prefix", "write a whole number such as 24, without quotes", 0, 128)
	wantFilter    = want{"a mapping", "write filter: {allow: [198.51.100.0/24]} or {deny: [198.51.100.0/24]}"}
	wantFallback  = word("a treatment of other sources", "write allow or deny", "allow", "deny")
	wantRates     = want{"a mapping", "write limits: {packets: {rate: 100000}}"}
	wantRate      = want{"a mapping", "write one such as {rate: 100, burst: 10}"}
	wantPerSecond = whole("a number per second", "write 1 to 1000000000, without quotes", 1, MaxRate)
	wantBurst     = whole("a number at once", "write 1 to 1000000000, without quotes", 1, MaxRate)
	wantMSS       = whole("a segment size", "write 88 to 65535, without quotes", MinMSS, 1<<16-1)
	wantQUIC      = want{"a mapping", "write quic: {server_id_length: 4}"}
	wantIDLength  = whole("a length of server IDs", "write 1 to 8, without quotes", 1, MaxServerID)
	wantRotation  = whole("a config rotation", "write 0 to 6 without quotes, or a list of them", 0, Rotations-1)
	wantTracking  = word("a way of tracking", "write change, always or never", TrackChange, TrackAlways, TrackNever)
	wantPanic     = whole("a percentage", "write 0 to 100, without quotes and %", 0, 100)
	wantDuration  = want{"a duration", "write a number with its unit such as 2s or 500ms"}
	wantBackends  = want{"a list of backends", "write backends: [{address: 10.1.0.1}]"}
	wantBackend   = want{"a mapping of the fields of a backend", "write {address: 10.1.0.1}"}
	wantWeight    = whole("a weight", "write 1 to 1000, without quotes", 1, MaxWeight)
	wantServerID  = want{"a server ID", `write 1 to 8 bytes in hexadecimal and in quotes, such as "0a0b0c0d"`}
)
