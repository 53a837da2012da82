package sealtest

import sopskeys "github.com/getsops/sops/v3/keys"

// ServiceKey is a Recipient whose key a key service holds, such as Vault. A test opens what is encrypted for it with a ring of
// its own.
type ServiceKey struct {
	// Master is the key as sops names it.
	Master sopskeys.MasterKey
	// Seal encrypts a data key as the service does, into what sops writes into the file.
	Seal func(dataKey []byte) ([]byte, error)
}

// Private is empty: the service keeps it.
func (k *ServiceKey) Private() string { return "" }

func (k *ServiceKey) master() sopskeys.MasterKey { return k.Master }

func (k *ServiceKey) encrypt(dataKey []byte) ([]byte, error) { return k.Seal(dataKey) }
