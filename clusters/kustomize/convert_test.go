package kustomize

import (
	"reflect"
	"testing"

	"sigs.k8s.io/kustomize/api/provider"
)

// TestObject: a converted object equals kustomize's own Map.
func TestObject(t *testing.T) {
	const head = "apiVersion: v1\nkind: X\nmetadata: {name: a}\n"
	for reason, text := range map[string]string{
		"texts":        head + "a: b\nb: 'c'\nc: \"d\\ne\"\nd: |\n  e\n  f\ne: ''\nf: a\n",
		"no texts":     head + "a: 1\nb: true\nc: null\nd: 1.5\ne: ~\nf: 0x1F\ng: 0o17\nh: 1e3\ni: .inf\nj: -7\nk: 18446744073709551615\n",
		"old booleans": head + "a: yes\nb: on\nc: 'yes'\n",
		"dates":        head + "a: 2026-01-02\nb: 2026-01-02T03:04:05Z\nc: '2026-01-02'\n",
		"tags":         head + "a: !!str 1\nb: !!int '2'\nc: !!binary aGVsbG8=\nd: !mine x\n",
		"lists":        head + "a: []\nb: [x, 1, null, [y], {z: x}]\nc:\n- a\n-\n",
		"mappings":     head + "a: {}\nb: {c: {d: {}}}\n",
		"other keys":   head + "a: {1: x, true: y, null: z, 2026-01-02: w}\n",
		"an anchor":    head + "a: &x {b: c}\nd: *x\n",
		"a merge key":  head + "a: &x {b: c}\nd: {<<: *x, e: f}\n",
		"no merge key": head + "a: {'<<': x}\n",
	} {
		t.Run(reason, func(t *testing.T) {
			resources, err := provider.NewDefaultDepProvider().GetResourceFactory().SliceFromBytes([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			c := converter{texts: map[string]any{}}
			for _, res := range resources {
				want, wantErr := res.Map()
				got, err := c.object(res)
				if (err == nil) != (wantErr == nil) || !reflect.DeepEqual(got, want) {
					t.Errorf("%#v, %v\nkustomize: %#v, %v", got, err, want, wantErr)
				}
			}
		})
	}
}
