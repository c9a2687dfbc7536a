// The driver of the Go clients: `driver franz-go|sarama|kafka-go BOOTSTRAP`. It obeys the line protocol of
// ../README.md; each client is one file that implements `client`.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

const deadline = 40 * time.Second

// header is written as [name, value], value null or base64 (encoding/json does that for []byte).
type header struct {
	name  string
	value []byte
}

func (h header) MarshalJSON() ([]byte, error) { return json.Marshal([]any{h.name, h.value}) }

func (h *header) UnmarshalJSON(text []byte) error {
	var pair [2]*json.RawMessage
	if err := json.Unmarshal(text, &pair); err != nil {
		return err
	}
	if err := json.Unmarshal(*pair[0], &h.name); err != nil {
		return err
	}
	if pair[1] == nil {
		return nil
	}
	return json.Unmarshal(*pair[1], &h.value)
}

type record struct {
	Topic     string   `json:"topic"`
	Partition *int32   `json:"partition"` // null to produce: the client chooses
	Offset    int64    `json:"offset"`
	Timestamp *int64   `json:"timestamp"` // ms; null to produce: the client's clock
	Key       []byte   `json:"key"`
	Value     []byte   `json:"value"`
	Headers   []header `json:"headers"`
}

func (r record) time() time.Time {
	if r.Timestamp == nil {
		return time.Now()
	}
	return time.UnixMilli(*r.Timestamp)
}

type command struct {
	Do         string   `json:"do"`
	Topic      string   `json:"topic"`
	Topics     []string `json:"topics"`
	Partitions int32    `json:"partitions"`
	Codec      string   `json:"codec"`
	Idempotent bool     `json:"idempotent"`
	Records    []record `json:"records"`
	From       any      `json:"from"`  // "earliest", "latest" or milliseconds
	Count      *int     `json:"count"` // null for a group's member: until the next line
	Group      string   `json:"group"`
}

// fromMillis tells the timestamp to start from, if `from` is one.
func (c command) fromMillis() (int64, bool) {
	ms, ok := c.From.(float64)
	return int64(ms), ok
}

type client interface {
	create(ctx context.Context, c command) error
	delete(ctx context.Context, c command) error
	produce(ctx context.Context, c command) error
	// consume gives records to emit until it says false.
	consume(ctx context.Context, c command, emit func(record) bool) error
	// group commits each record after emit took it, and leaves when emit says false or leave is readable.
	group(ctx context.Context, c command, leave <-chan string, emit func(record) bool) error
}

func open(name string, bootstrap string) client {
	switch name {
	case "franz-go":
		return franz{bootstrap}
	case "sarama":
		return saramaClient{bootstrap}
	case "kafka-go":
		return kafkaGo{bootstrap}
	}
	fmt.Fprintln(os.Stderr, "no such client:", name)
	os.Exit(2)
	return nil
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: driver franz-go|sarama|kafka-go BOOTSTRAP")
		os.Exit(2)
	}
	lines := make(chan string, 16)
	go func() {
		in := bufio.NewReaderSize(os.Stdin, 1<<20)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				close(lines)
				return
			}
			lines <- line
		}
	}()
	driver := open(os.Args[1], os.Args[2])
	for line := range lines {
		if err := obey(driver, line, lines); err != nil {
			fmt.Println("FAIL", strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("OK")
		}
	}
}

func obey(driver client, line string, lines <-chan string) error {
	var c command
	if err := json.Unmarshal([]byte(line), &c); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	emitted := 0
	emit := func(r record) bool {
		text, err := json.Marshal(r)
		if err != nil {
			panic(err) // strings and bytes always marshal
		}
		fmt.Println(string(text))
		emitted++
		return c.Count == nil || emitted < *c.Count
	}
	switch c.Do {
	case "create":
		return driver.create(ctx, c)
	case "delete":
		return driver.delete(ctx, c)
	case "produce":
		return driver.produce(ctx, c)
	case "consume":
		return driver.consume(ctx, c, emit)
	case "group":
		return driver.group(ctx, c, lines, emit)
	}
	return fmt.Errorf("no such command: %s", c.Do)
}
