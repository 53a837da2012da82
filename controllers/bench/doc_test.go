// Package bench measures what the controller does for each commit before it writes anything: from the fetch to the plan.
//
//	go test -run '^$' -bench Fleet ./controllers/bench
package bench_test
