package server

import (
	"encoding/base64"
	"errors"
	"net/http"
	"os"
	"testing"
)

func TestVault(t *testing.T) {
	SkipShort(t)
	ctx := t.Context()
	v, err := StartVault(ctx, VaultOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.EnableTransit(ctx, "transit", "muster"); err != nil {
		t.Fatal(err)
	}
	encrypt := func() error {
		_, err := v.Call(ctx, http.MethodPost, "transit/encrypt/muster",
			map[string]string{"plaintext": base64.StdEncoding.EncodeToString([]byte("x"))})
		return err
	}
	if err := encrypt(); err != nil {
		t.Fatal(err)
	}
	requests, err := v.Requests()
	if err != nil {
		t.Fatal(err)
	}
	if last := requests[len(requests)-1]; last != (VaultRequest{Operation: "update", Path: "transit/encrypt/muster"}) {
		t.Errorf("the last request: %+v", last)
	}
	if err := v.Seal(ctx); err != nil {
		t.Fatal(err)
	}
	if failure := (*VaultError)(nil); !errors.As(encrypt(), &failure) || failure.Status != http.StatusServiceUnavailable {
		t.Errorf("sealed: %v, want status 503", failure)
	}
	if err := v.Unseal(ctx); err != nil {
		t.Fatal(err)
	}
	v.SetDown(true)
	if err := encrypt(); err == nil || errors.As(err, new(*VaultError)) {
		t.Errorf("down: %v, want an error of the network", err)
	}
	v.SetDown(false)
	if err := encrypt(); err != nil {
		t.Errorf("up again, with its data: %v", err)
	}
	// The other engines and the auth methods that are linked in.
	for path, kind := range map[string]string{"sys/mounts/kv": "kv", "sys/mounts/kubernetes": "kubernetes", "sys/auth/kubernetes": "kubernetes", "sys/auth/approle": "approle"} {
		if _, err := v.Call(ctx, http.MethodPost, path, map[string]string{"type": kind}); err != nil {
			t.Error(err)
		}
	}
	if err := v.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(v.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder: %v", err)
	}
}
