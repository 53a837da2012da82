package inventory

import (
	"reflect"
	"testing"
	"time"
)

// change gives a value another one of its type.
func change(v reflect.Value) {
	switch at, isTime := reflect.TypeAssert[*time.Time](v.Addr()); {
	case isTime:
		*at = at.Add(time.Hour)
	case v.Kind() == reflect.String:
		v.SetString(v.String() + "x")
	case v.Kind() == reflect.Bool:
		v.SetBool(!v.Bool())
	case v.CanInt():
		v.SetInt(v.Int() + 1)
	case v.Kind() == reflect.Slice:
		v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case v.Kind() == reflect.Struct:
		change(v.Field(0))
	default:
		panic("change can't change a " + v.Kind().String())
	}
}

// TestEqualSeesEveryField: an inventory that differs in one field, of whatever it holds, is another, and would be written.
func TestEqualSeesEveryField(t *testing.T) {
	inventory := func() *Inventory {
		return &Inventory{Sync: "s", AuditConfig: "a", Origin: "o", Clusters: []Item{{Name: "c", Corrected: []Correction{{Path: "p"}}}}, Secrets: []Item{{Name: "s"}}, Corrected: []Correction{{Path: "p"}}}
	}
	for what, part := range map[string]func(*Inventory) any{
		"inventory": func(i *Inventory) any { return i }, "cluster": func(i *Inventory) any { return &i.Clusters[0] }, "Secret": func(i *Inventory) any { return &i.Secrets[0] },
		"correction": func(i *Inventory) any { return &i.Corrected[0] }, "correction of a cluster": func(i *Inventory) any { return &i.Clusters[0].Corrected[0] },
	} {
		fields := reflect.TypeOf(part(inventory())).Elem()
		for n := range fields.NumField() {
			if fields.Field(n).Tag.Get("json") == "-" {
				continue
			}
			other := inventory()
			change(reflect.ValueOf(part(other)).Elem().Field(n))
			if inventory().Equal(other) || other.Equal(inventory()) {
				t.Errorf("%s: %s makes no difference", what, fields.Field(n).Name)
			}
		}
	}
	if !inventory().Equal(inventory()) || !(&Inventory{Sync: "s"}).Equal(nil) || inventory().Equal(nil) {
		t.Error("equal ones are not, or the others are")
	}
}
