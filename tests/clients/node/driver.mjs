// The driver of kafkajs. It obeys the line protocol of ../README.md.
//
// kafkajs brings gzip only; snappy is its own plug-in, lz4 and zstd are plugged in here the way its documentation
// tells.

import { createInterface } from 'node:readline';
import kafkajs from 'kafkajs';
import snappy from 'kafkajs-snappy';
import lz4 from 'lz4-napi';
import { Encoder, Decoder } from '@toondepauw/node-zstd';

const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = kafkajs;
CompressionCodecs[CompressionTypes.Snappy] = snappy;
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: (buffer) => lz4.decompressFrame(buffer),
});
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: (encoder) => new Encoder(3).encode(encoder.buffer),
  decompress: (buffer) => new Decoder().decode(buffer),
});
const CODECS = {
  none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD,
};
const DEADLINE_MS = 40_000;

const kafka = new Kafka({
  brokers: [process.argv[2]], clientId: 'logrun-tests', logLevel: logLevel.WARN, retry: { initialRetryTime: 100 },
});
const unb64 = (text) => (text === null ? null : Buffer.from(text, 'base64'));
const b64 = (data) => (data === null || data === undefined ? null : Buffer.from(data).toString('base64'));

// Lines that nobody asked for yet, and whoever waits for one.
const lines = [];
let wake = () => {};

async function withAdmin(work) {
  const admin = kafka.admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}

// kafkajs takes headers as an object: a name that comes twice has an array of values.
function headersOut(pairs) {
  const headers = {};
  for (const [name, value] of pairs) {
    const data = unb64(value);
    headers[name] = name in headers ? [].concat(headers[name], data) : data;
  }
  return headers;
}

function headersIn(headers) {
  return Object.entries(headers ?? {}).flatMap(([name, values]) => [].concat(values).map((v) => [name, b64(v)]));
}

function show(topic, partition, message) {
  console.log(JSON.stringify({
    topic, partition, offset: Number(message.offset), timestamp: Number(message.timestamp), key: b64(message.key),
    value: b64(message.value), headers: headersIn(message.headers),
  }));
}

const wait = (condition, what) => new Promise((resolve, reject) => {
  const end = Date.now() + DEADLINE_MS;
  const timer = setInterval(() => {
    const late = Date.now() > end;
    if (!late && !condition()) return;
    clearInterval(timer);
    if (late) reject(new Error(`no end of ${what} within ${DEADLINE_MS} ms`));
    else resolve();
  }, 20);
});

const commands = {
  create: (c) => withAdmin(async (admin) => {
    const topics = [{ topic: c.topic, numPartitions: c.partitions, replicationFactor: 1 }];
    if (!(await admin.createTopics({ topics, waitForLeaders: true }))) throw new Error('the topic was there already');
  }),

  delete: (c) => withAdmin((admin) => admin.deleteTopics({ topics: [c.topic] })),

  async produce(c) {
    const producer = kafka.producer({ idempotent: c.idempotent, allowAutoTopicCreation: true });
    await producer.connect();
    try {
      await producer.send({
        topic: c.topic, compression: CODECS[c.codec], acks: -1,
        messages: c.records.map((r) => ({
          key: unb64(r.key), value: unb64(r.value), headers: headersOut(r.headers),
          ...(r.partition === null ? {} : { partition: r.partition }),
          ...(r.timestamp === undefined || r.timestamp === null ? {} : { timestamp: String(r.timestamp) }),
        })),
      });
    } finally {
      await producer.disconnect();
    }
  },

  // kafkajs consumes in groups only: a group of this run's own, with a seek where the start is a timestamp or the end.
  async consume(c) {
    const consumer = kafka.consumer({ groupId: `kafkajs-${process.pid}-${Date.now()}`, heartbeatInterval: 300, maxWaitTimeInMs: 200 });
    const starts = await withAdmin(async (admin) => {
      const found = [];
      for (const topic of c.topics) {
        const offsets = typeof c.from === 'number'
          ? await admin.fetchTopicOffsetsByTimestamp(topic, c.from) : await admin.fetchTopicOffsets(topic);
        for (const { partition, offset } of offsets) found.push({ topic, partition, offset });
      }
      return found;
    });
    let left = c.count;
    await consumer.connect();
    try {
      await consumer.subscribe({ topics: c.topics, fromBeginning: true });
      await consumer.run({
        autoCommit: false,
        eachMessage: async ({ topic, partition, message }) => {
          if (left-- > 0) show(topic, partition, message);
        },
      });
      if (c.from !== 'earliest') for (const start of starts) consumer.seek(start);
      await wait(() => left <= 0, 'consume');
    } finally {
      await consumer.disconnect();
    }
  },

  async group(c) {
    const consumer = kafka.consumer({ groupId: c.group, heartbeatInterval: 300, sessionTimeout: 6000, maxWaitTimeInMs: 200 });
    let left = c.count ?? Infinity;
    let failed = null;
    await consumer.connect();
    try {
      await consumer.subscribe({ topics: [c.topic], fromBeginning: true });
      await consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        eachBatch: async ({ batch, isRunning, isStale, heartbeat, resolveOffset }) => {
          for (const message of batch.messages) {
            if (left <= 0 || !isRunning() || isStale()) return;
            left -= 1;
            show(batch.topic, batch.partition, message);
            const offset = String(Number(message.offset) + 1);
            try {
              await consumer.commitOffsets([{ topic: batch.topic, partition: batch.partition, offset }]);
            } catch (error) {
              failed = error;
              return;
            }
            resolveOffset(message.offset);
          }
          await heartbeat();
        },
      });
      await wait(() => failed || left <= 0 || (c.count === null && lines.length > 0), 'group');
      if (c.count === null) lines.shift();
      if (failed) throw failed;
    } finally {
      await consumer.disconnect();
    }
  },
};

createInterface({ input: process.stdin }).on('line', (line) => { lines.push(line); wake(); }).on('close', () => {
  lines.push(null);
  wake();
});
for (;;) {
  while (lines.length === 0) await new Promise((resolve) => { wake = resolve; });
  const line = lines.shift();
  if (line === null) process.exit(0);
  try {
    const command = JSON.parse(line);
    await commands[command.do](command);
    console.log('OK');
  } catch (error) {
    console.error(error);
    console.log('FAIL', String(error).replaceAll('\n', ' '));
  }
}
