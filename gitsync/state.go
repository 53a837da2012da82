package gitsync

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Names in a Repository's folder. Other files in it aren't Muster's and are left alone.
const (
	stateFile   = "state.json"
	storePrefix = "store-"
	tempPrefix  = "state-"
)

// state describes the cache on disk. It is written after the files that it describes and replaced atomically, so that a
// process killed at any moment leaves either the old state or the new. Nothing is synced to disk: after a power failure, at
// worst the cache is thrown away.
type state struct {
	Version int `json:"version"`
	// URL is the repository's without credentials: the cache of another repository is useless, and might contain content
	// that the new one's readers have no access to.
	URL string `json:"url"`
	// Store is the folder of the current store. Packs are the complete packs in it.
	Store string   `json:"store"`
	Packs []string `json:"packs"`
	// FirstBytes is the size of the store's first pack, the baseline for its growth.
	FirstBytes int64 `json:"firstBytes"`
	// Commits are the complete commits in the store, oldest first.
	Commits []string `json:"commits"`
}

const stateVersion = 1

// readState returns the zero state if there is none, or if it can't be used.
func readState(dir string) state {
	encoded, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return state{}
	}
	var st state
	if err := json.Unmarshal(encoded, &st); err != nil || st.Version != stateVersion {
		return state{}
	}
	for _, name := range append([]string{st.Store}, st.Packs...) {
		if name == "" || name != filepath.Base(name) {
			return state{}
		}
	}
	for _, hash := range st.Commits {
		if !fullSHA1.MatchString(hash) {
			return state{}
		}
	}
	if !strings.HasPrefix(st.Store, storePrefix) {
		return state{}
	}
	return st
}

func writeState(dir string, st state) error {
	st.Version = stateVersion
	encoded, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return fmt.Errorf("write cache state: %w", err)
	}
	temp, err := os.CreateTemp(dir, tempPrefix+"*")
	if err != nil {
		return fmt.Errorf("write cache state: %w", err)
	}
	_, err = temp.Write(encoded)
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), filepath.Join(dir, stateFile))
	}
	if err != nil {
		_ = os.Remove(temp.Name())
		return fmt.Errorf("write cache state: %w", err)
	}
	return nil
}

// sweep removes the leftovers of a killed process: all stores except the current one, and packs in it that aren't in the
// state.
func sweep(dir string, st state) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read cache: %w", err)
	}
	for _, e := range entries {
		name := e.Name()
		if name != st.Store && strings.HasPrefix(name, storePrefix) || strings.HasPrefix(name, tempPrefix) {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				return fmt.Errorf("clear cache: %w", err)
			}
		}
	}
	if st.Store == "" {
		return nil
	}
	wanted := map[string]bool{}
	for _, name := range st.Packs {
		wanted[name+".pack"], wanted[name+".idx"] = true, true
	}
	packs, err := os.ReadDir(filepath.Join(dir, st.Store))
	if err != nil {
		return fmt.Errorf("read cache: %w", err)
	}
	for _, e := range packs {
		if !wanted[e.Name()] {
			if err := os.RemoveAll(filepath.Join(dir, st.Store, e.Name())); err != nil {
				return fmt.Errorf("clear cache: %w", err)
			}
		}
	}
	return nil
}
