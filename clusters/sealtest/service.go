package sealtest

import sopskeys "github.com/getsops/sops/v3/keys"

// ServiceKey is a Recipient whose key is in a key service, such as Vault. A test opens its files with its own ring.
type ServiceKey struct {
	// Master is the key in sops' form.
	Master sopskeys.MasterKey
	// Seal encrypts a data key like the service. The result is what sops writes into the file.
	Seal func(dataKey []byte) ([]byte, error)
}

// Private returns "", because the service keeps the key.
func (k *ServiceKey) Private() string { return "" }

func (k *ServiceKey) master() sopskeys.MasterKey { return k.Master }

func (k *ServiceKey) encrypt(dataKey []byte) ([]byte, error) { return k.Seal(dataKey) }
