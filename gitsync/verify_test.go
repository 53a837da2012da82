package gitsync

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"golang.org/x/crypto/ssh"
)

// yesterday is when library keys of these tests come into being; the commits follow in its first hour.
var yesterday = time.Now().Add(-24 * time.Hour).Truncate(time.Second)

func at(when time.Time) *packet.Config {
	return &packet.Config{Time: func() time.Time { return when }, Algorithm: packet.PubKeyAlgoEdDSA}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// decode reads a commit as the store does.
func decode(t testing.TB, raw string) Commit {
	t.Helper()
	obj := &plumbing.MemoryObject{}
	obj.SetType(plumbing.CommitObject)
	_, err := obj.Write([]byte(raw))
	ok(t, err)
	var c object.Commit
	ok(t, c.Decode(obj))
	info, err := commitInfo(&c)
	ok(t, err)
	return info
}

// payload is a commit without a signature.
func payload(message string) string {
	return "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor Ada <ada@example.com> 1700000000 +0000\n" +
		"committer Ada <ada@example.com> 1700000000 +0000\n\n" + message + "\n"
}

// with puts a signature into a commit.
func with(payload, signature string) string {
	header, message, _ := strings.Cut(payload, "\n\n")
	return header + "\ngpgsig " + strings.ReplaceAll(strings.TrimSpace(signature), "\n", "\n ") + "\n\n" + message
}

// command runs a program and returns what it prints.
func command(t testing.TB, dir, stdin string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env, cmd.Stdin = dir, append(gitEnv(), env...), strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// gitCommit lets the real git sign a commit, and returns it as it is in the repository.
func gitCommit(t testing.TB, env []string, config ...string) string {
	t.Helper()
	dir := t.TempDir()
	run(t, dir, nil, "init", "--quiet", ".")
	var args []string
	for _, c := range config {
		args = append(args, "-c", c)
	}
	command(t, dir, "", env, "git", append(args, "commit", "--quiet", "--allow-empty", "-S", "-m", "signed by git\n\nwith a body")...)
	return command(t, dir, "", nil, "git", "cat-file", "commit", "HEAD")
}

// sshKey makes a key pair with ssh-keygen, and returns the path of the private one and the public one's content.
func sshKey(t testing.TB, args ...string) (path, public string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "key")
	command(t, "", "", nil, "ssh-keygen", append([]string{"-q", "-N", "", "-C", "ada@example.com", "-f", path}, args...)...)
	content, err := os.ReadFile(path + ".pub")
	ok(t, err)
	return path, string(content)
}

// sshSign signs with ssh-keygen alone, for what git would not ask of it.
func sshSign(t testing.TB, key, payload string, args ...string) string {
	t.Helper()
	return command(t, "", payload, nil, "ssh-keygen", append([]string{"-q", "-Y", "sign", "-f", key}, args...)...)
}

// gpgCommit is a commit signed by git and gpg, and the public key. Without gpg on the machine the library signs.
func gpgCommit(t testing.TB) (raw, public string) {
	t.Helper()
	if _, err := exec.LookPath("gpg"); err != nil {
		t.Log("there is no gpg here; the library signs")
		e := pgpKey(t, at(yesterday))
		return with(payload("by the library"), pgpSign(t, e, payload("by the library"), at(yesterday))), pgpPublic(t, e)
	}
	home, err := os.MkdirTemp("", "gpg") //nolint:usetesting // sockets of gpg's agent need a short path
	ok(t, err)
	env := []string{"GNUPGHOME=" + home}
	t.Cleanup(func() {
		cmd := exec.Command("gpgconf", "--homedir", home, "--kill", "all") // the test's context has ended
		cmd.Env = append(gitEnv(), env...)
		_ = cmd.Run()
		_ = os.RemoveAll(home)
	})
	command(t, "", "", env, "gpg", "--batch", "--quiet", "--passphrase", "", "--quick-gen-key", "Ada <ada@example.com>", "rsa2048", "sign", "never")
	return gitCommit(t, env, "user.signingkey=ada@example.com"), command(t, "", "", env, "gpg", "--armor", "--export")
}

func pgpKey(t testing.TB, config *packet.Config) *openpgp.Entity {
	t.Helper()
	e, err := openpgp.NewEntity("Ada", "", "ada@example.com", config)
	ok(t, err)
	return e
}

func pgpSign(t testing.TB, e *openpgp.Entity, payload string, config *packet.Config) string {
	t.Helper()
	var b strings.Builder
	ok(t, openpgp.ArmoredDetachSign(&b, e, strings.NewReader(payload), config))
	return b.String()
}

func pgpPublic(t testing.TB, e *openpgp.Entity) string {
	t.Helper()
	var b strings.Builder
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	ok(t, err)
	ok(t, e.Serialize(w))
	ok(t, w.Close())
	return b.String() + "\n"
}

// limitLife makes a key expire some time after it was made.
func limitLife(t testing.TB, e *openpgp.Entity, life time.Duration) {
	t.Helper()
	seconds := uint32(life / time.Second)
	for _, id := range e.Identities {
		id.SelfSignature.KeyLifetimeSecs = &seconds
		ok(t, id.SelfSignature.SignUserId(id.UserId.Id, e.PrimaryKey, e.PrivateKey, at(yesterday)))
	}
}

func verify(t testing.TB, keys map[string]string, c Commit) error {
	t.Helper()
	v, err := VerifierFromSecret(secretData(keys))
	ok(t, err)
	return v.Verify(c, time.Now())
}

func secretData(fields map[string]string) map[string][]byte {
	data := map[string][]byte{}
	for name, value := range fields {
		data[name] = []byte(value)
	}
	return data
}

func wantReason(t *testing.T, err error, want SignatureReason) {
	t.Helper()
	var fault *SignatureError
	switch {
	case want == "" && err != nil:
		t.Error(err)
	case want != "" && (!errors.As(err, &fault) || fault.Reason != want):
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestVerifySSH(t *testing.T) {
	t.Parallel()
	for _, kind := range [][]string{{"-t", "ed25519"}, {"-t", "rsa", "-b", "2048"}, {"-t", "ecdsa", "-b", "256"}, {"-t", "ecdsa", "-b", "521"}} {
		t.Run(strings.Join(kind, " "), func(t *testing.T) {
			key, public := sshKey(t, kind...)
			raw := gitCommit(t, nil, "gpg.format=ssh", "user.signingkey="+key)
			ok(t, verify(t, map[string]string{"ada.pub": public}, decode(t, raw)))
			wantReason(t, verify(t, map[string]string{"ada.pub": public}, decode(t, strings.Replace(raw, "signed by git", "signed by Git", 1))), SignatureInvalid)
		})
	}
	key, public := sshKey(t, "-t", "ed25519")
	_, otherPublic := sshKey(t, "-t", "ed25519")
	text := payload("a change")
	good := sshSign(t, key, text, "-n", "git")
	for _, test := range []struct {
		name, key, raw string
		want           SignatureReason
	}{
		{"good", public, with(text, good), ""},
		{"CRLF in the key", strings.TrimSpace(public) + "\r\n", with(text, good), ""},
		{"one of several keys", "# who may\n\n" + otherPublic + public, with(text, good), ""},
		{"SHA-256", public, with(text, sshSign(t, key, text, "-n", "git", "-O", "hashalg=sha256")), ""},
		{"somebody else's key", otherPublic, with(text, good), SignerUnknown},
		{"unsigned", public, text, Unsigned},
		{"another tree", public, with(strings.Replace(text, "4b825dc", "5b825dc", 1), good), SignatureInvalid},
		{"another message", public, with(payload("another change"), good), SignatureInvalid},
		{"another author", public, with(strings.Replace(text, "author Ada", "author Eve", 1), good), SignatureInvalid},
		{"a parent more", public, with(strings.Replace(text, "\nauthor", "\nparent 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor", 1), good), SignatureInvalid},
		{"a header more", public, with(strings.Replace(text, "\n\n", "\nhidden value\n\n", 1), good), SignatureInvalid},
		{"signed for another purpose", public, with(text, sshSign(t, key, text, "-n", "file")), SignatureInvalid},
		{"cut short", public, with(text, good[:len(good)/2]), SignatureInvalid},
		{"not base64", public, with(text, strings.Replace(good, "U1NI", "\x00é!#", 1)), SignatureInvalid},
		{"more after it", public, with(text, good+good), SignatureInvalid},
		{"huge", public, with(text, sshSignatureStart+strings.Repeat("\nAAAA", maxSignature/5+1)), SignatureUnsupported},
		{"X.509", public, with(text, "-----BEGIN SIGNED MESSAGE-----\nMIIB\n-----END SIGNED MESSAGE-----"), SignatureUnsupported},
		{"nothing known", public, with(text, "trust me"), SignatureUnsupported},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := verify(t, map[string]string{"ada.pub": test.key}, decode(t, test.raw))
			wantReason(t, err, test.want)
			if test.want != "" && !strings.Contains(err.Error(), "commit "+decode(t, test.raw).Hash) {
				t.Errorf("%v: does not name the commit", err)
			}
		})
	}
	for name, value := range map[string]string{
		"authorized_keys": public, "allowed_signers": "ada@example.com,*@example.org " + public,
		"namespaces.pub": `namespaces="file,git" ` + public,
	} {
		ok(t, verify(t, map[string]string{name: value}, decode(t, with(text, good))))
	}
	ok(t, verify(t, map[string]string{"allowed_signers": `"Ada Lovelace" namespaces="git" ` + public}, decode(t, with(text, good))))
	t.Run("names the unknown key", func(t *testing.T) {
		fingerprint := strings.Fields(command(t, "", "", nil, "ssh-keygen", "-l", "-f", key))[1]
		if err := verify(t, map[string]string{"b.pub": otherPublic}, decode(t, with(text, good))); !strings.Contains(err.Error(), fingerprint) {
			t.Errorf("%v: does not name %s", err, fingerprint)
		}
	})
}

// TestVerifySSHWeakHash has an RSA key sign in the way that ssh-keygen no longer does.
func TestVerifySSHWeakHash(t *testing.T) {
	t.Parallel()
	path, public := sshKey(t, "-t", "rsa", "-b", "2048")
	private, err := os.ReadFile(path)
	ok(t, err)
	signer, err := ssh.ParsePrivateKey(private)
	ok(t, err)
	text := payload("a change")
	digest := sha512.Sum512([]byte(text))
	for algorithm, want := range map[string]SignatureReason{ssh.KeyAlgoRSASHA512: "", ssh.KeyAlgoRSA: SignatureUnsupported} {
		signed := append([]byte(sshMagic), ssh.Marshal(sshSigned{Namespace: "git", Hash: "sha512", Digest: string(digest[:])})...)
		signature, err := signer.(ssh.AlgorithmSigner).SignWithAlgorithm(rand.Reader, signed, algorithm)
		ok(t, err)
		blob := append([]byte(sshMagic), ssh.Marshal(sshSignature{Version: 1, PublicKey: signer.PublicKey().Marshal(), Namespace: "git",
			Hash: "sha512", Envelope: string(ssh.Marshal(signature))})...)
		armored := string(pem.EncodeToMemory(&pem.Block{Type: sshSignatureType, Bytes: blob}))
		wantReason(t, verify(t, map[string]string{"ada.pub": public}, decode(t, with(text, armored))), want)
	}
}

func TestVerifySSHCertificate(t *testing.T) {
	t.Parallel()
	ca, caPublic := sshKey(t, "-t", "ed25519")
	key, _ := sshKey(t, "-t", "ed25519")
	command(t, "", "", nil, "ssh-keygen", "-q", "-s", ca, "-I", "ada", "-n", "ada", key+".pub")
	text := payload("a change")
	signature := sshSign(t, key+"-cert.pub", text, "-n", "git")
	wantReason(t, verify(t, map[string]string{"ca.pub": caPublic}, decode(t, with(text, signature))), SignatureUnsupported)
}

func TestVerifyPGP(t *testing.T) {
	t.Parallel()
	t.Run("by gpg", func(t *testing.T) {
		raw, public := gpgCommit(t)
		other := pgpPublic(t, pgpKey(t, at(yesterday)))
		ok(t, verify(t, map[string]string{"ada.asc": public}, decode(t, raw)))
		ok(t, verify(t, map[string]string{"all.asc": other + public}, decode(t, raw)))
		wantReason(t, verify(t, map[string]string{"other.asc": other}, decode(t, raw)), SignerUnknown)
		wantReason(t, verify(t, map[string]string{"ada.asc": public}, decode(t, strings.Replace(raw, "by ", "for ", 1))), SignatureInvalid)
		tree := "tree " + strings.Repeat("5", 40)
		wantReason(t, verify(t, map[string]string{"ada.asc": public}, decode(t, tree+raw[len(tree):])), SignatureInvalid)
	})
	text := payload("a change")
	first, later := at(yesterday.Add(30*time.Minute)), at(yesterday.Add(2*time.Hour))
	for _, test := range []struct {
		name string
		make func(t *testing.T, e *openpgp.Entity) (signature string)
		want SignatureReason
	}{
		{"good", func(t *testing.T, e *openpgp.Entity) string { return pgpSign(t, e, text, first) }, ""},
		{"signature of another commit", func(t *testing.T, e *openpgp.Entity) string { return pgpSign(t, e, payload("another change"), first) }, SignatureInvalid},
		{"expired since", func(t *testing.T, e *openpgp.Entity) string {
			s := pgpSign(t, e, text, first)
			limitLife(t, e, time.Hour)
			return s
		}, ""},
		{"expired before", func(t *testing.T, e *openpgp.Entity) string {
			s := pgpSign(t, e, text, later)
			limitLife(t, e, time.Hour)
			return s
		}, SignerExpired},
		{"expired since, and another commit", func(t *testing.T, e *openpgp.Entity) string {
			s := pgpSign(t, e, payload("another change"), first)
			limitLife(t, e, time.Hour)
			return s
		}, SignatureInvalid},
		{"in the future", func(t *testing.T, e *openpgp.Entity) string {
			return pgpSign(t, e, text, at(time.Now().Add(time.Hour)))
		}, SignerExpired},
		{"the signature has expired", func(t *testing.T, e *openpgp.Entity) string {
			c := at(yesterday)
			c.SigLifetimeSecs = 60
			return pgpSign(t, e, text, c)
		}, SignerExpired},
		{"key and signature have expired", func(t *testing.T, e *openpgp.Entity) string {
			c := at(yesterday)
			c.SigLifetimeSecs = 60
			s := pgpSign(t, e, text, c)
			limitLife(t, e, time.Hour)
			return s
		}, SignerExpired},
		{"revoked since", func(t *testing.T, e *openpgp.Entity) string {
			s := pgpSign(t, e, text, first)
			ok(t, e.RevokeKey(packet.KeyRetired, "", later))
			return s
		}, SignerRevoked},
		{"revoked and expired since", func(t *testing.T, e *openpgp.Entity) string {
			s := pgpSign(t, e, text, first)
			limitLife(t, e, time.Hour)
			ok(t, e.RevokeKey(packet.KeyCompromised, "", later))
			return s
		}, SignerRevoked},
		{"by a subkey", func(t *testing.T, e *openpgp.Entity) string {
			ok(t, e.AddSigningSubkey(at(yesterday)))
			return pgpSign(t, e, text, first)
		}, ""},
		{"by a subkey that expired since", func(t *testing.T, e *openpgp.Entity) string {
			c := at(yesterday)
			c.KeyLifetimeSecs = 3600
			ok(t, e.AddSigningSubkey(c))
			return pgpSign(t, e, text, first)
		}, ""},
		{"by a subkey that had expired", func(t *testing.T, e *openpgp.Entity) string {
			ok(t, e.AddSigningSubkey(at(yesterday)))
			s := pgpSign(t, e, text, later)
			sub, life := e.Subkeys[len(e.Subkeys)-1], uint32(3600)
			sub.Sig.KeyLifetimeSecs = &life
			ok(t, sub.Sig.SignKey(sub.PublicKey, e.PrivateKey, at(yesterday)))
			return s
		}, SignerExpired},
		{"by a revoked subkey", func(t *testing.T, e *openpgp.Entity) string {
			ok(t, e.AddSigningSubkey(at(yesterday)))
			s := pgpSign(t, e, text, first)
			ok(t, e.RevokeSubkey(&e.Subkeys[len(e.Subkeys)-1], packet.KeyRetired, "", later))
			return s
		}, SignerRevoked},
		{"garbage", func(*testing.T, *openpgp.Entity) string {
			return pgpSignatureStart + "\n\ngarbage!\n-----END PGP SIGNATURE-----"
		}, SignatureInvalid},
		{"empty armor", func(*testing.T, *openpgp.Entity) string {
			return pgpSignatureStart + "\n\n-----END PGP SIGNATURE-----"
		}, SignatureInvalid},
		{"cut short", func(t *testing.T, e *openpgp.Entity) string { return pgpSign(t, e, text, first)[:80] }, SignatureInvalid},
		{"a message instead of a signature", func(t *testing.T, e *openpgp.Entity) string {
			return strings.ReplaceAll(pgpPublic(t, e), openpgp.PublicKeyType, openpgp.SignatureType)
		}, SignatureInvalid},
		{"huge", func(*testing.T, *openpgp.Entity) string {
			return pgpSignatureStart + "\n\n" + strings.Repeat("AAAA\n", maxSignature/5+1)
		}, SignatureUnsupported},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := pgpKey(t, at(yesterday))
			commit := decode(t, with(text, test.make(t, e)))
			wantReason(t, verify(t, map[string]string{"ada.asc": pgpPublic(t, e)}, commit), test.want)
		})
	}
	t.Run("two exports of one key", func(t *testing.T) {
		e, extended := pgpKey(t, at(yesterday)), pgpKey(t, at(yesterday))
		before, commit := pgpPublic(t, e), decode(t, with(text, pgpSign(t, e, text, later)))
		ok(t, e.RevokeKey(packet.KeyCompromised, "", later))
		after := pgpPublic(t, e)
		wantReason(t, verify(t, map[string]string{"a.asc": before, "b.asc": after}, commit), SignerRevoked)
		wantReason(t, verify(t, map[string]string{"a.asc": after + before}, commit), SignerRevoked)
		commit = decode(t, with(text, pgpSign(t, extended, text, later)))
		limitLife(t, extended, time.Hour)
		before = pgpPublic(t, extended)
		limitLife(t, extended, 1000*time.Hour)
		after = pgpPublic(t, extended)
		wantReason(t, verify(t, map[string]string{"a.asc": before}, commit), SignerExpired)
		wantReason(t, verify(t, map[string]string{"a.asc": before, "b.asc": after}, commit), "")
		wantReason(t, verify(t, map[string]string{"a.asc": after, "b.asc": before}, commit), "")
	})
	t.Run("SHA-1", func(t *testing.T) {
		e := pgpKey(t, &packet.Config{Time: at(yesterday).Time, Algorithm: packet.PubKeyAlgoRSA, RSABits: 2048})
		keys := map[string]string{"ada.asc": pgpPublic(t, e)}
		wantReason(t, verify(t, keys, decode(t, with(text, rsaSign(t, e, text, crypto.SHA256, 8)))), "")
		wantReason(t, verify(t, keys, decode(t, with(text, rsaSign(t, e, text, crypto.SHA1, 2)))), SignatureUnsupported)
	})
}

