package scanstate

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// fleetOf is a fleet that is scanned every hour, each cluster at a minute of its own; one in a hundred has failed.
func fleetOf(n int) Input {
	in := Input{Now: noon}
	for i := range n {
		name, uid := fmt.Sprintf("c%05d", i), types.UID(fmt.Sprint(i))
		in.Entries = append(in.Entries, Entry{Name: name, Applied: clock("01:00")})
		began := clock("11:00").Add(time.Duration(i%60) * time.Minute)
		in.CronJobs = append(in.CronJobs, CronJob{Name: "scan-" + name, UID: uid, Cluster: name, Schedule: fmt.Sprintf("%d * * * *", i%60),
			Created: clock("01:00"), Changed: clock("01:00"), LastSchedule: began, LastSuccess: began.Add(time.Minute)})
		job := Job{Name: "scan-" + name + "-2", Cluster: name, Owner: uid, Created: began, Started: began, Outcome: Complete, Finished: began.Add(time.Minute)}
		if i%100 == 0 {
			job.Outcome = Broken
			in.CronJobs[i].LastSuccess = began.Add(-time.Hour)
			in.Pods = append(in.Pods, Pod{Name: job.Name + "-x", Job: job.Name, Created: began, Phase: "Failed",
				Containers: []Container{{Name: "scan", Ended: true, Code: 137, EndReason: "OOMKilled"}}})
		}
		in.Jobs = append(in.Jobs, job, Job{Name: "scan-" + name + "-1", Cluster: name, Owner: uid, Created: began.Add(-time.Hour),
			Started: began.Add(-time.Hour), Outcome: Complete, Finished: began.Add(-time.Hour + time.Minute)})
	}
	return in
}

// BenchmarkDerive is what one look at 10,000 clusters costs.
func BenchmarkDerive(b *testing.B) {
	in := fleetOf(10_000)
	b.ReportAllocs()
	for b.Loop() {
		if list := Derive(in); list[0].State != Failed || list[1].State != Succeeded {
			b.Fatalf("got %+v", list[:2])
		}
	}
}

// BenchmarkOnChange is what it costs while one of them waits to be scanned.
func BenchmarkOnChange(b *testing.B) {
	in := fleetOf(10_000)
	b.ReportAllocs()
	for b.Loop() {
		OnChange(in, map[string]bool{"c00007": true})
	}
}
