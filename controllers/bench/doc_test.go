// Package bench measures the way from a Git server to a fleet that is ready to be planned: what the controller does for each
// commit, before it writes anything.
//
//	go test -run '^$' -bench Fleet ./controllers/bench
package bench_test