// rsaSign writes a signature of version 4 by hand (RFC 4880, 5.2.3), because the library refuses to make weak ones.
func rsaSign(t *testing.T, e *openpgp.Entity, payload string, hash crypto.Hash, hashID byte) string {
	t.Helper()
	head := append([]byte{4, 0, byte(packet.PubKeyAlgoRSA), hashID, 0, 6, 5, 2}, binary.BigEndian.AppendUint32(nil, uint32(yesterday.Unix()))...)
	h := hash.New()
	h.Write([]byte(payload))
	h.Write(head)
	h.Write([]byte{4, 0xff, 0, 0, 0, byte(len(head))})
	digest := h.Sum(nil)
	key, isRSA := e.PrivateKey.PrivateKey.(*rsa.PrivateKey)
	if !isRSA {
		t.Fatalf("the key is a %T", e.PrivateKey.PrivateKey)
	}
	number, err := rsa.SignPKCS1v15(rand.Reader, key, hash, digest)
	ok(t, err)
	body := slices.Concat(head, []byte{0, 10, 9, 16})
	body = binary.BigEndian.AppendUint64(body, e.PrimaryKey.KeyId)
	body = append(body, digest[0], digest[1])
	// A number is led by its length in bits; leading zeros don't count.
	number = new(big.Int).SetBytes(number).Bytes()
	body = binary.BigEndian.AppendUint16(body, uint16(new(big.Int).SetBytes(number).BitLen()))
	body = append(body, number...)
	var b strings.Builder
	w, err := armor.Encode(&b, openpgp.SignatureType, nil)
	ok(t, err)
	_, err = w.Write(append(binary.BigEndian.AppendUint32([]byte{0xc2, 0xff}, uint32(len(body))), body...))
	ok(t, err)
	ok(t, w.Close())
	return b.String()
}

