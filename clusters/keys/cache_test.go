package keys

import (
	"fmt"
	"testing"
	"time"
)

// TestCache: values are copied, expire on time, are limited in number, and are overwritten when dropped.
func TestCache(t *testing.T) {
	now := time.Now()
	c := cache{max: 3}
	name := func(i int) id { return id{byte(i)} }
	value := []byte("canary")
	c.put(name(0), value, now.Add(time.Hour))
	value[0] = 'x'
	got, ok := c.get(name(0), now)
	if !ok || string(got) != "canary" {
		t.Fatalf("%q, %v", got, ok)
	}
	got[0] = 'x'
	if again, _ := c.get(name(0), now); string(again) != "canary" {
		t.Error("what one has got changes what another gets")
	}
	if _, ok := c.get(name(0), now.Add(time.Hour)); ok {
		t.Error("it is there at its end")
	}
	first := c.values[name(0)].value
	for i := 1; i <= 3; i++ {
		c.put(name(i), []byte(fmt.Sprint("canary", i)), now.Add(time.Duration(i+60)*time.Minute))
	}
	if _, ok := c.get(name(0), now); ok || len(c.values) != 3 {
		t.Errorf("%d values; the one that ends first makes room", len(c.values))
	}
	zeroed := func(reason string, value []byte) {
		t.Helper()
		for _, b := range value {
			if b != 0 {
				t.Errorf("%s: %q is still in memory", reason, value)
				return
			}
		}
	}
	zeroed("put out", first)
	replaced := c.values[name(1)].value
	c.put(name(1), []byte("canary-new"), now.Add(time.Hour))
	zeroed("replaced", replaced)
	expired := c.values[name(2)].value
	c.expire(now.Add(62 * time.Minute))
	zeroed("expired", expired)
	if len(c.values) != 1 {
		t.Errorf("%d values are left, want 1", len(c.values))
	}
}

// TestCircuit: failures count per server, and only one request probes it.
func TestCircuit(t *testing.T) {
	now := time.Now()
	var c circuits
	a, down := id{1}, &UnavailableError{Address: "https://a.example.com", Reason: "down"}
	for range failuresInARow {
		if err := c.admit(a, now); err != nil {
			t.Fatal(err)
		}
		c.record(a, down, now)
	}
	if c.admit(a, now) == nil {
		t.Error("it is asked again at once")
	}
	if err := c.admit(id{2}, now); err != nil {
		t.Errorf("another server: %v", err)
	}
	if r := NewRemote(time.Now); r.server("https://a.example.com", "x") == r.server("https://a.example.com", "y") ||
		r.server("https://a.example.com", "x") == r.server("https://b.example.com", "x") {
		t.Error("another server, or other credentials, share a circuit")
	}
	later := now.Add(cooldown)
	if err := c.admit(a, later); err != nil {
		t.Errorf("later: %v", err)
	}
	if c.admit(a, later) == nil {
		t.Error("two probes are out")
	}
	c.record(a, down, later)
	if c.admit(a, later) == nil {
		t.Error("the probe failed, and it is asked again at once")
	}
	if err := c.admit(a, later.Add(cooldown)); err != nil {
		t.Error(err)
	}
	c.record(a, nil, later)
	if err := c.admit(a, later); err != nil {
		t.Errorf("it is back: %v", err)
	}
	for i := range 10 * maxCircuits {
		c.record(id{2, byte(i), byte(i >> 8)}, down, now)
	}
	if len(c.byServer) > maxCircuits {
		t.Errorf("%d circuits", len(c.byServer))
	}
}
