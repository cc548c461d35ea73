// Package discovery finds backends of services outside the configuration: by a DNS name, in a file that is watched, or
// numbered replicas of a template.
//
// A [Source] tells what it has found, again whenever that changes. A source that fails, or whose answer is empty, goes on
// with its last good answer and says so: nothing but an empty answer where the configuration allows one takes a
// service's last backends away. What cannot be a backend (a loopback address, the VIP itself, a family that the service
// cannot reach) is left out and told.
//
// # DNS
//
// An answer is asked for again when its time to live is over, within the bounds of the configuration, and up to a tenth
// later, so that nodes do not ask at once. After a failure that is sooner, and later each time. Servers are those of
// resolv.conf, read anew each time, or the one that is configured. They are asked over UDP, over TCP where the answer is
// too long for that. Names are absolute: search domains do not count.
//
// Of SRV records those of the least priority count; the others are what clients fall back to, and health checks take
// their place here. A weight is shared by the addresses of its target. The port that packets go to is the service's, as
// packets keep it on their way; records of another one can be left out by their port.
//
// # Names
//
// A backend's name follows from its address, or from the target of its SRV record if that has one address and could be
// written as a name; so that it keeps its name as others come and go.
package discovery