func TestVerifierFromSecret(t *testing.T) {
	t.Parallel()
	key, public := sshKey(t, "-t", "ed25519")
	private, err := os.ReadFile(key)
	ok(t, err)
	_, weak := sshKey(t, "-t", "rsa", "-b", "1024")
	e := pgpKey(t, at(yesterday))
	for _, test := range []struct {
		name, field, value, want string
	}{
		{"SSH private key", "ada.pub", string(private), "ada.pub contains a private key"},
		{"PGP private key", "ada.asc", strings.ReplaceAll(pgpPublic(t, e), "PUBLIC KEY", "PRIVATE KEY"), "ada.asc contains a private key"},
		{"private key in another field", "notes", string(private), "notes contains a private key"},
		{"empty", "ada.asc", " \n", "ada.asc is empty"},
		{"comments alone", "ada.pub", "# nobody\n", "ada.pub contains no key"},
		{"another name", "ada", public, "ada has a name that doesn't tell"},
		{"SSH as PGP", "ada.asc", public, "ada.asc is not an armored PGP public key"},
		{"PGP as SSH", "ada.pub", pgpPublic(t, e), "ada.pub line 1 is not an SSH public key"},
		{"garbage in the armor", "ada.asc", pgpKeyStart + "\n\ngarbage!\n-----END PGP PUBLIC KEY BLOCK-----\n", "ada.asc contains an unreadable PGP public key"},
		{"armor cut short", "ada.asc", pgpPublic(t, e)[:120], "ada.asc contains an unreadable PGP public key"},
		{"text before the armor", "ada.asc", "Ada's key:\n" + pgpPublic(t, e), "ada.asc is not an armored PGP public key"},
		{"garbage in the second line", "authorized_keys", public + "ssh-ed25519 AAAA\n", "authorized_keys line 2 is not an SSH public key"},
		{"not UTF-8", "ada.pub", "\xff\xfe", "ada.pub line 1 is not an SSH public key"},
		{"principals in .pub", "ada.pub", "ada@example.com " + public, "only namespaces is supported"},
		{"no principals", "allowed_signers", public, "allowed_signers line 1 is not an SSH public key"},
		{"validity", "allowed_signers", `ada valid-before="20200101" ` + public, "only namespaces is supported"},
		{"certificate authority", "allowed_signers", "ada cert-authority " + public, "only namespaces is supported"},
		{"another namespace", "allowed_signers", `ada namespaces="file" ` + public, `other namespaces than "git"`},
		{"long RSA", "ada.asc", longPGPKey(t, packet.PubKeyAlgoRSA, 65_000, 17), "more than 16384 bits"},
		{"long DSA", "ada.asc", longPGPKey(t, packet.PubKeyAlgoDSA, 65_000, 256, 256, 256), "more than 16384 bits"},
		{"long exponents of DSA", "ada.asc", longPGPKey(t, packet.PubKeyAlgoDSA, 2048, 65_000, 2048, 2048), "more than 16384 bits"},
		{"weak RSA", "ada.pub", weak, "fewer than 2048 bits"},
		{"DSA", "ada.pub", "ssh-dss AAAAB3NzaC1kc3MAAAABAw==", "ada.pub line 1 is not an SSH public key"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := VerifierFromSecret(secretData(map[string]string{test.field: test.value}))
			var fault *KeyError
			if !errors.As(err, &fault) || fault.Field != test.field || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	var fault *KeyError
	if _, err := VerifierFromSecret(nil); !errors.As(err, &fault) || fault.Field != "" {
		t.Errorf("an empty Secret: %v", err)
	}
}

// longPGPKey is an armored public key of numbers with so many bits. Nothing is signed with it, for that takes too long.
func longPGPKey(t testing.TB, algorithm packet.PublicKeyAlgorithm, bits ...int) string {
	t.Helper()
	body := []byte{4, 0x60, 0, 0, 0, byte(algorithm)}
	for _, n := range bits {
		number := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), uint(n)), big.NewInt(1)).Bytes()
		body = append(append(body, byte(n>>8), byte(n)), number...)
	}
	var b strings.Builder
	w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
	ok(t, err)
	_, err = w.Write(append([]byte{0xc0 | 6, 0xff, 0, 0, byte(len(body) >> 8), byte(len(body))}, body...))
	ok(t, errors.Join(err, w.Close()))
	return b.String() + "\n"
}

