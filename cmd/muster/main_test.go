package main

import (
	"encoding/base64"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/getsops/sops/v3/decrypt"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/muster-gitops/muster/clusters/seal"
	"github.com/muster-gitops/muster/clusters/sealtest"
)

var update = flag.Bool("update", false, "write the golden parts of the scripts anew")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"muster": main, "kubectl-muster": main, "kubectl_complete-muster": main})
}

// TestScript runs the real main, one scenario a script. The scripts have these commands of their own:
//
//	status N muster ARG...           run muster, which has to end with status N, and must show no canary
//	sops-encrypt [-all] FILE...      encrypt files in place for the key in $KEY: credentials alone, or everything; with
//	                                 -recommended what the recommended rule names, such as servers
//	pgp-encrypt FILE...              encrypt credentials in files in place for the PGP key in $PGP_KEY
//	sops-opens FILE WANT             open an encrypted file with the sops library, and compare it with another file
//	sops-config [-other] FILE        write a .sops.yaml with the recommended rule for $KEY; with -other for $OTHER_KEY, too
//	git-init DIR                     make a folder a Git repository
//	commit                           commit the work tree in $WORK, and put the commit into $COMMIT
//
// Golden parts of a script are written anew with -update.
func TestScript(t *testing.T) {
	key := sealtest.NewKey(t)
	other := sealtest.NewKey(t)
	pgp := sealtest.NewPGPKey(t)
	t.Setenv("SOPS_AGE_KEY", key.Private()) // for sops-opens; scripts have an environment of their own
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("KEY", filepath.Join(env.WorkDir, ".keys", "key.txt"))
			env.Setenv("PGP_KEY", filepath.Join(env.WorkDir, ".keys", "key.asc"))
			env.Setenv("GOGC", "off") // a command ends before it has much to collect
			env.Setenv("AGE", key.Public())
			env.Setenv("OTHER_AGE", other.Public())
			env.Setenv("OTHER_KEY", filepath.Join(env.WorkDir, ".keys", "other.txt"))
			_, err := git.PlainInit(env.WorkDir, false)
			return errors.Join(err,
				os.Mkdir(filepath.Join(env.WorkDir, ".keys"), 0o700),
				os.WriteFile(env.Getenv("KEY"), []byte(key.Private()+"\n"), 0o600),
				os.WriteFile(env.Getenv("PGP_KEY"), []byte(pgp.Private()), 0o600),
				os.WriteFile(filepath.Join(env.WorkDir, ".keys", "public.asc"), []byte(pgp.Public()), 0o600),
				os.WriteFile(env.Getenv("OTHER_KEY"), []byte(other.Private()+"\n"), 0o600))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":       scriptStatus,
			"sops-encrypt": func(ts *testscript.TestScript, _ bool, args []string) { scriptEncrypt(t, key, ts, args) },
			"pgp-encrypt":  func(ts *testscript.TestScript, _ bool, args []string) { scriptEncrypt(t, pgp, ts, args) },
			"sops-opens":   scriptSopsOpens,
			"sops-config":  scriptSopsConfig,
			"git-init":     scriptInit,
			"commit":       scriptCommit,
		},
	})
}

// canary is in every secret of the tests. It comes out of muster with --show-secrets and in no other way.
const canary = "canary-7f3d9"

func scriptStatus(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: status N command [arg...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("status %d, want %d", got, want)
	}
	if slices.Contains(args, "--show-secrets") {
		return
	}
	for _, stream := range []string{"stdout", "stderr"} {
		if form := leak(ts.ReadFile(stream)); form != "" {
			ts.Fatalf("%s shows a secret (%s)", stream, form)
		}
	}
}

// leak says in which form a text has the canary in it, "" when it has not.
func leak(text string) string {
	if strings.Contains(text, canary) {
		return "plain"
	}
	// In a longer text, a byte can start at any of three places of a base64 group. The first and last characters also
	// depend on what is around.
	for shift := range 3 {
		encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat(" ", shift) + canary))
		if strings.Contains(text, encoded[4:len(encoded)-4]) {
			return "base64"
		}
	}
	return ""
}

func TestLeak(t *testing.T) {
	for shift := range 4 {
		text := strings.Repeat("x", shift) + canary + "-token"
		if leak(text) == "" || leak(base64.StdEncoding.EncodeToString([]byte(text))) == "" {
			t.Errorf("a canary after %d characters is not seen", shift)
		}
	}
}

func scriptSopsOpens(ts *testscript.TestScript, differ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: sops-opens FILE WANT")
	}
	plain, err := decrypt.File(ts.MkAbs(args[0]), string(seal.FormatOf(ts.ReadFile(args[0]))))
	ts.Check(err)
	if want := ts.ReadFile(args[1]); (string(plain) != want) != differ {
		ts.Fatalf("%s opens to\n%s\nwant\n%s", args[0], plain, want)
	}
}

func scriptEncrypt(t *testing.T, key sealtest.Recipient, ts *testscript.TestScript, args []string) {
	rule := sealtest.Credentials
	if len(args) > 0 && args[0] == "-all" {
		rule, args = sealtest.Everything, args[1:]
	} else if len(args) > 0 && args[0] == "-recommended" {
		rule, args = sealtest.Recommended, args[1:]
	}
	for _, name := range args {
		encrypted := sealtest.Encrypt(t, name, ts.ReadFile(name), rule, 0, sealtest.Group{key})
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(encrypted), 0o600))
	}
}

func scriptSopsConfig(ts *testscript.TestScript, _ bool, args []string) {
	recipients := ts.Getenv("AGE")
	if len(args) > 1 && args[0] == "-other" {
		recipients, args = recipients+","+ts.Getenv("OTHER_AGE"), args[1:]
	}
	rule := "creation_rules:\n  - mac_only_encrypted: true\n    encrypted_regex: " + sealtest.Recommended.EncryptedRegex + "\n    age: " + recipients + "\n"
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(rule), 0o600))
}

func scriptInit(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: git-init DIR")
	}
	_, err := git.PlainInit(ts.MkAbs(args[0]), false)
	ts.Check(err)
}

func scriptCommit(ts *testscript.TestScript, _ bool, _ []string) {
	work := ts.Getenv("WORK")
	repo, err := git.PlainOpen(work)
	if errors.Is(err, git.ErrRepositoryNotExists) {
		repo, err = git.PlainInit(work, false)
	}
	ts.Check(err)
	tree, err := repo.Worktree()
	ts.Check(err)
	ts.Check(tree.AddWithOptions(&git.AddOptions{All: true}))
	who := &object.Signature{Name: "Test", Email: "test@example.com", When: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	hash, err := tree.Commit("test", &git.CommitOptions{Author: who})
	ts.Check(err)
	ts.Setenv("COMMIT", hash.String())
}
