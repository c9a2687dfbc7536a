// segmentio/kafka-go.
package main

import (
	"context"
	"errors"
	"time"

	"github.com/segmentio/kafka-go"
)

type kafkaGo struct{ bootstrap string }

func (k kafkaGo) client() *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(k.bootstrap), Timeout: 20 * time.Second}
}

func (k kafkaGo) create(ctx context.Context, c command) error {
	done, err := k.client().CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{
		{Topic: c.Topic, NumPartitions: int(c.Partitions), ReplicationFactor: 1},
	}})
	if err != nil {
		return err
	}
	return done.Errors[c.Topic]
}

func (k kafkaGo) delete(ctx context.Context, c command) error {
	done, err := k.client().DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{c.Topic}})
	if err != nil {
		return err
	}
	return done.Errors[c.Topic]
}

var kafkaGoCodecs = map[string]kafka.Compression{
	"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
}

func (k kafkaGo) produce(ctx context.Context, c command) error {
	writer := &kafka.Writer{
		Addr: kafka.TCP(k.bootstrap), Topic: c.Topic, RequiredAcks: kafka.RequireAll, Balancer: &kafka.Murmur2Balancer{},
		Compression: kafkaGoCodecs[c.Codec], BatchTimeout: 20 * time.Millisecond, BatchBytes: 1 << 20,
		AllowAutoTopicCreation: true,
	}
	if c.Records[0].Partition != nil {
		writer.Balancer = kafka.BalancerFunc(func(m kafka.Message, _ ...int) int { return int(m.WriterData.(int32)) })
	}
	var messages []kafka.Message
	for _, r := range c.Records {
		out := kafka.Message{Key: r.Key, Value: r.Value, Time: r.time()}
		if r.Partition != nil {
			out.WriterData = *r.Partition
		}
		for _, h := range r.Headers {
			out.Headers = append(out.Headers, kafka.Header{Key: h.name, Value: h.value})
		}
		messages = append(messages, out)
	}
	// The writer gives the error of a topic that is being created to the caller, who is told to try again.
	err := writer.WriteMessages(ctx, messages...)
	for ctx.Err() == nil && (errors.Is(err, kafka.UnknownTopicOrPartition) || errors.Is(err, kafka.LeaderNotAvailable)) {
		time.Sleep(50 * time.Millisecond)
		err = writer.WriteMessages(ctx, messages...)
	}
	return errors.Join(err, writer.Close())
}

func (k kafkaGo) show(m kafka.Message) record {
	partition, ms := int32(m.Partition), m.Time.UnixMilli()
	out := record{Topic: m.Topic, Partition: &partition, Offset: m.Offset, Timestamp: &ms, Key: m.Key, Value: m.Value}
	for _, h := range m.Headers {
		out.Headers = append(out.Headers, header{h.Key, h.Value})
	}
	return out
}

// start finds the offset from which to read one partition.
func (k kafkaGo) start(ctx context.Context, reader *kafka.Reader, topic string, partition int, c command) error {
	ms, ok := c.fromMillis()
	if !ok {
		if c.From == "latest" {
			return reader.SetOffset(kafka.LastOffset)
		}
		return reader.SetOffset(kafka.FirstOffset)
	}
	return reader.SetOffsetAt(ctx, time.UnixMilli(ms))
}

func (k kafkaGo) consume(ctx context.Context, c command, emit func(record) bool) error {
	meta, err := k.client().Metadata(ctx, &kafka.MetadataRequest{Topics: c.Topics})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	messages, failed := make(chan kafka.Message), make(chan error, 1)
	for _, topic := range meta.Topics {
		if topic.Error != nil {
			return topic.Error
		}
		for _, partition := range topic.Partitions {
			reader := kafka.NewReader(kafka.ReaderConfig{
				Brokers: []string{k.bootstrap}, Topic: topic.Name, Partition: partition.ID, MaxWait: 500 * time.Millisecond,
				MaxBytes: 10 << 20,
			})
			defer reader.Close()
			if err := k.start(ctx, reader, topic.Name, partition.ID, c); err != nil {
				return err
			}
			go func() {
				for {
					m, err := reader.ReadMessage(ctx)
					if err != nil {
						select {
						case failed <- err:
						default:
						}
						return
					}
					select {
					case messages <- m:
					case <-ctx.Done():
						return
					}
				}
			}()
		}
	}
	for {
		select {
		case m := <-messages:
			if !emit(k.show(m)) {
				return nil
			}
		case err := <-failed:
			return err
		}
	}
}

func (k kafkaGo) group(ctx context.Context, c command, leave <-chan string, emit func(record) bool) error {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{k.bootstrap}, GroupID: c.Group, Topic: c.Topic, StartOffset: kafka.FirstOffset,
		MaxWait: 500 * time.Millisecond, MaxBytes: 10 << 20, HeartbeatInterval: 300 * time.Millisecond,
		SessionTimeout: 6 * time.Second, JoinGroupBackoff: 300 * time.Millisecond,
	})
	until, done := context.WithCancel(ctx)
	defer done()
	if c.Count == nil {
		go func() {
			select {
			case <-leave:
				done()
			case <-until.Done():
			}
		}()
	}
	for until.Err() == nil {
		m, err := reader.FetchMessage(until)
		if err != nil {
			if until.Err() != nil {
				break
			}
			return errors.Join(err, reader.Close())
		}
		more := emit(k.show(m))
		if err := reader.CommitMessages(ctx, m); err != nil {
			return errors.Join(err, reader.Close())
		}
		if !more {
			break
		}
	}
	return errors.Join(ctx.Err(), reader.Close())
}
