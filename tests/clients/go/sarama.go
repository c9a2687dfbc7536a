// sarama.
package main

import (
	"context"
	"time"

	"github.com/IBM/sarama"
)

type saramaClient struct{ bootstrap string }

func (s saramaClient) config() *sarama.Config {
	conf := sarama.NewConfig()
	conf.Version = sarama.MaxVersion
	return conf
}

func (s saramaClient) admin() (sarama.ClusterAdmin, error) {
	return sarama.NewClusterAdmin([]string{s.bootstrap}, s.config())
}

func (s saramaClient) create(_ context.Context, c command) error {
	admin, err := s.admin()
	if err != nil {
		return err
	}
	defer admin.Close()
	return admin.CreateTopic(c.Topic, &sarama.TopicDetail{NumPartitions: c.Partitions, ReplicationFactor: 1}, false)
}

func (s saramaClient) delete(_ context.Context, c command) error {
	admin, err := s.admin()
	if err != nil {
		return err
	}
	defer admin.Close()
	return admin.DeleteTopic(c.Topic)
}

var saramaCodecs = map[string]sarama.CompressionCodec{
	"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
	"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD,
}

// saramaBytes keeps null apart from empty.
func saramaBytes(data []byte) sarama.Encoder {
	if data == nil {
		return nil
	}
	return sarama.ByteEncoder(data)
}

func (s saramaClient) produce(_ context.Context, c command) error {
	conf := s.config()
	conf.Producer.RequiredAcks = sarama.WaitForAll
	conf.Producer.Return.Successes = true
	conf.Producer.Compression = saramaCodecs[c.Codec]
	conf.Producer.Flush.Frequency = 20 * time.Millisecond
	if c.Idempotent {
		conf.Producer.Idempotent = true
		conf.Net.MaxOpenRequests = 1
	}
	if c.Records[0].Partition != nil {
		conf.Producer.Partitioner = sarama.NewManualPartitioner
	}
	producer, err := sarama.NewSyncProducer([]string{s.bootstrap}, conf)
	if err != nil {
		return err
	}
	defer producer.Close()
	var messages []*sarama.ProducerMessage
	for _, r := range c.Records {
		out := &sarama.ProducerMessage{
			Topic: c.Topic, Key: saramaBytes(r.Key), Value: saramaBytes(r.Value), Timestamp: r.time(),
		}
		if r.Partition != nil {
			out.Partition = *r.Partition
		}
		for _, h := range r.Headers {
			out.Headers = append(out.Headers, sarama.RecordHeader{Key: []byte(h.name), Value: h.value})
		}
		messages = append(messages, out)
	}
	return producer.SendMessages(messages)
}

func (s saramaClient) show(m *sarama.ConsumerMessage) record {
	ms := m.Timestamp.UnixMilli()
	out := record{Topic: m.Topic, Partition: &m.Partition, Offset: m.Offset, Timestamp: &ms, Key: m.Key, Value: m.Value}
	for _, h := range m.Headers {
		out.Headers = append(out.Headers, header{string(h.Key), h.Value})
	}
	return out
}

func (s saramaClient) consume(ctx context.Context, c command, emit func(record) bool) error {
	client, err := sarama.NewClient([]string{s.bootstrap}, s.config())
	if err != nil {
		return err
	}
	defer client.Close()
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return err
	}
	messages := make(chan *sarama.ConsumerMessage)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, topic := range c.Topics {
		partitions, err := client.Partitions(topic)
		if err != nil {
			return err
		}
		for _, partition := range partitions {
			offset := sarama.OffsetOldest
			if ms, ok := c.fromMillis(); ok {
				if offset, err = client.GetOffset(topic, partition, ms); err != nil {
					return err
				}
			} else if c.From == "latest" {
				offset = sarama.OffsetNewest
			}
			one, err := consumer.ConsumePartition(topic, partition, offset)
			if err != nil {
				return err
			}
			defer one.AsyncClose()
			go func() {
				for m := range one.Messages() {
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
			if !emit(s.show(m)) {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// saramaMember takes the claims of one member of a group; one record at a time goes through `turn`.
type saramaMember struct {
	s    saramaClient
	turn chan struct{} // holds a token; taken for good when the member has had enough
	done context.CancelFunc
	emit func(record) bool
}

func (m *saramaMember) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (m *saramaMember) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (m *saramaMember) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			select {
			case <-m.turn:
			case <-session.Context().Done():
				return nil
			}
			more := m.emit(m.s.show(message))
			session.MarkMessage(message, "")
			session.Commit()
			if !more {
				m.done()
				return nil
			}
			m.turn <- struct{}{}
		case <-session.Context().Done():
			return nil
		}
	}
}

func (s saramaClient) group(ctx context.Context, c command, leave <-chan string, emit func(record) bool) error {
	conf := s.config()
	conf.Consumer.Offsets.Initial = sarama.OffsetOldest
	conf.Consumer.Offsets.AutoCommit.Enable = false
	conf.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	conf.Consumer.Group.Session.Timeout = 6 * time.Second
	group, err := sarama.NewConsumerGroup([]string{s.bootstrap}, c.Group, conf)
	if err != nil {
		return err
	}
	defer group.Close()
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
	member := &saramaMember{s: s, turn: make(chan struct{}, 1), done: done, emit: emit}
	member.turn <- struct{}{}
	for until.Err() == nil {
		if err := group.Consume(until, []string{c.Topic}, member); err != nil && until.Err() == nil {
			return err
		}
	}
	return ctx.Err()
}
