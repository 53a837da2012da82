package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/muster-gitops/muster/cmd/devenv/server"
)

const (
	// stopGrace is how long the controller may take to finish its work.
	stopGrace = 15 * time.Second
	// A controller that ends so soon after its start, this many times in a row, won't ever stay up.
	tooSoon  = 3 * time.Second
	maxTries = 3
)

// demoController keeps the controller running, as the Deployment would.
type demoController struct {
	d      *demo
	failed chan error // reports why the controller can't be kept running
	halt   chan struct{}
	done   chan struct{}

	mu      sync.Mutex // guards running
	running server.Program
}

func startDemoController(d *demo) (*demoController, error) {
	c := &demoController{d: d, failed: make(chan error, 1), halt: make(chan struct{}), done: make(chan struct{})}
	if err := c.start(); err != nil {
		return nil, err
	}
	go c.keep()
	return c, nil
}

// start starts the controller once, and appends to the log of earlier ones.
func (c *demoController) start() error {
	log, err := os.OpenFile(c.d.file("controller.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own descriptor
	cmd := exec.Command(c.d.file("bin", "muster"), "controller",
		"--kubeconfig="+c.d.file("control-plane", "muster.kubeconfig"),
		"--namespace="+demoNamespace,
		"--cache-dir="+c.d.file("cache"),
		"--metrics-address=0", "--probe-address=0") // these ports may be in use on this machine
	if c.d.forge != nil {
		cmd.Args = append(cmd.Args, "--webhook-address="+c.d.forge.receiver)
	}
	cmd.Stdout, cmd.Stderr = log, log
	p, err := server.StartProgram("muster controller", cmd)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.running = p
	c.mu.Unlock()
	return os.WriteFile(c.d.file("controller.pid"), []byte(strconv.Itoa(p.PID())+"\n"), 0o600)
}

// keep restarts the controller whenever it ends, until stop.
func (c *demoController) keep() {
	defer close(c.done)
	for tries := 0; ; {
		p, began := c.current(), time.Now()
		select {
		case <-c.halt:
			return
		case <-p.Done():
		}
		if tries++; time.Since(began) > tooSoon {
			tries = 1
		}
		if tries == maxTries {
			c.failed <- fmt.Errorf("the controller ended %d times in a row within %s; its last log lines are:\n%s", tries, tooSoon, c.logTail())
			return
		}
		if err := c.start(); err != nil {
			c.failed <- err
			return
		}
		c.d.out.Event("controller", "process %d ended (%s); restarted as process %d", p.PID(), ending(p.Err()), c.current().PID())
	}
}

func ending(err error) string {
	if err == nil {
		return "status 0"
	}
	return err.Error()
}

func (c *demoController) current() server.Program {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running
}

// stop ends the controller and waits until it has ended.
func (c *demoController) stop() error {
	close(c.halt)
	<-c.done
	return c.current().Stop(stopGrace)
}

// logTail is the end of the log, for an error: the folder with the log is removed soon after.
func (c *demoController) logTail() string {
	const most = 2 << 10
	content, err := os.ReadFile(c.d.file("controller.log"))
	if err != nil {
		return err.Error()
	}
	if over := len(content) - most; over > 0 {
		content = content[over:]
	}
	return string(bytes.TrimSpace(content))
}
