package inventory

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Label marks the ConfigMaps that hold inventories. DataKey is the key of the inventory in their binaryData.
const (
	Label   = "muster.dev/inventory"
	DataKey = "inventory.json.gz"
)

// Limits for unpacking an inventory. A ConfigMap of 1 MiB holds some 20,000 clusters of 200 bytes each. An empty item
// takes 3 bytes, and a hundred times as much in memory.
const (
	maxInventory = 16 << 20
	maxItems     = 200_000
)

// ErrSize is returned for an inventory larger than any that Muster writes.
var ErrSize = errors.New("it is larger than any that Muster writes")

// Encode packs an inventory for a ConfigMap's binaryData. Equal inventories have equal encodings.
func (i *Inventory) Encode() ([]byte, error) {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	if err := json.NewEncoder(zip).Encode(i); err != nil {
		return nil, fmt.Errorf("encode inventory: %w", err)
	}
	if err := zip.Close(); err != nil {
		return nil, fmt.Errorf("encode inventory: %w", err)
	}
	return out.Bytes(), nil
}

// Decode unpacks what Encode packed.
func Decode(data []byte) (*Inventory, error) {
	zip, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("decode inventory: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(zip, maxInventory+1))
	if err != nil {
		return nil, fmt.Errorf("decode inventory: %w", err)
	}
	if len(text) > maxInventory || bytes.Count(text, []byte("{")) > maxItems {
		return nil, fmt.Errorf("decode inventory: %w", ErrSize)
	}
	i := &Inventory{}
	if err := json.Unmarshal(text, i); err != nil {
		return nil, fmt.Errorf("decode inventory: %w", err)
	}
	return i, nil
}

// ConfigMapName returns the name of the ConfigMap for an inventory. Names of AuditSyncs have no dots, so the names of
// two inventories never collide.
func ConfigMapName(sync, auditConfig string) string {
	if auditConfig == "" {
		return "muster-" + sync
	}
	return "muster-" + sync + "." + auditConfig
}
