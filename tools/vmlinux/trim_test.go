package main

import (
	"slices"
	"strings"
	"testing"
)

const sample = `#ifndef __VMLINUX_H__
#define __VMLINUX_H__

typedef unsigned char __u8;

typedef short unsigned int __u16;

typedef __u16 __be16;

struct far;

typedef void (*callback_t)(struct far *, __be16);

enum {
	FLAG_A = 1,
	FLAG_B = 2,
};

struct inner {
	__be16 port;
};

struct far {
	struct inner *unused;
};

struct outer {
	struct inner in[2];
	struct far *away;
	union {
		__u8 callback_t;
	};
	callback_t call;
} __attribute__((packed));

struct alone {
	__u8 x;
};
`

func trimmed(t *testing.T, list string) string {
	t.Helper()
	wants, err := parseWants(list)
	if err != nil {
		t.Fatal(err)
	}
	out, err := trim(parseDump(sample), wants, "6.1.0")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// inOrder fails unless every part is in text, one after the other.
func inOrder(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		_, after, ok := strings.Cut(text, part)
		if !ok {
			t.Fatalf("no %q, or not in order, in:\n%s", part, text)
		}
		text = after
	}
}

func TestTrimBringsContainedTypesInOrder(t *testing.T) {
	out := trimmed(t, "wire struct outer")
	inOrder(t, out, "struct far;", "typedef unsigned char __u8;", "__u16;", "__be16;", "(*callback_t)(",
		"struct inner {", "struct outer {", "__attribute__((packed));")
}

func TestTrimDeclaresForwardWhatIsOnlyPointedTo(t *testing.T) {
	out := trimmed(t, "wire struct outer")
	if strings.Contains(out, "struct far {") {
		t.Errorf("far is only pointed to, but defined in:\n%s", out)
	}
	if strings.Contains(out, "alone") || strings.Contains(out, "FLAG_A") {
		t.Errorf("types that nobody wants in:\n%s", out)
	}
}

func TestTrimRelocatesKernelTypesOnly(t *testing.T) {
	out := trimmed(t, "kernel struct outer\nwire struct inner")
	inOrder(t, out, "struct inner {", "attribute push", "struct outer {", "attribute pop")
}

func TestTrimFindsAnEnumWithoutNameByItsMember(t *testing.T) {
	inOrder(t, trimmed(t, "# flags\n\nwire has FLAG_B\n"), "enum {", "FLAG_A = 1,", "FLAG_B = 2,")
}

func TestTrimNamesATypeThatTheKernelLacks(t *testing.T) {
	_, err := trim(parseDump(sample), []want{{name: "struct gone"}}, "6.1.0")
	if err == nil || !strings.Contains(err.Error(), `"struct gone"`) {
		t.Errorf("got %v", err)
	}
}

func TestParseWantsRefusesALineItDoesNotKnow(t *testing.T) {
	for _, line := range []string{"struct iphdr", "heap struct iphdr", "wire struct iphdr too"} {
		if _, err := parseWants("\n" + line); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: got %v", line, err)
		}
	}
}

func TestUsesTakesMembersNamesForNoType(t *testing.T) {
	got := uses("struct s {\n\t__u8 inner: 4;\n\tvoid (*f)(int, const struct far **);\n}")
	want := []use{{name: "typedef __u8"}, {name: "typedef void"}, {name: "typedef int"}, {name: "typedef const"}, {name: "struct far", pointer: true}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
