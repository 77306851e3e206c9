// A client of nats.go: publishes numbers, counts what it receives, and tells what happens to it.
//
// Usage: client URL NAME. Ends when its standard input does.
package main

import (
	"encoding/json"
	"io"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

const every = 2 * time.Millisecond

var telling sync.Mutex

func tell(event, text string, more map[string]any) {
	telling.Lock()
	defer telling.Unlock()
	line := map[string]any{"at": float64(time.Now().UnixMicro()) / 1e6, "event": event, "text": text}
	for key, value := range more {
		line[key] = value
	}
	_ = json.NewEncoder(os.Stdout).Encode(line)
}

func main() {
	url, name := os.Args[1], os.Args[2]
	over := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(over)
	}()
	why := func(err error) string {
		if err == nil {
			return ""
		}
		return err.Error()
	}
	client, err := nats.Connect(url, nats.Name(name),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { tell("disconnected", why(err), nil) }),
		nats.ReconnectHandler(func(*nats.Conn) { tell("reconnected", "", nil) }),
		nats.ClosedHandler(func(*nats.Conn) { tell("closed", "", nil) }),
		nats.LameDuckModeHandler(func(*nats.Conn) { tell("lame_duck", "", nil) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { tell("error", why(err), nil) }))
	if err != nil {
		panic(err)
	}
	var received atomic.Int64
	if _, err := client.Subscribe("down."+name, func(*nats.Msg) { received.Add(1) }); err != nil {
		panic(err)
	}
	if err := client.Flush(); err != nil {
		panic(err)
	}
	tell("connected", "", nil)
	published, refused := 0, 0
	for ticks := time.NewTicker(every); ; {
		select {
		case <-over:
			_ = client.Flush()
			tell("over", "", map[string]any{"published": published, "refused": refused, "received": received.Load()})
			return
		case <-ticks.C:
			if err := client.Publish("up."+name, []byte(strconv.Itoa(published))); err != nil {
				refused++
				if refused == 1 {
					tell("refused", err.Error(), nil)
				}
			} else {
				published++
			}
		}
	}
}
