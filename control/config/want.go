package config

// want describes a kind of value: "eighty" is not {a port}: {write 1 to 65535}.
type want struct {
	what, remedy string
}

// What each kind of value is called, and how it is written.
var (
	wantFile       = want{"a mapping of fields", "write fields such as interfaces: [eth0]"}
	wantInterfaces = want{"a list of interfaces", "write interfaces: [eth0]"}
	wantInterface  = want{"the name of an interface", "write one such as eth0"}
	wantMode       = want{"an XDP mode", "write native or generic"}
	wantKey        = want{"a hash key", "write 32 hexadecimal digits in quotes"}
	wantMetrics    = want{"a mapping", `write metrics: {listen: "` + DefaultMetricsListen + `"}`}
	wantListen     = want{"an address with a port", `write one such as "` + DefaultMetricsListen + `", or off`}
	wantAPI        = want{"a mapping", "write api: {socket: " + DefaultAPISocket + "}"}
	wantSocket     = want{"the path of a socket", "write one such as " + DefaultAPISocket}
	wantSource     = want{"a mapping", "write source: {ipv4: 10.0.0.1}"}
	wantAddress    = want{"an IP address", "write one such as 10.1.0.1, without port or prefix length"}
	wantVarying    = want{"a prefix", "write one such as 172.31.0.0/16 or 100::/96"}
	wantGUE        = want{"a mapping", "write gue: {port: 6080}"}
	wantICMP       = want{"a mapping", "write icmp: {echo: reply}"}
	wantEcho       = want{"a treatment of echo requests", "write reply, pass or drop"}
	wantTooBig     = want{"a number of answers per second", "write 1 to 1000000, without quotes"}
	wantFragments  = want{"a mapping", "write fragments: {orphans: drop}"}
	wantOrphans    = want{"a treatment of orphans", "write drop or pass"}
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
	wantProtocol  = want{"a protocol", "write tcp, udp or [tcp, udp]"}
	wantForward   = want{"a forwarding mode", "write l2, ipip, gre or gue"}
	wantOwnGUE    = want{"a mapping", "write gue: {port: 6080}, or remove it for the node's port"}
	wantSlots     = want{"a number of slots", "write a prime number such as 65537, without quotes"}
	wantAffinity  = want{"an affinity", "write flow, source or {source_prefix: 24}"}
	wantBits      = want{"the length of a prefix", "write a whole number such as 24, without quotes"}
	wantFilter    = want{"a mapping", "write filter: {allow: [198.51.100.0/24]} or {deny: [198.51.100.0/24]}"}
	wantFallback  = want{"a treatment of other sources", "write allow or deny"}
	wantRates     = want{"a mapping", "write limits: {packets: {rate: 100000}}"}
	wantRate      = want{"a mapping", "write one such as {rate: 100, burst: 10}"}
	wantPerSecond = want{"a number per second", "write 1 to 1000000000, without quotes"}
	wantBurst     = want{"a number at once", "write 1 to 1000000000, without quotes"}
	wantMSS       = want{"a segment size", "write 88 to 65535, without quotes"}
	wantQUIC      = want{"a mapping", "write quic: {server_id_length: 4}"}
	wantIDLength  = want{"a length of server IDs", "write 1 to 8, without quotes"}
	wantRotation  = want{"a config rotation", "write 0 to 6 without quotes, or a list of them"}
	wantHealth    = want{"a mapping", "write health: {http: {path: /healthz}} or {tcp: {}}"}
	wantHTTP      = want{"a mapping", "write http: {path: /healthz}"}
	wantTCP       = want{"a mapping", "write tcp: {} or tcp: {port: 80}"}
	wantPath      = want{"a path", "write one such as /healthz"}
	wantHost      = want{"a host name", "write one such as example.org"}
	wantStatus    = want{"an HTTP status", "write one such as 200, or a list of them"}
	wantDuration  = want{"a duration", "write a number with its unit such as 2s or 500ms"}
	wantCount     = want{"a number of checks", "write 1 to 100, without quotes"}
	wantBackends  = want{"a list of backends", "write backends: [{address: 10.1.0.1}]"}
	wantBackend   = want{"a mapping of the fields of a backend", "write {address: 10.1.0.1}"}
	wantWeight    = want{"a weight", "write 1 to 1000, without quotes"}
	wantServerID  = want{"a server ID", `write 1 to 8 bytes in hexadecimal and in quotes, such as "0a0b0c0d"`}
)