// TestVerifyFetched holds a signature against a commit as it comes from a server.
func TestVerifyFetched(t *testing.T) {
	t.Parallel()
	key, public := sshKey(t, "-t", "ed25519")
	o := newOrigin(t)
	server := serve(t, o)
	work := t.TempDir()
	run(t, work, nil, "init", "--quiet", "--initial-branch=main", ".")
	ok(t, os.WriteFile(filepath.Join(work, "file"), []byte("content"), 0o600))
	run(t, work, nil, "add", "file")
	run(t, work, nil, "-c", "gpg.format=ssh", "-c", "user.signingkey="+key, "commit", "--quiet", "-S", "-m", "signed")
	run(t, work, nil, "push", "--quiet", o.dir, "main")
	snapshot := fetch(t, open(t, t.TempDir()), Source{URL: server.url, Ref: Ref{Branch: "main"}})
	ok(t, verify(t, map[string]string{"ada.pub": public}, snapshot.Commit()))
}

func FuzzVerify(f *testing.F) {
	key, public := sshKey(f, "-t", "ed25519")
	e := pgpKey(f, at(yesterday))
	text := payload("a change")
	v, err := VerifierFromSecret(secretData(map[string]string{"a.pub": public, "b.asc": pgpPublic(f, e)}))
	ok(f, err)
	f.Add(sshSign(f, key, text, "-n", "git"))
	f.Add(pgpSign(f, e, text, at(yesterday)))
	f.Add(sshSignatureStart + "\nU1NIU0lH\n-----END SSH SIGNATURE-----")
	f.Add(fmt.Sprintf("%s\n\n%s\n-----END PGP SIGNATURE-----", pgpSignatureStart, "iHUEABYKAB0WIQ=="))
	f.Fuzz(func(t *testing.T, signature string) {
		// Nothing was signed with this content, so nothing fits it.
		err := v.Verify(Commit{Hash: "0", Signature: signature, SignedPayload: []byte("tree 0\n")}, time.Now())
		if _, refused := errors.AsType[*SignatureError](err); !refused {
			t.Fatalf("%q: %v", signature, err)
		}
	})
}
