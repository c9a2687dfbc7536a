// franz-go.
package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type franz struct{ bootstrap string }

func (f franz) open(options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(options, kgo.SeedBrokers(f.bootstrap))...)
}

func (f franz) admin() (*kadm.Client, error) {
	client, err := f.open()
	if err != nil {
		return nil, err
	}
	return kadm.NewClient(client), nil
}

func (f franz) create(ctx context.Context, c command) error {
	admin, err := f.admin()
	if err != nil {
		return err
	}
	defer admin.Close()
	_, err = admin.CreateTopic(ctx, c.Partitions, 1, nil, c.Topic)
	return err
}

func (f franz) delete(ctx context.Context, c command) error {
	admin, err := f.admin()
	if err != nil {
		return err
	}
	defer admin.Close()
	_, err = admin.DeleteTopic(ctx, c.Topic)
	return err
}

var franzCodecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func (f franz) produce(ctx context.Context, c command) error {
	options := []kgo.Opt{
		kgo.ProducerBatchCompression(franzCodecs[c.Codec]), kgo.AllowAutoTopicCreation(),
		kgo.ProducerLinger(20 * time.Millisecond),
	}
	if !c.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	if c.Records[0].Partition != nil {
		options = append(options, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	client, err := f.open(options...)
	if err != nil {
		return err
	}
	defer client.Close()
	var records []*kgo.Record
	for _, r := range c.Records {
		out := &kgo.Record{Topic: c.Topic, Key: r.Key, Value: r.Value, Timestamp: r.time()}
		if r.Partition != nil {
			out.Partition = *r.Partition
		}
		for _, h := range r.Headers {
			out.Headers = append(out.Headers, kgo.RecordHeader{Key: h.name, Value: h.value})
		}
		records = append(records, out)
	}
	return client.ProduceSync(ctx, records...).FirstErr()
}

func (f franz) show(r *kgo.Record) record {
	ms := r.Timestamp.UnixMilli()
	out := record{Topic: r.Topic, Partition: &r.Partition, Offset: r.Offset, Timestamp: &ms, Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		out.Headers = append(out.Headers, header{h.Key, h.Value})
	}
	return out
}

func (f franz) consume(ctx context.Context, c command, emit func(record) bool) error {
	start := kgo.NewOffset().AtStart()
	if ms, ok := c.fromMillis(); ok {
		start = kgo.NewOffset().AfterMilli(ms)
	} else if c.From == "latest" {
		start = kgo.NewOffset().AtEnd()
	}
	client, err := f.open(kgo.ConsumeTopics(c.Topics...), kgo.ConsumeResetOffset(start))
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		for _, r := range fetches.Records() {
			if !emit(f.show(r)) {
				return nil
			}
		}
	}
}

func (f franz) group(ctx context.Context, c command, leave <-chan string, emit func(record) bool) error {
	client, err := f.open(
		kgo.ConsumerGroup(c.Group), kgo.ConsumeTopics(c.Topic), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.BlockRebalanceOnPoll(),
		kgo.HeartbeatInterval(300*time.Millisecond), kgo.SessionTimeout(6*time.Second),
	)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	for {
		if c.Count == nil && len(leave) > 0 {
			<-leave
			return nil
		}
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		fetches := client.PollFetches(short)
		cancel()
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fetches.Err(); err != nil && err != context.DeadlineExceeded {
			return err
		}
		for _, r := range fetches.Records() {
			more := emit(f.show(r))
			if err := client.CommitRecords(ctx, r); err != nil {
				return err
			}
			if !more {
				return nil
			}
		}
		client.AllowRebalance()
	}
}
